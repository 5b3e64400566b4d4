"""Predictors travel between processes as the place they were loaded from."""

import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import HfApi

import shared
from hub.local import Hub
from shared import PREDICTORS, BadInput, CheckpointError, HubError, TabularClassifier, load_model
from shared.hub import split_address
from tests.conftest import DEMOS, ROOT, point_client_to

PREDICTOR_NAMES = [kind.__name__ for kind in PREDICTORS.values()]
FOLDERS = {name: ROOT / "spaces" / name / "model" for name in DEMOS}


@pytest.fixture(params=sorted(DEMOS))
def model(request, monkeypatch):
    """Every predictor in turn, loaded from a relative path, as users do."""
    if not FOLDERS[request.param].is_dir():
        pytest.skip(f"{request.param} is still to be trained")
    monkeypatch.chdir(ROOT)
    return load_model(f"spaces/{request.param}/model")


def test_a_pickle_holds_the_place_and_answers_the_same(model, tmp_path, monkeypatch):
    answer = model.predict_batch([model.example()])[0]
    pickled = pickle.dumps(model)  # after the session has been opened
    assert len(pickled) < 1000
    monkeypatch.chdir(tmp_path)
    copy = pickle.loads(pickled)  # noqa: S301 - its own
    assert copy.session is not model.session
    again = copy.predict_batch([copy.example()])[0]
    for name, value in vars(answer).items():
        np.testing.assert_array_equal(value, getattr(again, name))


def test_another_process_opens_it(salary, tmp_path):
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(salary))
    code = "import pickle; m = pickle.load(open('model.pickle', 'rb')); print(m.predict(m.example()).probabilities)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(salary.predict(salary.example()).probabilities)


def test_a_pickle_of_a_folder_that_has_gone_says_so(tmp_path):
    folder = tmp_path / "model"
    folder.symlink_to(FOLDERS["salary"])
    pickled = pickle.dumps(load_model(folder)).replace(b"spaces", b"places")
    with pytest.raises(CheckpointError, match="There is no checkpoint folder"):
        pickle.loads(pickled)  # noqa: S301 - its own


def test_a_model_of_the_hub_is_pickled_as_its_commit_and_without_the_token(tmp_path, monkeypatch):
    with Hub() as hub:
        api = HfApi(hub.endpoint, token=hub.token)
        api.create_repo("me/salary", private=True)
        commit = api.upload_folder(repo_id="me/salary", folder_path=FOLDERS["salary"]).oid
        point_client_to(monkeypatch, hub.endpoint)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        model = load_model("me/salary", revision="main", token=hub.token)
        pickled = pickle.dumps(model)
        assert commit.encode() in pickled
        assert hub.token.encode() not in pickled
        hub.log.clear()
        copy = pickle.loads(pickled)  # noqa: S301 - its own
        assert not hub.log  # the commit lies in the cache
    assert copy.predict(copy.example()) == model.predict(model.example())


@pytest.mark.parametrize(
    "source",
    [
        "me/salary/",
        "https://huggingface.co/me/salary",
        "https://www.huggingface.co/me/salary/",
        "huggingface.co/me/salary?library=onnx#files",
        "https://hf.co/me/salary/tree/main",
        "{endpoint}/me/salary/blob/main/onnx/model.onnx",
        "hf://me/salary",
        "hf://models/me/salary@main",
    ],
)
def test_an_address_of_the_hub_is_understood(source, tmp_path, monkeypatch):
    with Hub() as hub:
        api = HfApi(hub.endpoint, token=hub.token)
        api.create_repo("me/salary")
        api.upload_folder(repo_id="me/salary", folder_path=FOLDERS["salary"])
        point_client_to(monkeypatch, hub.endpoint)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        model = load_model(source.format(endpoint=hub.endpoint))
        hub.log.clear()
        assert pickle.loads(pickle.dumps(model)).folder == model.folder  # noqa: S301 - its own
        assert not hub.log  # the commit has been loaded, also where the address names a branch
    assert model.predict(model.example()).probabilities


