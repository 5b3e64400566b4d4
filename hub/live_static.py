"""Check that a static Space on the Hub serves its files, and that its models answer in a browser as they do here."""

import base64
import gzip
import importlib.util
import io
import json
import os
import re
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
from huggingface_hub import HfApi

from hub.client import ANSWER, ask
from hub.live import compare
from hub.staging import DeployError, Staged
from hub.vendor import hash_bytes
from shared import load_model
from shared.hub import run_in_background
from shared.hub_errors import make_one_line

# The Hub inserts the variables of a static Space into every HTML file that it serves.
VARIABLES = re.compile(rb"<script>window\.huggingface=\{variables:\{[^<]*\}\};</script>")
README = "README.md"  # of the Hub, not of the page; the host need not serve it
LONGEST_REASON = 200  # characters
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# JavaScript that opens a model of the page, given its name and perhaps a number of threads, and asks it. Files are
# given as {base64}.
OPEN = """async ([name, threads]) => {
  const { downloadJson, readConfig } = await import("./js/checkpoint.js");
  const { Model } = await import("./js/model.js");
  const site = await downloadJson("site.json");
  const entry = site.models.find((one) => one.name === name);
  window.model?.worker.terminate();
  window.model = new Model(await readConfig(entry), entry, site, () => {}, threads);
  await window.model.loaded;
}"""
ASK = """async ([method, args]) => {
  const blob = (value) => new Blob([Uint8Array.from(atob(value.base64), (one) => one.charCodeAt(0))]);
  const given = args.map((value) => (value?.base64 !== undefined ? blob(value) : value));
  const found = await window.model.call(method, given).catch((error) => ({ error: error.message }));
  if (found?.mask) found.mask = Array.from(found.mask);
  return found;
}"""


def check_static_space(space: str, staged: Staged, timeout: float, api: HfApi) -> str:
    """Wait until a static Space serves its files, and ask its models in headless Chromium, if there is one.

    Args:
        space: its name, "user/name".
        staged: what it must serve.
        timeout: seconds to wait.
        api: the Hub's client.

    Returns:
        A sentence on what was checked.

    Raises:
        DeployError: the files or the answers differ.
    """
    deadline = time.monotonic() + timeout
    expected = {path: hash_bytes(staged.read(path)) for path in staged.files if path != README}
    left = expected
    while True:
        info = ask(partial(api.space_info, space), space)
        headers = {"Authorization": f"Bearer {api.token}"} if info.private else {}
        url = str(info.host)
        left = {path: left[path] for path in find_differing_files(url, left, headers)} if info.host else left
        if not left:
            break
        if time.monotonic() > deadline:
            raise DeployError(
                f"{space} is committed, but {url if info.host else 'the Hub'} does not serve {len(left)} of its "
                f"{len(expected)} files, such as {min(left)}; run the same command again to compare them again."
            )
        time.sleep(3)
    served = f"{url} serves the {len(expected)} files of this commit"
    browser = find_browser()
    if not browser:
        return f"{served}. Its models were not asked: that needs Chromium, and pip install playwright."
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        models = {name: load_model(found) for name, found in unpack_models(staged, Path(folder)).items()}
        # In a thread of its own, because Playwright refuses to run beside an event loop.
        asking = run_in_background(partial(ask_models, url, models, browser, headers))
        try:
            wrong = asking.result(timeout)
        except Exception as error:  # Playwright's own, if Chromium does not start, or TimeoutError
            why = make_one_line(f"{type(error).__name__}: {error}", LONGEST_REASON)
            return f"{served}. Its models were not asked, because headless Chromium failed ({why})."
    if wrong:
        raise DeployError(f"{space} is deployed at {url}, but its answers differ from ours: {' '.join(wrong)}")
    return f"{served}, and in headless Chromium its predictions match the local ones."


def find_differing_files(url: str, expected: dict[str, str], headers: dict[str, str]) -> list[str]:
    """Return the paths of the files that a host does not serve with the expected SHA-256."""
    headers = {**headers, "Cache-Control": "no-cache"}
    differing = []
    with httpx2.Client(base_url=url, headers=headers, timeout=ANSWER, follow_redirects=True) as host:
        for path, digest in expected.items():
            try:
                response = host.get(quote(path))
                content = VARIABLES.sub(b"", response.content, 1) if path.endswith(".html") else response.content
                is_same = response.is_success and hash_bytes(content) == digest
            except httpx2.HTTPError:
                is_same = False
            differing += [] if is_same else [path]
    return differing


def find_browser() -> str | None:
    """Return the path of Chromium; None if it or Playwright is not installed."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    return found if importlib.util.find_spec("playwright") else None


def unpack_models(staged: Staged, folder: Path) -> dict[str, Path]:
    """Write the models of a static Space into a folder; return their checkpoint folders by name."""
    entries = json.loads(staged.read("site.json"))["models"]
    packed = {path for entry in entries for path in entry["files"] if path.endswith(".gz")}
    for path in staged.files:
        if path.startswith("models/"):
            content = staged.read(path)
            target = folder / (path.removesuffix(".gz") if path in packed else path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(gzip.decompress(content) if path in packed else content)
    return {entry["name"]: folder / entry["folder"] for entry in entries}


def ask_models(url: str, models: dict[str, Any], browser: str, headers: dict[str, str]) -> list[str]:
    """Ask the models of a page in headless Chromium; return sentences about differences from the same models here."""
    from playwright.sync_api import Error, sync_playwright  # noqa: PLC0415 - it is optional

    is_root = hasattr(os, "geteuid") and not os.geteuid()  # then Chromium refuses to run with its sandbox
    differences = []
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"] if is_root else [])
        page = opened.new_context(extra_http_headers=headers).new_page()
        page.goto(url)
        for name, model in models.items():
            item = model.example()
            expected = model.predict_batch([item])[0].as_dict()
            try:
                page.evaluate(OPEN, [name])
                got = page.evaluate(ASK, ["predict", make_arguments(item)])
            except Error as error:
                got = {"error": str(error).splitlines()[0]}
            wrong = [got["error"]] if "error" in got else compare(expected, got)
            differences += [f"{name}: {line}" for line in wrong]
        opened.close()
    return differences


def make_arguments(item: Any) -> list[Any]:
    """Return an input as the arguments of the page's `predict`."""
    if not hasattr(item, "save"):
        return list(item) if isinstance(item, tuple) else [item]
    content = io.BytesIO()
    item.save(content, "PNG")
    return [encode_file(content.getvalue())]


def encode_file(content: bytes) -> dict[str, str]:
    """Return the content of a file as ASK takes it."""
    return {"base64": base64.b64encode(content).decode()}
