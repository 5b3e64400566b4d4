"""A user's own masks: indices or colours, listed or found, and what is wrong with them."""

import re
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")

from training.data import DataError
from training.made_up import draw_streets
from training.networks.image_segmentation import IGNORED
from training.own_data.mask_classes import parse_colour, read_classes, split_line
from training.own_data.masks import read_mask, read_own_masks
from training.own_data.options import DataOptions
from training.pictures.frames import fit_into
from training.recipes.image_segmentation import ImageSegmentation
from training.splitting import TEST, TRAIN, VALID, find_leaks

pytestmark = pytest.mark.training
SHARES = {TEST: 0.2, VALID: 0.1}
COLOURS = np.array([(128, 128, 128), (128, 64, 128), (128, 0, 0), (64, 0, 128)], np.uint8)
NAMES = ("sky", "road", "house", "car")


@pytest.fixture
def streets(tmp_path):
    """Twelve drawn streets with masks of indices, without a list of classes."""
    folder = draw_streets(tmp_path / "streets", 0, count=12)
    (folder / "codes.txt").unlink()
    return folder


def read(folder, **own):
    return read_own_masks(Path(folder), DataOptions(**own), SHARES, 160 * 128, 42)


def sizes(found):
    return [len(found.parts[part]) for part in (TRAIN, VALID, TEST)]


def change(folder, convert, suffix=".png"):
    """Replace every mask by what `convert` makes of its indices."""
    for path in sorted((folder / "labels").iterdir()):
        image = convert(np.array(Image.open(path)))
        path.unlink()
        image.save(path.with_suffix(suffix))


def paint(codes):
    return Image.fromarray(COLOURS[codes])


def add_palette(codes):
    """Return a mask of indices whose palette has the colours, as those of Pascal VOC."""
    image = Image.fromarray(codes).convert("P")
    image.putpalette(COLOURS.tobytes())
    image.frombytes(codes.tobytes())
    return image


def decode(found):
    """Return the masks of all pictures by name."""
    return {pair.name: found.read(pair, pair.size) for pairs in found.parts.values() for pair in pairs}


def test_names_may_differ_in_how_they_compose_letters(streets):
    """A Mac writes ü as two characters; a program that draws masks may not."""
    (picture, *_), (mask, *_) = (sorted((streets / name).iterdir()) for name in ("images", "labels"))
    picture.rename(picture.with_stem("Cafe\u0301"))
    mask.rename(mask.with_stem("Café"))
    (streets / "valid.txt").write_text("CAFÉ\n", encoding="utf-8")
    found = read(streets)
    assert sum(sizes(found)) == 12
    assert len(found.parts[VALID]) == 1


def test_indices_without_a_list_are_found(streets, capsys):
    found = read(streets)
    assert found.classes.names == ("class 0", "class 1", "class 2", "class 3")
    assert sizes(found) == [9, 1, 2]
    said = capsys.readouterr().out
    assert "12 pictures with 4 classes (found in the masks; list their names in classes.txt, one per line)" in said
    assert "Split: 9 to train on, 1 to validate on, 2 to test on." in said


@pytest.mark.parametrize("mode", ["P", "L", "I;16", "RGB"])
def test_masks_of_any_mode_give_the_same_classes(streets, mode):
    (streets / "classes.txt").write_text("\n".join(NAMES), encoding="utf-8")
    expected = decode(read(streets))

    def convert(codes):
        if mode == "P":
            return add_palette(codes)
        if mode == "RGB":
            return Image.fromarray(np.stack([codes] * 3, -1))
        return Image.fromarray(codes.astype({"L": np.uint8, "I;16": np.uint16}[mode]))

    change(streets, convert)
    check_classes_and_masks(streets, expected)


def check_classes_and_masks(streets, expected):
    """Check that the classes have the NAMES, and that the masks are the expected ones."""
    found = read(streets)
    assert found.classes.names == NAMES
    assert all(np.array_equal(mask, expected[name]) for name, mask in decode(found).items())


def test_colours_are_found_or_listed(streets):
    expected = decode(read(streets))
    change(streets, paint)
    found = read(streets)
    assert found.classes.names == ("colour #400080", "colour #800000", "colour #804080", "colour #808080")
    lines = [f"{name} {red} {green} {blue}" for name, (red, green, blue) in zip(NAMES, COLOURS, strict=True)]
    (streets / "codes.txt").write_text("\n".join(lines), encoding="utf-8")
    check_classes_and_masks(streets, expected)


