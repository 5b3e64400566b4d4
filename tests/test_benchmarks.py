"""The benchmark counts rightly and runs; what it measures is no business of a test."""

import json
from pathlib import Path

import pytest

from benchmarks import serving
from benchmarks.apps import echo
from benchmarks.clients import Client, ask_in_parallel
from benchmarks.inputs import jpeg, picture
from benchmarks.table import Row, Target, table
from tests.conftest import ROOT

FASTER = Row("latency", "one form", "fastai", "ms", [1.0, 2.0, 1.0], [8.0, 8.0, 9.0], is_speedup=True)


def test_lesson_app_is_as_short_as_its_user_would_write_it():
    assert len((ROOT / "benchmarks/lesson_app.py").read_text().splitlines()) <= 30


def test_ratio_is_the_median_of_rounds():
    assert FASTER.ratios == [4, 8, 9]
    assert FASTER.ratio == 8
    assert Row("start", "one Space", "echo", "s", [3.0], [2.0]).ratio == 1.5


@pytest.mark.parametrize(
    ("sense", "ratio", "verdict"), [(">=", 8, "met"), (">=", 8.1, "missed"), ("<=", 8, "met"), ("<=", 7.9, "missed")]
)
def test_table_says_whether_a_target_is_met(sense, ratio, verdict):
    header, line = table([Row(**{**vars(FASTER), "target": Target(sense, ratio)})]).splitlines()
    assert header.split()[0] == "part"
    assert line.split()[-3:] == [sense, f"{ratio:g}", verdict]
    assert "4.00 to 9.00" in line


def test_no_target_no_verdict():
    assert FASTER.verdict == ""
    assert table([FASTER]).splitlines()[1].endswith("4.00 to 9.00")


def test_unknown_part_is_refused(capsys):
    with pytest.raises(SystemExit):
        serving.main(["--only", "latency,speed"])
    assert "speed: there is only latency, bulk" in capsys.readouterr().err


def test_one_part_from_command_to_file(tmp_path: Path, capsys):
    out = tmp_path / "figures/serving.json"
    serving.main(["--only", "bulk", "--models", "rating", "--rounds", "1", "--out", str(out)])
    rows = json.loads(out.read_text())["rows"]
    assert [(row["part"], row["peer"], row["target"]) for row in rows] == [
        ("bulk", "bare loop", ">= 0.9"),
        ("bulk", "bare batches", None),
    ]
    assert all(row["ratio"] > 0 for row in rows)
    assert capsys.readouterr().out.count("rating, 2000 ratings") == 2


def test_clients_ask_with_and_without_an_upload(tmp_path: Path):
    (tmp_path / "photo.jpg").write_bytes(jpeg(picture(40, 30), orientation=6))
    photo = ("upload", [], str(tmp_path / "photo.jpg"))
    with echo() as app:
        app.first_answer(("text", ["hello"], None))
        assert Client(app.url).ask(("text", ["hello"], None)) == ["hello"]
        assert Path(Client(app.url).ask(photo)[0]).name == "photo.jpg"
        assert ask_in_parallel(app.url, [photo, ("text", ["hello"], None)], clients=2, count=6)["answers"] == 6
        memory = app.memory()
        assert 0 < memory["resident"] <= memory["peak"]
        with pytest.raises(RuntimeError, match="/gradio_api/call/nothing answered 500"):
            Client(app.url).ask(("nothing", [], None))
