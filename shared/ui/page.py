"""What every page of the gallery has in common: looks, limits, and errors a visitor can read."""

import contextlib
import ctypes
import functools
import html
import importlib
import io
import json
import math
import os
import tempfile
from abc import ABCMeta
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import gradio as gr
import numpy as np
import pandas as pd
from fastapi.exceptions import RequestValidationError
from gradio.components.annotated_image import AnnotatedImageData, Annotation
from gradio.data_classes import FileData
from gradio.processing_utils import save_file_to_cache
from gradio.routes import App
from gradio.utils import _parse_file_size, get_upload_folder
from numpy.typing import NDArray
from PIL import Image
from starlette.middleware import Middleware

from ..archives import count_files, read_files
from ..console import guard_output
from ..errors import BadInput
from ..images import MAX_BYTES, MAX_PIXELS, Source, load_image
from ..predictor import Predictor
from ..tables import CHUNK, Table, answer_table, write_csv
from .connections import use_timed_protocol
from .fair_queue import FairQueue, is_uploaded
from .health import Health
from .http_guard import DISK_FULL, Guard, is_disk_full, patch_gradio, raise_file_limit, refuse_form
from .inputs import SEND_FILE, SEND_PICTURE, check_inputs, sentence
from .mcp_tools import offer_tools
from .replicas import replica_middleware
from .retention import keep_bytes, start_sweeping, use_own_folder
from .sessions import use_lean_sessions

use_own_folder()  # before a component is made: each notes the folder

P = ParamSpec("P")
R = TypeVar("R")

FILES_AT_ONCE = 8
PIXELS_AT_ONCE = MAX_PIXELS  # of files that are answered together: two decoded at once take no more than one may
BYTES_AT_ONCE = MAX_BYTES
BEYOND = "The pictures before this one have used up the pixels that one request may have; send it in another one."
ROWS_SHOWN, CHARACTERS_SHOWN = 20, 1000  # of a table, and of a cell: the rest is in the file
NO_ROWS: dict[str, Any] = {"headers": ["1", "2", "3"], "data": [], "metadata": None}  # a table as Gradio begins with it
MAX_FILE = "50mb"
FOOTER = ["api", "gradio", "settings"]
SESSIONS = 200  # of visitors that Gradio remembers: each takes memory, and the default is 10,000
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # from malloc.h
LARGE, HEAPS = 2_000_000, 2  # bytes; heaps of malloc
FOR, AGAINST = (249, 115, 22), (37, 99, 235)  # orange and blue: apart for the colour-blind, too

THEME = gr.themes.Default(
    primary_hue="indigo",
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
    text_size="lg",
).set(block_info_text_color="*neutral_500")  # its grey is too pale on white
CSS = """
.gradio-container { overflow: clip !important; }  /* "hidden" would keep .answer from sticking */
.answer { position: sticky !important; top: 0; z-index: 50 !important;
  background: var(--background-fill-primary) !important; }
.bars { display: grid; grid-template-columns: minmax(7rem, 2fr) 3fr 4.5rem; gap: .35rem .75rem; align-items: center;
  margin-top: .75rem; }
.bars-label { overflow-wrap: anywhere; text-align: right; }
.bars-track { position: relative; height: 1.1rem; background: linear-gradient(90deg, transparent calc(50% - 1px),
  var(--border-color-primary) calc(50% - 1px) calc(50% + 1px), transparent calc(50% + 1px)); }
.bars-bar { position: absolute; top: 0; bottom: 0; min-width: 1px; border-radius: 2px; }
.bars-up { left: 50%; background: #0d9488; }
.bars-down { right: 50%; background: #e11d48; }
.bars-whole { position: relative; height: 1.1rem; }
.bars-whole .bars-bar { outline: 1px solid var(--border-color-primary); }  /* a dark colour on a dark page */
.textfield { word-break: normal !important; overflow-wrap: anywhere; }  /* Gradio breaks coloured words anywhere */
.bars-value { font-variant-numeric: tabular-nums; }
@media (max-width: 640px) { .bars { grid-template-columns: minmax(5rem, 2fr) 2fr 3.5rem; font-size: .9em; } }
.regions .mask:not(.active, .inactive) { opacity: var(--cover, .6) !important; }  /* a slider may set --cover */
.regions .base-image { max-height: 75vh; object-fit: contain; }
/* Gradio 6.31 puts the masks below a picture that fills the screen. */
.regions.fullscreen :is(.base-image, .mask) { position: absolute; inset: 0; width: 100%; height: 100%; max-height: none;
  object-fit: contain; }
.figures table { display: block; max-width: 100%; overflow-x: auto; border: none !important; }
.figures :is(th, td) { word-break: normal !important; overflow-wrap: normal !important; }
.figures td:not(:first-child) { white-space: nowrap; }
.figures :is(th, td):first-child { min-width: 9rem; }
.nav-holder a, footer :is(a, button) { color: var(--body-text-color) !important; }  /* its grey is too pale */
.gradio-container:has(.cards) footer :is(.show-api, .show-api-divider) { display: none; }  /* no endpoints there */
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); gap: 1rem; }
.cards .card { display: block; text-align: left; padding: 1rem; border-radius: 12px;
  border: 1px solid var(--border-color-primary);
  background: var(--background-fill-primary); color: var(--body-text-color); text-decoration: none; }
.cards .card:hover, .cards .card:focus { border-color: var(--color-accent); }
.cards .card img { width: 100%; aspect-ratio: 16 / 9; object-fit: cover; border-radius: 8px; margin: 0; }
.cards .card h2 { margin: .75rem 0 .25rem; }
.cards .card p { margin: .25rem 0; }
"""