def test_an_export_of_cvat_in_the_layout_of_pascal_voc_is_read(streets):
    expected = decode(read(streets))
    change(streets, paint)
    colours = [",".join(map(str, colour)) for colour in COLOURS]
    lines = [f"{name}:{colour}:wheel,door:" for name, colour in zip(NAMES, colours, strict=True)]
    (streets / "labelmap.txt").write_text("\n".join(["# label:color_rgb:parts:actions", *lines]), encoding="utf-8")
    (streets / "images").rename(streets / "JPEGImages")
    (streets / "labels").rename(streets / "SegmentationClass")
    check_classes_and_masks(streets, expected)


def test_masks_whose_palettes_differ_are_read_in_colour(streets, capsys):
    """One tool numbers the colours of each mask anew, so an index means nothing."""
    expected = decode(read(streets))

    def number_anew(codes):
        used = np.unique(codes)[::-1]
        indices = np.zeros_like(codes)
        for index, code in enumerate(used):
            indices[codes == code] = index
        image = Image.fromarray(indices).convert("P")
        image.putpalette(COLOURS[used].tobytes())
        image.frombytes(indices.tobytes())
        return image

    one = sorted((streets / "labels").iterdir())[0]
    codes = np.array(Image.open(one))
    codes[codes == 3] = 0
    Image.fromarray(codes).save(one)
    expected[one.stem] = codes
    change(streets, number_anew)
    (streets / "codes.txt").write_text("\n".join(NAMES), encoding="utf-8")
    assert read(streets).classes.in_colour is False
    assert "Warning: the palettes of the masks number the same colours differently" in capsys.readouterr().out
    lines = [f"{name} {red} {green} {blue}" for name, (red, green, blue) in zip(NAMES, COLOURS, strict=True)]
    (streets / "codes.txt").write_text("\n".join(lines), encoding="utf-8")
    check_classes_and_masks(streets, expected)
    (streets / "codes.txt").unlink()
    assert read(streets).classes.names == ("colour #400080", "colour #800000", "colour #804080", "colour #808080")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("classes.csv", "index,name\n0,sky\n1,road\n2,house\n3,car"),
        ("classes.csv", "name\nsky\nroad\nhouse\ncar"),
        ("_classes.csv", "Pixel Value, Class\n0, sky\n1, road\n2, house\n3, car"),
        ("classes.txt", "3 car\n2 house\n1 road\n0 sky"),
        ("classes.txt", "0: sky\n1: road\n2: house\n3: car"),
        ("classes.txt", "sky,0\nroad,1\nhouse,2\ncar,3"),
    ],
)
def test_a_list_may_have_a_header_and_indices(streets, name, content):
    expected = decode(read(streets))
    (streets / name).write_text(content, encoding="utf-8")
    check_classes_and_masks(streets, expected)


def test_names_with_numbers_are_no_indices(tmp_path):
    (tmp_path / "classes.txt").write_text("2 wheels\n4 wheels\n", encoding="utf-8")
    assert read_classes(tmp_path / "classes.txt").names == ("2 wheels", "4 wheels")
    (tmp_path / "classes.txt").write_text("lane 0\nlane 1\nlane 2\n", encoding="utf-8")
    assert read_classes(tmp_path / "classes.txt").names == ("lane 0", "lane 1", "lane 2")
    (tmp_path / "classes.txt").write_text("0 sky\n7 road\n", encoding="utf-8")
    assert read_classes(tmp_path / "classes.txt").codes == {0: 0, 7: 1}
    (tmp_path / "classes.txt").write_text("id,name,r,g,b\n0,sky,128,128,128\n1,road,128,64,128\n", encoding="utf-8")
    assert read_classes(tmp_path / "classes.txt").names == ("sky", "road")
    (tmp_path / "classes.txt").write_text("0 sky\n1 road\n255 void\n", encoding="utf-8")
    assert read_classes(tmp_path / "classes.txt").names == ("sky", "road")


@pytest.mark.parametrize("content", ["", "\n\n", "id,name\n", "__ignore__\n"])
def test_an_empty_list_is_refused(tmp_path, content):
    (tmp_path / "classes.csv").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match="must list 2 to 255 different classes, one per line"):
        read_classes(tmp_path / "classes.csv")


