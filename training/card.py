"""The model card: README.md of a checkpoint folder, rendered from its gallery.json and metrics.json.

Render it again after a change of the template: python -m training.card spaces/salary/model
"""

import argparse
import json
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from shared.checkpoint import CONTRACT, Checkpoint

CARD = "README.md"
TEMPLATE = Path(__file__).with_name("card_template.md")
SNIPPETS = Path(__file__).with_name("snippets")  # how to load a model with nothing of ours


def write_card(folder: str | Path) -> Path:
    """Render README.md of a checkpoint folder; returns its path."""
    folder = Path(folder)
    contract = json.loads((folder / CONTRACT).read_text(encoding="utf-8"))
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    # Only what every model has; the rest of the contract is each model's own.
    checkpoint = Checkpoint.model_validate({name: contract[name] for name in Checkpoint.model_fields})
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
        model_name=about.title,
        eval_results=[_eval_result(item, checkpoint) for item in metrics["figures"]],
    )
    snippet = SNIPPETS / f"{checkpoint.model}.py"
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        model=checkpoint.model,
        task=checkpoint.task,
        for_transformers=for_transformers,
        predictor="".join(word.capitalize() for word in checkpoint.model.split("_")),
        snippet=snippet.read_text(encoding="utf-8").strip() if snippet.is_file() else None,
        about=about,
        metrics=metrics,
    )
    path = folder / CARD
    path.write_text(str(card).rstrip() + "\n", encoding="utf-8")
    return path


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
