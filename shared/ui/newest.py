"""Ask about the newest input, and show only what is about the input that is on the page.

A visitor may change the input while an answer or an explanation is computed. So the window of the page remembers which
input it has asked about, and which one the answer is about.

With trigger_mode="always_last", Gradio 6.31 asks about the newest input when an answer has come, but forgets it when an
error has come instead. docs/gradio_reports.md describes this bug.
"""

import itertools
import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from .tabs import clear_after_error

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
# Each event that asks has a name of its own, also among those of another app that is embedded in the same site.
APP = uuid.uuid4().hex[:8]
NAMES = (json.dumps(f"{APP}-{number}") for number in itertools.count())

# An upload is known by its path, as the browser adds other things to it.
SPELL = "const spell = (values) => JSON.stringify(values.map((value) => value?.path ?? value ?? null))"
ASK = """(...values) => {
    %(spell)s
    window.askedAbout ??= {}
    window.askedAbout[%(name)s] = spell(values.slice(0, %(count)d))
    return values
}"""
REMEMBER = """() => {
    window.answeredAbout ??= {}
    window.answeredAbout[%(place)s] = window.askedAbout[%(name)s]
}"""
ASK_AGAIN = """(...values) => {
    %(spell)s
    return spell(values) === window.askedAbout[%(name)s] ? { __type__: "update" } : Date.now()
}"""
DROP_IF_OLD = """(...values) => {
    %(spell)s
    const begin = %(begin)s
    return spell(values) === window.askedAbout[%(name)s] ? begin.map(() => ({ __type__: "update" })) : begin
}"""


def ask(
    events: Sequence[Callable[..., Any]],
    function: Callable[..., Any],
    inputs: Any,
    outputs: Sequence[gr.components.Component],
    more: Sequence[gr.components.Component] = (),
    **options: Any,
) -> Any:
    """Call a function at each of some events, one call at a time, and then for the newest inputs that came meanwhile.

    After an error, the outputs are reset.

    Args:
        events: the events, such as text.change.
        function: an endpoint.
        inputs: one component, or several.
        outputs: the components for the answer.
        more: components that are reset after an error, too, such as those of an explanation.
        options: further arguments of the event.

    Returns:
        The event, as Gradio returns it.
    """
    fields = list_components(inputs)
    words = {"spell": SPELL, "name": next(NAMES), "count": len(fields), "place": name_inputs(fields)}
    again = gr.JSON(visible=False, label="Ask again")
    options = {"trigger_mode": "always_last", "js": ASK % words} | options
    asked = gr.on([*events, again.change], function, inputs, list(outputs), **options)
    asked.success(None, None, None, js=REMEMBER % words, **QUIET)
    cleared = clear_after_error(asked.failure, [*outputs, *more])
    for event in (cleared.success, cleared.failure):  # only now, as an answer must not be reset
        event(None, fields, again, js=ASK_AGAIN % words, **QUIET)
    return asked


def explain_newest(
    event: Callable[..., Any],
    function: Callable[..., Any],
    inputs: Any,
    outputs: Sequence[gr.components.Component],
    about: Any = None,
    **options: Any,
) -> Any:
    """Call a function like `ask` at one event, and reset the outputs if their inputs have changed when they come.

    Args:
        event: the event, such as predicted.success.
        function: an endpoint.
        inputs: one component, or several.
        outputs: two or more components for the explanation.
        about: the first of the inputs, which must not have changed; by default all.
        options: further arguments of the event.

    Returns:
        The event, as Gradio returns it.
    """
    fields = list_components(inputs if about is None else about)
    begin = json.dumps([each.value for each in outputs])
    words = {"spell": SPELL, "name": next(NAMES), "count": len(fields), "begin": begin}
    options = {"trigger_mode": "always_last", "js": ASK % words} | options
    asked = event(function, inputs, list(outputs), **options)
    asked.success(None, fields, list(outputs), js=DROP_IF_OLD % words, **QUIET)
    return asked


def write_is_old(inputs: Sequence[gr.components.Component]) -> str:
    """Return JavaScript for isOld(values): is the answer on the page about other values of these inputs of `ask`?

    The answer with which the page opens is about the values that they have now.
    """
    first = json.dumps([each.value for each in inputs])
    answered = f"window.answeredAbout?.[{name_inputs(inputs)}] ?? spell({first})"
    return f"{SPELL}\n    const isOld = (values) => spell(values) !== ({answered})"


def name_inputs(inputs: Sequence[gr.components.Component]) -> str:
    """Return a JavaScript text that names these components, also among those of another app."""
    return json.dumps("-".join([APP, *(str(each._id) for each in inputs)]))


def list_components(inputs: Any) -> list[gr.components.Component]:
    """Return one component, or several, as a list."""
    return [*inputs] if isinstance(inputs, Sequence) else [inputs]
