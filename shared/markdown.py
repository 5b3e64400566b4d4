"""Write text and figures for Markdown, on cards and pages."""

import re


def format_figure(value: float) -> str:
    """Write a figure with four decimals; do not round one that is not quite 0 or 1 to it."""
    text = f"{value:.4f}"
    if text in ("0.0000", "-0.0000") and value != 0:
        return "< 0.0001" if value > 0 else "> -0.0001"
    return "> 0.9999" if text == "1.0000" and value < 1 else text


def escape_markdown(text: str) -> str:
    """Write text of others, such as a label, so that Markdown shows it as it is, also in a cell of a table."""
    text = " ".join(text.split())
    text = re.sub(r"([\\|`*~])|(?<![^\W_])_|_(?![^\W_])|(?<=\])\(", r"\\\g<0>", text)
    return re.sub(r"&(?=#?\w+;)", "&amp;", text).replace("<", "&lt;")
