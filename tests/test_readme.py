"""The README does what it says: every snippet in it runs, and its table repeats the measured figures."""

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
SHELL = [line.split("  #")[0].strip() for language, code in BLOCKS if language == "bash" for line in code.splitlines()]


def figures(name):
    return json.loads((ROOT / f"spaces/{name}/model/metrics.json").read_text())


def test_there_are_snippets():
    assert len(PYTHON) == 2
    assert len(SHELL) >= 12


def test_python_snippets_run(gallery_url, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    for code in PYTHON:
        exec(compile(code.replace("http://127.0.0.1:7860", gallery_url), "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert ">=50k" in printed
    assert re.search(r"\n[0-5]\.\d+\n", printed)
    assert printed.count("cat") >= 3


def test_curl_snippet_runs(gallery_url):
    lines = [line.replace("http://127.0.0.1:7860", gallery_url) for line in SHELL if "curl" in line]
    assert len(lines) == 5
    done = subprocess.run(["bash", "-c", "\n".join(lines)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.count("event: complete") == 2
    assert '"rating":' in done.stdout
    assert '"label": "cat"' in done.stdout


@pytest.mark.parametrize("verb", sorted({line.split()[1] for line in SHELL if line.startswith("make ")} | {"test-all"}))
def test_make_verbs_exist(verb):
    subprocess.run(["make", "-n", verb], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.training
@pytest.mark.parametrize("line", [line for line in SHELL if line.startswith("python -m training")])
def test_training_commands_are_understood(line, tmp_path):
    """Each command, made quick: made-up data, and a folder of its own to write to."""
    options = [
        option for option in line.split()[3:] if option not in ("--embed", "--data", "~/movielens", "~/my-pictures")
    ]
    command = [sys.executable, "-m", line.split()[2], *options, "--smoke", "--out", tmp_path / "out"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_staged_space_runs_without_the_repository(tmp_path):
    """The README's cp and mv lines, then the staged app with nothing of the repository on its path."""
    stage = next(line for line in SHELL if line.startswith("mkdir"))
    (tmp_path / "spaces").symlink_to(ROOT / "spaces")
    (tmp_path / "shared").symlink_to(ROOT / "shared")
    for _ in range(2):  # staging again must not nest folders
        subprocess.run(["bash", "-c", stage.replace("cp -r", "cp -rL")], cwd=tmp_path, check=True)
    assert not (tmp_path / "build/salary/shared/shared").exists()
    typical = "{name.replace('-', '_'): app.contract.typical[name] for name in app.contract.columns}"
    code = f"import app, shared; print(shared.__file__); print(app.predict(**{typical})[0]['label'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "build/salary", capture_output=True, text=True, check=True
    )
    assert str(tmp_path) in done.stdout
    assert "50k" in done.stdout


def test_hf_commands_are_understood():
    hf = Path(sys.executable).with_name("hf")
    commands = [line for line in SHELL if line.startswith("hf ")]
    assert len(commands) == 2
    described = subprocess.run([hf, "upload", "--help"], capture_output=True, text=True, check=True).stdout
    for command in commands:
        assert command.split()[:2] == ["hf", "upload"]
        for option in re.findall(r"--[a-z-]+", command):
            assert option in described


@pytest.mark.parametrize(
    ("name", "figure"), [("cat_dog", "error"), ("segmentation", "mean_iou"), ("salary", "accuracy"), ("rating", "mse")]
)
def test_the_table_repeats_the_measured_figures(name, figure):
    metrics = figures(name)
    item = next(item for item in metrics["figures"] if item["name"] == figure)
    row = next(line for line in README.splitlines() if line.startswith(f"| [{name}]"))
    assert f"{item['value']:.4f} [{item['interval'][0]:.4f}, {item['interval'][1]:.4f}]" in row
    size = sum(path.stat().st_size for path in (ROOT / f"spaces/{name}/model").rglob("*") if path.is_file())
    assert f"{size / 1e6:.1f} MB" in row
    assert f"{metrics['seconds'] / 60:.0f} min" in row


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_gallery_answers_at_its_address(gallery_url):
    with urllib.request.urlopen(gallery_url) as page:
        assert "gradio" in page.read().decode().lower()
