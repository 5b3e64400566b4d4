"""The job on the Hub: its packages are the project's, the Hub's command understands it, and it runs the script."""

import os
import re
import subprocess
import sys
import tomllib

import pytest

from tests.conftest import DEMOS, ROOT
from tests.test_requirements import find_imports

JOB = ROOT / "training/job.py"
HEADER = tomllib.loads(
    JOB.read_text().split("# /// script\n")[1].split("# ///\n")[0].replace("# ", "").replace("#\n", "\n")
)
COMMANDS = re.findall(
    r"^hf (jobs uv run .*training/job\.py .*)$", (ROOT / "docs/training.md").read_text(), re.MULTILINE
)


def test_packages_are_those_of_the_project():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    light = (ROOT / "spaces/gallery/requirements.txt").read_text().split()
    assert HEADER["dependencies"] == sorted([*extras["training"], *light])


def test_the_jobs_folders_exist():
    folders = [volume.split(":")[0] for volume in HEADER["tool"]["hf-jobs"]["volumes"]]
    assert folders
    assert all((ROOT / folder).is_dir() for folder in folders)


def test_a_job_has_every_folder_that_its_code_imports_from():
    """In the job, nothing of this project is installed."""
    folders = {volume.split(":")[0].removeprefix("./") for volume in HEADER["tool"]["hf-jobs"]["volumes"]}
    ours = {path.parent.name for path in ROOT.glob("*/__init__.py")} | folders
    imported = {name for folder in folders for path in (ROOT / folder).rglob("*.py") for name in find_imports(path)}
    assert {"locks", "shared"} <= imported
    assert imported & ours <= folders


def test_the_docs_have_a_command_for_each_demo():
    assert {command.split("job.py ")[1].split()[0] for command in COMMANDS} >= set(DEMOS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_hubs_command_understands_it(command, tmp_path):
    """Without asking the Hub: --dry-run resolves options, hardware and the script's header."""
    environment = {
        **os.environ,
        "HF_HOME": str(tmp_path),
        "HF_TOKEN": "hf_" + "x" * 34,
        "HF_ENDPOINT": "http://127.0.0.1:9",
    }
    words = command.replace("jobs uv run", "jobs uv run --dry-run --format human").split()
    done = subprocess.run(
        [sys.executable, "-m", "huggingface_hub.cli.hf", *words],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert command.split("job.py ")[1].split("USER")[0].strip() in said, said
    assert "/gallery/training" in said


@pytest.mark.training
def test_it_runs_the_script_with_its_options(tmp_path):
    command = [sys.executable, JOB, "salary", "--no-such-option"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "unrecognized arguments: --no-such-option" in done.stderr
