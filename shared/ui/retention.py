"""Delete visitors' files after an hour, including those that Gradio would leave behind.

Gradio's delete_cache only handles files that components have written since the app started. It misses incomplete
uploads, the empty files of gr.File, and the files of a process that was killed.
"""

import contextlib
import logging
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder

from ..limits import LIMITS

SWEEP_SECONDS = 300.0  # between two sweeps, so files are deleted after at most 65 minutes
CLOCK_SECONDS = 60.0  # by which the clock of a shared disk may be ahead
FOLLOWS = os.utime not in os.supports_follow_symlinks  # Windows can change the time of a link's target only
# Gradio's entries in its folder: a subfolder for each file, named by hash; temporary files; stored sessions.
WRITTEN_BY_GRADIO = re.compile(r"[0-9a-f]{40,128}|tmp\w{6,}(\.\w+)?|deep_links")


def use_own_folder() -> None:
    """Keep visitors' files in a separate folder, unless GRADIO_TEMP_DIR is set."""
    os.environ.setdefault("GRADIO_TEMP_DIR", str(Path(tempfile.gettempdir()).resolve() / "model-gallery"))


def start_sweeping(demo: gr.Blocks) -> None:
    """Delete old files in the upload folder now and every SWEEP_SECONDS, in a daemon thread.

    If the folder is deleted while the app runs, a sweep restores the files that the app itself shows.
    """
    if Path(tempfile.gettempdir()).resolve().is_relative_to(Path(get_upload_folder()).resolve()):
        logging.warning("Old files are not deleted, because other programs use the folder GRADIO_TEMP_DIR, too.")
        return
    shown = {path: path.read_bytes() for path in find_kept_files(demo)}

    never = threading.Event()

    def sweep_forever() -> None:
        while True:
            try:
                restore(shown)
                sweep(Path(get_upload_folder()), set(shown))
                forget_deleted(demo)
            except Exception:
                logging.exception("Old files could not be deleted.")
            never.wait(SWEEP_SECONDS)

    threading.Thread(target=sweep_forever, name="sweeper", daemon=True).start()


def find_kept_files(demo: gr.Blocks) -> set[Path]:
    """Return the files that the app itself shows, such as example pictures."""
    return {Path(file) for block in list(demo.blocks.values()) for file in getattr(block, "keep_in_cache", ())}


def restore(shown: Mapping[Path, bytes]) -> None:
    """Write missing files again."""
    for path, content in shown.items():
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def renew(kept: Iterable[Path]) -> None:
    """Count files as new: Gradio copies an example with its age, so another process might delete it at once."""
    for path in kept:
        with contextlib.suppress(OSError):
            os.utime(path)


def sweep(folder: Path, kept: set[Path], older_than: float = LIMITS.kept_seconds) -> None:
    """Delete Gradio's files in a folder that have not changed for `older_than` seconds, each by its own age.

    Files from the future, which remain when the clock is set back, count as new from now on.

    Several processes may share the folder: each renews the times of its own `kept` files in every sweep, so that no
    other process deletes them.
    """
    renew(kept)
    now = time.time()
    for path in folder.iterdir() if folder.is_dir() else ():
        if WRITTEN_BY_GRADIO.fullmatch(path.name):
            delete_old(path, now, older_than)


def delete_old(path: Path, now: float, older_than: float) -> None:
    """Delete a file, or all files in a folder, that have not changed for `older_than` seconds.

    An old folder is deleted when it is empty. A new one may be about to get a file.
    """
    with contextlib.suppress(OSError):  # another process deleted it first, or the folder is not empty
        changed = path.lstat().st_mtime
        if changed > now + CLOCK_SECONDS:
            os.utime(path, (now, now), follow_symlinks=FOLLOWS)
        is_old = changed < now - older_than
        if path.is_dir() and not path.is_symlink():
            for inner in path.iterdir():
                delete_old(inner, now, older_than)
            if is_old:
                path.rmdir()
        elif is_old:
            path.unlink()


def forget_deleted(demo: gr.Blocks) -> None:
    """Remove deleted files from the sets in which Gradio keeps the paths of all that it has written."""
    for paths in demo.temp_file_sets:
        paths -= {path for path in list(paths) if not os.path.lexists(path)}
