"""Print the table of docs/your_own.md: what models of one's own data reached.

python -m benchmarks.own_models runs/breeds runs/mails
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from shared.errors import CheckpointError
from shared.metrics import Metrics, Peer

HEADER = """\
| data | command | its test | reached | others on the same test | training and measuring |
|---|---|---|---|---|---|"""


def format_row(folder: Path) -> str:
    """Return the row of a checkpoint folder."""
    metrics = Metrics.read(folder)
    first, trained = metrics.figures[0], metrics.trained
    interval = " [{:.3f}, {:.3f}]".format(*first.interval) if first.interval else ""
    peers = "; ".join(format_peer(peer, first.label or first.name) for peer in metrics.peers or ())
    command, minutes = (trained.command or "", (trained.seconds or 0) / 60) if trained else ("", 0)
    return (
        f"| {first.data} | `{command}` | {first.count:,} | {first.label or first.name} {first.value:.3f}{interval} | "
        f"{peers} | {'less than 1' if minutes < 0.5 else round(minutes)} min |"
    )


def format_peer(peer: Peer, reached: str) -> str:
    """Return a peer's score, and the model's own beside it unless that is the figure in the column "reached"."""
    label = peer.label or peer.name
    ours = (
        f" (this model {peer.value + peer.difference:.3f})" if label != reached and peer.difference is not None else ""
    )
    return f"{peer.peer}: {label} {peer.value:.3f}{ours}"


def main(arguments: Sequence[str]) -> None:
    """Print a row for each checkpoint folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", nargs="+", type=Path, help="a checkpoint folder")
    folders = parser.parse_args(arguments).folders
    try:
        rows = [format_row(folder) for folder in folders]
    except CheckpointError as error:
        sys.exit(str(error))
    print("\n".join([HEADER, *rows]))


if __name__ == "__main__":
    main(sys.argv[1:])