def test_the_revision_of_an_address_is_used_unless_another_is_given():
    assert split_address("https://huggingface.co/me/salary/tree/refs%2Fpr%2F1") == ("me/salary", "refs/pr/1")
    assert split_address("https://huggingface.co/me/salary/blob/v1/onnx/model.onnx") == ("me/salary", "v1")
    assert split_address("hf://me/salary@v2") == ("me/salary", "v2")
    assert split_address("HTTPS://HuggingFace.co/me/salary/tree/v3") == ("me/salary", "v3")
    assert split_address("me/salary") == ("me/salary", None)


@pytest.mark.parametrize(
    "source",
    [
        "https://huggingface.co/spaces/me/salary",
        "hf://datasets/me/salary",
        "https://huggingface.co/me",
        "https://huggingface.co/datasets/imdb",
        "https://huggingface.co/spaces/me",
        "https://huggingface.co/me/salary/discussions/1",
        "https://huggingface.co.example.org/me/salary",
        "https://example.org/me/salary",
        "file:///me/salary",
    ],
)
def test_another_address_is_refused_and_the_sentence_says_what_to_give(source):
    with pytest.raises(HubError, match="is not the address of a model on the Hub; give one such as https://hugg"):
        load_model(source)


def test_a_password_in_an_address_is_not_shown():
    with pytest.raises(HubError, match=r"^https://example\.org/me/salary is not the address") as caught:
        load_model("https://me:secret@example.org/me/salary")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("source", ["salary", "./nowhere", "runs/mine/model", r"C:\models\salary", "C:/models"])
def test_a_folder_that_is_not_there_is_said_to_be_none(source):
    with pytest.raises(CheckpointError, match=r"no checkpoint folder .* Give a folder, or a model on the Hub, as in"):
        load_model(source)


def test_a_name_that_may_be_a_mistyped_folder_is_said_to_be_neither(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match=r"\(There is no folder 'runs/mien' here.\)"):
        load_model("runs/mien")


def test_a_folder_has_no_revisions():
    with pytest.raises(CheckpointError, match="is a folder, which has no revisions; give none, or a model on the Hub"):
        load_model(FOLDERS["salary"], revision="v1")


def test_a_file_is_refused_and_its_folder_asked_for():
    with pytest.raises(CheckpointError, match=r"gallery\.json is a file; give the checkpoint folder that contains it"):
        load_model(str(FOLDERS["salary"] / "gallery.json"))


def test_datasets_map_runs_a_predictor(salary, tmp_path):
    """In two processes, which each open the pickle."""
    datasets = pytest.importorskip("datasets", reason="datasets is not installed: make test-all")
    people = [{**salary.example(), "age": age} for age in range(20, 60)]

    def answer(batch):
        rows = [dict(zip(batch, row, strict=True)) for row in zip(*batch.values(), strict=True)]
        return {"label": [prediction.label for prediction in salary.predict_batch(rows)]}

    table = datasets.Dataset.from_list(people).map(answer, batched=True, batch_size=10, num_proc=2)
    assert table["label"][:] == [prediction.label for prediction in salary.predict_batch(people)]


def test_a_path_may_begin_in_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", str(ROOT))
    monkeypatch.setenv("USERPROFILE", str(ROOT))
    folder = "~/spaces/salary/model"
    models = load_model(folder), load_model(Path(folder)), TabularClassifier(folder), TabularClassifier.load(folder)
    assert {model.folder for model in models} == {FOLDERS["salary"]}
    assert repr(models[0]) == f"<TabularClassifier 'Salary' from {FOLDERS['salary']}>"
    with pytest.raises(CheckpointError, match=r"There is no checkpoint folder '~/none'\."):
        load_model("~/none")


@pytest.mark.parametrize("deadline", [0, -1.5, "soon", float("nan")])
def test_a_deadline_is_above_0(deadline):
    with pytest.raises(CheckpointError, match=f"deadline must be a number of seconds above 0, not '{deadline}'"):
        load_model("me/model", deadline=deadline)


