"""spaces/deploy.py: what goes up, that it runs without the rest of the repository, and that it answers online."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
import yaml
from huggingface_hub import HfApi, constants
from huggingface_hub.utils import _auth
from PIL import Image

from hub import live, staging
from hub.local import Fault, Hub
from hub.local.cards import find_problems
from hub.local.faults import BARE, NULL, PAGE
from hub.local.store import Blob
from shared import load_model
from tests.conftest import ROOT, install_packages, point_client_to, python_path, serve_app
from tests.spaces.test_folders import MODELS
from training import publish as publish_script

SCRIPT = ROOT / "spaces/deploy.py"
SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def copy(deploy, tmp_path, monkeypatch) -> Path:
    """A copy of the repository's deployable part, which a test may spoil; the script works on it."""
    root = tmp_path / "copy"
    for name in ("gallery", "salary", "rating"):
        shutil.copytree(ROOT / "spaces" / name, root / "spaces" / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "shared", root / "shared", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "LICENSE", root / "LICENSE")
    monkeypatch.setattr(staging, "ROOT", root)
    monkeypatch.setattr(deploy, "SPACES", root / "spaces")
    return root


def stage(deploy, name: str, *more: str):
    return staging.stage_space(*deploy.choose(deploy.make_parser().parse_args([name, "--owner", "me", *more])))


def read_header(content: bytes) -> dict:
    return yaml.safe_load(content.decode().split("---\n")[1])


# --- what goes up ---


@pytest.mark.parametrize("name", [*MODELS, "gallery"])
def test_a_staged_space_has_what_it_needs_and_nothing_else(deploy, name):
    files = stage(deploy, name).files
    inside = [f"{model}/" for model in MODELS] if name == "gallery" else [""]
    assert {"app.py", "requirements.txt", "README.md", "LICENSE", "shared/ui/page.py", "shared/__init__.py"} <= set(
        files
    )
    for folder in inside:
        for file in ("app.py", "picture.svg", "model/gallery.json", "model/onnx/model.onnx", "model/LICENSE.md"):
            assert f"{folder}{file}" in files
    for path, content in files.items():
        assert path.split("/")[0] in {"LICENSE", "app.py", "shared", "model", "examples", *MODELS} or "/" not in path
        assert not any(part.startswith((".", "__pycache__")) for part in path.split("/"))
        assert isinstance(content, bytes) or content.is_file()
    assert "screenshot.png" not in files
    assert [path for path in files if path.endswith("thumbnail.png")] == ["thumbnail.png"]
    assert not any(path.startswith(("spaces/", "training/", "tests/")) for path in files)


def test_unrelated_files_are_not_uploaded(deploy, copy):
    expected = {name: set(stage(deploy, name).files) for name in ("salary", "gallery")}
    contract = copy / "spaces/salary/model/gallery.json"
    listed = json.loads(contract.read_text())
    weights = copy / "spaces/salary/model/model.safetensors"
    weights.write_bytes(b"weights for torch")
    listed["files"]["model.safetensors"] = {
        "sha256": hashlib.sha256(b"weights for torch").hexdigest(),
        "bytes": 17,
        "optional": True,
    }
    contract.write_text(json.dumps(listed))
    for path in (
        "spaces/salary/.env",
        "spaces/salary/notes.txt",
        "spaces/salary/.hidden.py",
        "spaces/salary/.gradio/flagged/log.csv",
        "spaces/salary/__pycache__/app.cpython-311.pyc",
        "spaces/salary/examples/.DS_Store",
        "spaces/salary/model/onnx/model.onnx.bak",
        "spaces/salary/model/.cache/token",
        "spaces/gallery/.env",
        "shared/.secret.py",
        "shared/token.json",
        ".env",
    ):
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_text("a secret")
    for name, paths in expected.items():
        assert set(stage(deploy, name).files) == paths


def test_files_listed_in_gallery_json_are_uploaded(deploy, copy):
    contract = copy / "spaces/salary/model/gallery.json"
    listed = json.loads(contract.read_text())
    listed["files"]["examples/x.txt"] = {"sha256": hashlib.sha256(b"x").hexdigest(), "bytes": 1, "optional": True}
    contract.write_text(json.dumps(listed))
    assert "model/examples/x.txt" not in stage(deploy, "salary").files
    (copy / "spaces/salary/model/examples").mkdir()
    (copy / "spaces/salary/model/examples/x.txt").write_bytes(b"x")
    assert "model/examples/x.txt" in stage(deploy, "salary").files


@pytest.mark.parametrize("name", [*MODELS, "gallery"])
def test_header_of_a_space_with_an_embedded_model(deploy, name):
    written = stage(deploy, name)
    content = written.files["README.md"]
    here = (ROOT / "spaces" / name / "README.md").read_bytes()
    assert {key: value for key, value in read_header(content).items() if key != "datasets"} == read_header(here)
    assert content.decode().split("---\n", 2)[2] == here.decode().split("---\n", 2)[2]
    assert written.variables == {}


def test_header_of_a_space_that_pulls_from_the_hub(deploy):
    written = stage(deploy, "salary", "--models-owner", "you", "--revision", f"salary={SHA}")
    fields = read_header(written.files["README.md"])
    assert fields["models"] == ["you/salary"]
    assert fields["preload_from_hub"] == [
        f"you/salary gallery.json,background.csv,config.json,metrics.json,onnx/model.onnx {SHA}"
    ]
    assert written.variables == {"MODEL_REPO": "you/salary", "MODEL_REVISION": SHA}


def test_header_of_a_gallery_that_pulls_from_the_hub(deploy):
    written = stage(deploy, "gallery", "--models-owner", "you", "--revision", f"cat_dog={SHA}")
    fields = read_header(written.files["README.md"])
    assert fields["models"] == [f"you/{name}" for name in sorted(MODELS)]
    assert [line.split()[0] for line in fields["preload_from_hub"]] == ["you/cat_dog"]  # the others are not pinned
    assert written.variables["MODEL_REPO_RATING"] == "you/rating"
    assert written.variables["MODEL_REVISION_CAT_DOG"] == SHA


def test_the_thumbnail_is_found_on_the_hub_by_the_name_of_the_space(deploy):
    chosen = deploy.choose(deploy.make_parser().parse_args(["salary", "--owner", "me"]))
    fields = read_header(staging.stage_space(*chosen, "me/wages").files["README.md"])
    assert fields["thumbnail"] == "https://huggingface.co/spaces/me/wages/resolve/main/thumbnail.png"
    assert "mcp-server" in fields["tags"]
    assert "thumbnail" not in read_header(stage(deploy, "salary").files["README.md"])


def test_data_sets_of_the_hub_are_named(deploy):
    adult, pets = "scikit-learn/adult-census-income", "timm/oxford-iiit-pet"
    assert read_header(stage(deploy, "salary").files["README.md"])["datasets"] == [adult]
    assert {adult, pets} <= set(read_header(stage(deploy, "gallery").files["README.md"])["datasets"])


