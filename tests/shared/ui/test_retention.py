"""Visitors' files are deleted in time, and nothing else is."""

import os
import time
from pathlib import Path

import gradio as gr
import pytest

from shared.ui import Page
from shared.ui.retention import find_kept_files, forget_deleted, restore, sweep

HASH = "a" * 64


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def make_old(path, content="x"):
    """A file of two hours ago; so are the folders that are made for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    for changed in (path, path.parent):
        os.utime(changed, (time.time() - 7200,) * 2)
    return path


def test_old_files_of_visitors_are_deleted(folder):
    upload, broken_off = make_old(folder / HASH / "photo.png"), make_old(folder / "tmpab12cd_e")
    session = make_old(folder / "deep_links/abc/state.json")
    os.utime(folder / "deep_links", (0, 0))
    sweep(folder, set())
    assert not upload.parent.exists()
    assert not broken_off.exists()
    assert not session.exists()


def test_a_new_file_with_the_same_content_does_not_keep_the_old_ones(folder):
    old, refreshed = make_old(folder / HASH / "old.png"), make_old(folder / HASH / "refreshed.png")
    refreshed.write_text("x")
    sweep(folder, set())
    assert (old.exists(), refreshed.exists()) == (False, True)
    make_old(refreshed)
    sweep(folder, set())
    assert not refreshed.parent.exists()


def test_a_new_folder_without_a_file_stays(folder):
    """An upload may be about to move its file there."""
    (folder / HASH).mkdir()
    sweep(folder, set())
    assert (folder / HASH).exists()


def test_the_paths_of_deleted_files_are_forgotten(folder):
    gone, there = folder / HASH / "gone.png", make_old(folder / ("b" * 64) / "there.png")
    with gr.Blocks() as demo:
        file = gr.File()
    for paths in (demo.upload_file_set, file.temp_files):
        paths |= {str(gone), str(there)}
    forget_deleted(demo)
    assert demo.upload_file_set == file.temp_files == {str(there)}


def test_what_is_new_or_shown_by_the_app_or_not_of_gradio_stays(folder):
    new = folder / ("b" * 64) / "photo.png"
    new.parent.mkdir()
    new.write_text("x")
    example = make_old(folder / HASH / "example.png")
    mine = [make_old(folder / name) for name in ("notes.txt", "photos/cat.png", "tmp")]
    sweep(folder, {example})
    assert all(path.exists() for path in (new, example, *mine))


def test_processes_that_share_a_folder_keep_each_others_examples(folder):
    first, second = make_old(folder / HASH / "first.png"), make_old(folder / ("c" * 64) / "second.png")
    sweep(folder, {first}, older_than=10_000)  # each renews its own
    sweep(folder, {second}, older_than=10_000)
    sweep(folder, {second}, older_than=3600)
    assert first.exists()
    assert second.exists()


def test_files_from_the_future_are_deleted_in_time_when_the_clock_was_set_back(folder):
    tomorrow = time.time() + 86_400
    upload, left = make_old(folder / HASH / "photo.png"), make_old(folder / "tmpab12cd_e")
    example = make_old(folder / ("b" * 64) / "example.png")
    for path in (upload, upload.parent, left, example):
        os.utime(path, (tomorrow,) * 2)
    ahead = make_old(folder / ("c" * 64) / "ahead.png")  # the clock of the disk may be another
    os.utime(ahead, (time.time() + 10,) * 2)
    kept = ahead.stat().st_mtime
    sweep(folder, {example})
    assert all(path.exists() for path in (upload, left, example))  # they may be new
    assert ahead.stat().st_mtime == kept
    assert max(path.stat().st_mtime for path in (upload, upload.parent, left)) <= time.time()
    for path in (upload, upload.parent, left):
        os.utime(path, (path.stat().st_mtime - 7200,) * 2)  # as two hours later
    sweep(folder, {example})
    assert not upload.parent.exists()
    assert not left.exists()
    assert example.exists()


def test_a_link_in_the_folder_is_deleted_and_not_followed(folder, tmp_path_factory):
    elsewhere = make_old(tmp_path_factory.mktemp("elsewhere") / "photo.png")
    (folder / HASH).symlink_to(elsewhere.parent)
    os.utime(folder / HASH, (0, 0), follow_symlinks=False)
    sweep(folder, set())
    assert elsewhere.exists()
    assert not (folder / HASH).is_symlink()


def test_a_folder_that_is_not_there_is_no_error(folder):
    sweep(folder / "none", {folder / "gone.png"})


def test_the_pictures_of_examples_are_kept(monkeypatch, folder):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    picture = gr.media.get_image("lion.jpg")
    with gr.Blocks() as demo:
        gr.Examples([[picture]], gr.Image(type="filepath"), cache_examples=False)
    assert [path.name for path in find_kept_files(demo)] == ["lion.jpg"]


def test_what_the_app_shows_is_written_again_when_it_has_gone(folder):
    gone, there = folder / HASH / "gone.png", make_old(folder / ("b" * 64) / "there.png")
    restore({gone: b"picture", there: b"another"})
    assert gone.read_bytes() == b"picture"
    assert there.read_text() == "x"


def test_the_examples_of_a_page_are_new_as_soon_as_it_is_built(monkeypatch, folder, salary):
    """Another process that shares the folder may sweep before this one starts."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder / "uploads"))
    picture = folder / "lion.jpg"
    picture.write_bytes(Path(gr.media.get_image("lion.jpg")).read_bytes())
    os.utime(picture, (0, 0))
    with Page(salary, title="Lions") as demo:
        gr.Examples([[str(picture)]], gr.Image(type="filepath"), cache_examples=False)
    (kept,) = find_kept_files(demo)
    sweep(folder / "uploads", set())
    assert kept.exists()
