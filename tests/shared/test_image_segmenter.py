"""The segmentation model as other people's code uses it; nothing here depends on what it has learned."""

import io
import itertools
import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from PIL import ExifTags, Image

from shared import BadInput, CheckpointError
from shared import image_segmenter as module
from shared.image_segmenter import ImageSegmenterConfig, choose_classes, find_mask_size, find_working_size
from tests.conftest import ROOT, set_limits

STREET = ROOT / "spaces/segmentation/examples/street.jpg"


def street(mode="RGB", size=None):
    image = Image.open(STREET).convert(mode)
    return image.resize(size) if size else image


def encoded(image, kind, **options):
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def check(segmentation, answer, size):
    width, height = size
    assert answer.mask.shape == answer.confidence.shape == (height, width)
    assert answer.mask.dtype == np.uint8
    assert answer.confidence.dtype == np.float32
    assert answer.mask.max() < len(segmentation.classes)
    assert answer.confidence.min() >= 1 / len(segmentation.classes) - 1e-6
    assert answer.confidence.max() <= 1
    assert tuple(answer.share) == segmentation.classes
    assert sum(answer.share.values()) == pytest.approx(1)
    counts = np.bincount(answer.mask.ravel(), minlength=len(segmentation.classes))
    assert list(answer.share.values()) == pytest.approx(list(counts / answer.mask.size))


def test_every_pixel_gets_a_class(segmentation):
    answer = segmentation.predict(STREET)
    check(segmentation, answer, (960, 720))
    assert set(answer.present) == {label for label, share in answer.share.items() if share > 0}
    assert answer.present == sorted(answer.present, key=answer.share.get, reverse=True)
    assert answer.mean_confidence == pytest.approx(answer.confidence.mean(), abs=1e-4)


def test_path_bytes_and_image_give_the_same_answer(segmentation):
    answers = [segmentation.predict(source) for source in (STREET, str(STREET), STREET.read_bytes(), street())]
    for answer in answers[1:]:
        assert np.array_equal(answer.mask, answers[0].mask)
        assert np.array_equal(answer.confidence, answers[0].confidence)
        assert answer.share == answers[0].share


@pytest.mark.parametrize("size", [(1, 1), (7, 7), (480, 360), (360, 480), (50, 1), (1, 50), (4000, 3000), (3000, 4000)])
def test_any_size(segmentation, size):
    check(segmentation, segmentation.predict(encoded(street(size=size), "PNG")), size)


@pytest.mark.parametrize("size", [(4000, 3000), (3000, 4000), (4001, 2999)])
def test_a_large_jpeg_is_read_at_a_reduced_size(segmentation, size):
    image = street(size=size)
    reduced, whole = segmentation.predict(encoded(image, "JPEG", quality=92)), segmentation.predict(image)
    check(segmentation, reduced, size)
    assert (reduced.mask == whole.mask).mean() > 0.9


@pytest.mark.parametrize("size", [(1000, 1), (1, 1000)])
def test_a_line_is_refused(segmentation, size):
    with pytest.raises(BadInput, match="at most 50 times as long"):
        segmentation.predict(encoded(street(size=size), "PNG"))


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "1", "CMYK", "I;16"])
def test_any_mode(segmentation, mode):
    image = street("L") if mode == "I;16" else street(mode, (200, 150))
    check(segmentation, segmentation.predict(image.convert(mode)), image.size)


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [(3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_90), (8, Image.Transpose.ROTATE_270)],
)
def test_the_mask_is_upright(segmentation, orientation, turn):
    upright = street(size=(300, 200))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    answer = segmentation.predict(encoded(upright.transpose(turn), "PNG", exif=exif))
    check(segmentation, answer, (300, 200))
    assert np.array_equal(answer.mask, segmentation.predict(upright).mask)


def test_a_batch_is_the_same_as_one_by_one_and_names_a_bad_item(segmentation):
    small = street(size=(120, 90))
    answers = segmentation.predict_each([small, b"no picture", STREET])
    assert isinstance(answers[1], BadInput)
    assert np.array_equal(answers[0].mask, segmentation.predict(small).mask)
    assert np.array_equal(answers[2].mask, segmentation.predict(STREET).mask)
    assert [answer.mask.shape for answer in segmentation.predict_batch([small, STREET])] == [(90, 120), (720, 960)]
    assert segmentation.predict_batch([]) == []
    with pytest.raises(BadInput, match=r"^Item 1: This is not a picture"):
        segmentation.predict_batch([small, b"no picture"])
    with pytest.raises(BadInput):
        segmentation.predict(None)


