"""The salary script from made-up people to a folder that serves, and what it says of bad data."""

import json

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from shared import load_model
from training import salary as script
from training.learner import command

pytestmark = pytest.mark.training


def train(*options):
    return command(script.run, script.command_line(), [str(option) for option in options])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("salary") / "model"
    assert train("--smoke", "--out", out) == 0
    return out


def test_the_folder_serves_and_has_learned(folder):
    model = load_model(folder)
    people = script.made_up_people(2000, seed=99)
    people = script.within(script.made_up_people(1500, seed=42)[:1000], people)
    answers = model.predict_batch(people[script.COLUMNS])
    right = np.mean([answer.label == label for answer, label in zip(answers, people["salary"], strict=True)])
    assert right > 0.65  # the rule they were made by, without its noise, is right for about 0.78


def test_the_folder_is_complete_and_its_metrics_are_whole(folder):
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {
        "onnx/model.onnx", "gallery.json", "metrics.json", "README.md", "LICENSE.md", "background.csv",
        "model.safetensors", "config.json",
    }  # fmt: skip
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {item["name"] for item in metrics["figures"]} >= {"accuracy", "ece", "ece_before", "log_loss"}
    assert metrics["parity"]["rows"] == 500
    assert metrics["parity"]["largest_difference"] < 1e-3
    assert {row["group"] for row in metrics["groups"]} >= {"sex: Female", "race: Black", "age: under 25"}
    assert "difference_interval" in metrics["peers"][0]


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


def test_a_network_with_the_books_inputs_reads_nothing_else():
    people = script.made_up_people(300, seed=0)
    spec = script.contract(people)
    torch.manual_seed(0)
    net = script.SalaryNet(spec | {"ignored": script.IGNORED + script.NOT_IN_BOOK}, people, 16, 2).eval()
    categories, numbers = script.arrays(spec, people)
    before = net(categories, numbers)
    for name in script.COLUMNS:
        changed = [categories.clone(), numbers.clone()]
        position, table = (
            (script.CATEGORIES.index(name), 0) if name in script.CATEGORIES else (script.NUMBERS.index(name), 1)
        )
        changed[table][:, position] = changed[table][:, position].flip(0)
        read = name in script.BOOK_CATEGORIES + script.BOOK_NUMBERS and name not in script.IGNORED
        assert torch.equal(net(*changed), before) is not read, name


def test_amounts_between_two_that_were_seen_are_embedded_in_between():
    embed = script.ExactValue(np.array([0.0, 3103.0, 99999.0]), 4).eval()
    zero, gain, most = embed.embedding
    x = torch.tensor([0.0, 3103.0, 99999.0, 3103.0 / 4])
    torch.testing.assert_close(embed(x), torch.stack([zero, gain, most, 0.75 * zero + 0.25 * gain]))
    torch.testing.assert_close(embed(x[:3]), embed.embedding, rtol=0, atol=0)


def test_stored_networks_are_measured_and_exported_again(folder, tmp_path):
    again = tmp_path / "again"
    assert train("--smoke", "--networks", folder, "--out", again) == 0
    before, after = (json.loads((path / "metrics.json").read_text()) for path in (folder, again))
    for item, same in zip(before["figures"], after["figures"], strict=True):
        assert same["value"] == pytest.approx(item["value"], abs=0.005), item["name"]
    assert after["figures"][-1]["measured"] == before["measured"]["date"]  # cross-validation takes training
    assert after["trained"] == before["trained"]
    assert after["parity"] == before["parity"] | {"measured": before["measured"]["date"]}
    assert "--networks" in after["measured"]["command"]
    people = script.made_up_people(200, seed=7)
    people = script.within(script.made_up_people(1500, seed=42)[:1000], people)[script.COLUMNS]
    old, new = (
        [answer.probabilities[">=50k"] for answer in load_model(path).predict_batch(people)] for path in (folder, again)
    )
    assert new == pytest.approx(old, abs=1e-4)


def test_networks_of_other_rows_are_refused(folder, tmp_path, capsys):
    script.made_up_people(150, 0).assign(age=33).to_csv(tmp_path / "adult.csv", index=False)
    assert train("--data", tmp_path, "--networks", folder, "--out", tmp_path / "model") == 2
    assert "was trained on other rows" in capsys.readouterr().err
    assert train("--smoke", "--networks", tmp_path / "nothing", "--out", tmp_path / "model") == 2
    assert "no checkpoint folder" in capsys.readouterr().err


def test_the_card_has_valid_metadata_and_the_measured_figure(folder):
    from huggingface_hub import ModelCard

    card = ModelCard.load(folder / "README.md")
    accuracy = json.loads((folder / "metrics.json").read_text())["figures"][0]["value"]
    assert card.data.license == "cc-by-4.0"
    assert card.data.pipeline_tag == "tabular-classification"
    assert card.data.eval_results[0].metric_value == accuracy
    assert f"{accuracy:.4f}" in card.text
    assert "1994" in card.text


