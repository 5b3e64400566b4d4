"""Installing this repository with pip, in another project and for development."""

import os
import subprocess
import venv
from pathlib import Path

import pytest

from tests.conftest import ROOT, copy_repository, install_packages

# In whose folder lies a module that is called as one of ours is.
PROGRAM = f"""
import shared
from model_gallery import BadInput, load_model
model = load_model({str(ROOT / "spaces/salary/model")!r})
try:
    model.predict({{}})
except BadInput:
    print(shared.OWNER, model.predict(model.example()).label)
"""


def make_environment(folder: Path) -> Path:
    venv.create(folder)
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


@pytest.mark.install
def test_the_package_is_light_and_works_beside_a_folder_called_shared(tmp_path, salary):
    repository, project = tmp_path / "repository", tmp_path / "project"
    copy_repository(repository)
    (project / "shared").mkdir(parents=True)
    (project / "shared/__init__.py").write_text("OWNER = 'me'")
    (project / "program.py").write_text(PROGRAM, encoding="utf-8")
    python = make_environment(tmp_path / "venv")
    install_packages(python, repository)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def run(*arguments):
        command = [python, *arguments]
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, encoding="utf-8", check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    assert run("program.py") == ["me", salary.predict(salary.example()).label]
    listing = "from importlib.metadata import *; print(*{n.lower() for d in distributions() for n in [d.name]})"
    installed = set(run("-c", listing))
    assert "model-gallery" in installed
    assert not installed & {"gradio", "pandas", "torch", "transformers", "scipy"}
    top = "from importlib.metadata import *; print(*{f.parts[0] for f in files('model-gallery') if len(f.parts) > 1})"
    assert {name for name in run("-c", top) if not name.endswith(".dist-info")} == {"model_gallery"}
    needed = {
        path.relative_to(ROOT / "shared")
        for path in (ROOT / "shared").rglob("*")
        if path.suffix in (".py", ".css", ".json")
    }
    (package,) = (tmp_path / "venv").rglob("site-packages/model_gallery")
    assert needed <= {path.relative_to(package) for path in package.rglob("*")}


@pytest.mark.install
def test_an_editable_install_works_from_any_folder(tmp_path):
    """Without any other package, which are a matter of requirements.txt."""
    repository = tmp_path / "repository"
    copy_repository(repository)
    python = make_environment(tmp_path / "venv")
    install_packages(python, "--no-deps", "--editable", repository)
    code = "import sys, importlib.util as u; print(*(u.find_spec(name).origin for name in sys.argv[1:]))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    names = ("shared", "training", "hub", "locks", "model_gallery")
    done = subprocess.run([python, "-c", code, *names], cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert done.stdout.decode().split() == [
        str(repository / name / "__init__.py") for name in ("shared", "training", "hub", "locks", "shared")
    ]
