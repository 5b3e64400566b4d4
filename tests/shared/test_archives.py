"""Zip files as people have them, and zip files that were made to do harm."""

import io
import stat
import struct
import zipfile

import pytest

from shared import BadInput, archives
from shared.archives import count_files, read_files, read_zip, write_zip
from tests.conftest import set_limits


@pytest.fixture
def pack(tmp_path):
    def write(*members, method=zipfile.ZIP_DEFLATED):
        path = tmp_path / "pictures.zip"
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, content in members:
                archive.writestr(name, content)
        return path

    return write


def change(path, old, new):
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


def read_only(path):
    ((_, content),) = read_zip(path)
    return content


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_files_come_in_order(pack, method):
    path = pack(("b.jpg", b"1"), ("a/c.jpg", b"2"), ("empty.jpg", b""), method=method)
    assert list(read_zip(path)) == [("b.jpg", b"1"), ("a/c.jpg", b"2"), ("empty.jpg", b"")]
    assert list(read_zip(str(path))) == list(read_zip(path))


def test_clutter_is_left_out(pack):
    names = ["folder/", "__MACOSX/._a.jpg", "x/__MACOSX/a.jpg", ".DS_Store", "x/._a.jpg", "Thumbs.db", "a.jpg"]
    names += ["x/desktop.ini", ".."]
    assert list(read_zip(pack(*[(name, b"1") for name in names]))) == [("a.jpg", b"1")]


def test_labels_keep_their_folders(pack):
    names = ["holiday/cats/0.jpg", "holiday/dogs/0.jpg", "holiday\\birds\\0.jpg", "0.jpg", "./0.jpg"]
    labels = [label for label, _ in read_zip(pack(*[(name, b"1") for name in names]))]
    assert labels == ["holiday/cats/0.jpg", "holiday/dogs/0.jpg", "holiday/birds/0.jpg", "0.jpg", "0.jpg (2)"]


def test_labels_lead_nowhere_and_are_short(pack):
    names = [
        "../../etc/passwd",
        "/home/a.jpg",
        "C:\\temp\\a.jpg",
        "a.jpg (2)",
        "new\nline",
        "x" * 300,
        "y/" * 150 + "z",
    ]
    labels = [label for label, _ in read_zip(pack(*[(name, b"1") for name in names]))]
    assert labels[:6] == ["etc/passwd", "home/a.jpg", "temp/a.jpg", "a.jpg (2)", "new?line", "x" * 100]
    assert labels[6] == "…" + ("y/" * 150 + "z")[-199:]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_very_same_name_twice(pack):
    assert list(read_zip(pack(("a.jpg", b"1"), ("a.jpg", b"2")))) == [("a.jpg", b"1"), ("a.jpg (2)", b"2")]


