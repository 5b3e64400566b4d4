"""The Space of the segmentation model, alone: as API users see it, and a visitor with a real browser."""

import csv
import io
import runpy
import zipfile

import gradio as gr
import numpy as np
import pytest
from gradio.media import get_image
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from shared.images import load_image
from shared.ui.explanations import draw_evidence, draw_share_bars
from shared.ui.files import keep_picture
from shared.ui.regions import INSIDE, find_outlines
from tests.conftest import ROOT, at_one_width, find_example, load_app, open_tab, serve_app

STREET = ROOT / "spaces/segmentation/examples/street.jpg"


@pytest.fixture(scope="module")
def app():
    return load_app("segmentation")


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with serve_app("segmentation", tmp_path_factory.mktemp("segmentation")) as url:
        yield url


@pytest.fixture(scope="module")
def client(url):
    return Client(url, verbose=False)


@pytest.fixture
def portrait(tmp_path):
    path = tmp_path / "portrait.jpg"
    Image.open(STREET).convert("RGB").resize((1500, 2000)).save(path)
    return path


def open_picture(path):
    with Image.open(path) as image:
        image.load()
    return image


def test_endpoints(client):
    assert set(client.view_api(return_format="dict")["named_endpoints"]) == {"/predict", "/explain", "/batch"}


def test_predict(client, segmentation, portrait):
    answer, mask, drawn, bars = client.predict(handle_file(portrait), api_name="/predict")
    expected = segmentation.predict(portrait)
    assert answer["shares"] == pytest.approx(expected.share)
    assert (answer["width"], answer["height"]) == (1500, 2000)
    assert answer["mean_confidence"] == pytest.approx(expected.mean_confidence)
    image = open_picture(mask)
    assert mask.endswith(".png")
    assert image.mode == "P"
    assert np.array_equal(np.asarray(image), expected.mask)
    assert tuple(image.getpalette()[:3]) == segmentation.config.colours[0]
    names = [segmentation.config.get_label_name(label) for label in expected.present]
    assert [region["label"] for region in drawn["annotations"]] == names
    assert all(name in bars for name in names)


def test_the_overlay_is_small_and_the_shares_add_up(app, segmentation, portrait):
    _, _, (picture, regions), _ = app.predict(str(portrait))
    assert open_picture(picture).size == (960, 1280)
    name = segmentation.config.get_label_name
    assert [label for _, label in regions] == [name(label) for label in segmentation.predict(portrait).present]
    colours = dict(zip(map(name, segmentation.config.labels), segmentation.config.colours, strict=True))
    drawn = [np.asarray(open_picture(path).convert("RGBA")) for path, _ in regions]
    assert (sum(pixels[..., 3] > 0 for pixels in drawn) == 1).all()
    for pixels, (_, label) in zip(drawn, regions, strict=True):
        assert (pixels[pixels[..., 3] > 0][:, :3] == colours[label]).all()
        assert set(np.unique(pixels[..., 3])) == {0, INSIDE, 255}


def test_a_line_goes_along_the_inside_of_each_region():
    mask = np.zeros((64, 1280), np.uint8)  # the long side for which the line has its width
    mask[16:48, 100:200] = 3
    edges = find_outlines(mask)
    assert edges[30, 96:106].tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 0, 0]  # two pixels of either region
    assert edges[12:20, 150].tolist() == [0, 0, 1, 1, 1, 1, 0, 0]
    assert not edges[:, :98].any()
    assert not find_outlines(np.zeros((1, 1), np.uint8)).any()


def test_colours_are_those_of_the_config(app, segmentation):
    assert list(app.css_colours) == [segmentation.config.get_label_name(label) for label in segmentation.classes]
    assert [tuple(bytes.fromhex(code[1:])) for code in app.css_colours.values()] == list(segmentation.config.colours)


def test_explain(client, segmentation):
    why, doubt, words = client.predict(handle_file(STREET), api_name="/explain")
    answer = segmentation.predict(STREET)
    assert why["mean_confidence"] == pytest.approx(answer.mean_confidence, abs=0.01)
    assert 0 <= why["unsure"] <= 1
    assert set(why["confidence_by_class"]) <= set(segmentation.classes)
    assert open_picture(doubt).size == (640, 480)
    assert "It is least sure about" in words


@pytest.mark.parametrize("name", ["bus.png", "tower.jpg"])
def test_pictures_of_other_sizes_are_segmented(client, name):
    with Image.open(get_image(name)) as image:
        size = image.size
    answer, mask, _, _ = client.predict(handle_file(get_image(name)), api_name="/predict")
    assert (answer["width"], answer["height"]) == open_picture(mask).size == size


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty"), (b"hello", "not a picture"), (Image.new("L", (1000, 1)), "at most 50 times as long")],
)
def test_errors_are_reported(client, tmp_path, content, message):
    path = tmp_path / "bad.png"
    content.save(path) if isinstance(content, Image.Image) else path.write_bytes(content)
    for endpoint in ("/predict", "/explain"):
        with pytest.raises(AppError, match=message):
            client.predict(handle_file(path), api_name=endpoint)


def test_no_picture(client):
    with pytest.raises(AppError, match="Choose a picture first"):
        client.predict(None, api_name="/predict")


