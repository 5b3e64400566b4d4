"""Check that a Space on the Hub runs, and that its predictions match the local models."""

import contextlib
import json
import re
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import HfApi

from hub.client import ANSWER, PublishError, ask
from hub.staging import DeployError, SpaceModel
from shared.hub import run_in_background
from shared.hub_errors import find_refusal, make_one_line

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # colours in a log
SETTLE = 5.0  # seconds until the Hub reacts to a new commit
GRACE = 60.0  # seconds in which a running Space may still be the old one, or be unreachable
FALLBACK = "This page runs its built-in model"  # from shared.space.load_space_model
TOLERANCE = 1e-3  # the largest difference of numbers between machines; a share of those above 1
BROKEN = {"BUILD_ERROR", "RUNTIME_ERROR", "CONFIG_ERROR", "NO_APP_FILE", "DELETING"}
LOGS = {"BUILD_ERROR": "build", "RUNTIME_ERROR": "run"}  # the log with the reason
LOG_SECONDS, LOG_LINES, LOG_WIDTH = 15.0, 30, 200
# A visit wakes a sleeping Space; only the owner can restart a PAUSED one.
ASLEEP = {"SLEEPING", "STOPPED"}


def check_space(
    space: str, models: list[SpaceModel], commit: str, timeout: float, api: HfApi, restarts: bool = False
) -> str:
    """Wait for the Space and compare its predictions with those of the local models; return its address.

    Args:
        space: its name, "user/name".
        models: the local models.
        commit: the commit that it must run.
        timeout: seconds to wait.
        api: the Hub's client.
        restarts: True if it is about to restart, so that the old process may still be running.

    Raises:
        DeployError: the Space does not start, or its predictions differ.
    """
    deadline = time.monotonic() + timeout
    stage = wait_until_running(space, commit, deadline, api, restarts=restarts)
    until = min(deadline, time.monotonic() + GRACE)
    while True:
        try:
            info = ask(partial(api.space_info, space), space)  # again, because the address may change on waking
        except PublishError as error:
            if is_final(error) or time.monotonic() > until:
                raise
            time.sleep(3)
            continue
        token = str(api.token) if info.private else None
        try:
            wrong = probe(models, str(info.host), token)
        except (DeployError, httpx2.HTTPError, ValueError, LookupError) as error:  # still building: a page of the Hub
            wrong = [f"it does not answer ({type(error).__name__}: {error})."]
        if not wrong:
            return str(info.host)
        if any(model.private for model in models) and FALLBACK in " ".join(wrong):
            raise DeployError(
                f"{space} is deployed, but cannot read the private model: {' '.join(wrong)} Add a token that can, "
                f"then run the same command again: hf spaces secrets add {space} -s HF_TOKEN"
            )
        if time.monotonic() > until:
            if stage in ASLEEP:
                raise DeployError(
                    f"{space} is up to date, but {stage.lower()}, and a visit does not wake it; restart it: "
                    f"hf spaces restart {space}"
                )
            raise DeployError(
                f"{space} is deployed at {info.host}, but its predictions differ from ours: {' '.join(wrong)} "
                f"See the log: hf spaces logs {space}"
            )
        time.sleep(3)
        before, stage = stage, wait_until_running(space, commit, deadline, api, shown=stage)
        if before in ASLEEP and stage not in ASLEEP:
            until = min(deadline, time.monotonic() + GRACE)


def wait_until_running(
    space: str, commit: str, deadline: float, api: HfApi, shown: str = "", restarts: bool = False
) -> str:
    """Wait until the Space runs a commit, and print each new stage; `shown` is the last one printed.

    If the Space `restarts`, or the Hub does not report its commit, a final stage counts only after SETTLE seconds or
    after another stage.

    Returns:
        "RUNNING", or one of ASLEEP, from which a visit wakes the Space.

    Raises:
        DeployError: the Space cannot be built or started, or does not run at `deadline` (time.monotonic).
    """
    began = time.monotonic()
    is_settled = False
    while True:
        try:
            runtime = ask(partial(api.get_space_runtime, space), space)
            stage, sha = str(runtime.stage), runtime.raw.get("sha")
            message = str(runtime.raw.get("errorMessage") or "").strip()
        except PublishError as error:  # continue after a short outage
            if is_final(error):
                raise
            stage, sha, message = "the Hub does not answer", None, ""
        elapsed = time.monotonic() - began
        if stage != shown:
            print(f"{elapsed:4.0f} s  {stage.lower().replace('_', ' ')}", flush=True)
            shown = stage
        elif sys.stdout.isatty():
            print(f"{elapsed:4.0f} s", end="\r", flush=True)
        # The stage may belong to the previous commit.
        is_settled |= elapsed > SETTLE or stage not in ("RUNNING", *BROKEN)
        old = sha not in (None, commit) or ((sha is None or restarts) and not is_settled)
        if not old and stage in ("RUNNING", "PAUSED", *ASLEEP, *BROKEN):
            break
        if time.monotonic() > deadline:
            what = "still has its old files" if old else f"is still at {stage!r}"
            logs = f"hf spaces logs {space}{' --build' if 'BUILDING' in stage else ''}"
            raise DeployError(f"{space} {what} after {elapsed:.0f} s; see the log: {logs}")
        time.sleep(min(5.0, 0.5 + elapsed / 10))
    if stage in BROKEN:
        raise DeployError(
            f"{space} ended in {stage}{f': {make_one_line(message)}' if message else ''}.{print_log(space, stage, api)}"
        )
    if stage == "PAUSED":
        raise DeployError(f"{space} is up to date, but paused; restart it: hf spaces restart {space}")
    return stage


