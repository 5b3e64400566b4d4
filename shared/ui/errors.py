"""Show errors to visitors and API users in one sentence."""

import functools
import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import gradio as gr

from ..errors import BadInput, CheckpointError
from .http_guard import describe_disk_error
from .requests import make_error

MODEL_FAILS = "The model cannot answer; whoever runs this page finds the reason in its log."
P = ParamSpec("P")
R = TypeVar("R")


def show_errors(function: Callable[P, R]) -> Callable[P, R]:
    """Wrap an endpoint so that visitors and API users get a sentence instead of a stack trace."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except BadInput as error:
            raise make_error(str(error)) from None
        except CheckpointError as error:
            logging.error("%s", error)
            raise gr.Error(MODEL_FAILS, title="That did not work", print_exception=False) from error
        except OSError as error:
            if sentence := describe_disk_error(error):
                raise gr.Error(sentence, title="That did not work") from error
            raise

    return wrapper
