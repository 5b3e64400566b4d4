"""Measure speed and memory of serving, beside peers in the same run.

    make bench          or: python -m benchmarks.serving [--only latency,http] [--out benchmarks/results/serving.json]

The peers are the fast.ai lesson's app (Gradio, load_learner, learn.predict) and fastai's other learners, transformers'
pipelines where they apply, a Gradio app that only echoes, and the bare model in ONNX Runtime. Both sides are measured
in turn; quote the ratio, not the milliseconds. The table has targets for some ratios, and tells if they are met.
`install` downloads packages, so it only runs on request.
"""

import argparse
import importlib.util
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.apps import MODELS, ROOT, require_linux
from benchmarks.table import Row, format_number, format_report
from benchmarks.work import Work
from shared.console import guard_output
from shared.session import has_vnni

PARTS = ("latency", "bulk", "start", "memory", "http", "install")
PACKAGES = ("fastai", "gradio", "onnxruntime", "pillow", "torch", "transformers")
MODULES = {"pillow": "PIL"}  # where the module has another name
RESULTS = ROOT / "benchmarks/results/serving.json"


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table and write it as JSON."""
    present = [name for name in MODELS if (ROOT / "spaces" / name / "model").is_dir()]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=make_list_parser(PARTS), default=PARTS[:-1], help=f"some of {', '.join(PARTS)}")
    parser.add_argument(
        "--models", type=make_list_parser(present), default=present, help=f"some of {', '.join(present)}"
    )
    parser.add_argument("--rounds", type=int, default=9, help="rounds of latency and bulk (default: 9)")
    parser.add_argument("--install", action="store_true", help="also run the part install")
    parser.add_argument("--out", metavar="FILE", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    require_linux()
    for name in set(MODELS) - set(present):
        print(f"{name} has no model in its Space and is skipped.", file=sys.stderr)
    rows: list[Row] = []
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        work = Work(options.rounds, tuple(options.models), Path(folder))
        for part in dict.fromkeys([*options.only, *PARTS[-1:] * options.install]):
            module = importlib.import_module(f"benchmarks.{'throughput' if part == 'http' else part}")
            print(f"{part}: {module.__doc__.splitlines()[0]}", file=sys.stderr, flush=True)
            for row in module.measure(work):
                rows.append(row)
                passed = time.perf_counter() - start
                print(
                    f"{passed:5.0f} s  {row.what}, beside {row.peer}: {format_number(row.ratio)}",
                    file=sys.stderr,
                    flush=True,
                )
    print(f"\n{format_report(rows)}\n")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(
        json.dumps({**describe_conditions(), "rows": [row.as_json() for row in rows]}, indent=1) + "\n",
        encoding="utf-8",
        newline="\n",
    )
    print(f"Wrote {options.out}")


def make_list_parser(names: Sequence[str]) -> Callable[[str], list[str]]:
    """Return a parser of comma-separated names, for argparse."""

    def names_in(text: str) -> list[str]:
        if unknown := set(text.split(",")) - set(names):
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(names)}")
        return text.split(",")

    return names_in


def describe_conditions() -> dict[str, Any]:
    """Return the machine and the package versions of the figures."""
    machine = {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "avx512_vnni": has_vnni(),  # without it, exact int8 products take longer
        "python": platform.python_version(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
    }
    packages = {name: version(name) for name in PACKAGES if importlib.util.find_spec(MODULES.get(name, name))}
    return {"machine": machine, "packages": packages}


if __name__ == "__main__":
    guard_output()
    main()
