"""The code under "Use it in code" on each page asks the page's model, in the gallery as in a Space."""

import ast
import json
import re
import shutil
import subprocess

import httpx2
import pytest

from shared.ui.snippets import ADDRESS, File, make_curl, make_javascript, make_python
from tests.conftest import DEMOS, NODE, ROOT, load_app

CODE = re.compile(r"```(\w+)\n(.*?)\n```", re.DOTALL)
TEXT = "It's \"great\", isn't it? 100 % $HOME \\n `x` 猫"
ODD = {"text": TEXT, "number": 1.5, "nothing": None, "flag": True, "stars": {"260": 5}}


@pytest.fixture(scope="module")
def found(gallery_url):
    """The code on each page of the gallery: {page: {language: code}}, for this server."""
    pages = {}
    for name in DEMOS:
        html = httpx2.get(f"{gallery_url}/{name}").text
        config = json.loads(re.search(r"window\.gradio_config = (.*?);</script>", html)[1])
        (value,) = (
            item["props"]["value"]
            for item in config["components"]
            if "snippets" in (item["props"].get("elem_classes") or ())
        )
        assert value.count(ADDRESS) == (5 if name in ("cat_dog", "segmentation") else 4)
        pages[name] = dict(CODE.findall(value.replace(ADDRESS, gallery_url)))
        assert list(pages[name]) == ["python", "js", "bash"]
        assert config["root"].rstrip("/") == gallery_url  # what the page puts in its place
    return pages


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the picture that the code names."""
    shutil.copyfile(ROOT / "spaces/cat_dog/examples/cat.png", tmp_path / "picture.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def expected(request):
    """What every model answers about the same inputs."""
    answers = {}
    for name in DEMOS:
        model = request.getfixturevalue(name)
        is_picture = name in ("cat_dog", "segmentation")
        example = str(ROOT / "spaces/cat_dog/examples/cat.png") if is_picture else model.example()
        answers[name] = (model.predict(*example) if name == "rating" else model.predict(example)).as_dict()
    return answers


def check(answer, expected):
    """Assert that a page's answer is a predictor's, which may lack a few keys of the page."""
    assert {key: answer[key] for key in expected} == {
        key: pytest.approx(value) if isinstance(value, dict | float) else value for key, value in expected.items()
    }


def test_the_python_code_answers(found, expected, folder, capsys):
    for name, code in found.items():
        exec(compile(code["python"], name, "exec"), {})  # noqa: S102 - it is ours
        check(ast.literal_eval(capsys.readouterr().out.splitlines()[-1]), expected[name])


def test_the_curl_commands_answer(found, expected, folder):
    for name, code in found.items():
        done = subprocess.run(["bash", "-c", code["bash"]], capture_output=True, text=True, check=True)
        event, data = done.stdout.split("\n")[:2]
        assert event == "event: complete", name
        check(json.loads(data.removeprefix("data: "))[0], expected[name])


@pytest.mark.skipif(NODE is not None, reason=str(NODE))
def test_the_javascript_code_answers(found, expected, folder, node_folder):
    for name in ("cat_dog", "salary"):
        code = found[name]["js"].replace("console.log(answer.data[0])", "console.log(JSON.stringify(answer.data[0]))")
        script = node_folder / f"{name}.mjs"
        script.write_text(code)
        done = subprocess.run(["node", script], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        check(json.loads(done.stdout), expected[name])


def test_a_space_has_the_code_for_its_own_endpoint():
    demo = load_app("sentiment").demo
    (value,) = (
        item["props"]["value"]
        for item in demo.get_config_file()["components"]
        if "snippets" in (item["props"].get("elem_classes") or ())
    )
    assert "api_name='/predict')" in value
    assert "/gradio_api/call/predict" in value
    assert "explain" not in value


def test_any_value_is_written_as_the_language_wants_it(tmp_path):
    """A text of your own model may have any characters."""
    written = make_curl("ask", {"image": File(), **ODD})
    (tmp_path / "curl").write_text('#!/bin/sh\nprintf "%s\\n" "$@" >> "$LOG"; echo \'["/a/b"]\'\n')
    (tmp_path / "curl").chmod(0o755)
    log = tmp_path / "log"
    subprocess.run(["bash", "-c", written], env={"PATH": f"{tmp_path}:/usr/bin:/bin", "LOG": str(log)}, check=True)
    (body,) = (line for line in log.read_text(encoding="utf-8").splitlines() if line.startswith('{"data"'))
    assert json.loads(body) == {"data": [{"path": "/a/b", "meta": {"_type": "gradio.FileData"}}, *ODD.values()]}

    (call,) = (
        node
        for node in ast.walk(ast.parse(make_python("ask", ODD)))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "predict"
    )
    assert {item.arg: ast.literal_eval(item.value) for item in call.keywords} == {**ODD, "api_name": "/ask"}
    given = re.search(r'predict\("/ask", \{ (.*) \}\);', make_javascript("ask", ODD))[1]
    assert f"text: {json.dumps(TEXT)}, number: 1.5, nothing: null, flag: true" in given
