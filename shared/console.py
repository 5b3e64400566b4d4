"""Make standard output safe: unsupported characters are escaped, and a closed pipe does not end the program."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any


class SafeOutput:
    """A text stream whose `write` and `flush` never raise.

    Characters that the encoding lacks are written as Python escapes ("\\u732b"); redirected output on Windows uses
    cp1252. If the reader has closed the pipe (`| head`) or the disk is full, the remaining output is dropped.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text and return its length in characters."""
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
        """Write the buffered text."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._drop()

    def _drop(self) -> None:
        """Redirect buffered and later output to the null device; otherwise Python would retry at exit."""
        with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), self._stream.fileno())


def guard_output() -> None:
    """Make sys.stdout and sys.stderr safe until the process ends; either may be None, as under pythonw.exe."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open until the process ends
        if not isinstance(stream, SafeOutput):
            setattr(sys, name, SafeOutput(stream))


@contextlib.contextmanager
def guarded_output() -> Iterator[None]:
    """Make sys.stdout and sys.stderr safe within a `with` block."""
    before = sys.stdout, sys.stderr
    guard_output()
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before
