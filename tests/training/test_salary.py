"""The salary demo: how UCI Adult is read, and what the book's cell is compared with."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: make test-all")
pytest.importorskip("fastai", reason="fastai is not installed: make test-all")

from shared import load_model
from shared.metrics import Metrics
from tests.conftest import DATA
from training import book, command
from training.data import TestSet
from training.made_up import write_people
from training.networks.tabular import TableNet
from training.recipes.tabular import encode_rows
from training.salary import BOOK_COLUMNS, Salary, SalarySettings
from training.tables.adult import COLUMNS, LABELS, TARGET, divide, read_people
from training.tables.baselines import predict_with_boosted_trees
from training.tables.figures import compare
from training.tables.groups import measure_groups
from training.tables.rows import Rows

pytestmark = pytest.mark.training
SETTINGS = SalarySettings()


def train(*options) -> int:
    return command.main(Salary(), [str(option) for option in options])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of salaries, trained in seconds."""
    out = tmp_path_factory.mktemp("salary") / "model"
    assert train("--smoke", "--out", out) == 0
    return out


@pytest.fixture
def table(tmp_path) -> pd.DataFrame:
    """Made-up people with their salaries, as in adult.csv."""
    return pd.read_csv(write_people(tmp_path / "made-up", 0))[:300]


@pytest.fixture
def people(table, tmp_path) -> Rows:
    table.to_csv(tmp_path / "people.csv", index=False)
    return read_people(tmp_path / "people.csv")


def columns(people, settings=SETTINGS):
    return Salary().describe_columns(Salary().describe(people, people, ("made-up people", "test")), settings)


# --- the trained model ---


def test_it_has_learned_the_rule_that_the_people_were_made_by(folder, tmp_path):
    people = read_people(write_people(tmp_path, 99, 2000))
    train_rows = read_people(folder.with_name("salary-made-up") / "adult.csv").table[:1000]
    test = people.as_test("made-up people", "others", train_rows)
    answers = load_model(folder).predict_batch(test.inputs)
    right = np.mean([answer.label == LABELS[y] for answer, y in zip(answers, test.targets, strict=True)])
    assert right > 0.65  # the rule without its noise is right for about 0.78


def test_figures_groups_and_peers_are_whole(folder):
    metrics = Metrics.read(folder)
    assert [item.name for item in metrics.figures] == [
        "accuracy", "log_loss", "ece", "balanced_accuracy", "recall_<50k", "recall_>=50k", "ece_before",
        "accuracy_book_columns", "accuracy_cv",
    ]  # fmt: skip
    assert {item.group for item in metrics.groups} >= {"sex: Female", "race: Black", "age: under 25"}
    assert sum(item.count for item in metrics.groups if item.group.startswith("age")) == 500
    assert metrics.parity.rows == 500
    assert re.fullmatch(r"right for \d+\.\d% of 500 test people", metrics.headline)


def test_peers_are_compared_like_for_like(folder):
    metrics = Metrics.read(folder)
    figures = {item.name: item.value for item in metrics.figures}
    trees, own_columns, our_columns = metrics.peers
    assert trees.peer == "HistGradientBoosting on all 14 columns, one seed"
    assert own_columns.peer == "the book's cell on its own 9 columns, one seed"
    assert our_columns.peer == "the book's cell on our 12 columns, one seed"
    assert (own_columns.name, our_columns.name) == ("accuracy_book_columns", "accuracy")
    for peer in metrics.peers:
        assert peer.difference == pytest.approx(figures[peer.name] - peer.value, abs=1e-5)
        assert peer.value == pytest.approx(np.mean(peer.accuracy_per_seed), abs=1e-5)


def test_a_peer_is_the_mean_of_its_seeds():
    hits = np.array([[True, True, False, False], [True, False, False, False]])
    peer = compare("trees", hits, np.array([True, True, True, False]), label="accuracy")
    assert (peer.peer, peer.value, peer.difference) == ("trees, mean of 2 seeds", 0.375, 0.375)
    assert peer.accuracy_per_seed == (0.5, 0.25)
    assert (peer.name, peer.label) == ("accuracy", "accuracy")


def test_trees_learn_a_simple_rule():
    table = pd.DataFrame({"hours": np.arange(200.0), "town": ["Ulm", "Bonn"] * 100})
    y = (table["hours"] > 99).to_numpy(np.int64)
    test = TestSet("rows", "test", table.to_dict("records"), y)
    assert (predict_with_boosted_trees(Rows(table, y), test, 1) == y).mean() > 0.98
    hours = table["hours"].to_numpy()
    found = predict_with_boosted_trees(Rows(table, hours), test, 1)
    assert np.abs(found[0] - hours).mean() < 5


