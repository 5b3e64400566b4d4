"""Read a user's own pictures and masks, check them, and split them."""

from collections import Counter
from collections.abc import Mapping, Sequence
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
from training.own_data.mask_classes import (
    Classes,
    check_white,
    describe_unknown,
    encode,
    find_classes,
    match_black_and_white,
    number_from_0,
    parse_void,
)
from training.own_data.mask_files import Pair, find_list, find_roots, match_masks
from training.own_data.options import DataOptions
from training.own_data.picture_files import Checked, check_pictures
from training.own_data.picture_labels import find_groups
from training.own_data.problems import Problems
from training.sentences import list_names, print_lines
from training.splitting import PARTS, TEST, TRAIN, VALID, fill_parts, print_split

MIN_PICTURES, MIN_TRAINED = 6, 2
PALETTES = (
    "Warning: the palettes of the masks number the same colours differently, but the classes have indices; if the "
    "colours are the classes, list them with their colours in classes.txt."
)


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
        values, *_ = read_mask(pair.mask, self.classes.in_colour)
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
    is_index = (own.void or "").strip().isdecimal()
    has_indices = bool((listed and not listed.in_colour) or is_index)
    fitting, values, in_colour = check_masks(found, checked, bool(listed and listed.in_colour), has_indices, problems)
    if not fitting:
        problems.settle()
        raise DataError(f"No mask in {folder} can be used.")
    if void is None and not in_colour and (not listed or len(listed.names) == 2):
        check_white([values for _, values in fitting], folder)
    if void is not None and is_index and in_colour:
        void *= 0x010101  # a shade of grey
    classes = listed or find_classes(values, in_colour, void, folder)
    if listed and in_colour and not listed.in_colour:
        raise DataError(
            f"The masks in {folder} have colours, but its list of classes has none; write a name, red, green, "
            "blue in each line, or a name and a colour such as #804080."
        )
    classes = number_from_0(match_black_and_white(classes, values, void), values, void)
    pairs, lines = drop_copies(find_present(fitting, classes, void, problems))
    problems.settle_with(lambda: check_classes(pairs, folder))
    print_lines(lines)
    describe_classes(pairs, classes, bool(listed))
    return divide_parts(pairs, classes, void, own, shares, seed)


# --- checks ---


@dataclass(frozen=True)
class _Seen:
    """The different values of a mask, its upright (width, height), if they are colours, and its palette (read_mask)."""

    values: NDArray[np.int64]
    size: tuple[int, int]
    is_coloured: bool
    palette: bytes


def read_mask(path: Path, in_colour: bool = False) -> tuple[NDArray[np.int64], bool, bytes]:
    """Return the values of an upright mask, if they are colours (0xrrggbb) and not indices, and its palette.

    The values are (height, width). The palette has red, green and blue of each index in a row; it may be empty.
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
            palette = bytes((upright.mode == "P" and upright.getpalette("RGB")) or ())
            if upright.mode in ("1", "L", "P") and not (in_colour and upright.mode == "P" and upright.palette):
                values = np.asarray(upright.convert("L") if upright.mode == "1" else upright).astype(np.int64)
                if in_colour:
                    return values * 0x010101, True, palette
                return values // 255 if upright.mode == "1" else values, False, palette
            if upright.mode.startswith(("I", "F")):
                deep = np.asarray(upright)
                if deep.min() < 0 or deep.max() > 255 or (deep != deep.round()).any():
                    raise DataError(
                        f"The mask has values from {deep.min():g} to {deep.max():g}; a class needs an index "
                        "from 0 to 254. If they number objects, save a mask of classes instead."
                    )
                values = deep.astype(np.int64)
                return (values * 0x010101, True, palette) if in_colour else (values, False, palette)
            pixels = np.asarray(upright.convert("RGB")).astype(np.int64)
    except DataError:
        raise
    except Exception as error:  # Pillow's readers have errors of their own
        raise DataError(f"The mask cannot be read as a picture ({error}); it must be a PNG.") from error
    if not in_colour and (pixels == pixels[..., :1]).all():
        return pixels[..., 0], False, palette
    return pixels @ np.array([1 << 16, 1 << 8, 1]), True, palette


def check_masks(
    found: Sequence[Pair], checked: Mapping[Path, Checked], in_colour: bool, has_indices: bool, problems: Problems
) -> tuple[list[tuple[Pair, NDArray[np.int64]]], Counter[int], bool]:
    """Return fitting pairs with their masks' values, the number of masks with each value, and if they are colours.

    Without a list of colours, the values are colours if any mask has some, or if palettes number the same colours
    differently and no index is named (`has_indices`); then all masks are read so.
    """

    def check(pair: Pair, in_colour: bool) -> _Seen | DataError:
        try:
            values, is_coloured, palette = read_mask(pair.mask, in_colour)
        except DataError as error:
            return error
        return _Seen(np.unique(values), (values.shape[1], values.shape[0]), is_coloured, palette)

    readable = [pair for pair in found if pair.picture in checked]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(partial(check, in_colour=in_colour), readable))
        has_colours = any(
            isinstance(result, _Seen) and result.is_coloured and result.size == checked[pair.picture].size
            for pair, result in zip(readable, results, strict=True)
        )
        if not (has_colours or in_colour or number_colours_alike([one for one in results if isinstance(one, _Seen)])):
            has_colours = not has_indices
            if has_indices:
                print(PALETTES)
        if has_colours and not in_colour:
            results = list(pool.map(partial(check, in_colour=True), readable))
    fitting, counts = [], Counter[int]()
    for pair, result in zip(readable, results, strict=True):
        picture = checked[pair.picture]
        if isinstance(result, DataError):
            problems.add(pair.mask, str(result))
            continue
        if result.size != picture.size:
            turned = "; one of them is turned" if result.size == picture.size[::-1] else ""
            problems.add(
                pair.mask, f"The mask has {result.size[0]}×{result.size[1]} pixels, but its picture "
                f"{picture.size[0]}×{picture.size[1]}{turned}; save it at the size of the picture.",
            )  # fmt: skip
            continue
        fitting.append((replace(pair, picture=picture.path, size=result.size, digest=picture.digest), result.values))
        counts.update(result.values.tolist())
    return fitting, counts, has_colours


def number_colours_alike(masks: Sequence[_Seen]) -> bool:
    """Return False if the palettes of two masks give a colour that both use different indices.

    Masks with the index 255, which is void, are numbered by a rule, whatever their palettes say.
    """
    seen: dict[tuple[int, ...], int] = {}
    with_palette = [(mask.values.tolist(), mask.palette) for mask in masks if mask.palette]
    if any(IGNORED in used for used, _ in with_palette):
        return True
    for used, palette in with_palette:
        colours = {index: tuple(palette[3 * index : 3 * index + 3]) for index in used}
        is_clear = len(set(colours.values())) == len(colours)
        if is_clear and any(seen.setdefault(colour, index) != index for index, colour in colours.items()):
            return False
    return True


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
    labels = [(*pair.present, "picture") for pair in pairs]
    filled, leaks = fill_parts([pair.part for pair in pairs], labels, [pair.keys for pair in pairs], shares, seed)
    parts = {part: [pairs[row] for row in rows] for part, rows in filled.items()}
    if leaks:
        print(f"Pictures left out, since their groups are also in a given validation or test part: {len(leaks):,}.")
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
    print_split(parts, sorted(given if given.issuperset(shares) and not leaks else given - {TRAIN}))
    return OwnMasks(classes, void, parts, given)
