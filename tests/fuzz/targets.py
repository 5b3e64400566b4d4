"""What is fuzzed: every predictor, the batches of every app, and the loading of a checkpoint folder."""

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.conftest import ROOT

from . import formats
from .judge import mark
from .mutants import Draw, name_families
from .values import damaged_json, reviews, scalars, texts, values

Cases = st.SearchStrategy[list[Any]]


@dataclass(frozen=True)
class Target:
    """Something that is fuzzed.

    A case is a list of arguments; `families` maps families, such as "PNG: bit flips", to their cases. `prepare` loads
    what is asked, in a worker process, and returns the function that takes the arguments. `decoder` is the stage that a
    case reaches if no earlier check refuses it; see judge.py. `weight` is the share of all cases, which the families
    divide equally, and `seconds` limits the CPU time of one case.
    """

    name: str
    weight: int
    families: dict[str, Cases]
    prepare: Callable[[], Callable[..., Any]]
    decoder: str
    seconds: float = 30.0


def read_config(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ROOT / "spaces" / name / "model/gallery.json").read_text(encoding="utf-8"))
    return content


def load(name: str) -> Any:
    """Load the model of a Space, and let it predict once, so that no case pays for the start."""
    from shared import load_model

    model = load_model(ROOT / "spaces" / name / "model")
    model.predict_batch([model.example()])
    return model


# --- pictures ---


def shrink_working_size(model: Any) -> Any:
    """Let a segmentation model work at its smallest size, which takes a fraction of the time."""
    model.config = model.config.model_copy(update={"area": 4096})
    return model


def make_picture_families(labels: Sequence[str]) -> dict[str, Cases]:
    """Return a picture for `predict`, or now and then for `explain`, which may take a label."""

    @st.composite
    def ask(draw: Draw, pictures: st.SearchStrategy[bytes]) -> list[Any]:
        data = draw(pictures)
        if draw(st.integers(0, 7)):
            return ["predict", data]
        return ["explain", data, draw(st.sampled_from([None, *labels]) | texts)] if labels else ["explain", data]

    return {family: ask(pictures) for family, pictures in name_families(*formats.PICTURES).items()}


def ask_method(model: Any) -> Callable[..., Any]:
    """Return a function that calls the method of a predictor that it is given the name of."""
    return lambda method, *arguments: getattr(model, method)(*arguments)


# --- texts, rows and ratings ---


def make_text_families() -> dict[str, Cases]:
    labels = read_config("sentiment")["labels"]
    label, part, short = (
        st.sampled_from(labels) | values,
        st.integers(-1, 20) | scalars,
        reviews.map(lambda text: text[:200]),
    )
    return {
        "texts": st.tuples(st.just("predict"), reviews).map(list),
        "texts: no text": st.tuples(st.just("predict"), values).map(list),
        "texts: labels": st.tuples(st.just("explain"), short, label).map(list),
        "texts: parts": st.tuples(st.just("explain"), short, st.none(), part).map(list),
    }


def make_row_families(config: dict[str, Any]) -> dict[str, Cases]:
    typical, columns = config["typical"], list(config["typical"])

    @st.composite
    def ask(draw: Draw, rows: Cases) -> list[Any]:
        question = draw(st.sampled_from(["predict"] * 6 + ["what_if"] * 2 + ["explain"]))
        more = [draw(st.sampled_from(columns) | scalars)] if question == "what_if" else []
        return [question, draw(rows), *more]

    @st.composite
    def replace_values(draw: Draw) -> dict[str, Any]:
        row = dict(typical)
        for column in draw(st.lists(st.sampled_from(columns), min_size=1, max_size=3)):
            known = st.sampled_from(config["categories"].get(column, ["17", 90.0]))
            row[column] = draw(known | scalars | values)
        return row

    return {
        "rows: values": ask(replace_values()),
        "rows: columns": ask(damaged_json(typical)),
        "rows: no row": ask(values),
        "rows: lists": damaged_json([typical, typical]).map(lambda rows: ["predict_batch", rows]),
    }


def prepare_prices() -> Callable[..., Any]:
    from tests.shared.test_tabular_kinds import WEIGHTS, imitate, make_kind

    folder = Path(tempfile.mkdtemp()) / "prices"
    model = make_kind(folder, task="tabular-regression", target="price", unit="€")
    imitate(model, [WEIGHTS, {"age": 0.2}])
    model._run = mark("model", model._run)
    return ask_method(model)


USERS, MOVIES = st.sampled_from([1, 15, 600]), st.sampled_from([1, 260, "260", "Toy Story (1995)", "300"])
RATINGS = st.dictionaries(
    (st.integers(1, 300).map(str) | texts), st.sampled_from([0.5, 3, 5, "4"]) | scalars, max_size=8
)


