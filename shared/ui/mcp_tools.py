"""Serve an MCP tool for each public endpoint of an app, with the endpoint's name.

Gradio 6.31 names tools after Python functions and takes their schemas from components: predict_1 with 1,500 movies, or
{"type": {}}. It calls its own app over HTTP, as one caller for all agents, and returns everything that a page draws.
docs/gradio_reports.md describes these bugs.
"""

import base64
import importlib.util
import json
import logging
import mimetypes
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin
from urllib.parse import unquote

import gradio as gr
from gradio import mcp
from gradio.data_classes import PredictBodyInternal
from gradio.server_messages import ProcessCompletedMessage, ProgressMessage
from gradio.utils import get_function_description, get_function_params, run_coro_in_background
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from .. import __version__
from ..config import GalleryConfig
from ..errors import BadInput, quote
from ..limits import LIMITS
from .fair_queue import find_client_address, is_data_url, is_uploaded
from .http_body import API
from .http_guard import to_http_error
from .requests import META, save_data_url
from .storage import CLIENT

TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}
ACCEPTED = (
    'a data: URL with base64 of up to 1 MB, such as "data:{};base64,...", '
    f"or the path or address of an upload to {API}/upload"
)
CSV_BYTES = 10_000  # agents get a CSV up to this size as text, a larger one only as an address
LISTED_LABELS = 20  # a description names up to so many labels of a model
INSTRUCTIONS = (
    "Small models to try and to learn from. Most have a tool that answers one question, and others whose names end in "
    "_explain (why) and _batch (many inputs); on a page of one model these are predict, explain and batch. The first "
    "text of a result is the answer as JSON; pictures, tables and addresses of files may follow. An error says in one "
    "sentence what is accepted."
)
NOT_INSTALLED = 'MCP is off, because a package is missing. Install it: pip install "gradio[mcp]=={}"'


def offer_tools() -> bool:
    """Return True if MCP is to be served, and make Gradio use ToolServer.

    MCP is served on a Space, unless GRADIO_MCP_SERVER=False, and elsewhere if GRADIO_MCP_SERVER=True. If the variable
    asks for MCP but the package is missing, a hint is printed.
    """
    asked = os.environ.get("GRADIO_MCP_SERVER")
    wanted = asked.lower() in ("true", "1") if asked else "SPACE_ID" in os.environ
    is_installed = importlib.util.find_spec("mcp") is not None
    if wanted and asked and not is_installed:
        print(NOT_INSTALLED.format(gr.__version__))
    mcp.GradioMCPServer = ToolServer  # launch has no argument for this
    return wanted and is_installed


@dataclass(frozen=True)
class Parameter:
    """An argument of a tool, with its JSON Schema and default value."""

    name: str
    schema: dict[str, Any]
    accepted: str  # for a file: how to send it; else ""
    is_required: bool
    default: Any


