"""Printing never ends a program: on a console without the characters, on a closed pipe, on none at all."""

import errno
import io
import os
import subprocess
import sys

import pytest

from shared import console
from tests.conftest import ROOT

PROGRAM = """
import sys
from shared.console import guard_output
guard_output()
print("label 猫", flush=True)
print("x" * 100_000)
print("line", flush=True)
open(sys.argv[1], "w", encoding="utf-8").write("done")
"""


def make_environment(**variables):
    return {**os.environ, "PYTHONPATH": str(ROOT), **variables}


def test_what_the_console_lacks_is_escaped(tmp_path):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "end")]
    done = subprocess.run(
        command, env=make_environment(PYTHONIOENCODING="cp1252:strict"), capture_output=True, check=True
    )
    assert done.stdout.splitlines()[0] == rb"label \u732b"
    assert done.stderr == b""


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")
@pytest.mark.parametrize("ending", ["| head -c 1", ">&-", "2>&- >&-", "> /dev/full"])
def test_a_program_goes_on_when_nobody_reads_its_output(tmp_path, ending):
    command = f'set -o pipefail; "{sys.executable}" -c "$PROGRAM" "{tmp_path}/end" {ending}'
    done = subprocess.run(
        ["bash", "-c", command], env=make_environment(PROGRAM=PROGRAM), capture_output=True, check=False
    )
    assert (tmp_path / "end").read_text(encoding="utf-8") == "done"
    assert (done.returncode, done.stderr) == (0, b"")


def test_without_any_console_there_is_still_something_to_print_to(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with console.guarded_output():
        print("nobody reads this", file=sys.stderr)
        assert sys.stdout.isatty() is False
    assert sys.stdout is None


def test_a_block_leaves_the_streams_as_they_were(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), "cp1252", "strict")
    monkeypatch.setattr(sys, "stdout", stream)
    with console.guarded_output(), console.guarded_output():
        print("犬", end="")
        assert sys.stdout.encoding == "cp1252"
    assert sys.stdout is stream
    assert stream.buffer.getvalue() == rb"\u72ac"


def test_what_the_console_lacks_may_meet_a_full_disk():
    class Full(io.TextIOBase):
        encoding = "cp1252"

        def write(self, text):
            text.encode(self.encoding)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert console.SafeOutput(Full()).write("label 猫\n") == 8


def test_a_stream_that_was_closed_raises_nothing(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    with console.guarded_output():
        stream.close()
        print("too late", flush=True)
