"""The snippets on the model cards run with nothing of this repository, and say what the predictors say."""

import json
import os
import re
import shutil
import subprocess
import sys
from ast import literal_eval

import pytest
import yaml
from PIL import Image

from hub.local import Hub
from hub.local.cards import find_problems
from shared import load_model
from shared.config import fingerprint, read_json, sha256
from shared.markdown import escape_markdown, format_figure
from shared.metrics import Parity
from tests.conftest import DEMOS, ROOT, point_client_to, sign_folder
from training.card import SNIPPETS, describe_parity, make_identifier, round_up, write_card
from training.publish import publish

MODELS = [name for name in DEMOS if (ROOT / "spaces" / name / "model").is_dir()]
CAT = ROOT / "spaces/cat_dog/examples/cat.png"
STREET = ROOT / "spaces/segmentation/examples/street.jpg"


def card(name):
    return (ROOT / "spaces" / name / "model/README.md").read_text()


@pytest.fixture
def unsure(tmp_path):
    """A sideways phone photo, half cat and half lion, for probabilities that are not round."""
    from gradio.media import get_image

    cat, lion = Image.open(CAT).convert("RGB"), Image.open(get_image("lion.jpg")).convert("RGB")
    mixed = Image.blend(cat, lion.resize(cat.size), 0.7).rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it clockwise
    path = tmp_path / "photo.jpg"
    mixed.save(path, exif=exif, quality=95)
    return path


def run_card(text, folder="", picture="", variables=None):
    """Run the last snippet of a card without this repository; return what it prints."""
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[-1]
    code = code.replace("path/to/this/folder", str(folder)).replace("picture.jpg", str(picture))
    hidden = f"import sys; sys.path[:] = [entry for entry in sys.path if entry not in ('', {str(ROOT)!r})]\n"
    last = "\nassert not any(module.split('.')[0] in ('shared', 'training') for module in sys.modules)\n"
    command = [sys.executable, "-W", "ignore::ResourceWarning", "-c", hidden + code + last]
    environment = {**os.environ, **(variables or {})}
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def check(name, said, picture):
    """Check that a snippet gives the answer of the embedded model's predictor."""
    model = load_model(ROOT / "spaces" / name / "model")
    match name:
        case "cat_dog":
            probabilities, in_distribution = literal_eval("({}, {})".format(*said.rsplit(" ", 1)))
            ours = model.predict(picture)
            assert 0.01 < ours.probabilities["cat"] < 0.99
            assert probabilities == pytest.approx(ours.probabilities, abs=0.01)
            assert in_distribution is ours.in_distribution
        case "segmentation":
            shares = literal_eval(said)
            assert sum(shares.values()) == pytest.approx(1)
            assert shares == pytest.approx(model.predict(picture).share, abs=0.01)
        case "salary":
            typical = model.predict(model.config.typical)
            assert float(said) == pytest.approx(typical.probabilities[">=50k"], abs=1e-6)
        case "rating":
            assert float(said) == pytest.approx(model.predict(*model.example()).rating, abs=1e-6)
        case "sentiment":
            ours = model.predict("A slow start, but the ending is wonderful!").probabilities
            # Without the options of shared/session.py, sums overflow on CPUs without VNNI.
            assert literal_eval(said) == pytest.approx(ours, abs=0.005)
        case _:
            pytest.fail(f"nothing is known of {name}")


@pytest.mark.parametrize("name", MODELS)
def test_the_embedded_card_has_the_snippet_as_it_is_now(name):
    task = load_model(ROOT / "spaces" / name / "model").task
    code = (ROOT / f"training/snippets/{task}.py").read_text().strip()
    assert code in card(name)
    assert len([line for line in code.splitlines() if line]) < 12  # and one for the Hub


@pytest.mark.parametrize("name", MODELS)
def test_the_snippet_of_the_embedded_card_with_onnxruntime_alone(name, unsure):
    picture = STREET if name == "segmentation" else unsure
    check(name, run_card(card(name), ROOT / "spaces" / name / "model", picture), picture)


