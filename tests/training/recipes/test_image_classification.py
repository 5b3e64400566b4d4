"""Image classification: the head, the in-distribution score, the data, and the examples."""

import csv

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="torch is not installed: make test-all")
pytest.importorskip("fastai", reason="fastai is not installed: make test-all")

from shared import load_model
from tests.conftest import DATA, ROOT
from training import cat_dog, head, unrelated_pictures
from training import command as run
from training.networks.image_classification import (
    ClassifierNet,
    DistributionScore,
    ExportWrapper,
    classification_loss,
    interpolate_weights,
)
from training.out_of_distribution import note_on_accepted
from training.pictures import decode, normalised, write_examples
from training.recipes import image_classification as recipe

SMOKE = recipe.ImageClassificationSettings.smoke()


def train(*options) -> int:
    return run.main(recipe.ImageClassification(), [str(option) for option in options])


def small_net(labels):
    return ClassifierNet("abc"[:labels], labels, recipe.backbone(SMOKE))


def test_training_sees_what_serving_sees(tmp_path):
    model = load_model(ROOT / "spaces/cat_dog/model")
    path = tmp_path / "large.jpg"
    pixels = np.random.default_rng(0).integers(0, 256, (900, 1300, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    size = model.config.size
    trained = normalised(decode([path], (size, size)).float().div(255), recipe.MEAN, recipe.STD)
    assert np.allclose(trained[0].numpy(), model.pixels(path), atol=1e-6)


@pytest.mark.data
def test_oxford_pets_is_split_as_its_authors_did():
    splits = cat_dog.CatDog().load(str(DATA / "pets"), cat_dog.CatDogSettings(seed=1))
    (test,) = splits.tests
    assert len(test) == 3669
    assert len(splits.train) + len(splits.valid) == 3680 - 23
    with (DATA / "pets/annotations/near_duplicates.csv").open(newline="") as file:
        pairs = [{row["split_a"]: row["file_a"], row["split_b"]: row["file_b"]} for row in csv.DictReader(file)]
    across = {pair["trainval"].removesuffix(".jpg") for pair in pairs if pair.keys() == {"trainval", "test"}}
    assert across == cat_dog.NEAR_DUPLICATES
    assert not set(splits.train.paths) & set(test.inputs)
    assert not set(splits.train.paths) & set(splits.valid.paths)
    assert abs(splits.train.y.mean() - splits.valid.y.mean()) < 0.01
    assert {path.name[0].isupper() for path, y in zip(test.inputs, test.targets, strict=True) if y == 0} == {True}


@pytest.mark.parametrize(
    ("folders", "message"),
    [({}, "at least two"), ({"a": 20}, "at least two"), ({"a": 20, "b": 3}, "has 3 pictures; at least 10")],
)
def test_a_folder_that_cannot_be_learned_from_is_refused_in_a_sentence(tmp_path, capsys, folders, message):
    (tmp_path / "own").mkdir()
    for name, count in folders.items():
        (tmp_path / "own" / name).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", (8, 8)).save(tmp_path / "own" / name / f"{index}.png")
    assert train("--data", tmp_path / "own", "--out", tmp_path / "out") == 2
    assert message in capsys.readouterr().err


def test_own_pictures_are_sent_to_the_recipe(tmp_path, capsys):
    assert run.main(cat_dog.CatDog(), ["--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "python -m training.recipes.image_classification --data" in capsys.readouterr().err


def test_a_file_that_is_no_picture_is_named_before_the_training(tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for index in range(10):
            Image.new("RGB", (8, 8)).save(tmp_path / "own" / name / f"{index}.png")
    (tmp_path / "own/b/3.png").write_bytes(b"broken")
    assert train("--data", tmp_path / "own", "--out", tmp_path / "out") == 2
    assert "3.png" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_score_is_the_log_odds_of_the_classes_inside():
    torch.manual_seed(0)
    imagenet = torch.nn.Linear(64, 12)
    features = torch.randn(200, 64) + 3
    score = DistributionScore(imagenet, [2, 3], features, rank=12)
    p = imagenet(features).softmax(1)[:, [2, 3]].sum(1)
    assert torch.allclose(score(features), (p / (1 - p)).log(), atol=1e-4)


def test_forgetting_imagenet_costs():
    y, logits, kinds = torch.tensor([0, 1]), torch.zeros(2, 2), torch.zeros(2, 2)
    before = torch.randn(2, 5)
    kept, forgotten = (float(classification_loss((logits, kinds, now), y, y, before)) for now in (before, -before))
    assert kept < forgotten


@pytest.mark.parametrize("labels", [2, 3])
def test_the_head_fits_the_features_every_label_weighing_the_same(labels):
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(labels), [900, 90, 90][:labels])
    features = rng.normal(size=(len(y), 1280)).astype(np.float32)
    features[:, 0] += 2 * (y == 0)  # overlapping, so that weighing by frequency would favour the first
    net = small_net(labels)
    layer = net.classifier.classifier
    head.fit_head(layer, net.imagenet, torch.from_numpy(features), y, None)
    with torch.inference_mode():
        p = layer(torch.from_numpy(features)).softmax(1).numpy()
    assert (p.argmax(1) == y).mean() > 0.8
    assert np.average(p[:, 0], weights=1 / np.bincount(y)[y]) == pytest.approx(1 / labels, abs=0.02)


def test_the_head_learns_what_imagenet_says_where_it_knows_the_labels():
    rng = np.random.default_rng(0)
    y = np.arange(3000) % 2
    features = torch.from_numpy(rng.normal(size=(len(y), 1280)).astype(np.float32))
    sign = torch.from_numpy(2.0 * y - 1).float()
    features[:, 0] += sign  # what ImageNet's classifier goes by
    features[:, 1] += 3 * sign  # a coincidence of the training pictures, clearer than that
    ratios = []
    for classes in (None, (range(5), range(5, 123))):
        imagenet, layer = torch.nn.Linear(1280, 1001), torch.nn.Linear(1280, 2)  # with a class 0 for the background
        with torch.no_grad():
            imagenet.weight.zero_()
            imagenet.weight[1:6, 0], imagenet.weight[6:124, 0] = -1, 1
        head.fit_head(layer, imagenet, features, y, classes)
        ratios.append(float((layer.weight[1, 0] / layer.weight[1, 1]).detach().abs()))
    assert ratios[1] > 3 * ratios[0]


def test_a_head_of_labels_is_calibrated_on_pictures_it_was_not_fitted_to():
    rng = np.random.default_rng(0)
    y = np.arange(400) % 2
    features = torch.from_numpy(rng.normal(size=(400, 1280)).astype(np.float32))  # nothing to be learned
    layer = torch.nn.Linear(1280, 2)
    head.fit_head(layer, torch.nn.Linear(1280, 20), features[:300], y[:300], None)
    temperature = head.calibrate(layer, features[:300], features[300:], y, has_targets=False)
    with torch.inference_mode():
        p = layer(features[:300]).softmax(1).max(1).values.mean()
    assert temperature > 1
    assert p < 0.75  # although it is right on nearly all that it was fitted to


def test_interpolation_ends_between_the_pretrained_and_the_fine_tuned_weights():
    net, before = small_net(2), recipe.backbone(SMOKE)
    name, tuned = next(iter(net.classifier.mobilenet_v2.named_parameters()))
    old, new = before.mobilenet_v2.get_parameter(name), tuned.detach().clone()
    assert not torch.equal(old, new)
    interpolate_weights(net, before, alpha=0.25)
    assert torch.allclose(tuned, old + 0.25 * (new - old), atol=1e-6)


def test_a_map_averages_to_its_logit():
    net = small_net(3)
    torch.nn.init.normal_(net.classifier.classifier.weight)
    module = ExportWrapper(net, DistributionScore(net.imagenet, [0], torch.randn(50, 1280), 4)).eval()
    with torch.inference_mode():
        logits, _, maps = module(torch.randn(2, 3, 64, 64))
    assert torch.allclose(maps.mean((2, 3)), logits, atol=1e-4)


def test_unrelated_pictures_are_many_and_the_same_each_time():
    assert len(unrelated_pictures.photographs()) == 19
    assert all(path.is_file() and "chelsea" not in path.name for path in unrelated_pictures.photographs())
    names = [path.name for path in unrelated_pictures.animals()]
    assert names == ["cheetah.jpg", "cheetah1.jpg", "lion.jpg", "cheetah2.jpg"]
    for draw in (unrelated_pictures.noise, unrelated_pictures.drawings, unrelated_pictures.texts):
        first, second, other = draw(6, seed=1), draw(6, seed=1), draw(6, seed=2)
        assert [image.tobytes() for image in first] == [image.tobytes() for image in second]
        assert [image.tobytes() for image in first] != [image.tobytes() for image in other]
        assert len({image.tobytes() for image in first}) == 6


def test_stamps_of_animals_are_photographs_of_neither(tmp_path):
    for name in ("birds/hen.png", "cartoon/cow.png", "mammals/dogs/dog.png", "mammals/fox.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    assert [path.stem for path in unrelated_pictures.stamps(tmp_path)] == ["hen", "fox"]


def test_the_card_names_animals_that_were_not_rejected(cat_dog):
    paths = unrelated_pictures.animals()
    note = note_on_accepted("animals bundled with gradio", paths, cat_dog.predict_each(paths))
    assert note.startswith("Not rejected: ")
    assert "of the 4 animals bundled with gradio" in note
    assert note.endswith("These are too few to say much: cheetah.jpg, cheetah1.jpg, lion.jpg, cheetah2.jpg.")


def test_published_examples_tell_neither_where_nor_when_and_have_names_that_every_system_allows(tmp_path):
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (51.0, 30.0, 0.0)}  # GPS
    paths = []
    for index in range(3):
        paths.append(tmp_path / str(index) / "aux|1.jpg")
        paths[-1].parent.mkdir()
        Image.new("RGB", (2000, 1000)).save(paths[-1], exif=exif)
    (tmp_path / "model").mkdir()
    write_examples(tmp_path / "model", paths, np.arange(3), ("a:b", "A?B", "con"), 4)
    written = sorted((tmp_path / "model/examples").iterdir())
    assert [path.name for path in written] == ["A_B-aux_1-1.jpg", "a_b-aux_1.jpg", "con-aux_1.jpg"]
    for path in written:
        with Image.open(path) as image:
            assert not image.getexif()
            assert max(image.size) == 640