def test_torch_weights_may_be_left_out(folder, tmp_path):
    import shutil

    light = shutil.copytree(folder, tmp_path / "light")
    (light / "model.safetensors").unlink()
    assert load_model(light).config.model == "salary"


def test_nothing_is_learned_from_test_rows(folder, tmp_path, monkeypatch):
    """The same run with poisoned test rows writes the same model; only its figures differ."""
    honest = script.load

    def poisoned(options):
        train_rows, test, source = honest(options)
        return train_rows, test.assign(age=17.0, workclass="?", salary=">=50k"), source

    monkeypatch.setattr(script, "load", poisoned)
    assert train("--smoke", "--out", tmp_path / "model") == 0
    for name in ("onnx/model.onnx", "background.csv"):
        assert (tmp_path / "model" / name).read_bytes() == (folder / name).read_bytes()
    contracts = [json.loads((path / "gallery.json").read_text()) for path in (folder, tmp_path / "model")]
    for field in ("categories", "numbers", "typical", "temperature", "bias"):
        assert contracts[0][field] == contracts[1][field]


def test_test_rows_are_what_a_visitor_could_enter():
    people = script.made_up_people(300, seed=0).assign(workclass="Private")
    held_out = script.within(people, people.assign(workclass="Never-seen", age=200.0))
    assert set(held_out["workclass"]) == {"?"}
    assert set(held_out["age"]) == {people["age"].max()}


def test_numbers_may_be_missing_as_in_fastais_file():
    people = script.made_up_people(300, seed=0)
    people.loc[::7, ["education-num", "capital-gain"]] = np.nan
    net = script.SalaryNet(script.contract(people), people, 16, 2)
    assert all(embed.linear.in_features >= 1 for embed in net.numbers)
    logits = net.eval()(*script.arrays(script.contract(people), people))
    assert torch.isfinite(logits).all()


def test_a_resumed_run_writes_the_same_model(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    honest = script.train_net
    trained = []

    def interrupted(*arguments):
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(honest(*arguments))
        return trained[-1]

    monkeypatch.setattr(script, "train_net", interrupted)
    assert train("--smoke", "--out", tmp_path / "model") == 130
    assert not (tmp_path / "model").exists()
    monkeypatch.setattr(script, "train_net", honest)
    assert train("--smoke", "--out", tmp_path / "model", "--resume") == 0
    assert (tmp_path / "model/onnx/model.onnx").read_bytes() == (folder / "onnx/model.onnx").read_bytes()


def test_a_folder_of_something_else_is_not_written_over(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("three years of work")
    assert train("--smoke", "--out", tmp_path) == 2
    assert "is no checkpoint folder" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").read_text() == "three years of work"


def test_book_recipe_prints_its_figure_beside_the_books(capsys):
    assert train("--smoke", "--recipe", "book") == 0
    assert "the book's: 0.838" in capsys.readouterr().out


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
def test_bad_data_is_one_sentence(tmp_path, capsys, change, message):
    change(script.made_up_people(150, 0)).to_csv(tmp_path / "adult.csv", index=False)
    assert train("--data", tmp_path, "--out", tmp_path / "model") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_no_data_and_unreadable_data(tmp_path, capsys):
    assert train("--data", tmp_path) == 2
    assert "There is no adult.csv" in capsys.readouterr().err
    (tmp_path / "adult.csv").write_bytes(b"\x00\xff\xfe" * 100)
    assert train("--data", tmp_path) == 2
    said = capsys.readouterr().err
    assert "cannot be read" in said or "lacks the column" in said


def test_fastai_spelling_of_the_data_is_understood(tmp_path):
    table = script.made_up_people(150, 0)
    table["workclass"] = " " + table["workclass"]
    table.loc[3, "occupation"] = np.nan
    table.loc[4, "education-num"] = np.nan
    table.to_csv(tmp_path / "adult.csv", index=False)
    people = script.read_people(tmp_path / "adult.csv")
    assert people["workclass"].tolist() == [value.strip() for value in table["workclass"]]
    assert people.loc[3, "occupation"] == "?"
    assert pd.isna(people.loc[4, "education-num"])


@pytest.mark.data
def test_the_embedded_model_was_trained_on_the_real_data(salary):
    from tests.conftest import DATA

    people = script.read_people(DATA / "adult/adult.csv")
    fresh = script.contract(people)
    assert fresh["categories"] == {name: tuple(v) for name, v in salary.config.categories.items()}
    assert fresh["numbers"] == salary.config.numbers
