"""Measure the speed of training, beside fastai's stock recipes on the same data and device, in the same run.

    python -m benchmarks.training --data DIR [--init DIR] [--models cat_dog,salary] [--runs 3] [--every 4]
        [--batches 20] [--out FILE]

DATA and INIT are those of `make train`. For each model it measures the time until each side reaches the final score of
the stock recipe, without the time for scoring, and for cat_dog also that of --quick; the items trained on per second,
also as a share of the device's rate of matrix multiplication; and the peak memory.

Both sides of cat_dog start from the same pretrained network; both of salary read the book's columns; both of rating are
one model. For segmentation and sentiment the stock networks are a U-Net and an LSTM. If ours never reaches that score,
or if the stock network lacks its pretrained weights, both scores are given instead of times. With --batches, each fit
ends after this many batches and is not scored, since a stock U-Net or LSTM takes hours on a CPU. `--batches
segmentation=5,sentiment=6` limits only these two. With `--every 4`, cat_dog trains and is scored on a quarter of the
pictures, since on two cores fastai's recipe takes a quarter of an hour for all.

Each recipe runs --runs times, each time in its own process and with another seed; the goal of a run of ours is the
score of the stock recipe with the same seed. FILE keeps the results of models that are not measured.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.apps import MODELS, ROOT, require_linux
from benchmarks.recipes import MEASURED, is_as_good
from benchmarks.serving import describe_conditions, make_list_parser
from benchmarks.table import Row, Target, format_number, format_report
from shared.console import guard_output

DATA = {"cat_dog": "pets", "segmentation": "camvid", "sentiment": "imdb", "salary": "adult", "rating": "movielens"}
INIT = {
    "cat_dog": "mobilenetv2_imagenet",
    "segmentation": "deeplabv3_mobilenetv2_voc",
    "sentiment": "all-MiniLM-L6-v2",
}
NOTED = ("network", "pretrained", "points", "final", "seconds", "cpu_seconds")  # notes on each side of a time
AIM = Target(">=", 10)  # target of cat_dog's time on a GPU, for both of our recipes
Side = dict[str, Any]  # what a run of benchmarks/recipes.py prints


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=make_list_parser(list(MODELS)), default=list(MODELS))
    parser.add_argument("--data", metavar="DIR", type=resolve_path, help=f"with {', '.join(DATA.values())} in it")
    parser.add_argument("--init", metavar="DIR", type=resolve_path, help=f"with {', '.join(INIT.values())} in it")
    parser.add_argument("--runs", type=int, default=3, help="runs of each recipe (default: 3)")
    parser.add_argument("--every", type=int, default=1, help="take every nth picture of cat_dog (default: 1, all)")
    parser.add_argument("--batches", type=parse_batches, default={}, help="batches of each fit, without scores")
    parser.add_argument(
        "--smoke", action="store_true", help="train for seconds on made-up data; the figures mean nothing"
    )
    parser.add_argument("--out", metavar="FILE", type=Path)
    options = parser.parse_args(arguments)
    results = read(options.out) if options.out and options.out.is_file() else Results()
    for name in options.models:
        results.replace(name, *measure(name, options))
        if options.out:
            results.write(options.out)  # the next model may take an hour
    print(f"\n{format_report(results.rows)}\n")
    if options.out:
        print(f"Wrote {options.out}")


def measure(name: str, options: argparse.Namespace) -> tuple[dict[str, Any], list[Row]]:
    """Measure a model; return the conditions and the rows."""
    require_linux()
    device, rate = measure_matrix_rate()
    print(f"{device} multiplies matrices at {rate / 1e9:,.0f} GFLOP/s.", file=sys.stderr)
    has_quick = name == "cat_dog" and not options.batches.get(name)
    stock, ours, quick = [], [], []
    for seed in range(options.runs):
        stock.append(run(name, "stock", seed, options))
        goal = choose_goal(stock[-1])
        ours.append(run(name, "ours", seed, options, *(() if goal is None else ("--goal", str(goal)))))
        quick += [run(name, "ours", seed, options, "--quick")] if has_quick else []
    rows = compare(name, ours, stock, rate) + (compare_times(name, quick, stock, is_quick=True) if quick else [])
    for row in rows:
        print(f"{row.part}: {row.what}, beside {row.peer}: {format_number(row.ratio)}", file=sys.stderr, flush=True)
    batches, every = options.batches.get(name, 0), {"every": options.every} if name == "cat_dog" else {}
    return {
        **describe_conditions(),
        "device": device,
        "matrix_gflops": round(rate / 1e9),
        "batches": batches,
        **every,
    }, rows


def parse_batches(text: str) -> dict[str, int]:
    """Parse "20", for every model, or "segmentation=5,sentiment=6", for argparse."""
    if text.isdecimal():
        return dict.fromkeys(MODELS, int(text))
    pairs = dict(part.partition("=")[::2] for part in text.split(","))
    if not set(pairs) <= set(MODELS) or not all(count.isdecimal() for count in pairs.values()):
        raise argparse.ArgumentTypeError(f"{text}: expected a number, or comma-separated model=number")
    return {name: int(count) for name, count in pairs.items()}


@dataclass
class Results:
    """The content of a results file: the rows, and the conditions of each model."""

    conditions: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def replace(self, name: str, conditions: dict[str, Any], rows: list[Row]) -> None:
        """Replace the rows and conditions of a model."""
        self.conditions[name] = conditions
        self.rows = sorted(
            [*(row for row in self.rows if get_model(row) != name), *rows],
            key=lambda row: MODELS.index(get_model(row)),
        )

    def write(self, path: Path) -> None:
        """Write the results as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        found = {"conditions": self.conditions, "rows": [row.as_json() for row in self.rows]}
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8", newline="\n")