def never_called() -> None:
    """ZeroGPU starts no app without a function for its GPU. These models need none, and no visitor's quota."""


with contextlib.suppress(ImportError):
    if gpu := getattr(importlib.import_module("spaces"), "GPU", None):  # off the Hub a folder may have that name
        gpu(duration=1)(never_called)


def show_errors(function: Callable[P, R]) -> Callable[P, R]:
    """Show a visitor (and tell an API user) the sentence of a BadInput instead of a stack trace."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except BadInput as error:
            raise sentence(str(error)) from None
        except OSError as error:
            if is_disk_full(error):
                raise gr.Error(DISK_FULL, title="That did not work") from error
            raise

    return wrapper


def _uploaded_path(_: gr.Image, payload: Any) -> Any:
    if payload is None:
        return None
    if not is_uploaded(payload.path):
        raise sentence(SEND_PICTURE)
    return payload.path


# gr.Image with type="filepath" opens the file nevertheless, and a visitor whose file is no picture is told nothing.
# This one only hands its path over: shared/images.py checks a stranger's file, and says what is wrong with it.
# (A class statement would make Gradio write a .pyi file into this folder.)
Photo = ABCMeta.__new__(
    type(gr.Image), "Photo", (gr.Image,), {"preprocess": _uploaded_path, "is_template": True, "__module__": __name__}
)


def _uploaded_paths(self: gr.File, payload: Any) -> Any:
    if payload is None:
        return None
    paths = [file.path for file in (payload if self.file_count == "multiple" else [payload])]
    if not all(is_uploaded(path) for path in paths):
        raise sentence(SEND_FILE)
    return paths if self.file_count == "multiple" else paths[0]


# gr.File refuses what is not called as file_types= has it, such as a Blob, which has no name. What a file is, its
# content says; file_types= is for the window in which a visitor chooses.
Upload = ABCMeta.__new__(
    type(gr.File), "Upload", (gr.File,), {"preprocess": _uploaded_paths, "is_template": True, "__module__": __name__}
)


def photo_input(examples: Sequence[tuple[str, str]]) -> gr.Image:
    """Where a visitor gives a picture: a file, the webcam or the clipboard; and examples, as (name, path)."""
    image: gr.Image = Photo(
        type="filepath",
        image_mode=None,
        sources=["upload", "webcam", "clipboard"],
        label="Your photo",
        height=320,
    )
    names, paths = zip(*examples, strict=True)
    gr.Examples([[path] for path in paths], image, example_labels=list(names), label="Or try", cache_examples=False)
    return image


def _already_files(_: gr.AnnotatedImage, value: tuple[str, Sequence[tuple[str, str]]] | None) -> Any:
    if value is None:
        return None
    picture, regions = value
    annotations = [Annotation(image=FileData(path=path), label=label) for path, label in regions]
    return AnnotatedImageData(image=FileData(path=picture), annotations=annotations)


# gr.AnnotatedImage for a picture and masks that are files already, and need not be encoded from arrays.
Regions = ABCMeta.__new__(
    type(gr.AnnotatedImage),
    "Regions",
    (gr.AnnotatedImage,),
    {"postprocess": _already_files, "is_template": True, "__module__": __name__},
)


def require_image(image: str | None) -> str:
    """The picture; without one an error for API users, which a page that has just been cleared does not show."""
    if image is None:
        raise gr.Error("Choose a picture first.", visible=False, print_exception=False)
    return image


class Page(gr.Blocks):
    """Gradio's Blocks with the gallery's looks and limits: by demo.launch(), and by gr.mount_gradio_app as well.

    Args:
        models: those that answer on the page; GET /health asks them.
        title: what the browser's tab says.
        options: what gr.Blocks takes besides.
    """

    def __init__(self, *models: Predictor[Any, Any, Any], title: str, **options: Any) -> None:
        super().__init__(title=title, **{"delete_cache": (3600, 3600), **options})
        self.models = models

    def launch(self, **options: Any) -> Any:
        """Serve the page, with gr.Blocks.launch's options; see `launch` below."""
        return launch(self, *self.models, **options)


