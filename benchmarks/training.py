"""Measure the speed of training, beside fastai's stock recipes on the same data and device, in the same run.

    python -m benchmarks.training --data DIR [--init DIR] [--models cat_dog,salary] [--batches 20] [--out FILE]

DATA and INIT are those of `make train`. For each model it measures the time until each side reaches the final score of
the stock recipe, without the time for scoring, and for cat_dog also that of --quick; the items trained on per second,
also as a share of the device's rate of matrix multiplication; and the peak memory.

If ours never reaches that score, or if the stock network lacks its pretrained weights, both scores are given instead of
times. If the weights of ResNet-34 cannot be downloaded, the stock recipe of cat_dog starts from the weights of ours.
With --batches, each fit ends after this many batches and is not scored, since a stock U-Net or LSTM takes hours on a
CPU. `--batches segmentation=5,sentiment=6` limits only these two.

Each recipe runs once, in its own process, so a score has the noise of one seed. FILE keeps the results of models that
are not measured. --again measures nothing, and derives the rows in FILE again from its points.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
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


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=make_list_parser(list(MODELS)), default=list(MODELS))
    parser.add_argument("--data", metavar="DIR", type=resolve_path, help=f"with {', '.join(DATA.values())} in it")
    parser.add_argument("--init", metavar="DIR", type=resolve_path, help=f"with {', '.join(INIT.values())} in it")
    parser.add_argument("--batches", type=parse_batches, default={}, help="batches of each fit, without scores")
    parser.add_argument(
        "--smoke", action="store_true", help="train for seconds on made-up data; the figures mean nothing"
    )
    parser.add_argument("--out", metavar="FILE", type=Path)
    parser.add_argument("--again", action="store_true", help="derive the rows of --out again, without measuring")
    options = parser.parse_args(arguments)
    if options.again and not (options.out and options.out.is_file()):
        parser.error("--again needs --out FILE with the results of an earlier run.")
    results = read(options.out) if options.out and options.out.is_file() else Results()
    for name in [] if options.again else options.models:
        results.replace(name, *measure(name, options))
    print(f"\n{format_report(results.rows)}\n")
    if options.out:
        results.write(options.out)
        print(f"Wrote {options.out}")


def measure(name: str, options: argparse.Namespace) -> tuple[dict[str, Any], list[Row]]:
    """Measure a model; return the conditions and the rows."""
    require_linux()
    device, rate = measure_matrix_rate()
    print(f"{device} multiplies matrices at {rate / 1e9:,.0f} GFLOP/s.", file=sys.stderr)
    stock = run(name, "stock", options)
    goal = choose_goal(stock)
    ours = run(name, "ours", options, *(() if goal is None else ("--goal", str(goal))))
    rows = compare(name, ours, stock, rate)
    if name == "cat_dog" and not options.batches.get(name):
        rows += compare_times(name, run(name, "ours", options, "--quick"), stock, quick=True)
    for row in rows:
        print(f"{row.part}: {row.what}, beside {row.peer}: {format_number(row.ratio)}", file=sys.stderr, flush=True)
    batches = options.batches.get(name, 0)
    return {**describe_conditions(), "device": device, "matrix_gflops": round(rate / 1e9), "batches": batches}, rows


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
    """Read the results of an earlier run; derive its times again from its points."""
    found = json.loads(path.read_text(encoding="utf-8"))
    earlier = [Row.from_json(row) for row in found.pop("rows")]
    rows = [new for row in earlier for new in derive_again(row)]
    if "conditions" in found:
        return Results(found["conditions"], rows)
    # Until November 2026, a file was from one run, and only times recorded missing pretrained weights.
    lacking = {get_model(row) for row in earlier if row.notes.get("stock_pretrained") is False}
    rows = [replace(row, peer="stock from scratch") if get_model(row) in lacking else row for row in rows]
    return Results(dict.fromkeys(map(get_model, rows), found), rows)


def get_model(row: Row) -> str:
    """Return the model of a row."""
    return row.what.replace(",", " ").split()[0]


def derive_again(row: Row) -> list[Row]:
    """Return a row of an earlier run as compare_times makes it now: the same, another, or none."""
    if row.part not in ("time", "score"):
        return [row]
    ours, stock = (
        {key: row.notes[f"{whose}_{key}"] for key in NOTED if f"{whose}_{key}" in row.notes}
        for whose in ("ours", "peers")
    )
    if "goal" in row.notes:  # until November 2026, the goal without pretrained weights was the book's score
        ours["final"], stock["final"] = row.notes["found"], stock["points"][-1][1]
        stock["pretrained"] = row.notes["stock_pretrained"]
    return compare_times(get_model(row), ours, stock, quick="--quick" in row.what)


def resolve_path(name: str) -> Path:
    """Return the absolute path of a folder."""
    return Path(name).expanduser().resolve()


def run(name: str, recipe: str, options: argparse.Namespace, *more: str) -> dict[str, Any]:
    """Run one recipe in its own process; return its results."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.recipes",
        name,
        recipe,
        "--batches",
        str(options.batches.get(name, 0)),
        *more,
    ]
    if options.smoke:
        command.append("--smoke")
    elif options.data:
        command += ["--data", str(options.data / DATA[name])]
    if options.init and name in INIT:
        command += ["--init", str(options.init / INIT[name])]
    print(f"{' '.join((name, *more))}, {recipe}:", file=sys.stderr, flush=True)
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, encoding="utf-8")
    return dict(json.loads(done.stdout.rstrip().rsplit("\n", 1)[-1]))