@pytest.mark.parametrize("name", MODELS)
def test_the_snippet_of_the_published_card_with_onnxruntime_alone(name, unsure, tmp_path, monkeypatch):
    picture = STREET if name == "segmentation" else unsure
    with Hub() as hub:
        point_client_to(monkeypatch, hub.endpoint)
        publish(ROOT / "spaces" / name / "model", f"me/{name}", token=hub.token, onnx_only=True)
        text = hub.files(f"me/{name}")["README.md"].decode()
        check(name, run_card(text, picture=picture, variables=hub.environment(tmp_path, token=None)), picture)


@pytest.mark.parametrize("name", MODELS)
def test_the_first_snippet_of_a_card_with_the_gallery(name, tmp_path):
    folder = ROOT / "spaces" / name / "model"
    code = re.findall(r"```python\n(.*?)```", card(name), re.DOTALL)[0]
    code = code.replace("path/to/this/folder", str(folder)).replace("picture.jpg", str(STREET))
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "model_gallery" in code
    said = {"cat_dog": "label=None", "segmentation": "'Road'", "sentiment": "label='pos'", "salary": "'<50k'"}
    assert said.get(name, "The Godfather") in done.stdout


def metadata(text):
    return yaml.safe_load(text.split("---\n")[1])


@pytest.mark.parametrize("name", MODELS)
def test_the_metadata_are_what_the_hub_understands(name):
    assert find_problems(card(name), "model") == ([], [])
    data = metadata(card(name))
    assert "fastai" not in data["tags"]  # there is no Learner to load
    terms = {
        "cat_dog": "cat-or-dog-terms", "segmentation": "street-scenes-terms", "sentiment": "review-sentiment-terms",
        "rating": "movie-ratings-terms", "salary": None,
    }  # fmt: skip
    assert data.get("license_name") == terms[name]
    if terms[name]:
        assert data["license_link"] == "LICENSE.md"
        assert (ROOT / "spaces" / name / "model/LICENSE.md").is_file()
        assert data["license_details"] in card(name).split("---\n")[2]
    first = data["model-index"][0]["results"][0]["dataset"]["type"]
    assert first == {
        "cat_dog": "timm/oxford-iiit-pet", "segmentation": "camvid", "sentiment": "stanfordnlp/imdb",
        "salary": "scikit-learn/adult-census-income", "rating": "movielens-ml-latest-small",
    }[name]  # fmt: skip
    if first in data.get("datasets", []):
        assert first == data["datasets"][0]


@pytest.mark.parametrize("name", MODELS)
def test_the_hub_can_count_the_downloads_of_every_model(name):
    folder = ROOT / "spaces" / name / "model"
    listed = json.loads((folder / "gallery.json").read_text())["files"]["config.json"]
    assert listed == {
        "sha256": sha256(folder / "config.json"), "bytes": (folder / "config.json").stat().st_size, "optional": False
    }  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_a_card_promises_a_pipeline_only_where_there_are_weights_for_it(name, tmp_path):
    folder = shutil.copytree(ROOT / "spaces" / name / "model", tmp_path / "model")
    is_of_transformers = name in ("cat_dog", "sentiment")
    assert "from transformers import pipeline" not in card(name)
    assert metadata(card(name))["library_name"] == ("transformers.js" if is_of_transformers else "onnx")
    (folder / "model.safetensors").write_bytes(b"weights")
    text = write_card(folder).read_text()
    assert ("from transformers import pipeline" in text) is is_of_transformers
    assert metadata(text)["library_name"] == ("transformers" if is_of_transformers else "onnx")


