"""Fixtures, and skip reasons for tests whose packages or data are missing."""

import functools
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tensors here are too small for more
os.environ["HF_TOKEN"] = ""  # no test may use somebody's real token
os.environ["HF_HUB_DISABLE_XET"] = os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"  # the Hub of the tests knows neither

ROOT = Path(__file__).resolve().parent.parent
DEMOS = ("cat_dog", "rating", "salary", "segmentation", "sentiment")
DATA = ROOT.parent / "shared" / "data"
NO_STUBS = str(ROOT / "tests/no_stubs")  # on PYTHONPATH, it makes importing Gradio faster
if NO_STUBS not in os.environ.get("PYTHONPATH", "").split(os.pathsep):
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [NO_STUBS, os.environ.get("PYTHONPATH")]))
# The first takes 60 % of the time of the others.
BROWSER = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), None)
BROWSER_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")

MCP = None if importlib.util.find_spec("mcp") else "mcp is not installed: make test-all"  # why it cannot be tested
NODE = None if shutil.which("npm") and shutil.which("node") else "node or npm is not installed"

SKIPPED = {
    "data": None if DATA.is_dir() else "the real data sets are not in ../shared/data",
    "training": None
    if all(importlib.util.find_spec(name) for name in ("torch", "fastai", "onnx"))
    else "torch and fastai are not installed: make test-all",
    "browser": None
    if BROWSER and importlib.util.find_spec("playwright")
    else "chromium or playwright is not installed: make test-all",
    "long": None if importlib.util.find_spec("torch") else "it takes a minute: make test-all",
    "install": None if importlib.util.find_spec("torch") else "it takes a minute: make test-all",
}


