"""The Ray example: two processes, an interruption, a restart, rows with errors, and each kind of input."""

import csv
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

from shared import load_model
from tests.conftest import ROOT

pytest.importorskip("ray", reason="ray is not installed: make test-all")
parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: make test-all")

SCRIPT = [sys.executable, ROOT / "examples/score_with_ray.py"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def score(model, source, out, part_rows=1000):
    """Score all parts in this process."""
    script = runpy.run_path(str(SCRIPT[1]))
    out.mkdir()
    rows = script["convert_to_parquet"](source, out)
    scorer = script["Scorer"](load_model(ROOT / "spaces" / model / "model"), rows, out)
    return [scorer.score(part) for part in script["list_parts"](rows, part_rows)]


def list_parts(out):
    return sorted(out.glob("part-*.parquet"))


def read_rows(out):
    return [row for path in list_parts(out) for row in parquet.read_table(path).to_pylist()]


def test_an_interrupted_run_continues(salary, tmp_path):
    people = [{**salary.example(), "age": 17 + number % 74, "prediction": number} for number in range(4_000)]
    people[7]["age"] = -3
    with (tmp_path / "people.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, people[0])
        writer.writeheader()
        writer.writerows(people)
    out = tmp_path / "scored"
    asked = [ROOT / "spaces/salary/model", tmp_path / "people.csv", out, "--part-rows", "50"]

    with subprocess.Popen([*SCRIPT, *asked, "--workers", "2"], env=ENVIRONMENT, stderr=subprocess.DEVNULL) as process:
        while len(list_parts(out)) < 3 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
    assert process.returncode
    before = {path: path.stat().st_mtime_ns for path in list_parts(out)}
    left = 4_000 - len(read_rows(out))
    assert 0 < left < 4_000

    command = [*SCRIPT, *asked, "--workers", "2", "--compare-with-loop", "100"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    output = done.stdout
    assert f"{len(before)} of {len(list_parts(out))} parts are done." in output
    assert f"{left:,} rows in " in output
    assert "A plain loop: " in output
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not list(out.glob("part-*.partial"))

    answers = read_rows(out)
    assert [row["prediction (yours)"] for row in answers] == [str(number) for number in range(4_000)]
    assert answers[7]["error"].startswith("Age in years must be a number from 17 to 90")
    assert answers[7]["prediction"] is None
    assert answers[8]["error"] == ""
    assert answers[8]["prediction"] == salary.predict({**salary.example(), "age": 25}).label
    stranger = subprocess.run([*SCRIPT, *asked[:4], "60"], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert "choose an empty folder" in stranger.stderr


def test_a_folder_of_pictures(cat_dog, tmp_path):
    pictures = tmp_path / "pictures"
    (pictures / "more").mkdir(parents=True)
    cat = shutil.copy(ROOT / "spaces/cat_dog/examples/cat.png", pictures / "more/cat.png")
    (pictures / "broken.jpg").write_bytes(b"no picture")
    Image.open(cat).convert("RGB").save(pictures / "more/of_a_browser.avif")
    (pictures / "notes.txt").write_text("not asked about")
    assert score("cat_dog", pictures, tmp_path / "scored") == [1]
    broken, found, other = read_rows(tmp_path / "scored")
    assert (other["prediction"], other["error"]) == ("cat", "")
    assert broken["file"].endswith("broken.jpg")
    assert broken["error"]
    assert found["prediction"] == "cat"
    assert found["probability cat"] == pytest.approx(cat_dog.predict(cat).probabilities["cat"], abs=1e-4)


def test_parquet_in_row_groups(rating, tmp_path):
    import pyarrow

    asked = [(15, 260), (15, 10**9), (17, 260), (19, 1)] * 7
    table = pyarrow.table({"user_id": [user for user, _ in asked], "movie_id": [movie for _, movie in asked]})
    parquet.write_table(table, tmp_path / "pairs.parquet", row_group_size=10)
    assert len(score("rating", tmp_path / "pairs.parquet", tmp_path / "scored", part_rows=4)) == 3 + 3 + 2
    answers = read_rows(tmp_path / "scored")
    assert [(row["user_id"], row["movie_id"]) for row in answers] == asked
    assert {row["error"] != "" for row in answers[1::4]} == {True}
    assert answers[2]["predicted stars"] == round(rating.predict(17, 260).rating, 3)


def test_what_was_scored_can_be_scored_again(rating, tmp_path):
    import pyarrow

    table = pyarrow.table(
        {"user_id": [15], "movie_id": [260], "predicted stars": [1.0], "predicted stars (yours)": [2.0]}
    )
    parquet.write_table(table, tmp_path / "pairs.parquet")
    assert score("rating", tmp_path / "pairs.parquet", tmp_path / "scored") == [0]
    (row,) = read_rows(tmp_path / "scored")
    assert row["predicted stars"] == round(rating.predict(15, 260).rating, 3)
    assert row["predicted stars (yours)"] == 2.0
    assert row["predicted stars (yours) (yours)"] == 1.0


@pytest.mark.parametrize(
    ("model", "given", "message"),
    [
        ("salary", "nowhere", "There is no "),
        ("nowhere", "rows.csv", "There is no checkpoint folder"),
        ("salary", "rows.csv", "The input lacks the column workclass; the model needs age, workclass,"),
        ("cat_dog", "empty", "There is nothing to score in the input."),
        ("salary", "ragged.csv", "{} cannot be read: CSV parse error"),
        ("salary", "broken.parquet", "{} cannot be read: Parquet magic bytes not found"),
    ],
)
def test_what_cannot_be_scored_gets_a_sentence_and_leaves_nothing(model, given, message, tmp_path):
    (tmp_path / "rows.csv").write_text("age\n39\n")
    (tmp_path / "ragged.csv").write_text("age,sex\n39\n")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "empty").mkdir()
    out = tmp_path / "scored"
    command = [*SCRIPT, ROOT / "spaces" / model / "model", tmp_path / given, out]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode
    assert done.stderr.startswith(message.format(tmp_path / given))
    assert not out.exists() or not list(out.iterdir())


def test_texts_of_several_lines(sentiment, tmp_path):
    with (tmp_path / "reviews.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["text"], ["A wonderful film.\nI loved it."], ["Dull.\n\nI hated it."], [""]])
    assert score("sentiment", tmp_path / "reviews.csv", tmp_path / "scored") == [1]
    good, bad, empty = read_rows(tmp_path / "scored")
    assert (good["prediction"], bad["prediction"]) == ("pos", "neg")
    assert empty["error"]
