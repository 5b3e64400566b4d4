"""The picture script from a folder of pictures to a folder that serves, with any labels."""

import csv
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from shared import load_model
from shared.config import sha256
from tests.conftest import DATA, ROOT, load_app
from training import cat_dog as script
from training import neither
from training.learner import command
from training.pictures import decode, normalised

pytestmark = pytest.mark.training


def train(*options):
    return command(script.run, script.command_line(), [str(option) for option in options])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("cat_dog") / "model"
    assert train("--smoke", "--examples", "--out", out) == 0
    return out


def test_three_made_up_labels_are_learned_served_and_shown(folder):
    model = load_model(folder)
    assert model.config.labels == ("circle", "cross", "square")
    paths = sorted(folder.with_name("made-up-pictures").glob("*/*.png"))
    answers = model.predict_batch(paths)
    assert {len(answer.probabilities) for answer in answers} == {3}
    right = np.mean([answer.likeliest == path.parent.name for answer, path in zip(answers, paths, strict=True)])
    assert right > 0.5  # a third by chance
    assert model.explain(paths[0]).evidence.shape == (2, 2)


def test_quick_trains_the_last_layer_alone_and_says_so(tmp_path, monkeypatch):
    def fitted(net, features, task):
        assert task.familiar is None  # to the labels, whatever ImageNet says of them
        tasks.append(task)
        fit_head(net, features, task)

    tasks, fit_head = [], script.fit_head
    monkeypatch.setattr(script, "fit_head", fitted)
    monkeypatch.setattr(script, "train_net", lambda *_: pytest.fail("the network was trained"))
    monkeypatch.setattr(script, "SMOKE_SIZE", 96)
    out = tmp_path / "model"
    assert train("--smoke", "--quick", "--out", out) == 0
    model = load_model(out)
    assert model.config.size == 96
    assert set(model.predict(Image.new("RGB", (200, 100))).probabilities) == {"circle", "cross", "square"}
    assert tasks
    card = (out / "README.md").read_text()
    assert "`python -m training.cat_dog --smoke --quick`" in card
    assert script.QUICK_NOTE in card


def test_quick_serves_larger_pictures():
    sizes = [script.served_size(script.command_line().parse_args(options)) for options in ([], ["--quick"])]
    assert sizes == [script.SIZE, script.QUICK_SIZE]
    assert script.QUICK_SIZE > script.SIZE


