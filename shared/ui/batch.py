"""Answer many inputs at once: a table or uploaded files in, a summary, a table and a CSV out."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from ..archives import count_files, read_files
from ..errors import BadInput
from ..images import MAX_BYTES, MAX_PIXELS
from ..predictor import Prediction, Predictor
from ..tables import CHUNK, Table, answer_table, write_csv
from .files import ensure_upload_folder, keep_file

FILES_AT_ONCE = 8
PIXELS_AT_ONCE = MAX_PIXELS  # of files that are answered together: two decoded at once take no more than one may
BYTES_AT_ONCE = MAX_BYTES
BEYOND = "The pictures before this one have used up the pixels that one request may have; send it in another one."
ROWS_SHOWN, CHARACTERS_SHOWN = 20, 1000  # of a table, and of a cell: the rest is in the file


def answer_rows(
    table: Table,
    model: Predictor[Any, Any, Any],
    progress: gr.Progress,
    chunk: int = CHUNK,
) -> tuple[dict[str, Any], pd.DataFrame, str]:
    """Answer a table row by row: a summary, the first 20 rows with the answers first, and a CSV to download.

    The summary names the file's encoding where that had to be guessed.

    Args:
        table: the rows; see shared.tables.read_csv.
        model: answers them.
        progress: shows how far it is.
        chunk: rows that are answered at once.
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
    """Return rows as a table for a page, with what a visitor looks for in front, where a narrow screen shows it.

    Args:
        rows: cells by column, "error" among them; some may lack columns.
        answer: the columns of an answer, the most important first. Errors follow that one, if there are any.
        label: columns that say which row it is.
    """
    errors = ["error"] if any(row["error"] for row in rows) else []
    columns = dict.fromkeys([*label, *answer[:1], *errors, *answer, "error", *(name for row in rows for name in row)])
    return pd.DataFrame([[row.get(name, "") for name in columns] for row in rows], columns=list(columns))


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
    """Answer uploaded files, and those in uploaded zips: a summary, a table, and the table as CSV to download.

    Args:
        files: paths of the uploads.
        model: answers paths or contents; its `cost` says what one costs in pixels, and `max_request_cost` what all may
            cost together. The files beyond that get a sentence.
        progress: shows how far it is.
        keep: called with each prediction, in order, to keep more of it than its row.
        at_once: files that are answered together, whose answers are in memory at the same time.
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
    """Yield files with what each costs in pixels; one that is bad, or that is beyond the budget, becomes a BadInput."""
    left = most
    for label, content in files:
        try:
            if isinstance(content, BadInput):
                raise content
            pixels = cost(content)
            if pixels > left:
                raise BadInput(BEYOND)
        except BadInput as error:
            yield label, error, 0
        else:
            left -= pixels
            yield label, content, pixels


def _group_files(files: Iterable[tuple[str, Any, int]], at_once: int) -> Iterator[list[tuple[str, Any]]]:
    """Yield files to be answered together, so few that their contents and their pixels take bounded memory."""
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
