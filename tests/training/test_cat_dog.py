"""The cat_dog demo: reading and splitting Oxford Pets, and additional measurements."""

import csv
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

from shared import load_model
from tests.conftest import DATA, ROOT
from training import cat_dog as script
from training import command
from training.cat_dog import CatDog, CatDogSettings
from training.networks.image_classification import ClassifierNet
from training.pictures import hard_pictures, head
from training.recipe import Answered, start_run
from training.recipes.image_classification import Fitted, ImageClassification

pytestmark = pytest.mark.training


def train(*options):
    return command.main(CatDog(), [str(option) for option in options])


def load(*options):
    """Return the data and settings that the options ask for."""
    options = command.make_parser(CatDog()).parse_args([str(option) for option in options])
    settings = CatDog().read_settings(options)
    return CatDog().load(options.data, settings), settings


@pytest.fixture
def pets(tmp_path):
    """A folder in the layout of Oxford Pets, without its pictures."""
    folder = tmp_path / "pets"
    (folder / "annotations").mkdir(parents=True)
    for part in ("trainval", "test"):
        lines = [f"{breed}_{number} 1 1 1" for breed in ("Cat", "dog") for number in range(300, 320)]
        (folder / f"annotations/{part}.txt").write_text("\n".join(lines))
    return folder


@pytest.fixture
def other(tmp_path):
    """A folder in the layout of Dogs vs. Cats."""
    (tmp_path / "other/test").mkdir(parents=True)
    for kind in ("cat", "dog"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"other/test/{kind}.1.jpg")
    return tmp_path / "other"


@pytest.mark.data
def test_oxford_pets_is_split_as_its_authors_did():
    splits, _ = load("--data", DATA / "pets", "--seed", "1")
    (test,) = splits.tests
    train, valid = splits.train, splits.valid
    assert splits.labels == ("cat", "dog")
    assert len(test) == 3669
    assert len(train) + len(valid) == 3680 - 23
    with (DATA / "pets/annotations/near_duplicates.csv").open(newline="") as file:
        pairs = [{row["split_a"]: row["file_a"], row["split_b"]: row["file_b"]} for row in csv.DictReader(file)]
    across = {pair["trainval"].removesuffix(".jpg") for pair in pairs if pair.keys() == {"trainval", "test"}}
    assert across == script.NEAR_DUPLICATES
    assert not set(train.paths) & set(test.inputs)
    assert not set(train.paths) & set(valid.paths)
    assert abs(train.y.mean() - valid.y.mean()) < 0.01
    assert {path.name[0].isupper() for path, y in zip(test.inputs, test.targets, strict=True) if y == 0} == {True}
    assert int(train.kind.max()) + 1 == 37


def test_data_measured_at_every_training_is_called_a_development_set(pets, other):
    splits, settings = load("--data", pets, "--dogs-vs-cats", other)
    assert [(test.data, test.split) for test in splits.tests] == [
        ("Oxford Pets", "official test"),
        ("Dogs vs. Cats", "development set"),
    ]
    assert settings.dogs_vs_cats == str(other)
    assert splits.tests[1].targets.tolist() == [0, 1]
    assert [dataset.name for dataset in splits.description.about.datasets] == [
        "Oxford-IIIT Pet",
        "Dogs vs. Cats (Asirra)",
    ]
    seen, development = splits.description.notes
    assert seen.startswith("The official test pictures of Oxford Pets have been measured at the end of every training")
    assert "They are a development set" in development
    alone, _ = load("--data", pets)
    assert alone.description.notes == (seen,)
    assert [dataset.name for dataset in alone.description.about.datasets] == ["Oxford-IIIT Pet"]


@pytest.mark.parametrize(
    ("option", "names"),
    [("--dogs-vs-cats", ["cat.1.jpg"]), ("--camvid", ["notes.txt"]), ("--animals", ["fox.jpg"])],
)
def test_a_folder_to_measure_on_is_checked_before_the_training(pets, tmp_path, capsys, option, names):
    for folder in ("test", "test/images"):
        (tmp_path / "wrong" / folder).mkdir(parents=True)
        for name in names:
            (tmp_path / "wrong" / folder / name).write_bytes(b"")
    assert train("--smoke", "--data", pets, option, tmp_path / "wrong", "--out", tmp_path / "out") == 2
    assert re.search(f"(omit {option}|{option}.*omitted)", capsys.readouterr().err)


