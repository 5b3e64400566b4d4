"""The benchmarks run and compute ratios correctly; their results are not tested."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import browser, explanations, own_models, serving
from benchmarks.apps import serve_echo
from benchmarks.bare import make_bare_call
from benchmarks.clients import Client, ask_in_parallel
from benchmarks.inputs import draw_picture, encode_jpeg
from benchmarks.table import REASONS, Row, Target, explain_missed, format_report, format_table, format_trainings
from shared import load_model
from shared.metrics import Peer
from tests.conftest import DEMOS, ROOT

FASTER = Row("latency", "one form", "fastai", "ms", [1.0, 2.0, 1.0], [8.0, 8.0, 9.0], is_speedup=True)


def test_the_docs_repeat_the_figures_of_the_browser():
    report = json.loads((ROOT / "benchmarks/results/browser.json").read_text(encoding="utf-8"))
    text = (ROOT / "docs/browser.md").read_text(encoding="utf-8")
    for part in (browser.format_first_visits(report), browser.format_speeds(report), browser.format_memory(report)):
        assert f"\n\n{part}\n\n" in text, f"docs/browser.md should say:\n{part}"


def test_the_docs_repeat_the_figures_of_explanations():
    names = ("explanations-vnni", "explanations")
    found = [json.loads((ROOT / f"benchmarks/results/{name}.json").read_text(encoding="utf-8")) for name in names]
    assert [report["machine"]["avx512_vnni"] for report in found] == [True, False]
    text = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    errors = {explanations.format_errors(report) for report in found}
    lines = "\n".join([*map(explanations.format_times, found), *errors])
    assert f"\n\n{lines}\n\n" in text, f"docs/benchmarks.md should say:\n{lines}"


@pytest.mark.training
def test_the_docs_repeat_the_attempts_to_smooth_salary(monkeypatch, tmp_path):
    from benchmarks import capital_gain

    monkeypatch.setattr(capital_gain, "BINS", {"6 quantiles": capital_gain.BINS["6 quantiles"]})
    capital_gain.main(["--smoke", "--folds", "1", "--out", str(tmp_path / "report.json")])
    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert found["scores"].keys() == {capital_gain.EMBEDDING, "6 quantiles", *capital_gain.BOOSTING}
    report = json.loads((ROOT / "benchmarks/results/capital_gain.json").read_text(encoding="utf-8"))
    text = (ROOT / "docs/attempts.md").read_text(encoding="utf-8")
    for part in (capital_gain.format_table(report["scores"]), report["data"]):
        assert f"\n\n{part}\n" in text, f"docs/attempts.md should say:\n{part}"


def test_the_table_of_own_models_has_what_a_model_reached(capsys):
    own_models.main([str(ROOT / "spaces/salary/model")])
    header, rule, row = capsys.readouterr().out.splitlines()
    assert header.count("|") == rule.count("|") == row.count("|")
    first = load_model(ROOT / "spaces/salary/model").metrics.figures[0]
    assert f"| {first.label} {first.value:.3f} [{first.interval[0]:.3f}, {first.interval[1]:.3f}] |" in row
    assert "HistGradientBoosting on all 14 columns" in row


@pytest.mark.parametrize(
    ("label", "difference", "shown"),
    [("mean IoU", 0.1, "trees: mean IoU 0.600"), ("accuracy", 0.1, "trees: accuracy 0.600 (this model 0.700)"),
     ("accuracy", None, "trees: accuracy 0.600")],
)  # fmt: skip
def test_another_figure_of_a_peer_stands_beside_that_of_the_model(label, difference, shown):
    peer = Peer(peer="trees", name="x", value=0.6, label=label, difference=difference)
    assert own_models.format_peer(peer, "mean IoU") == shown


def test_the_lesson_app_is_short():
    assert len((ROOT / "benchmarks/lesson_app.py").read_text().splitlines()) <= 30


def test_ratio_is_the_median_of_rounds():
    assert FASTER.ratios == [4, 8, 9]
    assert FASTER.ratio == 8
    assert Row("start", "one Space", "echo", "s", [3.0], [2.0]).ratio == 1.5


@pytest.mark.parametrize(
    ("sense", "ratio", "verdict"), [(">=", 8, "met"), (">=", 8.1, "missed"), ("<=", 8, "met"), ("<=", 7.9, "missed")]
)
def test_table_says_whether_a_target_is_met(sense, ratio, verdict):
    header, line = format_table([Row(**{**vars(FASTER), "target": Target(sense, ratio)})]).splitlines()
    assert header.split()[0] == "part"
    assert line.split()[-3:] == [sense, f"{ratio:g}", verdict]
    assert "4.00 to 9.00" in line


def test_a_row_without_a_target_has_no_verdict():
    assert FASTER.verdict == ""
    assert format_table([FASTER]).splitlines()[1].endswith("4.00 to 9.00")


def test_a_missed_target_has_its_reason():
    ((part, what, peer), why) = next(iter(REASONS.items()))
    row = {**vars(FASTER), "part": part, "what": what, "peer": peer}
    missed, met = (Row(**{**row, "target": Target(">=", ratio)}) for ratio in (1000, 0.001))
    assert explain_missed([met, missed, FASTER]) == f"missed: {part}, {what}, beside {peer}: {why}"
    assert explain_missed([Row(**{**vars(missed), "what": "new"})]).endswith("nobody has looked into it yet")
    assert format_report([missed]).endswith(why)
    assert "missed" not in format_report([met])


def test_every_target_missed_in_the_results_has_a_reason():
    results = (ROOT / "benchmarks/results").glob("*.json")
    rows = [row for path in results for row in json.loads(path.read_text()).get("rows", [])]
    missed = {(row["part"], row["what"], row["peer"]) for row in rows if row["verdict"] == "missed"}
    assert missed <= set(REASONS)


def test_unknown_part_is_refused(capsys):
    with pytest.raises(SystemExit):
        serving.main(["--only", "latency,speed"])
    assert "unknown: speed; choose from latency, bulk" in capsys.readouterr().err


def test_explanations_are_close_to_exact_ones(tmp_path: Path, capsys):
    out = tmp_path / "explanations.json"
    explanations.main(["--runs", "1", "--calls", "1", "--people", "1", "--sentences", "1", "--out", str(out)])
    times, errors = capsys.readouterr().out.splitlines()
    assert re.search(r"a form takes (\d+) ms \(\1 to \1\) and a review of 200 words takes", times)
    report = json.loads(out.read_text())
    assert 0 < report["people"]["error"] < 0.5
    assert 0 < report["sentences"]["error"] < 10
    assert f"{report['people']['error']:.2f} points for 1 people" in errors


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


@pytest.mark.parametrize("name", DEMOS)
def test_the_bare_model_of_every_predictor_runs(name):
    model = load_model(ROOT / "spaces" / name / "model")
    session, answers = model.session, []
    call = make_bare_call(model, lambda: answers.append(model.predict_batch([model.example()])[0]))
    assert model.session is session
    assert len(answers) == 1
    call()


def test_clients_ask_with_and_without_an_upload(tmp_path: Path):
    (tmp_path / "photo.jpg").write_bytes(encode_jpeg(draw_picture(40, 30), orientation=6))
    photo = ("upload", [], str(tmp_path / "photo.jpg"))
    with serve_echo() as app:
        app.wait_for_answer(("text", ["hello"], None))
        assert Client(app.url).ask(("text", ["hello"], None)) == ["hello"]
        assert Path(Client(app.url).ask(photo)[0]).name == "photo.jpg"
        assert ask_in_parallel(app.url, [photo, ("text", ["hello"], None)], clients=2, count=6)["answers"] == 6
        memory = app.measure_memory()
        assert 0 < memory["resident"] <= memory["peak"]
        with pytest.raises(RuntimeError, match="/gradio_api/call/nothing answered 500"):
            Client(app.url).ask(("nothing", [], None))


def test_the_table_says_what_each_side_reached():
    row = Row("time", "cat_dog, error 0.0200", "stock ResNet-34", "s", [4.0], [9.0], True, reached=(0.0191, 0.02))
    header, line = format_table([row]).splitlines()
    assert "reached" in header
    assert "0.0191 / 0.0200" in line
    assert Row.from_json(json.loads(json.dumps(row.as_json()))) == row
    aimed = Row(**{**vars(FASTER), "target": Target(">=", 10)})
    assert Row.from_json(json.loads(json.dumps(aimed.as_json()))) == aimed


def test_trainings_in_words_say_what_each_side_reached():
    rows = [
        Row("time", "cat_dog --quick, error", "stock net", "s", [54.0, 50, 61], [300.0] * 3, True, None, (0.006, 0.02)),
        Row("rate", "cat_dog", "stock net", "images/s", [35.0], [9.0]),
        Row("score", "salary, accuracy", "stock tabular_learner", "", [0.81, 0.82], [0.84, 0.83]),
        Row("rate", "salary", "stock tabular_learner", "rows/s", [35.0], [9.0]),
        Row("rate", "sentiment", "stock AWD-LSTM from scratch", "reviews/s", [16.7], [10.3]),
        Row("memory", "sentiment", "stock AWD-LSTM from scratch", "MB", [4796.0], [10693.0]),
    ]
    assert format_trainings(rows).splitlines() == [
        "- cat_dog --quick: error 0.0200 after 300 [300, 300] s (stock net); ours 0.0060 after 54.0 [50.0, 61.0] s",
        "- salary: accuracy 0.8350 [0.8300, 0.8400] at the end (stock tabular_learner); ours 0.8150 [0.8100, 0.8200]",
        "- sentiment: 16.7 reviews/s; 10.3 (stock AWD-LSTM from scratch); scores were not compared",
    ]


def make_side(points=(), seconds=10.0, **more):
    rates = {"items_per_second": 20.0, "operations_per_item": 1e9, "peak_mb": 500.0, "cpu_seconds": 1.0}
    return {"points": list(points), "seconds": seconds, **rates, **more}


@pytest.mark.training
@pytest.mark.parametrize(
    ("stock", "ours", "ratio", "reached"),
    [
        (make_side([(9.0, 0.02)]), make_side([(2.0, 0.03), (4.0, 0.015)]), 2.25, (0.015, 0.02)),
        # Each side has the time of its first epoch that is good enough.
        (make_side([(3.0, 0.02), (9.0, 0.02)]), make_side([(5.0, 0.02)]), 0.6, (0.02, 0.02)),
        # What is scored at its end alone has its whole time.
        (make_side([(9.0, 0.02)]), make_side(final=0.006, seconds=3.0), 3, (0.006, 0.02)),
    ],
)
def test_time_to_the_stock_score(stock, ours, ratio, reached):
    from benchmarks.training import compare

    time, rate, memory = compare("cat_dog", [ours], [stock], rate=1e11)
    assert (time.part, time.what, time.ratio) == ("time", "cat_dog, error", ratio)
    assert time.reached == reached
    assert rate.notes == {"ours_share_of_matrix_rate": 0.2, "peers_share_of_matrix_rate": 0.2}
    assert (memory.part, memory.ratio) == ("memory", 1)


@pytest.mark.training
def test_each_run_has_the_goal_of_its_own_seed():
    from benchmarks.training import compare

    stock = [make_side([(9.0, 0.02)]), make_side([(8.0, 0.03)]), make_side([(6.0, 0.01)])]
    ours = [make_side([(2.0, 0.02)]), make_side([(1.0, 0.03), (2.0, 0.01)]), make_side([(1.0, 0.02), (3.0, 0.01)])]
    time, rate, memory = compare("cat_dog", ours, stock, rate=1e11)
    assert (time.ours, time.peers, time.reached) == ([2.0, 1.0, 3.0], [9.0, 8.0, 6.0], (0.02, 0.02))
    assert time.ratio == 4.5
    assert rate.ours == rate.peers == [20.0] * 3
    assert memory.ours == memory.peers == [500.0] * 3
    # One run of ours that never gets there, and there are no times.
    (score,) = (row for row in compare("cat_dog", [*ours[:2], make_side([(5.0, 0.02)])], stock, 1e11) if not row.unit)
    assert (score.part, score.ours, score.peers) == ("score", [0.02, 0.01, 0.02], [0.02, 0.03, 0.01])


@pytest.mark.training
@pytest.mark.parametrize(
    ("stock", "ours", "scores"),
    [
        (
            make_side([(9.0, 0.02)]),
            make_side([(4.0, 0.05), (5.0, 0.03)]),
            (0.03, 0.02),
        ),  # ours never gets there
        (make_side([(9.0, 0.02)]), make_side(final=0.03), (0.03, 0.02)),
        (
            make_side([(9.0, 0.3)], pretrained=False),
            make_side([(5.0, 0.009)]),
            (0.009, 0.3),
        ),  # from scratch: no goal
        (make_side([(9.0, 0.009)], pretrained=False), make_side([(5.0, 0.009)]), (0.009, 0.009)),
        (make_side(), make_side([(5.0, 0.009)]), None),  # not judged
        (make_side([(9.0, 0.02)]), make_side(), None),
    ],
)
@pytest.mark.parametrize("quick", [False, True])
def test_no_time_to_a_score_that_either_side_does_not_reach(stock, ours, scores, quick):
    from benchmarks.training import compare, compare_times

    rows = compare_times("cat_dog", [ours], [stock], quick)
    assert [(row.part, row.what, row.ours, row.peers) for row in rows] == (
        [("score", f"cat_dog{' --quick' * quick}, error", [scores[0]], [scores[1]])] if scores else []
    )
    parts = [row.part for row in compare("cat_dog", [ours], [stock], rate=1e11)]
    assert parts == ["score"] * bool(scores) + ["rate", "memory"]


@pytest.mark.training
def test_the_peer_is_named_with_its_start():
    from benchmarks.training import compare

    for more, peer in (
        ({"network": "MobileNetV2", "pretrained": True}, "stock MobileNetV2"),
        ({"network": "ResNet-34 U-Net", "pretrained": False}, "stock ResNet-34 U-Net from scratch"),
        ({"network": "tabular_learner"}, "stock tabular_learner"),
    ):
        rows = compare("cat_dog", [make_side([(2.0, 0.01)])], [make_side([(9.0, 0.02)], **more)], rate=1e11)
        assert {row.peer for row in rows} == {peer}


@pytest.mark.training
def test_quick_is_scored_at_its_end(monkeypatch, capsys):
    import torch
    from fastcore.basics import defaults

    from benchmarks import recipes
    from training.pictures import head

    def always_the_last(layer, features, y, targets):
        assert features.shape[0] == len(y)
        torch.nn.init.zeros_(layer.weight)
        layer.bias.data = torch.tensor([0.0, 0.0, 1.0])

    monkeypatch.setattr(head, "fit_head", always_the_last)
    monkeypatch.setattr(defaults, "callbacks", defaults.callbacks)
    monkeypatch.setattr("sys.argv", ["recipes", "cat_dog", "ours", "--smoke", "--quick"])
    recipes.main()
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["points"] == []
    assert found["final"] == 5 / 8  # every second of 15 test pictures: three of the last label


@pytest.mark.training
@pytest.mark.parametrize(("more", "points"), [(["--goal", "1"], 1), (["--batches", "4"], 0)])
def test_training_ends_at_the_goal_or_at_the_batch_limit(more, points, monkeypatch, capsys):
    from fastcore.basics import defaults

    from benchmarks import recipes
    from training.cat_dog import CatDogSettings

    monkeypatch.setattr(defaults, "callbacks", defaults.callbacks)
    monkeypatch.setattr("sys.argv", ["recipes", "cat_dog", "ours", "--smoke", *more])
    short = replace(CatDogSettings.smoke(), epochs=2)
    monkeypatch.setattr(CatDogSettings, "smoke", classmethod(lambda _: short))
    recipes.main()
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(found["points"]) == points  # after the one epoch of the head any error will do
    if not points:
        assert found["items_per_second"] > 0
        assert 1e6 < found["operations_per_item"] < 1e9


@pytest.mark.training
def test_training_beside_the_stock_recipe_from_command_to_file(tmp_path: Path, monkeypatch):
    from benchmarks import training

    out = tmp_path / "training.json"
    earlier = Row("rate", "sentiment", "stock", "reviews/s", [2.0], [1.0]), Row("rate", "salary", "stock", "", [1], [1])
    conditions = {name: {"device": "before"} for name in ("sentiment", "salary")}
    out.write_text(json.dumps({"conditions": conditions, "rows": [row.as_json() for row in earlier]}))
    training.main(["--models", "salary", "--runs", "1", "--smoke", "--out", str(out)])
    found = json.loads(out.read_text())
    assert found["conditions"]["salary"]["matrix_gflops"] > 0
    assert found["conditions"]["sentiment"] == {"device": "before"}  # as it was; salary's is new
    assert [name for name in found["conditions"] if found["conditions"][name]["device"] == "before"] == ["sentiment"]
    rows = {(row["part"], row["what"].split(",")[0]): row for row in found["rows"]}
    assert rows["rate", "sentiment"]["ratio"] == 2
    scored = rows.get(("time", "salary")) or rows["score", "salary"]  # made-up people: either may be the better
    assert scored["peer"] == "stock tabular_learner"
    assert len(scored["ours"]) == len(scored["peers"]) == len(scored["notes"]["ours_seconds"]) == 1
    assert 0 < rows["rate", "salary"]["notes"]["ours_share_of_matrix_rate"] < 1
    assert all(row["ratio"] > 0 for row in rows.values())


@pytest.mark.training
def test_the_stock_recipe_starts_from_the_pretrained_network_of_ours(monkeypatch, capsys):
    from fastcore.basics import defaults

    from benchmarks import recipes
    from training.recipes import image_classification

    made, backbone = [], image_classification.load_backbone
    monkeypatch.setattr(
        image_classification, "load_backbone", lambda settings: made.append(backbone(settings)) or made[-1]
    )
    monkeypatch.setattr(defaults, "callbacks", defaults.callbacks)
    monkeypatch.setattr("sys.argv", ["recipes", "cat_dog", "stock", "--smoke"])
    recipes.main()
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["network"] == "MobileNetV2"
    assert not found["pretrained"]  # of a smoke run the weights are random
    assert len(found["points"]) == 2  # the head alone, then everything
    assert len(made) == 1


@pytest.mark.parametrize("text", ["salary", "salary=", "salary=a,rating=2", "salaries=3", "-1"])
@pytest.mark.training
def test_batches_that_are_not_a_number_are_refused(text, capsys):
    from benchmarks import training

    with pytest.raises(SystemExit):
        training.main(["--batches", text])
    assert "--batches" in capsys.readouterr().err


@pytest.mark.training
def test_splits_of_the_same_rows_are_not_independent():
    from benchmarks import own_tables

    gaps = np.array([1.0, 2.0, 3.0, 4.0])
    assert own_tables.find_error(gaps) == pytest.approx(np.std(gaps, ddof=1) * (1 / 4 + 0.2 / 0.8) ** 0.5)
