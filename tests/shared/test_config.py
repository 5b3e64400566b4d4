"""gallery.json: what a checkpoint folder promises is checked when it is loaded."""

import json
import re
import shutil

import pytest

from shared import CheckpointError, load_model
from shared.config import list_visible
from shared.metrics import Metrics
from tests.conftest import DEMOS, ROOT, sign_folder

MODEL = ROOT / "spaces/salary/model"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(MODEL, tmp_path / "model")


def change(folder, **fields):
    path = folder / "gallery.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_reads_typed_values():
    checkpoint = load_model(MODEL).config
    assert checkpoint.labels == ("<50k", ">=50k")
    assert checkpoint.numbers["age"].minimum == 17
    with pytest.raises(Exception, match="frozen"):
        checkpoint.format = 2


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"format": 3}, "'format'"),
        ({"temperature": -1.0}, "'temperature'"),
        ({"labels": ["a"]}, "'labels"),
        ({"surprise": 1}, "'surprise'"),
        ({"numbers": {"age": {"minimum": "x", "maximum": 90, "median": 37}}}, "'numbers.age.minimum'"),
        ({"files": {"onnx/model.onnx": {"sha256": "short", "bytes": 1}}}, "sha256"),
        ({"files": {}}, r"'files': onnx/model\.onnx is not listed"),
        ({"groups": [["age"]]}, "groups and ignored must name each"),
        ({"ignored": ["nothing"]}, "groups and ignored must name each"),
        ({"typical": {}}, "typical must name each"),
        ({"columns": ["age"]}, "must name each of the columns once"),
        ({"labels": ["yes", "yes"]}, "labels must differ"),
        ({"bias": float("nan")}, "'bias'.*finite"),
    ],
)
def test_wrong_field_is_named(folder, fields, named):
    change(folder, **fields)
    with pytest.raises(CheckpointError, match=named):
        load_model(folder)


def test_missing_field_is_named(folder):
    path = folder / "gallery.json"
    fields = json.loads(path.read_text())
    del fields["columns"]
    path.write_text(json.dumps(fields))
    with pytest.raises(CheckpointError, match=r"'columns'.*[Rr]equired"):
        load_model(folder)


@pytest.mark.parametrize(
    "name", ["../x", "/x", "a/../../x", "..\\x", "a\\x", "C:x", "C:\\x", "\\x", "\\\\server\\share\\x"]
)
def test_a_file_outside_the_folder_is_refused_however_it_is_written(folder, name):
    """On Linux, too: what is published here is loaded on Windows."""
    path = folder / "gallery.json"
    fields = json.loads(path.read_text(encoding="utf-8"))
    fields["files"][name] = fields["files"].pop("metrics.json")
    path.write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(CheckpointError, match="lies outside the folder"):
        load_model(folder)


