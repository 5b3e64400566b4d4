"""A Hub to rehearse with, until Ctrl-C: `python -m hub.local`, or `make hub`."""

import argparse
import os
import signal
import tempfile
import time
from pathlib import Path

from hub.local.hub import Hub
from shared.console import guard_output

TEXT = """A Hub in memory at {hub.endpoint}, until Ctrl-C. In another terminal:

{lines}

These variables hold in that terminal alone; close it when the rehearsal is over. {hub.read_token} may only read.
Your name there is {hub.user!r}. A Space's app starts by itself; its page is {hub.endpoint}/spaces/{hub.user}/NAME."""


def format_shell_lines(variables: dict[str, str], for_windows: bool = os.name == "nt") -> str:
    """Return what to paste into another terminal: lines for bash, or for PowerShell."""
    if for_windows:
        lines = [".venv\\Scripts\\Activate.ps1", *(f'$env:{name} = "{value}"' for name, value in variables.items())]
    else:
        lines = ["source .venv/bin/activate", *(f"export {name}={value}" for name, value in variables.items())]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m hub.local", description=__doc__)
    parser.add_argument("--port", type=int, default=7900, help="default: 7900; 0 is any free one")
    parser.add_argument("--free", action="store_true", help="with a free account, which may not run every Space")
    options = parser.parse_args()
    guard_output()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    temporary = tempfile.TemporaryDirectory(prefix="hub-home-", ignore_cleanup_errors=True)
    try:
        with temporary as home, Hub(options.port, run_spaces=True) as hub:
            hub.set_paid(hub.user, not options.free)
            print(TEXT.format(hub=hub, lines=format_shell_lines(hub.environment(Path(home)))), flush=True)
            while True:  # Ctrl-C ends a sleep on Windows, too, which has no signal.pause
                time.sleep(3600)
    except OSError as error:
        raise SystemExit(
            f"Port {options.port}: {error.strerror}; name another one with --port (make hub PORT=7901)."
        ) from None
    except KeyboardInterrupt:
        print("\nStopped; nothing of it is kept.")


if __name__ == "__main__":
    main()
