"""Every snippet in the README and the guides runs, and their tables have the measured figures."""

import gzip
import importlib
import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import gradio
import pytest

from benchmarks.table import Row, format_trainings
from hub.local import Hub
from shared import load_model
from tests.conftest import MCP, NODE, ROOT, copy_repository

DOCS = ("http", "mcp", "training", "your_own", "publishing", "benchmarks", "scale", "faults")
README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXTS = {name: (ROOT / f"docs/{name}.md").read_text(encoding="utf-8") for name in DOCS} | {"README": README}
FENCE = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


def find_snippets(name, language, *words):
    """Return the snippets of a document in a language that contain all of the words."""
    found = [code for kind, code in FENCE.findall(TEXTS[name]) if kind == language]
    return [code for code in found if all(word in code for word in words)]


def find_commands(name, title=None):
    """Return the shell commands of a document, or of one of its sections."""
    text = TEXTS[name] if title is None else TEXTS[name].split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line for language, code in FENCE.findall(text) if language == "bash" for line in code.splitlines()]
    return [line.split("  #")[0].strip() for line in lines]


def read_metrics(name):
    return json.loads((ROOT / f"spaces/{name}/model/metrics.json").read_text())


def test_python_snippets_of_readme_run(gallery_url, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    own_code, over_http = find_snippets("README", "python")
    for code in (own_code, over_http):
        exec(compile(code.replace("http://127.0.0.1:7860", gallery_url), "README.md", "exec"), {})  # noqa: S102 - the document is ours
    printed = capsys.readouterr().out
    assert ">=50k" in printed
    assert re.search(r"\n[0-5]\.\d+ \[\(\d+, '", printed)
    assert printed.count("cat {") == 2


def test_python_snippet_over_http_runs(gallery_url, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    (code,) = find_snippets("http", "python", "gradio_client")
    exec(compile(code.replace("http://127.0.0.1:7860", gallery_url), "http.md", "exec"), {})  # noqa: S102 - the document is ours
    assert re.search(r"\n[0-5]\.\d+\ncat -?\d+\.\d+\n", capsys.readouterr().out)


def test_curl_snippet_runs(gallery_url):
    lines = [line.replace("http://127.0.0.1:7860", gallery_url) for line in find_commands("http") if "curl" in line]
    assert len(lines) == 5
    done = subprocess.run(["bash", "-c", "\n".join(lines)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.count("event: complete") == 2
    assert '"rating":' in done.stdout
    assert '"label": "cat"' in done.stdout


@pytest.mark.skipif(NODE is not None, reason=str(NODE))
def test_javascript_snippet_runs(gallery_url, node_folder):
    assert "npm install @gradio/client@2.7.0" in find_commands("http")
    (code,) = find_snippets("http", "js", "@gradio/client")
    script = node_folder / "readme.mjs"
    script.write_text(code.replace("http://127.0.0.1:7860", gallery_url))
    done = subprocess.run(["node", script], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"[0-5]\.\d+\ncat -?\d+\.\d+\n", done.stdout)


def test_the_snippet_for_transformers_js_is_the_one_that_is_run():
    """tests/spaces/test_transformers_js.py runs that of the card."""
    (snippet,) = find_snippets("publishing", "js", "transformers")
    card = (ROOT / "training/snippets/image-classification.js").read_text(encoding="utf-8")
    assert snippet.strip() == card.strip()


@pytest.mark.skipif(MCP is not None, reason=str(MCP))
def test_mcp_snippet_runs(mcp_url, capsys):
    (code,) = find_snippets("mcp", "python")
    exec(compile(code.replace("http://127.0.0.1:7860", mcp_url), "mcp.md", "exec"), {})  # noqa: S102 - the document is ours
    assert json.loads(capsys.readouterr().out)["title"] == "Toy Story (1995)"


def test_mcp_is_installed_as_the_guide_says():
    install, start, add = find_commands("mcp")
    assert install == f'pip install "gradio[mcp]=={gradio.__version__}"'
    assert start == "GRADIO_MCP_SERVER=True python spaces/gallery/app.py"
    assert add == f"claude mcp add --transport http gallery {MCP_ADDRESS}"


MCP_ADDRESS = "http://127.0.0.1:7860/gradio_api/mcp/"


def test_each_agent_is_configured_with_the_address_of_the_tools():
    servers = []
    for code in find_snippets("mcp", "json"):
        config = json.loads(code)
        found = config.get("mcpServers") or config["servers"]
        servers.append(found["gallery"] if isinstance(found, dict) else found[0])
    assert servers == [
        {"type": "http", "url": MCP_ADDRESS},  # Claude Code
        {"command": "npx", "args": ["-y", "mcp-remote", MCP_ADDRESS]},  # Claude's desktop app
        {"url": MCP_ADDRESS},  # Cursor
        {"type": "http", "url": MCP_ADDRESS},  # VS Code
        {"type": "http", "url": MCP_ADDRESS},  # huggingface_hub
    ]
    addresses = re.findall(r"https?://[^\s`\"]*gradio_api[^\s`\"]*", TEXTS["mcp"])
    assert len(addresses) == 10
    assert all("/gradio_api/mcp/" in address for address in addresses)


VERBS = {line.split()[1] for line in find_commands("README") if line.startswith("make ")} | {"test-all", "hub"}


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_make_targets_exist(verb):
    subprocess.run(["make", "-n", verb], cwd=ROOT, check=True, capture_output=True)


TRAININGS = [line.removesuffix(" --smoke") for line in find_commands("README", "Train") if "-m training." in line]


@pytest.mark.training
@pytest.mark.parametrize("line", sorted(set(TRAININGS)))
def test_training_commands_run(line, tmp_path):
    """On made-up data, into a folder of their own."""
    _, _, module, *options = line.split()
    importlib.import_module(module).main([*options, "--smoke", "--out", str(tmp_path / "out")])


@pytest.mark.training
def test_the_steps_of_a_run_on_another_machine(tmp_path, monkeypatch):
    """On made-up data, one after the other, in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    for name in ("pets", "mobilenetv2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name, encoding="utf-8")
    lines = [line for line in find_commands("training") if "training.transfer" in line or "--states" in line]
    assert len(lines) == 6
    for line in lines:
        module, *words = line.replace("~/", "").split()[2:]
        if module == "training.cat_dog":
            for option in ("--data", "--init"):
                place = words.index(option)
                del words[place : place + 2]
            words += ["--smoke", "--epochs", "1", "--out", "model"]
        assert importlib.import_module(module).main(words) != 2
    assert (tmp_path / "inputs/pets/file").read_text(encoding="utf-8") == "pets"
    assert (tmp_path / "model/onnx/model.onnx").is_file()


@pytest.mark.training
def test_all_training_commands_parse():
    """Commands that no test runs are parsed."""
    from training.command import make_parser
    from training.recipe import Recipe

    lines = [
        *find_commands("README", "Train"),
        *find_commands("training"),
        *find_commands("README", "Your own model, online"),
        *find_commands("your_own"),
    ]
    others = (".transfer", ".publish", ".convert")
    for line in lines:
        if not line.startswith("python -m training.") or any(word in line for word in others):
            continue
        _, _, module, *options = line.split()
        kinds = [kind for kind in vars(importlib.import_module(module)).values() if isinstance(kind, type)]
        (recipe,) = (kind() for kind in kinds if issubclass(kind, Recipe) and kind.__module__ == module)
        assert make_parser(recipe).parse_args(options)


def make_environment(hub, home):
    """Return the environment of a user of this Hub, with the tests' own `python` and `hf`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **hub.environment(home / "hub"), "PATH": path, "HOME": str(home)}


def run_shell(line, folder, environment):
    """Run a command; return what it prints."""
    done = subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{line}\n{done.stderr}"
    return done.stdout


def test_publish_and_deploy_as_the_readme_says(tmp_path):
    lines = [line.replace("USER", "me") for line in find_commands("README", "Publish and deploy")]
    with Hub(run_spaces=True) as hub:
        hub.set_paid("me", True)
        for line in lines:
            run_shell(line.replace("downloads/", f"{tmp_path}/downloads/"), ROOT, make_environment(hub, tmp_path))
        assert set(hub.files("me/salary")) <= {
            ".gitattributes",
            *(path.relative_to(tmp_path / "downloads/salary").as_posix() for path in tmp_path.glob("downloads/**/*")),
        }
        assert hub.repo("me/salary", "space").variables["MODEL_REPO"] == "me/salary"
        assert hub.repo("me/gallery", "space").stage == "RUNNING"
        assert load_model(tmp_path / "downloads/salary").example()


@pytest.mark.training
def test_your_own_model_online_as_the_readme_says(tmp_path):
    """Run in a copy of a clone, on the local Hub, with a quick training on made-up pictures."""
    clone = tmp_path / "clone"
    copy_repository(clone)
    lines = [line.replace("USER", "me") for line in find_commands("README", "Your own model, online")]
    assert lines.pop(1) == "make demo MODELS=runs/mine"  # tests/spaces/test_gallery.py shows it
    assert len(lines) == 3
    assert [line.replace("USER", "me") for line in find_commands("your_own")[:4]] == [
        lines[0],
        "make demo MODELS=runs/mine",
        *lines[1:],
    ]
    with Hub(run_spaces=True) as hub:
        environment = make_environment(hub, tmp_path) | {"PYTHONPATH": str(clone)}
        outputs = [run_shell(line.replace("--data ~/my-pictures", "--smoke"), clone, environment) for line in lines]
        assert "files of this commit" in outputs[-1]
        packed = hub.files("me/mine", kind="space")["models/mine/onnx/model.onnx.gz"]
        assert hub.files("me/mine")["onnx/model.onnx"] == gzip.decompress(packed)


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        ("cat_dog", "error"),
        ("segmentation", "mean_iou"),
        ("sentiment", "accuracy"),
        ("salary", "accuracy"),
        ("rating", "mse"),
    ],
)
def test_the_table_repeats_the_measured_figures(name, figure):
    metrics = read_metrics(name)
    item = next(item for item in metrics["figures"] if item["name"] == figure)
    low, high = item.get("interval_over_users") or item["interval"]
    row = next(line for line in README.splitlines() if line.startswith(f"| [{name}]"))
    assert f"{item['value']:.4f} [{low:.4f}, {high:.4f}]" in row
    size = sum(path.stat().st_size for path in (ROOT / f"spaces/{name}/model").rglob("*") if path.is_file())
    assert f"{size / 1e6:.1f} MB" in row
    seconds = (metrics.get("trained") or {}).get("seconds")
    assert ("not recorded" if seconds is None else f"{seconds / 60:.0f} min") in row.split("|")[-2]


@pytest.mark.parametrize(
    ("name", "same_inputs", "more_inputs"),
    [("salary", "accuracy_book_columns", "accuracy"), ("rating", "mse_sample_only", "mse")],
)
def test_the_second_table_compares_the_same_inputs(name, same_inputs, more_inputs):
    """The figures in a row are on the same inputs, and figures with more inputs are in another column."""
    metrics = read_metrics(name)
    row = next(line for line in README.splitlines() if line.startswith(f"| {name}, "))
    _, _, _, ours, book, more, _ = row.split("|")
    same, better = (
        next(item for item in metrics["figures"] if item["name"] == figure) for figure in (same_inputs, more_inputs)
    )
    peers = {item["name"]: item for item in metrics["peers"] if "the book's cell" in item["peer"]}
    low, high = same.get("interval_over_users") or same["interval"]
    assert f"{same['value']:.4f} [{low:.4f}, {high:.4f}]" in ours
    assert describe_peer(peers[same_inputs]) in book
    assert more.strip().startswith(f"{better['value']:.4f} ")
    assert more.strip().endswith(f" {describe_peer(peers[more_inputs])}")


def describe_peer(peer):
    """Return a peer's figure as README has it, with the range of its seeds if they are recorded."""
    seeds = peer.get("accuracy_per_seed")
    spread = f"{min(seeds):.4f} to {max(seeds):.4f}" if seeds else ""
    return f"{peer['value']:.4f}{f' ({spread})' if seeds else ''}"


def test_readme_is_short_and_its_lines_fit():
    lines = README.splitlines()
    assert len(lines) <= 150
    assert not [line for line in lines if len(line) > 120 and not line.startswith("|") and "http" not in line]


def test_the_gallery_answers_at_its_address(gallery_url):
    with urllib.request.urlopen(gallery_url) as page:
        assert "gradio" in page.read().decode().lower()


def find_result(benchmark, part, what, peer):
    """Return one row of the results of a benchmark."""
    rows = json.loads((ROOT / f"benchmarks/results/{benchmark}.json").read_text())["rows"]
    return next(row for row in rows if (row["part"], row["what"], row["peer"]) == (part, what, peer))


@pytest.mark.parametrize(
    ("begins", "part", "whats"),
    [
        ("a photo of 12 megapixels", "latency", ["cat_dog, phone photo"]),
        ("a small photo", "latency", ["cat_dog, small photo"]),
        ("a street frame", "latency", ["segmentation, street frame"]),
        ("a review of 200 words", "latency", ["sentiment, 200 words"]),
        ("a form; a rating", "latency", ["salary, one form", "rating, one rating"]),
        ("small photos a second over HTTP", "http", ["cat_dog, small photo, 8 clients"]),
        ("from start to first answer", "start", ["one Space", "gallery"]),
        ("most memory", "memory", ["peak, one Space", "peak, gallery"]),
    ],
)
def test_the_speeds_repeat_the_results(begins, part, whats):
    line = next(line for line in TEXTS["benchmarks"].splitlines() if line.startswith(f"| {begins}"))
    peer = "fastai" if part == "latency" else "lesson"
    for what in whats:
        row = find_result("serving", part, what, peer)
        digits = 0 if row["ratio"] >= 10 else 1 if row["ratio"] >= 1 else 2
        ratio, least, most = (f"{row[key]:.{digits}f}" for key in ("ratio", "least", "most"))
        assert f"{ratio} ({least} to {most})" in line.rsplit("|", 2)[1]


def test_the_trainings_repeat_the_results_and_say_what_each_side_reached():
    rows = json.loads((ROOT / "benchmarks/results/training.json").read_text())["rows"]
    said = format_trainings([Row.from_json(row) for row in rows])
    assert f"\n\n{said}\n\n" in TEXTS["benchmarks"], f"docs/benchmarks.md should say:\n{said}"


def test_the_speeds_on_a_gpu_repeat_the_results():
    row = find_result("training-h200", "rate", "cat_dog", "stock from scratch")
    ours, peers = (f"{row[side][0]:,.0f}" for side in ("ours", "peers"))
    assert f"{ours} images a second where fastai's ResNet-34 learned from {peers}" in " ".join(
        TEXTS["benchmarks"].split()
    )