class ToolServer(mcp.GradioMCPServer):
    """Gradio's MCP server with the tools of this module."""

    # --- tools ---

    def get_tool_to_endpoint(self) -> dict[str, str]:
        """Return the endpoint of each tool; both have the same name, even on a Space."""
        self.tool_prefix = ""
        return {name.lstrip("/"): name for name in self.api_info["named_endpoints"]}

    def get_fn_description(self, block_fn: Any, _: str) -> tuple[str, dict[str, str]]:
        """Return the first part of the docstring, and what the model is; the schema describes the arguments."""
        does = get_function_description(block_fn.fn)[0]
        model = getattr(block_fn, "model", None)  # see Page; another app may have none
        return (f"{does} {describe_model(model.config)}" if model else does), {}

    def get_input_schema(
        self, tool_name: str, _: Mapping[str, str] | None = None
    ) -> tuple[dict[str, Any], list[list[str | int]]]:
        """Return a tool's JSON Schema, and the paths of its file arguments."""
        found = list_parameters(self.get_block_fn_from_endpoint_name(self.tool_to_endpoint[tool_name]))
        schema = {
            "type": "object",
            "properties": {item.name: item.schema for item in found},
            "required": [item.name for item in found if item.is_required],
        }
        return schema, [[item.name] for item in found if item.accepted]

    def create_mcp_server(self) -> Any:
        """Return an MCP server with tools only; see Gradio's method."""
        logging.getLogger("mcp").setLevel(logging.ERROR)
        for name in ("", "mcp.server.lowlevel.server"):
            logging.getLogger(name).addFilter(should_log)
        server = self.Server(str(self.blocks.title), version=__version__, instructions=INSTRUCTIONS)
        server.list_tools()(self.list_tools)
        server.call_tool(validate_input=False)(self.call)  # the models' own errors are clearer
        return server

    def list_offered(self) -> list[str]:
        """Return the names of the tools selected with ?tools= in the address, by default all."""
        chosen = self.get_selected_tools_from_request()
        return [name for name in self.tool_to_endpoint if chosen is None or name in chosen]

    async def list_tools(self) -> list[Any]:
        """Return the offered tools."""
        return [
            self.types.Tool(
                name=name,
                description=self.get_fn_description(self.get_block_fn_from_endpoint_name(name), name)[0],
                inputSchema=self.get_input_schema(name)[0],
                annotations=self.types.ToolAnnotations(
                    title=make_title(self.get_block_fn_from_endpoint_name(name), name),
                    readOnlyHint=True,
                    idempotentHint=True,
                    openWorldHint=False,
                ),
            )
            for name in self.list_offered()
        ]

    # --- calls ---

    async def call(self, name: str, arguments: dict[str, Any]) -> list[Any]:
        """Call a tool.

        Raises:
            BadInput: the call fails; the message is for the agent.
        """
        try:
            if name not in self.list_offered():
                raise BadInput(f"There is no tool {quote(name)}; the tools are {', '.join(self.list_offered())}.")
            fn = self.get_block_fn_from_endpoint_name(name)
            CLIENT.set(find_client_address(self.mcp_server.request_context.request.scope))
            # Reading files may take long, here and below.
            data = await run_in_threadpool(order_arguments, list_parameters(fn), arguments)
            outputs = await self.ask(fn, data)
            return await run_in_threadpool(lambda: list(self.make_content(fn, outputs)))
        except BadInput:
            raise
        except gr.Error as error:
            raise BadInput(error.message) from None
        except Exception as error:
            raise BadInput(to_http_error(error, "MCP", name).detail) from None

    async def ask(self, fn: Any, data: list[Any]) -> list[Any]:
        """Add an event to the queue, in its own session and with the agent's address; return the outputs.

        Raises:
            BadInput: the endpoint rejects the input.
            HTTPException: the queue rejects the event.
        """
        context = self.mcp_server.request_context
        scope = context.request.scope
        request = Request({**scope, "path": scope["path"].split(f"{API}/mcp")[0] + f"{API}/queue/join"})
        session, queue = f"mcp-{uuid.uuid4().hex}", self.blocks._queue
        body = PredictBodyInternal(fn_index=fn._id, data=data, session_hash=session, request=request)
        kept = len(await context.request.body())  # as long as the tool runs
        await queue.push(body, request, None, kept)
        messages = queue.pending_messages_per_session[session]
        try:
            while not isinstance(message := await messages.get(), ProcessCompletedMessage):
                if isinstance(message, ProgressMessage) and context.meta and context.meta.progressToken is not None:
                    unit = message.progress_data[0]  # has a count or a fraction
                    done = (unit.index, unit.length) if unit.length else (unit.progress or 0.0, 1.0)
                    await context.session.send_progress_notification(
                        context.meta.progressToken, *done, related_request_id=context.request_id
                    )
        finally:  # in a separate task, because this one is cancelled when the agent disconnects
            run_coro_in_background(queue.leave, session)
        if not message.success:
            raise BadInput(message.output.get("error") or f"{API}/info describes the arguments of this endpoint.")
        return [item.model_dump() if isinstance(item, BaseModel) else item for item in message.output["data"]]

    def make_content(self, fn: Any, outputs: list[Any]) -> Iterator[Any]:
        """Yield the content for the agent: the first output as JSON, texts, pictures, and addresses of files."""
        for index, (component, value) in enumerate(zip(fn.outputs, outputs, strict=True)):
            if index == 0:
                yield self.types.TextContent(type="text", text=json.dumps(value, ensure_ascii=False))
            elif isinstance(component, gr.Markdown) and value:
                yield self.types.TextContent(type="text", text=value)
            elif isinstance(component, gr.Image) and value:
                content = base64.b64encode(Path(value["path"]).read_bytes()).decode()
                kind = mimetypes.guess_type(value["path"])[0] or "image/webp"
                yield self.types.ImageContent(type="image", data=content, mimeType=kind)
            elif isinstance(component, gr.File) and value:
                path = Path(value["path"])
                if path.suffix == ".csv" and path.stat().st_size <= CSV_BYTES:
                    yield self.types.TextContent(type="text", text=path.read_text(encoding="utf-8-sig"))
                yield self.types.TextContent(type="text", text=f"{component.label}: {value['url']}")


def should_log(record: logging.LogRecord) -> bool:
    """Return False for MCP's log records of invalid messages, which may be of any length."""
    is_mcp = Path(record.pathname).parts[-3:-1] in (("mcp", "shared"), ("server", "lowlevel"))
    return not is_mcp or record.exc_info is not None


# --- descriptions ---


