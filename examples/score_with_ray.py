"""Score millions of inputs with Ray Data: a folder of pictures, or a Parquet or CSV file of rows.

    python examples/score_with_ray.py spaces/cat_dog/model ~/pictures scored
    python examples/score_with_ray.py spaces/salary/model people.parquet scored --workers 8

OUTPUT_DIR gets a Parquet file for each part of the input, with its rows and answers. The column "error" tells why
a row could not be answered. After an interruption, the same command continues with the missing parts. On a cluster
(RAY_ADDRESS), model, input and OUTPUT_DIR must be on storage that all machines share.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import ray
from tqdm import tqdm

from shared import BadInput, CheckpointError, load_model
from shared.config import CONFIG_FILE, sha256
from shared.console import guard_output
from shared.images import SUFFIXES
from shared.tables import rename_columns

Part = tuple[int, int, int]  # row group of the Parquet file, first row in it, number of rows


def convert_to_parquet(source: Path, out: Path) -> Path:
    """Return the input as Parquet: unchanged, or written once from a CSV (as text) or a folder's file names."""
    if source.suffix == ".parquet":
        return source.resolve()
    path, partial = out / "rows.parquet", out / "rows.parquet.partial"
    if path.exists():  # a restart uses the input of the first start
        return path
    if source.is_dir():
        files = sorted(str(file.resolve()) for file in source.rglob("*") if file.suffix.lower() in SUFFIXES)
        pq.write_table(pa.table({"file": pa.array(files, pa.string())}), partial)
    else:
        lines = pyarrow.csv.ParseOptions(newlines_in_values=True)
        with pyarrow.csv.open_csv(source, parse_options=lines) as reader:
            as_text = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(reader.schema.names, pa.string()))
        reader = pyarrow.csv.open_csv(source, convert_options=as_text, parse_options=lines)
        with reader, pq.ParquetWriter(partial, reader.schema) as writer:
            for batch in reader:
                writer.write_batch(batch)
    return partial.replace(path)


def find_problem(model: Any, path: Path) -> str:
    """Return a sentence if a Parquet file has no rows, or lacks a column that the model needs; else ""."""
    about = pq.ParquetFile(path)
    needed = model.columns or ["file"]
    if missing := [name for name in needed if name not in about.schema_arrow.names]:
        return f"The input lacks the column {missing[0]}; the model needs {', '.join(needed)}."
    return "" if about.metadata.num_rows else "There is nothing to score in the input."


def list_parts(path: Path, part_rows: int) -> list[Part]:
    """Return the parts of a Parquet file, each of at most `part_rows` rows of one row group."""
    about = pq.ParquetFile(path).metadata
    sizes = [about.row_group(group).num_rows for group in range(about.num_row_groups)]
    return [
        (group, start, min(part_rows, size - start))
        for group, size in enumerate(sizes)
        for start in range(0, size, part_rows)
    ]


def read(path: Path, part: Part) -> pa.Table:
    """Return the rows of a part, without loading the others into memory."""
    group, start, rows = part
    seen, found = 0, []
    for batch in pq.ParquetFile(path).iter_batches(row_groups=[group]):  # of 65,536 rows
        if seen + len(batch) > start:
            found.append(batch.slice(max(0, start - seen), start + rows - max(seen, start)))
        seen += len(batch)
        if seen >= start + rows:
            break
    return pa.Table.from_batches(found)


def read_items(model: Any, table: pa.Table) -> list[Any]:
    """Return the inputs that the rows of a table describe."""
    rows = table.select(model.columns or ["file"]).to_pylist()
    return [model.from_row(row) if model.columns else row["file"] for row in rows]


def make_cells(answer: Any) -> dict[str, Any]:
    """Return the columns of an answer; the last one is its error or ""."""
    return {"error": str(answer)} if isinstance(answer, BadInput) else {**answer.as_row(), "error": ""}


class Scorer:
    """Score parts and write them. Each process has its own; the pickled model is only the path to load it from."""

    def __init__(self, model: Any, source: Path, out: Path) -> None:
        self.model, self.source, self.out = model, source, out
        model.session.threads = 1  # the processes share the cores
        example = make_cells(model.predict_batch([model.example()])[0])
        # Only a number can be missing in an answer, such as the probabilities of a rejected picture.
        self.types = {name: pa.float64() if cell is None else pa.scalar(cell).type for name, cell in example.items()}

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        batch["errors"] = np.array([self.score(tuple(part)) for part in batch["part"].tolist()])
        return batch

    def score(self, part: Part) -> int:
        """Score and write one part; return the number of rows with an error."""
        table = read(self.source, part)
        added = [make_cells(answer) for answer in self.model.predict_each(read_items(self.model, table))]
        table = table.rename_columns(rename_columns(table.column_names, list(self.types)))
        for name, kind in self.types.items():
            table = table.append_column(name, pa.array([row.get(name) for row in added], kind))
        partial = self.out / f"{name_part(part)}.partial"
        pq.write_table(table, partial)
        partial.replace(self.out / name_part(part))
        return sum(bool(row["error"]) for row in added)


