"""The workflows, hooks and CONTRIBUTING.md name commands, versions and files that exist."""

import ast
import importlib.util
import itertools
import os
import re
import shlex
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from locks import release
from locks.release import ReleaseError, make_notes
from shared import __version__
from tests.conftest import DEMOS, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
WORKFLOWS = {
    path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in (ROOT / ".github/workflows").glob("*.yml")
}
JOBS = [(name, job, content) for name, flow in WORKFLOWS.items() for job, content in flow["jobs"].items()]
STEPS = [(f"{name}: {job}", step) for name, job, content in JOBS for step in content.get("steps", ())]
SUPPORTED = [
    found[1] for line in PROJECT["project"]["classifiers"] if (found := re.search(r"Python :: (3\.\d+)", line))
]
GITHUBS_OWN = {"gh", "git"}


def find_commands():
    """Every command of the workflows and of CONTRIBUTING.md, as words."""
    lines = [step["run"] for _, step in STEPS if "run" in step]
    for block in re.findall(r"```bash\n(.*?)```", CONTRIBUTING, re.DOTALL):
        lines += block.splitlines()
    lines += re.findall(r"`((?:make|git|python) [^`]+)`", CONTRIBUTING)
    return [shlex.split(part, comments=True) for line in lines for part in line.split("&&")]


def check_command(words):
    """Assert that a command names what is in this repository."""
    program, *rest = [word for word in words if not word.startswith("HOME=")]
    if program == "make":
        targets = [word for word in rest if "=" not in word]
        subprocess.run(["make", "-n", *targets], cwd=ROOT, check=True, capture_output=True)
    elif Path(program).name == "python":
        is_module = rest[0] == "-m"
        place = ROOT / (f"{rest[1].replace('.', '/')}.py" if is_module else rest[0])
        assert place.is_file(), words
    elif program.startswith(".venv/bin/"):
        tools = PROJECT["project"]["optional-dependencies"]["check"]
        assert any(tool.startswith(f"{Path(program).name}==") for tool in tools), words
    elif program.startswith("."):
        assert os.access(ROOT / program, os.X_OK), words
    else:
        assert program in (*GITHUBS_OWN, "gradio"), words


@pytest.mark.parametrize("words", find_commands(), ids=" ".join)
def test_a_command_is_there(words):
    check_command(words)


def test_every_supported_python_is_tested_and_named():
    versions = list(
        itertools.chain(*(job["strategy"]["matrix"].get("python", ()) for _, _, job in JOBS if "strategy" in job))
    )
    main = WORKFLOWS["checks.yml"]["jobs"]["all"]["container"]["image"].removeprefix("python:").split("-")[0]
    assert sorted([*versions, main]) == SUPPORTED
    assert PROJECT["project"]["requires-python"] == f">={SUPPORTED[0]}"
    for file in ("README.md", "CONTRIBUTING.md", "docs/windows.md", "locks/__init__.py"):
        assert f"Python {SUPPORTED[0]} to {SUPPORTED[-1]}" in (ROOT / file).read_text(encoding="utf-8"), file
    for where, step in STEPS:
        if "python-version" in step.get("with", {}):
            assert step["with"]["python-version"] in ("${{ matrix.python }}", main), where
    assert f"FROM python:{main}-" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_actions_are_pinned_by_commit_and_the_same_everywhere():
    used = [step["uses"] for _, step in STEPS if "uses" in step]
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action in used)
    assert len({action.split("@")[0] for action in used}) == len(set(used))
    for _, _, job in JOBS:
        if "uses" in job:
            assert (ROOT / job["uses"]).is_file()


def test_jobs_are_bounded_in_time_and_rights():
    for name, job, content in JOBS:
        assert "uses" in content or content["timeout-minutes"] <= 90, (name, job)
        assert WORKFLOWS[name]["permissions"] in ({}, {"contents": "read"})
    for where, step in STEPS:
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"] == {"persist-credentials": False}, where


def test_the_hub_gets_every_model_and_both_kinds_of_space(deploy):
    jobs = WORKFLOWS["hub.yml"]["jobs"]
    assert sorted(jobs["models"]["strategy"]["matrix"]["model"]) == sorted(DEMOS)
    command = next(step["run"] for step in jobs["spaces"]["steps"] if "deploy.py" in step.get("run", ""))
    kinds = []
    for space in jobs["spaces"]["strategy"]["matrix"]["include"]:
        line = command.replace("$OPTIONS", space["options"]).replace("$NAME", space["name"])
        options = deploy.make_parser().parse_args(shlex.split(line.split("deploy.py")[1]))
        kinds.append((options.name, options.static, options.hardware))
    assert sorted(kinds) == [("gallery", True, None), ("gradio", False, "zero-a10g")]
    assert jobs["checks"]["uses"] == "./.github/workflows/checks.yml"
    assert (jobs["models"]["needs"], jobs["spaces"]["needs"]) == ("checks", "models")  # no tag that fails is deployed
    for job, resource in (("models", "'{0}/{1}', vars.HF_OWNER, matrix.model"),
                          ("spaces", "'spaces/{0}/{1}', vars.HF_OWNER, matrix.name")):  # fmt: skip
        assert jobs[job]["permissions"] == {"contents": "read", "id-token": "write"}  # as docs/publishing.md says
        *before, last = jobs[job]["steps"]
        assert last["env"]["HF_TOKEN"] == "${{ secrets.HF_TOKEN }}"
        assert "TOKEN" not in str([jobs[job]["env"], *before])  # which install packages
        asked = last["env"]["HF_OIDC_RESOURCE"]
        assert asked == f"${{{{ !secrets.HF_TOKEN && format({resource}) || '' }}}}"  # "" if there is a token