@pytest.mark.parametrize(
    "names",
    [
        ("1 euro", "2 euros", "5 euros"), ("0.5 m", "1.5 m", "2.5 m"), ("zone:0", "zone:1"), ("level=1", "level=2"),
        ("1:00", "2:00"), ("1 storey", "2 storeys", "3 storeys or more"),
        ("1 wheel", "2 wheels", "4 wheels"), ("0 sky", "0 road"),
    ],
)  # fmt: skip
def test_names_that_only_look_numbered_stay_names(tmp_path, names):
    (tmp_path / "classes.txt").write_text("\n".join(names), encoding="utf-8")
    assert read_classes(tmp_path / "classes.txt").names == names
    lines = [f"{name} {index} 0 0" for index, name in enumerate(names)]
    (tmp_path / "classes.txt").write_text("\n".join(lines), encoding="utf-8")
    assert read_classes(tmp_path / "classes.txt").names == names


def test_lines_that_are_counted_from_1_may_name_masks_from_0(streets):
    expected = decode(read(streets))
    (streets / "classes.txt").write_text("1: sky\n2: road\n3: house\n4: car", encoding="utf-8")
    check_classes_and_masks(streets, expected)


def test_palettes_of_viewers_do_not_change_what_indices_mean(streets):
    """Half of the masks have a grey palette, or one colour is a shade off, or 255 is void."""
    expected = decode(read(streets))

    def add_viewers(codes):
        image = add_palette(codes)
        if codes.sum() % 2:
            image.putpalette(np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes())
        return image

    change(streets, add_viewers)
    found = read(streets)
    assert found.classes.names == ("class 0", "class 1", "class 2", "class 3")
    assert all(np.array_equal(mask, expected[name]) for name, mask in decode(found).items())


@pytest.mark.parametrize("form", ["{}.png.mask.png", "{}.png.png", "mask_{}.png", "{}_mask.png"])
def test_masks_may_have_names_as_tools_give_them(streets, form):
    expected = decode(read(streets))
    for path in sorted((streets / "labels").iterdir()):
        path.rename(path.with_name(form.format(path.stem)))
    found = decode(read(streets))
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], mask) for name, mask in expected.items())


def test_the_mask_of_another_picture_is_not_taken(streets):
    (streets / "images/street-1.png").rename(streets / "images/street-0_l.png")
    (streets / "labels/street-1.png").rename(streets / "labels/street-0_l.png")
    (streets / "labels/street-0.png").unlink()
    with pytest.raises(DataError, match=r"1 problem .*\n.*street-0.png: It has no mask labels/street-0.png"):
        read(streets)


def test_if_no_picture_has_a_mask_one_sentence_says_what_is_there(streets):
    for path in sorted((streets / "labels").iterdir()):
        path.rename(path.with_name(f"gt{path.name}"))
    with pytest.raises(DataError, match=r"has gtstreet-0\.png, but the mask of street-0\.png must be called"):
        read(streets)
    for path in (streets / "labels").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="labels is empty, but the mask of street-0"):
        read(streets)
    (streets / "labels/instances.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match=r"outlines in instances.json cannot be read, so export the masks as PNG"):
        read(streets)


def test_a_list_names_pictures_by_their_paths_and_nothing_else_is_a_list(streets, capsys):
    for folder in ("images", "labels"):
        for number, path in enumerate(sorted((streets / folder).iterdir())):
            target = streets / folder / ("aachen", "berlin")[number % 2] / f"my photo {number // 2}.v1.png"
            target.parent.mkdir(exist_ok=True)
            path.rename(target)
    (streets / "val.txt").write_text("aachen/my photo 0.v1.png\naachen/my photo 1.v1\n", encoding="utf-8")
    (streets / "test.txt").write_text("1. my photo 1\nmy photo 2 failed\nmy photo 3\n", encoding="utf-8")  # a note
    found = read(streets)
    assert sorted(pair.name for pair in found.parts[VALID]) == ["aachen/my photo 0.v1", "aachen/my photo 1.v1"]
    assert "test.txt is not used, since none of its lines names a picture.\n" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["valid.txt", "ImageSets/Segmentation/val.txt"])
def test_a_list_of_pictures_to_validate_on_is_kept(streets, capsys, place):
    (streets / place).parent.mkdir(parents=True, exist_ok=True)
    (streets / place).write_text("street-3 -1\nimages/street-5.png labels/street-5.png\n", encoding="utf-8")
    found = read(streets)
    assert sorted(pair.name for pair in found.parts[VALID]) == ["street-3", "street-5"]
    said = capsys.readouterr().out
    assert f"{place} lists 2 pictures of the valid part." in said
    assert "Split (valid as given): 8 to train on, 2 to validate on, 2 to test on." in said