def launch(demo: gr.Blocks, *models: Predictor[Any, Any, Any], **options: Any) -> Any:
    """Serve an app with the gallery's looks and limits; Gradio's own environment variables hold.

    GET /health says whether the queue and the models answer. With GALLERY_REPLICA=1 the app may be one of several
    behind a load balancer: see shared/ui/replicas.py.

    Args:
        demo: the app.
        models: those that answer in it.
        options: of gr.Blocks.launch, such as server_port=8000; they replace what is set here, but css is added.

    Returns:
        What gr.Blocks.launch returns: the FastAPI app, its address on this machine, and the shared one if there is one.
    """
    guard_output()
    _return_memory()
    raise_file_limit()
    use_timed_protocol()
    app_kwargs = _limit(demo, models, options.pop("app_kwargs", None))
    if os.environ.get("GALLERY_REPLICA") == "1":
        app_kwargs["middleware"] = [*replica_middleware(demo), *app_kwargs["middleware"]]
    root_path = options.pop("root_path", None) or os.environ.get("GRADIO_ROOT_PATH", "")
    if root_path and "://" not in root_path:
        root_path = f"/{root_path.strip('/')}"  # as Gradio needs it
    defaults = {
        "theme": THEME,
        "root_path": root_path,
        "max_file_size": MAX_FILE,
        "state_session_capacity": SESSIONS,
        "footer_links": FOOTER,
        "run_history": False,
        "enable_monitoring": False,
        "mcp_server": offer_tools(),
    }
    css = f"{CSS}\n{options.pop('css', None) or ''}"
    return gr.Blocks.launch(demo, app_kwargs=app_kwargs, css=css, **(defaults | options))


