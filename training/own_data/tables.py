"""Read a table of a user's own: CSV and TSV with the reader of the pages, or Parquet."""

import gzip
import lzma
import tempfile
import zlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.errors import BadInput, quote
from shared.tables import read_csv
from shared.tables.writing import read_escaped
from shared.text import drop_zeros
from training.data import DataError
from training.own_data.columns import find_column
from training.own_data.folders import has_texts
from training.own_data.labels import clean_label
from training.own_data.problems import Problems
from training.splitting import PART_NAMES, TEST, TRAIN, VALID

MAX_ROWS = 20_000_000
MAX_BYTES = 4_000_000_000
MAX_CELLS = 20_000_000  # of a sample
TABLES = (".csv", ".tsv", ".parquet", ".csv.xz", ".csv.gz")
BLOCK = 1_000_000  # bytes
OPENERS: dict[str, Callable[[Path], BufferedIOBase]] = {".gz": gzip.GzipFile, ".xz": lzma.LZMAFile}
IS_VALID = "is_valid"
DIVISIONS = ("split", "set", "subset", "partition", "part", "dataset", "data set", "data_set", "phase", "usage")
IS_VALID_PARTS = {"true": TEST, "1": TEST, "false": TRAIN, "0": TRAIN}
LABELS = (
    "label", "labels", "class", "category", "target", "sentiment", "class_name", "intent", "topic", "tag", "y",
    "klasse", "kategorie", "polarity", "rating", "stars",
)  # fmt: skip