def test_a_list_of_which_few_lines_match_is_kept_and_one_without_is_said(streets, capsys):
    lines = ["street-3", *(f"lost-{number}" for number in range(4))]
    (streets / "test.txt").write_text("\n".join(lines), encoding="utf-8")
    (streets / "valid.txt").write_text("all pictures of 2025", encoding="utf-8")
    found = read(streets)
    assert [pair.name for pair in found.parts[TEST]] == ["street-3"]
    said = capsys.readouterr().out
    assert "test.txt lists 1 pictures of the test part; 4 of its lines name no picture, or several.\n" in said
    assert "valid.txt is not used, since none of its lines names a picture.\n" in said


def test_colours_of_one_name_are_one_class_and_one_may_be_void(streets):
    change(streets, paint)
    lines = ["name,r,g,b", "ground,128,64,128", "things,128,0,0", "things,64,0,128"]
    (streets / "class_dict.csv").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=r"12 problems .*\n.*Its colour #808080 is no class; list it in classes.txt or"):
        read(streets)
    found = read(streets, void="#808080")
    assert found.classes.names == ("ground", "things")
    assert {int(code) for mask in decode(found).values() for code in np.unique(mask)} == {0, 1, IGNORED}


@pytest.mark.parametrize("has_list", [True, False])
@pytest.mark.parametrize("mode", ["L", "1", "RGB"])
def test_black_and_white_masks_have_two_classes(streets, mode, has_list):
    change(streets, lambda codes: Image.fromarray((codes > 0).astype(np.uint8) * 255).convert(mode))
    if has_list:
        (streets / "classes.txt").write_text("back\nfront\n", encoding="utf-8")
    found = read(streets)
    assert found.classes.names == (("back", "front") if has_list else ("class 0", "class 1"))
    assert {int(code) for mask in decode(found).values() for code in np.unique(mask)} == {0, 1}


def smooth(codes):
    """Return a black and white mask as a program with smooth edges saves it."""
    mask = Image.fromarray((codes > 0).astype(np.uint8) * 255)
    return mask.resize((50, 50)).resize(mask.size, Image.Resampling.BILINEAR)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_shades_of_smooth_edges_are_no_classes(streets, mode):
    change(streets, lambda codes: smooth(codes).convert(mode))
    with pytest.raises(DataError, match=r"254 shades of grey, too many .* save them as PNG without smooth edges"):
        read(streets)


def test_many_classes_or_greys_are_read_with_a_list(streets):
    expected = decode(read(streets))
    change(streets, lambda codes: Image.fromarray(codes * 60))
    with pytest.raises(DataError, match="the shade 180, but classes are numbered from 0 on"):
        read(streets)
    (streets / "classes.txt").write_text("\n".join(f"kind {index}" for index in range(181)), encoding="utf-8")
    assert len(read(streets).classes.names) == 181
    lines = [f"{name} {60 * index} {60 * index} {60 * index}" for index, name in enumerate(NAMES)]
    (streets / "classes.txt").write_text("\n".join(lines), encoding="utf-8")
    check_classes_and_masks(streets, expected)


def test_the_list_of_labelme_starts_at_minus_1(streets):
    """LabelMe stores __ignore__ (-1) as 255, which is void, and _background_ as 0."""
    expected = decode(read(streets))
    (streets / "labels.txt").write_text("__ignore__\n_background_\nroad\nhouse\ncar\n", encoding="utf-8")
    change(streets, lambda codes: Image.fromarray(np.where(codes == 3, 255, codes).astype(np.uint8)))
    found = read(streets)
    assert found.classes.names == ("background", "road", "house", "car")
    for name, mask in decode(found).items():
        assert np.array_equal(mask, np.where(expected[name] == 3, IGNORED, expected[name]))


def test_255_and_the_void_index_are_ignored(streets):
    change(streets, lambda codes: Image.fromarray(np.where(codes == 3, 255, codes).astype(np.uint8)))
    assert read(streets).classes.names == ("class 0", "class 1", "class 2")
    found = read(streets, void="0")
    assert {int(code) for mask in decode(found).values() for code in np.unique(mask)} == {1, 2, IGNORED}
    with pytest.raises(DataError, match="--void grass is neither an index from 0 to 255 nor a colour"):
        read(streets, void="grass")


