"""Read a user's own pictures and masks, check them, and split them."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from shared.limits import LIMITS
from training.data import DataError
from training.memory import check_memory
from training.networks.image_segmentation import IGNORED
from training.own_data.folders import list_files
from training.own_data.mask_classes import (
    LISTS,
    Classes,
    describe_unknown,
    encode,
    find_classes,
    match_black_and_white,
    number_from_0,
    parse_void,
    read_classes,
)
from training.own_data.options import DataOptions
from training.own_data.picture_files import Checked, check_pictures, find_pictures
from training.own_data.picture_labels import find_groups
from training.own_data.problems import Problems
from training.sentences import list_names
from training.splitting import PART_NAMES, PARTS, TEST, TRAIN, VALID, find_leaks, name_parts, print_split, split_rows

MIN_PICTURES, MIN_TRAINED = 6, 2
PICTURE_FOLDERS = ("images", "image", "imgs", "img", "pictures", "jpegimages")  # the last as in Pascal VOC
MASK_FOLDERS = ("masks", "labels", "mask", "label", "annotations", "segmentation", "segmentationclass")
MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif")  # lossless
MORE = re.compile(r"-?\d|\S*[./]\S*")  # behind a name in a list of pictures: 1, 0 or -1, or the mask's path
SUFFIX = re.compile(r"\.\w{2,4}$")
PALETTES = (
    "Warning: the palettes of the masks number the same colours differently, but the classes have indices; if the "
    "colours are the classes, list them with their colours in classes.txt."
)
ENDINGS = ("", "_p", "_mask", "_masks", "_label", "_labels", "_gt", "_seg", "-mask", "_l")  # of a mask's stem


@dataclass(frozen=True)
class Pair:
    """A picture with its mask: the file to decode, the mask's file, the upright (width, height), and its classes.

    `part` is the part of the data that it is given for, if any, and `group` what --group finds in its name.
    """

    name: str
    picture: Path
    mask: Path
    size: tuple[int, int]
    digest: str
    present: tuple[int, ...] = ()
    part: str | None = None
    group: str | None = None

    @property
    def keys(self) -> list[tuple[str, str]]:
        """Its content and its group; pictures that share one must be in one part."""
        return [("content", self.digest), *([("group", self.group)] if self.group else [])]


@dataclass(frozen=True)
class OwnMasks:
    """The classes and the parts of a user's own pictures; `given` are the parts that the data itself names."""

    classes: Classes
    void: int | None
    parts: Mapping[str, list[Pair]]
    given: frozenset[str]

    @property
    def colours(self) -> tuple[tuple[int, int, int], ...]:
        """The colour (red, green, blue) of each class in the masks; none if they have indices."""
        if not self.classes.in_colour:
            return ()
        first = {code: value for value, code in reversed([*self.classes.codes.items()])}
        return tuple(
            (first[code] >> 16, first[code] >> 8 & 255, first[code] & 255) for code in range(len(self.classes.names))
        )

    def read(self, pair: Pair, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return the class of each pixel of a mask at a size (width, height), (height, width)."""
        values, _ = read_mask(pair.mask, self.classes.in_colour)
        codes, _ = encode(values, self.classes, self.void)
        return np.asarray(Image.fromarray(codes).resize(size, Image.Resampling.NEAREST))


def read_own_masks(folder: Path, own: DataOptions, shares: Mapping[str, float], area: int, seed: int) -> OwnMasks:
    """Read, check, count and split a user's own pictures and masks, and print what was understood.

    Args:
        folder: it has images/ and masks/ (or labels/) with the same names, perhaps in train/, valid/ and test/ or with
            such subfolders, and perhaps a list of the classes.
        own: the options that say how to read it.
        shares: the share of the test and of the validation pictures, where the data has no such parts.
        area: the number of pixels of each picture that training holds in memory.
        seed: determines the split.

    Raises:
        DataError: the data cannot be used.
    """
    problems = Problems(folder, own.skip_bad, "masks")
    found = [pair for part, root in find_roots(folder).items() for pair in match_masks(root, part, problems)]
    if own.group:
        groups = find_groups({pair.picture: pair.name for pair in found}, own.group, problems)
        found = [replace(pair, group=groups[pair.picture]) for pair in found if pair.picture in groups]
    check_memory(len(found), (area, 1), channels=4)
    checked = check_pictures([pair.picture for pair in found], problems)
    void, listed = parse_void(own.void), find_list(folder)
    has_indices = bool((listed and not listed.in_colour) or (own.void or "").strip().isdecimal())
    fitting, values, in_colour = check_masks(found, checked, bool(listed and listed.in_colour), has_indices, problems)
    if not fitting:
        problems.settle()
        raise DataError(f"No mask in {folder} can be used.")
    classes = listed or find_classes(values, in_colour, void, folder)
    if listed and in_colour and not listed.in_colour:
        raise DataError(
            f"The masks in {folder} have colours, but its list of classes has none; write a name, red, green, "
            "blue in each line, or a name and a colour such as #804080."
        )
    classes = number_from_0(match_black_and_white(classes, values, void), values, void)
    pairs, lines = drop_copies(find_present(fitting, classes, void, problems))
    problems.settle_with(lambda: check_classes(pairs, folder))
    print(*lines, sep="\n", end="\n" * bool(lines))
    describe_classes(pairs, classes, bool(listed))
    return divide_parts(pairs, classes, void, own, shares, seed)


# --- files ---


def find_roots(folder: Path) -> dict[str | None, Path]:
    """Return the folder that has images/ and masks/, or those of train/, valid/ and test/ by part.

    Raises:
        DataError: there is none, or two stand for the same part.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}; --data must name one with images/ and masks/.")
    if find_folder(folder, PICTURE_FOLDERS):
        return {None: folder}
    subfolders = [sub.name for sub in sorted(folder.iterdir()) if sub.is_dir() and find_folder(sub, PICTURE_FOLDERS)]
    parts = name_folders(folder, subfolders)
    if TRAIN in parts.values():
        return {part: folder / name for name, part in parts.items()}
    there = list_names(sorted(path.name for path in folder.iterdir())) or "nothing"
    raise DataError(f"{folder} must have the folders images/ and masks/ (or labels/); it has {there}.")


