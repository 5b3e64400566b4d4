"""Serve a page with the gallery's theme and limits, with demo.launch() or gr.mount_gradio_app."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import gradio as gr
from fastapi.exceptions import RequestValidationError
from gradio.routes import App
from starlette.middleware import Middleware

from ..console import guard_output
from ..limits import LIMITS
from ..predictor import Predictor
from . import memory, zero_gpu  # noqa: F401 - ZeroGPU needs a function when the app starts
from .connections import use_timed_protocol
from .fair_queue import FairQueue
from .health import Health
from .http_guard import Guard, patch_gradio, raise_file_limit, refuse_form
from .logs import log_gradio_errors, use_private_logs
from .mcp_tools import offer_tools
from .replicas import replica_middleware
from .requests import check_inputs
from .retention import find_kept_files, renew, start_sweeping, use_own_folder
from .sessions import use_lean_sessions
from .theme import CSS, THEME

use_own_folder()  # before any component is made, because each stores the folder

FOOTER = ["api", "gradio", "settings"]


class Page(gr.Blocks):
    """Gradio's Blocks with the gallery's theme and limits, for demo.launch() and gr.mount_gradio_app.

    Args:
        models: the models on the page; GET /health checks them.
        title: the title of the browser tab.
        summary: a sentence for the preview of a link; by default that of the model, if there is only one.
        options: other arguments of gr.Blocks.
    """

    _app: App | partial[App]

    def __init__(self, *models: Predictor[Any, Any, Any], title: str, summary: str = "", **options: Any) -> None:
        super().__init__(title=title, **{"delete_cache": (LIMITS.kept_seconds,) * 2, **options})
        self.models = models
        self.previews = {"": (title, summary or models[0].config.about.summary if len(models) == 1 else summary)}

    def __exit__(self, exc_type: type[BaseException] | None = None, *args: Any) -> None:
        """Note the model and the own name of each endpoint, both of which it keeps as part of a gallery."""
        for event in self.fns.values() if len(self.models) == 1 else ():
            event.model, event.own_name = self.models[0], event.api_name
        renew(find_kept_files(self))  # now, since others of a gallery may take long to be built
        super().__exit__(exc_type, *args)

    @property
    def app(self) -> App:
        """The FastAPI app; until the page is served, Gradio's draft of it, which is made when it is asked for."""
        if isinstance(self._app, partial):
            self._app = self._app()
        return self._app

    @app.setter
    def app(self, app: App | partial[App]) -> None:
        self._app = app

    def launch(self, **options: Any) -> Any:
        """Serve the page, with the options of gr.Blocks.launch; see `launch` below."""
        return launch(self, *self.models, **options)


def launch(demo: gr.Blocks, *models: Predictor[Any, Any, Any], **options: Any) -> Any:
    """Serve an app with the gallery's theme and limits; Gradio's environment variables apply.

    GET /health reports whether the queue and the models work. With GALLERY_REPLICA=1, the app may be one of several
    behind a load balancer; see shared/ui/replicas.py.

    Args:
        demo: the app.
        models: the models of the app.
        options: options of gr.Blocks.launch, such as server_port=8000; they replace the defaults here, but css is
            added.

    Returns:
        The result of gr.Blocks.launch: the FastAPI app, its local address, and its public address, if any.
    """
    guard_output()
    use_private_logs()
    memory.return_freed()
    raise_file_limit()
    use_timed_protocol()
    app_kwargs = protect(demo, models, options.pop("app_kwargs", None))
    if os.environ.get("GALLERY_REPLICA") == "1":
        app_kwargs["middleware"] = [*replica_middleware(demo), *app_kwargs["middleware"]]
    root_path = options.pop("root_path", None) or os.environ.get("GRADIO_ROOT_PATH", "")
    if root_path and "://" not in root_path:
        root_path = f"/{root_path.strip('/')}"  # the form that Gradio needs
    defaults = {
        "theme": THEME,
        "root_path": root_path,
        "max_file_size": LIMITS.file_bytes,
        "state_session_capacity": LIMITS.page_sessions,
        "footer_links": FOOTER,
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,  # Gradio's Node server would ask for pages without the browser's languages
        "mcp_server": offer_tools(),
        "_frontend": False,  # else Gradio stops an app whose page took 3 s, as when several start at once
    }
    css = f"{CSS}\n{options.pop('css', None) or ''}"
    return gr.Blocks.launch(demo, app_kwargs=app_kwargs, css=css, **(defaults | options))


def protect(
    demo: gr.Blocks, models: Sequence[Predictor[Any, Any, Any]], given: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Make an app safe to serve: patch Gradio; add the queue, /health and the deletion of old files.

    If it is called again for the same app, as in a notebook, the existing queue is kept.

    Args:
        demo: the app.
        models: the models of the app.
        given: the caller's keyword arguments for FastAPI; the guard runs before their middleware.

    Returns:
        The keyword arguments for FastAPI, with the guard.
    """
    # By default Gradio summarises all earlier calls after each call, for its monitoring page.
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "100")
    os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1000")
    patch_gradio()
    log_gradio_errors()
    check_inputs()
    use_lean_sessions()
    if not isinstance(demo._queue, FairQueue):
        start_sweeping(demo)
        demo.health = Health(demo, models)
        demo.queue(api_open=False)  # /run only serves events without queue, such as examples
        demo._queue = FairQueue(demo)
    app_kwargs = dict(given or {})
    app_kwargs["middleware"] = [Middleware(Guard, health=demo.health), *app_kwargs.get("middleware", ())]
    app_kwargs["exception_handlers"] = {RequestValidationError: refuse_form, **app_kwargs.get("exception_handlers", {})}
    return app_kwargs


def _create_app(blocks: gr.Blocks, *args: Any, **options: Any) -> Any:
    """Make the FastAPI app of some Blocks; a mounted Page gets the same theme and limits as with launch().

    Gradio also makes one whenever Blocks are created, left or get a queue, although launch() makes another. That took
    half the time in which the gallery starts, so for a Page it is made only if it is asked for.
    """
    if isinstance(blocks, Page) and not args and options == {"mcp_server": False}:
        return partial(create_app, blocks, mcp_server=False)
    is_mounted = isinstance(blocks, Page) and options.get("parent_app") is not None
    if is_mounted:
        options["app_kwargs"] = protect(blocks, blocks.models, options.get("app_kwargs"))
        is_offered = offer_tools()  # also replaces Gradio's tools
        if options.get("mcp_server") is None:
            options["mcp_server"] = is_offered
        blocks.state_session_capacity = LIMITS.page_sessions
        blocks.max_file_size = blocks.max_file_size or LIMITS.file_bytes
        blocks.run_history, blocks.enable_monitoring = False, False  # the guard blocks both
        blocks.footer_links = [link for link in blocks.footer_links if link != "runs"]
        blocks.css = f"{CSS}\n{blocks.css or ''}"
        if blocks.theme.to_dict() == gr.themes.Default().to_dict():
            blocks.theme = THEME
        blocks.css_paths, blocks.head_paths = [], []  # already read
        blocks._set_html_css_theme_variables()
    app = create_app(blocks, *args, **options)
    if is_mounted:
        blocks.app = app  # as launch() does; a draft made later would take over the sessions
        blocks._queue.set_server_app(app)  # otherwise set at the first request
    return app


# gr.mount_gradio_app calls no method of the Blocks and takes no middleware from them.
create_app = App.create_app
App.create_app = staticmethod(_create_app)
