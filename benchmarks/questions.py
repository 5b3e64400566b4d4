"""What visitors ask the gallery in benchmarks/load.py, with the answers of the same models in this process.

The inputs are few and are asked again and again, so that each can be compared.
"""

import csv
import importlib.util
import io
import json
import math
import random
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks import inputs
from benchmarks.apps import MODELS, ROOT
from benchmarks.clients import Client
from shared import load_model

File = tuple[str, bytes]  # name and content
SIZES = {"phone": (4000, 3000), "street": (960, 720), "web": (500, 375), "tiny": (64, 48)}
ASSET = re.compile(r'(?:src|href)="\./(assets/[^"]+)"')


@dataclass(frozen=True)
class Question:
    """What a visitor asks, and the answer.

    Attributes:
        endpoint: the name of an endpoint, or for `is_get` a path.
        data: the arguments after the files.
        files: files to upload first; they are the first argument, as a list if `is_list`.
        expected: parts of the first output; for `is_get` the content, or a part of it. None: any answer is right.
        rows: for a batch, cells of the CSV that comes with the answer.
    """

    endpoint: str
    data: tuple[Any, ...] = ()
    files: tuple[File, ...] = field(default=(), repr=False)
    expected: Any = None
    rows: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    is_list: bool = False
    is_get: bool = False

    def ask(self, client: Client) -> None:
        """Ask, and compare the answer.

        Raises:
            WrongAnswer: the answer is another one.
            OSError, http.client.HTTPException, RuntimeError: see Client.ask.
        """
        if self.is_get:
            content = client.request("GET", self.endpoint)
            self.check(self.expected in content, content[:200])
            return
        uploads = client.upload(*self.files) if self.files else []
        answer = client.call(self.endpoint, [*([uploads] if self.is_list else uploads), *self.data])
        self.check(self.expected is None or agrees(answer[0], self.expected), answer[0])
        if self.rows:
            found = read_rows(client.request("GET", f"/gradio_api/file={answer[2]['path']}"))
            self.check(agrees(found, list(self.rows)), found)

    def check(self, is_right: bool, found: object) -> None:
        """Raise WrongAnswer unless the answer is right."""
        if not is_right:
            raise WrongAnswer(f"{self.endpoint} answered {str(found)[:200]}, not {str(self.expected)[:200]}.")


class WrongAnswer(Exception):
    """An answer that differs from that of the model in this process."""


def agrees(found: Any, expected: Any) -> bool:
    """Return True if the answer has the expected parts, numbers to five digits."""
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(agrees(found.get(key), value) for key, value in expected.items())
    if isinstance(expected, list):
        return isinstance(found, list) and len(found) == len(expected) and all(map(agrees, found, expected))
    if isinstance(expected, float):
        return isinstance(found, float | int) and math.isclose(found, expected, rel_tol=1e-5, abs_tol=1e-6)
    return bool(found == expected)


# --- questions for the gallery, by kind ---


def make_questions() -> dict[str, list[Question]]:
    """Return the questions of each kind."""
    photos = {name: inputs.encode_jpeg(inputs.draw_picture(*size)) for name, size in SIZES.items()}
    makers = [ask_salary(), ask_rating(), ask_sentiment(), ask_pictures(photos), ask_batches(photos), ask_pages()]
    asked: dict[str, list[Question]] = {}
    for kind, question in (pair for maker in makers for pair in maker):
        asked.setdefault(kind, []).append(question)
    return asked


@cache
def open_model(name: str) -> Any:
    """Return the model of a Space."""
    return load_model(ROOT / "spaces" / name / "model")


def make_people(ages: Iterable[int]) -> list[dict[str, Any]]:
    """Return people who differ in age."""
    return [{**open_model("salary").example(), "age": age} for age in ages]


def ask_salary() -> Iterator[tuple[str, Question]]:
    """Yield forms, and explanations of some."""
    model = open_model("salary")
    for person in make_people(range(18, 88)):
        data = tuple(person[column] for column in model.config.columns)
        yield "salary", Question("salary", data, expected={"probabilities": model.predict(person).probabilities})
        if person["age"] % 6 == 0:
            why = {"contributions": model.explain(person).contributions}
            yield "salary_explain", Question("salary_explain", data, expected=why)


def ask_rating() -> Iterator[tuple[str, Question]]:
    """Yield ratings of users of the data set."""
    model, rng = open_model("rating"), random.Random(0)
    for movie in rng.sample(sorted(model.movies), 100):
        user = rng.choice(model.config.users)
        yield "rating", Question("rating", (user, movie), expected={"rating": model.predict(user, movie).rating})


