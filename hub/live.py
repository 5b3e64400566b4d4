"""Check that a Space on the Hub is up, and answers as its models do here."""

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
SETTLE = 5.0  # seconds until a new commit is heeded
GRACE = 60.0  # seconds in which a Space that says it runs may still be the old one, or not be reachable yet
FALLBACK = "This page runs the model that came with it"  # what shared.space.load_space_model has a page say
TOLERANCE = 1e-3  # probabilities and stars may differ by that much between machines
BROKEN = {"BUILD_ERROR", "RUNTIME_ERROR", "CONFIG_ERROR", "NO_APP_FILE", "DELETING"}
LOGS = {"BUILD_ERROR": "build", "RUNTIME_ERROR": "run"}  # the log that says why
LOG_SECONDS, LOG_LINES, LOG_WIDTH = 15.0, 30, 200
# Nobody came for a while, and a visit wakes it; one that is PAUSED only its owner can start.
ASLEEP = {"SLEEPING", "STOPPED"}


def check_space(
    space: str, models: list[SpaceModel], commit: str, timeout: float, api: HfApi, restarts: bool = False
) -> str:
    """Wait for the Space and compare its answers; return its address.

    Args:
        space: its name, "user/name".
        models: those that it must answer as.
        commit: that it must run.
        timeout: seconds to wait.
        api: the Hub's client.
        restarts: whether it is about to restart, so that what runs now may still be what ran before.

    Raises:
        DeployError: it does not come up, or does not answer as the models here do.
    """
    deadline = time.monotonic() + timeout
    stage = wait_until_running(space, commit, deadline, api, restarts=restarts)
    until = min(deadline, time.monotonic() + GRACE)
    while True:
        try:
            info = ask(partial(api.space_info, space), space)  # anew: one that wakes up may have moved
        except PublishError as error:
            if is_final(error) or time.monotonic() > until:
                raise
            time.sleep(3)
            continue
        token = str(api.token) if info.private else None
        try:
            wrong = probe(models, str(info.host), token)
        except (DeployError, httpx2.HTTPError, ValueError, LookupError) as error:  # still building: a page of the Hub's
            wrong = [f"it does not answer ({type(error).__name__}: {error})."]
        if not wrong:
            return str(info.host)
        if any(model.private for model in models) and FALLBACK in " ".join(wrong):
            raise DeployError(
                f"{space} is deployed, but may not read the private model: {' '.join(wrong)} Give it a token that may, "
                f"then the same command again: hf spaces secrets add {space} -s HF_TOKEN"
            )
        if time.monotonic() > until:
            if stage in ASLEEP:
                raise DeployError(
                    f"{space} is up to date, but {stage.lower()}, and a visit does not wake it; start it: "
                    f"hf spaces restart {space}"
                )
            raise DeployError(
                f"{space} is deployed at {info.host}, but does not answer as the models here: {' '.join(wrong)} "
                f"See the log: hf spaces logs {space}"
            )
        time.sleep(3)
        before, stage = stage, wait_until_running(space, commit, deadline, api, shown=stage)
        if before in ASLEEP and stage not in ASLEEP:
            until = min(deadline, time.monotonic() + GRACE)


def wait_until_running(
    space: str, commit: str, deadline: float, api: HfApi, shown: str = "", restarts: bool = False
) -> str:
    """Wait until the Space runs a commit, showing each stage after the one that has been `shown`.

    If it `restarts`, or the Hub does not say which commit it runs, a final stage counts only once SETTLE seconds have
    passed or another stage has been seen.

    Returns:
        "RUNNING", or one of ASLEEP: then a visit starts it.

    Raises:
        DeployError: it cannot be built or started, or is not there at `deadline` (of time.monotonic).
    """
    began = time.monotonic()
    is_settled = False
    while True:
        try:
            runtime = ask(partial(api.get_space_runtime, space), space)
            stage, sha = str(runtime.stage), runtime.raw.get("sha")
            message = str(runtime.raw.get("errorMessage") or "").strip()
        except PublishError as error:  # an outage of seconds must not end a wait of minutes
            if is_final(error):
                raise
            stage, sha, message = "the Hub does not answer", None, ""
        elapsed = time.monotonic() - began
        if stage != shown:
            print(f"{elapsed:4.0f} s  {stage.lower().replace('_', ' ')}", flush=True)
            shown = stage
        elif sys.stdout.isatty():
            print(f"{elapsed:4.0f} s", end="\r", flush=True)
        # RUNNING, or an error, may be said of the commit before this one.
        is_settled |= elapsed > SETTLE or stage not in ("RUNNING", *BROKEN)
        old = sha not in (None, commit) or ((sha is None or restarts) and not is_settled)
        if not old and stage in ("RUNNING", "PAUSED", *ASLEEP, *BROKEN):
            break
        if time.monotonic() > deadline:
            what = "still has its old files" if old else f"is still at {stage!r}"
            logs = f"hf spaces logs {space}{' --build' if 'BUILDING' in stage else ''}"
            raise DeployError(f"{space} {what} after {elapsed:.0f} s; look at it with: {logs}")
        time.sleep(min(5.0, 0.5 + elapsed / 10))
    if stage in BROKEN:
        raise DeployError(
            f"{space} ended in {stage}{f': {make_one_line(message)}' if message else ''}.{print_log(space, stage, api)}"
        )
    if stage == "PAUSED":
        raise DeployError(f"{space} is up to date, but paused; start it: hf spaces restart {space}")
    return stage


def is_final(error: PublishError) -> bool:
    """Return True if the Hub has refused, and False if it may answer later."""
    return find_refusal(error)[0] in (401, 403, 404)


def print_log(space: str, stage: str, api: HfApi) -> str:
    """Print the end of the log that says why a Space is broken; return the sentence that says where to read all of it.

    What does not come within LOG_SECONDS is left out: the Hub keeps the connection to a log open.
    """
    if stage not in LOGS:
        return f" Its page says more: {api.endpoint}/spaces/{space}"
    lines: list[str] = []

    def read() -> None:
        for text in api.fetch_space_logs(space, build=LOGS[stage] == "build"):
            lines.extend(make_one_line(ESCAPES.sub("", line), LOG_WIDTH) for line in text.splitlines())
            del lines[:-LOG_LINES]

    with contextlib.suppress(Exception):  # the log is an extra
        run_in_background(read).result(LOG_SECONDS)
    if found := [line for line in list(lines) if line]:
        print(f"The end of its {LOGS[stage]} log:", *found, sep="\n  ", file=sys.stderr, flush=True)
    return f" See the log: hf spaces logs {space}{' --build' if LOGS[stage] == 'build' else ''}"


def probe(models: list[SpaceModel], url: str, token: str | None) -> list[str]:
    """Ask the live Space and the same models here; return what differs, in sentences.

    By plain HTTP, as curl would: each request ends in time, whatever the Space does.
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
    """Return an argument as the endpoint takes it; a picture is uploaded."""
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
        DeployError: the app fails, or takes too long.
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
    """Return what differs, in words; numbers may by TOLERANCE, and `got` may have more than is expected."""
    if isinstance(expected, Mapping):
        if not isinstance(got, Mapping):
            return [f"{where} is {json.dumps(got)[:80]}, here it is {json.dumps(expected)[:80]}."]
        return [line for name in expected for line in compare(expected[name], got.get(name), str(name))]
    if isinstance(expected, float) and isinstance(got, int | float):
        same = abs(expected - got) <= TOLERANCE
    else:
        same = expected == got
    return [] if same else [f"{where} is {got!r}, here it is {expected!r}."]
