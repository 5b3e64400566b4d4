"""Zips as people and their systems make them."""

import zipfile

import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from training.data import DataError
from training.own_data.unpacking import unpack

pytestmark = pytest.mark.training


@pytest.mark.parametrize(
    ("names", "start"),
    [
        (["cat/1.jpg", "dog/1.jpg"], ""),
        (["pets/cat/1.jpg", "pets/dog/1.jpg", "__MACOSX/pets/cat/._1.jpg", "pets/.DS_Store", ".DS_Store"], "pets"),
        (["a/pets/cat/1.jpg", "a/pets/dog/1.jpg"], "a/pets"),
        (["pets\\cat\\1.jpg", "pets\\dog\\1.jpg", "pets\\dog\\"], "pets"),
        (["cat/1.jpg"], ""),
        (["churn/train.csv", "churn/test.csv", "__MACOSX/churn/._test.csv"], "churn"),
        (["ml-latest-small/ratings.csv", "ml-latest-small/README.txt"], "ml-latest-small"),
        (["pets/labels.tsv", "pets/1.jpg"], "pets"),
        (["churn.csv"], ""),
        (["labels.csv", "pets/cat/1.jpg"], ""),
        (["../evil/1.jpg", "/dog/1.jpg", "cat/1.jpg"], ""),
    ],
)
def test_the_data_begins_where_the_labels_are(tmp_path, names, start):
    with zipfile.ZipFile(tmp_path / "pets.ZIP", "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    (tmp_path / "data/old").mkdir(parents=True)
    found = unpack(tmp_path / "pets.ZIP", tmp_path / "data")
    assert found == tmp_path / "data" / start
    assert not (tmp_path / "data/old").exists()
    files = {
        path.relative_to(tmp_path / "data").as_posix() for path in (tmp_path / "data").rglob("*") if path.is_file()
    }
    clean = {name.replace("\\", "/").removeprefix("/") for name in names}
    assert files == {name for name in clean if "/." not in f"/{name}" and "MACOSX" not in name and name[-1] != "/"}


@pytest.mark.parametrize(
    ("written", "name"),
    [("Müsli".encode(), "Müsli"), ("Mu\u0308sli".encode(), "Mu\u0308sli"), ("Müsli".encode("cp437"), "Müsli")],
)
def test_names_that_are_not_said_to_be_utf_8_are_read(tmp_path, written, name):
    """A Mac's Finder writes UTF-8 so, and older programs code page 437."""
    placeholder = "x" * len(written)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(f"{placeholder}/1.jpg", b"1")
        archive.writestr("Brot/1.jpg", b"2")
    content = (tmp_path / "a.zip").read_bytes()
    assert content.count(placeholder.encode()) == 2
    (tmp_path / "a.zip").write_bytes(content.replace(placeholder.encode(), written))
    folder = unpack(tmp_path / "a.zip", tmp_path / "data")
    assert {path.name for path in folder.iterdir()} == {name, "Brot"}


def test_what_is_no_zip_gets_a_sentence(tmp_path):
    with pytest.raises(DataError, match="There is no file"):
        unpack(tmp_path / "a.zip", tmp_path / "data")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("cat/1.jpg", b"x" * 1000)
    content = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "half.zip").write_bytes(content[:500])
    with pytest.raises(DataError, match="is no zip, or incomplete; wait until it has been uploaded"):
        unpack(tmp_path / "half.zip", tmp_path / "data")
    with zipfile.ZipFile(tmp_path / "packed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cat/1.jpg", bytes(range(256)) * 40)
    packed = bytearray((tmp_path / "packed.zip").read_bytes())
    packed[30 + len("cat/1.jpg")] = 0xFF  # where the compressed data begins
    (tmp_path / "packed.zip").write_bytes(packed)
    with pytest.raises(DataError, match=r"cannot be unpacked \(Error -3 while decompressing"):
        unpack(tmp_path / "packed.zip", tmp_path / "data")
    (tmp_path / "bad.zip").write_bytes(content.replace(b"x" * 1000, b"x" * 999 + b"y"))
    with pytest.raises(DataError, match=r"cannot be unpacked \(Bad CRC-32"):
        unpack(tmp_path / "bad.zip", tmp_path / "data")
