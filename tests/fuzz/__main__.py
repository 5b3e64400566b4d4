"""Fuzz every predictor and endpoint, and print what happened by family of mutants.

python -m tests.fuzz --cases 50000 --seed 0
python -m tests.fuzz --repeat runs/fuzz/cat_dog-0123abcd.json
"""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from .campaign import describe, format_table, read_case, run, write_case
from .targets import list_targets
from .worker import Worker


def repeat(path: Path) -> int:
    """Ask one case again, and print the result."""
    name, arguments = read_case(path)
    with Worker() as worker:
        result = worker.ask(next(target for target in list_targets() if target.name == name), arguments)
    print(f"{result.outcome} after {result.seconds:.2f} s, with {result.megabytes:.0f} MB: {result.detail}")
    return result.outcome == "failed"


def main() -> int:
    targets = list_targets()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=50_000, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="the same seed gives the same cases")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="processes; by default one for each core")
    parser.add_argument(
        "--targets", nargs="+", choices=[target.name for target in targets], metavar="NAME", help="by default all"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"), metavar="FOLDER", help="for the cases that fail")
    parser.add_argument("--repeat", type=Path, metavar="FILE", help="ask one case that failed again")
    options = parser.parse_args()
    if options.repeat:
        return repeat(options.repeat)
    chosen = [target for target in targets if not options.targets or target.name in options.targets]
    often = 0.2 if sys.stderr.isatty() else 30  # seconds between two lines of a log
    with tqdm(total=options.cases, unit="case", mininterval=often) as bar:
        report = run(chosen, options.cases, options.seed, options.workers, lambda done: bar.update(done - bar.n))
    families = format_table(report.group(lambda _, family: family), "Family of mutants")
    sums = format_table(report.group(lambda target, _: target) | report.group(lambda *_: "all"), "Target")
    print(f"\n{families}\n\n{sums}")
    for failure in report.failures.values():
        path = write_case(options.out, failure)
        print(f"\n{describe(failure)}\nRepeat it: python -m tests.fuzz --repeat {path}")
    return bool(report.failures)


if __name__ == "__main__":
    sys.exit(main())