def test_the_widgets_have_inputs_and_the_answers_to_them(tmp_path, cat_dog, sentiment, salary):
    for example in metadata(card("sentiment"))["widget"]:
        found = {answer["label"]: answer["score"] for answer in example["output"]}
        assert found == pytest.approx(sentiment.predict(example["text"]).probabilities, abs=0.002)
    (example,) = metadata(card("salary"))["widget"]
    assert example["structured_data"]["age"] == [salary.config.typical["age"]]
    found = {answer["label"]: answer["score"] for answer in example["output"]}
    assert found == pytest.approx(salary.predict(salary.config.typical).probabilities, abs=0.002)
    folder = shutil.copytree(ROOT / "spaces/cat_dog/model", tmp_path / "model")
    (folder / "examples").mkdir()
    shutil.copyfile(CAT, folder / "examples/größe 1.png")
    shutil.copyfile(CAT, folder / "examples/not listed.png")  # and so not published
    listed = {"optional": True, **fingerprint(CAT)}
    sign_folder(folder, files={"examples/größe 1.png": listed, **read_json(folder)["files"]})
    text = write_card(folder, "me/cat_dog", ["me/gallery"]).read_text()
    (example,) = metadata(text)["widget"]
    assert example["src"] == "examples/gr%C3%B6%C3%9Fe%201.png"
    assert example["output"][0] == {"label": "cat", "score": pytest.approx(1, abs=0.01)}
    assert metadata(text)["spaces"] == ["me/gallery"]
    assert "Try it: [me/gallery](https://huggingface.co/spaces/me/gallery)." in text
    assert find_problems(text, "model") == ([], [])


def test_a_card_of_a_users_own_data_claims_no_language_and_has_no_film_reviews(tmp_path):
    folder = shutil.copytree(ROOT / "spaces/sentiment/model", tmp_path / "model")
    content = json.loads((folder / "gallery.json").read_text())
    del content["about"]["language"], content["examples"]
    (folder / "gallery.json").write_text(json.dumps(content))
    assert metadata(card("sentiment"))["language"] == "en"
    assert not {"language", "widget"} & set(metadata(write_card(folder).read_text()))


def test_a_users_own_data_are_not_a_data_set_on_the_hub_though_they_have_its_name(tmp_path):
    folder = shutil.copytree(ROOT / "spaces/sentiment/model", tmp_path / "model")
    content = json.loads((folder / "gallery.json").read_text())
    content["about"]["datasets"] = []
    (folder / "gallery.json").write_text(json.dumps(content))
    results = metadata(write_card(folder).read_text())["model-index"][0]["results"]
    assert {result["dataset"]["type"] for result in results if result["dataset"]["name"] == "IMDB"} == {"imdb"}


@pytest.mark.parametrize(
    ("fields", "snippet"),
    [
        ({}, "image-classification"),
        ({"framing": "crop"}, "image-classification-framed"),
        ({"margin": 16}, "image-classification-framed"),
    ],
)
def test_the_snippet_frames_a_picture_as_the_model_needs_it(tmp_path, fields, snippet):
    folder = shutil.copytree(ROOT / "spaces/cat_dog/model", tmp_path / "model")
    content = json.loads((folder / "gallery.json").read_text()) | fields
    (folder / "gallery.json").write_text(json.dumps(content))
    text = write_card(folder).read_text()
    assert [path.stem for path in SNIPPETS.glob("*.py") if path.read_text().strip() in text] == [snippet]


def test_missing_files_of_the_hub_are_written_for_pictures_that_are_wider_than_high(tmp_path):
    folder = shutil.copytree(ROOT / "spaces/segmentation/model", tmp_path / "model")
    before = {name: json.loads((folder / name).read_text()) for name in ("config.json", "preprocessor_config.json")}
    for name in before:
        (folder / name).unlink()
    write_card(folder)
    assert {name: json.loads((folder / name).read_text()) for name in before} == before
    assert before["preprocessor_config.json"]["size"] == {"height": 448, "width": 608}
    listed = json.loads((folder / "gallery.json").read_text())["files"]
    assert {name: listed[name]["sha256"] for name in before} == {name: sha256(folder / name) for name in before}


