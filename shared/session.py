"""Run an exported model with ONNX Runtime."""

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .errors import CheckpointError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Array = NDArray[Any]
T = TypeVar("T")
R = TypeVar("R")

CPU_INFO = Path("/proc/cpuinfo")  # of Linux
THREADS = 2  # the number of cores of a small server
ARENA_LOCK = threading.Lock()

Shapes = Mapping[str | int, Sequence[int | None]]  # by name or, if names may differ, by position; None is any length
BATCH = 1024  # rows of a call of the model in `run`


class Session:
    """An ONNX model that is opened on first use and can be shared between threads.

    Args:
        path: the .onnx file.
        threads: CPU threads for one call; 0 means one per core. One is best for small models behind a web server,
            where requests already run in parallel.
        shapes: the shapes of the inputs that are given to the model, and of the outputs that are asked for; the model
            may have fewer inputs and more outputs. By default they are not checked.
    """

    def __init__(self, path: str | Path, threads: int = 1, shapes: tuple[Shapes, Shapes] | None = None) -> None:
        self.path = Path(path)
        self.threads = threads
        self.shapes = shapes
        self._lock = threading.Lock()
        self._session: InferenceSession | None = None

    @property
    def inputs(self) -> list[str]:
        """The names of the model's inputs, in the model's order; they may differ in older models.

        Raises:
            CheckpointError: ONNX Runtime cannot open the file.
        """
        return [item.name for item in self.open().get_inputs()]

    @property
    def outputs(self) -> list[str]:
        """The names of the model's outputs, in the model's order.

        Raises:
            CheckpointError: ONNX Runtime cannot open the file.
        """
        return [item.name for item in self.open().get_outputs()]

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Array]) -> list[Array]:
        """Run the model on rows of inputs (first axis), in batches; return the named outputs.

        Raises:
            CheckpointError: ONNX Runtime cannot open the file, or an output has numbers that are not finite.
        """
        rows = len(next(iter(inputs.values())))
        session = self.open()
        batches = [
            session.run(
                list(outputs),
                {name: rows_[start : start + BATCH] for name, rows_ in inputs.items()},
            )
            for start in range(0, max(rows, 1), BATCH)
        ]
        found = [np.concatenate(parts) if len(parts) > 1 else parts[0] for parts in zip(*batches, strict=True)]
        self.check_finite(outputs, found)
        return found

    def check_finite(self, outputs: Sequence[str], found: Sequence[Array]) -> None:
        """Check what the model returned for these outputs.

        Raises:
            CheckpointError: an output has numbers that are not finite.
        """
        for name, output in zip(outputs, found, strict=True):
            if not np.isfinite(output).all():
                problem = f"The output {name!r} of {self.path} has numbers that are not finite"
                raise CheckpointError(f"{problem}; train or export the model again.")

    def run_once(self, outputs: Sequence[str], inputs: Mapping[str, Array] | None = None) -> list[Array]:
        """Run the model once, without batches, for outputs that have no rows, such as embedding tables."""
        result: list[Array] = self.open().run(list(outputs), dict(inputs or {}))
        return result

    def open(self) -> "InferenceSession":
        """Return ONNX Runtime's session; the first call creates it.

        Raises:
            CheckpointError: ONNX Runtime cannot open the file, or the model has other inputs or outputs.
        """
        with self._lock:
            if self._session is None:
                import onnxruntime  # noqa: PLC0415 - not needed to show a page

                with ARENA_LOCK:
                    _share_memory()
                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = self.threads
                options.inter_op_num_threads = 1
                options.log_severity_level = 3
                options.add_session_config_entry("session.use_env_allocators", "1")
                options.enable_mem_pattern = False  # would keep one memory block per input shape
                # Spinning threads would take CPU time from the web server.
                options.add_session_config_entry("session.intra_op.allow_spinning", "0")
                # Exact products of int8 matrices: without VNNI instructions, their sums overflow by default.
                options.add_session_config_entry("session.x64quantprecision", "0" if has_vnni() else "1")
                # Compute with int8 weights in float32; by default ONNX Runtime would quantise again.
                options.add_session_config_entry("session.disable_quant_qdq", "1")
                # Weights in other files would not be covered by the hashes in gallery.json. They are looked for in this
                # "folder", which is a file, so none are found.
                options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(self.path))
                try:
                    session = onnxruntime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])
                except Exception as error:  # onnxruntime has its own exception types
                    if "External data" in str(error):
                        raise CheckpointError(
                            f"{self.path} refers to weights in another file, which is not read; export it as one file."
                        ) from error
                    raise CheckpointError(f"ONNX Runtime cannot open the model {self.path}: {error}") from error
                self._check_shapes(session)
                self._session = session
            return self._session

    def _check_shapes(self, session: "InferenceSession") -> None:
        if self.shapes is None:
            return
        inputs, outputs = self.shapes
        takes, makes = (
            {key: node for place, node in enumerate(nodes) for key in (place, node.name)}
            for nodes in (session.get_inputs(), session.get_outputs())
        )
        known = {takes[key].name for key in inputs if key in takes}
        problems = [f"an unknown input {node.name!r}" for node in takes.values() if node.name not in known]
        problems += [f"no output {key!r}" for key in outputs if key not in makes]
        problems += [
            f"{found[key].name!r} of shape {_show(found[key].shape)}, not {_show(shape)}"
            for found, expected in ((takes, inputs), (makes, outputs))
            for key, shape in expected.items()
            if key in found and not _fits(found[key].shape, shape)
        ]
        if problems:
            raise CheckpointError(f"{self.path} does not fit gallery.json: it has {problems[0]}; export it again.")


def _fits(found: Sequence[int | str | None], shape: Sequence[int | None]) -> bool:
    """Return True if a model's input or output, which may have a name for any length, can have this shape."""
    pairs = zip(found, shape, strict=False)
    return len(found) == len(shape) and all(want in (None, has) or not isinstance(has, int) for has, want in pairs)


def _show(shape: Sequence[int | str | None]) -> str:
    return f"({', '.join(str(length) if isinstance(length, int) else 'any' for length in shape)})"


@functools.cache
def has_vnni() -> bool:
    """Return True if this CPU adds up products of int8 without overflow (AVX-512 VNNI); False if that is unknown.

    Then ONNX Runtime's default is exact, and takes half the time of the form that is exact on every CPU.
    """
    try:
        return "avx512_vnni" in CPU_INFO.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False


@functools.cache
def _share_memory() -> None:
    """Let all sessions of the process share one memory arena, instead of each keeping its own peak.

    This replaces an allocator that another library has registered with ONNX Runtime; open sessions are not affected.
    """
    import onnxruntime  # noqa: PLC0415

    kind, where = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
    onnxruntime.create_and_register_allocator(onnxruntime.OrtMemoryInfo("Cpu", kind, 0, where), None)


def map_in_threads(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Apply a function to all items in THREADS threads; useful because Pillow and numpy release the GIL."""
    if len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, items))


def softmax(logits: NDArray[np.float32 | np.float64]) -> NDArray[np.float64]:
    """Return the probabilities (n, labels) for logits (n, labels); n may be 0."""
    odds = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))
