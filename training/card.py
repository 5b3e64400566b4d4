"""The model card: README.md of a checkpoint folder, rendered from its gallery.json and metrics.json.

Render it again after changing the template: python -m training.card spaces/salary/model
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_CEILING, Context
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from shared.config import CARD, CONFIG_FILE, HUB_CONFIG, LICENCE, GalleryConfig, fingerprint, list_visible, read_json
from shared.console import guarded_output
from shared.errors import CheckpointError
from shared.image_segmenter import find_working_size
from shared.load import load_folder
from shared.markdown import escape_markdown, format_figure
from shared.metrics import Figure, Metrics, Parity

PIPELINE_TAGS = {"recommendation": "tabular-regression"}  # where the Hub names the task differently
AUTHOR = "To be described by its author."  # the intended use of a model, until its author writes one
TEMPLATE = Path(__file__).with_name("card_template.md")
HERE = "path/to/this/folder"  # in snippets; replaced by the repository when a model is published
SNIPPETS = Path(__file__).with_name("snippets")  # how to load a model without this repository
WEIGHTS = "model.safetensors"
MADE_FROM = "from"  # key in its metadata: the file that it was converted from, if any
EXAMPLES = "examples"
OF_TRANSFORMERS = ("image-classification", "text-classification")  # tasks whose networks are in transformers
PREPROCESSOR = "preprocessor_config.json"
HUB_DATASETS = {  # name of a data set in the figures: its id on the Hub
    "Oxford Pets": "timm/oxford-iiit-pet",
    "IMDB": "stanfordnlp/imdb",
    "UCI Adult": "scikit-learn/adult-census-income",
}
REVIEW, LONGER_REVIEW = "A wonderful film.", "A slow start, but the ending is wonderful!"  # in snippets
REVIEWS = (LONGER_REVIEW, "Two hours that I shall not get back.")
NUMBERS = 'row[name] for name in config["numbers"]'  # in snippets; where some are dates, those are medians, in days
DAYS = 'column["median"] for column in config["numbers"].values()'
SIGNS = {"<=": " at most ", ">=": " at least ", "<": " below ", ">": " above "}  # before a number
MIN_COMPARED = 1000  # with fewer answers, a 99.9 % quantile says nothing


def write_card(folder: str | Path, repo: str | None = None, spaces: Sequence[str] = ()) -> Path:
    """Render README.md of a checkpoint folder, add a missing config.json, and return the card's path.

    Args:
        folder: the checkpoint folder.
        repo: "user/name" on the Hub; without it, the snippets load the folder.
        spaces: names of the Spaces that show it, such as "user/gallery".
    """
    folder = Path(folder)
    content = read_json(folder)
    if added := add_hub_files(folder, content):
        entries = {name: {**fingerprint(folder / name), "optional": False} for name in added}
        content["files"] = dict(sorted((content["files"] | entries).items()))
        write_json(folder / CONFIG_FILE, content)
    checkpoint = GalleryConfig.read_common(folder)
    metrics = Metrics.read(folder)
    about = checkpoint.about
    is_of_transformers = "architectures" in json.loads((folder / HUB_CONFIG).read_text(encoding="utf-8"))
    has_torch = (folder / WEIGHTS).exists()
    for_transformers = has_torch and is_of_transformers
    library = "transformers.js" if is_of_transformers else "onnx"
    licence_file = LICENCE if (folder / LICENCE).exists() else "NOTICE.md"
    data = ModelCardData(
        language=about.language,
        license=about.licence,
        license_name=f"{make_identifier(about.title)}-terms".strip("-") if about.licence == "other" else None,
        license_link=licence_file if about.licence == "other" else None,
        license_details=about.licence_name if about.licence == "other" else None,
        library_name="transformers" if for_transformers else library,
        pipeline_tag=PIPELINE_TAGS.get(checkpoint.task, checkpoint.task),
        tags=["gradio", "onnx"] + ["transformers.js"] * is_of_transformers + ["safetensors"] * has_torch,
        datasets=[dataset.hub for dataset in about.datasets if dataset.hub] or None,
        base_model=about.base_model,
        model_name=about.title,
        widget=make_widget(folder, content),
        spaces=list(spaces) or None,
        eval_results=[_make_result(item, checkpoint) for item in metrics.figures],
    )
    is_of_films = HUB_DATASETS["IMDB"] in [dataset.hub for dataset in about.datasets]
    sample = REVIEW if is_of_films else "Your text."
    is_framed = content.get("framing", "squash") != "squash" or content.get("margin", 0)
    kinds = {
        "-framed": is_framed,
        "-labels": checkpoint.task == "tabular-classification" and len(checkpoint.labels) > 2,
        "-own": "items.csv" in checkpoint.files,
    }
    kind = next((kind for kind, applies in kinds.items() if applies), "")
    snippet = (SNIPPETS / f"{checkpoint.task}{kind}.py").read_text(encoding="utf-8").strip()
    if any(column.get("date_format") for column in content.get("numbers", {}).values()):  # rows have its text
        snippet = snippet.replace(NUMBERS, DAYS)
    if not is_of_films:
        snippet = snippet.replace(LONGER_REVIEW, sample)
    is_for_javascript = is_of_transformers or checkpoint.task != "image-classification"
    javascript = read_javascript(checkpoint.task, repo) if is_for_javascript else None
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        task=checkpoint.task,
        for_transformers=for_transformers,
        made_from=read_source(folder / WEIGHTS) if has_torch else None,
        where=repo or HERE,
        spaces=spaces,
        licence_file=licence_file,
        javascript=javascript and javascript.replace(REVIEW, sample),
        sample=sample,
        snippet=load_from_hub(snippet, repo) if repo else snippet,
        about=about,
        metrics=metrics,
        exported=checkpoint,
        figure=format_figure,
        md=escape_markdown,
        item=content.get("item", ("movie", "movies"))[0],
        unit=content.get("unit", "stars"),
        prose=write_prose,
        escape_html=escape_html,
        code=write_code,
        fence=make_fence,
        link=write_link,
        agreement=describe_parity(metrics.parity) if metrics.parity else None,
    )
    text = str(card).rstrip() + "\n"
    path = folder / CARD
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def describe_parity(parity: Parity) -> str:
    """Return a sentence on how closely the stored model agrees with torch."""
    largest = round_up(parity.largest_difference)
    if parity.typical_difference is None:  # written before it was measured
        return (
            f"Compared with torch on {parity.rows:,} inputs, the largest difference of a single number "
            f"({parity.output}) was at most {largest}; how many answers change was not measured for this model."
        )
    rows, typical = parity.of, round_up(parity.typical_difference)
    changes: list[str] = []
    if parity.relabelled is not None and parity.compared:
        count = round(parity.relabelled * parity.compared)
        share = f"{count:,} ({parity.relabelled:.2%})" if count else "none"
        changes.append(f"{share} of {parity.compared:,} {rows} get a different label than with torch")
    if (parity.compared or 0) >= MIN_COMPARED:
        changes.append(f"for 99.9 % of the {rows} the {parity.output} differs by at most {typical}")
    changes.append(f"the largest difference of a single {parity.output} was at most {largest}")
    return f"Compared with torch on {parity.rows:,} {parity.inputs}: {'; '.join(changes)}."


def round_up(value: float) -> str:
    """Round up to two significant digits; return text without an exponent."""
    return format(Context(prec=2, rounding=ROUND_CEILING).create_decimal(value), "f")


def load_from_hub(snippet: str, repo: str) -> str:
    """Return a snippet that downloads the files from a repository instead of reading a folder."""
    downloads = re.sub(f'"{HERE}/([^"]+)"', rf'hf_hub_download("{repo}", "\1")', snippet)
    return downloads.replace(
        "import onnxruntime\n", "import onnxruntime\nfrom huggingface_hub import hf_hub_download\n"
    )


def read_source(weights: Path) -> str | None:
    """Return the file that torch weights were converted from, by their metadata; None if training wrote them."""
    with weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(min(length, 10_000_000)))
        except ValueError:
            return None
    found: str | None = header.get("__metadata__", {}).get(MADE_FROM)
    return found


def read_javascript(task: str, repo: str | None) -> str | None:
    """Return the snippet for transformers.js, or None if it does not support the task."""
    path = SNIPPETS / f"{task}.js"
    if not path.exists():
        return None
    return path.read_text(encoding="utf-8").strip().replace("USER/REPO", repo or "USER/REPO")


def add_hub_files(folder: Path, content: Mapping[str, Any]) -> list[str]:
    """Write missing files that the Hub and transformers.js read; return their names.

    These are config.json, whose requests the Hub counts as downloads, and for segmentation preprocessor_config.json,
    with which transformers.js prepares a 4:3 picture.

    Args:
        folder: the checkpoint folder.
        content: its gallery.json.
    """
    labels = dict(enumerate(content.get("labels", ())))
    config = {"model_type": content["task"], "task": content["task"]}
    if labels:
        config |= {"id2label": labels, "label2id": {label: index for index, label in labels.items()}}
    wanted: dict[str, Mapping[str, Any]] = {HUB_CONFIG: config}
    if content["task"] == "image-segmentation":
        width, height = find_working_size((4, 3), content["area"], content["multiple"])
        wanted[PREPROCESSOR] = {
            "image_processor_type": "SegformerImageProcessor",  # also has the postprocessing that is needed
            "do_resize": True, "size": {"height": height, "width": width}, "resample": 2,
            "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
            "image_mean": content["mean"], "image_std": content["std"],
        }  # fmt: skip
    missing = [name for name in wanted if not (folder / name).exists()]
    for name in missing:
        write_json(folder / name, wanted[name])
    return missing


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write indented JSON."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")


def make_widget(folder: Path, content: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return example inputs for the model's page, with the model's answers, which the Hub shows without running it.

    There are pictures only if the folder has examples, and answers only if the folder is complete.
    """
    try:
        predict: Callable[[Any], Any] | None = cast(Any, load_folder(folder)).predict
    except CheckpointError:
        predict = None
    if content["task"] == "text-classification":
        return [{"text": text, **_make_output(predict, text)} for text in content.get("examples", ())[:2]] or None
    if "typical" in content:
        person = content["typical"]
        return [{"structured_data": {name: [value] for name, value in person.items()}, **_make_output(predict, person)}]
    return [
        {"src": f"{EXAMPLES}/{quote(path.name)}", "example_title": path.stem, **_make_output(predict, path)}
        for path in list_visible(folder / EXAMPLES)
        if f"{EXAMPLES}/{path.name}" in content["files"]  # others are not published
    ] or None


