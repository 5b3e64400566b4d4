"""The routes of Spaces."""

import json
import mimetypes

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from hub.local import cards
from hub.local.access import Handlers, get_param
from hub.local.repos import check_payment, describe_runtime
from hub.local.runner import Builder
from hub.local.store import ApiError, Space, Store, format_now

# A table of its own: Gradio changes the module's, and Python 3.11 has another type for .js than the Hub.
MEDIA_TYPES = mimetypes.MimeTypes()
MEDIA_TYPES.add_type("text/javascript", ".js")
MEDIA_TYPES.add_type("text/markdown", ".md")  # unknown to Python 3.11
VARIABLES = b"<script>window.huggingface={variables:%b};</script>"


class Spaces(Handlers):
    """The routes for variables, secrets, hardware, logs, and for starting and stopping.

    Args:
        store: the content of the Hub.
        builder: starts and stops the apps.
    """

    def __init__(self, store: Store, builder: Builder) -> None:
        super().__init__(store)
        self.builder = builder

    def routes(self) -> list[Route]:
        space = "/api/spaces/{owner}/{name}"
        return [
            Route("/spaces/{owner}/{name}", self.page),
            Route("/static/{owner}/{name}/{path:path}", self.static),
            Route("/asleep/{owner}/{name}", self.visit),
            Route("/asleep/{owner}/{name}/{path:path}", self.visit, methods=["GET", "POST"]),
            Route(space + "/runtime", self.runtime),
            Route(space + "/logs/{log}", self.logs),
            Route(space + "/variables", self.variables, methods=["GET", "POST", "DELETE"]),
            Route(space + "/secrets", self.secrets, methods=["GET", "POST", "DELETE"]),
            Route(space + "/hardware", self.hardware, methods=["POST"]),
            Route(space + "/sleeptime", self.sleep_time, methods=["POST"]),
            Route(space + "/restart", self.restart, methods=["POST"]),
            Route(space + "/pause", self.pause, methods=["POST"]),
        ]

    async def page(self, request: Request) -> Response:
        """Redirect a browser to the app, or show why it does not run."""
        space = self.find_space(request, write=False)
        if space.host:
            return RedirectResponse(space.host)
        return PlainTextResponse(f"{space.id} is {space.stage}.\n\n{space.error or ''}")

    async def runtime(self, request: Request) -> Response:
        return JSONResponse(describe_runtime(self.find_space(request, write=False)))

    async def static(self, request: Request) -> Response:
        """Send a file of a static Space with the headers in its README.md; insert its variables into HTML."""
        space, path = self.find_space(request, write=False), get_param(request, "path")
        files = space.at("main").files
        card = cards.read_card_data(files["README.md"].data) if "README.md" in files else {}
        path = path or str(card.get("app_file", "index.html"))
        if space.sdk != "static" or space.stage != "RUNNING" or path not in files:
            raise ApiError(404, "Entry not found", "EntryNotFound")
        kind, encoding = MEDIA_TYPES.guess_type(path)
        media_type = "application/octet-stream" if encoding else kind
        data = files[path].data
        if kind == "text/html":
            data = data.replace(b"<head>", b"<head>" + VARIABLES % json.dumps(space.variables).encode(), 1)
        return Response(data, headers=card.get("custom_headers"), media_type=media_type)

    async def visit(self, request: Request) -> Response:
        """Wake a sleeping Space; the response at the address of its app."""
        space = self.find_space(request, write=False)
        if space.stage == "SLEEPING":
            space.stage = "BUILDING"
            self.builder.start(space)
        return PlainTextResponse("This Space is waking up", 503)

    async def logs(self, request: Request) -> Response:
        """Send the log of the build or the app as server-sent events; empty events keep the connection open."""
        space = self.find_space(request)
        text = space.build_log
        if get_param(request, "log") == "run":
            text = space.log.read_text("utf-8", errors="replace") if space.log else space.error or ""
        events = [json.dumps({"data": f"{line}\n", "timestamp": space.log_time}) for line in text.splitlines()]
        return PlainTextResponse(
            "".join(f"data: {event}\n\ndata:\n\n" for event in events), media_type="text/event-stream"
        )

    async def variables(self, request: Request) -> Response:
        space = self.find_space(request)
        await self._change(request, space, space.variables)
        listed = {
            key: {"key": key, "value": value, "updatedAt": format_now()} for key, value in space.variables.items()
        }
        return JSONResponse(listed)

    async def secrets(self, request: Request) -> Response:
        space = self.find_space(request)
        await self._change(request, space, space.secrets)
        return JSONResponse({key: {"key": key, "updatedAt": format_now()} for key in space.secrets})

    async def hardware(self, request: Request) -> Response:
        space, asked = self.find_space(request), await request.json()
        if asked["flavor"] != space.hardware:
            check_payment(self.store, space.owner, asked["flavor"])
        space.hardware = asked["flavor"]
        space.sleep_time = asked.get("sleepTimeSeconds", space.sleep_time)
        self.builder.start(space)
        return JSONResponse(describe_runtime(space))

    async def sleep_time(self, request: Request) -> Response:
        space = self.find_space(request)
        space.sleep_time = (await request.json())["seconds"]
        return JSONResponse(describe_runtime(space))

    async def restart(self, request: Request) -> Response:
        space = self.find_space(request)
        space.stage = "BUILDING"
        self.builder.start(space)
        return JSONResponse(describe_runtime(space))

    async def pause(self, request: Request) -> Response:
        space = self.find_space(request)
        self.builder.stop(space)
        space.stage = "PAUSED"
        return JSONResponse(describe_runtime(space))

    async def _change(self, request: Request, space: Space, values: dict[str, str]) -> None:
        if request.method == "POST":
            asked = await request.json()
            values[asked["key"]] = asked["value"]
        elif request.method == "DELETE":
            values.pop((await request.json())["key"], None)
        if request.method != "GET":
            self.builder.start(space)
