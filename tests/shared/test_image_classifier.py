"""The cat-or-dog model as other people's code uses it."""

import io
import json
import shutil

import numpy as np
import pytest
from gradio.media import get_image
from PIL import Image

from shared import BadInput, CheckpointError, load_model
from shared.image_classifier import ImageClassifierConfig
from shared.session import softmax
from tests.conftest import DATA, ROOT

CAT = ROOT / "spaces/cat_dog/examples/cat.png"


def test_a_cat_is_a_cat(cat_dog):
    answer = cat_dog.predict(CAT)
    assert answer.label == answer.likeliest == "cat"
    assert answer.in_distribution
    assert answer.probabilities["cat"] > 0.9
    assert sum(answer.probabilities.values()) == pytest.approx(1)


def test_path_bytes_and_image_give_the_same_answer(cat_dog):
    answers = [cat_dog.predict(source) for source in (CAT, str(CAT), CAT.read_bytes(), Image.open(CAT))]
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize("name", ["lion.jpg", "cheetah1.jpg", "tower.jpg", "bus.png"])
def test_what_is_neither_gets_no_label_but_keeps_its_numbers(cat_dog, name):
    answer = cat_dog.predict(get_image(name))
    assert answer.label is None
    assert not answer.in_distribution
    assert answer.likeliest in ("cat", "dog")
    assert answer.in_distribution_score < cat_dog.config.in_distribution_threshold
    assert sum(answer.probabilities.values()) == pytest.approx(1)
    assert [answer.as_row()[f"probability {label}"] for label in answer.probabilities] == [None, None]


def test_a_batch_is_the_same_as_one_by_one(cat_dog):
    sources = [CAT, get_image("lion.jpg"), get_image("tower.jpg")] * 15  # more than are run at once
    together = cat_dog.predict_batch(sources)
    for source, answer in list(zip(sources, together, strict=True))[:3]:
        alone = cat_dog.predict(source)
        assert alone.probabilities == pytest.approx(answer.probabilities, abs=1e-5)
        assert alone.in_distribution_score == pytest.approx(answer.in_distribution_score, abs=1e-3)
    assert cat_dog.predict_batch([]) == []


@pytest.mark.parametrize("shape", [(60, 60, 3), (60, 60, 4), (60, 60)])
def test_a_batch_is_not_one_array(cat_dog, segmentation, shape):
    picture = np.zeros(shape, np.uint8)
    for model in (cat_dog, segmentation):
        with pytest.raises(BadInput, match=r"Give a list of pictures, such as \[array\], not one array of \(60, 60"):
            model.predict_batch(picture)
    if shape != (60, 60, 4):
        assert len(cat_dog.predict_batch(np.stack([picture, picture]))) == 2


def test_the_pictures_of_a_table_are_in_a_column(cat_dog):
    table = pytest.importorskip("pandas").DataFrame({"path": [CAT]})
    with pytest.raises(BadInput, match=r"such as table\['path'\]"):
        cat_dog.predict_batch(table)
    assert cat_dog.predict_batch(table["path"]) == [cat_dog.predict(CAT)]


def test_a_bad_picture_is_named_and_does_not_disturb_the_others(cat_dog):
    sources = [CAT, b"no picture", CAT]
    answers = cat_dog.predict_each(sources)
    assert isinstance(answers[1], BadInput)
    assert answers[0] == answers[2] == cat_dog.predict(CAT)
    with pytest.raises(BadInput, match=r"^Item 1: This is not a picture"):
        cat_dog.predict_batch(sources)
    with pytest.raises(BadInput):
        cat_dog.predict(None)


def test_the_answer_survives_another_format_and_size(cat_dog):
    image = Image.open(CAT).convert("RGB")
    for kind, size in (("JPEG", (2400, 1600)), ("WEBP", (300, 200)), ("BMP", (150, 100))):
        data = io.BytesIO()
        image.resize(size).save(data, kind)
        assert cat_dog.predict(data.getvalue()).probabilities["cat"] > 0.9


