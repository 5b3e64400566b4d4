"""Running an exported model with ONNX Runtime."""

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

THREADS = 2  # as many as a small server has cores
SHARING = threading.Lock()


class Session:
    """An ONNX model, opened on its first use and safe to share between threads.

    Args:
        path: the .onnx file.
        threads: CPU threads for one call; 0 is one for each core. One is best for small models behind a web
            server, where requests already run side by side.
        batch_size: the most rows given to the model at once by `run`.
    """

    def __init__(self, path: str | Path, threads: int = 1, batch_size: int = 1024) -> None:
        self.path = Path(path)
        self.threads = threads
        self.batch_size = batch_size
        self._lock = threading.Lock()
        self._session: InferenceSession | None = None

    @property
    def inputs(self) -> list[str]:
        """The names of the model's inputs, in its own order; older models may name the same one differently.

        Raises:
            CheckpointError: ONNX Runtime cannot open the file.
        """
        return [item.name for item in self.open().get_inputs()]

    @property
    def outputs(self) -> list[str]:
        """The names of the model's outputs, in its own order.

        Raises:
            CheckpointError: ONNX Runtime cannot open the file.
        """
        return [item.name for item in self.open().get_outputs()]

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Array]) -> list[Array]:
        """Run the model over rows of inputs (first axis), in batches, and return the named outputs."""
        rows = len(next(iter(inputs.values())))
        session = self.open()
        batches = [
            session.run(
                list(outputs),
                {name: rows_[start : start + self.batch_size] for name, rows_ in inputs.items()},
            )
            for start in range(0, max(rows, 1), self.batch_size)
        ]
        return [np.concatenate(parts) if len(parts) > 1 else parts[0] for parts in zip(*batches, strict=True)]

    def run_once(self, outputs: Sequence[str], inputs: Mapping[str, Array] | None = None) -> list[Array]:
        """Run the model once, whole, for outputs that have no rows, such as embedding tables."""
        result: list[Array] = self.open().run(list(outputs), dict(inputs or {}))
        return result

    def open(self) -> "InferenceSession":
        """Return ONNX Runtime's session, which the first call makes.

        Raises:
            CheckpointError: ONNX Runtime cannot open the file.
        """
        with self._lock:
            if self._session is None:
                import onnxruntime  # noqa: PLC0415 - an app that only shows a page does not need it

                with SHARING:
                    _share_memory()
                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = self.threads
                options.inter_op_num_threads = 1
                options.log_severity_level = 3
                options.add_session_config_entry("session.use_env_allocators", "1")
                options.enable_mem_pattern = False  # keeps one block for each shape of input there has been
                # Threads that wait for their next part without sleeping take the cores from the web server.
                options.add_session_config_entry("session.intra_op.allow_spinning", "0")
                # int8 weights are computed in float32; by default ONNX Runtime would re-quantise.
                options.add_session_config_entry("session.disable_quant_qdq", "1")
                try:
                    self._session = onnxruntime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])
                except Exception as error:  # onnxruntime raises its own types, one for each cause
                    raise CheckpointError(f"{self.path} is not a model ONNX Runtime can open: {error}") from error
            return self._session


@functools.cache
def _share_memory() -> None:
    """Let all sessions of the process work in the same memory, instead of each keeping what it needed at most.

    It replaces whatever another library in the process has registered for ONNX Runtime; sessions that are open stay.
    """
    import onnxruntime  # noqa: PLC0415

    kind, where = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
    onnxruntime.create_and_register_allocator(onnxruntime.OrtMemoryInfo("Cpu", kind, 0, where), None)


def map_in_threads(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Return a function's result for every item, several at once, as Pillow and numpy let other threads run."""
    if len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, items))


def softmax(logits: NDArray[np.float32 | np.float64]) -> NDArray[np.float64]:
    """Return probabilities (n, labels) of logits (n, labels); n may be 0."""
    odds = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))
