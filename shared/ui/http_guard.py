"""Protect a public app: limit requests, open only the routes that pages use, and keep secrets out of responses."""

import contextlib
import errno
import logging
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Set
from contextvars import ContextVar
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from gradio import queueing, route_utils, routes
from gradio.route_utils import CustomCORSMiddleware, FnIndexInferError
from gradio.utils import get_upload_folder
from jinja2.ext import Extension
from starlette._utils import get_route_path
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import quote
from ..limits import LIMITS
from .fair_queue import NO_ENDPOINT, find_client_address
from .http_body import API, REQUEST, UPLOAD_PROGRESS, BoundedReceive, UploadParser, check_body
from .languages import LANGUAGE, find_language, mark_page, translate_page
from .storage import CLIENT, check_upload, count_upload

MAX_OPEN_FILES = 65_536

# The routes that pages, gradio_client, curl and MCP clients use. The other routes of Gradio 6.31 are for components and
# options that no page has: /component_server, /process_recording and /stream read uploads; /deep_link stores a session
# with its inputs; /api is an old name of /run, with which browsers select an example.
OPEN_ROUTES = {
    "app_id", "call", "cancel", "file", "heartbeat", "info", "login_check", "mcp", "openapi.json", "queue",
    "reset", "run", "startup-events", "theme.css", "token", "upload", "upload_progress", "user",
}  # fmt: skip
# What Gradio makes anew from the whole app for each request, as it does each page, in about 0.1 s of CPU time.
DESCRIPTIONS = {"config", f"{API}/info".strip("/"), f"{API}/openapi.json".strip("/"), f"{API}/mcp/schema".strip("/")}
EVENT_ROUTES = tuple(f"{API}/{route}" for route in ("call/", "cancel", "mcp", "queue/join", "reset", "run/"))
CLOSED = {"monitoring": "Monitoring is switched off here.", "logout": "Nobody is logged in here."}  # routes of Gradio
OLD_ROUTES = re.compile("/(?:api|call|queue|run|upload)(?:/|$)")  # routes of Gradio 3 and 4
IS_WATCHED = bool(os.environ.get("GRADIO_WATCH_DIRS"))  # `gradio app.py` reloads pages when a file changes
FILE_HEADERS = {
    b"accept-ranges", b"cache-control", b"content-disposition", b"content-length", b"content-range", b"content-type",
    b"etag", b"last-modified",
}  # fmt: skip
INVALID_REQUEST = f"The request is invalid; {API}/info describes the arguments of each endpoint."
UNREAD = (413, 429, 507)  # answers to requests that have not been read to their end
DISK_FULL = "The server's disk is full; try again later."
DISK_FAILS = "The server cannot use its disk at the moment; try again later."
REQUEST_ERRORS = (TypeError, ValueError, AttributeError, LookupError)  # raised by Gradio for an invalid request
# Gradio's description of the API for the request that this task or thread handles.
API_INFO: ContextVar[Any] = ContextVar("api_info", default=None)
UPDATE_ROOT = route_utils.update_root_in_config
FOREIGN_PREVIEW = re.compile(r'<meta\s[^>]*"(?:og|twitter):[^>]*>')
PREVIEW = """{% set title, summary = previews.get(config.current_page) or (config.title or "", "") %}
<meta name="description" content="{{ summary }}">
<meta property="og:type" content="website">
<meta property="og:title" content="{{ title }}">
<meta property="og:description" content="{{ summary }}">
"""
RANGE = re.compile(rb"bytes=(?=\d|-\d)(\d{0,18})-(\d{0,18})")


