"""Visitors' files are deleted in time, whoever wrote them and whatever became of the process that did.

Gradio's own delete_cache knows what its components have written since the app started. It does not know of broken-off
uploads, of the empty files that gr.File leaves, or of what a process that was killed has left behind.
"""

import contextlib
import logging
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

KEPT_SECONDS = 3600.0
SWEEP_SECONDS = 300.0  # between two sweeps: so everything is gone after 65 minutes
# What Gradio writes into its folder: a subfolder for each file, named by its hash; temporary files; stored sessions.
WRITTEN_BY_GRADIO = re.compile(r"[0-9a-f]{40,128}|tmp\w{6,}(\.\w+)?|deep_links")


def use_own_folder() -> None:
    """Keep visitors' files apart from those of other Gradio apps, unless GRADIO_TEMP_DIR names a folder for them."""
    os.environ.setdefault("GRADIO_TEMP_DIR", str(Path(tempfile.gettempdir()).resolve() / "model-gallery"))


def start_sweeping(demo: gr.Blocks) -> None:
    """Sweep the folder of uploads now, and every SWEEP_SECONDS from a thread that ends with the process.

    If the folder is deleted while the app runs, a sweep writes the files that the app itself shows again.
    """
    if Path(tempfile.gettempdir()).resolve().is_relative_to(Path(get_upload_folder()).resolve()):
        logging.warning("Old files are not deleted: GRADIO_TEMP_DIR is a folder that other programs use, too.")
        return
    shown = {path: path.read_bytes() for path in find_kept_files(demo)}

    never = threading.Event()

    def sweep_forever() -> None:
        while True:
            try:
                restore(shown)
                sweep(Path(get_upload_folder()), set(shown))
            except Exception:
                logging.exception("Old files could not be deleted.")
            never.wait(SWEEP_SECONDS)

    threading.Thread(target=sweep_forever, name="sweeper", daemon=True).start()


def keep_bytes(content: bytes, name: str) -> str:
    """Write bytes to where they are served and deleted in time, under a name whose ending tells the format; the path.

    The same bytes may have been written before: they stay as long as if they were new.
    """
    path: str = save_bytes_to_cache(content, name, get_upload_folder())
    os.utime(path)
    return path


def find_kept_files(demo: gr.Blocks) -> set[Path]:
    """Return the files that the app itself shows, such as the pictures of its examples."""
    return {Path(file) for block in list(demo.blocks.values()) for file in getattr(block, "keep_in_cache", ())}


def restore(shown: Mapping[Path, bytes]) -> None:
    """Write the files that are missing."""
    for path, content in shown.items():
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def sweep(folder: Path, kept: set[Path], older_than: float = KEPT_SECONDS) -> None:
    """Delete what Gradio wrote into a folder and nobody has changed for `older_than` seconds.

    Several processes may share the folder: each renews the time of its own `kept` files at every sweep, so that
    none deletes another's.
    """
    for path in kept:
        with contextlib.suppress(OSError):
            os.utime(path)
    limit = time.time() - older_than
    for path in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(OSError):  # another process was faster
            if WRITTEN_BY_GRADIO.fullmatch(path.name) and find_newest_change(path) < limit:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def find_newest_change(path: Path) -> float:
    """Return when a file, or the newest file in a folder, was changed: seconds since 1970."""
    changes = [path.lstat().st_mtime]
    if path.is_dir() and not path.is_symlink():
        changes += [inner.lstat().st_mtime for inner in path.rglob("*")]
    return max(changes)
