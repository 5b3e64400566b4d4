"""Time of explanations, and their error beside exact Shapley values.

    python -m benchmarks.explanations [--runs 3] [--calls 21] [--people 20] [--sentences 10]
                                      [--out benchmarks/results/explanations.json]

Exact values need every set of the parts: thousands of predictions for a person, and hundreds for a sentence of at most
ten words. The people are made up from the columns of background.csv, the sentences are parts of the page's examples.
Other programs on the machine change the times, not the errors.
"""

import argparse
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import inputs
from benchmarks.apps import ROOT
from benchmarks.serving import describe_conditions
from benchmarks.timing import Call, time_call
from shared import load_model
from shared.console import guard_output
from shared.shapley import average_changes, list_sets
from shared.tables import read_csv
from shared.tabular_classifier import TabularClassifier
from shared.tabular_values import Row
from shared.text_classifier import TextClassifier

WORDS = 6, 10  # in a sentence: fewer are explained exactly, and more need too many predictions


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the sentences of docs/benchmarks.md, and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="runs, each with a median (default: 3)")
    parser.add_argument("--calls", type=int, default=21, help="timed calls of a run (default: 21)")
    parser.add_argument("--people", type=int, default=20, help="people with exact values (default: 20)")
    parser.add_argument("--sentences", type=int, default=10, help="sentences with exact values (default: 10)")
    parser.add_argument("--out", metavar="FILE", type=Path, default=ROOT / "benchmarks/results/explanations.json")
    options = parser.parse_args(arguments)
    salary, sentiment = (load_model(ROOT / "spaces" / name / "model") for name in ("salary", "sentiment"))
    calls: dict[str, Call] = {
        "a form": partial(salary.explain, salary.example()),
        "a review of 200 words": partial(sentiment.explain, inputs.make_review()),
    }
    medians = {name: [time_calls(call, options.calls) for _ in range(options.runs)] for name, call in calls.items()}
    report = {
        **describe_conditions(),
        "calls": options.calls,
        "medians": medians,
        "people": measure_errors([compare_person(salary, row) for row in make_people(salary, options.people)]),
        "sentences": measure_errors(
            [compare_sentence(sentiment, text) for text in list_sentences(sentiment)[: options.sentences]]
        ),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8", newline="\n")
    print(format_times(report))
    print(format_errors(report))


def time_calls(call: Call, calls: int) -> float:
    """Return the median of the milliseconds of some calls, after a warm-up call."""
    call()
    return float(np.median([time_call(call) for _ in range(calls)]))


def measure_errors(found: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> dict[str, float]:
    """Return the errors of contributions, given as pairs of computed and exact ones, in percentage points."""
    ours, exact = (100 * np.concatenate(side) for side in zip(*found, strict=True))
    error = ours - exact
    return {
        "count": len(found),
        "error": round(float(np.sqrt(np.mean(error**2))), 4),
        "largest_error": round(float(np.abs(error).max()), 4),
        "contribution": round(float(np.sqrt(np.mean(exact**2))), 4),
    }


def format_times(report: Mapping[str, Any]) -> str:
    """Return a line of Markdown on the times."""
    times = [
        f"{name} takes {np.median(found):.0f} ms ({min(found):.0f} to {max(found):.0f})"
        for name, found in report["medians"].items()
    ]
    runs = len(next(iter(report["medians"].values())))
    has_vnni = "with" if report["machine"]["avx512_vnni"] else "without"
    return (
        f"- On {report['machine']['cores']} cores {has_vnni} AVX-512 VNNI, "
        f"{' and '.join(times)}: medians of {runs} runs of {report['calls']} calls (lowest to highest)."
    )


def format_errors(report: Mapping[str, Any]) -> str:
    """Return a line of Markdown on the errors."""
    errors = [
        f"{found['error']:.2f} points for {found['count']} {name}, at most {found['largest_error']:.1f} "
        f"(contributions: {found['contribution']:.1f})"
        for name in ("people", "sentences")
        for found in [report[name]]
    ]
    return f"- Root mean square errors beside exact values: {'; '.join(errors)}."


def make_people(model: TabularClassifier, count: int) -> Iterator[Row]:
    """Make up rows: each column from another row of background.csv."""
    rows = [row.cells for row in read_csv(model.folder / "background.csv", model.columns)]
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield {column: rows[rng.integers(len(rows))][column] for column in model.columns}


def compare_person(model: TabularClassifier, person: Row) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a person's contributions and the exact ones, (columns,) each."""
    why = model.explain(person)
    names = list(why.contributions)
    groups = {group[0]: group for group in model.config.groups}
    background = [row.cells for row in read_csv(model.folder / "background.csv", model.columns)]
    exact = np.zeros(len(names))
    for other in background:
        different = [name for name in names if any(person[column] != other[column] for column in groups[name])]
        rows = [
            dict(other) | {column: person[column] for name in np.array(different)[kept] for column in groups[name]}
            for kept in list_sets(len(different))
        ]
        probabilities = np.array([list(answer.probabilities.values())[1] for answer in model.predict_batch(rows)])
        exact[[names.index(name) for name in different]] += average_changes(probabilities) / len(background)
    return np.array(list(why.contributions.values())), exact


def list_sentences(model: TextClassifier) -> list[str]:
    """Return the parts of the page's English examples with 6 to 10 words."""
    texts = " ".join([*model.config.examples[:3], model.example()])
    return [part for part in re.split(r"(?<=[.,:!?]) ", texts) if WORDS[0] <= len(part.split()) <= WORDS[1]]


def compare_sentence(model: TextClassifier, text: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the contributions of a sentence's words and the exact ones, (words,) each."""
    why = model.explain(text)
    words = np.array(text.split())
    kept = [" ".join(words[some]) for some in list_sets(len(words))[1:]]
    found = [answer.probabilities[why.label] for answer in model.predict_batch(kept)]
    return np.array([value for _, value in why.parts]), average_changes(np.array([why.base, *found]))


if __name__ == "__main__":
    guard_output()
    main()