@pytest.mark.parametrize("has_list", [True, False])
def test_255_beside_masks_of_0_and_1_is_asked_about(streets, has_list):
    change(streets, lambda codes: Image.fromarray((codes > 0).astype(np.uint8) * 255))
    for number in (0, 1):
        path = streets / f"labels/street-{number}.png"
        Image.open(path).convert("1").save(path)
    if has_list:
        (streets / "classes.txt").write_text("back\nfront\n", encoding="utf-8")
    with pytest.raises(DataError, match="others 0 and 1, so 255 may be a class or none; add --void 255 if it is none"):
        read(streets)
    found = read(streets, void="255")
    assert {int(code) for mask in decode(found).values() for code in np.unique(mask)} == {0, 1, IGNORED}


def test_an_index_that_is_void_means_the_grey_of_masks_in_colour(streets):
    expected = decode(read(streets))
    colours = np.array([(255, 255, 255), (0, 0, 255), (128, 0, 0), (0, 0, 0)], np.uint8)
    change(streets, lambda codes: Image.fromarray(colours[codes]))
    order = np.array([IGNORED, 1, 2, 0])  # of the void, blue, red and black among the sorted colours
    found = read(streets, void="255")
    assert found.classes.names == ("colour #000000", "colour #0000ff", "colour #800000")
    assert all(np.array_equal(mask, order[expected[name]]) for name, mask in decode(found).items())


@pytest.mark.parametrize(
    ("change_one", "message"),
    [
        (lambda mask: mask.write_bytes(b"a text"), "The mask cannot be read as a picture"),
        (lambda mask: mask.unlink(), r"images/street-0.png: It has no mask labels/street-0.png"),
        (
            lambda mask: Image.new("L", (128, 160)).save(mask),
            "but its picture 160×128; one of them is turned; save it at the size of the picture",
        ),
        (lambda mask: Image.new("L", (80, 64)).save(mask), "The mask has 80×64 pixels, but its picture 160×128"),
        (lambda mask: Image.new("L", (160, 128), 255).save(mask), "None of its pixels has a class"),
        (
            lambda mask: Image.fromarray(np.full((128, 160), 4000, np.uint16)).save(mask),
            "values from 4000 to 4000; a class needs an index from 0 to 254. If they number objects",
        ),
        (
            lambda mask: (Image.open(mask).save(mask.with_suffix(".jpg")), mask.unlink()),
            "A mask cannot be a JPEG, which changes its values; save it as PNG",
        ),
        (
            lambda mask: Image.open(mask).save(mask.with_suffix(".bmp")),
            r"It has several masks: street-0.bmp, street-0.png",
        ),
    ],
)
def test_a_bad_mask_is_named_and_can_be_skipped(streets, change_one, message):
    change_one(streets / "labels/street-0.png")
    with pytest.raises(DataError, match=message) as caught:
        read(streets)
    assert str(caught.value).startswith("1 problem with the masks")
    assert sum(sizes(read(streets, skip_bad=True))) == 11


def test_orientation_is_applied_to_pictures_and_masks(streets):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    upright = decode(read(streets))
    mask, picture = streets / "labels/street-0.png", streets / "images/street-0.png"
    for path in (mask, picture):
        Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    turned = decode(read(streets))
    assert np.array_equal(turned["street-0"], upright["street-0"])
    assert turned["street-0"].shape == (128, 160)


def test_masks_with_the_books_ending_and_parts_as_folders(streets, tmp_path):
    whole = tmp_path / "parts"
    for number, path in enumerate(sorted((streets / "images").iterdir())):
        part = ("train", "valid", "test")[0 if number < 8 else 1 if number < 10 else 2]
        for name in ("images", "masks"):
            (whole / part / name).mkdir(parents=True, exist_ok=True)
        path.rename(whole / part / "images" / path.name)
        (streets / "labels" / path.name).rename(whole / part / "masks" / f"{path.stem}_P.png")
    found = read(whole)
    assert sizes(found) == [8, 2, 2]
    assert found.given == {TRAIN, VALID, TEST}


def test_pictures_of_a_group_stay_together_and_equal_ones_count_once(streets, capsys):
    for name in ("images", "labels"):
        (streets / name / "street-1-copy.png").write_bytes((streets / name / "street-1.png").read_bytes())
    found = read(streets, group=r"\d")
    groups = [{pair.name.removeprefix("street-")[0] for pair in pairs} for pairs in found.parts.values()]
    assert sum(map(len, groups)) == len(set.union(*groups))
    assert sum(sizes(found)) == 12
    assert "Equal pictures count once: 1 left out." in capsys.readouterr().out


