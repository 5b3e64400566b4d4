"""Portability to Windows, as far as Linux can imitate it: see tests/windows."""

import ast
import re
import subprocess
import sys
import urllib.request

import pytest

from hub.local import Hub
from hub.local.__main__ import format_shell_lines
from shared import Recommender
from shared.archives import make_safe_filename
from tests.conftest import ROOT, serve_app
from tests.windows import imitate_windows

SOURCES = [
    path
    for folder in ("shared", "training", "spaces", "benchmarks", "examples", "hub")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if not path.name.startswith("test_")
]
# Windows lacks them, or has them behave otherwise: rename does not replace a file, and a symbolic link takes rights.
METHODS = {"rename", "symlink_to", "hardlink_to"}
POSIX = {
    "os.link", "os.symlink", "os.fork", "os.getuid", "os.geteuid", "os.killpg", "os.setsid", "os.mkfifo",
    "signal.SIGKILL", "signal.SIGHUP", "signal.SIGALRM", "signal.SIGUSR1", "signal.alarm", "signal.pause",
}  # fmt: skip
MEANT = {
    ("training/folder.py", "out.rename"),  # of folders, to where nothing is
    ("training/folder.py", "folder.rename"),
    ("training/folder.py", "before.rename"),
    ("training/rating.py", "ratings.rename"),  # of a table's columns
    ("training/rating.py", "read_table(path, ['userId', 'movieId', 'rating']).rename"),
    ("training/own_data/rows.py", "values[roles.time].rename"),  # of a column
    ("shared/ui/movies.py", "table.rename"),  # of a table's columns
    ("hub/live_static.py", "os.geteuid"),  # where there is one
    ("hub/local/runner.py", "os.killpg"),  # where there is one
    ("hub/local/runner.py", "signal.SIGKILL"),
}


def test_only_portable_functions_are_called():
    found = {
        (path.relative_to(ROOT).as_posix(), ast.unparse(node))
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and (node.attr in METHODS or ast.unparse(node) in POSIX)
    }
    assert found == MEANT


def test_text_is_read_and_written_in_an_encoding_that_is_named():
    """Ruff finds most of it (PLW1514), but neither subprocesses nor every path.

    What training writes has the same ends of lines on every system: files are compared by their hashes.
    """
    unnamed = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name, options = getattr(node.func, "attr", ""), {word.arg for word in node.keywords}
            is_text = (name in ("read_text", "write_text") and len(node.args) < 1 + (name == "write_text")) or (
                options & {"text", "universal_newlines"} and ast.unparse(node.func).startswith("subprocess.")
            )
            is_same_everywhere = name != "write_text" or "training" not in path.parts or "newline" in options
            if is_text and not ("encoding" in options and is_same_everywhere):
                unnamed.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not unnamed