def name_folders(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the part that each of the subfolders with these names stands for; those of other names are left out.

    Raises:
        DataError: two stand for the same part.
    """
    parts = name_parts(sorted(names))
    for part in PARTS:
        if len(same := [name for name in parts if parts[name] == part]) > 1:
            raise DataError(f"{folder} has several folders of one part, {list_names(same)}; join or rename them.")
    return parts


def find_folder(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the first subfolder with one of these names, in any case."""
    by_name = {sub.name.casefold(): sub for sub in folder.iterdir() if sub.is_dir()}
    return next((by_name[name] for name in names if name in by_name), None)


def find_pair_of_folders(root: Path) -> tuple[Path, Path]:
    """Return the folders of the pictures and of the masks.

    Raises:
        DataError: one of them is not there.
    """
    images, masks = find_folder(root, PICTURE_FOLDERS), find_folder(root, MASK_FOLDERS)
    if not images or not masks:
        raise DataError(f"{root} must have the folders images/ and masks/ (or labels/).")
    return images, masks


def match_masks(root: Path, part: str | None, problems: Problems) -> list[Pair]:
    """Return the pictures of a folder with their masks of the same stem, or of that stem with an ending such as _mask.

    If `part` is None, and all pictures are in subfolders such as train/, they are given for those parts.

    Raises:
        DataError: there are no pictures or no folder of masks, or two subfolders stand for the same part.
    """
    images, masks = find_pair_of_folders(root)
    paths = find_pictures(images)[0]
    if not paths:
        raise DataError(f"There are no pictures in {images}.")
    parts = {} if part else find_inner_parts(images, paths)
    by_name: dict[str, list[Path]] = {}
    for path in list_files(masks):
        if path.suffix.lower() in (*MASK_SUFFIXES, ".jpg", ".jpeg"):
            by_name.setdefault(path.relative_to(masks).with_suffix("").as_posix().casefold(), []).append(path)
    stems = {path: path.relative_to(images).with_suffix("").as_posix() for path in paths}
    listed = {} if part or parts else read_lists(root, stems.values())
    others = {stem.casefold() for stem in stems.values()}
    pairs, used, matched = [], set[Path](), False
    for path, name in stems.items():
        keys = [key for key in name_masks(name.casefold(), path.suffix.casefold()) if key in by_name]
        matches = next((by_name[key] for key in keys if key == name.casefold() or key not in others), [])
        matched |= bool(matches)
        if not matches:
            problems.add(path, f"It has no mask {masks.name}/{name}.png.")
        elif len(matches) > 1:
            problems.add(path, f"It has several masks: {list_names(mask.name for mask in matches)}.")
        elif matches[0].suffix.lower() not in MASK_SUFFIXES:
            problems.add(matches[0], "A mask cannot be a JPEG, which changes its values; save it as PNG.")
        else:
            used.add(matches[0])
            first, _, rest = name.partition("/")
            shown, given = (rest, parts[first]) if parts else (name, part or listed.get(name))
            pairs.append(Pair(shown, path, matches[0], (0, 0), "", part=given))
    if not matched:
        raise refuse_names(images, masks, paths[0])
    spare = [path for paths_ in by_name.values() for path in paths_ if path not in used]
    if spare and len(paths) == len(pairs):
        print(f"Not used, since they have no picture: {len(spare):,} masks, such as {spare[0].name}.")
    return pairs


def read_lists(root: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the parts that lists such as valid.txt, or ImageSets/Segmentation/val.txt of Pascal VOC, give pictures.

    A file of which fewer than half of the lines name a picture is no such list.

    Args:
        root: the folder with images/ and masks/.
        names: the paths of the pictures within images/, without suffix.
    """
    by_ending: dict[str, set[str]] = {}
    for name in names:
        folders = name.casefold().split("/")
        for start in range(len(folders)):
            by_ending.setdefault("/".join(folders[start:]), set()).add(name)
    found: dict[str, str] = {}
    for path in (*sorted(root.glob("*.txt")), *sorted(root.glob("ImageSets/*/*.txt"))):
        part = PART_NAMES.get(path.stem.casefold())
        lines = path.read_text(encoding="utf-8-sig", errors="replace").split("\n") if part else []
        lines = [line.strip() for line in lines if line.strip()]
        there = [named for line in lines if (named := match_line(line, by_ending))]
        if part and len(there) >= len(lines) / 2 > 0:
            found |= dict.fromkeys(there, part)
            print(f"{path.relative_to(root).as_posix()} lists {len(there):,} pictures of the {part} part.")
    return found


def match_line(line: str, by_ending: Mapping[str, set[str]]) -> str | None:
    """Return the picture that a line of a list names, by its path or the end of it; None if it is none or several."""
    first, *rest = line.split(maxsplit=1)
    for text in (line, first) if rest and MORE.fullmatch(rest[0]) else (line,):
        path = text.casefold().replace("\\", "/").strip("/")
        folders = path.split("/")
        for start in range(len(folders)):
            ending = "/".join(folders[start:])
            for name in (ending, SUFFIX.sub("", ending)):
                if len(matches := by_ending.get(name, set())) == 1:
                    return next(iter(matches))
    return None


def name_masks(stem: str, suffix: str) -> list[str]:
    """Return the names, without suffix, that the mask of a picture may have, the most usual first."""
    folder, _, name = stem.rpartition("/")
    before = f"{folder}/" * bool(folder)
    return [stem + ending for ending in ENDINGS] + [stem + suffix, f"{stem}{suffix}.mask", f"{before}mask_{name}"]


def refuse_names(images: Path, masks: Path, picture: Path) -> DataError:
    """Return the error about pictures of which none has a mask, with what there is instead."""
    there = list_files(masks)
    name = picture.relative_to(images).with_suffix("").as_posix()
    if any(path.suffix.lower() in (".json", ".xml") for path in there):
        return DataError(
            f"None of the pictures in {images} has a mask; outlines in {there[0].name} cannot be read, so export the "
            f"masks as PNG, such as {masks.name}/{name}.png."
        )
    found = f"has {there[0].relative_to(masks).as_posix()}" if there else "is empty"
    return DataError(
        f"None of the pictures in {images} has a mask: {masks} {found}, but the mask of {picture.name} must be called "
        f"{name}.png or {name}_mask.png."
    )


def find_inner_parts(images: Path, paths: Sequence[Path]) -> dict[str, str]:
    """Return the part that each subfolder of pictures stands for; {} unless all are in such parts, one to train on.

    Raises:
        DataError: two stand for the same part.
    """
    inside = [path.relative_to(images).parts for path in paths]
    folders = {names[0] if len(names) > 1 else "" for names in inside}
    if any(name.casefold() not in PART_NAMES for name in folders):
        return {}
    if TRAIN not in {PART_NAMES[name.casefold()] for name in folders}:
        return {}
    return name_folders(images, folders)


def find_list(folder: Path) -> Classes | None:
    """Return the classes that a file of the folder lists, or None if there is no such file."""
    by_name = {path.name.casefold(): path for path in folder.iterdir() if path.is_file()}
    path = next((by_name[name] for name in LISTS if name in by_name), None)
    return read_classes(path) if path else None


# --- checks ---


def read_mask(path: Path, in_colour: bool = False) -> tuple[NDArray[np.int64], bool]:
    """Return the values of an upright mask, (height, width), and if they are colours (0xrrggbb) and not indices.

    Colours that are all grey count as indices. If the classes are `in_colour`, all values are colours instead: those
    of the palette, or shades of grey.

    Raises:
        DataError: it cannot be read, or has values that are neither.
    """
    try:
        with Image.open(path) as image:
            if image.width * image.height > LIMITS.pixels:
                raise DataError("The mask has too many pixels; save it smaller, without smoothing.")
            upright = ImageOps.exif_transpose(image)
            if upright.mode in ("1", "L", "P") and not (in_colour and upright.mode == "P" and upright.palette):
                values = np.asarray(upright.convert("L") if upright.mode == "1" else upright).astype(np.int64)
                if in_colour:
                    return values * 0x010101, True
                return values // 255 if upright.mode == "1" else values, False
            if upright.mode.startswith(("I", "F")):
                deep = np.asarray(upright)
                if deep.min() < 0 or deep.max() > 255 or (deep != deep.round()).any():
                    raise DataError(
                        f"The mask has values from {deep.min():g} to {deep.max():g}; a class needs an index "
                        "from 0 to 254. If they number objects, save a mask of classes instead."
                    )
                values = deep.astype(np.int64)
                return (values * 0x010101, True) if in_colour else (values, False)
            pixels = np.asarray(upright.convert("RGB")).astype(np.int64)
    except DataError:
        raise
    except Exception as error:  # Pillow's readers have errors of their own
        raise DataError(f"The mask cannot be read as a picture ({error}); it must be a PNG.") from error
    if not in_colour and (pixels == pixels[..., :1]).all():
        return pixels[..., 0], False
    return pixels @ np.array([1 << 16, 1 << 8, 1]), True


def check_masks(
    found: Sequence[Pair], checked: Mapping[Path, Checked], in_colour: bool, has_indices: bool, problems: Problems
) -> tuple[list[tuple[Pair, NDArray[np.int64]]], Counter[int], bool]:
    """Return fitting pairs with their masks' values, the number of masks with each value, and if they are colours.

    Without a list of colours, the values are colours if any mask has some, or if palettes number the same colours
    differently and no index is named (`has_indices`); then all masks are read so.
    """

    def check(pair: Pair, in_colour: bool) -> tuple[NDArray[np.int64], tuple[int, int], bool] | DataError:
        try:
            values, is_coloured = read_mask(pair.mask, in_colour)
        except DataError as error:
            return error
        return np.unique(values), (values.shape[1], values.shape[0]), is_coloured

    readable = [pair for pair in found if pair.picture in checked]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(partial(check, in_colour=in_colour), readable))
        has_colours = any(
            not isinstance(result, DataError) and result[2] and result[1] == checked[pair.picture].size
            for pair, result in zip(readable, results, strict=True)
        )
        if not (has_colours or in_colour or number_colours_alike([pair.mask for pair in readable])):
            has_colours = not has_indices
            print(PALETTES * has_indices, end="\n" * has_indices)
        if has_colours and not in_colour:
            results = list(pool.map(partial(check, in_colour=True), readable))
    fitting, counts = [], Counter[int]()
    for pair, result in zip(readable, results, strict=True):
        picture = checked[pair.picture]
        if isinstance(result, DataError):
            problems.add(pair.mask, str(result))
            continue
        values, size, _ = result
        if size != picture.size:
            turned = "; one of them is turned" if size == picture.size[::-1] else ""
            problems.add(
                pair.mask, f"The mask has {size[0]}×{size[1]} pixels, but its picture "
                f"{picture.size[0]}×{picture.size[1]}{turned}; save it at the size of the picture.",
            )  # fmt: skip
            continue
        fitting.append((replace(pair, picture=picture.path, size=size, digest=picture.digest), values))
        counts.update(values.tolist())
    return fitting, counts, has_colours


def number_colours_alike(masks: Sequence[Path]) -> bool:
    """Return False if the palettes of two masks give a colour that both use different indices.

    Masks with the index 255, which is void, are numbered by a rule, whatever their palettes say.
    """
    seen: dict[tuple[int, ...], int] = {}
    is_alike = True
    for path in masks:
        try:
            with Image.open(path) as image:
                palette = image.getpalette("RGB") if image.mode == "P" else None
                used = np.unique(np.asarray(image)).tolist() if palette else []
        except (OSError, ValueError, SyntaxError):  # a problem that read_mask has named
            continue
        if IGNORED in used:
            return True
        colours = {index: tuple((palette or [])[3 * index : 3 * index + 3]) for index in used}
        if len(set(colours.values())) == len(colours):
            is_alike &= all(seen.setdefault(colour, index) == index for index, colour in colours.items())
    return is_alike


def find_present(
    fitting: Sequence[tuple[Pair, NDArray[np.int64]]], classes: Classes, void: int | None, problems: Problems
) -> list[Pair]:
    """Return pairs with the classes of their masks' values; one that is no class, or void only, is a problem."""
    kept = []
    for pair, values in fitting:
        codes, unknown = encode(values, classes, void)
        present = tuple(code for code in np.unique(codes).tolist() if code != IGNORED)
        if unknown:
            problems.add(pair.mask, describe_unknown(unknown, classes.in_colour))
        elif not present:
            problems.add(pair.mask, "None of its pixels has a class.")
        else:
            kept.append(replace(pair, present=present))
    return kept


def drop_copies(pairs: Sequence[Pair]) -> tuple[list[Pair], list[str]]:
    """Return each picture once, and a line on copies: that in the test stays, or else that in the validation part."""
    best: dict[str, Pair] = {}
    for pair in sorted(pairs, key=lambda pair: -PARTS.index(pair.part or TRAIN)):
        best.setdefault(pair.digest, pair)
    copies = len(pairs) - len(best)
    lines = [f"Equal pictures count once: {copies:,} left out."] * bool(copies)
    return [pair for pair in pairs if best[pair.digest] is pair], lines


def check_classes(pairs: Sequence[Pair], folder: Path) -> None:
    """Check that there are enough pictures and classes.

    Raises:
        DataError: there are too few pictures, or they have fewer than two classes.
    """
    if len(pairs) < MIN_PICTURES:
        raise DataError(f"{folder} has {len(pairs)} pictures with masks; at least {MIN_PICTURES} are needed.")
    if len({code for pair in pairs for code in pair.present}) < 2:
        raise DataError(
            f"The masks in {folder} have fewer than two classes; their pixels must be indices of the listed classes, "
            "from 0 on, or their colours."
        )


def describe_classes(pairs: Sequence[Pair], classes: Classes, is_listed: bool) -> None:
    """Print the classes with the number of pictures that have each."""
    counts = Counter(code for pair in pairs for code in pair.present)
    shown = list_names(f"{name} {counts[code]:,}" for code, name in enumerate(classes.names))
    line = "such as Road #804080" if classes.in_colour else "one per line"
    origin = "listed" if is_listed else f"found in the masks; list their names in classes.txt, {line}"
    print(f"{len(pairs):,} pictures with {len(classes.names)} classes ({origin}): {shown}.")
    if absent := [name for code, name in enumerate(classes.names) if not counts[code]]:
        print(f"No mask has: {list_names(absent)}.")


# --- split ---


def divide_parts(
    pairs: Sequence[Pair],
    classes: Classes,
    void: int | None,
    own: DataOptions,
    shares: Mapping[str, float],
    seed: int,
) -> OwnMasks:
    """Split pictures into the parts that the data has not given itself, and print their sizes.

    A picture whose group is also in a given validation or test part is left out.

    Raises:
        DataError: a part has too few pictures, or a class is in no training picture.
    """
    given = frozenset(pair.part for pair in pairs if pair.part)
    leaks = set(find_leaks([pair.keys for pair in pairs], [pair.part for pair in pairs]))
    if leaks:
        print(f"Pictures left out, since their groups are also in a given validation or test part: {len(leaks):,}.")
    rest = [pair for row, pair in enumerate(pairs) if pair.part in (None, TRAIN) and row not in leaks]
    wanted = {part: share for part, share in shares.items() if part not in given}
    labels = [(*pair.present, "picture") for pair in rest]
    parts: dict[str, list[Pair]] = {part: [pair for pair in pairs if pair.part == part != TRAIN] for part in PARTS}
    for pair, part in zip(rest, split_rows(labels, [pair.keys for pair in rest], wanted, seed), strict=True):
        parts[part].append(pair)
    if empty := [part for part in (VALID, TEST) if not parts[part]]:
        raise DataError(f"No picture is left for {list_names(empty)}; add pictures, or leave out --group.")
    if (count := len(parts[TRAIN])) < MIN_TRAINED:
        raise DataError(
            f"At least {MIN_TRAINED} pictures are needed to train on, and {count} {'is' if count == 1 else 'are'} "
            f"left; add pictures{', or leave out --group' if own.group else ''}."
        )
    learned = {code for pair in parts[TRAIN] for code in pair.present}
    unlearned = {code for pairs_ in parts.values() for pair in pairs_ for code in pair.present} - learned
    if unlearned:
        names = list_names(classes.names[code] for code in sorted(unlearned))
        raise DataError(f"No training picture has {names}; add pictures of it to the training part.")
    print_split(parts, sorted(given - {TRAIN} if wanted or leaks else given))
    return OwnMasks(classes, void, parts, given)
