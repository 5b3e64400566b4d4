# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "PyYAML==6.0.4",
#     "accelerate==1.15.0",
#     "fastai==2.8.12",
#     "fastapi==0.165.0",
#     "fastcore==2.2.41",
#     "fastprogress==1.1.6",
#     "fasttransform==0.0.5",
#     "gradio==6.31.0",
#     "httpx2==2.16.2",
#     "huggingface_hub==2.4.0",
#     "jinja2==3.1.6",
#     "numpy==2.4.6",
#     "onnx==1.23.2",
#     "onnxruntime==1.32.0",
#     "pandas==3.1.1",
#     "pillow-heif==1.8.1",
#     "pillow==12.3.0",
#     "pydantic==2.12.5",
#     "safetensors==0.8.0",
#     "scikit-image==0.26.0",
#     "scikit-learn==1.9.1",
#     "scipy==1.17.1",
#     "starlette==1.10.0",
#     "tokenizers==0.23.3",
#     "torch==2.13.0",
#     "torchvision==0.28.0",
#     "transformers==5.23.0",
#     "uvicorn==0.54.0",
# ]
#
# [tool.hf-jobs]
# flavor = "t4-small"
# timeout = "6h"
# secrets = ["HF_TOKEN"]
# volumes = [
#     "./hub:/gallery/hub",
#     "./locks:/gallery/locks",
#     "./shared:/gallery/shared",
#     "./spaces:/gallery/spaces",
#     "./training:/gallery/training",
# ]
# env = { PYTHONPATH = "/gallery" }
# ///
"""Run a training script as a job on the Hub's machines, on all GPUs of the machine.

Start it from the root of a clone; the script's own options follow its name:

    hf jobs uv run training/job.py cat_dog --push-to-hub USER/cat_dog

Files that a job writes are deleted when it ends, so push the model.
"""

import subprocess
import sys

import torch

if __name__ == "__main__":
    launch = ["accelerate.commands.launch", "-m"] if torch.cuda.device_count() > 1 else []
    command = [sys.executable, "-m", *launch, f"training.{sys.argv[1]}", *sys.argv[2:]]
    raise SystemExit(subprocess.call(command))  # noqa: S603 - a script of this folder
