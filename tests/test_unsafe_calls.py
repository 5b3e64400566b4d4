"""No code of ours runs the code in a file or a repository: Ruff's rules hold everywhere, and two of our own."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

RUFF = shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")
FOLDERS = ("benchmarks", "examples", "hub", "shared", "spaces", "tests", "training")
UNSAFE = [
    ("S301", "import pickle; pickle.loads(b'')"),
    ("S301", "from pickle import load; load(open('x', 'rb'))"),
    ("S301", "import dill; dill.load(open('x', 'rb'))"),
    ("S301", "import pandas; pandas.read_pickle('x')"),
    ("S302", "import marshal; marshal.loads(b'')"),
    ("S307", "eval('1')"),
    ("S102", "exec('1')"),
    ("S506", "import yaml; yaml.load('x')"),
    ("S506", "import yaml; yaml.load('x', yaml.UnsafeLoader)"),
    ("TID251", "import yaml; yaml.unsafe_load('x')"),
    ("TID251", "import torch; torch.load('x', weights_only=False)"),
    ("TID251", "from torch import load; load('x')"),
    ("TID251", "from fastai.learner import load_learner"),
    ("TID251", "import joblib; joblib.load('x')"),
]


@pytest.mark.skipif(RUFF is None, reason="ruff is not installed: make check")
@pytest.mark.parametrize("folder", [*FOLDERS, "hub/local", "training/snippets"])
def test_ruff_refuses_each_unsafe_call_in_every_folder(folder):
    code = "".join(f"{line}\n" for _, line in UNSAFE)
    command = [RUFF, "check", "--output-format", "json", "--stdin-filename", f"{folder}/new.py", "-"]
    done = subprocess.run(command, cwd=ROOT, input=code, capture_output=True, encoding="utf-8", check=False)
    found = {(problem["code"], problem["location"]["row"]) for problem in json.loads(done.stdout)}
    assert {(rule, row) for row, (rule, _) in enumerate(UNSAFE, start=1)} <= found


def test_no_call_trusts_the_code_in_a_repository_or_loads_more_than_weights():
    """Ruff has no rule for keywords, and does not see a torch that pytest.importorskip returned."""
    trusting, loading = set(), {}
    for path in sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        text, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
        if not any(word in text for word in ("trust_remote_code", "torch.load")):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
                trusting.add(name)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                keywords = {word.arg: ast.unparse(word.value) for word in node.keywords}
                loading.setdefault(name, set()).add(keywords.get("weights_only"))
    assert not trusting
    assert loading.pop("training/exported_learner.py") == {"False"}  # a Learner that the user trusts
    assert loading
    assert set.union(*loading.values()) == {"True"}
