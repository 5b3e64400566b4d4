"""From a trained torch module to a checkpoint folder: ONNX, parity, hashes, and nothing half-written."""

import contextlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from shared.checkpoint import CONTRACT, METRICS, About, Checkpoint, read_json, sha256
from shared.runtime import Session
from training.card import CARD, write_card
from training.data import DataError

UNHASHED = (CONTRACT, CARD, "NOTICE.md")  # what serving does not read and people may edit has no hash
TORCH_FILES = ("model.safetensors",)  # may be left out where only ONNX is served
EXAMPLES = "examples"  # of the data set: published with the model, but not part of this repository
LEAST_INT8 = 16_384  # numbers in a tensor that is worth storing in int8: the first, small layers bear it least
PACKAGES = ("torch", "fastai", "onnx", "onnxruntime", "numpy")


@contextlib.contextmanager
def new_folder(out: str | Path) -> Iterator[Path]:
    """A temporary folder beside `out` that becomes `out` when the block ends well, and vanishes otherwise.

    An interrupted run (Ctrl-C, an exception) leaves whatever `out` was before.

    Raises:
        DataError: `out` is there already and is not a checkpoint folder.
    """
    out = Path(out).resolve()
    check_out(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield folder
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        before = folder.with_name(folder.name + "-before")
        if out.exists():
            out.rename(before)
        try:
            folder.rename(out)
        except BaseException:
            if before.exists():
                before.rename(out)
            raise
        shutil.rmtree(before, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_out(out: str | Path) -> None:
    """Refuse to write over anything but a checkpoint folder; call it before long work begins.

    Raises:
        DataError: there is something else at `out`.
    """
    out = Path(out)
    if out.exists() and not (out.is_dir() and ((out / CONTRACT).is_file() or not any(out.iterdir()))):
        raise DataError(f"{out} is there already and is no checkpoint folder; name another one with --out.")
    parent = next(folder for folder in out.resolve().parents if folder.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise DataError(f"Nothing can be written into {parent}; name another place with --out.")


def embed(checkpoint: str | Path, model: str) -> Path:
    """Copy a checkpoint, without the weights for torch, to where the Space of that name looks for it."""
    space = Path(__file__).resolve().parent.parent / "spaces" / model / "model"
    with new_folder(space) as folder:
        shutil.copytree(checkpoint, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*TORCH_FILES, EXAMPLES))
        write_card(folder)
    return space


def write_onnx(
    module: torch.nn.Module,
    path: Path,
    inputs: Mapping[str, torch.Tensor],
    outputs: Sequence[str],
    free_axes: Mapping[str, Mapping[int, str]] | None = None,
) -> None:
    """Export a module to ONNX in float32, with a free first axis (or `free_axes`); `store` makes it small."""
    module.eval()
    axes = free_axes or {name: {0: "rows"} for name in (*inputs, *outputs)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter announces its successor on every call
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
    """Fold constants and drop nodes that do nothing, by ONNX Runtime's optimisations that hold on any machine."""
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
    onnx.save(model, path)


def store(path: Path, how: Callable[[onnx.ModelProto], onnx.ModelProto]) -> None:
    """Store a model's weights another way: store_half or store_int8."""
    onnx.save(how(onnx.load(path)), path)


def int8_scale(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """What one step of int8 is worth in each output channel, (channels,).

    The largest number decides. Cutting it off for finer steps was tried: at eight bits the squared error only grows.
    """
    largest = np.abs(values).reshape(len(values), -1).max(axis=1)
    return np.where(largest > 0, largest / 127, 1).astype(np.float32)


@torch.no_grad()
def round_to_int8(module: torch.nn.Module, least: int = LEAST_INT8) -> None:
    """Round kernels to what store_int8 will keep of them, so that layers fitted afterwards fit what is served."""
    for weight in module.parameters():
        if weight.ndim > 1 and weight.numel() >= least:
            scale = torch.from_numpy(int8_scale(weight.detach().numpy())).view(-1, *[1] * (weight.ndim - 1))
            weight.copy_((weight / scale).round() * scale)


def store_int8(model: onnx.ModelProto, least: int = LEAST_INT8) -> onnx.ModelProto:
    """Store matrices and kernels of `least` numbers or more as int8, and the rest as float16.

    Each output channel has a scale. Computed in float32, see shared/runtime.py.
    """
    nodes = []
    for tensor in list(model.graph.initializer):
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.ndim < 2 or values.size < least:
            continue
        name, scale = tensor.name, int8_scale(values)
        rounded = np.round(values / scale.reshape(-1, *[1] * (values.ndim - 1))).astype(np.int8)
        tensor.CopyFrom(numpy_helper.from_array(rounded, name + ".int8"))
        model.graph.initializer.append(numpy_helper.from_array(scale, name + ".scale"))
        nodes.append(helper.make_node("DequantizeLinear", [name + ".int8", name + ".scale"], [name], axis=0))
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    return store_half(model)


def store_int8_products(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store and compute matrix products in int8, activations rounded as they come, and store the rest as store_int8.

    ONNX Runtime's dynamic quantisation, for transformers: faster on a CPU with instructions for int8 (VNNI). On older
    ones sums of products may overflow, and the model errs more than was measured here.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        onnx.save(model, before)
        quantize_dynamic(before, after, ["MatMul"], per_channel=True, weight_type=QuantType.QInt8)
        return store_int8(onnx.load(after))


def store_half(model: onnx.ModelProto, least: int = 256) -> onnx.ModelProto:
    """Store float32 weights of `least` numbers or more as float16, cast back when the model is opened.

    Tensors with large numbers, such as amounts in dollars, stay as they are.
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


def parity(
    module: torch.nn.Module,
    path: Path,
    batches: Sequence[Mapping[str, NDArray[Any]]],
    outputs: Sequence[str],
    tolerance: float | Sequence[float],
    shown: tuple[str, Callable[[NDArray[Any]], NDArray[Any]]] | None = None,
) -> dict[str, Any]:
    """Compare torch with the stored ONNX file on real rows, in every output.

    Args:
        module: the trained module.
        path: the stored ONNX file.
        batches: rows for both, in batches that fit into memory.
        outputs: names, in the file, of the module's first outputs.
        tolerance: largest absolute difference allowed, of any output or of each.
        shown: name of what a person sees, and how it follows from an output; compared in its place.

    Returns:
        What metrics.json keeps: rows compared and the largest absolute difference.

    Raises:
        RuntimeError: the difference is above the tolerance; nothing should be written then.
    """
    module.eval()
    session = Session(path)
    name, view = shown or (", ".join(outputs), np.asarray)
    differences = []
    for inputs in batches:
        with torch.inference_mode():
            result = module(*(torch.from_numpy(values) for values in inputs.values()))
        expected = result if isinstance(result, tuple) else (result,)
        actual = session.constants(outputs, inputs)
        differences.append([np.abs(view(a.numpy()) - view(b)).max() for a, b in zip(expected, actual, strict=False)])
    largest = np.max(differences, axis=0)  # NaN where any is
    if not (largest <= np.asarray(tolerance)).all():
        raise RuntimeError(f"The exported model differs from torch by {np.max(largest):.2g} (allowed: {tolerance}).")
    found: dict[str, Any] = {"rows": sum(len(next(iter(inputs.values()))) for inputs in batches), "output": name}
    found |= {"largest_difference": float(np.max(largest)), "tolerance": tolerance}
    return found | ({"by_output": dict(zip(outputs, largest.tolist(), strict=True))} if len(largest) > 1 else {})


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON as people read it."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_metrics(folder: Path, measured: Mapping[str, Any]) -> None:
    """Write metrics.json: every figure measured, when, with which versions and on what machine."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores"
    stamp = {"measured": now(), "versions": {name: version(name) for name in PACKAGES}, "device": device}
    write_json(folder / "metrics.json", {**measured, **stamp})


def measure_again(
    folder: Path,
    measured: Mapping[str, Any],
    keep: Sequence[str],
    record: Mapping[str, Any],
    about: About | None = None,
) -> None:
    """Replace the figures and texts of a checkpoint folder whose model was measured again; the model stays.

    Args:
        folder: a checkpoint folder that is whole.
        measured: what a script's measuring function returns.
        keep: names of figures to keep as they are, with the date of their own measurement.
        record: how the others were measured: the command.
        about: what the script says of the model by now; None leaves that alone.
    """
    contract = read_json(folder)
    before = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    kept = [{"measured": before["measured"], **item} for item in before["figures"] if item["name"] in keep]
    again = {"measured_again": {"date": now(), "versions": {name: version(name) for name in PACKAGES}, **record}}
    write_json(folder / METRICS, {**before, **measured, "figures": [*measured["figures"], *kept], **again})
    path = folder / METRICS
    contract["files"][METRICS] |= {"sha256": sha256(path), "bytes": path.stat().st_size}
    if about:
        contract["about"] = about.model_dump(mode="json")
    write_json(folder / CONTRACT, contract)
    write_card(folder)


def now() -> str:
    """The time in UTC, as ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_contract(folder: Path, spec: type[Checkpoint], **fields: Any) -> None:
    """Write gallery.json with the hashes of all files in the folder, and read it back to check it.

    Call it last: what is written later is not covered.
    """
    files = {
        path.relative_to(folder).as_posix(): {
            "sha256": sha256(path),
            "bytes": path.stat().st_size,
            "optional": path.name in TORCH_FILES or path.parent.name == EXAMPLES,
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in UNHASHED
    }
    checkpoint = spec.model_validate(
        {
            "format": 1,
            "created": now(),
            "versions": {name: version(name) for name in PACKAGES},
            "files": files,
            **fields,
        }
    )
    write_json(folder / CONTRACT, checkpoint.model_dump(mode="json"))
    spec.read(folder)