def test_batch_of_files_and_a_zip(client, segmentation, portrait, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        archive.write(STREET, "frames/portrait.png")
        archive.write(STREET, "frames/x:y.png")
    files = [handle_file(portrait), handle_file(bad), handle_file(tmp_path / "some.zip")]
    summary, table, result, masks = client.predict(files, api_name="/batch")
    assert summary == {"files": 4, "answered": 3, "errors": 1}
    assert len(table["data"]) == 4
    with open(result, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert "not a picture" in rows[1]["error"]
    share = segmentation.predict(STREET).share
    assert [float(rows[2][f"share {label}"]) for label in share] == pytest.approx(list(share.values()), abs=1e-4)
    with zipfile.ZipFile(masks) as archive:
        assert archive.namelist() == ["portrait.png", "frames/portrait.png", "frames/x_y.png"]
        images = [open_picture(io.BytesIO(archive.read(name))) for name in archive.namelist()]
    assert [image.size for image in images] == [(1500, 2000), (960, 720), (960, 720)]
    assert np.array_equal(np.asarray(images[1]), segmentation.predict(STREET).mask)


def test_batch_where_nothing_can_be_answered(client, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    summary, _, _, masks = client.predict([handle_file(bad)], api_name="/batch")
    assert summary == {"files": 1, "answered": 0, "errors": 1}
    assert masks is None
    with pytest.raises(AppError, match="Choose some files first"):
        client.predict([], api_name="/batch")


def test_the_example_is_there_and_small(app):
    (example,) = [block for block in app.demo.blocks.values() if isinstance(block, gr.Button) and block.icon]
    assert example.value == "a drawn street"
    assert load_image(STREET).size == (960, 720)
    assert STREET.stat().st_size < 200_000


def test_the_example_is_what_the_script_draws():
    script = runpy.run_path(str(ROOT / "spaces/draw_street.py"))
    drawn, kept = (np.asarray(image, np.float32) for image in (script["draw_street"](), Image.open(STREET)))
    assert drawn.shape == kept.shape
    assert np.abs(drawn - kept).mean() < 6  # JPEG smooths the grain


def test_share_bars_escape_html_and_round_small_shares():
    bars = draw_share_bars("Title & more", {"<b>": 0.75, "rest": 0.001}, {"<b>": "#ff0000", "rest": "#00ff00"})
    assert "&lt;b&gt;" in bars
    assert "<b>" not in bars
    assert "Title &amp; more" in bars
    assert "width:100.0%; background:#ff0000" in bars
    assert "< 1%" in bars
    assert draw_share_bars("None", {}, {})


def test_evidence_is_not_rescaled_if_its_maximum_is_given():
    image = Image.new("RGB", (40, 30), "white")
    weak = np.full((3, 4), 0.1, dtype=np.float32)
    assert draw_evidence(image, weak, largest=1).getpixel((20, 15)) > draw_evidence(image, weak).getpixel((20, 15))
    assert draw_evidence(image, weak * 0, largest=1).getpixel((20, 15)) == (255, 255, 255)


def test_a_picture_is_saved_in_the_folder_that_is_cleaned(app):
    from gradio.utils import get_upload_folder

    path = keep_picture(Image.new("RGB", (4, 3), "red"), "red.png")
    assert path.startswith(str(get_upload_folder()))
    assert open_picture(path).getpixel((0, 0)) == (255, 0, 0)
    assert app.demo.delete_cache


@pytest.mark.browser
def test_a_visitor_sees_regions_legend_shares_and_doubts(page, url, segmentation):
    events = []
    page.on("request", lambda request: events.append(request) if "queue/join" in request.url else None)
    page.goto(url)
    page.get_by_text("What fills the picture").wait_for()
    page.get_by_label("Remove Image").click()
    page.get_by_text("Choose a picture first").first.wait_for()
    page.wait_for_timeout(1000)
    events.clear()  # those of the picture that is removed
    page.locator("input[type=file]").first.set_input_files(STREET)
    page.locator(".regions .mask").first.wait_for()
    present = [segmentation.config.get_label_name(label) for label in segmentation.predict(STREET).present]
    assert page.locator(".regions .mask").count() == len(present)
    assert page.locator(".regions .legend-item").all_inner_texts() == present
    assert page.locator(".bars-label").all_inner_texts() == present
    assert page.locator(".regions .mask").last.evaluate("image => image.naturalWidth") == 960
    open_tab(page, "Where it is unsure")
    page.get_by_text("It is least sure about").wait_for()
    assert len(events) == 2  # one prediction, one explanation

    page.locator(".regions .legend-item").first.hover()
    page.wait_for_function("getComputedStyle(document.querySelectorAll('.regions .mask')[1]).opacity == 0")
    page.mouse.move(0, 0)
    page.locator("input[type=range]").first.fill("20")
    page.wait_for_function("getComputedStyle(document.querySelector('.regions .mask')).opacity == 0.2")
    page.get_by_label("Remove Image").click()  # of which nothing follows
    find_example(page, "a drawn street").click()
    page.wait_for_timeout(3000)
    assert not page.locator(".toast-body").count()


@pytest.mark.browser
@at_one_width
def test_masks_cover_the_picture_in_full_screen(page, url):
    page.goto(url)
    page.locator(".regions .mask").first.wait_for()
    for _ in range(2):
        boxes = [page.locator(f".regions {part}").first.bounding_box() for part in (".base-image", ".mask")]
        assert boxes[0] == pytest.approx(boxes[1], abs=1)
        page.locator(".regions button[aria-label*=ullscreen]").first.click()
        page.wait_for_timeout(500)


@pytest.mark.browser
@at_one_width
def test_a_visitor_sees_the_error_message_for_a_bad_file(page, url, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    page.goto(url)
    page.locator(".regions .mask").first.wait_for()
    page.get_by_label("Remove Image").click()
    page.get_by_text("Choose a picture first").first.wait_for()
    page.locator("input[type=file]").first.set_input_files(bad)
    page.get_by_text("This is not a picture that can be read").wait_for()
