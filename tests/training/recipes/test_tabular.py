"""Tabular classification: the network, what it learns from, and tables of one's own."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: make test-all")
pytest.importorskip("fastai", reason="fastai is not installed: make test-all")

from shared import load_model
from tests.conftest import DATA
from training import book, command
from training import salary as demo
from training.networks.tabular import ExactValue, TableNet
from training.recipes import tabular as recipe

pytestmark = pytest.mark.training
SETTINGS = demo.SalarySettings()


def train(kind, *options) -> int:
    return command.main(kind(), [str(option) for option in options])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of salaries, trained in seconds."""
    out = tmp_path_factory.mktemp("salary") / "model"
    assert train(demo.Salary, "--smoke", "--out", out) == 0
    return out


@pytest.fixture
def people(tmp_path) -> pd.DataFrame:
    """Made-up people, with their salaries."""
    return demo.read_people(demo.Path(demo.Salary().make_up(tmp_path / "made-up", 0)))[:300]


def columns(table, settings=SETTINGS):
    return demo.Salary().columns(table[list(demo.COLUMNS)], demo.LABELS, settings)


def test_ones_own_table_from_csv_to_answer(tmp_path):
    data = recipe.Tabular().make_up(tmp_path, 3)
    assert train(recipe.Tabular, "--smoke", "--data", data, "--target", "label", "--out", tmp_path / "model") == 0
    model = load_model(tmp_path / "model")
    assert model.config.labels == ("no", "yes")
    assert model.config.categories["colour"] == ("?", "green", "red")
    likely, unlikely = model.predict_batch(
        [{"age": 40, "hours": 95, "colour": "red"}, {"age": 40, "hours": 5, "colour": "green"}]
    )
    assert (likely.label, unlikely.label) == ("yes", "no")
    figures = {item.name: item.value for item in model.metrics.figures}
    assert figures["accuracy"] > 0.7
    assert model.metrics.peers[0].peer.startswith("HistGradientBoosting")


def test_the_folder_has_what_serves_and_its_metrics_are_whole(folder):
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {
        "onnx/model.onnx", "gallery.json", "metrics.json", "README.md", "LICENSE.md", "background.csv",
        "model.safetensors", "config.json",
    }  # fmt: skip


def test_peers_are_compared_like_for_like(folder):
    metrics = json.loads((folder / "metrics.json").read_text())
    figures = {item["name"]: item["value"] for item in metrics["figures"]}
    _, own_columns, our_columns = metrics["peers"]
    assert "9 columns" in own_columns["peer"]
    assert "12 columns" in our_columns["peer"]
    assert (own_columns["name"], our_columns["name"]) == ("accuracy_book_columns", "accuracy")
    for peer in (own_columns, our_columns):
        assert peer["difference"] == pytest.approx(figures[peer["name"]] - peer["value"], abs=1e-5)
        assert peer["value"] == pytest.approx(np.mean(peer["accuracy_per_seed"]), abs=1e-5)


def test_a_network_with_the_books_inputs_reads_nothing_else(people):
    few = (*SETTINGS.ignored, *set(demo.COLUMNS).difference(demo.BOOK_COLUMNS, SETTINGS.ignored))
    config = columns(people, replace(SETTINGS, ignored=few))
    torch.manual_seed(0)
    net = TableNet(config, people, dict(SETTINGS.ordered), 16, 2).eval()
    tables = recipe.arrays(config, people[list(demo.COLUMNS)])
    before = net(*tables)
    for name in demo.COLUMNS:
        changed = [table.clone() for table in tables]
        which = 0 if name in config.categories else 1
        position = list((config.categories, config.numbers)[which]).index(name)
        changed[which][:, position] = changed[which][:, position].flip(0)
        # education-num is read through education, which is ordered by it.
        read = name in (*book.CATEGORIES, *book.NUMBERS) and name not in SETTINGS.ignored
        assert torch.equal(net(*changed), before) is not read, name


def test_amounts_between_two_that_were_seen_are_embedded_in_between():
    embed = ExactValue(np.array([0.0, 3103.0, 99999.0]), 4).eval()
    zero, gain, most = embed.embedding
    x = torch.tensor([0.0, 3103.0, 99999.0, 3103.0 / 4])
    torch.testing.assert_close(embed(x), torch.stack([zero, gain, most, 0.75 * zero + 0.25 * gain]))
    torch.testing.assert_close(embed(x[:3]), embed.embedding, rtol=0, atol=0)


