"""The look of every page: Gradio's theme and the gallery's CSS."""

from pathlib import Path

import gradio as gr

THEME = gr.themes.Default(
    primary_hue="indigo",
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
    text_size="lg",
).set(  # the defaults are too pale on white
    block_info_text_color="*neutral_500",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
)
CSS = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