@pytest.mark.parametrize("content", ["", "not JSON", "[]", "null", "[" * 100_000])
def test_unreadable_config(folder, content):
    (folder / "gallery.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"gallery\.json"):
        load_model(folder)


def test_no_folder(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint folder"):
        load_model(tmp_path / "nothing")


def test_no_config(tmp_path):
    with pytest.raises(CheckpointError, match="is not a checkpoint folder"):
        load_model(tmp_path)


def test_one_flipped_bit_is_detected(folder):
    path = folder / "onnx/model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=re.escape("model.onnx is damaged")):
        load_model(folder)


def test_missing_file_is_named(folder):
    (folder / "background.csv").unlink()
    with pytest.raises(CheckpointError, match=r"background\.csv is missing"):
        load_model(folder)


def test_the_model_may_not_be_optional(folder):
    files = json.loads((folder / "gallery.json").read_text())["files"]
    files["onnx/model.onnx"]["optional"] = True
    change(folder, files=files)
    with pytest.raises(CheckpointError, match="is not listed"):
        load_model(folder)


def test_background_people_are_checked_on_load(folder):
    import hashlib

    path = folder / "background.csv"
    first = next(line for line, row in enumerate(path.read_text().splitlines(), 1) if "Private" in row)
    path.write_bytes(path.read_bytes().replace(b"Private", b"Nowhere"))
    files = json.loads((folder / "gallery.json").read_text())["files"]
    entry = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
    change(folder, files={**files, "background.csv": entry})
    with pytest.raises(CheckpointError, match=rf"background\.csv, line {first}: Employer \(workclass\) must be"):
        load_model(folder)


def test_card_and_notice_may_be_edited(folder):
    (folder / "README.md").write_text("My own words.")
    (folder / "LICENSE.md").write_text("More of them.")
    assert load_model(folder).config.task == "tabular-classification"


def test_files_outside_the_folder_are_refused(folder):
    files = json.loads((folder / "gallery.json").read_text())["files"]
    change(folder, files={**files, "../secret": {"sha256": "0" * 64, "bytes": 1}})
    with pytest.raises(CheckpointError, match="outside"):
        load_model(folder)


def test_a_model_that_is_no_onnx(folder, person):
    import hashlib

    (folder / "onnx/model.onnx").write_bytes(b"nonsense")
    files = json.loads((folder / "gallery.json").read_text())["files"]
    entry = {"sha256": hashlib.sha256(b"nonsense").hexdigest(), "bytes": 8}
    change(folder, files={**files, "onnx/model.onnx": entry})
    with pytest.raises(CheckpointError, match="ONNX Runtime"):
        load_model(folder).predict(person)


def test_a_file_of_format_1_is_read(tmp_path):
    """As the first edition wrote it, whose names of fields and tasks were others."""
    folder = tmp_path / "model"
    shutil.copytree(ROOT / "spaces/cat_dog/model", folder)
    content = json.loads((folder / "gallery.json").read_text())
    content |= {"format": 1, "model": "cat_dog", "known_threshold": content.pop("in_distribution_threshold")}
    del content["files"]["metrics.json"]
    content.pop("label_names", None)
    (folder / "gallery.json").write_text(json.dumps(content))
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics = {
        **metrics,
        "model": "cat_dog",
        "measured": "2026-11-24T05:15:26+00:00",
        "seed": 42,
        "seconds": 9,
        "versions": {},
    }
    del metrics["trained"]
    (folder / "metrics.json").write_text(json.dumps(metrics))
    model, now = load_model(folder), load_model(ROOT / "spaces/cat_dog/model")
    assert model.config.in_distribution_threshold == now.config.in_distribution_threshold
    assert model.metrics.trained.command == "python -m training.cat_dog"
    assert model.predict(model.example()) == now.predict(now.example())


@pytest.mark.parametrize(
    ("name", "task", "renamed"),
    [
        (
            "sentiment",
            "text-classification",
            {
                "prose_mean": "in_distribution_mean",
                "prose_spread": "in_distribution_spread",
                "clear_from": "min_clear_probability",
            },
        ),
        ("rating", "tabular-regression", {}),  # which has a task of its own now
    ],
)
def test_fields_and_tasks_of_format_1_have_other_names_now(tmp_path, name, task, renamed):
    folder = shutil.copytree(ROOT / "spaces" / name / "model", tmp_path / "model")
    content = json.loads((folder / "gallery.json").read_text())
    old = {before: content.pop(now) for before, now in renamed.items()}
    (folder / "gallery.json").write_text(json.dumps(content | old | {"format": 1, "model": name, "task": task}))
    model, now = load_model(folder), load_model(ROOT / "spaces" / name / "model")
    assert model.config == now.config


def test_the_training_in_an_old_metrics_file_is_read(tmp_path):
    trained = {"command": "python -m training.salary", "seed": 3, "seconds": 9.5}
    content = {
        "model": "salary",
        "headline": "good",
        "figures": [],
        "measured": {"date": "2026-11-24"},
        "trained": trained | {"is_partial": False},
        "options": "--quick",
    }
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    found = Metrics.read(tmp_path)
    assert found.as_json()["trained"] == trained
    content["measured"] = "2026-11-24"
    (tmp_path / "metrics.json").write_text(json.dumps(content | {"seed": 4, "seconds": 8, "device": "a GPU"}))
    found = Metrics.read(tmp_path)
    assert (found.trained.command, found.trained.seed) == ("python -m training.salary --quick", 4)
    assert (found.measured.date, found.measured.device) == ("2026-11-24", "a GPU")


def test_what_an_old_metrics_file_has_in_another_form_is_left_out(tmp_path):
    content = {
        "model": "salary",
        "headline": "good",
        "figures": [],
        "measured": "2026-11-24",
        "groups": [{"group": "all"}],
    }
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    metrics = Metrics.read(tmp_path)
    assert (metrics.headline, metrics.measured.date) == ("good", "2026-11-24")
    assert (metrics.groups, metrics.trained) == ((), None)


def test_fields_that_are_not_written_any_more_are_read(tmp_path):
    """As a folder published when they were: unknown fields are refused, so it could not be loaded without them."""
    folder = tmp_path / "model"
    shutil.copytree(ROOT / "spaces/salary/model", folder)
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["parity_of_all_outputs"] = {"rows": 2, "output": "logits", "largest_difference": 0.1, "tolerance": 0.5}
    metrics["peers"] = [
        {"peer": "Trees", "name": "accuracy", "value": 0.8, "one_network_minus_peer_per_seed": [0.01, 0.02]}
    ]
    (folder / "metrics.json").write_text(json.dumps(metrics))
    found = Metrics.read(folder)
    assert found.peers[0].one_network_minus_peer_per_seed == (0.01, 0.02)
    assert (found.parity_of_all_outputs.rows, found.headline) == (2, metrics["headline"])


@pytest.mark.parametrize("content", ['{"model": "salary", "trained": null}', '{"measured": 1}', "[" * 100_000, "[]"])
def test_unreadable_metrics_are_a_sentence(tmp_path, content):
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"metrics\.json.*export the model again"):
        Metrics.read(tmp_path)


def test_the_embedded_metrics_have_no_field_that_the_type_lacks():
    for name in DEMOS:
        folder = ROOT / "spaces" / name / "model"
        assert Metrics.read(folder).as_json() == json.loads((folder / "metrics.json").read_text())


def replace(name, old, new):
    def change(folder):
        path = folder / name
        path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
        sign_folder(folder)

    return change


def write(name, content):
    def change(folder):
        (folder / name).write_bytes(content)
        sign_folder(folder)

    return change


def take_model(of):
    def change(folder):
        shutil.copy(ROOT / f"spaces/{of}/model/onnx/model.onnx", folder / "onnx/model.onnx")
        sign_folder(folder)

    return change


def put(**fields):
    return lambda folder: sign_folder(folder, **fields)


THREE = ["a", "b", "c"]
COLOURS = [[index, 0, 0] for index in range(3)]


@pytest.mark.parametrize(
    ("name", "damage", "named"),
    [
        ("rating", replace("ratings.csv", "user_id", "uid"), r"ratings\.csv cannot be read \(KeyError: 'user_id'\)"),
        ("rating", write("ratings.csv", b"user_id,movie_id,rating\n99999,1,5\n"), r"ratings\.csv cannot .*99999"),
        ("rating", write("ratings.csv", b"user_id,movie_id,rating\n1\n"), r"ratings\.csv cannot"),
        ("rating", replace("movies.csv", "movie_id", "id"), r"movies\.csv cannot be read \(KeyError: 'movie_id'\)"),
        ("rating", write("movies.csv", "movie_id,é\n".encode("cp1252")), r"movies\.csv cannot .*codec"),
        ("rating", write("movies.csv", b"movie_id,title,genres\n1,x\n"), r"movies\.csv cannot"),
        ("rating", take_model("salary"), r"model\.onnx does not fit gallery\.json: it has an unknown input 'cate"),
        ("salary", write("background.csv", b""), r"background\.csv cannot be read \(The file is empty"),
        ("salary", replace("background.csv", "age", "years"), r"background\.csv cannot .* lacks the column age"),
        ("salary", take_model("cat_dog"), "it has an unknown input 'pixel_values'"),
        ("salary", put(labels=THREE), "it has no output 'logits'; export it again"),
        ("cat_dog", put(labels=THREE), r"it has 'logits' of shape \(any, 2\), not \(any, 3\); export it again"),
        ("cat_dog", put(size=96), r"'pixel_values' of shape \(any, 3, 288, 288\), not \(any, 3, 96, 96\)"),
        ("cat_dog", take_model("segmentation"), "it has no output 1"),
        ("segmentation", put(labels=THREE, colours=COLOURS), "'logits' of shape .any, 11, any, any., not .any, 3, any"),
        ("segmentation", take_model("cat_dog"), "'logits' of shape"),
        ("sentiment", put(labels=THREE), "'logits' of shape"),
        ("sentiment", write("tokenizer.json", b"{}"), r"tokenizer\.json cannot be read \(Model missing"),
        ("sentiment", replace("tokenizer.json", '"[CLS]"', '"[BOS]"'), r"tokenizer\.json"),
    ],
)
def test_a_file_that_does_not_fit_is_named(tmp_path, name, damage, named):
    """Whoever made the folder has signed it, so that the hashes are right."""
    folder = shutil.copytree(ROOT / f"spaces/{name}/model", tmp_path / "model")
    damage(folder)
    with pytest.raises(CheckpointError, match=named) as caught:
        (model := load_model(folder)).predict_batch([model.example()])
    assert str(caught.value).startswith(str(folder))
    assert str(caught.value).endswith("export it again." if "onnx" in str(caught.value) else "export the model again.")


def test_hidden_files_are_not_listed(tmp_path):
    for name in ("b.png", "a.png", ".DS_Store"):
        (tmp_path / name).touch()
    assert [path.name for path in list_visible(tmp_path)] == ["a.png", "b.png"]
    assert list_visible(tmp_path / "none") == []
