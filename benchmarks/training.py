"""How fast the models train, beside fastai's stock recipes: on the same data, the same device, in the same run.

    python -m benchmarks.training --data DIR [--init DIR] [--models cat_dog,salary] [--batches 20] [--out FILE]

DATA and INIT are those of `make train`. For each model: the time until ours is as good as the stock recipe is at its
end, judging left out, and for cat_dog that of --quick, too; what is learned from in a second, and as a share of the
rate at which the device multiplies matrices; and the peak memory. With --batches each fit ends after so many, and
there is no time to a score: a stock U-Net or LSTM takes hours on a CPU. Where the stock network's pretrained weights
cannot be had, it takes as long, and the score to reach is the book's. Each recipe is a process of its own, one after
the other, and runs once: a score has the noise of one seed.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.apps import ROOT
from benchmarks.recipes import MEASURED, is_as_good
from benchmarks.serving import conditions, several
from benchmarks.table import Row, Target, report, written
from shared import PREDICTORS

DATA = {"cat_dog": "pets", "segmentation": "camvid", "sentiment": "imdb", "salary": "adult", "rating": "movielens"}
INIT = {
    "cat_dog": "mobilenetv2_imagenet",
    "segmentation": "deeplabv3_mobilenetv2_voc",
    "sentiment": "all-MiniLM-L6-v2",
}
AIM = Target(">=", 10)  # of cat_dog's time on a GPU, by either recipe


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=several(list(PREDICTORS)), default=list(PREDICTORS))
    parser.add_argument("--data", metavar="DIR", type=full_path, help=f"with {', '.join(DATA.values())} in it")
    parser.add_argument("--init", metavar="DIR", type=full_path, help=f"with {', '.join(INIT.values())} in it")
    parser.add_argument("--batches", type=int, default=0, help="of each fit, and no time to a score")
    parser.add_argument(
        "--smoke", action="store_true", help="seconds, on data made up on the spot; no figures to quote"
    )
    parser.add_argument("--out", metavar="FILE", type=Path)
    options = parser.parse_args(arguments)
    device, rate = matrix_rate()
    print(f"{device} multiplies matrices at {rate / 1e9:,.0f} GFLOP/s.", file=sys.stderr)
    rows: list[Row] = []
    for name in options.models:
        stock = run(name, "stock", options)
        goal = score_of(stock)
        ours = run(name, "ours", options, *(() if goal is None else ("--goal", str(goal))))
        new = compared(name, ours, stock, rate)
        if name == "cat_dog" and not options.batches:
            new += timed(name, run(name, "ours", options, "--quick"), stock, quick=True)
        rows += new
        for row in new:
            print(f"{row.part}: {row.what}, beside {row.peer}: {written(row.ratio)}", file=sys.stderr, flush=True)
    print(f"\n{report(rows)}\n")
    if options.out:
        where = {**conditions(), "device": device, "matrix_gflops": round(rate / 1e9), "batches": options.batches}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({**where, "rows": [row.as_json() for row in rows]}, indent=1) + "\n")
        print(f"Wrote {options.out}")


def full_path(name: str) -> Path:
    """A folder, wherever the recipes run."""
    return Path(name).expanduser().resolve()


def run(name: str, recipe: str, options: argparse.Namespace, *more: str) -> dict[str, Any]:
    """What one recipe does, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.recipes", name, recipe, "--batches", str(options.batches), *more]
    if options.smoke:
        command.append("--smoke")
    elif options.data:
        command += ["--data", str(options.data / DATA[name])]
    if options.init and name in INIT:
        command += ["--init", str(options.init / INIT[name])]
    print(f"{' '.join((name, *more))}, {recipe}:", file=sys.stderr, flush=True)
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.rstrip().rsplit("\n", 1)[-1]))


def compared(name: str, ours: dict[str, Any], stock: dict[str, Any], rate: float) -> list[Row]:
    """Time to the stock recipe's score, items a second and peak memory."""
    sides = (("ours", ours), ("peers", stock))
    shares = {
        f"{whose}_share_of_matrix_rate": side["items_per_second"] * side["operations_per_item"] / rate
        for whose, side in sides
        if side["items_per_second"] and side["operations_per_item"]
    }
    rows = timed(name, ours, stock)
    if ours["items_per_second"] and stock["items_per_second"]:
        rates = ([side["items_per_second"]] for _, side in sides)
        rows.append(Row("rate", name, "stock", f"{MEASURED[name][0]}/s", *rates, notes=shares))
    rows.append(Row("memory", name, "stock", "MB", [ours["peak_mb"]], [stock["peak_mb"]]))
    return rows


def timed(name: str, ours: dict[str, Any], stock: dict[str, Any], quick: bool = False) -> list[Row]:
    """A row with the time to the stock recipe's score; none where there is no score, or ours never was as good."""
    score, goal, found = MEASURED[name][1], score_of(stock), score_of(ours)
    said = f"{name}{' --quick' * quick}"
    if goal is None or found is None:
        return []
    if not is_as_good(name, found, goal):
        print(f"{said}: ours ended with {score} {found:.4f}, the stock recipe with {goal:.4f}.", file=sys.stderr)
        return []
    notes = {
        f"{whose}_{key}": side[key]
        for whose, side in (("ours", ours), ("peers", stock))
        for key in ("points", "cpu_seconds", "seconds")
    }
    notes |= {"goal": goal, "found": found, "stock_pretrained": stock.get("pretrained", True)}
    took, stock_took = (seconds_to(name, side, goal) for side in (ours, stock))
    target = AIM if name == "cat_dog" and torch.cuda.is_available() else None
    what = f"{said}, {score} {goal:.4f}"
    return [Row("time", what, "stock", "s", [took], [stock_took], is_speedup=True, target=target, notes=notes)]


def seconds_to(name: str, side: dict[str, Any], goal: float) -> float:
    """When a recipe was first as good as the goal; its whole time where no epoch was."""
    return next((seconds for seconds, score in side["points"] if is_as_good(name, score, goal)), side["seconds"])


def score_of(side: dict[str, Any]) -> float | None:
    """What a recipe scored at its end.

    Of a stock network that lacked its pretrained weights it is the book's score, or None where the book has none.
    """
    if not side.get("pretrained", True):
        return side.get("book")
    return side["points"][-1][1] if side["points"] else side.get("final")


def matrix_rate() -> tuple[str, float]:
    """The device, and how many operations a second it reaches in products of square matrices, at its best."""
    on_gpu = torch.cuda.is_available()
    size, device = (8192, "cuda") if on_gpu else (2048, "cpu")
    best = 0.0
    for kind in (torch.float32, torch.bfloat16):
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
    main()