def test_a_network_with_the_books_columns_reads_nothing_else(people):
    few = (*SETTINGS.ignored, *set(COLUMNS).difference(BOOK_COLUMNS, SETTINGS.ignored))
    config = columns(people, replace(SETTINGS, ignored=few))
    torch.manual_seed(0)
    net = TableNet(config, people.table, dict(SETTINGS.ordered), 16, 2).eval()
    tables = encode_rows(config, people.table)
    before = net(*tables)
    for name in COLUMNS:
        changed = [table.clone() for table in tables]
        which = 0 if name in config.categories else 1
        position = list((config.categories, config.numbers)[which]).index(name)
        changed[which][:, position] = changed[which][:, position].flip(0)
        # education-num is read through education, which is ordered by it.
        read = name in (*book.CATEGORIES, *book.NUMBERS) and name not in SETTINGS.ignored
        assert torch.equal(net(*changed), before) is not read, name


def test_rates_of_a_group_are_those_counted_by_hand():
    people = pd.DataFrame({"sex": ["Female"] * 4 + ["Male"] * 2, "age": [20.0, 30.0, 70.0, 24.0, 25.0, 64.0]})
    p, y = np.array([0.9, 0.8, 0.2, 0.1, 0.6, 0.4]), np.array([1, 0, 1, 0, 1, 0])
    found = {group.group: group for group in measure_groups(people, p, y, ("sex", "age"))}
    assert list(found) == [
        "sex: Female", "sex: Male", "age: under 25", "age: 25 to 34", "age: 55 to 64", "age: 65 and over",
    ]  # fmt: skip
    women = found["sex: Female"]
    assert (women.count, women.selection_rate.value, women.base_rate.value) == (4, 0.5, 0.5)
    assert (women.true_positive_rate.value, women.false_positive_rate.value) == (0.5, 0.5)
    assert women.mean_probability.value == 0.5
    assert found["sex: Male"].true_positive_rate.value == 1.0
    assert found["age: 65 and over"].false_positive_rate.value is None  # nobody there earns less


# --- reading ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop(columns="race"), "lacks the column race"),
        (lambda table: table[:0], "no rows"),
        (lambda table: table[:20], "has 20 rows; at least 100"),
        (lambda table: table.assign(salary="a lot"), "salary must be <50k or >=50k, not 'a lot'"),
        (lambda table: table.assign(age="old"), "the column age contains no numbers"),
    ],
)
def test_bad_data_gets_an_error_message(table, tmp_path, capsys, change, message):
    change(table).to_csv(tmp_path / "adult.csv", index=False)
    assert train("--data", tmp_path, "--out", tmp_path / "model") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_no_data_and_unreadable_data(tmp_path, capsys):
    assert train("--data", tmp_path) == 2
    assert "There is no adult.csv" in capsys.readouterr().err
    (tmp_path / "adult.csv").write_bytes(b"\x00\xff\xfe" * 100)
    assert train("--data", tmp_path) == 2
    printed = capsys.readouterr().err
    assert "cannot be read" in printed or "lacks the column" in printed


def test_fastais_spelling_of_the_data_is_understood(table, people, tmp_path):
    table["workclass"] = " " + table["workclass"]
    table.loc[3, "occupation"] = np.nan
    table.loc[4, "education-num"] = np.nan
    table.to_csv(tmp_path / "adult.csv", index=False)
    found = read_people(tmp_path / "adult.csv").table
    assert found["workclass"].tolist() == people.table["workclass"].tolist()
    assert found.loc[3, "occupation"] == "?"
    assert pd.isna(found.loc[4, "education-num"])


def test_a_category_may_be_empty_or_look_like_a_number(table, tmp_path):
    table.assign(race=np.nan, workclass=3).to_csv(tmp_path / "adult.csv", index=False)
    found = read_people(tmp_path / "adult.csv").table
    assert set(found["race"]) == {"?"}
    assert set(found["workclass"]) == {"3"}


def test_numbers_may_be_missing_as_in_fastais_file(people):
    people.table.loc[::7, ["education-num", "capital-gain"]] = np.nan
    config = columns(people)
    net = TableNet(config, people.table, dict(SETTINGS.ordered), 16, 2)
    assert torch.isfinite(net.eval()(*encode_rows(config, people.table))).all()


def test_without_an_official_test_a_fifth_of_the_people_takes_its_place(table, people, tmp_path):
    table.to_csv(tmp_path / "adult.csv", index=False)
    splits = Salary().load(str(tmp_path), SETTINGS)
    assert (len(splits.train), len(splits.tests[0])) == (240, 60)
    assert (splits.tests[0].data, splits.tests[0].split) == ("UCI Adult", "a held-out fifth of adult.csv")
    shuffled = table.sample(frac=1, random_state=SETTINGS.seed)  # as the first edition chose them
    assert divide(people, SETTINGS.seed)[1].table["fnlwgt"].tolist() == shuffled["fnlwgt"][:60].tolist()
    table[:120].to_csv(tmp_path / "adult_test.csv", index=False)
    splits = Salary().load(str(tmp_path), SETTINGS)
    assert (len(splits.train), len(splits.tests[0]), splits.tests[0].split) == (300, 120, "official test")
    assert splits.tests[0].targets.tolist() == (table[TARGET][:120] == LABELS[1]).astype(int).tolist()


@pytest.mark.data
def test_the_embedded_model_was_trained_on_the_real_data(salary):
    fresh = columns(read_people(DATA / "adult/adult.csv"))
    assert fresh.categories == salary.config.categories
    assert fresh.numbers == salary.config.numbers
