"""The input of a stored model can be renamed, and folders load whatever it is called."""

import shutil

import numpy as np
import pytest

pytestmark = pytest.mark.training

from shared import load_model
from shared.config import MODEL, read_json, sha256
from shared.load import load_folder
from tests.conftest import ROOT

PICTURES = {"cat_dog": "cat.png", "segmentation": "street.jpg"}


@pytest.mark.parametrize("name", PICTURES)
def test_a_renamed_input_changes_no_bit_of_the_answers_and_the_folder_still_loads(name, tmp_path):
    from training.rename_input import rename_input

    here = ROOT / "spaces" / name / "model"
    folder = shutil.copytree(here, tmp_path / "model")
    assert rename_input(folder, "pixels") == "pixel_values"
    assert read_json(folder)["files"][MODEL]["sha256"] == sha256(folder / MODEL)
    old, new = load_folder(folder), load_folder(here)
    assert old.session.inputs == ["pixels"]
    picture = ROOT / "spaces" / name / "examples" / PICTURES[name]
    pixels = new.preprocess(picture) if name == "cat_dog" else new._preprocess(picture)[1]
    before, after = (
        model.session.run(model.session.outputs, {model.session.inputs[0]: pixels[None]}) for model in (old, new)
    )
    assert [array.tobytes() for array in before] == [array.tobytes() for array in after]
    assert np.ptp(before[0]) > 0
    for one, other in zip(old.predict_batch([picture]), new.predict_batch([picture]), strict=True):
        np.testing.assert_equal(vars(one), vars(other))
    rename_input(folder, "pixel_values")
    assert (folder / MODEL).read_bytes() == (here / MODEL).read_bytes()


@pytest.mark.parametrize("name", PICTURES)
def test_transformers_js_finds_the_input_by_its_name(name):
    assert load_model(ROOT / "spaces" / name / "model").session.inputs == ["pixel_values"]


def test_only_the_one_input_of_a_model_is_renamed(tmp_path):
    from training.data import DataError
    from training.rename_input import rename_input

    folder = shutil.copytree(ROOT / "spaces/salary/model", tmp_path / "salary")
    with pytest.raises(DataError, match="has 2 inputs"):
        rename_input(folder, "pixel_values")
    folder = shutil.copytree(ROOT / "spaces/cat_dog/model", tmp_path / "cat_dog")
    with pytest.raises(DataError, match="already has a value named 'logits'"):
        rename_input(folder, "logits")