class Guard:
    """ASGI middleware for a Gradio app; it also answers /health, under its other name /healthz as well."""

    def __init__(self, app: ASGIApp, health: Any) -> None:
        self.app, self.health = app, health
        self.requests: Counter[str] = Counter()  # in progress, by client
        self.most_requests = find_file_limit() // 4  # of a client, whatever LIMITS says

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False
        # Gradio answers a Range request with the request's own headers, including cookies.
        echoes = {name for name, _ in scope["headers"]} - FILE_HEADERS

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if message["status"] in UNREAD:
                    await bounded.discard()
                if message["status"] == 500 and bounded.is_refused:
                    message["status"] = 422  # Gradio answers every error of /run with 500
                message["headers"] = guard_headers(message["headers"], path, echoes)
            await send(mark_page(message, path))

        path = get_route_path(scope)
        client = find_client_address(scope)
        CLIENT.set(client)
        LANGUAGE.set(find_language(scope["headers"]))
        bounded = BoundedReceive(path, receive, client)
        REQUEST.set(bounded)
        try:
            self.requests[client] += 1
            response = await self.answer_directly(scope, path)
            if response is not None:
                await response(scope, receive, send)
                return
            self.check_requests(client)
            self.check_route(scope, path)
            drop_bad_range(scope)
            bounded.check_length(scope["headers"])
            await self.check_client(scope, path, client)
            receive = await check_body(bounded, path) if is_event(scope, path) else bounded
            await self.app(scope, receive, send_guarded)
        except Exception as error:
            if started:
                raise
            # Do not store the error in a variable: its traceback refers to this frame, so both would stay in memory.
            response = to_response(to_http_error(error, scope["method"], path))
            if response.status_code in UNREAD:
                await bounded.discard()
            await response(scope, receive, send)
        finally:
            bounded.settle()
            self.forget_request(client)

    async def answer_directly(self, scope: Scope, path: str) -> Response | None:
        """Answer /health and, without counts, the statistics route that "Use via API" requests; else return None."""
        if path.rstrip("/") in ("/health", "/healthz"):
            answer: Response = await self.health(scope)
            return answer
        if path == "/monitoring/summary":
            return JSONResponse({"functions": {}})
        return None

    def forget_request(self, client: str) -> None:
        """Count a request of a client as ended."""
        self.requests[client] -= 1
        if not self.requests[client]:
            del self.requests[client]

    def check_requests(self, client: str) -> None:
        """Reject a request of a client that has too many in progress, such as streams that it leaves open.

        Raises:
            HTTPException: 429.
        """
        most = min(LIMITS.client_requests, self.most_requests)
        if self.requests[client] > most:
            raise HTTPException(
                429, f"Your network has {most:,} requests in progress; close some pages.", {"Connection": "close"}
            )

    def check_route(self, scope: Scope, path: str) -> None:
        """Reject routes that no page uses, and unknown endpoints.

        Raises:
            HTTPException: 404, 405, 414 or 422.
        """
        path = path.rstrip("/")
        if len(scope["query_string"]) > LIMITS.query_characters:
            raise HTTPException(414, f"The query string of an address may have {LIMITS.query_characters:,} characters.")
        if closed := next((reason for name, reason in CLOSED.items() if f"{path}/".startswith(f"/{name}/")), None):
            raise HTTPException(404, closed)
        blocks = scope["app"].get_blocks()
        if OLD_ROUTES.match(path):
            raise HTTPException(404, f"Send requests to {API}/call/NAME; the endpoints are {list_names(blocks)}.")
        if not path.startswith(API + "/"):
            return
        first, *rest = path.removeprefix(API + "/").split("/")
        is_file = first.startswith("file=") and not first.startswith("file=http")  # Gradio would fetch a web address
        if not (is_file or (first in OPEN_ROUTES and first != "file") or (first == "dev" and IS_WATCHED)):
            raise HTTPException(404, f"There is no route {quote(first)} in {API}; {API}/info lists the endpoints.")
        check_mcp(scope, path)
        check_query(scope, path)
        if first == "call" and scope["method"] == "POST":
            name = rest[-1] if rest else ""
            if not any(fn.api_name == name and fn.api_visibility != "private" for fn in blocks.fns.values()):
                raise HTTPException(404, f"There is no such endpoint; the endpoints are {list_names(blocks)}.")
            if len(rest) > 1:  # /call/v2 only reads the arguments, which are the same for all requests
                app = scope["app"]
                app.all_app_info = app.all_app_info or blocks.get_api_info(all_endpoints=True)
                API_INFO.set(app.all_app_info)
        elif first == "call" and len(rest) > 1 and not blocks._queue.has_event(rest[-1]):
            raise HTTPException(
                404, f"There is no such event; an answer can be fetched once, within {LIMITS.unfetched_seconds} s."
            )

    async def check_client(self, scope: Scope, path: str, client: str) -> None:
        """Reject events, pages and uploads beyond what a client may ask for, and uploads to a full disk.

        Raises:
            HTTPException: 429 or 507.
        """
        blocks = scope["app"].get_blocks()
        if is_event(scope, path):  # counted before it is read, whatever becomes of it
            blocks._queue.rate.count(client)
        if path.strip("/") in DESCRIPTIONS or path.strip("/") in {name for name, *_ in blocks.pages}:
            blocks._queue.page_rate.count(client)
        if path.rstrip("/") == f"{API}/upload":
            if count_free_bytes() < LIMITS.free_bytes:
                raise HTTPException(507, DISK_FULL)
            await check_upload()


def is_event(scope: Scope, path: str) -> bool:
    """Return True for a request that sends JSON: an event, or a message of MCP."""
    return scope["method"] == "POST" and path.startswith(EVENT_ROUTES)


