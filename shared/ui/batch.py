"""Predict many inputs at once: from a table or uploaded files to a summary, a table and a CSV."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from ..archives import count_files, read_files
from ..errors import BadInput
from ..limits import LIMITS
from ..predictor import Prediction, Predictor
from ..tables import CHUNK, Table, answer_table, write_csv
from .files import ensure_upload_folder
from .storage import keep_file

FILES_AT_ONCE = 8
# Files predicted together take no more memory than one large file.
PIXELS_AT_ONCE, BYTES_AT_ONCE = LIMITS.pixels, LIMITS.picture_bytes
OVER_BUDGET = "The pictures before this one use all pixels that one request may have; send this one separately."
ROWS_SHOWN, CHARACTERS_SHOWN = 20, 1000  # rows of a table, characters of a cell; the file has all


def answer_rows(
    table: Table,
    model: Predictor[Any, Any, Any],
    progress: gr.Progress,
    chunk: int = CHUNK,
) -> tuple[dict[str, Any], pd.DataFrame, str]:
    """Predict the rows of a table; return a summary, the first 20 rows for display, and the path of a CSV.

    The summary names the file's encoding if it had to be guessed.

    Args:
        table: the rows; see shared.tables.read_csv.
        model: the predictor.
        progress: the progress bar.
        chunk: number of rows predicted at once.
    """
    shown: list[dict[str, object]] = []
    added: dict[str, None] = {}
    bad = 0

    def count(rows: Iterable[dict[str, object]]) -> Iterator[dict[str, object]]:
        nonlocal bad
        for row in rows:
            bad += bool(row["error"])
            if len(shown) < ROWS_SHOWN:
                shown.append({name: _shorten(cell) for name, cell in row.items()})
            yield row

    def answer(cells: list[dict[str, str]]) -> Sequence[Any]:
        return model.predict_each([model.from_row(row) for row in cells])

    def cells(prediction: Prediction) -> dict[str, object]:
        row = prediction.as_row()
        added.update(dict.fromkeys(row))
        return row

    rows = count(answer_table(table, answer, cells, progress, chunk))
    first = next(rows)
    with tempfile.TemporaryDirectory(dir=ensure_upload_folder()) as folder:
        path = write_csv(Path(folder) / "predictions.csv", chain([first], rows), table.delimiter, list(first))
        kept = keep_file(path)
    summary: dict[str, Any] = {"rows": len(table), "answered": len(table) - bad, "errors": bad}
    if table.guessed:
        summary["encoding"] = f"{table.guessed}, a guess; save the file as UTF-8 if letters look wrong"
    return summary, _make_preview(shown, list(added)), kept


def _make_preview(
    rows: Sequence[Mapping[str, object]], answer: Sequence[str], label: Sequence[str] = ()
) -> pd.DataFrame:
    """Return rows as a table for a page, with the most important columns first, where a narrow screen shows them.

    Args:
        rows: rows as {column: cell} including "error"; some may lack columns.
        answer: the columns of a prediction, the most important first. Errors, if any, follow that column.
        label: columns that identify the row.
    """
    errors = ["error"] if any(row["error"] for row in rows) else []
    columns = dict.fromkeys([*label, *answer[:1], *errors, *answer, "error", *(name for row in rows for name in row)])
    cells = [["" if (cell := row.get(name)) is None else cell for name in columns] for row in rows]
    return pd.DataFrame(cells, columns=list(columns))


def _shorten(cell: object) -> object:
    if isinstance(cell, str) and len(cell) > CHARACTERS_SHOWN:
        return f"{cell[:CHARACTERS_SHOWN]} …"
    return cell


def answer_files(
    files: Sequence[str] | None,
    model: Any,
    progress: gr.Progress,
    keep: Callable[[Any], None] = lambda _: None,
    at_once: int = FILES_AT_ONCE,
) -> tuple[dict[str, int], pd.DataFrame, str]:
    """Predict uploaded files, and the files in uploaded zips; return a summary, a table, and the path of a CSV.

    Args:
        files: paths of the uploads.
        model: the predictor. `estimate_cost` gives the cost of a file in pixels, and `max_request_cost` limits the
            total; files beyond the limit get an error.
        progress: the progress bar.
        keep: called with each prediction, in order, to keep more of it than its row.
        at_once: number of files predicted together, whose predictions are in memory at the same time.
    """
    rows: list[dict[str, object]] = []
    added: dict[str, None] = {}
    count = count_files(files)
    for batch in _group_files(_limit_cost(read_files(files), model.estimate_cost, model.max_request_cost), at_once):
        replies = iter(model.predict_each([content for _, content in batch if not isinstance(content, BadInput)]))
        for label, content in batch:
            reply = content if isinstance(content, BadInput) else next(replies)
            if isinstance(reply, BadInput):
                rows.append({"file": label, "error": str(reply)})
            else:
                keep(reply)
                answer = reply.as_row()
                added.update(dict.fromkeys(answer))
                rows.append({"file": label, **answer, "error": ""})
        progress((len(rows), count), unit="files")
    bad = sum(bool(row["error"]) for row in rows)
    with tempfile.TemporaryDirectory(dir=ensure_upload_folder()) as folder:
        kept = keep_file(write_csv(Path(folder) / "predictions.csv", rows))
    summary = {"files": len(rows), "answered": len(rows) - bad, "errors": bad}
    return summary, _make_preview(rows, list(added), label=["file"]), kept


def _limit_cost(
    files: Iterable[tuple[str, Any]], cost: Callable[[Any], int], most: int
) -> Iterator[tuple[str, Any, int]]:
    """Yield files with their cost in pixels; a file that is invalid or beyond the budget becomes a BadInput."""
    left = most
    for label, content in files:
        try:
            if isinstance(content, BadInput):
                raise content
            pixels = cost(content)
            if pixels > left:
                raise BadInput(OVER_BUDGET)
        except BadInput as error:
            yield label, error, 0
        else:
            left -= pixels
            yield label, content, pixels


def _group_files(files: Iterable[tuple[str, Any, int]], at_once: int) -> Iterator[list[tuple[str, Any]]]:
    """Yield groups of files to predict together, small enough to limit the memory of their contents and pixels."""
    batch: list[tuple[str, Any]] = []
    pixels = size = 0
    for label, content, own in files:
        own_size = len(content) if isinstance(content, bytes) else 0
        if batch and (len(batch) == at_once or pixels + own > PIXELS_AT_ONCE or size + own_size > BYTES_AT_ONCE):
            yield batch
            batch, pixels, size = [], 0, 0
        batch.append((label, content))
        pixels, size = pixels + own, size + own_size
    if batch:
        yield batch