def test_what_is_measured_on_changes_no_training(pets, other, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    states = []
    for more in ([], ["--dogs-vs-cats", other, "--alpha", "0.9"], ["--seed", 1]):
        options = command.make_parser(CatDog()).parse_args([str(option) for option in ("--data", pets, *more)])
        states.append(start_run(CatDog(), options, CatDog().read_settings(options)).state)
    assert states[0] == states[1] != states[2]


def test_unrelated_pictures_are_those_of_the_options_and_of_the_recipe(tmp_path):
    (tmp_path / "camvid/test/images").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "camvid/test/images/street.png")
    (tmp_path / "stamps").mkdir()
    Image.new("RGBA", (8, 8)).save(tmp_path / "stamps/fox.png")
    settings = CatDogSettings(camvid=str(tmp_path / "camvid"), animals=str(tmp_path / "stamps"))
    groups = CatDog().find_unrelated(settings)
    assert list(groups)[:2] == ["street scenes (CamVid test)", "animals cut out on white (Tux Paint's stamps)"]
    assert [path.name for path in (*groups[next(iter(groups))], *list(groups.values())[1])] == ["street.png", "fox.png"]
    assert list(groups)[2:] == list(CatDog().find_unrelated(CatDogSettings()))


def test_a_folder_of_own_pictures_is_sent_to_the_recipe(tmp_path, capsys):
    assert train("--smoke", "--data", tmp_path, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "There is no annotations/trainval.txt" in error
    assert f"python -m training.recipes.image_classification --data {tmp_path}" in error


@pytest.mark.parametrize("quick", [False, True])
def test_the_last_layer_is_fitted_to_what_imagenet_says_unless_it_is_quick(pets, monkeypatch, quick):
    def fit_head(layer, features, y, targets):
        fitted.append(targets is None)

    fitted = []
    monkeypatch.setattr(head, "fit_head", fit_head)
    splits, _ = load("--data", pets)
    torch.manual_seed(0)
    config = MobileNetV2Config(depth_multiplier=0.35, image_size=32, num_labels=1001)
    net = ClassifierNet(splits.labels, 2, MobileNetV2ForImageClassification(config))
    pictures = torch.randint(0, 256, (12, 3, 32, 32), dtype=torch.uint8)
    splits = replace(splits, train=splits.train.take(np.arange(0, 32, 4)))
    settings = replace(CatDogSettings(), quick=quick)
    features, unseen = CatDog().fit_head(net, Fitted(net, pictures[:8], pictures[8:]), splits, settings)
    assert fitted == [quick]
    score = CatDog().fit_score(net, features, splits, settings)
    assert score.inside == [*range(152, 270), *range(282, 287)]  # ImageNet's 118 dogs and 5 cats
    assert (len(features), len(unseen)) == (8, 4)


def test_quick_cannot_be_combined_with_the_books_recipe(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        train("--smoke", "--quick", "--recipe", "book", "--out", tmp_path / "model")
    assert "without --resume, --embed, --push-to-hub and --quick" in capsys.readouterr().err


def test_the_embedded_figures_are_of_the_data_that_its_notes_name():
    metrics = load_model(ROOT / "spaces/cat_dog/model").metrics
    figures = {(figure.name, figure.data): figure for figure in metrics.figures}
    card = (ROOT / "spaces/cat_dog/model/README.md").read_text(encoding="utf-8")
    for group in ("animals cut out on white (Tux Paint's stamps)", "animals bundled with gradio"):
        rejected = figures["noticed", group]
        accepted = round((1 - rejected.value) * rejected.count)
        assert re.search(f"Not re(fus|ject)ed: {accepted} of the {rejected.count} {re.escape(group)}: ", card)
    assert figures["error", "Dogs vs. Cats"].split == "development set"


def test_imagenets_classes_are_known_of_cats_and_dogs_in_a_pretrained_network_alone(pets):
    splits, settings = load("--data", pets)
    assert CatDog().find_known_classes(splits, settings) == script.IMAGENET_CLASSES
    assert CatDog().find_known_classes(splits, CatDogSettings.smoke()) is None  # --smoke --data: random weights
    assert CatDog().find_known_classes(replace(splits, labels=("circle", "cross", "square")), settings) is None


def test_it_measures_harder_pictures_too(monkeypatch):
    plain = {"figures": ["error"], "notes": ["plain"]}
    monkeypatch.setattr(ImageClassification, "measure", lambda *_: plain)
    monkeypatch.setattr(hard_pictures, "measure_robustness", lambda model, tests: [model, *tests])
    splits = SimpleNamespace(tests=("test",))
    measured = CatDog().measure(Answered("model", splits, [], CatDogSettings(), None))
    assert measured == {"figures": ["error", "model", "test"], "notes": ["plain", hard_pictures.NOTE]}


def test_cats_begin_with_a_capital_and_breeds_are_kinds(tmp_path):
    found = script.select_pets(tmp_path, ["Maine_Coon_12", "Maine_Coon_3", "pug_1", "Bombay_7"])
    assert found.y.tolist() == [0, 0, 1, 0]
    assert found.kind.tolist() == [1, 1, 2, 0]
    assert found.paths[0] == tmp_path / "images/Maine_Coon_12.jpg"
    assert np.array_equal(found.take(np.array([2])).y, [1])