def test_the_map_adds_up_to_the_answer(cat_dog):
    why = cat_dog.explain(CAT)
    assert why.label == "cat"
    assert why.evidence.shape == (9, 9)
    p = cat_dog.predict(CAT).probabilities
    assert why.evidence.mean() == pytest.approx(np.log(p["cat"] / p["dog"]), abs=0.01)
    assert np.allclose(cat_dog.explain(CAT, "dog").evidence, -why.evidence, atol=1e-5)
    with pytest.raises(BadInput, match="cat, dog"):
        cat_dog.explain(CAT, "fox")
    for picture in (CAT, cat_dog.example()):
        answer = cat_dog.predict(picture)
        assert cat_dog.explain(picture).in_distribution is answer.in_distribution is (picture == CAT)
        assert answer.as_row()["in_distribution_score"] == round(answer.in_distribution_score, 2)


def test_the_map_follows_the_cat(cat_dog):
    cat = Image.open(CAT).convert("RGB").resize((224, 224))
    for place in (0, 1):
        canvas = Image.new("RGB", (448, 224), "gray")
        canvas.paste(cat, (224 * place, 0))
        evidence = cat_dog.explain(canvas).evidence
        halves = evidence[:, :4].mean(), evidence[:, 5:].mean()
        assert halves[place] > halves[1 - place]


def test_a_folder_without_framing_squashes(cat_dog):
    assert "framing" not in json.loads((ROOT / "spaces/cat_dog/model/gallery.json").read_text())
    assert (cat_dog.config.framing, cat_dog.config.margin) == ("squash", 0)
    assert cat_dog.explain(CAT).region == (0, 0, 1, 1)


@pytest.mark.parametrize(
    ("changes", "region"),
    [
        ({"framing": "crop"}, (0.25, 0, 0.75, 1)),
        ({"framing": "pad"}, (0, -0.5, 1, 1.5)),
        ({"margin": 72}, (1 / 6, 1 / 6, 5 / 6, 5 / 6)),  # 288 of 432 pixels
    ],
)
def test_the_model_sees_the_part_that_the_config_says(tmp_path, changes, region):
    folder = shutil.copytree(ROOT / "spaces/cat_dog/model", tmp_path / "model")
    content = json.loads((folder / "gallery.json").read_text()) | changes
    (folder / "gallery.json").write_text(json.dumps(content))
    model = load_model(folder)
    picture = Image.new("RGB", (400, 200), "white")
    assert model.explain(picture).region == pytest.approx(region)
    pixels = model.preprocess(picture)
    assert pixels.shape == (3, 288, 288)
    black = (pixels < -0.99).mean()
    assert black == pytest.approx(0.5 if changes.get("framing") == "pad" else 0, abs=0.01)


def test_softmax_of_large_logits():
    assert softmax(np.array([[1000.0, 0.0]], dtype=np.float32)).tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ("cat",)}, "labels"),
        ({"labels": ("cat", "cat")}, "labels must differ"),
        ({"size": 8}, "size"),
        ({"std": (0, 1, 1)}, "std must be above 0"),
        ({"in_distribution_threshold": None}, "in_distribution_threshold"),
        ({"framing": "stretch"}, "framing"),
        ({"margin": -1}, "margin"),
    ],
)
def test_a_wrong_config_is_refused(cat_dog, tmp_path, change, message):
    content = cat_dog.config.model_dump(mode="json") | change
    (tmp_path / "gallery.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=message):
        ImageClassifierConfig.read(tmp_path)


@pytest.mark.data
def test_the_figure_on_the_card_is_the_one_the_served_model_reaches(cat_dog):
    """On every 10th picture of the official test, through the code that serves."""
    names = (DATA / "pets/annotations/test.txt").read_text().split()[::10]
    answers = cat_dog.predict_batch([DATA / f"pets/images/{name}.jpg" for name in names])
    wrong = np.mean(
        [(answer.likeliest == "dog") != name[0].islower() for answer, name in zip(answers, names, strict=True)]
    )
    low, high = next(item for item in cat_dog.metrics.figures if item.name == "error").interval
    assert low - 0.01 <= wrong <= high + 0.01


def test_load_from_a_string_with_a_slash():
    assert load_model(f"{ROOT}/spaces/cat_dog/model/").config.labels == ("cat", "dog")