def test_the_imitation_refuses_what_windows_refuses(tmp_path):
    """Else the tests that run as on Windows would say nothing."""
    code = """
import multiprocessing, os, sys
from pathlib import Path
refused = []
def tried(function, *arguments):
    try:
        function(*arguments)
    except OSError:
        refused.append(function.__name__)
for name in ("a", "b"):
    Path(name).write_text("\u20ac")
tried(os.rename, "a", "b")
tried(os.symlink, "a", "link")
tried(Path("con").write_text, "x")
tried(os.mkdir, "x" * 200 + "/" + "x" * 200)
with open("a", "rb") as file:
    tried(os.remove, "a")
    tried(os.replace, "b", "a")
os.replace("b", "a")
print(refused, Path("a").read_bytes(), multiprocessing.get_start_method(), sys.stdout.encoding)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=imitate_windows(), capture_output=True, check=True
    )
    assert done.stdout.decode().split("]")[0] == "['rename', 'symlink', 'write_text', 'mkdir', 'unlink', 'replace'"
    assert done.stdout.decode().split("]")[1].split() == [r"b'\x80'", "spawn", "cp1252"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("cat-1", "cat-1"), ("猫 1", "猫 1"), ('a<b>:"c/d\\e|f?*', "a_b___c_d_e_f__"), ("con", "_con"),
        ("aux", "_aux"), ("Prn.txt", "_Prn.txt"), ("LPT9", "_LPT9"), ("com10", "com10"),
        ("NUL.tar", "_NUL.tar"), ("com¹", "_com¹"), ("ends with a dot. ", "ends with a dot"), (".hidden", "hidden"),
        ("...", "file"), ("", "file"), ("\0\n", "__"), ("猫" * 100, "猫" * 66), ("x" * 300, "x" * 100),
        ("half a pair \ud800", "half a pair _"),
    ],
)  # fmt: skip
def test_a_file_name_made_of_any_text_is_portable(text, name):
    assert make_safe_filename(text) == name
    assert make_safe_filename(name) == name


@pytest.mark.parametrize("name", ["rating", "gallery"])
def test_a_page_is_served(tmp_path, name):
    with serve_app(name, tmp_path, imitate_windows()) as url, urllib.request.urlopen(url) as page:
        assert page.status == 200


def test_a_model_of_the_hub_is_kept_without_links(tmp_path):
    """The cache has copies then; loaded once, a commit needs no network."""
    command = "from shared import load_model; import sys; model = load_model('me/rating', revision=sys.argv[1])"
    ask = f"{command}; print(model.predict(15, 260).rating)"
    publish = [sys.executable, "-m", "training.publish", ROOT / "spaces/rating/model", "me/rating"]
    with Hub() as hub:
        environment = imitate_windows(hub.environment(tmp_path))
        done = subprocess.run(publish, env=environment, capture_output=True, encoding="cp1252", check=False)
        assert done.returncode == 0, done.stderr
        (commit, *_) = hub.commits("me/rating")
        load = [sys.executable, "-c", ask, commit]
        first = subprocess.run(load, env=environment, capture_output=True, encoding="cp1252", check=False)
        assert first.returncode == 0, first.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_symlink()]
    again = subprocess.run(load, env=environment, capture_output=True, encoding="cp1252", check=False)
    assert again.returncode == 0, again.stderr
    assert first.stdout == again.stdout
    assert float(again.stdout) == pytest.approx(Recommender(ROOT / "spaces/rating/model").predict(15, 260).rating)


def test_the_lines_of_the_local_hub_are_for_the_systems_shell():
    assert format_shell_lines({"HF_TOKEN": "x"}, for_windows=False) == "source .venv/bin/activate\nexport HF_TOKEN=x"
    assert (
        format_shell_lines({"HF_TOKEN": "x"}, for_windows=True) == '.venv\\Scripts\\Activate.ps1\n$env:HF_TOKEN = "x"'
    )


# --- docs/windows.md ---

TEXT = (ROOT / "docs/windows.md").read_text(encoding="utf-8")
LINES = [line for block in re.findall(r"```powershell\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]


def test_the_table_has_every_target_of_the_makefile():
    verbs = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    others = {"help", "fix", "train", "bench", "bench-training", "lock", "clean"}
    assert set(re.findall(r"^\| `make ([\w-]+)`", TEXT, re.MULTILINE)) == verbs - others


def test_its_commands_are_those_of_make():
    """What they install serves the gallery: see test_staged_space_runs_alone in tests/spaces/test_deploy.py."""
    command = ["make", "--dry-run", "--always-make", "demo"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for ours, windows in (
        (".venv/bin/", ""), ("python -m pip", "pip"), (" --quiet --disable-pip-version-check --no-compile", ""),
        ("--requirement", "-r"), ("--editable", "-e"),
    ):  # fmt: skip
        done = done.replace(ours, windows)
    make, activate, *others = LINES[:5]
    assert (make, activate) == ("python -m venv .venv", r".venv\Scripts\activate")
    assert " -m venv .venv || " in done
    lines = [line for line in done.splitlines() if line.startswith(("pip ", "python spaces/"))]
    assert lines.pop(0).startswith("pip install --require-hashes --no-deps -r locks/pip.txt")  # which only saves time
    assert lines == others


def test_models_of_ones_own_are_shown_as_by_make():
    command = ["make", "--dry-run", "demo", "MODELS=runs"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert 'MODELS="runs" .venv/bin/python spaces/gallery/app.py' in done.splitlines()
    assert '\n| `make demo MODELS=runs` | `$env:MODELS="runs"; python spaces/gallery/app.py`' in TEXT


def test_its_training_is_run():
    """By tests/training/test_loop.py, with the restrictions of Windows."""
    assert LINES[5:] == ["pip install -r requirements.txt", "python -m training.salary --smoke"]
