"""From a trained torch module to a checkpoint folder: ONNX, parity, hashes, and nothing half-written."""

import contextlib
import json
import os
import platform
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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

from shared.checkpoint import CONTRACT, LICENCE, METRICS, About, Checkpoint, fingerprint, read_json
from shared.runtime import Session
from training.card import CARD, PROVENANCE, write_card, write_json
from training.data import DataError

UNHASHED = (CONTRACT, CARD, PROVENANCE, LICENCE)  # what serving does not read and people may edit has no hash
TORCH_FILES = ("model.safetensors",)  # may be left out where only ONNX is served
LEAST_FREE = 100_000_000  # bytes of the disk: a checkpoint folder with its weights for torch, and room to spare
EXAMPLES = "examples"  # of the data set: published with the model, but not part of this repository
LEAST_INT8 = 16_384  # numbers in a tensor that is worth storing in int8: a smaller one saves little
PACKAGES = ("torch", "fastai", "onnx", "onnxruntime", "numpy")  # that export
MEASURING = ("onnxruntime", "numpy", "pillow", "tokenizers")  # that serve the stored model while it is measured
TYPICAL = 0.999  # the share of rows that differ by no more than the typical difference


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
        put_in_place(folder, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put_in_place(folder: Path, out: Path) -> None:
    """Rename a folder to `out`, and delete what was there.

    Raises:
        DataError: what is there cannot be replaced; the new folder is kept under another name, which the text says.
    """
    before = folder.with_name(folder.name + "-before")
    try:
        if out.exists():
            out.rename(before)
        try:
            folder.rename(out)
        except BaseException:
            if before.exists():
                before.rename(out)
            raise
    except OSError as error:  # on Windows, if another program has a file of it open
        kept = next(path for number in range(2, 1000) if not (path := out.with_name(f"{out.name}-{number}")).exists())
        folder.rename(kept)
        raise DataError(
            f"{out} cannot be replaced ({error.strerror}); does another program use it? The new model is in {kept}."
        ) from error
    shutil.rmtree(before, ignore_errors=True)


def check_out(out: str | Path) -> None:
    """Refuse to write over anything but a checkpoint folder; call it before long work begins.

    Raises:
        DataError: there is something else at `out`, or it cannot be written.
    """
    out = Path(out)
    if out.exists() and not (out.is_dir() and ((out / CONTRACT).is_file() or not any(out.iterdir()))):
        raise DataError(f"{out} is there already and is no checkpoint folder; name another one with --out.")
    check_room(out.resolve().parent)


def check_room(folder: Path) -> None:
    """See that a checkpoint can be written into a folder; call it before long work begins.

    Raises:
        DataError: the folder is read-only, or its disk is full.
    """
    there = nearest(folder)
    try:
        check_writable(there)
    except OSError as error:
        raise DataError(f"Nothing can be written into {there} ({error.strerror}); name another place.") from error
    if shutil.disk_usage(there).free < LEAST_FREE:
        least = f"{LEAST_FREE / 1e6:.0f} MB"
        raise DataError(f"The disk of {there} has less than {least} left; make room, or name another place.")


def nearest(folder: Path) -> Path:
    """A folder, or the nearest one above it that is there."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def check_writable(folder: Path) -> None:
    """See that files can be written into a folder, or into the one in which it would be made.

    It tries: Windows has rights that os.access does not know, and root passes os.access on a read-only disk.

    Raises:
        OSError: they cannot.
    """
    probe = nearest(folder) / f".{os.getpid()}-writable"
    probe.mkdir()
    probe.rmdir()


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
    """What one step of int8 is worth in each output channel, (channels,): its largest number is 127 steps."""
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

    ONNX Runtime's dynamic quantisation, for transformers, meant for CPUs with instructions for int8 (VNNI). On older
    ones sums of products may overflow, and the measured errors do not hold.
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


@dataclass(frozen=True)
class Shown:
    """What people see of a model's first output, and how much of it may change when the model is stored.

    Attributes:
        name: what it is, such as "probability".
        view: makes it out of the output: an array whose axis 1 is the classes, or one value for each row.
        inputs: what the model is given, such as "frames".
        rows: what gets a label, such as "pixels".
        typical: 99.9 % of the rows may differ by no more than this, in the value that differs most.
        relabelled: the share of rows whose likeliest class may change, or one row; None where there are no classes.
    """

    name: str
    view: Callable[[NDArray[Any]], NDArray[Any]]
    inputs: str
    rows: str
    typical: float
    relabelled: float | None = None


def parity(
    module: torch.nn.Module,
    path: Path,
    batches: Sequence[Mapping[str, NDArray[Any]]],
    outputs: Sequence[str],
    tolerance: float | Sequence[float],
    shown: Shown | None = None,
) -> dict[str, Any]:
    """Compare torch with the stored ONNX file on real rows, in every output.

    Args:
        module: the trained module.
        path: the stored ONNX file.
        batches: rows for both, in batches that fit into memory.
        outputs: names, in the file, of the module's first outputs.
        tolerance: largest absolute difference allowed, of any output or of each.
        shown: what people see of the first output; it is compared in the output's place, and more closely.

    Returns:
        What metrics.json keeps: rows compared, the largest absolute difference and, of what is shown, the difference
        that 99.9 % of the rows do not exceed and the share of rows whose likeliest class changes.

    Raises:
        RuntimeError: a difference is above what is allowed; nothing should be written then.
    """
    module.eval()
    session = Session(path)
    largest, typical, relabelled = [], [], []
    for inputs in batches:
        with torch.inference_mode():
            result = module(*(torch.from_numpy(values) for values in inputs.values()))
        expected = [output.numpy() for output in (result if isinstance(result, tuple) else (result,))]
        actual = session.constants(outputs, inputs)
        if shown:
            expected[0], actual[0] = shown.view(expected[0]), shown.view(actual[0])
            gaps = np.abs(expected[0] - actual[0])
            typical.append((gaps.max(axis=1) if gaps.ndim > 1 else gaps).ravel())
            if shown.relabelled is not None:
                relabelled.append((expected[0].argmax(axis=1) != actual[0].argmax(axis=1)).ravel())
        largest.append([np.abs(a - b).max() for a, b in zip(expected, actual, strict=False)])
    differences = np.max(largest, axis=0)  # NaN where any is
    if not (differences <= np.asarray(tolerance)).all():
        raise RuntimeError(f"The exported model differs from torch by {differences.max():.2g} (allowed: {tolerance}).")
    found: dict[str, Any] = {
        "rows": sum(len(next(iter(inputs.values()))) for inputs in batches),
        "output": shown.name if shown else ", ".join(outputs),
        "largest_difference": float(differences[0] if shown else differences.max()),
        "tolerance": tolerance,
    }
    if shown:
        found |= how_much_changes(shown, np.concatenate(typical), np.concatenate(relabelled) if relabelled else None)
    return found | (
        {"by_output": dict(zip(outputs, differences.tolist(), strict=True))} if len(differences) > 1 else {}
    )


def how_much_changes(
    shown: Shown, gaps: NDArray[np.floating[Any]], relabelled: NDArray[np.bool_] | None
) -> dict[str, Any]:
    """What metrics.json keeps of the rows' differences, (rows,), and of whether their likeliest class changes, (rows,).

    Raises:
        RuntimeError: either is above what is allowed.
    """
    typical = float(np.quantile(gaps, TYPICAL))
    if not typical <= shown.typical:
        raise RuntimeError(
            f"For 99.9 % of the {shown.rows} the stored model's {shown.name} may differ from torch's by at most "
            f"{shown.typical}; it differs by up to {typical:.2g}."
        )
    found: dict[str, Any] = {
        "inputs": shown.inputs,
        "of": shown.rows,
        "compared": len(gaps),
        "typical_difference": typical,
        "typical_allowed": shown.typical,
    }
    if relabelled is None or shown.relabelled is None:
        return found
    changed = float(relabelled.mean())
    if changed > max(shown.relabelled, 1 / len(gaps)):
        raise RuntimeError(
            f"The stored model gives {changed:.2%} of the {shown.rows} another label than torch "
            f"(allowed: {shown.relabelled:.2%})."
        )
    return found | {"relabelled": changed, "relabelled_allowed": shown.relabelled}


def write_metrics(folder: Path, measured: Mapping[str, Any], record: Mapping[str, Any] | None = None) -> None:
    """Write metrics.json: every figure measured, how the model was trained, and when and where this was measured.

    Args:
        folder: the checkpoint folder.
        measured: figures, notes and `trained`.
        record: how it was measured, where another command than the training did it.
    """
    stamp = {"date": now(), "device": cpu(), "versions": {name: version(name) for name in MEASURING}}
    write_json(folder / METRICS, {**measured, "measured": {**stamp, **(record or {})}})


def measure_again(
    folder: Path,
    measured: Mapping[str, Any],
    keep: Sequence[str],
    record: Mapping[str, Any],
    about: About | None = None,
) -> None:
    """Replace the figures and texts of a checkpoint folder whose model was measured again; the model stays.

    Besides, what needed the trained network is kept: the parities and some figures, with the date of their own
    measurement, and `trained`. Whatever else was in metrics.json goes.

    Args:
        folder: a checkpoint folder that is whole.
        measured: what a script's measuring function returns.
        keep: names of the figures that cannot be measured without the trained network.
        record: how they were measured: the command, the commit, and the files it names.
        about: what the script says of the model by now; None leaves that alone.
    """
    contract = read_json(folder)
    before = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    date = before["measured"] if isinstance(before["measured"], str) else before["measured"]["date"]
    kept = [{**item, "measured": item.get("measured", date)} for item in before["figures"] if item["name"] in keep]
    parities = {
        name: {**value, "measured": value.get("measured", date)}
        for name, value in before.items()
        if name.startswith("parity")
    }
    trained = {name: before[name] for name in ("trained",) if name in before}
    write_metrics(folder, {**measured, "figures": [*measured["figures"], *kept], **trained, **parities}, record)
    path = folder / METRICS
    contract["files"][METRICS] |= fingerprint(path)
    if about:
        contract["about"] = about.model_dump(mode="json")
    write_json(folder / CONTRACT, contract)
    write_card(folder)


def cpu() -> str:
    """The processor on which ONNX Runtime measures, with the number of its cores."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        found = None
    name = found[1].strip() if found else platform.processor() or platform.machine()
    return f"{os.cpu_count()} cores ({name})"


def now() -> str:
    """The time in UTC, as ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_contract(folder: Path, spec: type[Checkpoint], **fields: Any) -> None:
    """Write gallery.json with the hashes of all files in the folder, and read it back to check it.

    Call it last: what is written later is not covered.
    """
    files = {
        path.relative_to(folder).as_posix(): {
            **fingerprint(path),
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