def is_final(error: PublishError) -> bool:
    """Return True if the Hub has refused, and False if it may answer later."""
    return find_refusal(error)[0] in (401, 403, 404)


def print_log(space: str, stage: str, api: HfApi) -> str:
    """Print the end of the log of a broken Space; return a sentence that says where to read the whole log.

    Reading stops after LOG_SECONDS, because the Hub keeps the connection to a log open.
    """
    if stage not in LOGS:
        return f" See its page: {api.endpoint}/spaces/{space}"
    lines: list[str] = []

    def read() -> None:
        for text in api.fetch_space_logs(space, build=LOGS[stage] == "build"):
            lines.extend(make_one_line(ESCAPES.sub("", line), LOG_WIDTH) for line in text.splitlines())
            del lines[:-LOG_LINES]

    with contextlib.suppress(Exception):  # the log is optional
        run_in_background(read).result(LOG_SECONDS)
    if found := [line for line in list(lines) if line]:
        print(f"The end of its {LOGS[stage]} log:", *found, sep="\n  ", file=sys.stderr, flush=True)
    return f" See the log: hf spaces logs {space}{' --build' if LOGS[stage] == 'build' else ''}"


def probe(models: list[SpaceModel], url: str, token: str | None) -> list[str]:
    """Compare the predictions of the live Space and the local models; return sentences about the differences.

    This uses plain HTTP like curl, so that each request has a time limit.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    differences = []
    with httpx2.Client(base_url=url, headers=headers, timeout=ANSWER, follow_redirects=True) as space:
        for model in models:
            local = model.load()
            item = local.example()
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                arguments = [make_argument(value, Path(folder), space) for value in local.arguments(item)]
                expected = local.predict_batch([item])[0].as_dict()
            got = ask_endpoint(space, model.api_name, arguments)
            differences += [f"{model.api_name}: {line}" for line in compare(expected, got)]
            page = "/" if model.api_name == "/predict" else model.api_name
            fallen_back = re.search(f'{FALLBACK}[^"<]*', space.get(page).text) if model.repo else None
            differences += [f"{model.api_name}: {fallen_back[0]}"] if fallen_back else []
    return differences


def make_argument(value: Any, folder: Path, space: httpx2.Client) -> Any:
    """Convert an argument to the endpoint's format; upload a picture."""
    if not hasattr(value, "save"):
        return value
    path = folder / "example.png"
    value.save(path)
    with path.open("rb") as picture:
        found = space.post("/gradio_api/upload", files={"files": picture}).raise_for_status().json()
    return {"path": found[0], "meta": {"_type": "gradio.FileData"}}


def ask_endpoint(space: httpx2.Client, api_name: str, data: list[Any]) -> Any:
    """Return the first output of an endpoint.

    Raises:
        DeployError: the app fails or takes too long.
    """
    call, deadline = f"/gradio_api/call{api_name}", time.monotonic() + ANSWER
    event = space.post(call, json={"data": data}).raise_for_status().json()["event_id"]
    kind = ""
    with space.stream("GET", f"{call}/{event}") as lines:
        for line in lines.iter_lines():
            name, _, value = line.partition(": ")
            kind = value if name == "event" else kind
            if name == "data" and kind == "complete":
                return json.loads(value)[0]
            if kind == "error" or time.monotonic() > deadline:
                break
    raise DeployError(f"{api_name} {'fails' if kind == 'error' else f'takes more than {ANSWER:.0f} s'}.")


def compare(expected: Any, got: Any, where: str = "the answer") -> list[str]:
    """Return sentences about differences beyond TOLERANCE; additional fields in `got` are ignored."""
    if isinstance(expected, Mapping) and isinstance(got, Mapping):
        return [line for name in expected for line in compare(expected[name], got.get(name), str(name))]
    if isinstance(expected, list | tuple) and isinstance(got, list | tuple) and len(expected) == len(got):
        pairs = enumerate(zip(expected, got, strict=True), 1)
        return [line for number, pair in pairs for line in compare(*pair, f"item {number} of {where}")]
    if isinstance(expected, Mapping | list | tuple):
        return [f"{where} is {json.dumps(got)[:80]}, but locally {json.dumps(expected)[:80]}."]
    if isinstance(expected, float) and isinstance(got, int | float):
        same = abs(expected - got) <= TOLERANCE * max(1.0, abs(expected))
    else:
        same = expected == got
    return [] if same else [f"{where} is {got!r}, but locally {expected!r}."]
