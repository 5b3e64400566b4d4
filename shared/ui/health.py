"""GET /health: report whether an app can answer requests, for containers and load balancers."""

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
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from ..limits import LIMITS
from ..predictor import Predictor
from .files import ensure_upload_folder

FRESH_SECONDS = 2.0  # a result is reused for this long, so that checks cannot overload the app
PATIENCE = 20.0  # seconds that the queue and a model may take under load


class Health:
    """A health check of the queue (with its own event), one of the models in turn, and the upload folder.

    Args:
        demo: the app; a private event is added to it.
        models: the models that the app serves.
    """

    def __init__(self, demo: gr.Blocks, models: Sequence[Predictor[Any, Any, Any]]) -> None:
        self.demo = demo
        self.models = itertools.cycle(models) if models else None
        with demo:
            gr.api(answer_ready, api_visibility="private", concurrency_id="health")
        self.lock = asyncio.Lock()
        self.checked, self.problem = -FRESH_SECONDS, ""

    async def __call__(self, scope: Scope) -> Response:
        """Answer a request with 200 or 503, and the reason as JSON."""
        async with self.lock:
            if time.monotonic() > self.checked + FRESH_SECONDS:
                self.problem = await self.check(scope)
                self.checked = time.monotonic()
        if self.problem:
            return JSONResponse({"status": "unhealthy", "detail": self.problem}, 503, {"Retry-After": "10"})
        return JSONResponse({"status": "ok"})

    async def check(self, scope: Scope) -> str:
        """Return a sentence about the problem; "" if there is none."""
        try:
            async with asyncio.timeout(PATIENCE):
                if not await self.check_queue(scope):
                    return "The queue has stopped."
                if len(self.demo._queue.stuck) >= LIMITS.stuck_events:
                    return f"{len(self.demo._queue.stuck)} requests do not end; restart the app."
                if self.models:
                    model = next(self.models)
                    await asyncio.to_thread(lambda: model.predict_batch([model.example()]))
                await asyncio.to_thread(check_folder)
        except TimeoutError:
            return f"The queue or a model did not answer within {PATIENCE:.0f} seconds."
        except Exception:
            logging.exception("The health check failed.")
            return "A model or the upload folder cannot be used; the log says why."
        return ""

    async def check_queue(self, scope: Scope) -> bool:
        """Send an event without effect through the queue; return False if the queue has stopped or the event fails."""
        queue = self.demo._queue
        if queue.stopped:
            return False
        fn = next((fn for fn in queue.server_app.get_blocks().fns.values() if fn.name == answer_ready.__name__), None)
        if fn is None:  # `gradio app.py` has replaced the app
            return True
        session = f"health-{uuid.uuid4().hex}"
        request = Request({**scope, "path": "/gradio_api/queue/join"})
        body = PredictBodyInternal(fn_index=fn._id, data=[], session_hash=session, request=request)
        await queue.add(body, request, None)  # without limits: a full queue is healthy
        messages = queue.pending_messages_per_session[session]
        try:
            while not isinstance(message := await messages.get(), ProcessCompletedMessage):
                pass
            return bool(message.success)
        finally:
            queue.forget(session)


def answer_ready() -> str:
    """Return a fixed word; the event of the health check."""
    return "ready"


def check_folder() -> None:
    """Write a file to the upload folder, and delete it; the folder is created if it has been deleted.

    Raises:
        OSError: the disk is full, read-only or broken.
    """
    with tempfile.TemporaryFile(dir=ensure_upload_folder()) as file:
        file.write(bytes(4096))