def test_nothing_is_learned_from_test_rows(folder, tmp_path):
    """The same run with poisoned test rows writes the same model; only its figures differ."""

    class Poisoned(demo.Salary):
        def load_own(self, data, settings):
            splits = super().load_own(data, settings)
            test = splits.tests[0]
            rows = [row | {"age": 17.0, "workclass": "?"} for row in test.inputs]
            return replace(splits, tests=(replace(test, inputs=rows, targets=np.ones_like(test.targets)),))

    assert train(Poisoned, "--smoke", "--out", tmp_path / "model") == 0
    for name in ("onnx/model.onnx", "background.csv"):
        assert (tmp_path / "model" / name).read_bytes() == (folder / name).read_bytes()
    configs = [json.loads((path / "gallery.json").read_text()) for path in (folder, tmp_path / "model")]
    for field in ("categories", "numbers", "typical", "amounts"):
        assert configs[0][field] == configs[1][field]


def test_test_rows_are_what_a_visitor_could_enter(people):
    people = people.assign(workclass="Private")
    held_out = recipe.within(people, people.assign(workclass="Never-seen", age=200.0))
    assert set(held_out["workclass"]) == {"?"}
    assert set(held_out["age"]) == {people["age"].max()}


def test_numbers_may_be_missing_as_in_fastais_file(people):
    people.loc[::7, ["education-num", "capital-gain"]] = np.nan
    config = columns(people)
    net = TableNet(config, people, dict(SETTINGS.ordered), 16, 2)
    assert all(embed.linear.in_features >= 1 for embed in net.numbers)
    assert torch.isfinite(net.eval()(*recipe.arrays(config, people[list(demo.COLUMNS)]))).all()


def test_a_resumed_run_writes_the_same_model(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    honest, trained = demo.Salary.fit_network, []

    def interrupted(*arguments):
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(honest(*arguments))
        return trained[-1]

    monkeypatch.setattr(demo.Salary, "fit_network", interrupted)
    assert train(demo.Salary, "--smoke", "--out", tmp_path / "model") == 130
    assert not (tmp_path / "model").exists()
    monkeypatch.setattr(demo.Salary, "fit_network", honest)
    assert train(demo.Salary, "--smoke", "--out", tmp_path / "model", "--resume") == 0
    assert (tmp_path / "model/onnx/model.onnx").read_bytes() == (folder / "onnx/model.onnx").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop(columns="race"), "lacks the column race"),
        (lambda table: table[:0], "no rows"),
        (lambda table: table[:20], "has 20 rows; at least 100"),
        (lambda table: table.assign(salary="a lot"), "salary must be <50k or >=50k, not 'a lot'"),
        (lambda table: table.assign(age="old"), "the column age holds no numbers"),
    ],
)
def test_bad_data_is_one_sentence(people, tmp_path, capsys, change, message):
    change(people).to_csv(tmp_path / "adult.csv", index=False)
    assert train(demo.Salary, "--data", tmp_path, "--out", tmp_path / "model") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.assign(label="yes"), "must have two values; it has 1"),
        (lambda table: table.assign(label=range(len(table))), "must have two values"),
        (lambda table: table[:50], "has 50 rows with a target; at least 100"),
        (lambda table: table.rename(columns={"label": "other"}), "has no column 'label'; its columns are age"),
    ],
)
def test_tables_that_cannot_be_learned_are_refused_in_a_sentence(tmp_path, capsys, change, message):
    table = pd.read_csv(recipe.Tabular().make_up(tmp_path, 0))
    change(table).to_csv(tmp_path / "mine.csv", index=False)
    given = ["--data", tmp_path / "mine.csv", "--target", "label", "--out", tmp_path / "model"]
    assert train(recipe.Tabular, *given) == 2
    assert message in capsys.readouterr().err


def test_no_data_and_unreadable_data(tmp_path, capsys):
    assert train(demo.Salary, "--data", tmp_path) == 2
    assert "There is no adult.csv" in capsys.readouterr().err
    (tmp_path / "adult.csv").write_bytes(b"\x00\xff\xfe" * 100)
    assert train(demo.Salary, "--data", tmp_path) == 2
    said = capsys.readouterr().err
    assert "cannot be read" in said or "lacks the column" in said


def test_fastai_spelling_of_the_data_is_understood(people, tmp_path):
    table = people.assign(workclass=" " + people["workclass"])
    table.loc[3, "occupation"] = np.nan
    table.loc[4, "education-num"] = np.nan
    table.to_csv(tmp_path / "adult.csv", index=False)
    found = demo.read_people(tmp_path / "adult.csv")
    assert found["workclass"].tolist() == people["workclass"].tolist()
    assert found.loc[3, "occupation"] == "?"
    assert pd.isna(found.loc[4, "education-num"])


@pytest.mark.data
def test_the_embedded_model_was_trained_on_the_real_data(salary):
    fresh = columns(demo.read_people(DATA / "adult/adult.csv"))
    assert fresh.categories == salary.config.categories
    assert fresh.numbers == salary.config.numbers