def test_a_bad_file_does_not_disturb_the_others(pack):
    link = zipfile.ZipInfo("link.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("a.jpg", b"1")
    path = pack(("a.jpg", b"1"), (link, "/etc/passwd"), ("inner.zip", inner.getvalue()), ("b.jpg", b"2"))
    contents = dict(read_zip(path))
    assert (contents["a.jpg"], contents["b.jpg"]) == (b"1", b"2")
    assert "link" in str(contents["link.jpg"])
    assert "zip in the zip" in str(contents["inner.zip"])
    assert isinstance(contents["link.jpg"], BadInput)


@pytest.mark.parametrize(("size", "message"), [(10_000_000, "less than 1/200"), (25_000_001, "larger than 25 MB")])
def test_a_file_that_unpacks_to_too_much(pack, size, message):
    content = read_only(pack(("a.jpg", bytes(size))))
    assert isinstance(content, BadInput)
    assert message in str(content)


def test_a_small_file_may_be_all_zeros(pack):
    assert read_only(pack(("a.bmp", bytes(900_000)))) == bytes(900_000)


def test_a_file_that_claims_to_be_smaller(pack):
    path = pack(("a.jpg", b"content"), method=zipfile.ZIP_STORED)
    change(path, struct.pack("<II", 7, 7), struct.pack("<II", 7, 5))
    assert "in the zip is damaged" in str(read_only(path))


def test_a_file_that_claims_to_be_larger(pack):
    path = pack(("a.jpg", b"content"), method=zipfile.ZIP_STORED)
    change(path, struct.pack("<II", 7, 7), struct.pack("<II", 7, 2**31))
    with pytest.raises(BadInput, match="contents are larger than 200 MB"):
        read_only(path)


def test_a_damaged_file(pack):
    path = pack(("a.jpg", b"content"), method=zipfile.ZIP_STORED)
    change(path, b"content", b"cOntent")
    assert "in the zip is damaged" in str(read_only(path))


@pytest.mark.parametrize("flag", [0x1, 0x40, 0x2000])
def test_a_locked_file(pack, flag):
    path = pack(("a.jpg", b"content"))
    data = bytearray(path.read_bytes())
    for at in (6, data.index(b"PK\x01\x02") + 8):
        struct.pack_into("<H", data, at, flag)
    path.write_bytes(data)
    assert "password" in str(read_only(path))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_unusual_method(pack, method):
    assert "plain zip" in str(read_only(pack(("a.jpg", b"content"), method=method)))


def test_too_many_files(pack):
    assert len(list(read_zip(pack(*[(f"{i}.jpg", b"1") for i in range(200)])))) == 200
    with pytest.raises(BadInput, match="more than 200 files"):
        next(read_zip(pack(*[(f"{i}.jpg", b"1") for i in range(201)])))


def test_a_long_list_of_contents_is_not_read(pack, monkeypatch):
    path = pack(*[(f"{i:0>5000}.jpg", b"") for i in range(201)])
    monkeypatch.setattr(zipfile, "ZipInfo", None)
    with pytest.raises(BadInput, match="more than 200 files"):
        next(read_zip(path))


def test_too_much_in_all(pack, monkeypatch):
    set_limits(monkeypatch, zip_bytes=1_000)
    with pytest.raises(BadInput, match="contents are larger"):
        next(read_zip(pack(("a.txt", bytes(600)), ("b.txt", bytes(600)))))
    set_limits(monkeypatch, zip_bytes=100)
    with pytest.raises(BadInput, match="file is larger than"):
        next(read_zip(pack(("a.txt", bytes(600)))))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a zip file"),
        (b"text", "not a zip file"),
        (b"PK\x05\x06", "not a zip file"),
        (b"PK\x05\x06" + bytes(18), "no files in it"),
        (b"PK\x05\x06" + b"\xff" * 18, "damaged"),
        (b"PK\x06\x07" + bytes(16) + b"PK\x05\x06" + bytes(18), "not a zip file"),
        (b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, 46, 0, 0), "damaged"),
    ],
)
def test_a_value_that_is_no_zip(tmp_path, content, message):
    path = tmp_path / "pictures.zip"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=message):
        next(read_zip(path))


def zip64(path, disks=1, **changed):
    """Write a zip's end as Zip64, as streaming writers do; `changed` are fields of its record that lie."""
    data = path.read_bytes()
    end = data.rfind(b"PK\5\6")
    count, size, start = struct.unpack_from("<HLL", data, end + 10)
    fields = {"here": count, "count": count, "size": size, "start": start} | changed
    record = struct.pack("<4sQHHLLQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, *fields.values())
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, end, disks)
    path.write_bytes(data[:end] + record + locator + data[end:])
    return path


def test_a_zip64_is_read_like_any_zip(pack):
    files = [("a.jpg", b"1"), ("b/c.jpg", b"2")]
    assert list(read_zip(zip64(pack(*files)))) == files
    assert list(read_zip(zip64(pack(*files), here=2**40, count=2**63))) == files  # only the length is used


