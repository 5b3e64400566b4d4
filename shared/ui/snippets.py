"""Show code that asks a page's model over HTTP: Python, JavaScript and curl, made from the page's endpoint.

Gradio's own "Use via API" is not on narrow screens, and most of its code fails here: it names a picture by a web
address, which is not fetched, and leaves out the quotation marks of a text that may be null.
"""

import json
from typing import Any

import gradio as gr
from gradio.context import Context
from gradio.utils import get_function_params

from ..predictor import Predictor
from .components import make_subclass
from .http_body import API
from .requests import META

ADDRESS = "http://127.0.0.1:7860"  # until the page is open in a browser, which knows its address
FILE = "picture.jpg"
INSTALL = "pip install gradio_client", "npm install @gradio/client"
FILL_IN = f"""text => {{
    const embedded = document.querySelector("gradio-app[src]")?.getAttribute("src")
    const root = window.gradio_config?.root || embedded || location.origin
    return text.replaceAll("{ADDRESS}", root.replace(/[/]$/, ""))
}}"""


class File:
    """An argument that is a file."""


def add_snippets(model: Predictor[Any, Any, Any]) -> None:
    """Add the code for the endpoint "predict" of the page that is being made, to fold out."""
    with gr.Accordion("Use it in code", open=False) as fold:
        code = Snippets(elem_classes="snippets")
    code.demo = Context.root_block
    code.values = [item if is_json(item) else File() for item in model.arguments(model.example())]
    fold.expand(None, code, code, js=FILL_IN, api_visibility="private", show_progress="hidden")


def is_json(value: Any) -> bool:
    """Return True if a value can be sent as JSON."""
    return isinstance(value, str | int | float | bool | list | dict | None)


def _fill_in_name(self: Any, cls: Any = None) -> dict[str, Any]:
    """Return the configuration for the browser; only now is the name of the endpoint final, also in the gallery."""
    found = [event for event in self.demo.fns.values() if getattr(event, "own_name", None) == "predict"]
    names = [name for name, *_ in get_function_params(found[0].fn)] if found else []
    arguments = dict(zip(names, self.values, strict=False))
    value = make_snippets(found[0].api_name, arguments) if found else ""
    return {**gr.Markdown.get_config(self, cls), "value": value}


Snippets = make_subclass("Snippets", gr.Markdown, get_config=_fill_in_name)


def make_snippets(endpoint: str, arguments: dict[str, Any]) -> str:
    """Return Markdown with code in three languages that asks an endpoint and prints its first output.

    Args:
        endpoint: its name, without a slash.
        arguments: a value or File() for each of its arguments.
    """
    install_python, install_javascript = INSTALL
    parts = {
        f"Python (`{install_python}`)": ("python", make_python(endpoint, arguments)),
        f"JavaScript, in Node (`{install_javascript}`)": ("js", make_javascript(endpoint, arguments)),
        "curl, in bash: one request asks, the other fetches the answer": ("bash", make_curl(endpoint, arguments)),
    }
    return "\n\n".join(f"{title}:\n\n```{language}\n{code}\n```" for title, (language, code) in parts.items())


def make_python(endpoint: str, arguments: dict[str, Any]) -> str:
    """Return the code for gradio_client."""
    has_file = any(isinstance(value, File) for value in arguments.values())
    given = [
        f"{name}={f'handle_file({FILE!r})' if isinstance(value, File) else repr(value)}"
        for name, value in arguments.items()
    ]
    inside = ", ".join([*given, f"api_name={f'/{endpoint}'!r}"])
    return (
        f"from gradio_client import Client{', handle_file' if has_file else ''}\n\n"
        f"client = Client({ADDRESS!r})\nanswer, *more = client.predict({inside})\nprint(answer)"
    )


def make_javascript(endpoint: str, arguments: dict[str, Any]) -> str:
    """Return the code for @gradio/client."""
    has_file = any(isinstance(value, File) for value in arguments.values())
    given = [
        f"{name}: {f'new Blob([await readFile({json.dumps(FILE)})])' if isinstance(value, File) else json.dumps(value)}"
        for name, value in arguments.items()
    ]
    return (
        'import { Client } from "@gradio/client";\n'
        + ('import { readFile } from "node:fs/promises";\n' if has_file else "")
        + f'\nconst client = await Client.connect("{ADDRESS}");\n'
        f'const answer = await client.predict("/{endpoint}", {{ {", ".join(given)} }});\n'
        "console.log(answer.data[0]);"
    )


def make_curl(endpoint: str, arguments: dict[str, Any]) -> str:
    """Return the commands for curl and a shell."""
    lines, sent = [], "@FILE@"
    if any(isinstance(value, File) for value in arguments.values()):
        lines.append(f'FILE=$(curl -s {ADDRESS}{API}/upload -F "files=@{FILE}" | cut -d \'"\' -f 2)')
    values = [{"path": sent, "meta": META} if isinstance(value, File) else value for value in arguments.values()]
    data = json.dumps({"data": values}, ensure_ascii=False).replace("'", r"'\''").replace(sent, "'$FILE'")
    call = f"{ADDRESS}{API}/call/{endpoint}"
    header = '-H "Content-Type: application/json"'
    lines.append(f"EVENT=$(curl -s {call} {header} -d '{data}' | cut -d '\"' -f 4)")
    return "\n".join([*lines, f"curl -sN {call}/$EVENT"])
