"""The model card: README.md of a checkpoint folder, rendered from its gallery.json and metrics.json.

Render it again after a change of the template: python -m training.card spaces/salary/model
"""

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from shared.checkpoint import Checkpoint, read_json

CARD = "README.md"
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
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    contract = read_json(folder)
    checkpoint = Checkpoint.read_common(folder)
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
    )
    path = folder / CARD
    path.write_text(str(card).rstrip() + "\n", encoding="utf-8")
    return path


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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="a checkpoint folder, such as spaces/salary/model")
    print(f"Wrote {write_card(parser.parse_args().folder)}")
