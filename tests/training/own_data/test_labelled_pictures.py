"""A user's own pictures: where their labels are, what is wrong with them, and their split."""

import importlib.util
import io
import re
import unicodedata
from dataclasses import replace
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest
from PIL import Image, ImageDraw, features

pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")

from training import command, memory
from training.data import DataError, sort_paths
from training.own_data import picture_labels
from training.own_data.folders import find_alike, list_files
from training.own_data.labelled_pictures import read_own_pictures
from training.own_data.labels import describe_combinations
from training.own_data.options import DataOptions
from training.recipes.image_classification import ImageClassification
from training.sentences import SHOWN
from training.splitting import TEST, TRAIN, VALID

pytestmark = pytest.mark.training
SHARES = {TEST: 0.2, VALID: 0.08}
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 2000


def draw(folder, count, start=0, name="{}.png", **saving):
    """Write pictures that differ into a folder; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name.format(index) for index in range(start, start + count)]
    for index, path in enumerate(paths, start):
        image = Image.new("RGB", (24, 18), ((index * 37) % 256, index % 256, (index // 256) % 256))
        ImageDraw.Draw(image).line((0, index % 18, 23, 3), (255, 255, 255))
        image.save(path, **saving)
    return paths


@pytest.fixture
def flowers(tmp_path):
    """Two labels of 12 pictures."""
    folder = tmp_path / "flowers"
    draw(folder / "rose", 12)
    draw(folder / "tulip", 12, 100)
    return folder


def read(data, **own):
    return read_own_pictures(Path(data), DataOptions(**own), SHARES, 64, 42)


def sizes(found):
    return {part: len(pictures) for part, pictures in found.parts.items()}


def test_a_subfolder_for_each_label(flowers, capsys):
    found = read(flowers)
    assert found.labels == ("rose", "tulip")
    assert sizes(found) == {TRAIN: 18, VALID: 2, TEST: 4}
    assert {pictures.y.tolist().count(0) for pictures in found.parts.values()} == {1, 2, 9}
    said = capsys.readouterr().out
    assert "24 pictures with 2 labels: rose 12, tulip 12." in said
    assert "Split: 18 to train on, 2 to validate on, 4 to test on." in said
    everything = [path for pictures in found.parts.values() for path in pictures.paths]
    assert sorted(everything) == sorted(flowers.glob("*/*.png"))


@pytest.mark.parametrize(
    ("valid", "test"), [("valid", None), ("validation", "test"), (None, "test"), ("Val", "testing")]
)
def test_parts_of_a_data_set_are_no_labels(tmp_path, capsys, valid, test):
    start = 0
    for part, count in (("train", 20), (valid, 6), (test, 7)):
        for label in ("circles", "squares"):
            if part:
                draw(tmp_path / "data" / part / label, count, start)
            start += 100
    found = read(tmp_path / "data")
    assert found.labels == ("circles", "squares")
    assert found.given == {TRAIN} | ({VALID} if valid else set()) | ({TEST} if test else set())
    assert len(found.parts[TEST]) == (14 if test else 8)
    assert len(found.parts[VALID]) == (12 if valid else 4)
    if test:
        assert {path.parent.parent.name for path in found.parts[TEST].paths} == {test}
    whole = [part for part, name in ((TEST, test), (TRAIN, valid and test), (VALID, valid)) if name]
    assert f"Split ({', '.join(whole)} as given): " in capsys.readouterr().out


def test_parts_without_labels_and_parts_beside_labels_are_refused(tmp_path):
    draw(tmp_path / "a/train", 12)
    draw(tmp_path / "a/valid", 12, 50)
    with pytest.raises(DataError, match=r"parts train, valid of .* must have a subfolder of pictures for each label"):
        read(tmp_path / "a")
    draw(tmp_path / "b/train/rose", 12)
    draw(tmp_path / "b/test/rose", 12, 50)
    draw(tmp_path / "b/tulip", 12, 100)
    with pytest.raises(DataError, match=r"parts of a data set \(test, train\) and other folders .*\(tulip\)"):
        read(tmp_path / "b")


@pytest.mark.parametrize("names", [("training_set", "test_set"), ("Train_Set", "Testing_Set")])
def test_folders_called_sets_are_parts(tmp_path, names):
    for start, name in enumerate(names):
        draw(tmp_path / name / "cat", 20, 100 * start)
        draw(tmp_path / name / "dog", 20, 100 * start + 50)
    found = read(tmp_path)
    assert found.labels == ("cat", "dog")
    assert sizes(found)[TEST] == 40


@pytest.mark.parametrize("form", ["seg_{0}", "seg_{0}/seg_{0}"])
def test_folders_that_look_like_parts_are_no_labels(tmp_path, form):
    for start, part in enumerate(("train", "test")):
        draw(tmp_path / form.format(part) / "sea", 12, 100 * start)
        draw(tmp_path / form.format(part) / "hill", 12, 100 * start + 50)
    with pytest.raises(DataError, match=r"The folders seg_test, seg_train of .* have the same subfolders, as the"):
        read(tmp_path)


@pytest.mark.parametrize("labels", [("happy", "sad"), ("bus station", "train station")])
def test_labels_may_have_the_same_subfolders(tmp_path, labels):
    for start, label in enumerate(labels):
        for other, person in enumerate(("ann", "bob")):
            draw(tmp_path / label / person, 12, 100 * start + 50 * other)
    assert read(tmp_path).labels == labels


def test_a_folder_in_a_folder_of_its_name_is_pointed_to(flowers, tmp_path):
    inner = tmp_path / "zip/flowers/flowers"
    inner.parent.mkdir(parents=True)
    flowers.rename(inner)
    with pytest.raises(DataError, match=re.escape(f"did you mean --data {inner}?")):
        read(tmp_path / "zip")


def test_links_to_folders_are_followed_once(flowers, tmp_path):
    draw(tmp_path / "elsewhere/lily", 12, 200)
    (flowers / "lily").symlink_to(tmp_path / "elsewhere/lily", target_is_directory=True)
    (flowers / "rose/all").symlink_to(flowers, target_is_directory=True)
    (flowers / "lily/up").symlink_to(tmp_path, target_is_directory=True)
    found = read(flowers)
    assert found.labels == ("lily", "rose", "tulip")
    assert sum(sizes(found).values()) == 36
    (flowers / "tulip/again").symlink_to(tmp_path / "elsewhere/lily", target_is_directory=True)
    assert len(list_files(flowers)) == 36


@pytest.mark.parametrize("other", ["seg_val", "the test"])
def test_the_name_of_any_other_part_beside_train_tells_parts_from_labels(other):
    paths = [[part, label, "1.png"] for part in ("seg_train", other) for label in ("sea", "hill")]
    assert find_alike(paths) == ["seg_train", other]


def test_near_copies_of_training_pictures_in_the_test_are_named(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        for number in range(12):
            image = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((320, 240), Image.BICUBIC)
            for part in ("train", "test") if number < 3 else ("train", "test")[number % 2 :][:1]:
                folder = tmp_path / part / label
                folder.mkdir(parents=True, exist_ok=True)
                image.resize((320, 240) if part == "train" else (200, 150)).save(folder / f"{number}.jpg", quality=70)
    for start, part in enumerate(("train", "test")):  # plain ones are alike, but no copies
        draw(tmp_path / part / "plain", 12, 100 * start)
    found = read(tmp_path)
    assert found.labels == ("cat", "dog", "plain")
    said = capsys.readouterr().out
    assert re.search(
        "Warning: 6 of [0-9]+ test pictures are nearly the same as others of their label, such as test/cat", said
    )


def test_drawings_on_a_plain_ground_are_no_copies_of_each_other(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for label, shape in (("circle", "ellipse"), ("square", "rectangle")):
        (tmp_path / label).mkdir()
        for number in range(20):
            image, side = Image.new("RGB", (200, 200), "white"), int(rng.integers(30, 90))
            x, y = rng.integers(5, 195 - side, 2).tolist()
            getattr(ImageDraw.Draw(image), shape)((x, y, x + side, y + side), outline="black", width=4)
            image.save(tmp_path / label / f"{number}.png")
    assert sum(sizes(read(tmp_path)).values()) == 40
    assert "Warning" not in capsys.readouterr().out


def test_a_split_without_near_copies_is_not_warned_of(flowers, capsys):
    read(flowers)
    assert "Warning" not in capsys.readouterr().out


def test_a_label_may_be_called_train(tmp_path):
    draw(tmp_path / "data/train", 12)
    draw(tmp_path / "data/plane", 12, 100)
    assert read(tmp_path / "data").labels == ("plane", "train")


@pytest.mark.parametrize(("name", "beside"), [("train", "test_images"), ("test", "rose"), ("Train", "plane")])
def test_a_lone_part_with_labels_beside_other_folders_is_refused(tmp_path, name, beside):
    draw(tmp_path / name / "rose", 12)
    draw(tmp_path / name / "tulip", 12, 100)
    draw(tmp_path / beside, 12, 200)
    message = (
        f"The folder {name} has subfolders .* call its parts train, valid and test, or give --data {tmp_path / name}"
    )
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_a_folder_without_pictures_beside_train_is_no_part(tmp_path, capsys):
    draw(tmp_path / "train/rose", 12)
    draw(tmp_path / "train/tulip", 12, 100)
    (tmp_path / "models").mkdir()
    assert read(tmp_path).labels == ("rose", "tulip")
    assert "Split: 18 to train on" in capsys.readouterr().out


def test_a_label_that_a_given_test_lacks_is_named(tmp_path):
    for label, start in (("rose", 0), ("tulip", 200)):
        draw(tmp_path / "data/train" / label, 12, start)
    draw(tmp_path / "data/test/rose", 4, 500)
    with pytest.raises(DataError, match="The test lacks tulip: add pictures of it there, or leave the folder out"):
        read(tmp_path / "data")


def test_what_systems_leave_in_folders_is_ignored(flowers, capsys):
    for label in ("rose", "tulip"):
        (flowers / "__MACOSX" / label).mkdir(parents=True)
        (flowers / "__MACOSX" / label / "._0.jpg").write_bytes(b"\0\5\x16\7" + bytes(100))
        (flowers / label / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
        (flowers / label / "Thumbs.db").write_bytes(b"\xd0\xcf")
        (flowers / label / "notes.txt").write_text("mine", encoding="utf-8")
    (flowers / ".ipynb_checkpoints").mkdir()
    (flowers / "models").mkdir()
    assert read(flowers).labels == ("rose", "tulip")
    said = capsys.readouterr().out
    assert "Not used, since they are not pictures: 2 .txt." in said
    assert "they have no pictures: the folders models." in said


def test_jfif_and_tif_are_read(flowers):
    draw(flowers / "rose", 3, 300, "{}.jfif", format="JPEG")
    draw(flowers / "tulip", 3, 400, "{}.tif")
    assert sum(sizes(read(flowers)).values()) == 30


def test_heic_is_named_and_not_dropped_in_silence(flowers, capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pillow_heif" else find(name))
    for index in range(3):
        (flowers / f"rose/IMG_{index}.HEIC").write_bytes(HEIC)
    with pytest.raises(DataError, match=r"(?s)3 problems .*rose/IMG_0.HEIC: HEIC can only be read with pillow-heif"):
        read(flowers)
    assert sum(sizes(read(flowers, skip_bad=True)).values()) == 24
    assert "Left out: 3 problems" in capsys.readouterr().out


def test_heic_called_jpg_is_read_as_heic(flowers, monkeypatch):
    (flowers / "rose/phone.jpg").write_bytes(HEIC)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(DataError, match=r"phone\.jpg: HEIC can only be read with pillow-heif"):
        read(flowers)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_an_avif_of_the_brand_mif1_is_no_heic(flowers):
    data = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(data, "AVIF")
    (flowers / "rose/phone.avif").write_bytes(data.getvalue().replace(b"ftypavif", b"ftypmif1", 1))
    assert sum(sizes(read(flowers)).values()) == 25


def test_heic_is_read_with_pillow_heif(flowers):
    from pillow_heif import from_pillow

    for index in range(3):
        from_pillow(Image.new("RGB", (64, 48), (index * 60, 0, 0))).save(flowers / f"rose/IMG_{index}.HEIC")
    (flowers / "rose/IMG_9.heic").write_bytes(HEIC)
    with pytest.raises(DataError, match=r"(?s)1 problem .*IMG_9.heic: The HEIC is damaged"):
        read(flowers)
    assert sum(sizes(read(flowers, skip_bad=True)).values()) == 27


def spoil(folder):
    """Make three pictures unreadable: cut off, a web page, empty."""
    paths = sorted(folder.glob("rose/*.png"))
    paths[0].write_bytes(paths[0].read_bytes()[:-30])
    paths[1].write_text("<html>404</html>", encoding="utf-8")
    paths[2].write_bytes(b"")
    return paths[:3]


def test_all_bad_pictures_are_named_at_once(flowers, capsys):
    bad = spoil(flowers)
    draw(flowers / "rose", 6, 40)
    with pytest.raises(DataError) as caught:
        read(flowers)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"3 problems with the pictures of {flowers}:"
    assert [line.split(":")[0].strip() for line in lines[1:4]] == [f"rose/{path.name}" for path in bad]
    assert lines[4] == "Repair or delete them, or go on without them with --skip-bad."
    found = read(flowers, skip_bad=True)
    assert not set(bad) & {path for pictures in found.parts.values() for path in pictures.paths}
    assert "Left out: 3 problems" in capsys.readouterr().out


def test_bad_pictures_and_too_few_are_told_at_once(flowers, capsys):
    bad, *_ = spoil(flowers)
    draw(flowers / "rose", 6, 40)
    draw(flowers / "lily", 5, 60)
    few = f"At least 10 different pictures are needed of each label, but in {flowers}, lily has 5; add more"
    with pytest.raises(DataError) as caught:
        read(flowers)
    assert f"\n  rose/{bad.name}: " in str(caught.value)
    assert f"\nRepair or delete them. Without them: {few}" in str(caught.value)
    with pytest.raises(DataError, match=f"^{re.escape(few)}"):
        read(flowers, skip_bad=True)
    assert f"\n  rose/{bad.name}: " in capsys.readouterr().out


def test_of_many_problems_the_first_are_shown(flowers):
    for index in range(30):
        (flowers / f"rose/x{index:02}.jpg").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        read(flowers)
    assert str(caught.value).count("\n  rose/") == SHOWN
    assert "… and 10 more" in str(caught.value)


def test_equal_pictures_count_once_and_two_labels_of_one_are_a_problem(flowers, capsys):
    for index in range(5):
        (flowers / f"rose/copy{index}.png").write_bytes((flowers / "rose/0.png").read_bytes())
    assert sum(sizes(read(flowers)).values()) == 24
    assert "Equal pictures count once: 5 left out." in capsys.readouterr().out
    (flowers / "tulip/odd.png").write_bytes((flowers / "rose/1.png").read_bytes())
    draw(flowers / "rose", 2, 40)
    with pytest.raises(DataError, match=r"rose/1.png: It is the same picture as odd.png of tulip, but labelled rose"):
        read(flowers)
    kept = [path.name for pictures in read(flowers, skip_bad=True).parts.values() for path in pictures.paths]
    assert not {"odd.png"} & set(kept)


def test_a_picture_of_the_test_is_not_trained_on(tmp_path, capsys):
    for label, start in (("rose", 0), ("tulip", 200)):
        draw(tmp_path / "train" / label, 14, start)
        draw(tmp_path / "test" / label, 4, start)
    found = read(tmp_path)
    assert len(found.parts[TEST]) == 8
    assert len(found.parts[TRAIN]) + len(found.parts[VALID]) == 20
    assert "8 of them were in several parts" in capsys.readouterr().out


def test_labels_in_a_csv(tmp_path, capsys):
    paths = draw(tmp_path / "images", 24)
    table = tmp_path / "labels.csv"
    rows = [f"{path.stem};{('Rose', 'Tülp')[index % 2]};{index // 4}" for index, path in enumerate(paths)]
    table.write_bytes("\r\n".join(["image;breed;plant", *rows]).encode("cp1252"))  # as Excel writes it
    with pytest.raises(
        DataError, match=r"no column called label or labels; name another with --label-column.*image, bre"
    ):
        read(tmp_path, labels_from="csv")
    found = read(tmp_path, labels_from="csv", label_column="Breed", group="plant")
    assert found.labels == ("Rose", "Tülp")
    groups = [{int(path.stem) // 4 for path in pictures.paths} for pictures in found.parts.values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 6
    assert "Names are in the column image and labels in breed of labels.csv." in capsys.readouterr().out
    assert (
        read(table, label_column="breed").labels
        == read(tmp_path / "images", labels=str(table), label_column="breed").labels
    )


@pytest.mark.parametrize("column", ["image", "image_name", "filepaths"])
def test_the_column_of_names_is_the_one_with_pictures(tmp_path, column):
    paths = draw(tmp_path / "pictures", 24)
    rows = [f"{path.name},{'ab'[row % 2]},rose" for row, path in enumerate(paths)]
    (tmp_path / "labels.csv").write_text("\n".join([f"{column},label,name", *rows]), encoding="utf-8")
    assert read(tmp_path / "labels.csv").labels == ("a", "b")


def test_a_lost_picture_in_the_first_row_does_not_change_the_column_of_names(tmp_path):
    draw(tmp_path / "pictures", 24)
    rows = [f"{number},{'lost' if not number else 23 - number}.png,{'ab'[number % 2]}" for number in range(24)]
    (tmp_path / "labels.csv").write_text("\n".join(["id,name,label", *rows]), encoding="utf-8")
    with pytest.raises(DataError, match=r"1 problem with .*\n.*There is no picture lost\.png"):
        read(tmp_path / "labels.csv")


def test_a_csv_whose_first_line_is_a_picture_has_no_header(tmp_path):
    paths = draw(tmp_path / "pictures", 24)
    rows = [f"{path.name},{'ab'[row % 2]}" for row, path in enumerate(paths)]
    (tmp_path / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    with pytest.raises(DataError, match=r"first line of .* names the picture 0\.png; write the names of the columns"):
        read(tmp_path / "labels.csv")


def test_names_in_train_csv_are_of_the_folder_train(tmp_path):
    for start, part in enumerate(("train", "test")):
        draw(tmp_path / part, 24, name="{}.png", **{}) if not start else draw(tmp_path / part, 24)
    draw(tmp_path / "elsewhere/one", 1)
    draw(tmp_path / "elsewhere/two", 1)
    rows = [f"{number},{'ab'[number % 2]}" for number in range(24)]
    (tmp_path / "train.csv").write_text("\n".join(["id,label", *rows]), encoding="utf-8")
    found = read(tmp_path / "train.csv")
    assert {path.parent.name for part in found.parts.values() for path in part.paths} == {"train"}


def test_a_column_called_split_divides_the_pictures(tmp_path, capsys):
    paths = draw(tmp_path / "pictures", 60)
    parts = ["train"] * 40 + ["val"] * 8 + ["test"] * 12
    rows = [f"{path.name},{'ab'[row % 2]},{part}" for row, (path, part) in enumerate(zip(paths, parts, strict=True))]
    (tmp_path / "labels.csv").write_text("\n".join(["name,label,Split", *rows]), encoding="utf-8")
    assert sizes(read(tmp_path / "labels.csv")) == {TRAIN: 40, VALID: 8, TEST: 12}
    assert "The column Split divides the rows, test is the test" in capsys.readouterr().out
    rows[59] = rows[59].replace("test", "holdout")
    (tmp_path / "labels.csv").write_text("\n".join(["name,label,Split", *rows]), encoding="utf-8")
    with pytest.raises(DataError, match=r"labels\.csv, line 61: Split names no part: 'holdout'; write train, valid or"):
        read(tmp_path / "labels.csv")
    assert sizes(read(tmp_path / "labels.csv", skip_bad=True)) == {TRAIN: 40, VALID: 8, TEST: 11}


def test_a_column_of_labels_is_read_though_there_are_folders(tmp_path):
    paths = [*draw(tmp_path / "cam0", 12), *draw(tmp_path / "cam1", 12, 100)]
    rows = [f"{path.name},{('oak', 'elm')[index % 2]}" for index, path in enumerate(paths)]
    (tmp_path / "labels.csv").write_text("\n".join(["name,tree", *rows]), encoding="utf-8")
    assert read(tmp_path).labels == ("cam0", "cam1")
    assert read(tmp_path, label_column="tree").labels == ("elm", "oak")


def write_names(folder, rows):
    (folder / "labels.csv").write_text("\n".join(["name,label", *rows]), encoding="utf-8")


def read_names(folder, names):
    """Return the paths within the folder of the pictures with these names."""
    paths = sorted(folder.rglob("*.png"))
    by_name = picture_labels.index_names(folder, paths)
    return [
        [path.relative_to(folder).as_posix() for path in picture_labels.match_name(name, by_name)] for name in names
    ]


def test_a_name_matches_the_longest_ending_and_no_other_folder(tmp_path):
    for folder in ("cat", "dog", "old/cat"):
        draw(tmp_path / folder, 2)
    draw(tmp_path, 1, 5)
    draw(tmp_path / "cat", 1, 7)
    assert read_names(tmp_path, ["cat/7.png", "dog/7.png", "7", "Cat/7.PNG", "./cat/7", "other/cat/7.png"]) == [
        ["cat/7.png"], [], ["cat/7.png"], ["cat/7.png"], ["cat/7.png"], ["cat/7.png"],
    ]  # fmt: skip
    assert read_names(tmp_path, ["cat/1.png", "photos/cat/1.png", "old/cat/1.png", "C:/me/old/cat/1.png"]) == [
        ["cat/1.png"], ["cat/1.png"], ["old/cat/1.png"], ["old/cat/1.png"],
    ]  # fmt: skip
    assert read_names(tmp_path, ["1.png", "dog/1", "5.png", "photos/5.png", "", "no.png"]) == [
        ["cat/1.png", "dog/1.png", "old/cat/1.png"], ["dog/1.png"], ["5.png"], ["5.png"], [], [],
    ]  # fmt: skip


def test_a_mac_and_a_csv_may_write_umlauts_in_their_own_way(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "Hülse") for form in ("NFC", "NFD"))
    draw(tmp_path / decomposed, 12, name=f"{decomposed}_{{}}.png")
    draw(tmp_path / "rose", 12, 100)
    names = [f"{composed}/{composed}_{index}" for index in range(12)]
    assert read_names(tmp_path, [*names, f"{composed.upper()}_3.PNG"]) == [
        *([f"{decomposed}/{decomposed}_{index}.png"] for index in range(12)), [f"{decomposed}/{decomposed}_3.png"],
    ]  # fmt: skip
    write_names(tmp_path, [*(f"{name},{composed}" for name in names), *(f"{index},rose" for index in range(100, 112))])
    assert read(tmp_path, labels_from="csv").labels == (composed, "rose")
    draw(tmp_path / composed, 12, 200)
    assert read(tmp_path).labels == (composed, "rose")


def test_fast_ais_table_of_pictures_divides_them_and_combinations_are_named(tmp_path, capsys):
    paths = draw(tmp_path / "train", 60, name="{:06}.png")
    labels = [("car", "person", "car person")[index % 3] for index in range(60)]
    rows = [f"{path.name},{label},{index >= 45}" for index, (path, label) in enumerate(zip(paths, labels, strict=True))]
    (tmp_path / "train.csv").write_text("\n".join(["fname,labels,is_valid", *rows]), encoding="utf-8")
    found = read(tmp_path, labels_from="csv")
    assert sorted(found.parts[TEST].paths) == paths[45:]
    said = capsys.readouterr().out
    assert "a combination such as 'car person' is learned as a label of its own.\n" in said
    assert "The column is_valid divides the rows, true is the test; delete it for a random split.\n" in said
    draw(tmp_path / "test", 1, 100, name="{:06}.png")
    (tmp_path / "train.csv").write_text(
        "\n".join(["fname,labels,is_valid", *rows, "000100,car,False"]), encoding="utf-8"
    )
    with pytest.raises(DataError, match="The test lacks car person, person"):
        read(tmp_path, labels_from="csv")
    said = capsys.readouterr().out
    assert "The column is_valid is not used for the split and is no input: folders divide the data.\n" in said


@pytest.mark.parametrize(
    ("labels", "is_told"),
    [
        ({"car", "person", "car person", "dog"}, True),
        ({"clear primary", "haze primary", "clear primary water", "haze water"}, True),
        ({"dog", "hot dog", "bull terrier", "scottish terrier"}, False),
        ({"light red", "dark red", "light blue", "dark blue"}, False),
        ({"cat", "dog"}, False),
    ],
)
def test_combinations_of_labels_are_told(labels, is_told):
    assert bool(describe_combinations(labels)) is is_told


def test_a_row_of_a_missing_picture_does_not_label_another(tmp_path):
    for label, start in (("cat", 0), ("dog", 20)):
        draw(tmp_path / label, 12, start)
    rows = [
        f"photos/{label}/{index}.png,{label}"
        for label, start in (("cat", 0), ("dog", 20))
        for index in range(start, start + 12)
    ]
    write_names(tmp_path, rows)
    assert sum(sizes(read(tmp_path, labels_from="csv")).values()) == 24
    write_names(tmp_path, [*rows, "dog/7.png,dog"])
    with pytest.raises(DataError, match=r"(?s)1 problem .* line 26: There is no picture dog/7.png in"):
        read(tmp_path, labels_from="csv")
    draw(tmp_path / "dog", 1, 7)
    write_names(tmp_path, [*rows, "7.png,dog"])
    with pytest.raises(DataError, match=r"7.png may be any of 2 pictures \(cat/7.png, dog/7.png\); write the path"):
        read(tmp_path, labels_from="csv")


def test_labels_are_one_line_with_single_spaces(tmp_path):
    paths = draw(tmp_path, 20, name="wild  rose_{}.png") + draw(tmp_path, 20, 50, name="- _{}.png")
    spelled = ["wild  rose"] * 10 + ["wild\nrose "] * 10 + [" tulip"] * 20
    rows = [f'{path.name},"{label}"' for path, label in zip(paths, spelled, strict=True)]
    write_names(tmp_path, rows)
    assert read(tmp_path, labels_from="csv").labels == ("tulip", "wild rose")
    write_names(tmp_path, [*rows[:-1], f'{paths[-1].name},"  "'])
    with pytest.raises(DataError, match=r"(?s)1 problem .*The row has no label"):
        read(tmp_path, labels_from="csv")
    with pytest.raises(
        DataError, match=r"(?s)20 problems .*_50.png: The label that the pattern .* finds in its name is"
    ):
        read(tmp_path, pattern=r"^-?(.*)_\d")
    draw(tmp_path, 12, 100, name="tulip_{}.png")
    assert read(tmp_path, pattern=r"^-?(.*)_\d", skip_bad=True).labels == ("tulip", "wild rose")


def test_rows_without_pictures_or_labels_are_named_at_once(tmp_path, capsys):
    draw(tmp_path, 24, name="{}.JPG", format="JPEG")
    rows = [f"{index}.jpg,{'ab'[index % 2]}" for index in range(22)]
    (tmp_path / "labels.csv").write_text(
        "\n".join(["x,y", *rows, "nowhere.jpg,a", "22.jpg,", "1,2,3"]), encoding="utf-8"
    )
    with pytest.raises(DataError) as caught:
        read(tmp_path, labels_from="csv")
    text = str(caught.value)
    assert "3 problems" in text
    assert "labels.csv, line 24: There is no picture nowhere.jpg" in text
    assert "labels.csv, line 25: The row has no label." in text
    assert "line 26: The row has 3 cells; the header has 2." in text
    assert sum(sizes(read(tmp_path, labels_from="csv", skip_bad=True)).values()) == 22
    assert "labels.csv does not name them: 1 pictures." in capsys.readouterr().out  # 22.jpg has no label


def test_a_csv_that_is_missing_ambiguous_or_of_other_pictures_is_refused(tmp_path):
    draw(tmp_path, 4)
    with pytest.raises(DataError, match="has no CSV; name the one with the labels: --labels FILE"):
        read(tmp_path, labels_from="csv")
    (tmp_path / "a.csv").write_text("name,label\nx.png,1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"None of the names in the column name of .*a.csv is a picture"):
        read(tmp_path, labels_from="csv")
    (tmp_path / "b.csv").write_text("name,label\n0.png,1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"has several CSVs \(a.csv, b.csv\)"):
        read(tmp_path, labels_from="csv")


def test_labels_in_the_names_of_files(tmp_path):
    draw(tmp_path, 12, name="great_pyrenees_{}.png")
    draw(tmp_path, 12, 50, name="pug_{}.png")
    assert read(tmp_path, labels_from="pattern").labels == ("great_pyrenees", "pug")
    assert read(tmp_path, labels_from="pattern", pattern="^([a-z])").labels == ("g", "p")
    draw(tmp_path, 1, 90, name="other{}.png")
    with pytest.raises(DataError, match=r"other90.png: Its name does not match the pattern"):
        read(tmp_path, labels_from="pattern")
    with pytest.raises(DataError, match="needs a group in parentheses"):
        read(tmp_path, labels_from="pattern", pattern="^pug")
    with pytest.raises(DataError, match="is not a regular expression"):
        read(tmp_path, labels_from="pattern", pattern="(")


def test_labels_in_the_names_of_files_of_one_folder_are_suggested(tmp_path):
    draw(tmp_path / "images", 12, name="great_pyrenees_{}.png")
    draw(tmp_path / "images", 12, 50, name="pug_{}.png")
    (tmp_path / "annotations").mkdir()
    message = r"in images, which makes one label; .* such as great_pyrenees in .* add --labels-from pattern\.$"
    with pytest.raises(DataError, match=message):
        read(tmp_path)
    assert read(tmp_path, labels_from="pattern").labels == ("great_pyrenees", "pug")


def test_a_pattern_needs_no_other_option(tmp_path):
    draw(tmp_path, 12, name="great_pyrenees_{}.png")
    draw(tmp_path, 12, 50, name="pug_{}.png")
    assert read(tmp_path, pattern="^([a-z])").labels == ("g", "p")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pattern": "^(.)", "labels_from": "folder"}, "--pattern finds .* leave out --labels-from folder"),
        ({"pattern": "^(.)", "labels_from": "csv"}, "--pattern finds .* leave out --labels-from csv"),
        ({"pattern": "^(.)", "labels": "mine.csv"}, "--pattern finds .* leave out mine.csv, or the pattern"),
        ({"labels": "mine.csv", "labels_from": "folder"}, "mine.csv has the labels, so leave out --labels-from folder"),
        ({"label_column": "tree", "labels_from": "folder"}, "--label-column tree has .* leave out --labels-from"),
        ({"label_column": "tree", "pattern": "^(.)"}, "--pattern finds .* leave out --label-column tree, or the"),
        ({"labels": "mine.csv", "labels_from": "pattern"}, "mine.csv has the labels, .*--labels-from pattern, or the"),
    ],
)
def test_options_that_contradict_each_other_are_refused(flowers, given, message):
    with pytest.raises(DataError, match=message):
        read(flowers, **given)


def test_a_group_of_a_given_part_is_not_trained_on(tmp_path, capsys):
    for label, start in (("rose", 0), ("tulip", 500)):
        for plant in range(6):
            draw(tmp_path / "train" / label, 3, start + 10 * plant, f"{label}{plant}-{{}}.png")
        draw(tmp_path / "test" / label, 2, start + 5, f"{label}0-{{}}.png")
    found = read(tmp_path, group=r"\w+-")
    names = {part: {path.name.split("-")[0] for path in pictures.paths} for part, pictures in found.parts.items()}
    assert names[TEST] == {"rose0", "tulip0"}
    assert not names[TEST] & (names[TRAIN] | names[VALID])
    assert sum(sizes(found).values()) == 34
    said = capsys.readouterr().out
    assert "Not used, since their groups are in the given test: 6 pictures." in said
    assert "Split (test as given): " in said
    for label, start in (("rose", 0), ("tulip", 500)):
        draw(tmp_path / "valid" / label, 2, start + 107, f"{label}1-{{}}.png")
    found = read(tmp_path, group=r"\w+-")
    assert sizes(found) == {TRAIN: 24, VALID: 4, TEST: 4}
    said = capsys.readouterr().out
    assert "in the given test, valid: 12 pictures." in said
    assert "Split (test, valid as given): " in said


def test_groups_found_in_paths_stay_together(tmp_path):
    for label, start in (("rose", 0), ("tulip", 500)):
        for plant in range(6):
            draw(tmp_path / label, 3, start + 10 * plant, f"plant{label}{plant}-{{}}.png")
    found = read(tmp_path, group=r"plant\w+?-")
    groups = [{path.name.split("-")[0] for path in pictures.paths} for pictures in found.parts.values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 12
    assert all(len(set(pictures.y.tolist())) == 2 for pictures in found.parts.values())
    with pytest.raises(DataError, match=r"--group .* leaves too few groups of a label; each needs at least three"):
        read(tmp_path, group="rose|tulip")


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ({}, "There are no pictures in"),
        ({"rose": 12}, "have the label rose; at least two labels are needed"),
        ({"rose": 12, "tulip": 9, "lily": 2}, "each label, but in .*, lily has 2, tulip has 9; add more"),
        ({"": 12}, "must have a subfolder of pictures for each label; if the labels are in a CSV"),
        ({"flowers/rose": 12, "flowers/tulip": 12}, r"has only the subfolder flowers; did you mean --data .*flowers\?"),
    ],
)
def test_folders_that_cannot_work_are_refused(tmp_path, folders, message):
    for number, (name, count) in enumerate(folders.items()):
        draw(tmp_path / "data" / name, count, 100 * number)
    (tmp_path / "data").mkdir(exist_ok=True)
    with pytest.raises(DataError, match=message.replace("each label, but", "of each label, but")):
        read(tmp_path / "data")


def test_memory_is_checked_before_decoding(flowers, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    read(flowers)  # where nothing is known of the memory
    (tmp_path / "meminfo").write_text("MemTotal: 900 kB\nMemAvailable:     250 kB\n", encoding="utf-8")
    monkeypatch.setattr("training.own_data.labelled_pictures.check_pictures", None)  # not called
    with pytest.raises(
        DataError, match=r"19 pictures of 64×64 pixels take 0.0 GB of memory, and 0.0 GB are free; train"
    ):
        read(flowers)
    (tmp_path / "memory.max").write_text("max\n", encoding="utf-8")
    (tmp_path / "memory.current").write_text("100\n", encoding="utf-8")
    assert memory.find_free_memory() == 250 * 1024
    (tmp_path / "memory.max").write_text("1100\n", encoding="utf-8")
    assert memory.find_free_memory() == 1000
    (tmp_path / "memory.stat").write_text("anon 40\ninactive_file 30\nactive_file 20\n", encoding="utf-8")
    assert memory.find_free_memory() == 1050
    monkeypatch.setattr(memory, "find_free_memory", lambda: 8_000_000_000)
    with pytest.raises(
        DataError, match=r"^120,000 pictures of 320×320 pixels take 36.9 GB of memory, and 8.0 GB are free"
    ):
        memory.check_memory(120_000, (320, 320))
    assert "take 36.9 GB of memory in training; 8.0 GB are free." in capsys.readouterr().out


def test_labels_may_have_any_characters(tmp_path):
    names = ("cat-dog 🐱", "“x” & ü", "true")
    for number, name in enumerate(names):
        draw(tmp_path / name, 10, 100 * number)
    assert read(tmp_path).labels == tuple(sorted(names))


def test_the_recipe_reads_the_options_and_says_what_the_test_is(flowers, tmp_path, capsys):
    recipe = ImageClassification()
    words = ["--data", str(flowers), "--skip-bad", "--labels-from", "folder", "--group", r"\d"]
    options = command.make_parser(recipe).parse_args(words)
    assert recipe.read_settings(options).own == DataOptions(skip_bad=True, labels_from="folder", group=r"\d")
    splits = recipe.load_own(str(flowers), replace(recipe.settings.smoke(), own=DataOptions()))
    assert (splits.tests[0].data, splits.tests[0].split) == ("flowers", "held-out fifth")
    assert splits.description.about.summary == "A picture: is it rose or tulip?"
    assert np.array_equal(splits.check.targets, splits.valid.y)
    spoil(flowers)
    given = ["--smoke", "--data", str(flowers), "--out", str(tmp_path / "out")]
    assert command.main(recipe, given) == 2
    assert "error: 3 problems with the pictures" in capsys.readouterr().err


def test_files_are_in_one_order_on_every_system(flowers):
    for path in [*flowers.iterdir()]:
        path.rename(path.with_name(path.name.upper() if path.name == "tulip" else path.name))
    names = [PureWindowsPath(path.relative_to(flowers)) for path in reversed(list_files(flowers))]
    found = [path.as_posix() for path in sort_paths(names)]
    assert found == [path.relative_to(flowers).as_posix() for path in list_files(flowers)]
    assert found[0].startswith("TULIP/")
