"""Pictures drawn on with Pillow to measure robustness: what is drawn, and what is counted."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from training.data import TestSet
from training.pictures import hard_pictures

pytestmark = pytest.mark.training


def picture(width=240, height=200, colour=(250, 250, 250)):
    return Image.new("RGB", (width, height), colour)


@pytest.mark.parametrize("name", list(hard_pictures.HARDER))
def test_the_same_picture_is_drawn_on_in_the_same_way(name):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (200, 260, 3), dtype=np.uint8))
    before = image.copy()
    draw = hard_pictures.HARDER[name][1]
    first, second = (np.asarray(draw(image)) for _ in range(2))
    assert np.array_equal(first, second)
    assert np.array_equal(np.asarray(image), np.asarray(before))
    assert first.shape != (200, 260, 3) or not np.array_equal(first, np.asarray(before))


def test_a_fence_is_grey_and_covers_a_fifth():
    drawn = np.asarray(hard_pictures.draw_chain_link(picture()))
    assert {tuple(colour) for colour in drawn.reshape(-1, 3)} == {(250, 250, 250), hard_pictures.GREY}
    assert 0.1 < (drawn[..., 0] == 128).mean() < 0.3
    first = np.flatnonzero(np.diff((drawn[3, :, 0] == 128).astype(int)) > 0)
    assert np.diff(first).max() <= 24  # 12 % of 200 pixels, in both directions


def test_bars_stand_every_9_percent_of_the_width():
    drawn = np.asarray(hard_pictures.draw_cage(picture(200, 100)))
    row = drawn[0, :, 0] == hard_pictures.DARK[0]
    assert int((np.diff(row.astype(int)) > 0).sum()) == 11
    assert row.mean() == pytest.approx(0.2, abs=0.04)
    column = drawn[:, 0, 0] == hard_pictures.DARK[0]
    assert int((np.diff(column.astype(int)) > 0).sum()) == 3


def test_posterised_channels_have_8_values():
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    assert set(np.unique(np.asarray(hard_pictures.posterise(image)))) <= set(range(0, 256, 32))


def test_sizes():
    assert hard_pictures.shrink(picture()).size == (58, 48)
    assert hard_pictures.turn(picture()).size == (240, 200)
    assert hard_pictures.read(picture(1200, 1000)).size == (240, 200)
    assert hard_pictures.read(picture(60, 50)).size == (60, 50)  # not enlarged
    both = hard_pictures.place_together((picture(100, 50), picture(200, 400, (0, 0, 0))))
    assert both.size == (500, 200)
    assert (both.getpixel((399, 0)), both.getpixel((401, 0))) == ((250, 250, 250), (0, 0, 0))


def test_pairs_have_one_of_each_label_in_turn():
    y = np.array([0, 0, 0, 0, 1, 1])
    assert hard_pictures.pair(list("abcdef"), y) == [("a", "e"), ("f", "d")]
    assert hard_pictures.pair(list("abcdef"), y, most=1) == [("a", "e")]
    assert hard_pictures.pair(["a"], y[:1]) == []


def test_errors_are_counted_for_every_test_set():
    class Dark:
        """Says "b" of pictures that are dark at their left border."""

        def predict_each(self, images):
            dark = [sum(image.getpixel((0, image.height // 3))) < 300 for image in images]
            return [SimpleNamespace(probabilities={"a": 1 - 0.99 * is_b, "b": 0.99 * is_b}) for is_b in dark]

    inputs = [picture(), picture(), picture(colour=(20, 20, 20)), picture()]
    figures = hard_pictures.measure_robustness(Dark(), [TestSet("data", "split", inputs, np.array([0, 0, 1, 1]))])
    found = {figure.name: figure for figure in figures}
    assert list(found) == [*hard_pictures.HARDER, "certain_of_two"]
    assert found["error_turned"].value == 0.25
    assert found["error_turned"].count == 4
    assert found["error_turned"].interval[0] < 0.25 < found["error_turned"].interval[1]
    assert found["certain_of_two"].value == 1
    assert found["certain_of_two"].count == 2