def make_title(fn: Any, name: str) -> str:
    """Return a tool's title for people, such as "Cat or dog: explain"; by default its name."""
    return f"{fn.model.config.about.title}: {fn.own_name.replace('_', ' ')}" if hasattr(fn, "model") else name


def describe_model(config: GalleryConfig) -> str:
    """Return sentences about a model: its title, its summary and its labels, as they are in answers."""
    about, labels = config.about, config.labels
    more = ", and more" if len(labels) > LISTED_LABELS else ""
    listed = f" Labels: {', '.join(labels[:LISTED_LABELS])}{more}." if labels else ""
    end = "" if about.summary.endswith((".", "?", "!")) else "."
    return " ".join(f'The model is "{about.title}": {about.summary}{end}{listed}'.split())


# --- arguments ---


def list_parameters(fn: Any) -> list[Parameter]:
    """Return the arguments of an endpoint, from its type hints, its docstring and its components."""
    _, described, _ = get_function_description(fn.fn)
    return [
        make_parameter(name, has_default, default, hint, described.get(name) or component.label or "", component)
        for (name, has_default, default, hint), component in zip(get_function_params(fn.fn), fn.inputs, strict=False)
    ]


def make_parameter(
    name: str, has_default: bool, default: Any, hint: Any, description: str, component: Any
) -> Parameter:
    """Return the description of an argument; if it may be None, it is optional."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    schemas = [make_schema(kind) for kind in kinds]
    if isinstance(component, gr.Dropdown) and not component.allow_custom_value:
        schemas[0]["enum"] = [value for _, value in component.choices]
    if isinstance(component, gr.Number):
        bounds = {"minimum": component.minimum, "maximum": component.maximum}
        schemas[0] |= {key: value for key, value in bounds.items() if value is not None}
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    accepted = ""
    if isinstance(component, gr.Image | gr.File):
        is_picture = isinstance(component, gr.Image) or "image" in (component.file_types or ())
        accepted = ACCEPTED.format("image/png" if is_picture else "text/csv")
        description = f"{description.rstrip('.')}. {'Each is' if 'items' in schema else 'It is'} {accepted}."
    schema |= {"description": description} | ({} if default is None else {"default": default})
    return Parameter(name, schema, accepted, not has_default and NoneType not in kinds, default)


def make_schema(hint: Any) -> dict[str, Any]:
    """Return the JSON Schema of a type hint that is not a union."""
    if get_origin(hint) is dict:
        return {"type": "object", "additionalProperties": make_schema(get_args(hint)[1])}
    if get_origin(hint) is list:
        return {"type": "array", "items": make_schema(get_args(hint)[0])}
    return {"type": TYPES[hint]} if hint in TYPES else {}  # another Space may have untyped arguments


def order_arguments(wanted: list[Parameter], arguments: Mapping[str, Any]) -> list[Any]:
    """Return the arguments in the order of the endpoint, with files as uploads.

    Raises:
        BadInput: an argument is missing or unknown, is not a readable file, or has more than LIMITS.batch_files files.
        gr.Error: an argument is not valid base64, or the disk is full.
    """
    names = [item.name for item in wanted]
    if unknown := [name for name in arguments if name not in names]:
        raise BadInput(f"There is no argument {quote(unknown[0])}; the arguments are {', '.join(names)}.")
    if missing := [item.name for item in wanted if item.is_required and item.name not in arguments]:
        raise BadInput(f"Missing arguments: {', '.join(missing)}.")
    return [_convert_argument(item, arguments.get(item.name, item.default)) for item in wanted]


def _convert_argument(wanted: Parameter, value: Any) -> Any:
    if not wanted.accepted:
        return value
    if "items" in wanted.schema:
        items = value if isinstance(value, list) else [value]
        if len(items) > LIMITS.batch_files:
            raise BadInput(f"There are more than {LIMITS.batch_files} files; send fewer at a time.")
        return [to_upload(item, wanted.accepted) for item in items]
    return to_upload(value, wanted.accepted)


def to_upload(value: Any, accepted: str) -> dict[str, Any]:
    """Return a file in Gradio's format; base64 data is saved as an upload.

    No address is fetched; the address of an upload is converted to its path.

    Raises:
        BadInput: the value is not in an accepted form.
        gr.Error: the value is not valid base64, or the disk is full.
    """
    if isinstance(value, dict):  # the format of other clients
        value = value.get("path") or value.get("url")
    path = None
    if is_data_url(value):
        path = save_data_url(value)
    elif isinstance(value, str):
        path = unquote(value.split(f"{API}/file=", 1)[1].split("?")[0]) if f"{API}/file=" in value else value
        path = path if is_uploaded(path) else None
    if path is None:
        raise BadInput(f"{quote(value)} cannot be read here; send {accepted}.")
    return {"path": path, "meta": META}