@pytest.mark.parametrize("pattern", [r"street-\d(\d)", r"street-\d(\d)?", r"street-\d(\d*)"])
def test_a_name_without_a_group_is_a_problem(streets, pattern):
    with pytest.raises(
        DataError, match=r"10 problems .*\n  images/street-0.png: Its name does not match --group"
    ) as why:
        read(streets, group=pattern)
    assert "street-10.png" not in str(why.value)
    few = draw_streets(streets.parent / "more", 0, count=20)
    assert sum(sizes(read(few, group=pattern, skip_bad=True))) == 10


def move_to_parts(streets, whole, place, parts=("train", "valid", "test")):
    """Move eight pictures with their masks to the first part, and two to each of the others; return the folder."""
    for number, path in enumerate(sorted((streets / "images").iterdir())):
        part = parts[0 if number < 8 else 1 if number < 10 else 2]
        for name, file in (("images", path), ("masks", streets / "labels" / path.name)):
            target = whole / place.format(part=part, name=name)
            target.mkdir(parents=True, exist_ok=True)
            file.rename(target / path.name)
    return whole


@pytest.mark.parametrize("place", ["{part}/{name}", "{name}/{part}"])
def test_training_pictures_of_a_given_parts_group_are_left_out(streets, tmp_path, place, capsys):
    whole = move_to_parts(streets, tmp_path / "parts", place)
    # 0, 1, 10, 11, 2, 3, 4 and 5 to train on, 6 and 7 to validate on, 8 and 9 to test on
    assert sizes(read(whole, group=r"\d+")) == [8, 2, 2]
    for folder, number in (("train", 4), ("train", 5), ("test", 8)):
        for name in ("images", "masks"):
            inside = whole / place.format(part=folder, name=name)
            (inside / f"street-{number}.png").rename(inside / f"street-{number}-house.png")
    found = read(whole, group=r"house|street-\d+$")
    said = capsys.readouterr().out
    assert "a given validation or test part: 2." in said
    assert "train as given" not in said  # two of its pictures were left out
    assert re.search(r"Split \(.+ as given\): ", said)
    assert sizes(found) == [6, 2, 2]
    assert {pair.name for pair in found.parts[TRAIN]} == {f"street-{number}" for number in (0, 1, 10, 11, 2, 3)}


def test_leaks_are_rows_to_train_on_with_a_key_of_a_given_part():
    keys = [["a"], ["b", "x"], ["c", "y"], ["x"], ["d"], ["y"], ["a"]]
    assert find_leaks(keys, [None, TRAIN, None, VALID, TEST, TEST, TRAIN]) == [1, 2]
    assert find_leaks(keys, [None] * 7) == []


def test_pictures_and_masks_with_subfolders_of_parts_are_given(streets, tmp_path):
    whole = move_to_parts(streets, tmp_path / "parts", "{name}/{part}", ("Train", "val", "test"))
    found = read(whole)
    assert (sizes(found), found.given) == ([8, 2, 2], {TRAIN, VALID, TEST})
    assert {pair.name for pair in found.parts[VALID]} == {"street-6", "street-7"}
    (whole / "images/Train").rename(whole / "images/day")
    (whole / "masks/Train").rename(whole / "masks/day")
    assert read(whole).given == set()


@pytest.mark.parametrize("place", ["{part}/{name}", "{name}/{part}"])
def test_two_folders_of_one_part_are_refused(streets, tmp_path, place):
    whole = move_to_parts(streets, tmp_path / "parts", place, ("train", "val", "valid"))
    with pytest.raises(DataError, match="has several folders of one part, val, valid; join or rename them"):
        read(whole)


def test_one_picture_to_train_on_is_refused(streets, tmp_path):
    whole = move_to_parts(streets, tmp_path / "parts", "{part}/{name}")
    for path in sorted((whole / "train/images").iterdir())[1:]:
        path.rename(whole / "valid/images" / path.name)
        (whole / "train/masks" / path.name).rename(whole / "valid/masks" / path.name)
    with pytest.raises(DataError, match="At least 2 pictures are needed to train on, and 1 is left; add pictures"):
        read(whole)


def test_a_large_heic_has_the_size_of_its_mask(streets, monkeypatch):
    """Without pillow-heif, which is not needed for tests: the file is a PNG."""
    module = ModuleType("pillow_heif")
    module.__spec__ = ModuleSpec("pillow_heif", None)
    module.open_heif = lambda path: SimpleNamespace(to_pillow=lambda: Image.open(path))
    monkeypatch.setitem(sys.modules, "pillow_heif", module)
    large = (1600, 1280)
    picture, mask = streets / "images/street-0.png", streets / "labels/street-0.png"
    Image.open(picture).resize(large).save(picture)
    picture.rename(picture.with_suffix(".heic"))
    Image.open(mask).resize(large, Image.Resampling.NEAREST).save(mask)
    found = {pair.name: pair for pairs in read(streets).parts.values() for pair in pairs}
    assert found["street-0"].size == large
    with Image.open(found["street-0"].picture) as copied:
        assert copied.size == (1024, 819)