def test_quick_is_not_the_books_recipe(tmp_path, capsys):
    assert train("--smoke", "--quick", "--recipe", "book", "--out", tmp_path / "model") == 2
    assert "leave out the one or the other" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_to_is_refused_before_the_training(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(script, "decode", lambda *_: pytest.fail("pictures were decoded"))
    (tmp_path / "file").write_text("")
    assert train("--smoke", "--out", tmp_path / "file/below/model") == 2
    assert f"Nothing can be written into {tmp_path / 'file'}" in capsys.readouterr().err


def test_the_folder_is_complete_and_its_metrics_are_whole(folder):
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {name for name in names if not name.startswith("examples/")} == {
        "onnx/model.onnx", "gallery.json", "metrics.json", "README.md", "LICENSE.md",
        "model.safetensors", "config.json", "preprocessor_config.json",
    }  # fmt: skip
    assert sum(name.startswith("examples/") for name in names) == 3
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {item["name"] for item in metrics["figures"]} == {
        "error", "error_before_int8", "wrong_or_refused", "error_circle", "error_cross", "error_square", "ece",
        "ece_before", "refused", "auroc", "noticed",
    }  # fmt: skip
    assert metrics["parity_float"]["largest_difference"] < 1e-3


def test_transformers_alone_loads_the_folder_and_agrees(folder):
    """In a process that cannot import anything of this repository."""
    path = next(folder.with_name("made-up-pictures").glob("circle/*.png"))
    code = f"""
import sys
sys.path[:] = [entry for entry in sys.path if entry not in ("", {str(ROOT)!r})]
import importlib.util, json, torch
library = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from transformers import pipeline
print(json.dumps(pipeline("image-classification", {str(folder)!r}, device="cpu")({str(path)!r})))
assert not any(name.split(".")[0] in ("shared", "training") for name in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    theirs = {item["label"]: item["score"] for item in json.loads(done.stdout.splitlines()[-1])}
    ours = load_model(folder).predict(path).probabilities
    assert theirs == pytest.approx(ours, abs=0.03)


def test_the_space_shows_whatever_labels_the_model_has(folder, tmp_path):
    shutil.copytree(ROOT / "spaces/cat_dog", tmp_path / "shapes", ignore=shutil.ignore_patterns("model"))
    shutil.copytree(folder, tmp_path / "shapes/model")
    app = load_app(tmp_path / "shapes")
    assert "Is it a circle, a cross or a square?" in app.INTRODUCTION
    path = str(next(folder.with_name("made-up-pictures").glob("cross/*.png")))
    answer, words, _ = app.predict(path)
    assert set(answer["probabilities"]) == {"circle", "cross", "square"}
    assert "circle" in words or answer["label"] in words
    assert [name.split(",")[0] for name, _ in app.examples()] == ["circle", "cross", "square", "a lion", "a tower"]
    summary, table, _ = app.batch([path, path])
    assert summary == {"files": 2, "answered": 2, "errors": 0}
    assert "probability square" in table


def test_training_sees_what_serving_sees(folder, tmp_path):
    model = load_model(folder)
    rng = np.random.default_rng(0)
    path = tmp_path / "large.jpg"
    Image.fromarray(rng.integers(0, 256, (900, 1300, 3), dtype=np.uint8)).save(path)
    size = model.config.size
    trained = normalised(decode([path], (size, size)).float().div(255), script.MEAN, script.STD)
    assert np.allclose(trained[0].numpy(), model.pixels(path), atol=1e-6)


@pytest.mark.data
def test_oxford_pets_is_split_as_its_authors_did():
    options = script.command_line().parse_args(["--data", str(DATA / "pets"), "--seed", "1"])
    task = script.load(options)
    (test,) = task.tests.values()
    assert len(test) == 3669
    assert len(task.train) + len(task.valid) == 3680 - 23
    with (DATA / "pets/annotations/near_duplicates.csv").open(newline="") as file:
        pairs = [{row["split_a"]: row["file_a"], row["split_b"]: row["file_b"]} for row in csv.DictReader(file)]
    across = {pair["trainval"].removesuffix(".jpg") for pair in pairs if pair.keys() == {"trainval", "test"}}
    assert across == script.NEAR_DUPLICATES
    assert not set(task.train.paths) & set(test.paths)
    assert not set(task.train.paths) & set(task.valid.paths)
    assert abs(task.train.y.mean() - task.valid.y.mean()) < 0.01
    assert {path.name[0].isupper() for path, y in zip(test.paths, test.y, strict=True) if y == 0} == {True}


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ({}, "at least two"),
        ({"a": 20}, "at least two"),
        ({"a": 20, "b": 3}, "has 3 pictures; at least 10"),
    ],
)
def test_a_folder_that_cannot_be_learned_from_is_refused_in_a_sentence(tmp_path, capsys, folders, message):
    for name, count in folders.items():
        (tmp_path / "own" / name).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", (8, 8)).save(tmp_path / "own" / name / f"{index}.png")
    (tmp_path / "own").mkdir(exist_ok=True)
    assert train("--data", tmp_path / "own", "--out", tmp_path / "out") == 2
    assert message in capsys.readouterr().err


def test_examples_have_names_that_every_system_allows(tmp_path):
    labels = ("a:b", "A?B", "con")
    paths = []
    for index in range(len(labels)):
        paths.append(tmp_path / str(index) / "aux|1.png")
        paths[-1].parent.mkdir()
        Image.new("RGB", (8, 8)).save(paths[-1])
    pictures = script.Pictures(paths, np.arange(3), np.arange(3))
    task = script.Task(labels, pictures, pictures, {}, script.ABOUT, "")
    (tmp_path / "model").mkdir()
    script.write_examples(tmp_path / "model", task)
    names = sorted(path.name for path in (tmp_path / "model/examples").iterdir())
    assert names == ["A_B-aux_1-1.jpg", "a_b-aux_1.jpg", "con-aux_1.jpg"]


def test_a_file_that_is_no_picture_is_named(tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for index in range(10):
            Image.new("RGB", (8, 8)).save(tmp_path / "own" / name / f"{index}.png")
    (tmp_path / "own/b/3.png").write_bytes(b"broken")
    assert train("--data", tmp_path / "own", "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "3.png" in error
    assert not (tmp_path / "out").exists()


def test_the_known_score_is_the_log_odds_of_the_familiar_classes():
    torch.manual_seed(0)
    imagenet = torch.nn.Linear(64, 12)
    features = torch.randn(200, 64) + 3
    known = script.Known(imagenet, familiar=[2, 3], features=features, rank=12)
    p = imagenet(features).softmax(1)[:, [2, 3]].sum(1)
    assert torch.allclose(known(features), (p / (1 - p)).log(), atol=1e-4)


def test_forgetting_imagenet_costs():
    y, logits, kinds = torch.tensor([0, 1]), torch.zeros(2, 2), torch.zeros(2, 2)
    before = torch.randn(2, 5)
    remembered, forgotten = (float(script.loss_of((logits, kinds, now), y, y, before)) for now in (before, -before))
    assert remembered < forgotten


@pytest.mark.parametrize("labels", [2, 3])
def test_the_head_fits_the_features_every_label_weighing_the_same(labels):
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(labels), [900, 90, 90][:labels])
    features = rng.normal(size=(len(y), 1280)).astype(np.float32)
    features[:, 0] += 2 * (y == 0)  # overlapping, so that weighing by frequency would favour the first
    net, task = small_net(labels), made_up_task(labels, y)
    script.fit_head(net, torch.from_numpy(features), task)
    with torch.inference_mode():
        said = net.classifier.classifier(torch.from_numpy(features)).softmax(1).numpy()
    assert (said.argmax(1) == y).mean() > 0.8
    weights = 1 / np.bincount(y)[y]
    assert np.average(said[:, 0], weights=weights) == pytest.approx(1 / labels, abs=0.02)


def test_the_head_learns_what_imagenet_says_where_it_knows_the_labels():
    rng = np.random.default_rng(0)
    y = np.arange(3000) % 2
    features = torch.from_numpy(rng.normal(size=(len(y), 1280)).astype(np.float32))
    sign = torch.from_numpy(2.0 * y - 1).float()
    features[:, 0] += sign  # what ImageNet's classifier goes by
    features[:, 1] += 3 * sign  # a coincidence of the training pictures, clearer than that
    agreement = {}
    for familiar in (None, (range(0, 5), range(5, 123))):
        net = small_net(2)
        net.imagenet = torch.nn.Linear(1280, 1001)  # with a class 0 for the background
        with torch.no_grad():
            net.imagenet.weight.zero_()
            net.imagenet.weight[1:6, 0], net.imagenet.weight[6:124, 0] = -1, 1
        script.fit_head(net, features, made_up_task(2, y, familiar))
        weight = net.classifier.classifier.weight.detach()
        agreement[familiar] = float((weight[1, 0] / weight[1, 1]).abs())
    assert agreement[range(0, 5), range(5, 123)] > 3 * agreement[None]


def test_going_back_ends_between_the_pretrained_and_the_fine_tuned_weights():
    net, before = small_net(2), script.pretrained_backbone(script.command_line().parse_args(["--smoke"]))
    name, tuned = next(iter(net.classifier.mobilenet_v2.named_parameters()))
    old, new = before.mobilenet_v2.get_parameter(name), tuned.detach().clone()
    assert not torch.equal(old, new)
    script.go_back(net, before)
    assert torch.allclose(tuned, old + script.TUNED * (new - old), atol=1e-6)


def small_net(labels):
    options = script.command_line().parse_args(["--smoke"])
    return script.PictureNet("abc"[:labels], labels, script.pretrained_backbone(options))


def made_up_task(labels, y, familiar=None):
    return script.Task(tuple("abc"[:labels]), script.Pictures([], y, y), None, {}, None, "", familiar)


def test_a_map_averages_to_its_logit():
    net = script.PictureNet(
        ("a", "b", "c"), 3, script.pretrained_backbone(script.command_line().parse_args(["--smoke"]))
    )
    torch.nn.init.normal_(net.classifier.classifier.weight)
    served = script.Served(net, script.Known(net.imagenet, [0], torch.randn(50, 1280), 4)).eval()
    with torch.inference_mode():
        logits, _, maps = served(torch.randn(2, 3, 64, 64))
    assert torch.allclose(maps.mean((2, 3)), logits, atol=1e-4)


def test_pictures_of_nothing_trained_on_are_many_and_the_same_each_time():
    assert len(neither.photographs()) == 19
    assert all(path.is_file() and "chelsea" not in path.name for path in neither.photographs())
    assert [path.name for path in neither.animals()] == ["cheetah.jpg", "cheetah1.jpg", "lion.jpg", "cheetah2.jpg"]
    assert all(path.is_file() for path in neither.animals())
    for draw in (neither.noise, neither.drawings, neither.texts):
        first, second, other = draw(6, seed=1), draw(6, seed=1), draw(6, seed=2)
        assert [image.tobytes() for image in first] == [image.tobytes() for image in second]
        assert [image.tobytes() for image in first] != [image.tobytes() for image in other]
        assert len({image.tobytes() for image in first}) == 6


def test_book_recipe_prints_its_figure_beside_the_books(capsys, tmp_path, monkeypatch):
    def no_network(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", no_network)
    assert train("--recipe", "book", "--smoke", "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "starting from scratch" in printed
    assert "the book's: 0.0095" in printed


def test_int8_that_costs_too_much_is_refused():
    y = np.zeros(40, np.int64)
    exact = np.eye(2, dtype=np.float32)[y]
    stored = exact.copy()
    stored[0] = 0, 1
    script.check_cost(exact, stored, y)
    stored[1] = 0, 1
    with pytest.raises(RuntimeError, match="on 40 pictures from 0 to 2"):
        script.check_cost(exact, stored, y)


def test_published_examples_do_not_tell_where_and_when(tmp_path):
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (51.0, 30.0, 0.0)}  # GPS
    paths = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "same.jpg")
        Image.new("RGB", (60, 40), "green").save(paths[-1], exif=exif)
    assert Image.open(paths[0]).getexif().get_ifd(0x8825)
    y = np.array([0, 0])
    some = script.Pictures(paths, y, y)
    task = script.Task(("same", "other"), some, some, {}, script.own_about(("same", "other"), "x"), "")
    script.write_examples(tmp_path, task)
    written = sorted((tmp_path / "examples").iterdir())
    assert len(written) == 2
    assert not any(Image.open(path).getexif() for path in written)


def test_a_last_layer_of_ones_own_labels_is_judged_on_pictures_it_was_not_fitted_to():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 15)
    features = rng.normal(0, 1, (45, 400)).astype(np.float32)  # noise: nothing can be learned
    fitted = script.label_head().fit(features, y)
    assert fitted.score(features, y) == 1
    assert (script.out_of_fold(features, y).argmax(1) == y).mean() < 0.6
    assert script.out_of_fold(features[:30], y[:30]).shape == (30, 2)


def test_a_stored_model_measured_again_has_the_same_figures(folder, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(folder, copy)
    before = json.loads((copy / "metrics.json").read_text())
    metrics = json.loads((copy / "metrics.json").read_text())
    metrics["figures"][0]["value"] = 0.123  # not what the model answers
    (copy / "metrics.json").write_text(json.dumps(metrics))
    contract = json.loads((copy / "gallery.json").read_text())
    contract["files"]["metrics.json"] |= {"sha256": sha256(copy / "metrics.json")}
    contract["files"]["metrics.json"]["bytes"] = (copy / "metrics.json").stat().st_size
    contract["about"]["summary"] = "Edited by its author."
    (copy / "gallery.json").write_text(json.dumps(contract))
    assert train("--smoke", "--measure", copy, "--out", folder) == 0
    after = json.loads((copy / "metrics.json").read_text())
    dated = [{**item} for item in after["figures"]]
    kept = {item["name"] for item in dated if item.pop("measured", None) == before["measured"]["date"]}
    assert kept == {"error_before_int8", "ece_before"}
    assert dated == before["figures"]
    assert after["trained"] == before["trained"]
    assert after["measured"]["command"].endswith("--measure DIR")
    assert load_model(copy).config.about.summary == "Edited by its author."


def test_a_model_of_other_labels_is_not_measured(folder, tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for index in range(10):
            Image.new("RGB", (8, 8)).save(tmp_path / "own" / name / f"{index}.png")
    before = (folder / "metrics.json").read_bytes()
    assert train("--data", tmp_path / "own", "--measure", folder) == 2
    assert "tells circle, cross, square apart, the data a, b" in capsys.readouterr().err
    assert train("--data", tmp_path / "own", "--measure", tmp_path / "own") == 2
    assert (folder / "metrics.json").read_bytes() == before


def test_what_was_read_at_every_training_is_called_so(tmp_path):
    pets = made_up_pets(tmp_path)
    for kind in ("cat", "dog"):
        (tmp_path / "other/test").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / f"other/test/{kind}.1.jpg")
    options = script.command_line().parse_args(["--data", str(pets), "--dogs-vs-cats", str(tmp_path / "other")])
    task = script.load(options)
    assert list(task.tests) == [(script.PETS, "official test"), (script.DOGS_VS_CATS, "development set")]
    assert task.notes == (script.SEEN_BY_US, script.DEVELOPMENT)
    assert script.load(script.command_line().parse_args(["--data", str(pets)])).notes == (script.SEEN_BY_US,)


def test_the_embedded_card_says_what_the_script_says():
    card = (ROOT / "spaces/cat_dog/model/README.md").read_text()
    for sentence in (*script.ABOUT.limits, script.SEEN_BY_US, script.DEVELOPMENT):
        assert sentence in card
    metrics = json.loads((ROOT / "spaces/cat_dog/model/metrics.json").read_text())
    figures = {(item["name"], item["data"]): item for item in metrics["figures"]}
    for group in ("animals cut out on white (Tux Paint's stamps)", "animals bundled with gradio"):
        noticed = figures["noticed", group]
        passed = round((1 - noticed["value"]) * noticed["count"])
        assert f"Not refused: {passed} of the {noticed['count']} {group}: " in card
    assert figures["error", script.DOGS_VS_CATS]["split"] == "development set"


def test_stamps_of_animals_are_photographs_of_neither(tmp_path):
    others = "mammals/dogs/dog mammals/hedgehog mammals/cats/cartoon/lion mammals/bears/toys/bear"
    for name in ("birds/hen", "mammals/dogs/fox", *others.split()):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGBA", (8, 8)).save(tmp_path / f"{name}.png")
    assert [path.stem for path in neither.stamps(tmp_path)] == ["hen", "fox"]


def test_the_card_names_animals_that_were_not_refused():
    outside = script.Measured(np.eye(2, dtype=np.float32)[[0, 1, 1]], np.array([1.0, 3.0, 2.0], np.float32))
    said = script.passed_note("animals", ["a/fox.png", "b/hen.png", "c/yak.png"], outside, 2.0, ("cat", "dog"))
    assert said == (
        "Not refused: 2 of the 3 animals: hen (dog), yak (dog). "
        "These are too few to say much: fox.png, hen.png, yak.png."
    )


def made_up_pets(tmp_path):
    """A folder in the form of Oxford Pets, without its pictures."""
    pets = tmp_path / "pets"
    (pets / "annotations").mkdir(parents=True)
    for part in ("trainval", "test"):
        lines = [f"{breed}_{number} 1 1 1" for breed in ("Cat", "dog") for number in range(300, 320)]
        (pets / f"annotations/{part}.txt").write_text("\n".join(lines))
    return pets


@pytest.mark.parametrize(
    ("option", "names"),
    [("--dogs-vs-cats", ["cat.1.jpg"]), ("--camvid", ["notes.txt"]), ("--animals", ["fox.jpg"])],
)
def test_a_folder_to_measure_on_is_checked_before_the_training(tmp_path, capsys, option, names):
    pets = made_up_pets(tmp_path)
    for folder in ("test", "test/images"):
        (tmp_path / "other" / folder).mkdir(parents=True)
        for name in names:
            (tmp_path / "other" / folder / name).write_bytes(b"")
    assert train("--data", pets, option, tmp_path / "other", "--out", tmp_path / "out") == 2
    assert re.search(f"{option}.* out", capsys.readouterr().err)