def check_mcp(scope: Scope, path: str) -> None:
    """Reject MCP's old transport, and requests for a stream on which nothing would be sent.

    The old transport keeps all messages to a session that nobody reads. Clients expect 405 if there is no stream.

    Raises:
        HTTPException: 404 or 405.
    """
    if path.startswith((f"{API}/mcp/sse", f"{API}/mcp/messages")):
        raise HTTPException(404, f"Use MCP at {API}/mcp/ (streamable HTTP).")
    accepted = b",".join(value for name, value in scope["headers"] if name == b"accept")
    is_mcp = path in (f"{API}/mcp", f"{API}/mcp/http")
    if is_mcp and scope["method"] == "GET" and b"text/event-stream" in accepted:
        raise HTTPException(405, "There is no stream to listen to; send requests with POST.", {"Allow": "POST"})


def check_query(scope: Scope, path: str) -> None:
    """Reject the name of an upload that is too long, and the messages of a session that does not exist.

    Gradio would keep the former, and log a stack trace for the latter.

    Raises:
        HTTPException: 404 or 422.
    """
    asked = QueryParams(scope["query_string"])
    if any(len(upload) > LIMITS.session_characters for upload in asked.getlist("upload_id")):
        raise HTTPException(422, f"An upload_id may have at most {LIMITS.session_characters} characters.")
    session, queue = asked.get("session_hash"), scope["app"].get_blocks()._queue
    if path == f"{API}/queue/data" and session is not None and session not in queue.pending_messages_per_session:
        raise HTTPException(404, f"There is no such session; it begins with an event at {API}/queue/join.")


def guard_headers(headers: Iterable[tuple[bytes, bytes]], path: str, echoes: Set[bytes]) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer: those of a file without `echoes`, and a redirection within the app.

    A page and a description are for the caller alone: Gradio writes addresses into them as the caller's headers say,
    such as X-Forwarded-Host.
    """
    kept = [header for header in headers if not (path.startswith(f"{API}/file=") and header[0].lower() in echoes)]
    is_page = any(name.lower() == b"content-type" and value.startswith(b"text/html") for name, value in kept)
    if is_page or path.strip("/") in DESCRIPTIONS:
        kept = [header for header in kept if header[0].lower() != b"cache-control"]
        kept.append((b"cache-control", b"private, no-cache"))
    return [(name, fix_location(name, value, path)) for name, value in kept] if path.endswith("/") else kept


def list_names(blocks: Any) -> str:
    """Return the names of an app's public endpoints."""
    return ", ".join(sorted(fn.api_name for fn in blocks.fns.values() if fn.api_visibility == "public"))


def to_http_error(error: Exception, method: str, path: str) -> HTTPException:
    """Convert an error to an HTTPException without internal details; log unexpected errors."""
    if isinstance(error, HTTPException):
        return error
    if isinstance(error, KeyError | FnIndexInferError) and path.startswith(f"{API}/run/"):
        return HTTPException(404, NO_ENDPOINT)
    if isinstance(error, REQUEST_ERRORS) and path.startswith((f"{API}/run/", f"{API}/call/v2/", f"{API}/upload")):
        return HTTPException(422, INVALID_REQUEST)
    logging.error("%s %s failed.", method, name_route(path), exc_info=error)
    if sentence := describe_disk_error(error):
        return HTTPException(507, sentence)
    return HTTPException(500, "Internal error; the server's log has the details.")


def name_route(path: str) -> str:
    """Return the route of a path for the log, without the names of files and sessions in it."""
    return re.match(f"{API}/[a-z_.]*|", path)[0] or "A page"  # type: ignore[index]


def to_response(error: HTTPException) -> Response:
    """Convert an HTTPException to a JSON response."""
    return JSONResponse({"detail": error.detail}, error.status_code, error.headers)


async def refuse_form(_: Request, __: Exception) -> JSONResponse:
    """Answer a request that FastAPI cannot validate with one sentence instead of a list of errors."""
    return JSONResponse({"detail": INVALID_REQUEST}, 422)


def describe_disk_error(error: Exception) -> str:
    """Return a sentence if an error means that the disk or the quota is full, read-only or broken; else ""."""
    code = error.errno if isinstance(error, OSError) else None
    if code in (errno.ENOSPC, errno.EDQUOT):
        return DISK_FULL
    return DISK_FAILS if code in (errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO) else ""


def fix_location(name: bytes, value: bytes, path: str) -> bytes:
    """Return a header's value; make Gradio's redirect from /page/ to /page relative.

    A relative redirect also works if a proxy removes a path prefix that is not known here.
    """
    if name.lower() == b"location" and value.decode("latin-1") == path.rstrip("/") != "":
        return b"../" + value.rpartition(b"/")[2]
    return value