def _make_output(predict: Callable[[Any], Any] | None, item: Any) -> dict[str, Any]:
    """Return a model's probabilities for an input as a widget's output; {} if it has none."""
    found = getattr(predict(item), "probabilities", {}) if predict else {}
    ranked = sorted(found.items(), key=lambda pair: -pair[1])
    return {"output": [{"label": label, "score": round(score, 3)} for label, score in ranked]} if ranked else {}


def _make_result(item: Figure, checkpoint: GalleryConfig) -> EvalResult:
    known = HUB_DATASETS.get(item.data)
    is_ours = known in [dataset.hub for dataset in checkpoint.about.datasets]
    return EvalResult(
        task_type=checkpoint.task,
        dataset_type=known if known and is_ours else make_identifier(item.data) or "own-data",
        dataset_name=item.data,
        dataset_split=item.split,
        metric_type=make_identifier(item.name, "_") or "metric",
        metric_name=item.label or item.name,
        metric_value=item.value,
    )


def make_identifier(text: str, between: str = "-") -> str:
    """Return text as a Hub identifier: lower-case letters, digits, dots, `between` for the rest; may be empty."""
    text = re.sub(r"[<>]=?(?=\d)", lambda sign: SIGNS[sign[0]], text)
    return re.sub(r"[^a-z0-9.]+", between, text.lower()).strip(f"{between}.")


def escape_html(text: str) -> str:
    """Escape a text, which may use Markdown, so that no part of it is read as HTML."""
    return text.replace("<", "&lt;")


def write_prose(text: str) -> str:
    """Return a sentence, which may use Markdown within its line, as one line without HTML."""
    return escape_html(" ".join(text.split()))


def make_fence(text: str, least: int = 4) -> str:
    """Return backticks that no part of a text can close."""
    return "`" * max(least, 1 + max(map(len, re.findall("`+", text)), default=0))


def write_code(text: str) -> str:
    """Return a text as code within a line."""
    text = " ".join(text.split())
    marks, space = make_fence(text, 1), " " if "`" in text else ""
    return f"{marks}{space}{text}{space}{marks}"


def write_link(address: str) -> str:
    """Return an address with all signs that end a link in Markdown, or begin HTML, as percent codes."""
    return quote(address, safe=":/?#[]@!$&'*+,;=%~")


def main(argv: Sequence[str] = ()) -> int:
    """Render a card; `argv` are the command-line options. Return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m training.card", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", help="a checkpoint folder, such as spaces/salary/model")
    options = parser.parse_args(argv)
    with guarded_output():
        try:
            print(f"Wrote {write_card(options.folder)}")
        except (CheckpointError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
