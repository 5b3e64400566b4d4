"""Convert a stored ONNX model to torch weights, for folders without any, so that transformers' `pipeline` loads it.

The weights are the served ones, converted back to float32. Their answers equal those of the stored model for pictures
of one label, and differ slightly for texts, where the stored model also rounds activations. transformers' network lacks
the step after the last layer that makes a stored model less certain of two labels in one picture. training.publish uses
this module if torch and transformers are installed.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image
from safetensors.torch import save
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
    pipeline,
)
from transformers.models.mobilenet_v2.modeling_mobilenet_v2 import MobileNetV2ConvLayer

from shared.config import CONFIG_FILE, HUB_CONFIG, MODEL, GalleryConfig, fingerprint, list_visible, read_json
from shared.load import load_folder
from training.card import EXAMPLES, MADE_FROM, OF_TRANSFORMERS, REVIEWS, WEIGHTS, write_json

Values = dict[str, NDArray[Any]]
CONVERTED = ("mobilenet_v2", "bert")
# Limit on the difference of a probability: the pipeline resizes differently, and does not round activations.
CLOSE = {"image-classification": 0.05, "text-classification": 0.05}


def add_weights(folder: Path) -> bool:
    """Write model.safetensors for a transformers network, and add it to gallery.json.

    Returns:
        True if it was written; False if the folder already has it, or for other networks.

    Raises:
        RuntimeError: the architecture has no conversion, or torch with these weights differs from the stored model; the
            folder is unchanged.
    """
    content, task = read_json(folder), GalleryConfig.read_common(folder).task
    config = json.loads((folder / HUB_CONFIG).read_text(encoding="utf-8"))
    if task not in OF_TRANSFORMERS or "architectures" not in config or (folder / WEIGHTS).exists():
        return False
    if (kind := config["model_type"]) not in CONVERTED:
        raise RuntimeError(f"The weights of a {kind} cannot be converted from {MODEL}.")
    graph = onnx.load(folder / MODEL).graph
    net = build_picture_net(graph, config) if task == "image-classification" else build_text_net(graph, config)
    weights = {name: value.contiguous() for name, value in net.state_dict().items()}
    path = folder / WEIGHTS
    path.write_bytes(serialise(weights))
    entry = {**fingerprint(path), "optional": True}
    write_json(folder / CONFIG_FILE, {**content, "files": {**content["files"], WEIGHTS: entry}})
    try:
        difference = compare(folder, task)
        if not difference <= CLOSE[task]:
            raise RuntimeError(f"The weights converted from {MODEL} change probabilities by {difference:.2g}.")
    except Exception:
        path.unlink()
        write_json(folder / CONFIG_FILE, content)
        raise
    return True


def serialise(weights: dict[str, torch.Tensor]) -> bytes:
    """Return weights as the bytes of a safetensors file, identical for identical weights.

    The library writes its metadata in an order that varies between calls.
    """
    content = save(weights, {"format": "pt", MADE_FROM: MODEL})
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return content[:8] + text.ljust(end - 8) + content[end:]


def build_picture_net(graph: onnx.GraphProto, config: dict[str, Any]) -> MobileNetV2ForImageClassification:
    """Return a MobileNetV2 whose BatchNorm only adds a bias: the ONNX export folded the rest into convolutions."""
    values = read_weights(graph)
    net = MobileNetV2ForImageClassification(MobileNetV2Config.from_dict(config))
    layers = [layer for layer in net.modules() if isinstance(layer, MobileNetV2ConvLayer)]
    nodes = [node for node in graph.node if node.op_type == "Conv"][: len(layers)]  # the last one makes the maps
    with torch.no_grad():
        for layer, node in zip(layers, nodes, strict=True):
            kernel, bias = (torch.tensor(values[name]) for name in node.input[1:])
            layer.convolution.weight.copy_(kernel)
            layer.normalization.bias.copy_(bias)
            layer.normalization.weight.fill_(1)
            layer.normalization.running_mean.zero_()
            layer.normalization.running_var.fill_(1 - layer.normalization.eps)
        net.classifier.weight.copy_(torch.tensor(values["head.weight"]))
        net.classifier.bias.copy_(torch.tensor(values["head.bias"]))
    return net


def build_text_net(graph: onnx.GraphProto, config: dict[str, Any]) -> BertForSequenceClassification:
    """Return a BERT; weights are found by name, and int8 matrices by the bias that is added to their product."""
    values = read_weights(graph)
    before = {value: node for node in graph.node for value in node.output}
    after = {value: node for node in graph.node for value in node.input}
    net = BertForSequenceClassification(BertConfig.from_dict(config))
    found = {name.removeprefix("classifier."): value for name, value in values.items()}
    for node in graph.node:
        if node.op_type != "MatMulInteger":
            continue
        matrix, product = values[node.input[1]].astype(np.float32), node.output[0]
        while (following := after[product]).op_type != "Add":  # multiplied by the scales
            if following.op_type == "Mul":
                (worth,) = (name for name in following.input if name != product)
                (scale,) = (values[name] for name in before[worth].input if name in values)
                matrix = (matrix - values[node.input[3]]) * scale
            product = following.output[0]
        (bias,) = (name for name in following.input if name in values)
        found[bias.removeprefix("classifier.").removesuffix("bias") + "weight"] = matrix.T
    net.load_state_dict({name: torch.tensor(found[name]) for name in net.state_dict()})
    return net


def read_weights(graph: onnx.GraphProto) -> Values:
    """Return the weights of a graph by name, with stored weights converted back to float32."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]].astype(np.float32)
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            rounded, scale = (values[name] for name in node.input[:2])
            values[node.output[0]] = rounded.astype(np.float32) * scale.reshape(-1, *[1] * (rounded.ndim - 1))
    return values


def compare(folder: Path, task: str) -> float:
    """Return the largest difference of a probability between the pipeline and the stored model, on examples."""
    model: Any = load_folder(folder)
    is_text = task == "text-classification"
    items = REVIEWS if is_text else [model.example(), *map(Image.open, list_visible(folder / EXAMPLES))]
    answer = pipeline(task, model=str(folder), **({"truncation": True} if is_text else {}))
    largest = 0.0
    for item in items:
        ours = model.predict(item).probabilities
        found = {said["label"]: said["score"] for said in answer(item, top_k=None)}
        largest = max(largest, *(abs(found[label] - probability) for label, probability in ours.items()))
    return largest