@pytest.mark.parametrize(
    "lie",
    [
        {"size": 2**63}, {"size": 2**64 - 1}, {"size": 2**31}, {"size": 0, "start": 2**63}, {"size": 1}, {"size": 47},
        {"disks": 7},
    ],
)  # fmt: skip
def test_a_zip64_that_lies(pack, lie):
    with pytest.raises(BadInput, match=r"^The zip file (is damaged; create it again|has no files in it)\.$"):
        next(read_zip(zip64(pack(("a.jpg", b"1")), **lie)))


@pytest.mark.parametrize("start", [2**64 - 1, 2**40])
def test_a_zip64_whose_files_lie_elsewhere(pack, start):
    assert "in the zip is damaged" in str(read_only(zip64(pack(("a.jpg", b"1")), start=start)))


def test_a_zip64_with_an_endless_list_of_contents(pack, monkeypatch):
    path = zip64(pack(*[(f"{i:0>5000}.jpg", b"") for i in range(201)]))
    monkeypatch.setattr(zipfile, "ZipInfo", None)
    with pytest.raises(BadInput, match="more than 200 files"):
        next(read_zip(path))


def test_a_file_whose_zip64_size_lies(pack):
    path = pack(("a.jpg", b"content"), method=zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\1\2")
    struct.pack_into("<LL", data, entry + 20, 2**32 - 1, 2**32 - 1)
    struct.pack_into("<H", data, entry + 30, 20)
    extra = struct.pack("<HHQQ", 1, 16, 2**63, 7)
    data[entry + 46 + 5 : entry + 46 + 5] = extra
    end = data.rfind(b"PK\5\6")
    struct.pack_into("<L", data, end + 12, end - entry)
    path.write_bytes(data)
    with pytest.raises(BadInput, match="contents are larger than 200 MB"):
        read_only(path)


def test_half_a_zip(pack):
    path = pack(("a.jpg", b"content" * 100))
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(BadInput, match="the end of the file is missing"):
        next(read_zip(path))


def test_no_file(tmp_path):
    for path in (tmp_path / "nothing.zip", tmp_path):
        with pytest.raises(BadInput, match="There is no file"):
            next(read_zip(path))


def test_nothing_but_folders(pack):
    with pytest.raises(BadInput, match="no files in it"):
        next(read_zip(pack(("folder/", b""))))


def test_files_and_zips_come_one_after_another(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"a")
    with zipfile.ZipFile(tmp_path / "b.ZIP", "w") as archive:
        archive.writestr("inside/c.jpg", b"c")
    found = list(read_files([tmp_path / "a.jpg", str(tmp_path / "b.ZIP")]))
    assert found == [("a.jpg", tmp_path / "a.jpg"), ("inside/c.jpg", b"c")]


def test_a_zip_without_an_ending_is_a_zip(tmp_path):
    """As a browser uploads a Blob; a document that is a zip inside is still not taken for one."""
    for name in ("blob", "report.docx"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("inside/c.jpg", b"c")
    paths = [tmp_path / "blob", tmp_path / "report.docx", tmp_path / "nothing"]
    assert count_files(paths) == 3
    assert list(read_files(paths)) == [("inside/c.jpg", b"c"), *((path.name, path) for path in paths[1:])]


def test_no_two_labels_of_a_request_are_the_same(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(b"a")
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr("a.jpg", b"a")
    paths = [tmp_path / name for name in ("one/a.jpg", "one.zip", "two/a.jpg", "two.zip")]
    assert [label for label, _ in read_files(paths)] == ["a.jpg", "a.jpg (2)", "a.jpg (3)", "a.jpg (4)"]


def test_files_are_counted_without_being_read_and_read_one_by_one(tmp_path, pack, monkeypatch):
    read = []
    content = archives._read_content
    monkeypatch.setattr(archives, "_read_content", lambda *member: read.append(1) or content(*member))
    paths = [tmp_path / "a.jpg", pack(("b.jpg", b"1"), ("c.jpg", b"2"), ("folder/", b""))]
    assert count_files(paths) == 3
    assert not read
    found = read_files(paths)
    assert [next(found), next(found)] == [("a.jpg", tmp_path / "a.jpg"), ("b.jpg", b"1")]
    assert len(read) == 1
    assert list(found) == [("c.jpg", b"2")]


@pytest.mark.parametrize("paths", [[], None, 3, "a.jpg", [None], [3, "a.jpg"], {"a": 1}])
def test_no_files(paths):
    for ask in (count_files, lambda paths: next(read_files(paths))):
        with pytest.raises(BadInput, match="Choose some files first"):
            ask(paths)


def test_what_is_wrong_with_the_whole_is_said_before_the_first_file(tmp_path, pack, monkeypatch):
    (tmp_path / "bad.zip").write_bytes(b"no zip")
    many = pack(*[(f"{i}.jpg", bytes(60)) for i in range(150)])
    for paths, message in [
        ([tmp_path / "a.jpg"] * 201, "There are more than 200 files"),
        ([many, many], "There are more than 200 files"),
        ([tmp_path / "a.jpg", tmp_path / "bad.zip"], "not a zip file"),
        ([tmp_path / "a.jpg", tmp_path / "nothing.zip"], "There is no file"),
    ]:
        for ask in (count_files, lambda paths: next(read_files(paths))):
            with pytest.raises(BadInput, match=message):
                ask(paths)
    set_limits(monkeypatch, zip_bytes=10_000)
    one = tmp_path / "one.zip"
    one.write_bytes(pack(*[(f"{i}.jpg", bytes(60)) for i in range(90)]).read_bytes())
    assert count_files([one]) == 90
    with pytest.raises(BadInput, match=r"The zips hold more than 0\.01 MB"):
        next(read_files([one, one]))


def test_what_is_written_has_safe_names_of_its_own(tmp_path):
    (tmp_path / "0.png").write_bytes(b"mask")
    labels = [
        "a.jpg",
        "A.png",
        "a.tif",
        "../../etc/passwd",
        "C:\\x:y.jpg",
        "con.jpg",
        "..",
        ".png",
        "",
        "\0\n",
        "e\u0301 1.jpg",
        "é 1.jpg",
    ]
    path = write_zip(tmp_path / "out.zip", [(label, tmp_path / "0.png") for label in labels])
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
    assert names[:6] == ["a.png", "A (2).png", "a (3).png", "etc/passwd.png", "x_y.png", "_con.png"]
    assert len({name.lower() for name in names}) == len(labels)
    assert all(name.endswith(".png") and not set(name) & set('\\:*?"<>|\0\n') for name in names)
    assert names[-2:] == ["é 1.png", "é 1 (2).png"]
    assert [label for label, _ in read_zip(path)] == names


def test_what_is_written_keeps_its_folders(tmp_path):
    (tmp_path / "0.png").write_bytes(b"mask")
    labels = ["trip/cats/0.jpg", "trip/dogs/0.jpg", "trip/CATS/0.bmp", "a.jpg", "a.png/b.jpg", "con/<x>/v1.0/c.jpg"]
    with zipfile.ZipFile(write_zip(tmp_path / "out.zip", [(label, tmp_path / "0.png") for label in labels])) as archive:
        names = archive.namelist()
    assert names == [
        "trip/cats/0.png", "trip/dogs/0.png", "trip/CATS/0 (2).png", "a.png", "a_png/b.png", "_con/_x_/v1_0/c.png",
    ]  # fmt: skip


def test_long_names_are_cut(tmp_path):
    (tmp_path / "0.png").write_bytes(b"mask")
    with zipfile.ZipFile(write_zip(tmp_path / "out.zip", [("x" * 5_000, tmp_path / "0.png")] * 2)) as archive:
        assert archive.namelist() == ["x" * 100 + ".png", "x" * 100 + " (2).png"]