def read(path: Path) -> Results:
    """Read the results of an earlier run."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return Results(found["conditions"], [Row.from_json(row) for row in found["rows"]])


def get_model(row: Row) -> str:
    """Return the model of a row."""
    return row.what.replace(",", " ").split()[0]


def resolve_path(name: str) -> Path:
    """Return the absolute path of a folder."""
    return Path(name).expanduser().resolve()


def run(name: str, recipe: str, seed: int, options: argparse.Namespace, *more: str) -> Side:
    """Run one recipe in its own process; return its results."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.recipes",
        name,
        recipe,
        "--batches",
        str(options.batches.get(name, 0)),
        "--seed",
        str(seed),
        "--every",
        str(options.every),
        *more,
    ]
    if options.smoke:
        command.append("--smoke")
    elif options.data:
        command += ["--data", str(options.data / DATA[name])]
    if options.init and name in INIT:
        command += ["--init", str(options.init / INIT[name])]
    print(f"{' '.join((name, *more))}, {recipe}, seed {seed}:", file=sys.stderr, flush=True)
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, encoding="utf-8")
    return dict(json.loads(done.stdout.rstrip().rsplit("\n", 1)[-1]))


def compare(name: str, ours: Sequence[Side], stock: Sequence[Side], rate: float) -> list[Row]:
    """Return rows for the time to the stock recipe's score, items a second, and peak memory, with a figure per run."""
    sides, peer = (("ours", ours), ("peers", stock)), name_peer(stock[0])
    rows = compare_times(name, ours, stock)
    rates, memory = ([[run[key] for run in side] for _, side in sides] for key in ("items_per_second", "peak_mb"))
    if all(rates[0] + rates[1]):
        shares = {
            f"{whose}_share_of_matrix_rate": statistics.median(
                run["items_per_second"] * run["operations_per_item"] / rate for run in side
            )
            for whose, side in sides
            if all(run["operations_per_item"] for run in side)
        }
        rows.append(Row("rate", name, peer, f"{MEASURED[name][0]}/s", *rates, notes=shares))
    return [*rows, Row("memory", name, peer, "MB", *memory)]


def name_peer(stock: Side) -> str:
    """Return the name of the stock recipe: its network, and whether it trained from scratch."""
    scratch = "" if stock.get("pretrained", True) else "from scratch"
    return " ".join(filter(None, ("stock", stock.get("network"), scratch)))


def compare_times(name: str, ours: Sequence[Side], stock: Sequence[Side], is_quick: bool = False) -> list[Row]:
    """Return a row with the times to the stock recipe's final score, or else with both final scores.

    There are times if both sides reach the score in every run and the stock network has its pretrained weights. There
    is no row if a run was not scored.
    """
    what = f"{name}{' --quick' * is_quick}, {MEASURED[name][1]}"
    finals, stock_finals = ([get_final_score(run) for run in side] for side in (ours, stock))
    if None in finals or None in stock_finals:
        return []
    notes = {
        f"{whose}_{key}": [run[key] for run in side]
        for whose, side in (("ours", ours), ("peers", stock))
        for key in NOTED
        if key in side[0]
    }
    goals = [choose_goal(run) for run in stock]
    firsts, stock_firsts = (
        [first for run, goal in zip(side, goals, strict=True) if (first := find_first_as_good(name, run, goal))]
        for side in (ours, stock)
    )
    if len(firsts) < len(ours) or len(stock_firsts) < len(stock):
        return [Row("score", what, name_peer(stock[0]), "", finals, stock_finals, notes=notes)]
    target = AIM if name == "cat_dog" and torch.cuda.is_available() else None
    (seconds, scores), (stock_seconds, _) = (list(zip(*side, strict=True)) for side in (firsts, stock_firsts))
    reached = (statistics.median(scores), statistics.median(stock_finals))
    return [
        Row("time", what, name_peer(stock[0]), "s", list(seconds), list(stock_seconds), True, target, reached, notes)
    ]


def find_first_as_good(name: str, side: Side, goal: float | None) -> tuple[float, float] | None:
    """Return seconds and score when a recipe first reached the goal; None if it never did, or without a goal."""
    if goal is None:
        return None
    points = side["points"] or ([(side["seconds"], side["final"])] if "final" in side else [])
    return next(((seconds, score) for seconds, score in points if is_as_good(name, score, goal)), None)


def get_final_score(side: Side) -> float | None:
    """Return the final score of a recipe; None if it was not scored."""
    return side["points"][-1][1] if side["points"] else side.get("final")


def choose_goal(stock: Side) -> float | None:
    """Return the score to reach, the stock recipe's final one; None if it lacks its pretrained weights."""
    return get_final_score(stock) if stock.get("pretrained", True) else None


def measure_matrix_rate() -> tuple[str, float]:
    """Return the device and its peak rate of matrix multiplication, in operations a second."""
    on_gpu = torch.cuda.is_available()
    size, device = (8192, "cuda") if on_gpu else (2048, "cpu")
    best = 0.0
    # A CPU without instructions for bfloat16 takes a minute for each of these products.
    has_bfloat16 = on_gpu or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    for kind in (torch.float32, torch.bfloat16)[: 1 + has_bfloat16]:
        matrix = torch.randn(size, size, device=device).to(kind)
        for _ in range(6):
            start = time.perf_counter()
            product = matrix @ matrix
            if on_gpu:
                torch.cuda.synchronize()
            best = max(best, 2 * size**3 / (time.perf_counter() - start))
        del product
    return torch.cuda.get_device_name() if on_gpu else platform.processor() or platform.machine(), best


if __name__ == "__main__":
    guard_output()
    main()
