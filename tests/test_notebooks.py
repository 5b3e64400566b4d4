"""The notebooks: every cell runs, on made-up data and without a network."""

import json
import re

import pytest

from tests.conftest import DEMOS, ROOT

OWN = "your_own"
NAMES = (*DEMOS, OWN)
NOTEBOOKS = {name: json.loads((ROOT / f"notebooks/{name}.ipynb").read_text(encoding="utf-8")) for name in NAMES}
TRAINED = "salary"  # by its script; the others, which tests/training trains, are copied. Nothing is downloaded
PRELUDE = """
import shutil
from training import command
import fastai.text.learner, fastai.vision.all, torchvision.models._api
from fastai.text.models.awdlstm import awd_lstm_clas_config

def refuse(*args, **kwargs):
    raise OSError("no network")

def copy(recipe, options, source):
    demo = recipe.name if Path("spaces", recipe.name).is_dir() else "cat_dog"
    return Path(shutil.copytree(Path("spaces") / demo / "model", options.out))

fastai.text.learner.untar_data = torchvision.models._api.load_state_dict_from_url = refuse
awd_lstm_clas_config["n_hid"] = 32  # small ones, since they are trained from scratch
fastai.vision.all.resnet34 = fastai.vision.all.resnet18
train = globals().get("train", command.make)
command.make = train if {trains} else copy
"""


def read_code(name):
    """Return the source of the code cells of a notebook."""
    return ["".join(cell["source"]) for cell in NOTEBOOKS[name]["cells"] if cell["cell_type"] == "code"]


def test_there_is_a_notebook_for_each_model_and_for_ones_own():
    assert sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_has_no_outputs_and_its_steps(name):
    cells = NOTEBOOKS[name]["cells"]
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]
    assert len({cell["id"] for cell in cells}) == len(cells)
    steps = [line for cell in cells for line in cell["source"] if line.startswith("## ")]
    names = [re.fullmatch(rf"## {number}\. (.+)", step.strip())[1] for number, step in enumerate(steps, 1)]
    assert names == ["Data", "Train", "Look", *["The gallery's model"] * (name != OWN), "Publish"]
    assert read_code(name)[1].startswith("SMOKE = False")


@pytest.mark.parametrize("name", NAMES)
def test_the_badges_and_the_first_cell_name_one_repository(name):
    """Then one replacement, that of docs/book.md, is enough."""
    text = "".join(line for cell in NOTEBOOKS[name]["cells"] for line in cell["source"])
    addresses = re.findall(r"github(?:\.com)?/([\w.-]+/[\w.-]+)", text)
    assert addresses == ["USER/model-gallery"] * 3
    assert text.count(f"/blob/main/notebooks/{name}.ipynb") == 2


def test_the_first_cell_is_the_same_everywhere():
    assert len({read_code(name)[0] for name in NAMES}) == 1


@pytest.mark.training
def test_every_cell_runs(tmp_path):
    """In one kernel for all of them, since it takes seconds to import fastai."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    clone = tmp_path / "clone"
    (clone / "notebooks").mkdir(parents=True)
    for folder in ("hub", "shared", "spaces", "training"):
        (clone / folder).symlink_to(ROOT / folder)
    cells = []
    for number, name in enumerate(NAMES):
        setup, choose, *others = read_code(name)
        if number:
            setup = setup.replace('"../training"', '"no"')  # this kernel is in the folder already
        choose = choose.replace("SMOKE = False", "SMOKE = True")
        cells += [setup, choose, PRELUDE.format(trains=name == TRAINED), *others]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = nbclient.NotebookClient(book, timeout=None, resources={"metadata": {"path": str(clone / "notebooks")}})
    client.execute()
    shown = [output for cell in book.cells for output in cell.outputs]
    kinds = [kind for output in shown for kind in output.get("data", ())]
    assert kinds.count("image/png") >= 12
    said = "".join(output.get("text", "") for output in shown)
    assert "DeprecationWarning" not in said
    for name in DEMOS:
        assert f"would be uploaded to USER/{name}, and nothing else" in said
        assert (clone / f"runs/{name}/gallery.json").is_file()
    assert "would be uploaded to USER/my-pictures, and nothing else" in said
    assert "Would deploy USER/my-pictures:" in said
    assert (clone / "runs/mine/gallery.json").is_file()