def test_too_few_pictures_and_one_class_are_refused(streets, tmp_path):
    few = draw_streets(tmp_path / "few", 1, count=5)
    with pytest.raises(DataError, match="has 5 pictures with masks; at least 6 are needed"):
        read(few)
    change(streets, lambda codes: Image.fromarray(codes * 0))
    with pytest.raises(DataError, match="have fewer than two classes"):
        read(streets)
    with pytest.raises(DataError, match=r"must have the folders images/ and masks/ .*; it has few, streets"):
        read(tmp_path)
    with pytest.raises(DataError, match="There is no folder"):
        read(tmp_path / "nowhere")


@pytest.mark.parametrize("has_list", [True, False])
def test_colours_in_palettes_reach_the_data(streets, has_list):
    expected = decode(read(streets))
    change(streets, add_palette)
    if has_list:
        lines = [f"{name} {red} {green} {blue}" for name, (red, green, blue) in zip(NAMES, COLOURS, strict=True)]
        (streets / "codes.txt").write_text("\n".join(lines), encoding="utf-8")
    else:  # another mask has colours, so all have
        mask = streets / "labels/street-0.png"
        Image.open(mask).convert("RGB").save(mask)
        order = np.array([3, 2, 1, 0])  # of sky, road, house and car among the sorted colours
        expected = {name: order[mask] for name, mask in expected.items()}
    assert all(np.array_equal(mask, expected[name]) for name, mask in decode(read(streets)).items())


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "I;16"])
def test_black_and_white_reach_the_data_if_they_are_listed_as_colours(streets, mode):
    def convert(codes):
        white = np.where(codes > 0, 255, 0)
        if mode == "I;16":
            return Image.fromarray(white.astype(np.uint16))
        return Image.fromarray(white.astype(np.uint8)).convert(mode)

    expected = {name: mask > 0 for name, mask in decode(read(streets)).items()}
    change(streets, convert)
    (streets / "codes.txt").write_text("back 0 0 0\nfront 255 255 255\n", encoding="utf-8")
    assert all(np.array_equal(mask, expected[name]) for name, mask in decode(read(streets)).items())


def test_an_all_grey_mask_among_coloured_ones_keeps_its_class(streets):
    change(streets, paint)
    mask = streets / "labels/street-0.png"
    Image.new("RGB", (160, 128), (128, 128, 128)).save(mask)
    found = read(streets)
    assert found.classes.names[3] == "colour #808080"
    assert np.unique(decode(found)["street-0"]).tolist() == [3]


def test_indices_beyond_the_list_are_problems_but_255_and_void_are_not(streets):
    def save(codes, value):
        Image.fromarray(np.where(codes == 3, value, codes).astype(np.uint8)).save(streets / "labels/street-0.png")

    (streets / "classes.txt").write_text("sky\nroad\nhouse\ncar\n", encoding="utf-8")
    codes = np.array(Image.open(streets / "labels/street-0.png"))
    save(codes, 4)
    with pytest.raises(DataError, match=r"1 problem .*\n.*street-0.png: Its index 4 is no class; list it in"):
        read(streets)
    assert sum(sizes(read(streets, skip_bad=True))) == 11
    assert np.unique(decode(read(streets, void="4"))["street-0"]).tolist() == [0, 1, 2, IGNORED]
    save(codes, 255)
    assert np.unique(decode(read(streets))["street-0"]).tolist() == [0, 1, 2, IGNORED]
    (streets / "classes.txt").write_text("leaf\ndisease\n", encoding="utf-8")
    with pytest.raises(DataError, match="Its indices 2, 3 are no classes; list them in classes"):
        read(streets)


def test_a_photograph_is_no_mask(streets):
    rng = np.random.default_rng(0)
    change(streets, lambda codes: Image.fromarray(rng.integers(0, 256, (*codes.shape, 3), dtype=np.uint8)))
    with pytest.raises(DataError, match="colours, too many to be classes; save them as PNG without smooth edges"):
        read(streets)


def test_a_list_without_colours_does_not_fit_masks_of_colours(streets):
    (streets / "codes.txt").write_text("\n".join(NAMES), encoding="utf-8")
    change(streets, paint)
    with pytest.raises(DataError, match="have colours, but its list of classes has none; write a name"):
        read(streets)