def name_part(part: Part) -> str:
    """Return the name of a part's file."""
    return "part-{:05}-{:08}-{}.parquet".format(*part)


def time_plain_loop(model: Any, asked: list[Any], at_once: int) -> float:
    """Return the rows a second that this process scores alone, `at_once` at a time."""
    began = time.perf_counter()
    for start in tqdm(range(0, len(asked), at_once), f"{at_once} at once", leave=False):
        model.predict_each(asked[start : start + at_once])
    return len(asked) / (time.perf_counter() - began)


def prepare(options: argparse.Namespace) -> tuple[Any, Path, Path]:
    """Return the model, the input as Parquet, and the output folder; exit with a sentence if they cannot be used."""
    out = options.out.resolve()
    if not options.input.exists():
        sys.exit(f"There is no {options.input}; INPUT is a folder of pictures, or a Parquet or CSV file of rows.")
    try:
        model = load_model(options.model)
    except CheckpointError as error:
        sys.exit(str(error))
    out.mkdir(parents=True, exist_ok=True)
    asked_of = {"model": sha256(options.model / CONFIG_FILE), "input": str(options.input.resolve())}
    asked_of |= {"changed": options.input.stat().st_mtime, "part_rows": options.part_rows}
    if (out / "run.json").exists() and json.loads((out / "run.json").read_text(encoding="utf-8")) != asked_of:
        sys.exit(f"{out} has parts of another model, input or size; choose an empty folder.")
    (out / "run.json").write_text(json.dumps(asked_of), encoding="utf-8", newline="\n")
    try:
        source = convert_to_parquet(options.input, out)
        problem = find_problem(model, source)
    except pa.ArrowInvalid as error:
        problem = f"{options.input} cannot be read: {error}"
    if problem:
        for left in ("rows.parquet", "rows.parquet.partial"):
            (out / left).unlink(missing_ok=True)  # or it would stand for the input of the next run
        (out / "run.json").unlink()
        sys.exit(problem)
    return model, source, out


def main() -> None:
    """Score the missing parts, and print the speed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL_FOLDER", type=Path)
    parser.add_argument("input", metavar="INPUT", type=Path)
    parser.add_argument("out", metavar="OUTPUT_DIR", type=Path)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes; by default one for each core")
    parser.add_argument("--part-rows", type=int, default=1000, help="rows in a part; must not change at a restart")
    parser.add_argument(
        "--compare-with-loop", type=int, default=0, metavar="ROWS", help="also time a plain loop over this many rows"
    )
    options = parser.parse_args()
    model, source, out = prepare(options)
    parts = list_parts(source, options.part_rows)
    written = {path.name for path in out.glob("part-*.parquet")}
    missing = [part for part in parts if name_part(part) not in written]
    print(f"{len(parts) - len(missing)} of {len(parts)} parts are done.", flush=True)

    if missing:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(include_dashboard=False, logging_level="warning", log_to_driver=False)
        ray.data.DataContext.get_current().enable_progress_bars = False  # the one below counts rows
        answered = ray.data.from_items([{"part": list(part)} for part in missing]).map_batches(
            Scorer,
            fn_constructor_args=(model, source, out),
            compute=ray.data.ActorPoolStrategy(size=options.workers),
            batch_size=1,
        )
        began, errors, rows, times = time.perf_counter(), 0, [], []
        with tqdm(total=sum(count for *_, count in missing), desc="Ray Data", unit="rows") as bar:
            for row in answered.iter_rows():
                errors += row["errors"]
                rows.append(row["part"][2])
                times.append(time.perf_counter() - began)
                bar.update(rows[-1])
        print(f"{sum(rows):,} rows in {times[-1]:.1f} s, {errors:,} of them with an error.")
        if len(rows) > 1:
            rate = sum(rows[1:]) / (times[-1] - times[0])
            print(f"{options.workers} processes: {rate:,.0f} rows/s after the first part, which took {times[0]:.1f} s.")
    if options.compare_with_loop:
        batch = next(pq.ParquetFile(source).iter_batches(batch_size=options.compare_with_loop))
        asked = read_items(model, pa.Table.from_batches([batch]))
        one, many = time_plain_loop(model, asked, 1), time_plain_loop(model, asked, options.part_rows)
        print(f"A plain loop: {one:,.0f} rows/s row by row, {many:,.0f} rows/s in parts.")


if __name__ == "__main__":
    guard_output()
    main()
