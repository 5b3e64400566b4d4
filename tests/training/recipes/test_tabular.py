"""The tabular recipe: tables of one's own, what is learned from which rows, and resuming."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: make test-all")
pytest.importorskip("fastai", reason="fastai is not installed: make test-all")

from shared import load_model
from shared.space import replace_model
from tests.conftest import load_app
from tests.training.test_card import run_card
from training import command
from training.data import DataError, TestSet
from training.description import describe
from training.evaluate import sigmoid, stack_two_classes
from training.learner import Run
from training.networks.tabular import TableNet
from training.own_data.options import DataOptions
from training.recipes.tabular import (
    TableSplits,
    Tabular,
    TabularSettings,
    encode_rows,
    group_by_decay,
    make_summary,
)
from training.tables.baselines import predict_with_boosted_trees
from training.tables.rows import Rows

pytestmark = pytest.mark.training


def train(kind, *options) -> int:
    return command.main(kind(), [str(option) for option in options])


def describe_columns(table, settings=None, **fields):
    rows = Rows(table, np.arange(len(table)) % 2)
    description = describe("rows", "A row?", ())
    return Tabular().describe_columns(
        TableSplits(rows, rows, (), description, ("no", "yes"), **fields), settings or TabularSettings()
    )


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
        [
            {"age": 40, "hours": 95, "colour": "red", "shift": "long"},
            {"age": 40, "hours": 5, "colour": "green", "shift": "short"},
        ]
    )
    assert (likely.label, unlikely.label) == ("yes", "no")
    figures = {item.name: item.value for item in model.metrics.figures}
    assert figures["accuracy"] > 0.7
    assert figures.keys() == {
        "accuracy", "log_loss", "ece", "balanced_accuracy", "recall_no", "recall_yes", "ece_before", "accuracy_cv",
    }  # fmt: skip
    assert figures["balanced_accuracy"] == pytest.approx((figures["recall_no"] + figures["recall_yes"]) / 2, abs=1e-6)
    trees, majority = model.metrics.peers
    assert trees.peer == "HistGradientBoosting on all 4 columns, one seed"
    assert majority.peer == "always answering no"
    assert majority.difference > 0
    assert trees.difference == pytest.approx(figures["accuracy"] - trees.value, abs=1e-5)


def test_names_and_values_of_any_kind_can_be_served(tmp_path):
    """Names and categories that a spreadsheet could read as formulas, and dates, are in the folder as they are."""
    table = pd.read_csv(Tabular().make_up(tmp_path, 3))
    table = table.drop(columns="shift").rename(columns={"age": "-age", "colour": "=m²"}).replace("red", "-")
    table.insert(0, "born", [f"19{10 + row % 60}-05-{row % 28 + 1:02}" for row in range(len(table))])
    table.to_csv(tmp_path / "mine.csv", index=False)
    assert train(Tabular, "--smoke", "--data", tmp_path / "mine.csv", "--out", tmp_path / "model") == 0
    model = load_model(tmp_path / "model")
    assert model.config.categories == {"=m²": ("?", "-", "green")}
    typical = model.example()
    assert set(model.explain(typical).contributions) == {"born", "-age", "hours", "=m²"}
    with replace_model(tmp_path / "model"):
        app = load_app("salary")
    assert app.predict(*model.arguments(typical))[0] == model.predict(typical).as_dict()
    said = run_card((tmp_path / "model" / "README.md").read_text(), tmp_path / "model")
    assert float(said) == pytest.approx(model.predict(typical).probabilities["yes"], abs=1e-5)


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
    before = exported.uncalibrated(stack_two_classes(sigmoid(calibrated)))
    np.testing.assert_allclose(before, stack_two_classes(sigmoid(plain)), atol=1e-6)


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


@pytest.mark.parametrize(("y", "seeds"), [(np.arange(600) % 2, 1), (np.arange(600) / 7, 1)])
def test_boosted_trees_read_columns_of_any_number_of_categories(y, seeds):
    names = [f"C{index:05}" for index in range(600)]
    train = Rows(pd.DataFrame({"customer": names, "age": np.arange(600.0)}), y)
    test = TestSet("made up", "test", [{"customer": name, "age": 5.0} for name in names[:9]], np.zeros(9))
    found = predict_with_boosted_trees(train, test, seeds=2)  # without early stopping, a seed changes nothing
    assert (found.shape, found.dtype) == ((seeds, 9), y.dtype)


def test_numbers_beyond_float32_are_refused(tmp_path, capsys):
    table = pd.read_csv(Tabular().make_up(tmp_path, 3))
    table.loc[3, "age"] = 1e39
    table.to_csv(tmp_path / "mine.csv", index=False)
    assert train(Tabular, "--data", tmp_path / "mine.csv", "--target", "label", "--out", tmp_path / "model") == 2
    assert "age has an infinite number, or one above 3e38: '1e+39'" in capsys.readouterr().err


def test_a_column_that_is_empty_in_the_training_rows_is_refused():
    table = pd.DataFrame({"age": [1.0, 2.0], "empty": [np.nan, np.nan]})
    with pytest.raises(DataError, match="The column empty is empty in the rows to train on; leave it out"):
        describe_columns(table)


def test_columns_are_described_by_the_training_rows():
    table = pd.DataFrame(
        {"years": [1.0, 9.0, 5.0, 9.0], "level": ["low", "high", "?", "high"], "code": [7.0, 0.0, 7.0, 3.0]}
    )
    settings = TabularSettings(exact=("code",), ordered=(("level", "years"),), ignored=("years",))
    config = describe_columns(table, settings)
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
    network = TableNet(describe_columns(table), table, {}, 4, 2)
    named = {id(parameter): name for name, parameter in network.named_parameters()}
    decayed, kept = ({named[id(parameter)] for parameter in group} for group in group_by_decay(network))
    assert decayed == {
        "embeddings.0.weight", "numbers.weight", "first.weight", "second.weight", "head",
    }  # fmt: skip
    assert kept | decayed == set(named.values())


def test_the_target_must_be_a_column(tmp_path, capsys):
    data = Tabular().make_up(tmp_path, 0)
    assert train(Tabular, "--data", data, "--target", "price", "--out", tmp_path / "model") == 2
    assert "has no column 'price'. Its columns are: age, hours, colour, shift, label" in capsys.readouterr().err


def test_dates_and_open_categories_are_described():
    table = pd.DataFrame({"day": [0.0, 31.0, 60.0], "town": ["Ulm", "Bonn", "Ulm"]})
    config = describe_columns(table, date_formats={"day": "%d.%m.%Y"}, open_categories=("town",))
    assert config.typical == {"town": "Ulm", "day": "01.02.1970"}
    assert config.numbers["day"].date_format == "%d.%m.%Y"
    assert config.open_categories == ("town",)


@pytest.mark.parametrize(
    ("labels", "summary"),
    [
        (("no", "yes"), "From one row of a table: is price no or yes?"),
        (("a", "b", "c"), "From one row of a table: is price a, b or c?"),
        (tuple("abcdefgh"), "From one row of a table: which of 8 labels is price?"),
        ((), "From one row of a table: how large is price?"),
    ],
)
def test_the_summary_names_what_is_asked(labels, summary):
    assert make_summary("price", labels) == summary


@pytest.mark.parametrize(("given", "title"), [(".", "Churn.v2"), ("rows.csv.gz", "Rows")])
def test_the_title_is_the_name_of_the_data(tmp_path, monkeypatch, given, title):
    folder = tmp_path / "churn.v2"
    table = pd.read_csv(Tabular().make_up(folder, 0))
    (folder / "rows.csv").unlink()
    table.to_csv(folder / "rows.csv.gz", index=False)
    monkeypatch.chdir(folder)
    assert Tabular().load_own(given, TabularSettings()).description.about.title == title


@pytest.fixture(scope="module")
def of_hours(tmp_path_factory):
    """Return the data and the folder of a model of numbers: hours of a made-up row, near 17, 50 or 83, by its shift."""
    home = tmp_path_factory.mktemp("numbers")
    data, folder = Path(Tabular().make_up(home / "data", 0)), home / "model"
    options = ("--smoke", "--data", data, "--seed", 7, "--target", "hours", "--unit", "h", "--out", folder)
    assert train(Tabular, *options) == 0
    return data, folder


def test_a_number_from_csv_to_answer(of_hours):
    _, folder = of_hours
    model = load_model(folder)
    assert (model.config.target, model.config.unit) == ("hours", "h")
    row = {"age": 40, "colour": "red", "shift": "long", "label": "yes"}
    long, short = model.predict_batch([row, row | {"shift": "short"}])
    assert 55 < long.low < 83 < long.high < 115
    assert long.value - short.value > 40
    figures = {item.name: item.value for item in model.metrics.figures}
    assert figures.keys() == {"rmse", "mae", "r2", "coverage", "width", "coverage_cv"}
    assert 0.84 < figures["coverage"] < 0.96
    assert figures["coverage_cv"] == pytest.approx(0.9, abs=0.02)
    assert figures["rmse"] > figures["mae"] > 5
    trees, mean = model.metrics.peers
    assert (trees.name, mean.peer) == ("rmse", "always answering the mean of the training rows")
    assert mean.difference == pytest.approx(figures["rmse"] - mean.value, abs=1e-5)
    assert mean.difference < -10
    assert model.metrics.headline.startswith(f"off by {figures['rmse']:.4g} h (root mean square) on 301 test rows")
    card = (folder / "README.md").read_text()
    assert "pipeline_tag: tabular-regression" in card
    assert 'session.run(["value", "half_width"]' in card


def test_measured_again_it_has_the_test_and_the_words_of_its_training(of_hours, tmp_path, capsys):
    data, folder = of_hours[0], tmp_path / "model"
    shutil.copytree(of_hours[1], folder)
    before = load_model(folder).metrics
    assert train(Tabular, "--data", data, "--measure", folder, "--licence", "mit") == 0
    after = load_model(folder).metrics
    assert after.headline == before.headline
    assert " h (root mean square)" in after.headline
    assert {item.name: item.value for item in after.figures} == {item.name: item.value for item in before.figures}
    assert "--seed 7" in after.measured.command
    assert "under this licence: MIT." in (folder / "LICENSE.md").read_text()
    assert "license: mit" in (folder / "README.md").read_text()
    for option, said in {"--seed": "with --seed 7", "--unit": "with --unit h", "--time": "without --time"}.items():
        assert train(Tabular, "--data", data, "--measure", folder, option, 3) == 2
        assert f"was trained {said}; leave out {option}, which" in capsys.readouterr().err
    (tmp_path / "rows.csv").write_text(data.read_text() + data.read_text().splitlines()[1] + "\n")
    assert train(Tabular, "--data", tmp_path / "rows.csv", "--measure", folder) == 2
    assert "The data has changed since" in capsys.readouterr().err
    assert load_model(folder).metrics == after


def test_a_unit_of_classes_is_said_to_have_no_effect(tmp_path, capsys):
    recipe, own = Tabular(), DataOptions(unit="EUR")
    data, settings = recipe.make_up(tmp_path, 0), TabularSettings.smoke()
    recipe.load_own(data, replace(settings, own=own, target="hours"))
    assert "--unit" not in capsys.readouterr().out
    recipe.load_own(data, replace(settings, own=own))
    assert "--unit EUR has no effect, since the target label has classes." in capsys.readouterr().out


def test_many_labels_from_csv_to_answer(tmp_path):
    assert train(Tabular, "--smoke", "--target", "shift", "--out", tmp_path / "model") == 0
    model = load_model(tmp_path / "model")
    assert model.config.labels == ("half", "long", "short")
    row = {"age": 40, "hours": 95, "colour": "red", "label": "yes"}
    assert [answer.label for answer in model.predict_batch([row, row | {"hours": 50}, row | {"hours": 5}])] == [
        "long", "half", "short",
    ]  # fmt: skip
    figures = {item.name: item.value for item in model.metrics.figures}
    assert figures["accuracy"] > 0.7
    assert "recall_half" in figures
    assert 'session.run(["logits"]' in (tmp_path / "model/README.md").read_text()