@pytest.mark.parametrize(("longest", "size"), [(480, (480, 360)), (960, (960, 720)), (5000, (960, 720)), (1, (1, 1))])
def test_a_smaller_answer(segmentation, longest, size):
    whole = segmentation.predict(STREET)
    check(segmentation, segmentation.predict(STREET, longest), size)
    reduced = whole.reduce(longest)
    assert reduced.mask.shape == reduced.confidence.shape == size[::-1]
    assert reduced.share == whole.share
    if longest >= 480:
        assert (reduced.mask == segmentation.predict(STREET, longest).mask).mean() > 0.99


def test_a_reduced_answer_has_the_pixels_in_the_middle(segmentation):
    mask = np.arange(9 * 6, dtype=np.uint8).reshape(6, 9)
    whole = replace(segmentation.predict(STREET), mask=mask, confidence=mask / np.float32(100))
    reduced = whole.reduce(3)
    assert reduced.mask.tolist() == [[10, 13, 16], [37, 40, 43]]
    assert reduced.confidence.tolist() == whole.confidence[1::3, 1::3].tolist()


@pytest.mark.parametrize("longest", [0, -1, 1.5, "a", True, float("nan")])
def test_a_smaller_answer_has_pixels(segmentation, longest):
    for ask in (segmentation.predict, segmentation.explain):
        with pytest.raises(BadInput, match="The longest side of a mask must be a whole number of pixels above 0, not"):
            ask(STREET, longest)


@pytest.mark.parametrize(
    ("size", "longest", "expected"),
    [
        ((4000, 3000), None, (4000, 3000)),
        ((6000, 4000), None, (6000, 4000)),
        ((10_950, 10_950), None, (4898, 4898)),
        ((65_500, 1830), None, (29_308, 818)),
        ((1830, 65_500), None, (818, 29_308)),
        ((65_500, 1830), 1000, (1000, 28)),
    ],
)
def test_a_mask_has_a_bounded_number_of_pixels(size, longest, expected):
    assert find_mask_size(size, longest) == expected


def test_the_answer_to_a_larger_picture_is_smaller_and_says_so(segmentation, monkeypatch):
    whole = segmentation.predict(STREET)
    assert (whole.size, whole.scale) == ((960, 720), 1)
    assert segmentation.count_mask_pixels(STREET) == 960 * 720
    set_limits(monkeypatch, mask_pixels=480 * 360)
    answer = segmentation.predict(STREET)
    check(segmentation, answer, (480, 360))
    assert (answer.size, answer.scale) == ((960, 720), 0.5)
    assert segmentation.count_mask_pixels(STREET) == 480 * 360
    assert segmentation.explain(STREET).confidence.shape == (360, 480)
    assert answer.reduce(96).scale == 0.1
    assert (answer.mask == segmentation.predict(STREET, longest=480).mask).all()


def test_of_many_classes_a_mask_is_smaller_and_its_pixels_cost_more(segmentation, monkeypatch):
    assert segmentation.max_mask_pixels == 24_000_000
    assert segmentation.estimate_cost(STREET) == 960 * 720 + 4_000_000
    many = segmentation.config.model_copy(update={"labels": tuple(f"class {index}" for index in range(176))})
    monkeypatch.setattr(segmentation, "config", many)
    assert segmentation.max_mask_pixels == 1_500_000
    assert segmentation.estimate_cost(STREET) == 16 * 960 * 720 + 4_000_000
    large = encoded(Image.new("RGB", (3000, 2000)), "PNG")
    assert segmentation.count_mask_pixels(large) == 1500 * 1000
    assert segmentation.estimate_cost(large) == 24_000_000 + 4_000_000


def test_what_a_bad_picture_costs(segmentation):
    with pytest.raises(BadInput, match="not a picture"):
        segmentation.count_mask_pixels(b"no picture")


def test_a_wide_picture_is_not_decided_row_by_row(monkeypatch):
    tiles = []
    monkeypatch.setattr(
        module, "map_in_threads", lambda function, items: tiles.extend(items) or list(map(function, items))
    )
    mask, confidence, counts = choose_classes(np.ones((2, 2, 100), np.float32), (30_000, 40))
    assert all(rows.stop - rows.start > 40 and across.stop - across.start <= 1024 for rows, across in tiles)
    assert counts.sum() == mask.size == confidence.size


@pytest.mark.parametrize("ask", ["predict", "explain"])
def test_twelve_megapixels_take_bounded_memory(segmentation, ask):
    picture = encoded(street(size=(4000, 3000)), "JPEG")
    segmentation.predict(STREET)  # opens the model
    tracemalloc.start()
    try:
        getattr(segmentation, ask)(picture)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 150e6  # of which mask and confidence are 60


