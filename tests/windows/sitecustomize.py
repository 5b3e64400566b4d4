"""Makes Python on Linux refuse what it refuses on Windows, as far as that goes.

No rename over a file that is there; no renaming or deleting of what this process has open or mapped into memory; no
symbolic links; names that Windows forbids; text files in cp1252 by default; `spawn` instead of fork; and none of the
functions and signals that only POSIX has.
"""

import builtins
import io
import multiprocessing
import os
import re
import runpy
import shutil
import signal
import sys

FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f\\]')
DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(1, 10))}
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LONGEST = 259  # characters of a path

_open, _mkdir, _rename, _replace, _unlink = io.open, os.mkdir, os.rename, os.replace, os.unlink


def in_use(path, inside):
    """Return True if this process has the file open or mapped, or, with `inside`, one below it."""
    real = os.path.realpath(path)
    with _open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        used = {line.split(maxsplit=5)[5].strip() for line in maps if line.count("/")}
    for number in os.listdir("/proc/self/fd"):
        try:
            used.add(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue
    return real in used or (inside and any(one.startswith(real + "/") for one in used))


def refuse(path, inside=False):
    if isinstance(path, int) or not os.path.lexists(path):
        return
    if in_use(path, inside):
        raise PermissionError(13, "The process cannot access the file because it is being used", os.fspath(path))


def check_name(path):
    if isinstance(path, int):
        return
    text = os.path.abspath(os.fsdecode(path))
    if text.startswith(("/dev/", "/proc/", "/sys/")):
        return
    if len(text) > LONGEST:
        raise FileNotFoundError(2, "The path is longer than Windows allows", text)
    for part in text.split("/"):
        device = part.split(".")[0].rstrip(" ").upper()
        if FORBIDDEN.search(part) or device in DEVICES or (part not in ("", ".", "..") and part[-1] in " ."):
            raise OSError(22, "Windows forbids this name", text)


def open_file(file, mode="r", buffering=-1, encoding=None, *rest, **options):
    if not isinstance(file, int) and set(mode) & set("wax"):
        check_name(file)
    if "b" not in mode and encoding in (None, "locale"):
        encoding = "cp1252"
    return _open(file, mode, buffering, encoding, *rest, **options)


def mkdir(path, *rest, **options):
    check_name(path)
    return _mkdir(path, *rest, **options)


def rename(source, target, **options):
    if os.path.lexists(target):
        raise FileExistsError(17, "Cannot create a file when that file already exists", os.fspath(target))
    check_name(target)
    refuse(source, inside=True)
    return _rename(source, target, **options)


def replace(source, target, **options):
    check_name(target)
    refuse(source, inside=True)
    refuse(target, inside=True)
    return _replace(source, target, **options)


def unlink(path, **options):
    if not options.get("dir_fd"):
        refuse(path)
    return _unlink(path, **options)


def symlink(source, target, *rest, **options):
    raise OSError(1314, "A required privilege is not held by the client", os.fspath(target))


def absent(function):
    """A function that our own code does not find; other packages do, since they see that this is Linux."""

    def call(*args, **options):
        caller = sys._getframe(1).f_code.co_filename
        if caller.startswith(ROOT) and "site-packages" not in caller:
            raise AttributeError(f"Windows has no {function.__name__}")
        return function(*args, **options)

    return call


builtins.open = io.open = open_file
os.mkdir, os.rename, os.replace, os.unlink, os.remove, os.symlink = mkdir, rename, replace, unlink, unlink, symlink
shutil._use_fd_functions = False  # so that rmtree, too, deletes by name
for module, names in ((os, ("fork", "getuid", "geteuid", "killpg", "setsid")), (signal, ("alarm", "pause"))):
    for name in names:
        setattr(module, name, absent(getattr(module, name)))
multiprocessing.set_start_method("spawn")
runpy.run_path(os.path.join(ROOT, "tests/no_stubs/sitecustomize.py"))
