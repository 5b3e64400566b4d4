"""The headline of an answer, which the scripts of a page read, and which screen readers announce."""

import html

import gradio as gr

ANNOUNCED = "announced"  # class of the components whose changes screen readers announce; see components.py

# The headline in the value of a component from add_headline, or in that of a gr.Label; "" if there is no answer.
READ_HEADLINE = """
    const readHeadline = (shown) => {
        const page = typeof shown === "string" && new DOMParser().parseFromString(shown, "text/html")
        return ((page ? page.querySelector("h2:not(.ask)")?.textContent : shown?.label) ?? "").trim()
    }
"""


def add_headline(ask: str) -> gr.HTML:
    """Add the component for the headline of an answer, which is an <h2>; at first, it asks for an input."""
    return gr.HTML(f'<h2 class="ask">{html.escape(ask)}</h2>', label="Result", elem_classes=ANNOUNCED)
