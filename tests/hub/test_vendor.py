"""hub/vendor.py: only the pinned files are kept, from npm or a CDN. Nothing here needs the network."""

import gzip
import http.client
import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from hub import vendor
from hub.client import PublishError
from hub.vendor import FOLDER, LIBRARIES, Library, fetch_libraries, hash_bytes

CONTENT = b"export const answer = 42;"
LIBRARY = Library("@me/answers", "1.2.3", "dist/answers.mjs", hash_bytes(CONTENT))


@pytest.fixture(autouse=True)
def one_library(monkeypatch):
    monkeypatch.setattr(vendor, "LIBRARIES", (LIBRARY,))


@pytest.fixture
def asked(monkeypatch):
    """The addresses asked on the CDN, which has the file; npm is not installed."""
    asked = []

    def urlopen(address, timeout):
        asked.append(address)
        return io.BytesIO(CONTENT)

    monkeypatch.setattr(vendor.shutil, "which", lambda _: None)
    monkeypatch.setattr(vendor.urllib.request, "urlopen", urlopen)
    return asked


def test_every_library_has_its_licence():
    missing = {one.package for one in LIBRARIES} - {one.package for one in LIBRARIES if one.is_licence}
    assert missing == {path.stem for path in (FOLDER.parent / "licences").glob("*.txt")} == {"onnxruntime-web"}


def fail(*_, **__):
    raise OSError("no route to host")


class Interrupted(io.BytesIO):
    """An answer of which the end does not come."""

    def read(self, *_):
        raise http.client.IncompleteRead(b"export", 18)


def test_a_download_that_ends_in_the_middle_gets_a_sentence(asked, tmp_path, monkeypatch):
    monkeypatch.setattr(vendor.urllib.request, "urlopen", lambda *_, **__: Interrupted())
    with pytest.raises(PublishError, match=r"can be fetched neither with npm .*IncompleteRead\(6 bytes read, 18 more"):
        fetch_libraries(tmp_path)


def test_what_is_there_and_right_is_not_fetched_again(asked, tmp_path, capsys):
    (path,) = fetch_libraries(tmp_path / "new")
    assert path.read_bytes() == CONTENT
    assert asked == ["https://cdn.jsdelivr.net/npm/@me/answers@1.2.3/dist/answers.mjs"]
    assert fetch_libraries(tmp_path / "new") == [path]
    assert len(asked) == 1
    path.write_bytes(b"damaged")
    fetch_libraries(tmp_path / "new")
    assert path.read_bytes() == CONTENT
    assert capsys.readouterr().out == "Fetching @me/answers 1.2.3: answers/answers.mjs\n" * 2


def test_webassembly_is_stored_compressed_and_fetched_again_if_damaged(asked, tmp_path, monkeypatch):
    wasm = Library("@me/answers", "1.2.3", "dist/answers.wasm", hash_bytes(CONTENT))
    monkeypatch.setattr(vendor, "LIBRARIES", (wasm,))
    (path,) = fetch_libraries(tmp_path)
    packed = path.read_bytes()
    assert path == tmp_path / "answers/answers.wasm.gz"
    assert gzip.decompress(packed) == CONTENT
    assert fetch_libraries(tmp_path) == [path]
    assert len(asked) == 1
    for number, damaged in enumerate([CONTENT, packed[:-9], packed[:10] + b"meow", gzip.compress(b"alert()")], 2):
        path.write_bytes(damaged)
        assert fetch_libraries(tmp_path) == [path]
        assert path.read_bytes() == packed
        assert len(asked) == number


def test_a_file_with_another_hash_is_refused(asked, tmp_path, monkeypatch):
    monkeypatch.setattr(vendor.urllib.request, "urlopen", lambda *_, **__: io.BytesIO(b"alert()"))
    with pytest.raises(PublishError, match=r"answers/answers.mjs is not the pinned file of @me/answers 1.2.3; try"):
        fetch_libraries(tmp_path)
    assert not (tmp_path / "answers/answers.mjs").exists()


def test_npm_is_asked_first(asked, tmp_path, monkeypatch):
    def pack(command, cwd, timeout, **_):
        assert command == ["npm.cmd", "pack", "--silent", "@me/answers@1.2.3"]
        with tarfile.open(Path(cwd) / "me-answers-1.2.3.tgz", "w:gz") as archive:
            entry = tarfile.TarInfo("package/dist/answers.mjs")
            entry.size = len(CONTENT)
            archive.addfile(entry, io.BytesIO(CONTENT))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(vendor.shutil, "which", lambda name: f"{name}.cmd")
    monkeypatch.setattr(vendor.subprocess, "run", pack)
    assert fetch_libraries(tmp_path)[0].read_bytes() == CONTENT
    assert asked == []


@pytest.mark.parametrize("hangs", [False, True])
def test_the_cdn_is_asked_when_npm_fails(asked, tmp_path, monkeypatch, hangs):
    def pack(command, timeout, **_):
        if hangs:
            raise subprocess.TimeoutExpired(command, timeout)
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(vendor.shutil, "which", lambda name: name)
    monkeypatch.setattr(vendor.subprocess, "run", pack)
    assert fetch_libraries(tmp_path)[0].read_bytes() == CONTENT
    assert len(asked) == 1


def test_without_npm_and_network_it_says_what_to_do(asked, tmp_path, monkeypatch):
    monkeypatch.setattr(vendor.urllib.request, "urlopen", fail)
    with pytest.raises(PublishError) as error:
        fetch_libraries(tmp_path)
    assert str(error.value) == (
        "answers/answers.mjs can be fetched neither with npm nor from https://cdn.jsdelivr.net/npm (no route to host); "
        "install npm, or try again."
    )