def split_cells(line):
    """Return the cells of a row of a Markdown table."""
    return re.split(r"(?<!\\)\|", line.strip())[1:-1]


def test_unusual_labels_and_names_are_shown_as_they_are(tmp_path):
    names = ["cat|dog 🐱", "<b>no</b> & “x”", "18 my [pics]: ü #1", "日本", "*__a__*\n`b`"]
    figures = [
        {"name": f"error_{name}", "label": f"error, where it is {name}", "value": 0.1, "interval": [0.0, 0.2],
         "data": name, "split": "held-out fifth", "count": 6}
        for name in names
    ]  # fmt: skip
    text = with_metrics(tmp_path / "model", measured=MEASURED, figures=figures)
    assert find_problems(text, "model") == ([], [])
    results = metadata(text)["model-index"][0]["results"]
    assert [result["dataset"]["type"] for result in results] == [
        "cat-dog",
        "b-no-b-x",
        "18-my-pics-1",
        "own-data",
        "a-b",
    ]
    assert [result["dataset"]["name"] for result in results] == names
    assert results[0]["metrics"][0]["type"] == "error_cat_dog"
    rows = [line for line in text.splitlines() if line.startswith("| error, where")]
    assert len(rows) == len(names)
    assert {len(split_cells(row)) for row in rows} == {4}
    assert "error, where it is cat\\|dog 🐱 | 0.1000 |" in rows[0]
    assert "&lt;b>no&lt;/b> & “x”" in rows[1]
    assert "<b>" not in text.split("---\n")[2]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a|b", r"a\|b"),
        ("a\\|b", r"a\\\|b"),
        ("<b>", "&lt;b>"),
        ("&lt;", "&amp;lt;"),
        ("hours_per_week", "hours_per_week"),
        ("__init__", r"\_\_init\_\_"),
        ("*x*", r"\*x\*"),
        ("[a](b)", r"[a]\(b)"),
        ("two\nlines", "two lines"),
        ("AT&T", "AT&T"),
    ],
)
def test_text_in_markdown_is_shown_as_it_is(text, written):
    assert escape_markdown(text) == written


def test_text_of_others_is_neither_html_nor_ends_its_place(tmp_path):
    image = "<img src=x onerror=alert(1)>"
    folder = tmp_path / "model"
    inputs = [{"option": "--data", "name": "`a`", "files": 1, "sha256": "0" * 64, "source": f"````\n{image}\n```"}]
    run = {"device": image, "command": f"python `x` {image}", "versions": {image: image}}
    with_metrics(
        folder,
        measured={**MEASURED, **run, "inputs": inputs},
        provenance=image,
    )
    dataset = {"name": image, "url": "https://x.org/a b)<img>", "licence": image, "citation": image}
    about = read_json(folder)["about"] | {"datasets": [dataset], "limits": [f"one\n# Heading {image}"]}
    sign_folder(folder, about=about)
    text = write_card(folder).read_text(encoding="utf-8").split("---\n", 2)[2]
    fenced = re.search(r"^(`{5})text\n.*?^\1$", text, re.MULTILINE | re.DOTALL)
    assert image in fenced[0]
    assert "<img" not in re.sub("`` .*? ``", "", text.replace(fenced[0], ""))
    assert "`` --data `a` ``" in text
    assert "(https://x.org/a%20b%29%3Cimg%3E)" in text
    assert "\n# Heading" not in text


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("18 my [pics]: ü #1", "18-my-pics-1"),
        ("日本", ""),
        ("Oxford-IIIT Pet", "oxford-iiit-pet"),
        ("recall, <50k", "recall-below-50k"),
        ("recall, >=50k", "recall-at-least-50k"),
    ],
)
def test_an_identifier_of_the_hub(text, written):
    assert make_identifier(text) == written