@dataclass(frozen=True)
class OwnTable:
    """Columns of a file, which take a few bytes for each cell that repeats.

    Attributes:
        path: the file.
        columns: the names of all its columns.
        table: the columns that were read, as categories of text.
        unit: what the rows are counted in: "line" or "row".
        numbers: where each row is, in this unit.
        count: rows in the file.
        is_sample: True if not all of them were read.
        delimiter: of a CSV; "" for Parquet.
    """

    path: Path
    columns: list[str]
    table: pd.DataFrame
    unit: str
    numbers: NDArray[np.uint32]
    count: int
    is_sample: bool
    delimiter: str = ""

    def find(self, asked: str | None, usual: Collection[str], option: str) -> str:
        """Return the column that is asked for, or else one with a usual name; see find_column."""
        return find_column(self.columns, asked, usual, option, self.path)

    def name_place(self, row: int) -> str:
        """Return where a row is in the file, such as "line 7"."""
        return f"{self.unit} {self.numbers[row]}"

    def iterate(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield for each row where it is, and its cells by column."""
        cells = zip(*(self.table[name].astype(object) for name in self.table), strict=True)
        for row, values in enumerate(cells):
            yield self.name_place(row), dict(zip(self.table, values, strict=True))


class _Texts:
    """The texts of a column, read one by one: the index of each among the different ones."""

    def __init__(self) -> None:
        self.index: defaultdict[str, int] = defaultdict()
        self.index.default_factory = self.index.__len__  # a new text gets the next index
        self.codes = array("i")

    def add(self, text: str) -> None:
        self.codes.append(self.index[text])

    def categorise(self) -> pd.Categorical:
        return pd.Categorical.from_codes(np.frombuffer(self.codes, np.int32), pd.Index(list(self.index), dtype=object))


@dataclass(frozen=True)
class Division:
    """What a table's columns such as split say of its rows.

    Attributes:
        columns: those that divide the rows or seem meant to, which are no inputs.
        parts: the part of each row, "" if its cell names none; None if no column divides the rows.
        lines: what to print about the columns.
        bad: sentences on the cells that name no part, by row.
    """

    columns: tuple[str, ...]
    parts: list[str] | None
    lines: list[str]
    bad: dict[int, str]


def read_division(table: pd.DataFrame, other: str = "", kept: Collection[str | None] = ()) -> Division:
    """Return how a column divides the rows: fast.ai's is_valid, whose true rows are the test, or one such as split.

    Most cells of the latter name a part, one of them the training. If they are of two parts, the second is the test,
    also if it is called valid. No column divides the rows if `other` is given.

    Args:
        table: columns of texts, as categories.
        other: a clause on what divides the rows instead.
        kept: columns that have another use, in any case.
    """
    used = {name.strip().casefold() for name in kept if name}
    names = {name.casefold(): name for name in table if name.casefold() not in used}
    usual = {names[name]: PART_NAMES for name in DIVISIONS if name in names}
    usual = {names[IS_VALID]: IS_VALID_PARTS} | usual if IS_VALID in names else usual
    read = {name: read_parts(table[name], words) for name, words in usual.items()}
    found = {name: parts for name, parts in read.items() if usual[name] is IS_VALID_PARTS or any(parts)}
    chosen = next((name for name, parts in found.items() if are_parts(parts) and not other), None)
    reason = other or (f"{chosen} divides the rows" if chosen else "")
    lines = [
        f"The column {name} is not used for the split and is no input: {reason or demand_parts(usual[name])}."
        for name in found
        if name != chosen
    ]
    if not chosen:
        return Division(tuple(found), None, lines, {})
    parts, test = found[chosen], "true" if usual[chosen] is IS_VALID_PARTS else "test"
    if TEST not in parts and VALID in parts:
        parts, test = [TEST if part == VALID else part for part in parts], "valid"
    said = f"divides the rows, {test} is the test; delete it for a random split" if TEST in parts else "names no test"
    lines.append(f"The column {chosen} {said}.")
    words = "true or false" if usual[chosen] is IS_VALID_PARTS else "train, valid or test"
    cells = {row: table[chosen].iloc[row] for row, part in enumerate(parts) if not part}
    bad = {
        row: f"{chosen} {f'names no part: {quote(cell)}' if cell else 'is empty'}; write {words}, or rename the column."
        for row, cell in cells.items()
    }
    return Division(tuple(found), parts, lines, bad)


def read_parts(cells: pd.Series, names: Mapping[str, str]) -> list[str]:
    """Return the part that each cell names, also as 1.0 for 1; "" if it names none."""
    parts = np.array([names.get(drop_zeros(text).casefold(), "") for text in cells.cat.categories], dtype=object)
    found: list[str] = parts[cells.cat.codes].tolist()
    return found


def are_parts(parts: Sequence[str]) -> bool:
    """Return True if most cells name a part, some the training part, and some another one or none."""
    counts = Counter(parts)
    return counts[""] < len(parts) / 2 and TRAIN in counts and len(counts) > 1


def demand_parts(names: Mapping[str, str]) -> str:
    """Return a clause on what a column must have to divide the rows."""
    if names is IS_VALID_PARTS:
        return "it must have both true and false"
    return "most of its cells must name a part, train and another one; rename it to predict from it"


def find_tables(data: Path) -> dict[Path, str | None]:
    """Return the tables of a data set and the part that each is: a file, train.csv and the like, or the only table.

    A folder of text files has none, though there may be a table beside them.

    Raises:
        DataError: a part is there twice, such as train.csv and train.parquet.
    """
    if data.is_file():
        return {data: None}
    if not data.is_dir():
        return {}
    tables = list_tables(data)
    parts: dict[Path, str | None] = {path: PART_NAMES[stem] for path, stem in tables.items() if stem in PART_NAMES}
    stems = [tables[path] for path in parts]
    if same := [path.name for path in parts if stems.count(tables[path]) > 1]:
        raise DataError(f"{data} has {' and '.join(same)}, whose rows may be the same; keep one of them.")
    if TRAIN in parts.values():
        return parts
    return dict.fromkeys(tables) if len(tables) == 1 and not has_texts(data) else {}


def lacks_targets(test: OwnTable, target: str, columns: Collection[str], is_missing: Callable[[str], bool]) -> bool:
    """Return True if a test has only other columns of the training part, or if all its targets are missing.

    Args:
        test: the table of the test.
        target: the column of the targets in the training part.
        columns: all columns of the training part.
        is_missing: tells whether a cell stands for no target.
    """
    if target not in test.columns:
        return set(test.columns) <= set(columns)
    return all(is_missing(cell) for cell in test.table[target].cat.categories)


def name_data(path: Path) -> str:
    """Return the name of a data set: that of a folder, or of a file without its suffixes, such as .csv.gz."""
    if path.is_dir():
        return path.resolve().name
    return (path.with_suffix("") if path.suffix.lower() in OPENERS else path).stem


def list_tables(folder: Path) -> dict[Path, str]:
    """Return the tables in a folder, each with its name without the suffix, in lower case."""
    found = {}
    for path in sorted(folder.iterdir()):
        name = path.name.casefold()
        suffix = next((suffix for suffix in TABLES if name.endswith(suffix)), None)
        if suffix and path.is_file():
            found[path] = name.removesuffix(suffix)
    return found


def read_own_table(
    path: Path,
    problems: Problems,
    choose: Callable[[list[str]], Collection[str]] = list,
    most: int | None = None,
    seed: int = 0,
) -> OwnTable:
    """Read a CSV or TSV (any delimiter and encoding that the pages accept), also compressed as .gz or .xz, or Parquet.

    A row with a wrong number of cells is a problem, and left out. The file is read as a stream.

    Args:
        path: the file.
        problems: takes the problems of rows.
        choose: is given the names of all columns, and returns those to read.
        most: of more rows than this or of more than MAX_CELLS cells, a random sample is read; None reads all.
        seed: determines the sample.

    Raises:
        DataError: the file cannot be read, has no rows, or too many.
    """
    if not path.is_file():
        raise DataError(f"There is no file {path}; name the data with --data.")
    kind = path.suffix.lower()
    if kind == ".parquet":
        return _read_parquet(path, choose, most, seed)
    try:
        if kind not in OPENERS:
            return _read_csv(path, path, problems, choose, most, seed)
        with tempfile.TemporaryDirectory() as folder:
            unpacked = Path(folder) / "table.csv"
            _unpack(path, unpacked, OPENERS[kind])
            return _read_csv(path, unpacked, problems, choose, most, seed)
    except BadInput as error:
        raise DataError(f"{path}: {error}") from error


def _read_csv(
    path: Path,
    file: Path,
    problems: Problems,
    choose: Callable[[list[str]], Collection[str]],
    most: int | None,
    seed: int,
) -> OwnTable:
    rows = read_csv(file, (), MAX_ROWS, MAX_BYTES)
    columns = list(next(iter(rows)).columns)
    texts = {name: _Texts() for name in choose(columns)}
    cells = [(columns.index(name), column) for name, column in texts.items()]
    chosen = _sample(len(rows), len(texts), most, seed)
    lines = array("I")
    longer: Counter[str] = Counter()  # rows with more cells than the first line, by their error
    for number, row in enumerate(rows):
        if len(columns) == 1 and not row.error:  # a title without the delimiter of the rows
            longer[""] += any(mark in row.values[0] for mark in ";\t|")
        if row.error:
            longer[row.error] += len(row.values) == len(columns)  # those beyond are cut off
            problems.add(f"line {row.line}", row.error)
        elif chosen is None or chosen[number]:
            lines.append(row.line)
            for place, column in cells:
                column.add(read_escaped(row.values[place].strip()))
    for _, times in longer.most_common(1):
        if times > len(rows) / 2:  # texts with commas would have different numbers of cells
            quoting = f" If it does, put quotation marks around cells with {rows.delimiter!r} in them."
            raise BadInput(
                f"Most rows have more cells than the first line, which has {len(columns)}. The first line must name "
                f"the columns; delete the lines above it.{quoting * (len(columns) > 1)}"
            )
    numbers = np.frombuffer(lines, np.uint32)
    return OwnTable(
        path, columns, _categorise(texts), "line", numbers, len(rows), chosen is not None, delimiter=rows.delimiter
    )


def _categorise(texts: dict[str, _Texts]) -> pd.DataFrame:
    return pd.DataFrame({name: column.categorise() for name, column in texts.items()}, copy=False)


def _sample(rows: int, columns: int, most: int | None, seed: int) -> NDArray[np.bool_] | None:
    """Return which rows are in the sample; None for all."""
    wanted = rows if most is None else min(rows, most, MAX_CELLS // columns)
    if wanted == rows:
        return None
    chosen = np.zeros(rows, np.bool_)
    chosen[np.random.default_rng(seed).choice(rows, wanted, replace=False, shuffle=False)] = True
    return chosen


def _unpack(path: Path, target: Path, opener: Callable[[Path], BufferedIOBase]) -> None:
    """Write the decompressed content of a file.

    Raises:
        DataError: it cannot be decompressed, or is too large.
    """
    size = 0
    try:
        with opener(path) as file, target.open("wb") as unpacked:
            while size <= MAX_BYTES and (block := file.read(BLOCK)):
                size += unpacked.write(block)
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise DataError(f"{path} cannot be decompressed ({error}); save it as CSV.") from error
    if size > MAX_BYTES:
        raise DataError(f"{path} has more than {MAX_BYTES // 10**9} GB when decompressed; split it into smaller files.")


def _read_parquet(path: Path, choose: Callable[[list[str]], Collection[str]], most: int | None, seed: int) -> OwnTable:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(f"Reading {path} needs pyarrow: pip install pyarrow, or save it as CSV.") from error
    try:
        with parquet.ParquetFile(path) as file:
            return _read_batches(path, file, choose, most, seed)
    except DataError:
        raise
    except Exception as error:  # pyarrow has errors of its own
        raise DataError(f"{path} cannot be read ({error}); save it as CSV in UTF-8.") from error


def _read_batches(
    path: Path, file: Any, choose: Callable[[list[str]], Collection[str]], most: int | None, seed: int
) -> OwnTable:
    count = file.metadata.num_rows
    names = [clean_label(str(name)) for name in file.schema_arrow.empty_table().to_pandas()]
    if not count or not names:
        raise DataError(f"{path} has no rows.")
    if count > MAX_ROWS:
        raise DataError(f"{path} has more than {MAX_ROWS:,} rows; split it into smaller files.")
    if repeated := [name for name, times in Counter(names).items() if times > 1]:
        raise DataError(f"{path} names the column {quote(repeated[0])} twice.")
    texts = {name: _Texts() for name in choose(names)}
    chosen = _sample(count, len(texts), most, seed)
    start = 0
    for batch in file.iter_batches():
        rows = slice(None) if chosen is None else np.flatnonzero(chosen[start : start + len(batch)])
        part = batch.to_pandas(integer_object_nulls=True).iloc[rows]
        start += len(batch)
        for name, (_, cells) in zip(names, part.items(), strict=True):
            if name in texts:
                for cell in cells:
                    texts[name].add("" if _is_missing(cell) else _spell(cell))
    numbers = np.arange(count) if chosen is None else np.flatnonzero(chosen)
    return OwnTable(path, names, _categorise(texts), "row", (numbers + 1).astype(np.uint32), count, chosen is not None)


def _is_missing(cell: object) -> bool:
    missing = pd.isna(cell) if pd.api.types.is_scalar(cell) else False
    return bool(missing)


def _spell(cell: object) -> str:
    """Return a cell as text; a whole number has no decimals."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()
