"""Run a local Hub for rehearsals until Ctrl-C: `python -m hub.local`, or `make hub`."""

import argparse
import os
import signal
import tempfile
import time
from pathlib import Path

from hub.local.hub import Hub
from shared.console import guard_output

TEXT = """A local Hub in memory runs at {hub.endpoint} until Ctrl-C. In another terminal, run:

{lines}

The variables apply only to that terminal; close it after the rehearsal. The token {hub.read_token} can only read.
Your user name is {hub.user!r}. Spaces start automatically; their pages are at {hub.endpoint}/spaces/{hub.user}/NAME."""


def format_shell_lines(variables: dict[str, str], for_windows: bool = os.name == "nt") -> str:
    """Return the lines to run in another terminal, for bash or PowerShell."""
    if for_windows:
        lines = [".venv\\Scripts\\Activate.ps1", *(f'$env:{name} = "{value}"' for name, value in variables.items())]
    else:
        lines = ["source .venv/bin/activate", *(f"export {name}={value}" for name, value in variables.items())]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m hub.local", description=__doc__)
    parser.add_argument("--port", type=int, default=7900, help="default: 7900; 0 selects a free one")
    parser.add_argument("--free", action="store_true", help="use a free account, which cannot run every Space")
    options = parser.parse_args()
    guard_output()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    temporary = tempfile.TemporaryDirectory(prefix="hub-home-", ignore_cleanup_errors=True)
    try:
        with temporary as home, Hub(options.port, run_spaces=True) as hub:
            hub.set_paid(hub.user, not options.free)
            print(TEXT.format(hub=hub, lines=format_shell_lines(hub.environment(Path(home)))), flush=True)
            while True:  # Windows has no signal.pause, but Ctrl-C ends a sleep
                time.sleep(3600)
    except OSError as error:
        raise SystemExit(
            f"Port {options.port}: {error.strerror}; use another one with --port (make hub PORT=7901)."
        ) from None
    except KeyboardInterrupt:
        print("\nStopped; all data of the Hub is deleted.")


if __name__ == "__main__":
    main()
