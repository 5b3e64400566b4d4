"""Format text and figures as Markdown for cards and pages."""

import re


def format_figure(value: float) -> str:
    """Format a figure with four decimals; do not show 0 or 1 unless it is exact."""
    text = f"{value:.4f}"
    if text in ("0.0000", "-0.0000") and value != 0:
        return "< 0.0001" if value > 0 else "> -0.0001"
    return "> 0.9999" if text == "1.0000" and value < 1 else text


def escape_markdown(text: str) -> str:
    """Escape text, such as a label, so that Markdown shows it literally, even in a table cell."""
    text = " ".join(text.split())
    text = re.sub(r"([\\|`*~])|(?<![^\W_])_|_(?![^\W_])|(?<=\])\(", r"\\\g<0>", text)
    return re.sub(r"&(?=#?\w+;)", "&amp;", text).replace("<", "&lt;")