def test_explain(segmentation):
    why, answer = segmentation.explain(STREET), segmentation.predict(STREET)
    assert np.array_equal(why.confidence, answer.confidence)
    assert why.mean == answer.mean_confidence
    assert why.unsure == pytest.approx((answer.confidence < 0.5).mean())
    assert set(why.by_class) == set(answer.present)
    assert sum(why.by_class[label] * answer.share[label] for label in why.by_class) == pytest.approx(why.mean, abs=1e-4)
    assert segmentation.explain(STREET, longest=100).confidence.shape == (75, 100)


def test_a_coloured_mask_keeps_its_indices_and_has_the_colours(segmentation):
    mask = np.arange(len(segmentation.classes), dtype=np.uint8).repeat(6).reshape(-1, 6)
    with Image.open(io.BytesIO(encoded(segmentation.colour_mask(mask), "PNG"))) as image:
        assert np.array_equal(np.asarray(image), mask)
        shown = np.asarray(image.convert("RGB"))[:, 0]
    assert [tuple(row) for row in shown.tolist()] == list(segmentation.config.colours)


@pytest.mark.parametrize(
    ("size", "tile", "tile_width"),
    [
        *itertools.product([(37, 91), (120, 92)], [1, 100, 10_000, 10_000_000], [50, 1024]),
        *(((480, 360), tile, width) for tile, width in ((10_000, 1024), (10_000, 50), (10_000_000, 1024))),
    ],
)
def test_decide_interpolates_before_it_compares(monkeypatch, size, tile, tile_width):
    monkeypatch.setattr(module, "TILE", tile)
    monkeypatch.setattr(module, "TILE_WIDTH", tile_width)
    logits = np.random.default_rng(1).normal(scale=3, size=(5, 9, 12)).astype(np.float32)
    mask, confidence, counts = choose_classes(logits, size)
    # Pillow's bilinear filter is the same as ours where it enlarges.
    fine = np.stack([Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR) for plane in logits]).astype(float)
    odds = np.exp(fine - fine.max(axis=0))
    probabilities = odds / odds.sum(axis=0)
    assert np.allclose(confidence, probabilities.max(axis=0), atol=1e-5)
    assert np.allclose(np.take_along_axis(probabilities, mask[None].astype(int), 0)[0], confidence, atol=1e-5)
    assert counts.tolist() == np.bincount(mask.ravel(), minlength=5).tolist()


def test_decide_takes_the_first_of_equals_and_large_logits():
    mask, confidence, _ = choose_classes(np.zeros((3, 2, 2), np.float32), (4, 4))
    assert not mask.any()
    assert np.allclose(confidence, 1 / 3)
    logits = np.array([0.0, 1000.0], np.float32).reshape(2, 1, 1)
    mask, confidence, counts = choose_classes(logits, (3, 2))
    assert (mask == 1).all()
    assert (confidence == 1).all()
    assert counts.tolist() == [0, 6]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((480, 360), (480, 352)),
        ((4000, 3000), (480, 352)),
        ((3000, 4000), (352, 480)),
        ((7, 7), (416, 416)),
        ((1920, 1080), (560, 320)),
        ((50, 1), (2944, 64)),
    ],
)
def test_working_size(size, expected):
    assert find_working_size(size, area=172_800, multiple=16) == expected


def test_working_size_is_bounded():
    for width, height in [(1, 1), (50, 1), (1, 50), (4000, 3000), (4096, 83), (123, 457)]:
        for multiple in (4, 16, 64):
            work = find_working_size((width, height), 172_800, multiple)
            assert all(side % multiple == 0 and side >= 2 * multiple for side in work)
            assert (work[0] >= work[1]) == (width >= height)
            assert work[0] * work[1] < 3 * 172_800
    assert find_working_size((1, 50), 4_096, 64) == (128, 448)


def contract(segmentation, **change):
    return segmentation.config.model_dump(mode="json") | change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ["a"], "colours": [[0, 0, 0]]}, "labels"),
        ({"labels": ["a", "a"], "colours": [[0, 0, 0], [1, 1, 1]]}, "labels must differ"),
        ({"colours": [[0, 0, 0]]}, "one colour for each label"),
        ({"labels": ["a", "b"], "colours": [[0, 0, 256], [0, 0, 0]]}, "colours"),
        ({"area": 10}, "area"),
        ({"multiple": 6}, "multiple"),
        ({"std": [0, 1, 1]}, "std must be above 0"),
    ],
)
def test_a_wrong_config_is_refused(segmentation, tmp_path, change, message):
    (tmp_path / "gallery.json").write_text(json.dumps(contract(segmentation, **change)))
    with pytest.raises(CheckpointError, match=message):
        ImageSegmenterConfig.read(tmp_path)
