"""Many rows or files in one request: what it may cost, and that nothing answered is lost."""

import csv
import io
import os
import zipfile

import gradio as gr
import pytest
from PIL import Image

from shared import BadInput
from shared.recommender import RecommenderPrediction
from shared.tables import read_csv
from shared.ui import batch as page
from tests.conftest import ROOT, load_app, set_limits

STREET = ROOT / "spaces/segmentation/examples/street.jpg"
LIMIT = "The pictures before this one use all pixels that one request may have"


@pytest.fixture
def pictures(tmp_path):
    """A zip of four pictures of 900 × 600 pixels, and a small one."""
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        for number, size in enumerate([(900, 600)] * 4 + [(90, 60)]):
            Image.new("RGB", size, "green").save(tmp_path / f"{number}.png")
            archive.write(tmp_path / f"{number}.png", f"{number}.png")
    return [str(tmp_path / "some.zip")]


def read_rows(path):
    with open(path, newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", ["segmentation", "cat_dog"])
def test_pictures_beyond_the_pixel_limit_get_a_message_and_the_others_an_answer(monkeypatch, pictures, name):
    app = load_app(name)
    assert app.model.max_request_cost <= 500_000_000
    monkeypatch.setattr(type(app.model), "max_request_cost", 900 * 600 * 2 + 90 * 60)
    monkeypatch.setattr("shared.image_segmenter.NETWORK_PIXELS", 0)
    summary, table, result, *masks = app.batch(pictures)
    assert summary == {"files": 5, "answered": 3, "errors": 2}
    assert [LIMIT in error for error in table["error"]] == [False, False, True, True, False]
    rows = read_rows(result)
    assert [row["file"] for row in rows if not row["error"]] == ["0.png", "1.png", "4.png"]
    for path in masks:
        with zipfile.ZipFile(path) as archive:
            assert archive.namelist() == ["0.png", "1.png", "4.png"]


@pytest.mark.parametrize(("side", "answered"), [((8, 8), 24), ((4_000, 3_000), 6)])
def test_tiny_pictures_count_as_much_as_the_network_costs(side, answered):
    app = load_app("segmentation")
    content = io.BytesIO()
    Image.new("RGB", side).save(content, "PNG")
    files = [(str(number), content.getvalue()) for number in range(40)]
    found = list(page._limit_cost(files, app.model.estimate_cost, app.model.max_request_cost))
    assert sum(not isinstance(picture, BadInput) for _, picture, _ in found) == answered


def test_a_batch_says_how_large_its_masks_are(monkeypatch):
    app = load_app("segmentation")
    set_limits(monkeypatch, mask_pixels=480 * 360)
    _, table, _, masks = app.batch([str(STREET)])
    assert list(table["mask scale"]) == [0.5]
    with zipfile.ZipFile(masks) as archive, archive.open("street.png") as file, Image.open(file) as mask:
        assert mask.size == (480, 360)
    found, mask, _, _ = app.predict(str(STREET))
    assert (found["width"], found["height"], found["scale"]) == (480, 360, 0.5)
    with Image.open(mask) as image:
        assert image.size == (480, 360)


def answer_together(monkeypatch, files, cost=lambda _: 1):
    batches, shares = [], []

    def progress(share, unit):
        assert unit == "files"
        shares.append(share)

    class Model:
        max_request_cost = 1_000_000

        def estimate_cost(self, content):
            return cost(content)

        def predict_each(self, contents):
            batches.append(len(contents))
            return [RecommenderPrediction(0)] * len(contents)

    monkeypatch.setattr(page, "BYTES_AT_ONCE", 1000)
    monkeypatch.setattr(page, "PIXELS_AT_ONCE", 100)
    summary, _, _ = page.answer_files(files, Model(), progress)
    assert shares[-1] == (summary["files"], summary["files"])
    return batches


def test_few_files_are_in_memory_at_once(monkeypatch, tmp_path):
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        for number in range(20):
            archive.writestr(f"{number}.jpg", os.urandom(400 if number < 10 else 10))
    files = [tmp_path / "some.zip"]
    assert answer_together(monkeypatch, files) == [2, 2, 2, 2, 8, 4]
    assert answer_together(monkeypatch, files, cost=lambda content: len(content) // 4) == [1] * 10 + [8, 2]


def test_progress_counts_all_files_including_bad_ones(monkeypatch, tmp_path):
    def cost(content):
        raise BadInput("No picture.")

    (tmp_path / "a.jpg").write_bytes(b"")
    assert answer_together(monkeypatch, [tmp_path / "a.jpg"] * 3, cost) == [0]


def test_the_page_shows_the_first_rows_with_long_cells_cut(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b\n" + "".join(f"{number},{'x' * 5_000}\n" for number in range(30)))

    class Model:
        def from_row(self, row):
            return int(row["a"])

        def predict_each(self, items):
            return [BadInput("No.") if item % 2 else RecommenderPrediction(7) for item in items]

    summary, shown, result = page.answer_rows(read_csv(path, ["a"]), Model(), gr.Progress())
    assert summary == {"rows": 30, "answered": 15, "errors": 15}
    assert list(shown.columns) == ["predicted stars", "error", "a", "b"]  # what a phone shows comes first
    assert len(shown) == 20
    assert set(shown["b"]) == {"x" * 1000 + " …"}
    rows = read_rows(result)
    assert [row["b"] for row in rows] == ["x" * 5_000] * 30
    assert rows[-1] == {"a": "29", "b": "x" * 5_000, "predicted stars": "", "error": "Line 31: No."}
