"""Find a user's own pictures and the mask of each: their folders, their names, and the parts they are given for."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.data import DataError
from training.own_data.folders import list_files
from training.own_data.mask_classes import LISTS, Classes, read_classes
from training.own_data.picture_files import find_pictures
from training.own_data.picture_labels import fold
from training.own_data.problems import Problems
from training.sentences import list_names
from training.splitting import PART_NAMES, PARTS, TRAIN, name_parts

PICTURE_FOLDERS = ("images", "image", "imgs", "img", "pictures", "jpegimages")  # the last as in Pascal VOC
MASK_FOLDERS = ("masks", "labels", "mask", "label", "annotations", "segmentation", "segmentationclass")
MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif")  # lossless
ENDINGS = ("", "_p", "_mask", "_masks", "_label", "_labels", "_gt", "_seg", "-mask", "_l")  # of a mask's stem
MORE = re.compile(r"-?\d|\S*[./]\S*")  # behind a name in a list of pictures: 1, 0 or -1, or the mask's path
SUFFIX = re.compile(r"\.\w{2,4}$")


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
            by_name.setdefault(fold(path.relative_to(masks).with_suffix("").as_posix()), []).append(path)
    stems = {path: path.relative_to(images).with_suffix("").as_posix() for path in paths}
    listed = {} if part or parts else read_lists(root, stems.values())
    others = {fold(stem) for stem in stems.values()}
    pairs, used, matched = [], set[Path](), False
    for path, name in stems.items():
        keys = [key for key in name_masks(fold(name), path.suffix.casefold()) if key in by_name]
        matches = next((by_name[key] for key in keys if key == fold(name) or key not in others), [])
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

    A line says how many lines of a list name none, or that a file is no such list, since no line does.

    Args:
        root: the folder with images/ and masks/.
        names: the paths of the pictures within images/, without suffix.
    """
    by_ending: dict[str, set[str]] = {}
    for name in names:
        folders = fold(name).split("/")
        for start in range(len(folders)):
            by_ending.setdefault("/".join(folders[start:]), set()).add(name)
    found: dict[str, str] = {}
    for path in (*sorted(root.glob("*.txt")), *sorted(root.glob("ImageSets/*/*.txt"))):
        part = PART_NAMES.get(path.stem.casefold())
        lines = path.read_text(encoding="utf-8-sig", errors="replace").split("\n") if part else []
        lines = [line.strip() for line in lines if line.strip()]
        there = [named for line in lines if (named := match_line(line, by_ending))]
        place, others = path.relative_to(root).as_posix(), len(lines) - len(there)
        if part and there:
            found |= dict.fromkeys(there, part)
            lost = f"; {others:,} of its lines name no picture, or several" * bool(others)
            print(f"{place} lists {len(there):,} pictures of the {part} part{lost}.")
        elif lines:
            print(f"{place} is not used, since none of its lines names a picture.")
    return found


def match_line(line: str, by_ending: Mapping[str, set[str]]) -> str | None:
    """Return the picture that a line of a list names, by its path or the end of it; None if it is none or several."""
    first, *rest = line.split(maxsplit=1)
    for text in (line, first) if rest and MORE.fullmatch(rest[0]) else (line,):
        path = fold(text).replace("\\", "/").strip("/")
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