def test_many_inputs_are_a_list_a_table_or_an_iterator(salary, sentiment, rating, cat_dog):
    row, texts = salary.example(), ["a good film", "a bad film"]
    expected = salary.predict_batch([row, row])
    table = pd.DataFrame([row, row])
    for given in (table, iter([row, row]), (row, row), np.array([row, row]), pd.Series([row, row])):
        assert salary.predict_each(given) == expected
    for given in ((text for text in texts), pd.Index(texts), pd.Series(texts)):
        assert [answer.label for answer in sentiment.predict_each(given)] == ["pos", "neg"]
    assert [answer.label for answer in sentiment.predict_batch(pd.DataFrame({"text": texts, "id": [1, 2]}))] == [
        "pos", "neg",
    ]  # fmt: skip
    pairs = pd.DataFrame({"user_id": [15], "movie_id": [260]})
    assert rating.predict_each(pairs) == rating.predict_each([(15, 260)]) == [rating.predict(15, 260)]
    assert len(cat_dog.predict_each([np.zeros((64, 64, 3), np.uint8)])) == 1


@pytest.mark.parametrize("method", ["predict_each", "predict_batch"])
def test_one_input_is_not_taken_for_many(salary, sentiment, rating, cat_dog, method):
    picture, row = np.zeros((64, 64, 3), np.uint8), salary.example()
    given = [
        (sentiment, "a good film"), (sentiment, {"text": "good"}), (sentiment, None), (cat_dog, picture), (salary, row),
        (cat_dog, b"bytes"), (cat_dog, bytearray(b"bytes")), (cat_dog, io.BytesIO(b"bytes")),
        (cat_dog, Path("cat.jpg")), (salary, pd.Series(row)), (rating, pd.Series({"user_id": 15, "movie_id": 260})),
        (rating, np.array(15)),
    ]  # fmt: skip
    for model, one in given:
        with pytest.raises(BadInput, match=r"^(Items must be given as a list, not as |Give a list of pictures)"):
            getattr(model, method)(one)
    with pytest.raises(BadInput, match="Give a list, or the column of the table"):
        getattr(cat_dog, method)(pd.DataFrame({"path": ["cat.jpg"]}))
    with pytest.raises(BadInput, match="The table has no column 'text'"):
        getattr(sentiment, method)(pd.DataFrame({"review": ["good"]}))


def test_a_table_is_no_row(salary):
    table = pd.DataFrame([salary.example()])
    with pytest.raises(BadInput, match=r"^A DataFrame may have many rows; .* df\.iloc\[0\]"):
        salary.predict(table)
    assert salary.predict(table.iloc[0]) == salary.predict(salary.example())


def test_any_path_of_the_standard_library_is_a_picture(cat_dog):
    with os.scandir(ROOT / "spaces/cat_dog/examples") as entries:
        assert [cat_dog.predict(entry).label for entry in entries if entry.name == "cat.png"] == ["cat"]


def test_answers_can_be_compared(cat_dog, segmentation, rating):
    for model in (cat_dog, segmentation):
        answer, other = model.predict(model.example()), model.explain(model.example())
        assert (answer in [other, answer], answer == other) == (True, False)
    assert rating.fold_in({260: 5}) == rating.fold_in({260: 5}) != rating.fold_in({260: 4})


def test_the_classes_of_answers_are_exported():
    names = [f"{name}{part}" for name in PREDICTOR_NAMES for part in ("", "Prediction", "Explanation")]
    assert {*names, "Predictor", "Prediction"} <= {*shared.__all__}


def test_what_is_explained_can_be_named_as_what_is_predicted(salary, sentiment, rating, person):
    assert salary.predict(row=person) == salary.predict(person)
    assert sentiment.predict(text="Dull.") == sentiment.predict("Dull.")
    assert rating.predict(*rating.example()) == rating.predict(user_id=1, movie_id=1)
    assert rating.explain(user_id=1, movie_id=1) == rating.explain(1, 1)
    assert rating.recommend(user_id=1) == rating.recommend(1)
