"""Log without what visitors send: no inputs, no addresses, no names of files.

Gradio and uvicorn print the message of an unexpected error, which may quote an input. Here an error is logged with its
type and the lines of code that led to it. GALLERY_LOG=json writes one JSON object per line; GALLERY_LOG=full adds the
messages of errors, for development. The access log of uvicorn is off, as Gradio starts it.
"""

import json
import logging
import os
import traceback
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import uvicorn.config
from gradio import queueing, route_utils, routes

from ..errors import get_cause


def describe_error(error: BaseException) -> str:
    """Return the types of an error and its causes, each with the lines of code that led to it, but no message."""
    parts = []
    for one in find_errors(error):
        lines = traceback.format_list(traceback.extract_tb(one.__traceback__))
        parts.append(f"{''.join(lines)}{type(one).__module__}.{type(one).__qualname__}")
    return "\n\nCaused by:\n".join(parts)


def find_errors(error: BaseException) -> list[BaseException]:
    """Return an error, its causes, and the errors in a group."""
    found: list[BaseException] = []
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if one not in found:
            found.append(one)
            cause = get_cause(one)
            waiting += [*getattr(one, "exceptions", ()), *([cause] if cause else [])]
    return found


class PrivateFormatter(logging.Formatter):
    """Formats records as text, and errors without their messages."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s: %(message)s")

    def formatException(self, ei: Any) -> str:  # noqa: N802 - of logging
        """Return what is logged of an error."""
        return describe_error(ei[1]) if ei[1] is not None else ""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record; another handler may have stored the error's text in it."""
        record.exc_text = None
        try:
            return super().format(record)
        finally:
            record.exc_text = None


class JsonFormatter(PrivateFormatter):
    """Formats records as JSON, one object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[1] is not None:
            entry["error"] = type(record.exc_info[1]).__name__
            entry["trace"] = describe_error(record.exc_info[1])
        return json.dumps(entry, ensure_ascii=False)


def choose_formatter() -> logging.Formatter:
    """Return the formatter for GALLERY_LOG."""
    if os.environ.get("GALLERY_LOG") == "full":
        return logging.Formatter("%(levelname)s: %(message)s")
    return JsonFormatter() if os.environ.get("GALLERY_LOG") == "json" else PrivateFormatter()


def use_private_logs() -> None:
    """Write the logs of this process to standard error as GALLERY_LOG says, also those of uvicorn.

    A program that has set up the root logger in its own way keeps that.
    """
    logging.basicConfig()
    for handler in logging.getLogger().handlers:
        if getattr(handler.formatter, "_fmt", None) == logging.BASIC_FORMAT:
            handler.setFormatter(choose_formatter())
    formatters: dict[str, Any] = uvicorn.config.LOGGING_CONFIG["formatters"]
    formatters["default"] = {"()": choose_formatter}


def log_gradio_errors() -> None:
    """Make Gradio log unexpected errors of endpoints instead of printing them."""
    printed = SimpleNamespace(**vars(traceback) | {"print_exc": log_error})
    for module in (queueing, route_utils, routes):
        module.traceback = printed


def log_error(*_: Any, **__: Any) -> None:
    """Log the error that is being handled."""
    logging.error("An endpoint failed.", exc_info=True)