def test_gallery_requires_what_any_of_its_spaces_does(deploy, copy):
    with (copy / "spaces/rating/requirements.txt").open("a") as file:
        file.write("another-package==1.0  # for the new page\n")
    lines = stage(deploy, "gallery").files["requirements.txt"].decode().splitlines()
    assert "another-package==1.0" in lines
    assert len(lines) == len({line.split("==")[0] for line in lines})


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("salary/requirements.txt", "numpy==2", "numpy>=2", "does not pin 'numpy>=2"),
        (
            "salary/requirements.txt",
            "numpy==2",
            "numpy==1.2",
            "numpy is 1.2.4.6 in the Space's requirements.txt",
        ),
        ("salary/requirements.txt", "numpy==", "torch==", "has torch, which only training needs"),
        ("salary/requirements.txt", "numpy==", "Transformers==", "has Transformers, which only training needs"),
        ("salary/requirements.txt", "numpy==", "torchvision==", "has torchvision, which only training needs"),
        ("salary/requirements.txt", "numpy==", "fastai==", "has fastai, which only training needs"),
        ("salary/requirements.txt", "gradio==", "gradioo==", "does not pin gradio"),
        ("salary/README.md", "sdk_version: 6", "sdk_version: 5", "README.md says sdk_version 5"),
        ("salary/README.md", "---\ntitle", "title", "has no header"),
        ("salary/README.md", "title: Salary", "title: 'Salary", "has no header"),
        ("salary/model/background.csv", ",", ";", "background.csv is damaged"),
        ("salary/model/gallery.json", '"format": 2', '"format": 9', "'format'"),
        ("salary/model/gallery.json", '"tabular-classification"', '"wages"', "for the unknown task 'wages'"),
    ],
)
def test_local_errors_are_reported(deploy, copy, capsys, file, old, new, message):
    path = copy / "spaces" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    assert deploy.main(["salary", "--owner", "me", "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_pins_that_do_not_agree_are_reported(deploy, copy, capsys):
    path = copy / "spaces/rating/requirements.txt"
    path.write_text(path.read_text().replace("numpy==2", "numpy==1"))
    assert deploy.main(["gallery", "--owner", "me", "--dry-run"]) == 2
    assert "spaces/rating pins numpy==1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--revision", f"salary={SHA}"], "--revision needs --models-owner"),
        (["--models-owner", "me", "--revision", f"cat={SHA}"], "--revision cat is none of salary"),
        (["--name", "a name"], "a name"),
        (["--models-owner", "me/you"], "me/you"),
    ],
)
def test_invalid_arguments_are_reported(deploy, capsys, arguments, message):
    assert deploy.main(["salary", "--owner", "me", *arguments, "--dry-run"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("path", ["runs/salary", "./salary", "salary/"])
def test_a_folder_that_is_missing_is_no_space_of_its_name(deploy, tmp_path, monkeypatch, capsys, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        deploy.main([path, "--owner", "me", "--dry-run"])
    assert f"{path} is neither a Space (cat_dog, gallery" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["spaces/salary", "spaces/salary/", "spaces/../spaces/salary"])
def test_the_folder_of_a_space_is_its_name(deploy, monkeypatch, capsys, path):
    monkeypatch.chdir(ROOT)
    assert deploy.main([path, "--owner", "me", "--dry-run"]) == 0
    assert "Would deploy me/salary" in capsys.readouterr().out


def test_a_space_without_a_model_is_reported(deploy, copy, capsys):
    shutil.rmtree(copy / "spaces/salary/model")
    assert deploy.main(["salary", "--owner", "me", "--dry-run"]) == 2
    assert "train it: python -m training.salary --embed" in capsys.readouterr().err


def test_two_models_for_one_task_have_variables_of_their_own(deploy, copy, capsys):
    shutil.copytree(copy / "spaces/salary", copy / "spaces/wages")
    assert deploy.main(["gallery", "--owner", "me", "--models-owner", "me", "--dry-run"]) == 0
    output = capsys.readouterr().out
    assert "MODEL_REPO_SALARY = me/salary" in output
    assert "MODEL_REPO_WAGES = me/wages" in output


def copy_model(folder: Path, demo: str, title: str, **changes) -> Path:
    """A copy of a demo's model that says it is about something else."""
    shutil.copytree(ROOT / "spaces" / demo / "model", folder)
    content = json.loads((folder / "gallery.json").read_text()) | changes
    content["about"] |= {"title": title, "summary": "It <b>is</b> mine."}
    (folder / "gallery.json").write_text(json.dumps(content))
    return folder


def test_a_checkpoint_folder_gets_the_app_of_its_task(deploy, copy, capsys, tmp_path):
    loans = copy_model(tmp_path / "loans", "salary", "Loans: yes or no?")
    app, models = deploy.choose(deploy.make_parser().parse_args([str(loans), "--owner", "me"]))
    files = staging.stage_space(app, models, "me/loans").files
    assert files["model/gallery.json"] == loans / "gallery.json"
    assert files["app.py"] == copy / "spaces/salary/app.py"
    assert deploy.main([str(loans), "--owner", "me", "--dry-run"]) == 0
    assert "Would deploy me/loans" in capsys.readouterr().out


def test_a_space_for_a_users_own_model_says_nothing_of_the_demo(deploy, copy, tmp_path):
    loans = copy_model(tmp_path / "loans", "salary", "Loans: yes or no?")
    chosen = deploy.choose(deploy.make_parser().parse_args([str(loans), "--owner", "me"]))
    files = staging.stage_space(*chosen, "me/loans").files
    assert not {"picture.svg", "thumbnail.png"} & set(files)
    fields = read_header(files["README.md"])
    model, demo = (
        json.loads((folder / "gallery.json").read_text()) for folder in (loans, copy / "spaces/salary/model")
    )
    assert model["about"]["licence"] == demo["about"]["licence"] == "cc-by-4.0"
    assert fields["title"] == "Loans: yes or no?"
    assert fields["emoji"] == "📊"
    assert fields["license"] == "cc-by-4.0"
    assert fields["short_description"] == "It <b>is</b> mine."
    assert fields["colorFrom"] != fields["colorTo"]
    assert (fields["sdk_version"], fields["python_version"], fields["app_file"]) == ("6.31.0", "3.12", "app.py")
    assert "thumbnail" not in fields
    text = files["README.md"].decode().split("---\n", 2)[2]
    assert text == (
        "\nIt &lt;b>is&lt;/b> mine.\n\nThe model's licence and terms are in `model/LICENSE.md`; "
        "the app is under Apache-2.0, see `LICENSE`.\n"
    )
    assert find_problems(files["README.md"].decode(), "space") == ([], [])


@pytest.mark.parametrize(("count", "is_shown"), [(60, True), (61, False)])
def test_a_summary_that_the_hub_does_not_accept_is_no_short_description(deploy, tmp_path, count, is_shown):
    loans = copy_model(tmp_path / "loans", "salary", "Loans")
    content = json.loads((loans / "gallery.json").read_text())
    content["about"]["summary"] = "x" * count
    (loans / "gallery.json").write_text(json.dumps(content))
    text = stage(deploy, str(loans)).files["README.md"]
    assert read_header(text).get("short_description") == ("x" * count if is_shown else None)
    assert find_problems(text.decode(), "space") == ([], [])


@pytest.mark.parametrize("demo", ["cat_dog", "segmentation"])
def test_pictures_of_a_demo_are_not_those_of_a_users_own_model(deploy, tmp_path, demo):
    mine = copy_model(tmp_path / "mine", demo, "Mine")
    assert any(path.startswith("examples/") for path in stage(deploy, demo).files)
    assert not any(path.startswith("examples/") for path in stage(deploy, str(mine)).files)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("My loans!", "My-loans"),
        ("loans--2", "loans-2"),
        ("prêts", "pr-ts"),
        ("借款", "model"),
        ("my_loans", "my_loans"),
        ("my loans/model", "my-loans"),
        ("a" * 95 + " loans", "a" * 95),
        ("b" * 97, "b" * 96),
    ],
)
def test_the_name_of_a_folder_is_made_valid(deploy, capsys, tmp_path, folder, name):
    mine = copy_model(tmp_path / folder, "salary", "Loans")
    assert deploy.main([str(mine), "--owner", "me", "--models-owner", "you", "--dry-run"]) == 0
    output = capsys.readouterr().out
    assert f"Would deploy me/{name}:" in output
    assert f"MODEL_REPO = you/{name}\n" in output


