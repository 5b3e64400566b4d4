"""Accept pictures and files as uploads or as base64, which is saved as an upload; reject everything else."""

import base64
import binascii
import functools
import logging
import re
from collections.abc import Mapping
from mimetypes import guess_extension
from typing import Any

import gradio as gr
from starlette.concurrency import run_in_threadpool

from ..archives import TOO_MANY_FILES
from ..limits import LIMITS
from .fair_queue import NO_ENDPOINT, FairQueue, is_data_url, is_uploaded
from .http_body import REQUEST
from .http_guard import DISK_FULL, INVALID_REQUEST, REQUEST_ERRORS, count_free_bytes, describe_disk_error
from .storage import keep_bytes

UPLOAD = "the path that /gradio_api/upload returned"
SEND_PICTURE = (
    f'Send a picture as {{"path": "..."}} with {UPLOAD}, as text that begins with "data:image/png;base64,", '
    'or in Python as handle_file("cat.jpg"); other paths and web addresses are not read.'
)
SEND_FILE = (
    f'Send a file as {{"path": "..."}} with {UPLOAD}, or in Python as handle_file("some.csv"), '
    "and several files as a list; text, other paths and web addresses are not read."
)
BAD_BASE64 = 'This is not valid base64; send a file as text such as "data:image/png;base64,iVBORw0KGgo...".'
NO_EXAMPLE = "There is no such example; send its number, counted from 0."

DATA_URL = re.compile(r"data:[\w.+-]*(?:/[\w.+-]+)?(?:;[\w.+-]+=[^;,]{0,100})*;base64,", re.IGNORECASE)
META = {"_type": "gradio.FileData"}
PREPROCESS = gr.Blocks.preprocess_data


def accept_picture(value: object) -> dict[str, Any] | None:
    """Convert a caller's picture to Gradio's description of an upload; return None for None.

    Accepted are the path of an upload and a base64 data URL, which is saved as an upload; either as text, or as the
    `path` or `url` of a mapping. No other path is read, and no web address is fetched.

    Raises:
        gr.Error: the value is anything else.
    """
    if value is None:
        return None
    text: object = value
    if isinstance(value, Mapping):
        text = value.get("path") or value.get("url")
    if is_data_url(text):
        return {"path": save_data_url(str(text)), "meta": META}
    if not is_uploaded(text):
        raise make_error(SEND_PICTURE)
    return {"path": text, "meta": META}


def accept_file(value: object) -> dict[str, Any]:
    """Convert a caller's file to Gradio's description of an upload.

    Raises:
        gr.Error: the value is neither the path of an upload nor a mapping with one.
    """
    path = value.get("path") if isinstance(value, Mapping) else value
    if not is_uploaded(path):
        raise make_error(SEND_FILE)
    return {"path": path, "meta": META}


def save_data_url(text: str) -> str:
    """Save the content of a base64 data URL as an upload; return its path.

    Its size is limited by that of a request (see shared/ui/http_body.py).

    Raises:
        gr.Error: the text is not valid base64, or the disk is full.
    """
    head = DATA_URL.match(text[:1000])
    if head is None:
        raise make_error(BAD_BASE64)
    letters = "".join(text[head.end() :].split()).rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        content = base64.b64decode(letters + "=" * (-len(letters) % 4), validate=True)
    except (binascii.Error, ValueError):  # ValueError for non-ASCII characters
        raise make_error(BAD_BASE64) from None
    if count_free_bytes() < LIMITS.free_bytes:
        raise make_error(DISK_FULL)
    kind = head[0][len("data:") :].split(";")[0]
    return keep_bytes(content, f"file{guess_extension(kind) or ''}")


def prepare_input(block: object, value: Any) -> Any:
    """Convert an input to the form that its component takes.

    Raises:
        gr.Error: a picture or file is not in an accepted form, there are too many files, a text is a list or mapping,
            or an example does not exist.
    """
    if isinstance(block, gr.Dataset) and not (type(value) is int and 0 <= value < len(block.samples or ())):
        raise make_error(NO_EXAMPLE)
    if isinstance(block, gr.Image):
        return accept_picture(value)
    if isinstance(block, gr.Textbox) and isinstance(value, list | dict):
        raise make_error("Send the text itself, not a list or mapping.")
    if not isinstance(block, gr.File) or value is None:
        return value
    if block.file_count != "single":
        values = value if isinstance(value, list) else [value]
        if len(values) > LIMITS.batch_files:  # Gradio would copy each
            raise make_error(TOO_MANY_FILES.format(LIMITS.batch_files))
        return [accept_file(item) for item in values]
    return accept_file(value[0] if isinstance(value, list) and len(value) == 1 else value)


def make_error(text: str) -> gr.Error:
    """Return an error with one sentence for visitors and API users, without a stack trace in the log.

    The request is marked as refused, since Gradio answers it with 500.
    """
    if (request := REQUEST.get()) is not None:
        request.is_refused = True
    return gr.Error(text, duration=10, title="That did not work", print_exception=False)


def check_inputs() -> None:
    """Make Gradio check the inputs of the gallery's endpoints with prepare_input, and report errors in one sentence.

    Other Gradio apps in the process, which have no FairQueue, are not affected.
    """

    @functools.wraps(PREPROCESS)
    async def prepare(self: gr.Blocks, block_fn: Any, inputs: list[Any], *rest: Any, **options: Any) -> Any:
        if not isinstance(self._queue, FairQueue):
            return await PREPROCESS(self, block_fn, inputs, *rest, **options)
        wanted = block_fn.inputs
        try:
            if block_fn.fn is None:  # it runs in the browser only
                raise make_error(NO_ENDPOINT)
            pairs = zip(wanted, inputs, strict=False)  # Gradio checks the number
            if any(isinstance(block, gr.Image | gr.File) for block in wanted):  # these may read or write files
                inputs = await run_in_threadpool(lambda: [prepare_input(*pair) for pair in pairs])
            else:
                inputs = [prepare_input(*pair) for pair in pairs]
            return await PREPROCESS(self, block_fn, inputs, *rest, **options)
        except gr.Error as error:
            error.print_exception = False
            raise
        except REQUEST_ERRORS as error:
            logging.debug("/%s got invalid input.", block_fn.api_name, exc_info=error)
            raise make_error(INVALID_REQUEST) from None
        except OSError as error:
            if sentence := describe_disk_error(error):
                raise make_error(sentence) from error
            raise

    gr.Blocks.preprocess_data = prepare
