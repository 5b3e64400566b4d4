"""A Hub to rehearse with, until Ctrl-C: `python -m tests.hub`, or `make hub`."""

import argparse
import os
import signal
import tempfile
import time
from pathlib import Path

from tests.hub.hub import Hub

TEXT = """A Hub in memory at {hub.endpoint}, until Ctrl-C. In another terminal:

{activate}
{exports}

These variables hold in that terminal alone; close it when the rehearsal is over. {hub.read_token} may only read.
Your name there is {hub.user!r}. A Space's app starts by itself; its page is {hub.endpoint}/spaces/{hub.user}/NAME."""

ACTIVATE = r".venv\Scripts\Activate.ps1" if os.name == "nt" else "source .venv/bin/activate"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.hub", description=__doc__)
    parser.add_argument("--port", type=int, default=7900, help="default: 7900; 0 is any free one")
    parser.add_argument("--free", action="store_true", help="with a free account, which may not run every Space")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="hub-home-", ignore_cleanup_errors=True) as home,
            Hub(options.port, run_spaces=True) as hub,
        ):
            hub.set_paid(hub.user, not options.free)
            line = '$env:{} = "{}"' if os.name == "nt" else "export {}={}"
            exports = "\n".join(line.format(*item) for item in hub.environment(Path(home)).items())
            print(TEXT.format(hub=hub, activate=ACTIVATE, exports=exports), flush=True)
            while True:
                time.sleep(1)  # Windows has no signal.pause
    except OSError as error:
        raise SystemExit(
            f"Port {options.port}: {error.strerror}; name another one with --port (make hub PORT=7901)."
        ) from None
    except KeyboardInterrupt:
        print("\nStopped; nothing of it is kept.")


if __name__ == "__main__":
    main()
