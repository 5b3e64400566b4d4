"""Pictures that are published as examples."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from PIL import Image

from training.pictures.files import write_examples

pytestmark = pytest.mark.training


def test_examples_have_names_that_every_system_allows(tmp_path):
    paths = [tmp_path / str(index) / "aux|1.png" for index in range(3)]
    for path in paths:
        path.parent.mkdir()
        Image.new("RGB", (8, 8)).save(path)
    write_examples(tmp_path, paths, np.arange(3), ("a:b", "A?B", "con"), 4)
    names = sorted(path.name for path in (tmp_path / "examples").iterdir())
    assert names == ["A_B-aux_1-1.jpg", "a_b-aux_1.jpg", "con-aux_1.jpg"]


def test_published_examples_do_not_tell_where_and_when(tmp_path):
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (51.0, 30.0, 0.0)}  # GPS
    paths = [tmp_path / folder / "same.jpg" for folder in ("a", "b", "c")]
    for path in paths:
        path.parent.mkdir()
        Image.new("RGB", (2000, 1000), "green").save(path, exif=exif)
    assert Image.open(paths[0]).getexif().get_ifd(0x8825)
    write_examples(tmp_path, paths, np.zeros(3, int), ("same", "other"), 4)
    examples = sorted((tmp_path / "examples").iterdir())
    assert len(examples) == 2  # four examples of two labels
    for path in examples:
        with Image.open(path) as image:
            assert not image.getexif()
            assert image.size == (640, 320)
