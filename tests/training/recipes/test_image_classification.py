"""The image classification recipe, from a folder of pictures to a folder that serves, with any labels."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from shared import load_model
from tests.conftest import ROOT, load_app
from training import command, learner
from training.learner import Run
from training.pictures.batches import normalise
from training.pictures.files import decode
from training.recipes import image_classification as script
from training.recipes.image_classification import ImageClassification, ImageClassificationSettings
from training.states import read_seconds_trained

pytestmark = pytest.mark.training
SHAPES = ("circle", "cross", "square")


def train(*options):
    return command.main(ImageClassification(), [str(option) for option in options])


def write_pictures(folder, **counts):
    """Write pictures of one colour each into a subfolder for each label."""
    for number, (label, count) in enumerate(counts.items()):
        (folder / label).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", (8, 8), (number, index, 0)).save(folder / label / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("shapes") / "model"
    assert train("--smoke", "--examples", "--out", out) == 0
    return out


@pytest.fixture(scope="module")
def shapes(folder):
    """The pictures it was trained and tested on."""
    return folder.with_name("image_classification-made-up")


def test_three_made_up_labels_are_learned_and_explained(folder, shapes):
    model = load_model(folder)
    assert model.config.labels == SHAPES
    paths = sorted(shapes.glob("*/*.png"))
    answers = model.predict_batch(paths)
    assert {len(answer.probabilities) for answer in answers} == {3}
    right = np.mean([answer.likeliest == path.parent.name for answer, path in zip(answers, paths, strict=True)])
    assert right > 0.5  # a third by chance; 0.75 or more with six seeds, and one or two threads
    assert model.explain(paths[0]).evidence.shape == (2, 2)


def test_the_folder_is_complete_and_its_metrics_are_whole(folder):
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {name for name in names if not name.startswith("examples/")} == {
        "onnx/model.onnx", "gallery.json", "metrics.json", "README.md", "LICENSE.md",
        "model.safetensors", "config.json", "preprocessor_config.json",
    }  # fmt: skip
    assert sum(name.startswith("examples/") for name in names) == 3
    metrics = load_model(folder).metrics
    assert metrics.parity.weights == "int8 and float16"
    assert {figure.name for figure in metrics.figures} == {
        "error", "wrong_or_refused", "error_circle", "error_cross", "error_square", "ece", "ece_before", "refused",
        "auroc", "noticed", "validation", "validation_float32",
    }  # fmt: skip
    groups = {figure.data: figure.count for figure in metrics.figures if figure.name == "noticed"}
    assert groups == {
        "animals bundled with gradio": 4,
        "photographs bundled with gradio, scikit-image and scikit-learn": 19,
        "noise": 100,
        "drawings": 100,
        "text": 100,
    }
    assert metrics.parity_float.largest_difference < 1e-3
    assert list(metrics.parity.by_output) == ["logits", "in_distribution_score", "maps"]


def test_the_threshold_is_below_the_stored_scores_of_the_pictures_it_was_fitted_to(folder, shapes):
    model, splits = load_model(folder), ImageClassification().load_own(str(shapes), ImageClassificationSettings.smoke())
    answers = model.predict_batch([*splits.train.paths, *splits.valid.paths])
    scores = [answer.in_distribution_score for answer in answers]
    # Of the few pictures here, the one that is least like others is nearest to the threshold.
    assert min(scores) - 2 < model.config.in_distribution_threshold <= np.quantile(scores, 0.01)
    note = "0.5% of the training and validation pictures are below the threshold of that score, each training picture"
    assert note in (folder / "README.md").read_text(encoding="utf-8")


def test_what_is_fitted_after_the_training_is_also_in_the_exact_module(shapes, tmp_path, monkeypatch):
    """The exact module is stored if int8 changes too much."""
    monkeypatch.setattr(script, "fit_conflict", lambda module, *_: module.conflict.slope.fill_(0.25))
    recipe, settings = ImageClassification(), replace(ImageClassificationSettings.smoke(), quick=True)
    splits = recipe.load_own(str(shapes), settings)
    exported = recipe.export(recipe.fit(splits, settings, Run(tmp_path, 42, False, False)), splits, settings)
    assert float(exported.exact.conflict.slope) == 0.25
    assert exported.exact.score is exported.module.score
    assert any("less certain where one part" in note for note in exported.notes)
    scores = exported.module.score.of_training
    assert float((scores < exported.fields["in_distribution_threshold"]).float().mean()) < 0.05


def test_the_app_shows_whatever_labels_the_model_has(folder, shapes, tmp_path):
    shutil.copytree(ROOT / "spaces/cat_dog", tmp_path / "shapes", ignore=shutil.ignore_patterns("model"))
    shutil.copytree(folder, tmp_path / "shapes/model")
    app = load_app(tmp_path / "shapes")
    assert app.demo.title == app.config.about.title
    path = str(next(shapes.glob("cross/*.png")))
    answer, words, _ = app.predict(path)
    assert set(answer["probabilities"]) == set(SHAPES)
    assert "circle" in words or answer["label"] in words
    samples = [block.value for block in app.demo.blocks.values() if block.get_block_name() == "button" and block.icon]
    assert [name.split(",")[0] for name in samples] == [*SHAPES, "a lion", "a tower"]
    summary, table, _ = app.batch([path, path])
    assert summary == {"files": 2, "answered": 2, "errors": 0}
    assert "probability square" in table


def test_training_sees_what_serving_sees(folder, tmp_path):
    model = load_model(folder)
    rng = np.random.default_rng(0)
    path = tmp_path / "large.jpg"
    Image.fromarray(rng.integers(0, 256, (900, 1300, 3), dtype=np.uint8)).save(path)
    size = model.config.size
    trained = normalise(decode([path], (size, size)).float().div(255), model.config.mean, model.config.std)
    assert np.allclose(trained[0].numpy(), model.preprocess(path), atol=1e-6)


def test_a_model_of_other_labels_is_not_measured(folder, tmp_path, capsys):
    own = write_pictures(tmp_path / "own", a=10, b=10)
    before = (folder / "metrics.json").read_bytes()
    assert train("--data", own, "--measure", folder) == 2
    assert "has the labels circle, cross, square, but the data has a, b" in capsys.readouterr().err
    assert train("--data", own, "--measure", own) == 2
    assert (folder / "metrics.json").read_bytes() == before


def test_quick_trains_the_last_layer_alone_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(ImageClassification, "fit_network", lambda *_: pytest.fail("the network was trained"))
    out = tmp_path / "model"
    assert train("--smoke", "--quick", "--out", out) == 0
    model = load_model(out)
    assert set(model.predict(Image.new("RGB", (200, 100))).probabilities) == set(SHAPES)
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "`python -m training.recipes.image_classification --smoke --quick`" in card
    assert script.QUICK_NOTE in card
    assert not (out / "examples").exists()  # one's own pictures go with the model only if that is asked for


def test_quick_serves_larger_pictures():
    assert ImageClassificationSettings().stored_size == 288
    assert ImageClassificationSettings(quick=True).stored_size == 320
    assert ImageClassificationSettings(quick=True, init=None, size=96).stored_size == 96


def test_an_interrupted_training_resumes_to_the_same_weights(shapes, tmp_path, monkeypatch):
    recipe, settings = ImageClassification(), replace(ImageClassificationSettings.smoke(), epochs=2)
    splits = recipe.load_own(str(shapes), settings)

    def fit(state, resume=False):
        return recipe.fit(splits, settings, Run(tmp_path / state, settings.seed, resume)).net.state_dict()

    def save(callback):
        save_state(callback)
        saved.append((callback.folder.parent.name, callback.folder.name, callback.epoch))
        if saved == [*straight, ("cut", "head", 0), ("cut", "body", 0)]:
            raise KeyboardInterrupt

    saved, save_state = [], learner.KeepState.save
    straight = [("whole", "head", 0), ("whole", "body", 0), ("whole", "body", 1)]
    monkeypatch.setattr(learner.KeepState, "save", save)
    monkeypatch.setattr(learner, "BETWEEN_SAVES", 0.0)
    whole = fit("whole")
    with pytest.raises(KeyboardInterrupt):
        fit("cut")
    resumed = fit("cut", resume=True)
    assert saved == [*straight, ("cut", "head", 0), ("cut", "body", 0), ("cut", "body", 1)]
    assert all(torch.equal(weights, resumed[name]) for name, weights in whole.items())
    assert read_seconds_trained(tmp_path / "cut") > 0


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, "at least two"),
        ({"a": 20}, "at least two"),
        ({"a": 20, "b": 3}, "At least 10 different pictures are needed of each label"),
    ],
)
def test_a_folder_that_cannot_be_learned_from_is_refused_with_a_message(tmp_path, capsys, counts, message):
    own = write_pictures(tmp_path / "own", **counts)
    own.mkdir(exist_ok=True)
    assert train("--smoke", "--data", own, "--out", tmp_path / "out") == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["--data", "no-such-folder"]])
def test_without_data_the_error_names_the_option(tmp_path, capsys, options):
    assert train(*options, "--out", tmp_path / "out") == 2
    assert "--data" in capsys.readouterr().err


def test_a_file_that_is_not_a_picture_is_named_before_training(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(ImageClassification, "make_network", lambda *_: pytest.fail("the training began"))
    own = write_pictures(tmp_path / "own", a=10, b=10)
    (own / "b/3.png").write_bytes(b"broken")
    assert train("--smoke", "--data", own, "--out", tmp_path / "out") == 2
    assert f"{Path('b') / '3.png'}: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_a_picture_is_named_when_measuring(folder, shapes, tmp_path, capsys):
    shutil.copytree(shapes, tmp_path / "own")
    for path in (tmp_path / "own/cross").iterdir():
        path.write_bytes(b"broken")
    assert train("--data", tmp_path / "own", "--measure", folder) == 2
    assert "24 problems with the pictures" in capsys.readouterr().err


def test_a_folder_that_is_not_writable_is_refused_before_training(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(script, "decode", lambda *_: pytest.fail("pictures were decoded"))
    (tmp_path / "file").write_text("")
    assert train("--smoke", "--out", tmp_path / "file/below/model") == 2
    assert f"{tmp_path / 'file'} is not writable" in capsys.readouterr().err


def test_a_network_that_was_not_trained_on_imagenet_is_refused(tmp_path):
    script.load_backbone(ImageClassificationSettings.smoke()).save_pretrained(tmp_path)
    with pytest.raises(script.DataError, match="must be trained on ImageNet's 1,000 classes"):
        script.load_backbone(ImageClassificationSettings(init=str(tmp_path)))
    with pytest.raises(script.DataError, match="There is no folder"):
        script.load_backbone(ImageClassificationSettings(init=str(tmp_path / "nowhere")))
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "vit"}))
    with pytest.raises(script.DataError, match="it is a vit"):
        script.load_backbone(ImageClassificationSettings(init=str(tmp_path)))


def test_the_optimiser_is_the_same_on_every_device(shapes, tmp_path, monkeypatch):
    def fit(run, learn, *_, **__):
        optimisers.append(learn.opt_func)

    optimisers, recipe, settings = [], ImageClassification(), ImageClassificationSettings.smoke()
    monkeypatch.setattr(Run, "fit", fit)
    recipe.fit(recipe.load_own(str(shapes), settings), settings, Run(tmp_path, settings.seed, False))
    assert optimisers == [learner.make_adamw] * 2