OLD = {
    "model": "salary",
    "seed": 42, "seconds": 1459, "measured": "2026-11-26T07:56:10+00:00", "versions": {"torch": "2.13.0"},
    "device": "a GPU, exported on a CPU", "options": "--quick",
}  # fmt: skip
TRAINED = {
    "command": "python -m training.salary --data adult", "commit": "abc123", "device": "NVIDIA H200", "seconds": 60,
    "seed": 3, "versions": {"torch": "2.13.0+cu130"}, "notes": ["It was trained twice."],
    "inputs": [
        {"option": "--data", "name": "adult", "files": 2, "sha256": "ab12", "source": "# adult\nNo row left out."}
    ],
}  # fmt: skip
MEASURED = {"date": "2026-12-01T00:00:00+00:00", "device": "2 cores", "versions": {"onnxruntime": "1.32.0"}}


def with_metrics(folder, **changes):
    """Return the card of a copy of the salary model with other metrics."""
    shutil.copytree(ROOT / "spaces/salary/model", folder)
    metrics = json.loads((folder / "metrics.json").read_text())
    kept = {name: value for name, value in metrics.items() if name not in (*OLD, "trained", "provenance")}
    kept["parity"].pop("measured", None)  # it is of the same date as the rest
    (folder / "metrics.json").write_text(json.dumps(kept | changes))
    return write_card(folder).read_text()


def test_the_card_tells_what_trained_from_what_measured(tmp_path):
    text = with_metrics(tmp_path / "model", trained=TRAINED, measured=MEASURED)
    assert (
        "Trained by `python -m training.salary --data adult` at commit abc123 on NVIDIA H200 in 60 seconds, measuring "
        "included, with seed 3 (torch 2.13.0+cu130). It was trained twice." in text
    )
    assert "`--data adult`: 2 files, SHA-256 `ab12`. What its SOURCE.md says:" in text
    assert "````text\n# adult\nNo row left out.\n````" in text
    assert "Measured on 2026-12-01 on 2 cores (onnxruntime 1.32.0)." in text
    assert "by hand" not in text


def test_the_card_of_a_folder_from_before_says_what_was_not_recorded(tmp_path):
    text = with_metrics(tmp_path / "model", **OLD)
    assert "Trained by `python -m training.salary --quick` in 24 minutes" in text
    assert "Options that named data and pretrained weights were not recorded." in text
    assert "Measured on 2026-11-26 on a GPU, exported on a CPU (torch 2.13.0)." in text


def test_without_a_record_of_the_training_the_card_says_so(tmp_path):
    assert "No script recorded the training of this model." in with_metrics(tmp_path / "model", measured=MEASURED)


def test_hand_written_provenance_is_marked(tmp_path):
    text = with_metrics(tmp_path / "model", measured=MEASURED, provenance="The weights came by post.")
    assert "### Written by hand, because no script recorded it\n\nThe weights came by post." in text


def test_the_provenance_of_a_folder_from_before_is_shown(tmp_path):
    with_metrics(tmp_path / "model", **OLD)
    (tmp_path / "model/PROVENANCE.md").write_text("The weights came by post.\n")
    assert "### Written by hand, because no script recorded it\n\nThe weights came by post." in write_card(
        tmp_path / "model"
    ).read_text(encoding="utf-8")


def test_a_figure_kept_from_an_earlier_run_has_its_date(tmp_path):
    figures = [
        {"name": "accuracy", "value": 0.87, "interval": [0.86, 0.88], "data": "Adult", "split": "test", "count": 9},
        {
            "name": "float", "value": 0.88, "interval": None, "data": "Adult", "split": "test", "count": 9,
            "measured": "2026-11-01T10:00:00+00:00",
        },
    ]  # fmt: skip
    text = with_metrics(tmp_path / "model", measured=MEASURED, figures=figures)
    assert "| accuracy | 0.8700 | 0.8600 – 0.8800 | Adult, test (9) |" in text
    assert "| float | 0.8800 |  | Adult, test (9), on 2026-11-01 |" in text


