"""The model card: README.md of a checkpoint folder, rendered from its gallery.json and metrics.json.

Render it again after a change of the template: python -m training.card spaces/salary/model

metrics.json is written by scripts alone. What people add about how a model was made stands in PROVENANCE.md, which a
folder may have; the card shows it as written by hand.
"""

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, Context
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from shared.checkpoint import METRICS, Checkpoint, format_figure, read_json
from shared.console import guarded_output
from shared.errors import CheckpointError

CARD = "README.md"
PROVENANCE = "PROVENANCE.md"
TEMPLATE = Path(__file__).with_name("card_template.md")
HERE = "path/to/this/folder"  # what a snippet loads, and what stands in its place once a model is published
SNIPPETS = Path(__file__).with_name("snippets")  # how to load a model with nothing of ours


def write_card(folder: str | Path, repo: str | None = None) -> Path:
    """Render README.md of a checkpoint folder; returns its path.

    Args:
        folder: the checkpoint folder.
        repo: the name it is published under, if it is; without it the snippets load the folder.
    """
    folder = Path(folder)
    contract = read_json(folder)
    checkpoint = Checkpoint.read_common(folder)
    metrics = as_written_now(json.loads((folder / METRICS).read_text(encoding="utf-8")), checkpoint)
    provenance = folder / PROVENANCE
    about = checkpoint.about
    has_torch = (folder / "model.safetensors").exists()
    for_transformers = has_torch and (folder / "config.json").exists()
    data = ModelCardData(
        language="en",
        license=about.licence,
        license_name=about.licence_name if about.licence == "other" else None,
        license_link="NOTICE.md" if about.licence == "other" else None,
        library_name="transformers" if for_transformers else "onnx",
        pipeline_tag=checkpoint.task,
        tags=["fastai", "gradio", "onnxruntime"] + (["safetensors"] if has_torch else []),
        datasets=[dataset.hub for dataset in about.datasets if dataset.hub] or None,
        base_model=about.base_model,
        model_name=about.title,
        widget=widget(folder, contract, repo),
        eval_results=[_eval_result(item, checkpoint) for item in metrics["figures"]],
    )
    snippet = (SNIPPETS / f"{checkpoint.model}.py").read_text(encoding="utf-8").strip()
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        model=checkpoint.model,
        task=checkpoint.task,
        for_transformers=for_transformers,
        predictor="".join(word.capitalize() for word in checkpoint.model.split("_")),
        where=repo or HERE,
        snippet=published(snippet, repo) if repo else snippet,
        about=about,
        metrics=metrics,
        exported=checkpoint,
        figure=format_figure,
        agreement=agreement(metrics["parity"], checkpoint.task != "tabular-regression")
        if "parity" in metrics
        else None,
        provenance=provenance.read_text(encoding="utf-8").strip() if provenance.is_file() else None,
    )
    path = folder / CARD
    path.write_text(str(card).rstrip() + "\n", encoding="utf-8", newline="\n")
    return path


def as_written_now(metrics: dict[str, Any], checkpoint: Checkpoint) -> dict[str, Any]:
    """The content of a metrics.json with `trained` and `measured`, also where it is from before there were these.

    Then one time, one device and one list of versions stood for both; they are those of the measuring.
    """
    if not isinstance(metrics["measured"], str):
        return metrics
    measured = {"date": metrics["measured"], "device": metrics.get("device"), "versions": metrics["versions"]}
    command = " ".join([f"python -m training.{checkpoint.model}", *filter(None, [metrics.get("options")])])
    trained = {"command": command, "seed": metrics["seed"], "seconds": metrics["seconds"], "is_partial": True}
    return {**metrics, "measured": measured, "trained": trained}


def agreement(parity: Mapping[str, Any], gives_labels: bool = True) -> str:
    """Say in plain words how far the stored model agrees with torch.

    Args:
        parity: of metrics.json; from before the typical difference was measured, if it has none.
        gives_labels: whether the model gives labels.
    """
    largest = rounded_up(parity["largest_difference"])
    if "typical_difference" not in parity:
        return (
            f"Compared with torch on {parity['rows']:,} inputs, the largest difference of any one number "
            f"({parity['output']}) was at most {largest}; how many {'labels' if gives_labels else 'answers'} change "
            "was not measured for this model."
        )
    rows, typical = parity["of"], rounded_up(parity["typical_difference"])
    told = f"for 99.9 % of the {rows} the {parity['output']} differs by at most {typical}"
    if "relabelled" in parity:
        count = round(parity["relabelled"] * parity["compared"])
        share = f"{count:,} ({parity['relabelled']:.2%})" if count else "none"
        told = f"{share} of {parity['compared']:,} {rows} get another label than from torch; {told}"
    on = f"{parity['rows']:,} {parity['inputs']}"
    return f"Compared with torch on {on}: {told}. The largest difference of any one was at most {largest}."


def rounded_up(value: float) -> str:
    """Write a number with two digits that the value does not exceed, without an exponent."""
    return format(Context(prec=2, rounding=ROUND_CEILING).create_decimal(value), "f")


def published(snippet: str, repo: str) -> str:
    """A snippet that reads a folder, as one that downloads its files from a repository."""
    downloads = re.sub(f'"{HERE}/([^"]+)"', rf'hf_hub_download("{repo}", "\1")', snippet)
    return downloads.replace(
        "import onnxruntime\n", "import onnxruntime\nfrom huggingface_hub import hf_hub_download\n"
    )


def widget(folder: Path, contract: Mapping[str, Any], repo: str | None) -> list[dict[str, Any]] | None:
    """Inputs to try on the model's page; pictures only where some are published with the model."""
    if contract["task"] == "text-classification":
        return [
            {"text": text}
            for text in ("A slow start, but the ending is wonderful!", "Two hours that I shall not get back.")
        ]
    if "typical" in contract:
        return [{"structuredData": {name: [value] for name, value in contract["typical"].items()}}]
    pictures = sorted((folder / "examples").glob("*")) if repo else []
    page = f"https://huggingface.co/{repo}/resolve/main/examples"
    return [{"src": f"{page}/{path.name}", "example_title": path.stem} for path in pictures] or None


def _eval_result(item: dict[str, Any], checkpoint: Checkpoint) -> EvalResult:
    return EvalResult(
        task_type=checkpoint.task,
        dataset_type=item["data"].lower().replace(" ", "-"),
        dataset_name=item["data"],
        dataset_split=item["split"],
        metric_type=item["name"],
        metric_value=item["value"],
    )


def main(argv: Sequence[str] = ()) -> int:
    """Render a card with the options of the command line, given as a list; returns the exit code."""
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