RATING_FAMILIES: dict[str, Cases] = {
    "ratings: pairs": st.tuples(
        st.sampled_from(["predict", "explain", "find_rating"]), USERS | values, MOVIES | values
    ),
    "ratings: lists of pairs": st.tuples(st.just("predict_batch"), damaged_json([[15, 260], [1, 1]])),
    "ratings: titles": st.tuples(st.sampled_from(["find", "similar"]), MOVIES | texts),
    "ratings: counts": st.tuples(
        st.sampled_from(["recommend", "similar"]), st.just(15) | values, st.integers(1, 9) | scalars
    ),
    "ratings: visitors": st.tuples(st.just("fold_in"), RATINGS | values),
}


def prepare_rating() -> Callable[..., Any]:
    model = load("rating")

    def ask(method: str, *arguments: Any) -> Any:
        if method != "fold_in":
            return getattr(model, method)(*arguments)
        visitor = model.fold_in(*arguments)
        return model.recommend(visitor, 3), model.explain(visitor, 260), model.predict_batch([(15, 260)])

    return ask


# --- the batches of the apps ---


def make_file_families(*kinds: formats.Format) -> dict[str, Cases]:
    """Return an ending and the content of a file."""
    endings = {kind.name: st.sampled_from([kind.suffix] * 5 + ["", ".txt", ".CSV", ".zip", ".png"]) for kind in kinds}
    return {
        family: st.tuples(endings[family.partition(":")[0]], contents)
        for family, contents in name_families(*kinds).items()
    }


def prepare_batch(*names: str) -> Callable[[], Callable[..., Any]]:
    """Return a `prepare` for the batches of some apps; a file goes to one of them, chosen by its length."""

    def prepare() -> Callable[..., Any]:
        from tests.conftest import load_app

        apps = [load_app(name) for name in names]
        for app in apps:
            app.model.predict_batch([app.model.example()])
            if app.model.task == "image-segmentation":
                shrink_working_size(app.model)
        folder = Path(tempfile.mkdtemp())

        def ask(suffix: str, data: bytes) -> Any:
            path = folder / f"upload{suffix}"
            path.write_bytes(data)
            app = apps[len(data) % len(apps)]
            is_one = app.model.columns
            summary, table, *_ = app.batch(str(path) if is_one else [str(path)])
            return summary, {"errors": [error for error in table["error"] if error]}

        return ask

    return prepare


# --- checkpoint folders ---


def make_checkpoint_families(name: str, kind: formats.Format) -> dict[str, Cases]:
    """Return the name of a file in a checkpoint folder, and its content."""
    families = name_families(kind)
    if kind is formats.CONFIG:
        families["gallery.json: types"] = damaged_json(read_config("salary")).map(
            lambda tree: json.dumps(tree).encode()
        )
    return {family: st.tuples(st.just(name), contents) for family, contents in families.items()}


FOLDER_FILES = {"gallery.json": formats.CONFIG, "onnx/model.onnx": formats.ONNX}


def prepare_checkpoint() -> Callable[..., Any]:
    from shared import load_model

    folder = Path(tempfile.mkdtemp()) / "model"
    shutil.copytree(ROOT / "spaces/salary/model", folder)

    def ask(name: str, data: bytes) -> None:
        before = (folder / name).read_bytes()
        try:
            (folder / name).write_bytes(data)
            load_model(folder)
        finally:
            (folder / name).write_bytes(before)

    return ask


def list_targets() -> list[Target]:
    """Return all targets; their weights sum to 100."""
    from .endpoints import ENDPOINTS

    pictures, rows = make_picture_families(read_config("cat_dog")["labels"]), make_row_families(read_config("salary"))
    texts_, reviews_ = make_text_families(), make_file_families(formats.REVIEWS, formats.LINES)
    config, onnx = (make_checkpoint_families(*item) for item in FOLDER_FILES.items())
    return [
        ENDPOINTS,
        Target("cat_dog", 26, pictures, lambda: ask_method(load("cat_dog")), "pixels"),
        Target(
            "segmentation", 10, make_picture_families(()),
            lambda: ask_method(shrink_working_size(load("segmentation"))), "pixels",
        ),
        Target("sentiment", 6, texts_, lambda: ask_method(load("sentiment")), "model"),
        Target("salary", 7, rows, lambda: ask_method(load("salary")), "model"),
        Target("prices", 4, rows, prepare_prices, "model"),
        Target("rating", 7, RATING_FAMILIES, prepare_rating, "model"),
        Target("zips", 7, make_file_families(formats.ZIP), prepare_batch("cat_dog", "segmentation"), "member"),
        Target("salary batch", 4, make_file_families(formats.PEOPLE), prepare_batch("salary"), "row"),
        Target("rating batch", 4, make_file_families(formats.PAIRS), prepare_batch("rating"), "row"),
        Target("sentiment batch", 4, reviews_, prepare_batch("sentiment"), "row"),
        Target("config", 4, config, prepare_checkpoint, "config"),
        Target("onnx", 1, onnx, prepare_checkpoint, "session"),
    ]  # fmt: skip
