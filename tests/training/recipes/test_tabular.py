"""The tabular recipe: tables of one's own, what is learned from which rows, and resuming."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: make test-all")
pytest.importorskip("fastai", reason="fastai is not installed: make test-all")

from shared import load_model
from training import command
from training.data import DataError
from training.evaluate import sigmoid
from training.learner import Run
from training.networks.tabular import TableNet
from training.recipe import TestSet
from training.recipes.tabular import Tabular, TabularSettings, encode_rows, group_by_decay
from training.tables import Rows
from training.tabular_baselines import score_boosted_trees

pytestmark = pytest.mark.training


def train(kind, *options) -> int:
    return command.main(kind(), [str(option) for option in options])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of made-up rows, trained in seconds."""
    out = tmp_path_factory.mktemp("tabular") / "model"
    assert train(Tabular, "--smoke", "--out", out) == 0
    return out


def test_the_folder_has_the_files_for_serving(folder):
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {
        "onnx/model.onnx", "gallery.json", "metrics.json", "README.md", "LICENSE.md", "background.csv",
        "model.safetensors", "config.json",
    }  # fmt: skip


def test_a_users_table_from_csv_to_answer(folder):
    model = load_model(folder)
    assert model.config.labels == ("no", "yes")
    assert model.config.categories["colour"] == ("?", "green", "red")
    likely, unlikely = model.predict_batch(
        [{"age": 40, "hours": 95, "colour": "red"}, {"age": 40, "hours": 5, "colour": "green"}]
    )
    assert (likely.label, unlikely.label) == ("yes", "no")
    figures = {item.name: item.value for item in model.metrics.figures}
    assert figures["accuracy"] > 0.7
    assert figures.keys() == {"accuracy", "log_loss", "ece", "ece_before", "accuracy_cv"}
    (trees,) = model.metrics.peers
    assert trees.peer == "HistGradientBoosting on all 3 columns, mean of 2 seeds"
    assert trees.difference == pytest.approx(figures["accuracy"] - trees.value, abs=1e-5)


def test_calibration_is_in_the_graph_and_can_be_undone(folder):
    recipe, settings = Tabular(), TabularSettings.smoke()
    splits = recipe.load_own(str(folder.with_name("tabular-made-up") / "rows.csv"), settings)
    fitted = recipe.fit(splits, settings, Run(folder.with_name("state"), settings.seed, resume=False))
    exported = recipe.export(fitted, splits, settings)
    assert not {"temperature", "bias"} & exported.fields.keys()
    tables = [torch.from_numpy(table) for table in exported.batches[0].values()]
    with torch.inference_mode():
        calibrated = exported.module(*tables).double().numpy()
        module = exported.module
        plain = type(module)(list(module.nets)).eval()(*tables).double().numpy()
    np.testing.assert_allclose(calibrated, plain / module.temperature + module.bias, atol=1e-6)
    np.testing.assert_allclose(exported.uncalibrated(sigmoid(calibrated)), sigmoid(plain), atol=1e-6)


def test_nothing_is_learned_from_test_rows(folder, tmp_path):
    """The same run with poisoned test rows writes the same model; only its figures differ."""

    class Poisoned(Tabular):
        def load_own(self, data, settings):
            splits = super().load_own(data, settings)
            test = splits.tests[0]
            rows = [row | {"age": 17.0, "colour": "?"} for row in test.inputs]
            return replace(splits, tests=(replace(test, inputs=rows, targets=np.ones_like(test.targets)),))

    assert train(Poisoned, "--smoke", "--out", tmp_path / "model") == 0
    for name in ("onnx/model.onnx", "background.csv"):
        assert (tmp_path / "model" / name).read_bytes() == (folder / name).read_bytes()
    configs = [json.loads((path / "gallery.json").read_text()) for path in (folder, tmp_path / "model")]
    for field in ("categories", "numbers", "typical", "amounts"):
        assert configs[0][field] == configs[1][field]