class OwnPreview(Extension):
    """Replace the tags that messengers read in the template of Gradio's pages, of which the first advertise Gradio."""

    def preprocess(self, source: str, *_: Any) -> str:
        """Return the source of a template with the tags of PREVIEW."""
        return FOREIGN_PREVIEW.sub("", source).replace("<base ", f"{PREVIEW}<base ", 1)


def find_previews(request: Request) -> dict[str, Any]:
    """Return the title and the summary of each page, for PREVIEW."""
    return {"previews": getattr(request.app.get_blocks(), "previews", {})}


def find_page_base(request: Request) -> dict[str, str]:
    """Return the base URL of a page's scripts and cards, for the template of Gradio's pages.

    Gradio's "./" works for /gallery/ but not for /gallery, and a proxy that removes the prefix does not say which was
    requested. Only the path is set, because the browser knows the host.
    """
    root = request.app.root_path or request.scope.get("root_path") or ""
    path = urlsplit(root).path.strip("/")
    return {"base_url": f"/{path}/"} if path else {}


def drop_bad_range(scope: Scope) -> None:
    """Remove a Range header that Gradio cannot parse, as RFC 9110 requires; the whole file is sent."""
    scope["headers"] = [(name, value) for name, value in scope["headers"] if name != b"range" or is_range(value)]


def is_range(value: bytes) -> bool:
    """Return True for a single byte range whose end is not before its start."""
    found = RANGE.fullmatch(value.strip())
    if found is None:
        return False
    first, last = found.groups()
    return not (first and last) or int(first) <= int(last)


def count_free_bytes() -> int:
    """Return the free space on the disk of the uploads, in bytes."""
    folder = Path(get_upload_folder())
    return shutil.disk_usage(folder if folder.exists() else folder.parent).free


class OwnInfo:
    """App.api_info, which Gradio makes with the Host and the X-Forwarded headers of a request, kept for that request.

    Gradio keeps that of the first request for all visitors, whose code snippets then have an address that it chose.
    """

    def __get__(self, app: Any, _: type | None = None) -> Any:
        return self if app is None else API_INFO.get()

    def __set__(self, app: Any, info: Any) -> None:
        API_INFO.set(info)


class CorsWithoutCredentials(CustomCORSMiddleware):
    """Gradio's CORS rules without credentials: no page has a login, and its JavaScript sends no cookies."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.simple_headers: dict[str, str] = {}
        self.preflight_headers.pop("Access-Control-Allow-Credentials")


def fill_config(config: Any, root: str) -> Any:
    """Return the config of a page with its address and title, in the language of the request of this thread."""
    config = translate_page(UPDATE_ROOT(config, root), LANGUAGE.get())
    names = {path: name for path, name, *_ in config["pages"] if path}
    if name := names.get(config.get("current_page")):
        config["title"] = f"{name} - {config['title']}"
    return config


def patch_gradio() -> None:
    """Replace parts of Gradio for which `launch` has no argument; let /cancel end only waiting events."""
    route_utils.GradioMultiPartParser = UploadParser
    routes.upload_fn = count_upload
    # /cancel would end the task and free its slot while its thread keeps running, so slots would be unlimited.
    queueing.set_task_name = lambda *_: None
    # It takes the difference of two times as how long an event took, also when the clock was set in between. One that
    # seems to have taken a day would make the estimates wrong for weeks.
    queueing.time = SimpleNamespace(**vars(time) | {"time": time.monotonic})
    routes.CustomCORSMiddleware = CorsWithoutCredentials
    routes.App.api_info = OwnInfo()
    route_utils.update_root_in_config = fill_config
    routes.file_upload_statuses = UPLOAD_PROGRESS
    routes.templates.context_processors = [find_page_base, find_previews]
    routes.templates.env.add_extension(OwnPreview)


def raise_file_limit() -> None:
    """Raise the process's limit of open files, often 1,024 by default, as far as the system allows."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows does not have the module
        import resource  # noqa: PLC0415

        now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = MAX_OPEN_FILES if most == resource.RLIM_INFINITY else min(most, MAX_OPEN_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(now, wanted), most))


def find_file_limit() -> int:
    """Return how many files and connections the process may have open, at most MAX_OPEN_FILES."""
    with contextlib.suppress(ImportError):
        import resource  # noqa: PLC0415

        now, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return MAX_OPEN_FILES if now == resource.RLIM_INFINITY else min(now, MAX_OPEN_FILES)
    return MAX_OPEN_FILES
