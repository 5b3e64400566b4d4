"""GET /health: whether an app can answer questions. Containers and load balancers ask it, and act on a 503."""

import asyncio
import itertools
import logging
import tempfile
import time
import uuid
from collections.abc import Sequence
from typing import Any

import gradio as gr
from gradio.data_classes import PredictBodyInternal
from gradio.server_messages import ProcessCompletedMessage
from gradio.utils import get_upload_folder
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from ..predictor import Predictor

FRESH_SECONDS = 2.0  # for which a result is used again, so that nobody can keep the app busy with checks
PATIENCE = 20.0  # seconds that the queue and a model may take beside everything else


class Health:
    """Checks the queue with an event of its own, a model in turn with its example, and the folder of uploads.

    Args:
        demo: the app; an event that no page shows is added to it.
        models: those that the app serves.
    """

    def __init__(self, demo: gr.Blocks, models: Sequence[Predictor[Any, Any, Any]]) -> None:
        self.demo = demo
        self.models = itertools.cycle(models) if models else None
        with demo:
            gr.api(answer_ready, api_visibility="private", concurrency_id="health")
        self.lock = asyncio.Lock()
        self.checked, self.problem = -FRESH_SECONDS, ""

    async def __call__(self, scope: Scope) -> Response:
        """Answer a request: 200 or 503, and JSON that says why."""
        async with self.lock:
            if time.monotonic() > self.checked + FRESH_SECONDS:
                self.problem = await self.check(scope)
                self.checked = time.monotonic()
        if self.problem:
            return JSONResponse({"status": "unhealthy", "detail": self.problem}, 503, {"Retry-After": "10"})
        return JSONResponse({"status": "ok"})

    async def check(self, scope: Scope) -> str:
        """Say what is wrong, or nothing."""
        try:
            async with asyncio.timeout(PATIENCE):
                if not await self.check_queue(scope):
                    return "The queue is stopped."
                if self.models:
                    model = next(self.models)
                    await asyncio.to_thread(lambda: model.predict_batch([model.example()]))
                await asyncio.to_thread(check_folder)
        except TimeoutError:
            return f"The queue or a model did not answer within {PATIENCE:.0f} seconds."
        except Exception:
            logging.exception("The health check failed.")
            return "A model or the folder of uploads cannot be used; the log says why."
        return ""

    async def check_queue(self, scope: Scope) -> bool:
        """Put an event of no effect through the queue; return False if the queue is stopped or the event fails."""
        queue = self.demo._queue
        if queue.stopped:
            return False
        fn = next((fn for fn in queue.server_app.get_blocks().fns.values() if fn.name == answer_ready.__name__), None)
        if fn is None:  # `gradio app.py` has put another app in place of this one
            return True
        session = f"health-{uuid.uuid4().hex}"
        request = Request({**scope, "path": "/gradio_api/queue/join"})
        body = PredictBodyInternal(fn_index=fn._id, data=[], session_hash=session, request=request)
        await queue.add(body, request, None)  # past the shares: a full queue is no illness
        messages = queue.pending_messages_per_session[session]
        try:
            while not isinstance(message := await messages.get(), ProcessCompletedMessage):
                pass
            return bool(message.success)
        finally:
            queue.forget(session)


def answer_ready() -> str:
    """Return a word: what the check's event does."""
    return "ready"


def check_folder() -> None:
    """Write a file to the folder of uploads, and remove it.

    Raises:
        OSError: the folder is gone, or the disk is full.
    """
    with tempfile.TemporaryFile(dir=get_upload_folder()) as file:
        file.write(bytes(4096))