def test_the_container_has_a_home_of_its_user():
    """Firefox does not start as root in a home of somebody else, and pip keeps no cache there."""
    job = WORKFLOWS["checks.yml"]["jobs"]["all"]
    assert [step["run"] for step in job["steps"] if ".ci/run" in step.get("run", "")] == ["HOME=~root .ci/run"]
    (cache,) = [step["with"]["path"] for step in job["steps"] if "actions/cache" in step.get("uses", "")]
    assert cache == "${{ env.PIP_CACHE_DIR }}"
    assert job["env"] == {"PIP_CACHE_DIR": "/var/cache/pip"}


def test_dependabot_looks_where_requirements_are():
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text(encoding="utf-8"))["updates"]
    assert [update["package-ecosystem"] for update in updates] == ["pip", "github-actions"]
    found = {
        path.parent
        for folder in updates[0]["directories"]
        for path in ROOT.glob(f"{folder[1:]}/requirements.txt".lstrip("/"))
    }
    assert found == {ROOT, *(path.parent for path in (ROOT / "spaces").glob("*/requirements.txt"))}


def test_hooks_run_what_make_check_runs():
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert repo["repo"] == "local"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").split("\ncheck: ")[1].split("\n\n")[0]
    programs = {hook["entry"].split()[0] for hook in repo["hooks"]}
    assert {program.removeprefix(".venv/bin/") for program in programs} == {"ruff", "mypy", "lint-imports"}
    assert all(program.replace(".venv/bin", "$(BIN)") in makefile for program in programs)


@pytest.mark.skipif(not importlib.util.find_spec("pre_commit"), reason="pre-commit is not installed: make check")
def test_the_hooks_are_valid():
    command = [sys.executable, "-m", "pre_commit", "validate-config", ROOT / ".pre-commit-config.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_contributing_is_one_page_and_its_links_have_targets():
    lines = CONTRIBUTING.splitlines()
    assert len(lines) <= 90
    assert not [line for line in lines if len(line) > 120 and not line.startswith("|")]
    for target in re.findall(r"\]\((?!http)([^)#]+)[^)]*\)", CONTRIBUTING):
        assert (ROOT / target).exists(), target
    for name in re.findall(r"`([\w.]+/[\w./*]*)`", CONTRIBUTING):
        is_made = name.startswith(".venv")
        assert is_made or any(ROOT.glob(name.rstrip("/").replace("NAME", "*"))), name


# --- releases ---


def test_the_newest_version_of_the_changelog_is_that_of_the_package():
    found = [section[0] for section in release.SECTION.findall(CHANGELOG)]
    assert found[0] == __version__
    assert found == sorted(found, key=lambda version: [int(part) for part in version.split(".")], reverse=True)
    tree = ast.parse((ROOT / "shared/__init__.py").read_text(encoding="utf-8"))
    (stated,) = (
        node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "__version__"
    )
    assert ast.literal_eval(stated) == __version__  # setuptools reads it without running the file
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)


@pytest.mark.parametrize(
    ("tag", "changelog", "sentence"),
    [
        ("v1.2.4", "## 1.2.3 (2026-11-28)\n- New\n", r"The tag is v1.2.4, but shared.__version__ is 1.2.3"),
        ("1.2.3", "## 1.2.3 (2026-11-28)\n- New\n", r"the tag must be v1.2.3\."),
        ("v1.2.3", "## 1.2.2 (2026-11-28)\n- New\n", r"The first section of CHANGELOG.md is about 1.2.2, not 1.2.3\."),
        ("v1.2.3", "## 1.2.3 (unreleased)\n- New\n", r"write '## 1.2.3 \(YYYY-MM-DD\)'\."),
        ("v1.2.3", "# Changelog\n", r"is about None, not 1.2.3"),
    ],
)
def test_a_release_that_is_not_ready_is_refused(tag, changelog, sentence):
    with pytest.raises(ReleaseError, match=sentence):
        make_notes(tag, "1.2.3", changelog)


def test_the_notes_of_a_release_are_its_section(tmp_path, monkeypatch, capsys):
    changelog = tmp_path / "CHANGELOG.md"
    changelog.write_text(f"# Changelog\n\n## {__version__} (2026-11-28)\n\n### Added\n- New\n\n## 0.0.1\n- Old\n")
    monkeypatch.setattr(release, "CHANGELOG", changelog)
    assert release.main([f"v{__version__}", str(tmp_path / "runs/notes.md")]) == 0
    assert (tmp_path / "runs/notes.md").read_text() == "### Added\n- New\n"
    assert release.main(["v0.0.1", str(tmp_path / "notes.md")]) == 1
    assert "The tag is v0.0.1" in capsys.readouterr().err


def test_a_wheel_built_from_the_sdist_has_every_file_of_the_package(tmp_path):
    """As `make dist` builds them, without an environment of their own."""
    code = "import sys, setuptools.build_meta as backend; print(getattr(backend, sys.argv[1])(sys.argv[2]))"

    def build(kind, folder):
        command = [sys.executable, "-c", code, kind, str(tmp_path)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return tmp_path / done.stdout.split()[-1]

    source = tmp_path / "source"
    names = ["pyproject.toml", "setup.py", "README.md", "LICENSE", "shared"]
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *names]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")[:-1]
    for name in files:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    with tarfile.open(build("build_sdist", source)) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    wheel = build("build_wheel", unpacked)
    assert wheel.name == f"model_gallery-{__version__}-py3-none-any.whl"
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("model_gallery/")}
    assert packed == {name.replace("shared/", "model_gallery/", 1) for name in files if name.startswith("shared/")}