def test_agreement_with_torch_in_plain_words():
    parity = {
        "rows": 54, "output": "probability", "largest_difference": 0.34256, "tolerance": 0.5, "inputs": "frames",
        "of": "pixels", "compared": 2_280_960, "typical_difference": 0.0201, "relabelled": 0.0005,
    }  # fmt: skip
    assert describe_parity(Parity(**parity)) == (
        "Compared with torch on 54 frames: 1,140 (0.05%) of 2,280,960 pixels get a different label than with torch; "
        "for 99.9 % of the pixels the probability differs by at most 0.021; the largest difference of a single "
        "probability was at most 0.35."
    )
    assert ": none of 2,280,960 pixels get a different label" in describe_parity(Parity(**parity | {"relabelled": 0.0}))
    few = Parity(**parity | {"compared": 40, "relabelled": 0.025})
    assert describe_parity(few) == (
        "Compared with torch on 54 frames: 1 (2.50%) of 40 pixels get a different label than with torch; the largest "
        "difference of a single probability was at most 0.35."
    )
    without = {name: value for name, value in parity.items() if name != "relabelled"}
    assert "label" not in describe_parity(Parity(**without))
    before = {"rows": 54, "output": "probability", "largest_difference": 0.34256, "tolerance": 0.5}
    assert describe_parity(Parity(**before)) == (
        "Compared with torch on 54 inputs, the largest difference of a single number (probability) was at most 0.35; "
        "how many answers change was not measured for this model."
    )


@pytest.mark.parametrize(
    ("value", "text"), [(0.0000812, "0.000082"), (0.5, "0.5"), (0.999999, "1.0"), (1.0, "1"), (0.0, "0")]
)
def test_a_bound_is_rounded_up_and_has_no_exponent(value, text):
    assert round_up(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.999982, "> 0.9999"), (1.0, "1.0000"), (0.94392, "0.9439"), (0.00002, "< 0.0001"), (0.0, "0.0000")],
)
def test_a_figure_that_is_not_quite_one_is_not_rounded_to_it(value, text):
    assert format_figure(value) == text


WRITTEN_BY_CODE = {
    "headline", "figures", "peers", "cases", "groups", "notes", "trained", "measured", "parity", "parity_float",
    "provenance", "calibration",
}  # fmt: skip


@pytest.mark.parametrize("name", ["segmentation", "sentiment"])
def test_the_metrics_of_an_embedded_model_are_written_by_code_alone(name):
    folder = ROOT / "spaces" / name / "model"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert set(metrics) <= WRITTEN_BY_CODE
    by_itself = {"command", "commit", "inputs"} & set(metrics["measured"])  # measured again after the training
    assert set(metrics["measured"]) - by_itself == {"date", "device", "versions"}
    assert len(by_itself) in (0, 3)
    if "provenance" not in metrics:
        assert metrics["trained"]["command"].startswith(f"python -m training.{name} ")
        assert {"commit", "device", "versions", "inputs"} <= set(metrics["trained"])
        return
    assert by_itself
    provenance = metrics.pop("provenance")  # what people wrote
    assert provenance in card(name)
    assert "H200" not in json.dumps(metrics)


def test_labels_in_a_summary_are_shown_as_they_are(tmp_path):
    folder = shutil.copytree(ROOT / "spaces/sentiment/model", tmp_path / "model")
    config = json.loads((folder / "gallery.json").read_text(encoding="utf-8"))
    config["about"]["summary"] = "A text: is it *new*\n# or `old_`?"
    (folder / "gallery.json").write_text(json.dumps(config), encoding="utf-8")
    assert "\nA text: is it \\*new\\* # or \\`old\\_\\`?\n" in write_card(folder).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", MODELS)
def test_the_embedded_card_is_rendered_from_its_files(name, tmp_path):
    folder = shutil.copytree(ROOT / "spaces" / name / "model", tmp_path / "model")
    assert write_card(folder).read_text() == card(name)