def test_the_model_in_the_folder_of_a_demo_has_its_name(deploy, copy, capsys):
    assert deploy.main([str(copy / "spaces/salary/model"), "--owner", "me", "--dry-run"]) == 0
    assert "Would deploy me/salary:" in capsys.readouterr().out


def test_a_users_own_model_on_the_hub_has_the_name_of_its_folder(deploy, copy, tmp_path):
    loans = copy_model(tmp_path / "loans", "salary", "Loans")
    words = [str(loans), "--owner", "me", "--models-owner", "you", "--name", "try", "--revision", f"loans={SHA}"]
    _, (model,) = deploy.choose(deploy.make_parser().parse_args(words))
    assert (model.repo, model.revision) == ("you/loans", SHA)


def test_a_folder_to_stage_into_must_be_empty(deploy, tmp_path, capsys):
    assert deploy.main(["salary", "--owner", "me", "--stage", str(tmp_path / "new")]) == 0
    assert (tmp_path / "new/shared/ui/page.py").read_bytes() == (ROOT / "shared/ui/page.py").read_bytes()
    assert deploy.main(["salary", "--owner", "me", "--stage", str(tmp_path / "new")]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_a_file_in_the_way_is_one_sentence(deploy, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert deploy.main(["salary", "--owner", "me", "--stage", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.startswith("error: ")


# --- does it run alone? ---


@pytest.fixture(scope="session")
def fresh_python(tmp_path_factory):
    """Installs a requirements.txt in a virtual environment, in which only earlier ones are; returns its Python."""
    folder = tmp_path_factory.mktemp("fresh")
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)

    def make(requirements: Path) -> Path:
        install_packages(python, "-r", requirements)
        return python

    return make


@pytest.mark.install
@pytest.mark.parametrize("name", ["cat_dog", "gallery"])  # first without tokenizers, then with them
def test_staged_space_runs_alone(deploy, fresh_python, tmp_path, monkeypatch, name):
    app, models = deploy.choose(deploy.make_parser().parse_args([name, "--owner", "me"]))
    staging.write_staged(staging.stage_space(app, models), tmp_path / "space")
    python = fresh_python(tmp_path / "space/requirements.txt")
    for variable in [variable for variable in os.environ if variable.startswith("PYTHON")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PYTHONNOUSERSITE", "1")
    monkeypatch.chdir(tmp_path / "space")
    hidden = subprocess.run([python, "-c", "import training"], check=False, capture_output=True, text=True)
    assert "No module named 'training'" in hidden.stderr
    with serve_app(tmp_path / "space", tmp_path, python=python) as url:
        assert live.probe(models, url, None) == []


# --- ZeroGPU ---

FAKE = """
made = []

def GPU(duration):
    def decorate(function):
        def wrapped(*args, **kwargs):
            raise AssertionError("an event would use a visitor's quota")
        wrapped.on_gpu = True
        made.append((function.__name__, duration))
        return wrapped
    return decorate

def gradio_auto_wrap(function):
    return function
"""
LOOK = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("app", sys.argv[1])
app = importlib.util.module_from_spec(spec)
spec.loader.exec_module(app)
import spaces
print(spaces.made)
print(any(hasattr(event.fn, "on_gpu") for event in app.demo.fns.values()), len(app.demo.fns) > 3)
"""


def run_python(code: str, *arguments: str | Path, path: Path | None = None, cwd: Path = ROOT) -> str:
    environment = {**os.environ, "PYTHONPATH": python_path(path)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=False, capture_output=True, text=True, env=environment, cwd=cwd
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_zero_gpu_finds_one_function_that_no_event_calls(tmp_path):
    (tmp_path / "spaces.py").write_text(FAKE)
    seen = run_python(LOOK, ROOT / "spaces/salary/app.py", path=tmp_path, cwd=tmp_path)
    assert seen.splitlines() == ["[('never_called', 1)]", "False True"]


def test_a_folder_called_spaces_is_no_zero_gpu():
    code = "import spaces, shared.ui; print(spaces.__path__, hasattr(spaces, 'GPU'))"
    assert run_python(code).split()[-1] == "False"


# --- the wait, and what differs ---


class Stages:
    """An Api whose Space goes through these stages: (stage, sha, message) or an exception."""

    endpoint = "https://hub"

    def __init__(self, *stages) -> None:
        self.stages = list(stages)

    def get_space_runtime(self, _: str) -> SimpleNamespace:
        stage = self.stages.pop(0) if len(self.stages) > 1 else self.stages[0]
        if isinstance(stage, Exception):
            raise stage
        name, sha, message = stage
        return SimpleNamespace(stage=name, raw={"sha": sha, "errorMessage": message})


@pytest.fixture
def no_sleep(monkeypatch, deploy):
    monkeypatch.setattr(live.time, "sleep", lambda _: None)


def test_wait_continues_through_an_outage_and_the_old_commit(deploy, no_sleep, capsys):
    api = Stages(("RUNNING", "old", None), ConnectionError(), ("BUILDING", "old", None), ("RUNNING", "new", None))
    live.wait_until_running("me/x", "new", time.monotonic() + 60, api)
    stages = [line.split(maxsplit=2)[2] for line in capsys.readouterr().out.splitlines()]
    assert stages == ["running", "the hub does not answer", "building", "running"]


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (
            ("RUNTIME_ERROR", "new", "Exit code: 1."),
            "ended in RUNTIME_ERROR: Exit code: 1. See the log: hf spaces logs",
        ),
        (("BUILD_ERROR", "new", None), "ended in BUILD_ERROR. See the log: hf spaces logs me/x --build"),
        (
            ("CONFIG_ERROR", "new", "Bad header"),
            "CONFIG_ERROR: Bad header. See its page: https://hub/spaces/me/x",
        ),
        (("PAUSED", "new", None), "up to date, but paused; restart it: hf spaces restart me/x"),
        (("BUILDING", "new", None), "is still at 'BUILDING' after 0 s; see the log: hf spaces logs me/x --build"),
        (("RUNNING", "old", None), "still has its old files after 0 s"),
        (ConnectionError(), "is still at 'the Hub does not answer'"),
    ],
)
def test_wait_reports_the_failure(deploy, no_sleep, stage, message):
    with pytest.raises(staging.DeployError, match="me/x") as error:
        live.wait_until_running("me/x", "new", time.monotonic(), Stages(stage))
    assert message in str(error.value)


@pytest.mark.parametrize("stage", ["SLEEPING", "STOPPED", "RUNNING"])
def test_a_sleeping_space_that_wakes_up_is_not_a_failure(deploy, no_sleep, stage):
    assert live.wait_until_running("me/x", "new", time.monotonic() + 60, Stages((stage, "new", None))) == stage


def test_the_timeout_restarts_after_a_space_wakes_up(deploy, no_sleep, monkeypatch):
    now = iter(range(0, 10_000, 40))  # seconds, and each look at the clock takes 40 of them
    monkeypatch.setattr(live.time, "monotonic", lambda: next(now))
    answers = iter([["asleep"], ["starting"], []])
    monkeypatch.setattr(live, "probe", lambda *_: next(answers))
    stages = iter(["STOPPED", "RUNNING", "RUNNING"])
    monkeypatch.setattr(live, "wait_until_running", lambda *_, **__: next(stages))
    monkeypatch.setattr(live, "GRACE", 100)
    api = SimpleNamespace(space_info=lambda _: SimpleNamespace(private=False, host="https://me-x.hf.space"))
    assert live.check_space("me/x", [], "new", 10_000, api) == "https://me-x.hf.space"


def test_a_space_that_does_not_wake_up_is_reported(deploy, no_sleep, monkeypatch):
    monkeypatch.setattr(live, "probe", lambda *_: ["it does not answer."])
    monkeypatch.setattr(live, "GRACE", 0)
    api = Stages(("STOPPED", "new", None))
    api.space_info = lambda _: SimpleNamespace(private=False, host="https://me-x.hf.space")
    with pytest.raises(
        staging.DeployError, match="stopped, and a visit does not wake it; restart it: hf spaces restart me/x"
    ):
        live.check_space("me/x", [], "new", 60, api)


def test_what_runs_when_a_space_is_about_to_restart_is_not_what_it_will_run(deploy, no_sleep, capsys):
    for sha in ("new", None):
        api = Stages(("RUNNING", sha, None), ("APP_STARTING", sha, None), ("RUNNING", sha, None))
        live.wait_until_running("me/x", "new", time.monotonic() + 60, api, restarts=True)
        assert [line.split(maxsplit=2)[2] for line in capsys.readouterr().out.splitlines()] == [
            "running", "app starting", "running",
        ]  # fmt: skip


def test_a_hub_that_does_not_answer_for_a_while_does_not_end_the_comparison(deploy, no_sleep, monkeypatch):
    answers = [ConnectionError(), SimpleNamespace(private=False, host="https://me-x.hf.space")]
    api = Stages(("RUNNING", "new", None))

    def space_info(_):
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    api.space_info = space_info
    monkeypatch.setattr(live, "probe", lambda *_: [])
    assert live.check_space("me/x", [], "new", 60, api) == "https://me-x.hf.space"


def test_an_error_of_the_commit_before_is_waited_out(deploy, no_sleep):
    live.wait_until_running(
        "me/x", "new", time.monotonic() + 60, Stages(("BUILD_ERROR", None, None), ("RUNNING", None, None))
    )


@pytest.mark.parametrize(
    ("expected", "got", "differences"),
    [
        ({"label": "a", "probabilities": {"a": 0.5}}, {"label": "a", "probabilities": {"a": 0.5009}, "more": 1}, 0),
        ({"label": "a", "probabilities": {"a": 0.5}}, {"label": "a", "probabilities": {"a": 0.502}}, 1),
        ({"label": "a", "probabilities": {"a": 0.5}}, {"label": "b", "probabilities": {"b": 0.5}}, 2),
        ({"label": None}, {"label": None}, 0),
        ({"label": "a"}, {}, 1),
        ({"rating": 3.0}, {"rating": 3}, 0),
        ({"rating": 3.0}, "words", 1),
    ],
)
def test_what_differs_is_reported(deploy, expected, got, differences):
    assert len(live.compare(expected, got)) == differences


def test_lists_are_compared_item_by_item_within_the_tolerance():
    expected = {"shares": (0.25, 0.75), "regions": [{"label": "sky", "box": [0, 4.0]}]}
    assert live.compare(expected, {"shares": [0.2501, 0.7499], "regions": [{"label": "sky", "box": [0, 4.001]}]}) == []
    assert live.compare(expected, {"shares": [0.25, 0.77], "regions": [{"label": "car", "box": [0, 4]}]}) == [
        "item 2 of shares is 0.77, but locally 0.75.",
        "label is 'car', but locally 'sky'.",
    ]
    assert live.compare(expected, {"shares": [0.25], "regions": "sky"}) == [
        "shares is [0.25], but locally [0.25, 0.75].",
        'regions is "sky", but locally [{"label": "sky", "box": [0, 4.0]}].',
    ]


@pytest.mark.parametrize("name", MODELS)
def test_a_probe_distinguishes_answers(deploy, name, tmp_path):
    """Two different answers must not look the same: the facts compared are those that matter."""
    model = load_model(ROOT / "spaces" / name / "model")
    uploaded = SimpleNamespace(raise_for_status=lambda: SimpleNamespace(json=lambda: ["uploaded.png"]))
    space = SimpleNamespace(post=lambda *_, **__: uploaded)
    data = [live.make_argument(value, tmp_path, space) for value in model.arguments(model.example())]
    facts = model.predict_batch([model.example()])[0].as_dict()
    assert {"probabilities", "shares", "rating"} & set(facts)
    assert data
    if path := next(iter(tmp_path.glob("*.png")), None):
        assert Image.open(path).size > (1, 1)
        assert data[0]["path"] == "uploaded.png"


def test_a_token_goes_to_private_spaces_only(deploy, monkeypatch):
    seen = []
    monkeypatch.setattr(live, "wait_until_running", lambda *_, **__: None)
    monkeypatch.setattr(live, "probe", lambda _, address, token: seen.append((address, token)) or [])
    for private in (False, True):
        info = SimpleNamespace(private=private, host="https://me-x.hf.space")
        api = SimpleNamespace(space_info=lambda _, info=info: info, token="secret")
        assert live.check_space("me/x", [], "sha", 10, api) == "https://me-x.hf.space"
    assert seen == [("https://me-x.hf.space", None), ("https://me-x.hf.space", "secret")]


def test_a_private_space_is_asked_with_the_token(monkeypatch):
    made = []
    monkeypatch.setattr(
        live.httpx2, "Client", lambda **options: made.append(options["headers"]) or contextlib.nullcontext()
    )
    for token in ("secret", None):
        live.probe([], "https://me-x.hf.space", token)
    assert made == [{"Authorization": "Bearer secret"}, {}]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_ends_the_wait(no_sleep, status):
    request = httpx2.Request("GET", "https://hub")
    refusal = httpx2.HTTPStatusError("no", request=request, response=httpx2.Response(status, request=request))
    with pytest.raises(publish_script.PublishError):
        live.wait_until_running("me/x", "new", time.monotonic() + 60, Stages(refusal, ("RUNNING", "new", None)))


# --- to a Hub ---


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        hub.set_paid("me", True)
        yield hub


@pytest.fixture
def run(deploy, hub, tmp_path, monkeypatch, capsys):
    """Runs the script in this process; as the Hub's Spaces do not really run, it stops waiting for them at once."""

    def run(*arguments: str, token: str | None = hub.token, owner: str = "me", wait: float = 0.1) -> SimpleNamespace:
        monkeypatch.setenv("HF_TOKEN", token or "")
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        point_client_to(monkeypatch, hub.endpoint)
        status = deploy.main([*arguments, "--owner", owner, "--timeout", str(wait)])
        return SimpleNamespace(returncode=status, **capsys.readouterr()._asdict())

    return run


def is_uploaded(done) -> bool:
    """Whether the script came as far as waiting for a Space that this Hub does not run."""
    return done.returncode == 2 and "is still at 'BUILDING'" in done.err


def publish(hub: Hub, name: str, private: bool = False, change: tuple[bytes, bytes] = (b"", b"")) -> str:
    """Put a Space's model on the Hub, with something of its gallery.json changed; returns the commit."""
    folder = ROOT / "spaces" / name / "model"
    repo = hub.store.create("model", f"me/{name}", private, "", "")
    files = {
        path.relative_to(folder).as_posix(): Blob(path.read_bytes(), is_lfs=path.suffix == ".onnx")
        for path in folder.rglob("*")
        if path.is_file()
    }
    contract = files["gallery.json"].data
    assert change[0] in contract
    files["gallery.json"] = Blob(contract.replace(*change))
    return repo.add("main", {**repo.at("main").files, **files}, "Model", "", "me").sha


def test_a_dry_run_makes_no_request(hub, run):
    done = run("gallery", "--models-owner", "me", "--dry-run", token=None)
    assert done.returncode == 0
    assert not hub.log
    for words in (
        "Would deploy me/gallery",
        "cat_dog/model/onnx/model.onnx",
        "sdk_version: 6",
        "MODEL_REPO_SALARY = me/",
    ):
        assert words in done.out


def test_deploying_again_removes_stale_files_and_makes_no_empty_commit(hub, run, deploy, monkeypatch):
    assert is_uploaded(run("salary"))
    monkeypatch.setattr(staging.constants, "ENDPOINT", hub.endpoint)  # of the thumbnail
    app, models = deploy.choose(deploy.make_parser().parse_args(["salary", "--owner", "me"]))
    expected = {
        path: content if isinstance(content, bytes) else content.read_bytes()
        for path, content in staging.stage_space(app, models, "me/salary").files.items()
    }
    attributes = hub.files("me/salary", kind="space")[".gitattributes"]
    assert hub.files("me/salary", kind="space") == {**expected, ".gitattributes": attributes}
    assert len(hub.commits("me/salary", "space")) == 2
    api = HfApi(hub.endpoint, token=hub.token)
    api.upload_file(path_or_fileobj=b"x", path_in_repo="old/x.txt", repo_id="me/salary", repo_type="space")
    assert is_uploaded(run("salary"))
    assert hub.files("me/salary", kind="space") == {**expected, ".gitattributes": attributes}
    assert len(hub.commits("me/salary", "space")) == 4
    assert "unchanged" in run("salary").out
    assert len(hub.commits("me/salary", "space")) == 4


def test_another_space_of_ours_is_left_alone(hub, run):
    assert is_uploaded(run("gallery"))
    done = run("salary", "--name", "gallery")
    assert (done.returncode, "me/gallery is a Space with the gallery" in done.err) == (2, True)
    assert is_uploaded(run("salary"))
    done = run("rating", "--name", "salary")
    assert (done.returncode, "me/salary is a Space with a model for tabular-classification" in done.err) == (2, True)
    assert "model/movies.csv" not in hub.files("me/salary", kind="space")


def test_a_space_of_the_first_edition_is_brought_up_to_date(hub, run):
    space = hub.store.create("space", "me/salary", False, "gradio", "cpu-basic")
    content = json.loads((ROOT / "spaces/salary/model/gallery.json").read_text()) | {"format": 1, "model": "salary"}
    old = {"app.py": b"", "shared/page.py": b"", "model/gallery.json": json.dumps(content).encode()}
    space.add("main", {path: Blob(data) for path, data in old.items()}, "Deploy salary", "", "me")
    assert "is a Space with a model for tabular-classification" in run("rating", "--name", "salary").err
    assert is_uploaded(run("salary"))
    files = hub.files("me/salary", kind="space")
    assert "shared/page.py" not in files
    assert json.loads(files["model/gallery.json"])["format"] == 2


def test_a_commit_that_is_not_what_was_staged_is_detected(hub, run, deploy, monkeypatch):
    assert is_uploaded(run("salary"))
    monkeypatch.setattr(staging.constants, "ENDPOINT", hub.endpoint)  # of the thumbnail
    app, models = deploy.choose(deploy.make_parser().parse_args(["salary", "--owner", "me"]))
    api, commit = HfApi(hub.endpoint, token=hub.token), hub.commits("me/salary", "space")[0]
    written = staging.stage_space(app, models, "me/salary")
    deploy.check_files(api, "me/salary", written, commit)
    del written.files["LICENSE"]
    written.files |= {"app.py": b"print()", "examples/new.csv": b"a"}
    with pytest.raises(staging.DeployError, match=r"differs .*: LICENSE, app.py, examples/new.csv"):
        deploy.check_files(api, "me/salary", written, commit)


def test_a_deployment_that_lost_a_file_is_reported(hub, run, deploy, monkeypatch):
    commit_files = deploy.commit_files

    def lose(api, space, files, *more):
        return commit_files(api, space, {path: file for path, file in files.items() if path != "LICENSE"}, *more)

    monkeypatch.setattr(deploy, "commit_files", lose)
    assert "differs from what was uploaded: LICENSE." in run("salary").err


def test_a_free_account_is_told_about_zero_gpu(hub, run):
    hub.set_paid("me", False)
    done = run("salary")
    assert done.returncode == 2
    assert "Add --hardware zero-a10g" in done.err
    assert ("space", "me/salary") not in hub.store.repos
    assert is_uploaded(run("salary", "--hardware", "zero-a10g"))
    assert hub.repo("me/salary", "space").hardware == "zero-a10g"


def test_hardware_of_an_existing_space(hub, run):
    assert is_uploaded(run("salary"))
    assert is_uploaded(run("salary", "--hardware", "zero-a10g"))
    assert hub.repo("me/salary", "space").hardware == "zero-a10g"
    hub.set_paid("me", False)
    assert is_uploaded(run("salary"))  # what is there may be updated
    refused = run("salary", "--hardware", "cpu-upgrade").err
    assert "Add --hardware zero-a10g" in refused


@pytest.mark.parametrize(
    ("token", "owner", "words"),
    [
        (None, "me", "hf auth login"),
        ("hf_unknown", "me", "the token in HF_TOKEN"),
        ("read", "me", "can only read"),
        ("write", "you", "cannot write to you/salary"),
    ],
)
def test_missing_permissions_are_reported(hub, run, token, owner, words):
    hub.add_user("you", paid=True)
    done = run("salary", token={"read": hub.read_token, "write": hub.token}.get(token, token), owner=owner)
    assert done.returncode == 2
    assert words in done.err
    assert done.err.count("\n") == 1
    assert not hub.store.repos


def test_somebodys_other_space_is_left_alone(hub, run):
    space = hub.store.create("space", "me/salary", False, "gradio", "cpu-basic")
    other = space.add("main", {"app.py": Blob(b"print()")}, "Mine", "", "me")
    done = run("salary")
    assert "is another Space; choose another name with --name" in done.err
    assert hub.commits("me/salary", "space")[0] == other.sha
    assert is_uploaded(run("salary", "--name", "salary-2"))
    assert "app.py" in hub.files("me/salary-2", kind="space")


def test_a_hub_that_does_not_answer_is_not_waited_for(hub, deploy, monkeypatch):
    monkeypatch.setattr(deploy, "ask", lambda request, repo, *_: publish_script.ask(request, repo, 2))
    hub.faults.append(Fault("hang", match="GET .*/variables"))
    options = deploy.make_parser().parse_args(["salary", "--owner", "me"])
    api = HfApi(hub.endpoint, token=hub.token)
    began = time.monotonic()
    with pytest.raises(publish_script.PublishError, match="did not answer within 2 s"):
        deploy.upload_space("me/salary", stage(deploy, "salary"), deploy.choose(options)[1], options, api)
    assert time.monotonic() - began < 10
    assert len(hub.commits("me/salary", "space")) == 1


def test_no_network(hub, run):
    hub.endpoint = "http://127.0.0.1:9"
    done = run("salary")
    assert done.returncode == 2
    assert "The Hub at http://127.0.0.1:9 cannot be reached" in done.err
    assert done.err.count("\n") == 1


def test_a_rate_limited_request_is_retried(hub, run):
    hub.faults.append(Fault("status", match="POST .*/commit/", status=429, headers={"Retry-After": "1"}, times=1))
    done = run("salary")
    assert is_uploaded(done)
    assert "Too many requests: waiting 2 s for the Hub ..." in done.out
    assert len(hub.commits("me/salary", "space")) == 2


def test_a_space_that_cannot_be_made_private_is_not_said_to_be(hub, run):
    assert is_uploaded(run("salary"))
    hub.faults.append(Fault("status", match="PUT .*settings", status=403))
    done = run("salary", "--private")
    assert done.returncode == 2
    assert "is now private" not in done.out
    assert not hub.repo("me/salary", "space").private


def test_a_private_space_stays_private(hub, run):
    assert is_uploaded(run("salary"))
    assert not hub.repo("me/salary", "space").private
    assert is_uploaded(run("salary", "--private"))
    assert hub.repo("me/salary", "space").private
    assert is_uploaded(run("salary"))
    assert hub.repo("me/salary", "space").private  # what is private is not published by the way
    assert is_uploaded(run("salary", "--private", "--name", "new"))
    assert hub.repo("me/new", "space").private


def test_a_new_private_space_is_never_public(hub, run):
    hub.faults.append(Fault("status", match="PUT .*settings", status=403))
    assert is_uploaded(run("salary", "--private"))
    assert hub.repo("me/salary", "space").private


def test_variables_of_others_stay_and_a_removed_one_is_a_change(hub, run):
    assert is_uploaded(run("salary"))
    others = {"MODEL_REPOSITORY": "theirs", "MY_MODEL_REPO": "theirs", "MODEL_REVISIONS": "theirs"}
    space = hub.repo("me/salary", "space")
    space.variables.update(**others, MODEL_REPO_RATING="me/rating")
    assert "unchanged" not in run("salary").out
    assert space.variables == others
    assert "unchanged" in run("salary").out


def test_variables_are_set_before_the_commit_and_removed_when_stale(hub, run):
    sha = publish(hub, "salary")
    assert is_uploaded(run("salary", "--models-owner", "me"))
    space = hub.repo("me/salary", "space")
    assert space.variables == {"MODEL_REPO": "me/salary", "MODEL_REVISION": sha}
    written = read_header(hub.files("me/salary", kind="space")["README.md"])
    assert written["preload_from_hub"][0].endswith(sha)
    asked = [f"{request.method} {request.path}" for request in hub.log]
    last = max(index for index, request in enumerate(asked) if request == "POST /api/spaces/me/salary/variables")
    assert last < asked.index("POST /api/spaces/me/salary/commit/main")
    space.variables.update(MODEL_REPO_RATING="me/rating", THEIRS="kept")
    assert is_uploaded(run("salary"))
    assert space.variables == {"THEIRS": "kept"}
    assert "preload_from_hub" not in read_header(hub.files("me/salary", kind="space")["README.md"])


def test_a_gallery_has_a_pair_of_variables_for_each_model(hub, run):
    shas = {name: publish(hub, name) for name in MODELS}
    assert is_uploaded(run("gallery", "--models-owner", "me"))
    expected = {}
    for name, sha in shas.items():
        expected |= {f"MODEL_REPO_{name.upper()}": f"me/{name}", f"MODEL_REVISION_{name.upper()}": sha}
    assert hub.repo("me/gallery", "space").variables == expected


def test_an_older_revision_can_be_named(hub, run):
    first = publish(hub, "salary")
    model = hub.repo("me/salary")
    model.add("main", model.at("main").files, "Again", "", "me")
    assert is_uploaded(run("salary", "--models-owner", "me", "--revision", f"salary={first}"))
    assert hub.repo("me/salary", "space").variables["MODEL_REVISION"] == first
    done = run("salary", "--models-owner", "me", "--revision", f"salary={SHA}")
    assert f"has no revision '{SHA}'" in done.err


def test_the_answers_compared_are_those_of_the_named_revision(hub, run, monkeypatch, tmp_path):
    first = publish(hub, "salary")
    repo = hub.repo("me/salary")
    repo.add("main", repo.at("main").files, "Again", "", "me")
    point_client_to(monkeypatch, hub.endpoint)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    folder = ROOT / "spaces/salary"
    model = staging.SpaceModel(folder, folder / "model", "/predict", "", "me/salary", first)
    assert model.load().folder.name == first


def test_a_model_of_the_hub_that_cannot_be_loaded_is_not_deployed(hub, run):
    publish(hub, "salary", change=(b'"temperature": 1', b'"temperature": "x'))
    assert run("salary", "--models-owner", "me").returncode == 2
    assert ("space", "me/salary") not in hub.store.repos


def test_a_model_that_cannot_run_is_not_deployed(hub, run, tmp_path):
    loans = copy_model(tmp_path / "loans", "salary", "Loans")
    (loans / "onnx/model.onnx").write_bytes(b"nonsense")
    config = json.loads((loans / "gallery.json").read_text())
    config["files"]["onnx/model.onnx"] |= {"sha256": hashlib.sha256(b"nonsense").hexdigest(), "bytes": 8}
    (loans / "gallery.json").write_text(json.dumps(config))
    done = run(str(loans))
    assert done.returncode == 2
    assert "onnx/model.onnx" in done.err
    assert ("space", "me/loans") not in hub.store.repos


def test_a_model_that_fails_only_when_it_answers_is_not_deployed(hub, run, monkeypatch):
    def fail(_):
        raise IndexError("indices element out of data bounds\nat node 3")

    monkeypatch.setattr(staging, "load_model", lambda *_: SimpleNamespace(example=dict, predict_batch=fail))
    done = run("salary")
    assert done.returncode == 2
    assert "model cannot answer its own example: indices element out of data bounds at node 3" in done.err
    assert ("space", "me/salary") not in hub.store.repos


def test_a_private_model_is_not_preloaded(hub, run):
    publish(hub, "salary", private=True)
    done = run("salary", "--models-owner", "me")
    assert is_uploaded(done)
    assert "in its secret HF_TOKEN" in done.out
    assert "preload_from_hub" not in read_header(hub.files("me/salary", kind="space")["README.md"])


def test_a_missing_or_incomplete_model_is_reported(hub, run):
    assert "Publish it first" in run("salary", "--models-owner", "me").err
    publish(hub, "salary")
    model = hub.repo("me/salary")
    files = dict(model.at("main").files)
    del files["background.csv"]
    model.add("main", files, "Less", "", "me")
    assert "me/salary lacks background.csv" in run("salary", "--models-owner", "me").err
    assert ("space", "me/salary") not in hub.store.repos


def break_soon(hub: Hub, stage: str, error: str, build_log: str = "") -> None:
    """Have the Space me/salary end in a stage as soon as it is deployed."""

    def fail() -> None:
        while ("space", "me/salary") not in hub.store.repos or len(hub.commits("me/salary", "space")) < 2:
            time.sleep(0.05)
        space = hub.repo("me/salary", "space")
        space.build_log, space.error, space.stage = build_log, error, stage

    threading.Thread(target=fail, daemon=True).start()


def test_an_app_that_fails_is_reported(hub, run):
    break_soon(hub, "RUNTIME_ERROR", "Exit code: 1")
    done = run("salary", wait=60)
    assert done.returncode == 2
    assert "me/salary ended in RUNTIME_ERROR: Exit code: 1. See the log: hf spaces logs me/salary\n" in done.err
    assert done.err.startswith("The end of its run log:\n  Exit code: 1\n")


def test_a_build_that_fails_shows_the_end_of_its_log(hub, run):
    lines = [f"Collecting package {number}" for number in range(100)]
    break_soon(
        hub,
        "BUILD_ERROR",
        "Build failed",
        "\n".join([*lines, "\x1b[31mERROR\x1b[0m: No matching distribution", "x" * 1000]),
    )
    done = run("salary", wait=60)
    assert done.returncode == 2
    shown = done.err.splitlines()
    assert shown[0] == "The end of its build log:"
    assert shown[1] == "  Collecting package 72"
    assert shown[-3:-1] == ["  ERROR: No matching distribution", f"  {'x' * 199}…"]
    assert shown[-1] == (
        "error: me/salary ended in BUILD_ERROR: Build failed. See the log: hf spaces logs me/salary --build"
    )
    assert [request.path for request in hub.log if "/logs/" in request.path] == ["/api/spaces/me/salary/logs/build"]


@pytest.mark.parametrize("fault", [Fault("hang", match="/logs/"), Fault("status", match="/logs/", status=403)])
def test_an_unavailable_log_is_omitted(hub, run, deploy, monkeypatch, fault):
    monkeypatch.setattr(live, "LOG_SECONDS", 1.0)
    hub.faults.append(fault)
    break_soon(hub, "BUILD_ERROR", "Build failed", "Collecting")
    done = run("salary", wait=60)
    assert (
        done.err
        == "error: me/salary ended in BUILD_ERROR: Build failed. See the log: hf spaces logs me/salary --build\n"
    )


def test_a_failure_mentions_the_new_space(hub, run):
    hub.faults.append(Fault("status", match="POST .*/commit/", status=500))
    left = (
        "me/salary has been created; run the same command to continue. To delete it: hf repos delete me/salary --type"
    )
    assert run("salary").err.endswith(f"{left} space\n")
    again = run("salary").err
    assert "an internal error (500: Injected status 500)" in again
    assert left not in again


def test_a_failed_commit_leaves_the_variables_as_they_were(hub, run):
    publish(hub, "salary")
    assert is_uploaded(run("salary", "--models-owner", "me"))
    before = dict(hub.repo("me/salary", "space").variables)
    assert before
    publish_again = hub.repo("me/salary").add("main", {**hub.repo("me/salary").at("main").files}, "Again", "", "me").sha
    hub.faults.append(Fault("status", match="POST .*/commit/", status=500))
    failed = run("salary", "--models-owner", "me")
    assert f"MODEL_REVISION is set to {publish_again}" in failed.out
    assert "an internal error (500: Injected status 500)" in failed.err
    assert hub.repo("me/salary", "space").variables == before


@pytest.mark.parametrize("restorable", [True, False])
def test_an_interrupted_commit_leaves_the_variables_as_they_were(hub, run, deploy, monkeypatch, restorable):
    publish(hub, "salary")
    assert is_uploaded(run("salary"))
    before = dict(hub.repo("me/salary", "space").variables)

    def interrupt(*_):
        if not restorable:
            hub.faults.append(Fault("status", match="/variables", status=500))
        raise KeyboardInterrupt

    monkeypatch.setattr(deploy, "commit_files", interrupt)
    stopped = run("salary", "--models-owner", "me")
    assert stopped.returncode == 130
    assert "MODEL_REPO is set to me/salary" in stopped.out
    assert (hub.repo("me/salary", "space").variables == before) is restorable
    assert ("warning: the variables of me/salary could not be restored" in stopped.err) is not restorable


def test_a_space_whose_description_is_damaged_is_deployed_again(hub, run):
    assert is_uploaded(run("salary"))
    whole = hub.repo("me/salary", "space").at("main").files
    damaged = {**whole, "model/gallery.json": Blob(b"{")}
    hub.repo("me/salary", "space").add("main", damaged, "Damage it", "", "me")
    assert is_uploaded(run("salary"))
    assert (
        hub.files("me/salary", kind="space")["model/gallery.json"]
        == (ROOT / "spaces/salary/model/gallery.json").read_bytes()
    )


def test_a_variable_that_cannot_be_set_leaves_the_others_as_they_were(hub, run):
    publish(hub, "salary")
    assert is_uploaded(run("salary"))
    variables = hub.repo("me/salary", "space").variables
    variables.update(MODEL_REPO_RATING="me/rating")
    hub.faults.append(Fault("status", match="POST .*/variables", status=400, times=1))
    failed = run("salary", "--models-owner", "me")
    assert "MODEL_REPO_RATING is deleted; it was me/rating" in failed.out
    assert "Injected status 400" in failed.err
    assert variables == {"MODEL_REPO_RATING": "me/rating"}


def test_a_space_that_was_renamed_is_not_overwritten(hub, run):
    assert is_uploaded(run("salary"))
    hub.repo("me/salary", "space").id = "me/renamed"
    assert "me/salary is now called me/renamed; use that name" in run("salary").err


@pytest.mark.parametrize("gated", ["auto", "manual"])
def test_a_gated_model_needs_a_token_as_a_private_one_does(hub, run, gated):
    publish(hub, "salary")
    hub.repo("me/salary").gated = gated
    done = run("salary", "--models-owner", "me")
    assert "me/salary is gated: the Space needs a token that can read it, in its secret HF_TOKEN." in done.out
    assert b"preload_from_hub" not in hub.files("me/salary", kind="space")["README.md"]


def test_no_space_is_created_for_a_header_that_the_hub_refuses(hub, run, copy):
    path = copy / "spaces/salary/README.md"
    path.write_text(path.read_text().replace("colorFrom: ", "colorFrom: very"))
    done = run("salary")
    assert 'does not accept the header of README.md: "colorFrom" must be one of [red' in done.err
    assert not hub.store.repos


@pytest.mark.parametrize(
    ("match", "fault", "says"),
    [
        ("/runtime", {"status": 200, "body": NULL}, "that the client cannot read (TypeError: "),
        ("/variables", {"status": 404, "body": BARE}, "(404): GET /api/spaces/me/salary/variables."),
        ("/variables", {"status": 501, "body": PAGE}, "does not support this request (501): GET /api/spaces/me/sal"),
        (
            "POST .*/commit/",
            {"status": 413, "body": PAGE},
            "rejects a request of this size (413): POST /api/spaces/me/",
        ),
        (
            "POST /api/repos/create",
            {"status": 422, "body": '{"error": "sdk?"}'},
            "refused the request for me/salary (422: sdk?).",
        ),
    ],
)
def test_answers_of_other_servers_are_reported(hub, run, match, fault, says):
    hub.faults.append(Fault("status", match=match, **fault))
    done = run("salary")
    assert done.returncode == 2
    assert says in done.err
    assert done.err.count("\n") == 1


def test_a_trusted_job_deploys_without_a_token(hub, run, monkeypatch):
    hub.store.create("space", "me/salary", False, "gradio", "cpu-basic")
    monkeypatch.setattr(_auth, "_OIDC_TOKEN_CACHE", None)
    for name, value in hub.trust("me/salary", "space").items():
        monkeypatch.setenv(name, value)
    assert is_uploaded(run("salary", token=None))
    assert "app.py" in hub.files("me/salary", kind="space")
    assert not [request for request in hub.log if request.path in ("/api/whoami-v2", "/api/repos/create")]
    monkeypatch.setenv("HF_OIDC_RESOURCE", "me/salary")  # a model's
    assert "set it to spaces/me/salary" in run("salary", token=None).err
    monkeypatch.setattr(_auth, "_OIDC_TOKEN_CACHE", None)


def test_a_token_for_something_else_is_refused(hub, run):
    hub.add_organisation("us", {"me": "write"}, paid=True)
    model = hub.add_fine_grained("me", ("model", "me/salary", ["repo.write"]))
    assert "lacks the permission repo.write for me/salary" in run("salary", token=model).err
    ours = hub.add_fine_grained("me", ("org", "us", ["repo.write"]))
    assert "lacks the permission repo.write for me/salary" in run("salary", token=ours).err
    assert not hub.store.repos
    assert is_uploaded(run("salary", token=ours, owner="us"))
    space = hub.add_fine_grained("me", ("space", "us/salary", ["repo.write"]))
    assert is_uploaded(run("salary", token=space, owner="us"))


# --- all the way ---


@pytest.fixture
def real(tmp_path) -> Iterator[SimpleNamespace]:
    """A Hub that really runs its Spaces, and the script as a person runs it."""
    with Hub(run_spaces=True) as hub:
        hub.set_paid("me", True)

        def run(*arguments: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, SCRIPT, "--owner", "me", "--timeout", "120", *arguments]
            environment = {**os.environ, **hub.environment(tmp_path)}
            return subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=180)

        yield SimpleNamespace(hub=hub, run=run)


def test_a_space_serves_a_model_of_the_hub_and_later_its_own(real, deploy):
    publish(real.hub, "salary", change=(b'"temperature": 1', b'"temperature": 3'))
    done = real.run("salary", "--models-owner", "me")
    space = real.hub.repo("me/salary", "space")
    assert done.returncode == 0, done.stderr
    assert f"Its predictions at {space.host} match the local ones." in done.stdout
    _, embedded = deploy.choose(deploy.make_parser().parse_args(["salary", "--owner", "me"]))
    assert "/predict: " in " ".join(live.probe(embedded, space.host, None))  # it really is the other model
    done = real.run("salary")
    assert done.returncode == 0, done.stderr
    assert live.probe(embedded, space.host, None) == []
    assert len(real.hub.commits("me/salary", "space")) == 3
    real.hub.put_to_sleep("me/salary")
    done = real.run("salary")
    assert done.returncode == 0, done.stderr
    stages = [line.split()[-1] for line in done.stdout.splitlines() if re.match(r" *\d+ s  ", line)]
    assert (stages[0], stages[-1]) == ("sleeping", "running")
    assert f"Its predictions at {space.host} match the local ones." in done.stdout
    assert len(real.hub.commits("me/salary", "space")) == 3


def test_a_space_that_fell_back_to_its_own_model_is_detected(real):
    """The model it should pull is private, and it has no token; its own gives the same answers."""
    publish(real.hub, "salary", private=True)
    began = time.monotonic()
    done = real.run("salary", "--models-owner", "me")
    assert time.monotonic() - began < 120  # the time limit: it does not wait for what will not come
    assert done.returncode == 2
    assert "hf spaces secrets add me/salary -s HF_TOKEN" in done.stderr
    assert "/predict: This page runs its built-in model. me/salary does not exist on the Hub" in done.stderr
    assert "is private: the Space needs a token" in done.stdout


def test_a_users_own_model_online(real, tmp_path):
    flowers = copy_model(tmp_path / "flowers", "cat_dog", "Flowers", labels=["rose", "tulip"], label_names={})
    done = real.run(str(flowers))
    assert done.returncode == 0, done.stderr
    space = real.hub.repo("me/flowers", "space")
    assert f"Its predictions at {space.host} match the local ones." in done.stdout
    page = httpx2.get(space.host, timeout=30).text
    assert "It is neither rose nor tulip." in page  # the answer to the first example
    assert "cat.png" not in page


def test_the_gallery_online(real, deploy):
    done = real.run("gallery")
    assert done.returncode == 0, done.stderr
    host = real.hub.repo("me/gallery", "space").host
    assert f"Its predictions at {host} match the local ones." in done.stdout
    _, models = deploy.choose(deploy.make_parser().parse_args(["gallery", "--owner", "me"]))
    assert [model.api_name for model in models] == [f"/{name}" for name in sorted(MODELS)]
    assert live.probe(models, host, None) == []