def compare(name: str, ours: dict[str, Any], stock: dict[str, Any], rate: float) -> list[Row]:
    """Return rows for the time to the stock recipe's score, items a second, and peak memory."""
    sides = (("ours", ours), ("peers", stock))
    shares = {
        f"{whose}_share_of_matrix_rate": side["items_per_second"] * side["operations_per_item"] / rate
        for whose, side in sides
        if side["items_per_second"] and side["operations_per_item"]
    }
    rows = compare_times(name, ours, stock)
    if ours["items_per_second"] and stock["items_per_second"]:
        rates = ([side["items_per_second"]] for _, side in sides)
        rows.append(Row("rate", name, name_peer(stock), f"{MEASURED[name][0]}/s", *rates, notes=shares))
    rows.append(Row("memory", name, name_peer(stock), "MB", [ours["peak_mb"]], [stock["peak_mb"]]))
    return rows


def name_peer(stock: dict[str, Any]) -> str:
    """Return the name of the stock recipe: its network, and whether it trained from scratch."""
    scratch = "" if stock.get("pretrained", True) else "from scratch"
    return " ".join(filter(None, ("stock", stock.get("network"), scratch)))


def compare_times(name: str, ours: dict[str, Any], stock: dict[str, Any], quick: bool = False) -> list[Row]:
    """Return a row with the times to the stock recipe's final score, or else with both final scores.

    There are times if both sides reach the score and the stock network has its pretrained weights. There is no row if
    either side was not scored.
    """
    said, score = f"{name}{' --quick' * quick}", MEASURED[name][1]
    final, stock_final = get_final_score(ours), get_final_score(stock)
    if final is None or stock_final is None:
        return []
    goal, peer = choose_goal(stock), name_peer(stock)
    first, stock_first = (find_first_as_good(name, side, goal) for side in (ours, stock))
    notes = {
        f"{whose}_{key}": side[key]
        for whose, side in (("ours", ours), ("peers", stock))
        for key in NOTED
        if key in side
    }
    if first is None or stock_first is None:
        return [Row("score", f"{said}, {score}", peer, "", [final], [stock_final], notes=notes)]
    what, target = f"{said}, {score} {goal:.4f}", AIM if name == "cat_dog" and torch.cuda.is_available() else None
    return [Row("time", what, peer, "s", [first[0]], [stock_first[0]], True, target, (first[1], stock_final), notes)]


def find_first_as_good(name: str, side: dict[str, Any], goal: float | None) -> tuple[float, float] | None:
    """Return seconds and score when a recipe first reached the goal; None if it never did, or without a goal."""
    if goal is None:
        return None
    points = side["points"] or ([(side["seconds"], side["final"])] if "final" in side else [])
    return next(((seconds, score) for seconds, score in points if is_as_good(name, score, goal)), None)


def get_final_score(side: dict[str, Any]) -> float | None:
    """Return the final score of a recipe; None if it was not scored."""
    return side["points"][-1][1] if side["points"] else side.get("final")


def choose_goal(stock: dict[str, Any]) -> float | None:
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