def test_a_resumed_run_writes_the_same_model(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fit_network, trained = Tabular.fit_network, []

    def interrupted(*arguments):
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(fit_network(*arguments))
        return trained[-1]

    monkeypatch.setattr(Tabular, "fit_network", interrupted)
    assert train(Tabular, "--smoke", "--out", tmp_path / "model") == 130
    assert not (tmp_path / "model").exists()
    monkeypatch.setattr(Tabular, "fit_network", fit_network)
    assert train(Tabular, "--smoke", "--out", tmp_path / "model", "--resume") == 0
    assert (tmp_path / "model/onnx/model.onnx").read_bytes() == (folder / "onnx/model.onnx").read_bytes()


def test_constant_and_non_positive_columns_can_be_trained_on(tmp_path):
    table = pd.read_csv(Tabular().make_up(tmp_path, 3))[:300]
    table = table.assign(five=5, zero=0, debt=np.where(np.arange(300) % 4, 0, -3))
    table[[*table.columns.drop("label"), "label"]].to_csv(tmp_path / "mine.csv", index=False)
    assert train(Tabular, "--smoke", "--data", tmp_path / "mine.csv", "--out", tmp_path / "model") == 0
    model = load_model(tmp_path / "model")
    assert model.predict(model.config.typical).probabilities.keys() == {"no", "yes"}


def test_boosted_trees_read_columns_of_any_number_of_categories():
    names = [f"C{index:05}" for index in range(600)]
    train = Rows(pd.DataFrame({"customer": names, "age": np.arange(600.0)}), np.arange(600) % 2)
    test = TestSet("made up", "test", [{"customer": name, "age": 5.0} for name in names[:9]], np.zeros(9))
    assert score_boosted_trees(train, test, seeds=2).shape == (2, 9)


def test_numbers_beyond_float32_are_refused(tmp_path, capsys):
    table = pd.read_csv(Tabular().make_up(tmp_path, 3))
    table.loc[3, "age"] = 1e39
    table.to_csv(tmp_path / "mine.csv", index=False)
    assert train(Tabular, "--data", tmp_path / "mine.csv", "--target", "label", "--out", tmp_path / "model") == 2
    assert "age has an infinite number, or one above 3e38: '1e+39'" in capsys.readouterr().err


def test_a_column_that_is_empty_in_the_training_rows_is_refused():
    table = pd.DataFrame({"age": [1.0, 2.0], "empty": [np.nan, np.nan]})
    with pytest.raises(DataError, match="The column empty is empty in the rows to train on; leave it out"):
        Tabular().describe_columns(table, ("no", "yes"), TabularSettings())


def test_columns_are_described_by_the_training_rows():
    table = pd.DataFrame(
        {"years": [1.0, 9.0, 5.0, 9.0], "level": ["low", "high", "?", "high"], "code": [7.0, 0.0, 7.0, 3.0]}
    )
    settings = TabularSettings(exact=("code",), ordered=(("level", "years"),), ignored=("years",))
    config = Tabular().describe_columns(table, ("no", "yes"), settings)
    assert config.categories == {"level": ("?", "low", "high")}  # by years, not by name
    years = config.numbers["years"]
    assert (years.minimum, years.maximum, years.median) == (1.0, 9.0, 7.0)
    assert config.amounts == {"code": (0.0, 3.0, 7.0)}
    assert config.groups == (("level",), ("code",))
    assert config.typical == {"years": 7.0, "level": "high", "code": 5.0}
    network = TableNet(config, table, dict(settings.ordered), 4, 2)
    assert network.ordered_0.tolist() == [5.0, 1.0, 9.0]  # the mean years of each level, and where it is missing
    assert network.eval()(*encode_rows(config, table)).shape == (4, 2)


def test_scales_and_biases_do_not_decay():
    table = pd.DataFrame({"age": [1.0, 2.0, 3.0], "town": ["Ulm", "Bonn", "Ulm"]})
    network = TableNet(Tabular().describe_columns(table, ("no", "yes"), TabularSettings()), table, {}, 4, 2)
    named = {id(parameter): name for name, parameter in network.named_parameters()}
    decayed, kept = ({named[id(parameter)] for parameter in group} for group in group_by_decay(network))
    assert decayed == {
        "embeddings.0.weight", "numbers.0.linear.weight", "first.weight", "second.weight", "head",
    }  # fmt: skip
    assert kept | decayed == set(named.values())


def test_the_target_must_be_a_column(tmp_path, capsys):
    data = Tabular().make_up(tmp_path, 0)
    assert train(Tabular, "--data", data, "--target", "price", "--out", tmp_path / "model") == 2
    assert "has no column 'price'. Its columns are: age, hours, colour, label" in capsys.readouterr().err
