"""Let a visitor download a file that the browser makes, so that the server keeps none."""

import json

import gradio as gr

# The byte order mark tells Excel that a CSV is UTF-8.
SAVE = """
    const saveBlob = (name, blob) => {
        const link = document.createElement("a")
        link.href = URL.createObjectURL(blob)
        link.download = name
        link.click()
        setTimeout(() => URL.revokeObjectURL(link.href), 60_000)
    }
    const save = (name, csv) => saveBlob(name, new Blob(["\\ufeff" + csv], { type: "text/csv" }))
"""


def add_download(label: str, name: str, csv: str) -> None:
    """Add a button that saves a CSV under this name."""
    button = gr.Button(label, size="sm")
    script = f"() => {{{SAVE} save({json.dumps(name)}, {json.dumps(csv)}) }}"
    button.click(None, js=script, api_visibility="private", show_progress="hidden")
