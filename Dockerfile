# The gallery in a container: no torch, no root, a health check.
#
#   docker build -t gallery .
#   docker run --rm --publish 7860:7860 gallery
#   docker stop --time 30 ...       lets it finish what it has begun

FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PYTHONPATH=/gallery \
    GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT=7860 GRADIO_ANALYTICS_ENABLED=False \
    GALLERY_REPLICA=1

RUN useradd --create-home --uid 1000 gallery
WORKDIR /gallery

COPY locks/demo.txt .
RUN pip install --disable-pip-version-check --require-hashes --no-deps -r demo.txt

COPY shared shared
COPY spaces spaces

USER gallery
EXPOSE 7860
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=25s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/health', timeout=24)"]

CMD ["python", "spaces/gallery/app.py"]