def ask_sentiment() -> Iterator[tuple[str, Question]]:
    """Yield reviews of 5 to 200 words, and explanations of some."""
    model = open_model("sentiment")
    for words in (*range(5, 100, 5), 200):
        text = inputs.make_review(words)
        yield "sentiment", Question("sentiment", (text,), expected={"probabilities": model.predict(text).probabilities})
        if words in (20, 40, 60):
            why = model.explain(text)
            parts = {"label": why.label, "base": why.base, "probability": why.probability}
            yield "sentiment_explain", Question("sentiment_explain", (text, None), expected=parts)


def ask_pictures(photos: dict[str, bytes]) -> Iterator[tuple[str, Question]]:
    """Yield pictures of several sizes."""
    cat_dog, segmentation = open_model("cat_dog"), open_model("segmentation")
    for name, photo in photos.items():
        files = ((f"{name}.jpg", photo),)
        expected = {"probabilities": cat_dog.predict(photo).probabilities}
        yield "cat_dog", Question("cat_dog", files=files, expected=expected)
        if name in ("street", "web"):
            shares = {"shares": segmentation.predict(photo).share}
            yield "segmentation", Question("segmentation", files=files, expected=shares)


def ask_batches(photos: dict[str, bytes]) -> Iterator[tuple[str, Question]]:
    """Yield a table, files of texts, several pictures, and a zip."""
    salary, sentiment, cat_dog = (open_model(name) for name in ("salary", "sentiment", "cat_dog"))
    people = make_people([18 + number % 70 for number in range(200)])
    table = ("people.csv", write_table(people))
    yield "salary_batch", make_batch("salary_batch", table, rows=answer_rows(salary, people), unit="rows")
    for count in (5, 40):
        lines = [inputs.make_review(words) for words in range(3, 3 + count)]
        texts = ("reviews.txt", "\n".join(lines).encode())
        rows = answer_rows(sentiment, lines)
        yield "sentiment_batch", make_batch("sentiment_batch", texts, rows=rows, unit="rows")
    pictures = [(f"{name}.jpg", photos[name]) for name in ("street", "web", "tiny")]
    rows = answer_rows(cat_dog, [content for _, content in pictures])
    for files in (pictures, [("pictures.zip", write_zip(pictures))]):
        yield "cat_dog_batch", make_batch("cat_dog_batch", *files, rows=rows, unit="files", is_list=True)


def make_batch(endpoint: str, *files: File, rows: list[dict[str, Any]], unit: str, is_list: bool = False) -> Question:
    """Return a batch whose answer has these rows."""
    summary = {unit: len(rows), "answered": len(rows), "errors": 0}
    return Question(endpoint, files=files, expected=summary, rows=tuple(rows), is_list=is_list)


def answer_rows(model: Any, items: list[Any]) -> list[dict[str, Any]]:
    """Return the cells that a batch adds to each row of a CSV."""
    rows = [answer.as_row() for answer in model.predict_batch(items)]
    return [{name: "" if cell is None else cell for name, cell in row.items()} for row in rows]


def write_table(rows: list[dict[str, Any]]) -> bytes:
    """Return rows as CSV."""
    content = io.StringIO()
    writer = csv.DictWriter(content, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return content.getvalue().encode()


def write_zip(files: Iterable[File]) -> bytes:
    """Return files as a zip, which is the same each time."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name), data)
    return content.getvalue()


def read_rows(content: bytes) -> list[dict[str, Any]]:
    """Return the rows of a CSV, with cells that are numbers as numbers."""

    def read(cell: str) -> object:
        try:
            return float(cell)
        except ValueError:
            return cell

    rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    return [{name: read(cell) for name, cell in row.items()} for row in rows]


def ask_pages() -> Iterator[tuple[str, Question]]:
    """Yield the HTML of every page, and files that it loads."""
    for name in MODELS:
        title = json.dumps(f"# {open_model(name).config.about.title}")[1:-1].encode()
        yield "page", Question(f"/{name}", expected=title, is_get=True)
    for asset in list_assets():
        yield "asset", Question(f"/{asset.parent.name}/{asset.name}", expected=asset.read_bytes(), is_get=True)


def list_assets() -> list[Path]:
    """Return the files that Gradio's page loads first, as they are on disk."""
    found = importlib.util.find_spec("gradio")
    folder = Path(found.submodule_search_locations[0]) / "templates/frontend"
    return [folder / name for name in ASSET.findall((folder / "index.html").read_text(encoding="utf-8"))]
