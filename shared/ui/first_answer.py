"""Show the answer to an example when a page opens, computed once at the start instead of for each visitor."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
from gradio.processing_utils import move_files_to_cache
from pydantic import BaseModel


def show_first_answer(outputs: Sequence[gr.components.Component], compute: Callable[[], Sequence[Any]]) -> None:
    """Let components show what a function returns when a page opens; the function is called once, now.

    If it fails, the page opens without an answer. `clear` must come before, because it resets to the values until now.

    Args:
        outputs: the components.
        compute: returns a value for each of them.
    """
    try:
        values = [each.postprocess(value) for each, value in zip(outputs, compute(), strict=True)]
    except Exception:  # the page must open even if the example cannot be answered
        logging.exception("The page opens without an answer, because its example could not be answered.")
        return
    for output, value in zip(outputs, values, strict=True):
        plain = value.model_dump() if isinstance(value, BaseModel) else value  # as in the constructor of a component
        output.value = move_files_to_cache(plain, output, postprocess=True, keep_in_cache=True)
