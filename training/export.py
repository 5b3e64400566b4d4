"""Export torch modules to ONNX, and shrink the files: weights stored as int8 or float16."""

import hashlib
import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper

LEAST_INT8 = 16_384  # smaller tensors are not stored in int8: it would save little


def write_onnx(
    module: torch.nn.Module,
    path: Path,
    inputs: Mapping[str, torch.Tensor],
    outputs: Sequence[str],
    free_axes: Mapping[str, Mapping[int, str]] | None = None,
) -> None:
    """Export a module to ONNX in float32, with a dynamic first axis or `free_axes`; `store` shrinks the file."""
    module.eval()
    axes = free_axes or {name: {0: "rows"} for name in (*inputs, *outputs)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter warns of its deprecation on every call
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )
    simplify(path)


def simplify(path: Path) -> None:
    """Fold constants and drop redundant nodes with ONNX Runtime's portable optimisations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    model = onnx.load(path)
    used = {node.domain for node in model.graph.node}
    domains = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(domains)
    merge_equal_tensors(model)
    onnx.save(model, path)


def merge_equal_tensors(model: onnx.ModelProto, least: int = 256) -> None:
    """Keep one of several equal initializers of at least `least` numbers.

    ONNX Runtime's optimisations copy one that is returned as an output and also used.
    """
    graph, outputs = model.graph, {output.name for output in model.graph.output}
    if any(attribute.g.node or attribute.graphs for node in graph.node for attribute in node.attribute):
        return  # a branch or a loop may use them, too
    first: dict[tuple[int, tuple[int, ...], str], str] = {}
    merged, kept = {}, []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        digest = hashlib.sha256(values.tobytes()).hexdigest() if values.size >= least else tensor.name
        name = first.setdefault((tensor.data_type, values.shape, digest), tensor.name)
        if name == tensor.name:
            kept.append(tensor)
        else:
            merged[tensor.name] = name
    for node in graph.node:
        node.input[:] = [merged.get(name, name) for name in node.input]
    graph.node.extend(helper.make_node("Identity", [merged[name]], [name]) for name in merged if name in outputs)
    del graph.initializer[:]
    graph.initializer.extend(kept)


def store(path: Path, how: Callable[[onnx.ModelProto], onnx.ModelProto]) -> None:
    """Rewrite an ONNX file with `how`: store_half, store_int8 or store_int8_products."""
    onnx.save(how(onnx.load(path)), path)


def compute_scale(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the int8 scale of each row, (rows,): the largest absolute value maps to 127."""
    largest = np.abs(values).reshape(len(values), -1).max(axis=1)
    return np.where(largest > 0, largest / 127, 1).astype(np.float32)


def choose_axis(values: NDArray[np.float32]) -> int:
    """Return 0 if int8 with a scale for each row loses less of a matrix than with one for each column, or else 1.

    torch's Linear layers have a row for each output; the export transposes some of them.
    """
    lost = []
    for matrix in (values, values.T):
        scale = compute_scale(matrix)[:, None]
        lost.append(float(np.abs(np.round(matrix / scale) * scale - matrix).mean()))
    return int(lost[1] < lost[0])


@torch.no_grad()
def round_to_int8(module: torch.nn.Module, least: int = LEAST_INT8) -> None:
    """Round matrices and kernels as store_int8 will, so that a layer fitted afterwards matches the served model."""
    for weight in module.parameters():
        if weight.ndim > 1 and weight.numel() >= least:
            scale = torch.from_numpy(compute_scale(weight.detach().numpy())).view(-1, *[1] * (weight.ndim - 1))
            weight.copy_((weight / scale).round() * scale)


def store_int8(model: onnx.ModelProto, least: int = LEAST_INT8) -> onnx.ModelProto:
    """Store matrices and kernels of at least `least` numbers as int8, and the rest as float16.

    Each row of a tensor, such as an output channel of a kernel, has its own scale; or each column, see choose_axis. The
    model still computes in float32; see shared/session.py.
    """
    factors = {node.input[1] for node in model.graph.node if node.op_type == "MatMul"}
    nodes = []
    for tensor in list(model.graph.initializer):
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.ndim < 2 or values.size < least:
            continue
        name, axis = tensor.name, choose_axis(values) if tensor.name in factors and values.ndim == 2 else 0
        scale = compute_scale(np.moveaxis(values, axis, 0))
        shape = [-1 if dimension == axis else 1 for dimension in range(values.ndim)]
        rounded = np.round(values / scale.reshape(shape)).astype(np.int8)
        tensor.CopyFrom(numpy_helper.from_array(rounded, name + ".int8"))
        model.graph.initializer.append(numpy_helper.from_array(scale, name + ".scale"))
        nodes.append(helper.make_node("DequantizeLinear", [name + ".int8", name + ".scale"], [name], axis=axis))
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    return store_half(model)


def store_int8_products(model: onnx.ModelProto) -> onnx.ModelProto:
    """Compute matrix products in int8 by dynamic quantisation, and store the rest as store_int8 does.

    For transformers on CPUs with int8 instructions (VNNI), which make it fast. On older CPUs, sums of products overflow
    unless the session asks for exact ones, as shared/session.py does.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        onnx.save(model, before)
        logging.disable(logging.WARNING)  # advice for whoever calls it, not for whoever trains
        try:
            quantize_dynamic(before, after, ["MatMul"], per_channel=True, weight_type=QuantType.QInt8)
        finally:
            logging.disable(logging.NOTSET)
        return store_int8(onnx.load(after))


def store_float(model: onnx.ModelProto) -> onnx.ModelProto:
    """Leave all tensors in float32."""
    return model


def store_half(model: onnx.ModelProto, least: int = 256) -> onnx.ModelProto:
    """Store float32 tensors of at least `least` numbers as float16, cast back when the model is loaded.

    Tensors with large values, such as amounts in dollars, stay in float32.
    """
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size >= least and np.abs(values).max() < 1000:
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + ".half"))
            casts.append(helper.make_node("Cast", [name + ".half"], [name], to=onnx.TensorProto.FLOAT))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)
    onnx.checker.check_model(model)
    return model