SLOW_FILES = (  # the slowest first
    "tests/examples/test_score_with_ray.py", "tests/spaces/test_deploy.py", "tests/spaces/test_browser_site.py",
    "tests/test_readme.py",
    "tests/spaces/test_own_models.py", "tests/training/test_loop.py", "tests/spaces/test_browser.py",
    "tests/test_notebooks.py", "tests/training/test_distributed.py", "tests/test_benchmarks.py",
    "tests/spaces/test_deploy_static.py", "tests/deploy/test_other_sites.py",
    "tests/fuzz/test_fuzz.py", "tests/training/recipes/test_image_classification.py", "tests/spaces/test_mcp.py",
    "tests/training/test_publish.py", "tests/shared/test_hub.py", "tests/test_load.py",
    "tests/training/recipes/test_text_classification.py", "tests/spaces/test_segmentation_space.py",
    "tests/spaces/test_sentiment_space.py", "tests/training/recipes/test_image_segmentation.py",
    "tests/deploy/test_stopping.py", "tests/spaces/test_gallery.py", "tests/test_package.py",
    "tests/training/test_convert.py", "tests/spaces/test_faults.py", "tests/deploy/test_replicas.py",
)  # fmt: skip
PASSED = "gallery/passed"  # where pytest's cache has the tests that passed in the last run
PASSED_FILES = "gallery/passed_files"  # and the files of which all tests did
outcomes: dict[str, str] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--not-yet-passed", action="store_true", help="leave out the tests that passed in the last run")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the files of which all tests passed in the last run, which saves importing them."""
    if not config.getoption("--not-yet-passed"):
        return None
    whole = config.cache.get(PASSED_FILES, ())
    return collection_path.relative_to(ROOT).as_posix() in whole or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip marked tests whose requirements are missing, with the reason."""
    passed = set(config.cache.get(PASSED, ())) if config.getoption("--not-yet-passed") else set()
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in passed])
    items[:] = [item for item in items if item.nodeid not in passed]
    ranks = {name: rank for rank, name in enumerate(SLOW_FILES)}
    # So that none of them runs alone at the end.
    items.sort(key=lambda item: ranks.get(item.nodeid.partition("::")[0], len(ranks)))
    for item in items:
        for name, reason in SKIPPED.items():
            if reason and item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or not report.passed:
        outcomes[report.nodeid] = report.outcome


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "cache") and not hasattr(session.config, "workerinput"):  # a worker has but a part
        passed = [name for name, outcome in outcomes.items() if outcome == "passed"]
        not_passed = {name.partition("::")[0] for name in outcomes.keys() - {*passed}}
        session.config.cache.set(PASSED, passed)
        session.config.cache.set(PASSED_FILES, sorted({name.partition("::")[0] for name in passed} - not_passed))


def python_path(*folders: str | Path | None) -> str:
    """Return a PYTHONPATH of these folders for a process that imports Gradio."""
    return os.pathsep.join([NO_STUBS, *map(str, filter(None, folders))])


def load_app(folder: str | Path):
    """Load a Space's app.py as a module by its path, since spaces/ is not a package."""
    folder = ROOT / "spaces" / folder
    spec = importlib.util.spec_from_file_location(f"app_{folder.name}", folder / "app.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def set_limits(monkeypatch: pytest.MonkeyPatch, **values: float) -> None:
    """Change limits for one test, in all modules at once."""
    from shared.limits import LIMITS

    for name, value in values.items():
        assert name in vars(LIMITS)
        monkeypatch.setitem(vars(LIMITS), name, value)  # it is frozen


def sign_folder(folder: Path, **fields: object) -> None:
    """Change fields of a gallery.json, and write the hashes of the files that it names as they are now."""
    from shared.config import fingerprint

    path = folder / "gallery.json"
    content = json.loads(path.read_text(encoding="utf-8")) | fields
    for name, entry in content["files"].items():
        if (folder / name).is_file():
            entry.update(fingerprint(folder / name))
    path.write_text(json.dumps(content), encoding="utf-8")


def copy_repository(folder: Path) -> None:
    """Copy the files of a clone: all that git tracks or would track."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, encoding="utf-8", check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():  # else it is deleted, but not committed yet
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)


def install_packages(python: Path, *arguments: str | Path) -> None:
    """Run pip install for another Python, which needs no pip; skip the test where pip reaches no package registry."""
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "--quiet"]
    command = [*pip, "install", "--no-compile", *arguments]  # most modules are never imported
    done = subprocess.run(command, check=False, capture_output=True, encoding="utf-8")
    if done.returncode:
        with tempfile.TemporaryDirectory() as folder:
            one = [*pip, "download", "--no-deps", "--no-cache-dir", "--dest", folder, "packaging"]
            if subprocess.run(one, check=False, capture_output=True).returncode:
                pytest.skip("pip reaches no package registry")
        pytest.fail(done.stderr)


def find_free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    """Wait until a new process answers at `url`; `log` is its output."""
    for _ in range(720):
        if process.poll() is not None:
            pytest.fail(f"{process.args} did not start:\n{log.read_text(encoding='utf-8')}")
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.25)
    pytest.fail(f"{url} did not come up:\n{log.read_text(encoding='utf-8')}")


@contextmanager
def serve_app(
    name: str | Path,
    folder: Path,
    variables: Mapping[str, str] = {},
    python: str | Path = sys.executable,
) -> Iterator[str]:
    """Serve a Space in its own process, as `make demo` does; yield its address. The log is in `folder`.

    `name` is the name of a Space, or the absolute path of a staged one.
    """
    port = find_free_port()
    log = folder / "log"
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "False", **variables}
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [python, ROOT / "spaces" / name / "app.py"], env=environment, stdout=output, stderr=output
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url, process, log)
        yield url
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def launch_app(demo, *models) -> Iterator[str]:
    """Launch an app in this process with `page.launch`; yield its address."""
    import gradio as gr

    from shared.ui import memory, page

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "return_freed", lambda: None)  # which would hold for all tests after this one
        patch.setattr(gr.Blocks, "launch", functools.partialmethod(gr.Blocks.launch, prevent_thread_lock=True))
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        patch.setenv("GRADIO_ANALYTICS_CACHE_FREQUENCY", "100")  # else launch sets it, for good
        try:
            # Processes that start at once would otherwise try the same port, and Gradio cannot start MCP a second time.
            page.launch(demo, *models, server_port=find_free_port())
            yield demo.local_url.rstrip("/")
        finally:
            demo.close(verbose=False)


@contextmanager
def mount_app(demo, path: str) -> Iterator[str]:
    """Mount an app in a FastAPI service in this process; yield its address."""
    import threading

    import gradio as gr
    import uvicorn
    from fastapi import FastAPI

    service = gr.mount_gradio_app(FastAPI(), demo, path=path)
    server = uvicorn.Server(uvicorn.Config(service, port=find_free_port(), log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.05)
        yield f"http://127.0.0.1:{server.config.port}{path}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)


@contextmanager
def run_nginx(site: str, url: str, folder: Path) -> Iterator[None]:
    """Run nginx with the content of http {}; wait until it answers at `url`."""
    log = folder / "nginx.log"
    places = "".join(
        f"{kind}_temp_path {folder}/nginx-{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "site.conf").write_text(site)
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/nginx.pid; worker_processes 2; {'user root; ' if os.getuid() == 0 else ''}\n"
        f"error_log {log}; events {{}}\n"
        f"http {{ access_log {folder}/nginx-access.log; {places} include {folder}/site.conf; }}\n"
    )
    process = subprocess.Popen([NGINX, "-e", log, "-c", folder / "nginx.conf"])
    try:
        log.touch()
        wait_for(url, process, log)
        yield
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")  # while it runs, no other test can have an event loop in this thread
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=BROWSER, args=BROWSER_OPTIONS)
        yield chromium
        chromium.close()


DESKTOP, PHONE = (1280, 900), (390, 844)
in_german = pytest.mark.parametrize(
    "page", [(*DESKTOP, "de-DE"), (*PHONE, "de-DE")], ids=["desktop", "phone"], indirect=True
)
# For tests of what does not depend on the width.
at_one_width = pytest.mark.parametrize("page", [DESKTOP], ids=["desktop"], indirect=True)


@pytest.fixture(scope="module")
def contexts(browser) -> dict:
    """The contexts of the browser by language: each compiles the scripts of Gradio only for its first page."""
    return {}


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def page(browser, contexts, request):
    """A browser page without anything stored; check that no script fails and nothing is wider than the screen."""
    width, height, *language = request.param
    language = language[0] if language else None
    context = contexts[language] = contexts.get(language) or browser.new_context(locale=language)
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": height})
    page.set_default_timeout(90_000)
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    page.evaluate("try { localStorage.clear() } catch {}")
    page.close()
    context.clear_permissions()
    assert not problems
    assert overflow <= 0, f"the page is {overflow} pixels wider than the screen"


def open_tab(page, name: str) -> None:
    """Open a tab of a page."""
    tab = page.get_by_role("tab", name=name)
    if not tab.is_visible():  # on a phone the last tabs are behind the three dots
        page.locator(".overflow-menu button").first.click()
        tab = page.get_by_role("button", name=name)
    tab.click()


def find_example(page, name: str):
    """Return the button of an example of a picture: of the bars, one may have the same name."""
    return page.get_by_role("button", name=name).filter(has=page.locator("img"))


def find_barriers(page) -> list[tuple[str, str]]:
    """Return what axe-core calls a serious or critical barrier to people on a page: its rule and the first element."""
    from axe_playwright_python.sync_playwright import Axe

    # A change of colours ends with the second frame; on a busy machine that may be after any number of milliseconds.
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    found = Axe().run(page).response["violations"]
    return [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]


def point_client_to(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Point the Hub's client, which reads HF_ENDPOINT only once, to this address."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture(scope="session")
def gallery_url(tmp_path_factory) -> Iterator[str]:
    """The address of the gallery."""
    with serve_app("gallery", tmp_path_factory.mktemp("gallery")) as url:
        yield url


@pytest.fixture(scope="session")
def mcp_url(tmp_path_factory) -> Iterator[str]:
    """The address of the gallery with MCP."""
    with serve_app("gallery", tmp_path_factory.mktemp("mcp"), {"GRADIO_MCP_SERVER": "True"}) as url:
        yield url


@pytest.fixture(scope="session")
def node_folder(tmp_path_factory) -> Path:
    """A folder with @gradio/client for node, in the version from the documentation."""
    package = re.search(r"@gradio/client@[\d.]+", (ROOT / "docs/http.md").read_text())[0]
    folder = tmp_path_factory.mktemp("node")
    done = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--prefix", folder, package],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"npm cannot install {package}: {done.stderr.strip().splitlines()[-1:]}")
    return folder


@pytest.fixture(scope="module")
def deploy():
    """spaces/deploy.py as a module."""
    spec = importlib.util.spec_from_file_location("deploy", ROOT / "spaces/deploy.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["deploy"] = module  # dataclasses look their own module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["deploy"]


@pytest.fixture(scope="session")
def cat_dog():
    from shared import load_model

    return load_model(ROOT / "spaces/cat_dog/model")


@pytest.fixture(scope="session")
def salary():
    from shared import load_model

    return load_model(ROOT / "spaces/salary/model")


@pytest.fixture(scope="session")
def rating():
    from shared import load_model

    return load_model(ROOT / "spaces/rating/model")


@pytest.fixture(scope="session")
def segmentation():
    from shared import load_model

    return load_model(ROOT / "spaces/segmentation/model")


@pytest.fixture(scope="session")
def sentiment():
    from shared import load_model

    return load_model(ROOT / "spaces/sentiment/model")


@pytest.fixture
def person() -> dict:
    return {
        "age": 39,
        "workclass": "Private",
        "fnlwgt": 77516,
        "education": "Bachelors",
        "education-num": 13,
        "marital-status": "Married-civ-spouse",
        "occupation": "Exec-managerial",
        "relationship": "Husband",
        "race": "White",
        "sex": "Male",
        "capital-gain": 0,
        "capital-loss": 0,
        "hours-per-week": 45,
        "native-country": "United-States",
    }