@pytest.mark.parametrize(
    ("line", "pair"),
    [
        ("road 128 64 128", ("road", 0x804080)), ("road,128,64,128", ("road", 0x804080)),
        ("128 64 128\troad", ("road", 0x804080)), ("traffic light #ff0000", ("traffic light", 0xFF0000)),
        ("#00ff00 grass", ("grass", 0x00FF00)), ("road", None), ("road 300 0 0", None), ("class 2", None),
    ],
)  # fmt: skip
def test_a_line_has_a_name_and_perhaps_a_colour(line, pair):
    assert split_line(line) == pair


def test_colours_are_written_in_several_ways():
    assert parse_colour("#FF8000") == parse_colour("ff8000") == parse_colour("255, 128, 0") == 0xFF8000
    assert parse_colour("256,0,0") is None
    assert parse_colour("red") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a 1 2 3\nb\n", "none from 0 to 255 in the line 'b'"),
        ("a 1 2 3\nb 1 2 3\n", "2 to 255 classes, each with a colour of its own"),
        ("a 1 2 3\na 4 5 6\n", "2 to 255 classes, each with a colour of its own"),
    ],
)
def test_a_list_with_wrong_colours_is_refused(tmp_path, content, message):
    (tmp_path / "classes.txt").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_classes(tmp_path / "classes.txt")


def test_a_mask_with_a_few_colours_of_grey_has_indices(tmp_path):
    Image.fromarray(np.full((4, 4, 3), 2, np.uint8)).save(tmp_path / "grey.png")
    values, is_coloured, _ = read_mask(tmp_path / "grey.png")
    assert (values.tolist(), is_coloured) == ([[2] * 4] * 4, False)


def test_the_recipe_reads_frames(streets):
    recipe = ImageSegmentation()
    splits = recipe.load_own(str(streets), recipe.settings.smoke())
    assert [len(part) for part in (splits.train, splits.valid, splits.tests[0])] == [9, 1, 2]
    assert splits.train.pictures.shape == (9, 3, 128, 160)
    assert splits.train.labels.shape == (9, 128, 160)
    assert splits.description.about.summary.startswith("A picture: is each pixel class 0, class 1")


def test_pictures_keep_their_aspect_ratio(streets):
    for number, path in enumerate(sorted((streets / "images").iterdir())):
        mask = streets / "labels" / f"{path.stem}.png"
        for file in (path, mask):
            with Image.open(file) as image:
                turned = image.transpose(Image.Transpose.ROTATE_90) if number < 4 else image.copy()
            turned.save(file)
    recipe = ImageSegmentation()
    splits = recipe.load_own(str(streets), recipe.settings.smoke())
    assert splits.train.pictures.shape == (9, 3, 128, 160)  # the shape of most of them
    frames = splits.train
    narrow = np.flatnonzero(frames.sizes[:, 0] < 160)
    assert 0 < len(narrow) <= 4
    for row in narrow:
        width, height = frames.sizes[row]
        assert (width, height) == (102, 128)  # 128:160, as it was
        assert (frames.pictures[row, :, :, width:] == 127).all()
        assert (frames.labels[row, :, width:] == IGNORED).all()
        assert (frames.labels[row, :, :width] != IGNORED).any()
    test = frames.as_test("", "")
    assert [picture.size for picture in test.inputs] == [tuple(size) for size in frames.sizes.tolist()]
    assert [label.shape[::-1] for label in test.targets] == [tuple(size) for size in frames.sizes.tolist()]


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        ((4000, 3000), (600, 450)), ((3000, 4000), (338, 450)), ((100, 74), (600, 450)), ((9, 1), (600, 67)),
        ((100, 2), (610, 13)),
    ],
)  # fmt: skip
def test_a_picture_is_fitted_into_a_size(size, fitted):
    assert fit_into(size, (max(600, fitted[0]), 450)) == fitted


def test_the_page_shows_the_colours_of_the_masks(streets):
    change(streets, paint)
    (streets / "classes.csv").write_text(
        "".join(f"{name},{','.join(map(str, colour))}\n" for name, colour in zip(NAMES, COLOURS.tolist(), strict=True))
    )
    recipe = ImageSegmentation()
    splits = recipe.load_own(str(streets), recipe.settings.smoke())
    assert splits.train.colours == tuple(map(tuple, COLOURS.tolist()))
    assert splits.labels == NAMES
