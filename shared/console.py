"""Standard output that cannot end a program: whatever the console lacks is escaped, and nobody has to read it."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any


class SafeOutput:
    """A text stream on which `write` and `flush` raise nothing.

    Characters that its encoding lacks are written as Python escapes them ("\\u732b"): on Windows a redirected output
    is in cp1252. If nobody reads the output any more (`| head`), or its disk is full, the rest of it is dropped.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text; returns its length."""
        try:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                encoding = self._stream.encoding
                self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except (OSError, ValueError):
            self._drop()
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._drop()

    def _drop(self) -> None:
        """Send what is still buffered, and all that follows, to nowhere: else Python would try again at its exit."""
        with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), self._stream.fileno())


def guard_output() -> None:
    """Make sys.stdout and sys.stderr safe to print to, for good; both may be None, as under pythonw.exe."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
        if not isinstance(stream, SafeOutput):
            setattr(sys, name, SafeOutput(stream))


@contextlib.contextmanager
def guarded_output() -> Iterator[None]:
    """Make sys.stdout and sys.stderr safe to print to within a block."""
    before = sys.stdout, sys.stderr
    guard_output()
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before