def _limit(
    demo: gr.Blocks, models: Sequence[Predictor[Any, Any, Any]], given: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Give an app its queue and /health, have old files deleted, and return what to make its FastAPI app with.

    Called again for the same app, as by a notebook's cell that is run twice, it keeps the queue there is.

    Args:
        demo: the app.
        models: those that answer in it.
        given: the caller's own keyword arguments for FastAPI; the guard comes before their middleware.
    """
    # By default Gradio sums up all calls so far after each call, for its monitoring page.
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "100")
    os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1000")
    patch_gradio()
    check_inputs()
    use_lean_sessions()
    if not isinstance(demo._queue, FairQueue):
        start_sweeping(demo)
        demo.health = Health(demo, models)
        demo.queue(api_open=False)  # /run answers only what needs no queue, such as choosing an example
        demo._queue = FairQueue(demo)
    app_kwargs = dict(given or {})
    app_kwargs["middleware"] = [Middleware(Guard, health=demo.health), *app_kwargs.get("middleware", ())]
    app_kwargs["exception_handlers"] = {RequestValidationError: refuse_form, **app_kwargs.get("exception_handlers", {})}
    return app_kwargs


def _create_app(blocks: gr.Blocks, *args: Any, **options: Any) -> Any:
    """Make Gradio's app of some Blocks; one of a Page that is mounted gets the looks and limits that launch() gives."""
    is_mounted = isinstance(blocks, Page) and options.get("parent_app") is not None
    if is_mounted:
        options["app_kwargs"] = _limit(blocks, blocks.models, options.get("app_kwargs"))
        is_offered = offer_tools()  # also puts our tools in place of Gradio's, whoever asks for them
        if options.get("mcp_server") is None:
            options["mcp_server"] = is_offered
        blocks.state_session_capacity = SESSIONS
        blocks.max_file_size = blocks.max_file_size or _parse_file_size(MAX_FILE)
        blocks.run_history, blocks.enable_monitoring = False, False  # the guard closes both
        blocks.footer_links = [link for link in blocks.footer_links if link != "runs"]
        blocks.css = f"{CSS}\n{blocks.css or ''}"
        if blocks.theme.to_dict() == gr.themes.Default().to_dict():
            blocks.theme = THEME
        blocks.css_paths, blocks.head_paths = [], []  # have been read
        blocks._set_html_css_theme_variables()
    app = create_app(blocks, *args, **options)
    if is_mounted:
        blocks._queue.set_server_app(app)  # as launch() does; Gradio's route does it at the first question over HTTP
    return app


# gr.mount_gradio_app asks nothing of the Blocks themselves, and takes no middleware from them.
create_app = App.create_app
App.create_app = staticmethod(_create_app)


def _return_memory() -> None:
    """Have a large array's memory go back to the system when it is freed, and fewer heaps for threads (glibc only)."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGE)
        mallopt(M_TRIM_THRESHOLD, 2 * LARGE)
        mallopt(M_ARENA_MAX, HEAPS)


def answer_rows(
    table: Table,
    answer: Callable[[list[dict[str, str]]], Sequence[Any]],
    cells: Callable[[Any], Mapping[str, object]],
    progress: gr.Progress,
    chunk: int = CHUNK,
) -> tuple[dict[str, Any], pd.DataFrame, str]:
    """Answer a table row by row: a summary, the first 20 rows, and a CSV to download.

    The summary names the file's encoding where that had to be guessed.

    The arguments are those of shared.tables.answer_table.
    """
    shown: list[dict[str, object]] = []
    bad = 0

    def noted(rows: Iterable[dict[str, object]]) -> Iterator[dict[str, object]]:
        nonlocal bad
        for row in rows:
            bad += bool(row["error"])
            if len(shown) < ROWS_SHOWN:
                shown.append({name: _shortened(cell) for name, cell in row.items()})
            yield row

    rows = noted(answer_table(table, answer, cells, progress, chunk))
    first = next(rows)
    with tempfile.TemporaryDirectory(dir=upload_folder()) as folder:
        path = write_csv(Path(folder) / "predictions.csv", chain([first], rows), table.delimiter, list(first))
        kept = keep_file(path)
    summary: dict[str, Any] = {"rows": len(table), "answered": len(table) - bad, "errors": bad}
    if table.guessed:
        summary["encoding"] = f"{table.guessed}, a guess; save the file as UTF-8 if letters look wrong"
    return summary, pd.DataFrame(shown, columns=list(first)), kept


def _shortened(cell: object) -> object:
    if isinstance(cell, str) and len(cell) > CHARACTERS_SHOWN:
        return f"{cell[:CHARACTERS_SHOWN]} …"
    return cell


def answer_files(
    files: Sequence[str] | None,
    answer: Callable[[Sequence[Any]], Iterable[Any]],
    cells: Callable[[Any], Mapping[str, object]],
    progress: gr.Progress,
    cost: Callable[[Any], int],
    most: int,
) -> tuple[dict[str, int], pd.DataFrame, str]:
    """Answer uploaded files, and those in uploaded zips: a summary, a table, and the table as CSV to download.

    Args:
        files: paths of the uploads.
        answer: answers a few files, paths or contents, at once; a bad one's answer is a BadInput.
        cells: turns an answer into columns.
        progress: shows how far it is.
        cost: says what a file, path or content, costs in pixels; for a bad one it raises BadInput.
        most: what all files of the request may cost; the files beyond it get a sentence.
    """
    rows: list[dict[str, object]] = []
    count = count_files(files)
    for batch in _batches(_within_budget(read_files(files), cost, most)):
        replies = iter(answer([content for _, content in batch if not isinstance(content, BadInput)]))
        for label, content in batch:
            rows.append({"file": label, **_added(content if isinstance(content, BadInput) else next(replies), cells)})
        progress((len(rows), count), unit="files")
    bad = sum(bool(row["error"]) for row in rows)
    with tempfile.TemporaryDirectory(dir=upload_folder()) as folder:
        kept = keep_file(write_csv(Path(folder) / "predictions.csv", rows))
    columns = dict.fromkeys(name for row in rows for name in row)
    table = pd.DataFrame([{name: row.get(name, "") for name in columns} for row in rows])
    return {"files": len(rows), "answered": len(rows) - bad, "errors": bad}, table, kept


def _added(reply: Any, cells: Callable[[Any], Mapping[str, object]]) -> dict[str, object]:
    return {"error": str(reply)} if isinstance(reply, BadInput) else {**cells(reply), "error": ""}


def _within_budget(
    files: Iterable[tuple[str, Any]], cost: Callable[[Any], int], most: int
) -> Iterator[tuple[str, Any, int]]:
    """Files with what each costs in pixels; one that is bad, or that is beyond the budget, becomes a BadInput."""
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


def _batches(files: Iterable[tuple[str, Any, int]]) -> Iterator[list[tuple[str, Any]]]:
    """Files to be answered together, so few that their contents and their pixels take bounded memory."""
    batch: list[tuple[str, Any]] = []
    pixels = size = 0
    for label, content, own in files:
        own_size = len(content) if isinstance(content, bytes) else 0
        if batch and (len(batch) == FILES_AT_ONCE or pixels + own > PIXELS_AT_ONCE or size + own_size > BYTES_AT_ONCE):
            yield batch
            batch, pixels, size = [], 0, 0
        batch.append((label, content))
        pixels, size = pixels + own, size + own_size
    if batch:
        yield batch


def keep_picture(image: Image.Image, name: str, **options: Any) -> str:
    """Save a picture under a name whose ending is its format, where delete_cache= will find it; returns its path.

    Gradio shows and offers a file as it is, while a PIL image it would encode as WebP.
    """
    content = io.BytesIO()
    image.save(content, Image.registered_extensions()[Path(name).suffix], **options)
    return keep_bytes(content.getvalue(), name)


def keep_file(path: Path) -> str:
    """Copy a file to where delete_cache= will find it; return the copy's path."""
    kept: str = save_file_to_cache(path, get_upload_folder())
    os.utime(kept)
    return kept


def upload_folder() -> str:
    """Return the folder of uploads, which exists: what a killed process leaves in it is deleted in time."""
    folder = Path(get_upload_folder())
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


def keep_region(where: NDArray[np.bool_], colour: Sequence[int]) -> str:
    """Save a mask (height, width) as a PNG of `colour` (red, green, blue), transparent elsewhere; returns its path."""
    region = Image.fromarray(where.astype(np.uint8))
    region.putpalette([0, 0, 0, *colour])
    return keep_picture(region, "region.png", transparency=0, compress_level=3)


def evidence_over(
    image: Source, evidence: NDArray[np.float32], side: int = 640, largest: float | None = None
) -> Image.Image:
    """A picture, `side` pixels long at most, under a map of evidence: orange speaks for it, blue against it.

    Args:
        image: the picture.
        evidence: (rows, columns) float32 over the whole picture.
        side: the long side of the result in pixels.
        largest: the absolute value that gets the full colour; by default the largest there is.
    """
    shown = load_image(image, side).thumbnail(side)
    strength = evidence / (largest or np.abs(evidence).max() or 1)
    smooth = np.asarray(Image.fromarray(strength.astype(np.float32)).resize(shown.size, Image.Resampling.BICUBIC))
    colour = np.where(smooth[..., None] > 0, np.array(FOR, np.float32), np.array(AGAINST, np.float32))
    cover = np.clip(np.abs(smooth), 0, 1)[..., None] * 0.65
    pixels = np.asarray(shown.convert("L"), dtype=np.float32)[..., None]  # grey, so that the colours are the map's
    return Image.fromarray((pixels * (1 - cover) + colour * cover).round().astype(np.uint8))


def about_model(model: Predictor[Any, Any, Any]) -> None:
    """Add the fold-out that every page ends with: the model's card, README.md in its folder."""
    if model.origin:
        gr.Markdown(model.origin, elem_classes="origin")
    card = (model.folder / "README.md").read_text(encoding="utf-8")
    with gr.Accordion("About this model: figures, limits, licence", open=False):
        gr.Markdown(card.split("---\n", 2)[-1], elem_classes="figures")


def clear_at_once(event: Callable[..., Any], outputs: Sequence[gr.components.Component], values: Sequence[Any]) -> None:
    """Set components to what they are when nothing is known, so that nothing old stands beside a new answer.

    The browser does it, without asking the server, before anything that the same event asks the server for.

    Args:
        event: such as text.change.
        outputs: two or more components.
        values: one for each, as JSON has them.
    """
    event(None, None, list(outputs), js=f"() => {json.dumps(values)}", api_visibility="private", show_progress="hidden")


def answer_uploads(file: gr.File, function: Callable[..., Any], outputs: Sequence[gr.components.Component]) -> None:
    """Answer what is uploaded, at the endpoint "batch"; what was shown of an earlier file goes at once.

    Args:
        file: where a visitor puts one file or several.
        function: answers them.
        outputs: two or more; the first one shows the progress.
    """
    for event in (file.upload, file.clear):
        clear_at_once(event, outputs, [NO_ROWS if isinstance(each, gr.Dataframe) else None for each in outputs])
    file.upload(function, file, list(outputs), api_name="batch", show_progress_on=outputs[0])


def add_up(parts: Mapping[str, float], base: float, total: float, digits: int) -> dict[str, float]:
    """Round the parts of a sum so that they still add up: rounded base + rounded parts == rounded total.

    Each part is rounded down or up; those with the largest remainders are rounded up.

    Args:
        parts: label to value; base + the sum of the values is the total.
        base: what the parts are added to.
        total: the sum.
        digits: after the decimal point.
    """
    unit = 10**digits
    due = round(round(total, digits) * unit) - round(round(base, digits) * unit)
    steps = {label: math.floor(value * unit) for label, value in parts.items()}
    by_remainder = sorted(parts, key=lambda label: steps[label] - parts[label] * unit)
    missing = due - sum(steps.values())
    for position in range(abs(missing) if parts else 0):
        index = position if missing > 0 else -1 - position
        steps[by_remainder[index % len(by_remainder)]] += 1 if missing > 0 else -1
    return {label: step / unit for label, step in steps.items()}


def signed_bars(title: str, values: dict[str, float], written: Callable[[float], str]) -> str:
    """A bar for each value around a common zero line, as HTML that suits narrow and dark screens.

    Args:
        title: the sentence above the bars.
        values: label to signed value, drawn in this order; labels are escaped.
        written: turns a value into words, such as `points`.
    """
    largest = max((abs(value) for value in values.values()), default=0) or 1
    rows = [
        f'<div class="bars-label">{html.escape(label)}</div><div class="bars-track">'
        f'<div class="bars-bar bars-{"up" if value >= 0 else "down"}" style="width:{50 * abs(value) / largest:.1f}%">'
        f'</div></div><div class="bars-value">{html.escape(written(value))}</div>'
        for label, value in values.items()
    ]
    return f'<p>{html.escape(title)}</p><div class="bars">{"".join(rows)}</div>'


def share_bars(title: str, shares: Mapping[str, float], colours: Mapping[str, str]) -> str:
    """A bar for each part of a whole, as HTML that suits narrow and dark screens.

    Args:
        title: the sentence above the bars.
        shares: label to share (0 … 1), drawn in this order; labels are escaped. The largest has the longest bar.
        colours: label to CSS colour.
    """
    largest = max(shares.values(), default=0) or 1
    rows = [
        f'<div class="bars-label">{html.escape(label)}</div><div class="bars-whole">'
        f'<div class="bars-bar" style="width:{100 * share / largest:.1f}%; background:{colours[label]}"></div></div>'
        f'<div class="bars-value">{percent(share)}</div>'
        for label, share in shares.items()
    ]
    return f'<p>{html.escape(title)}</p><div class="bars">{"".join(rows)}</div>'


def percent(probability: float) -> str:
    """A probability in words: 0.123 is "12%", and what rounds to 0 or 100 is not claimed to be."""
    return "< 1%" if 0 < probability < 0.005 else "> 99%" if 0.995 < probability < 1 else f"{probability:.0%}"


def points(difference: float) -> str:
    """A difference of probabilities in percentage points: 0.123 is "+12.3"."""
    return f"{100 * difference:+.1f}"
