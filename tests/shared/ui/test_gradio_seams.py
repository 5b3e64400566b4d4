"""What shared/ui builds on in Gradio is as it was when it was last reviewed.

An upgrade of Gradio fails here first. For each name that fails: read what has changed, check what the sentence in SEAMS
says, run the tests of the module it names, and then write the new state:

    python -m tests.shared.ui.test_gradio_seams
"""

import hashlib
import importlib
import inspect
import json
from pathlib import Path

import gradio as gr
import pytest
from gradio import queueing, route_utils, routes, state_holder, utils

from shared.ui import http_body, http_guard, mcp_tools, page, requests, sessions, storage
from tests.conftest import MCP

REVIEWED = Path(__file__).with_name("gradio_seams.json")
GRADIO_OWN = {  # what shared.ui replaces, as Gradio has it; another test may have replaced it already
    "gradio.blocks.Blocks.preprocess_data": requests.PREPROCESS,
    "gradio.mcp.GradioMCPServer": mcp_tools.ToolServer.__mro__[1],
    "gradio.queueing.set_task_name": utils.set_task_name,
    "gradio.route_utils.GradioMultiPartParser": http_body.UploadParser.__mro__[1],
    "gradio.route_utils.update_root_in_config": http_guard.UPDATE_ROOT,
    "gradio.routes.App.create_app": page.create_app,
    "gradio.routes.upload_fn": storage.receive_upload,
    "gradio.state_holder.SessionState": sessions.Session.__mro__[1],
    "gradio.state_holder.StateHolder.__getitem__": sessions.get_session,
}

# Functions and classes that shared/ui calls, replaces or extends, and what to review if their source changes.
SEAMS = {
    "gradio.blocks.Blocks.preprocess_data": "requests.py replaces it: does it still come before any file is read?",
    "gradio.blocks.Blocks.__exit__": "page.py: is the app that it makes still a draft, which launch() replaces?",
    "gradio.blocks.Blocks.queue": "page.py: the same",
    "gradio.blocks.Blocks.call_function": "fair_queue.py: does a function still run in a thread?",
    "gradio.blocks.Blocks.create_limiter": "fair_queue.py and limits.py: do 40 threads still serve all events?",
    "gradio.queueing.Event": "fair_queue.py: are concurrency_id and alive still read when an event ends?",
    "gradio.queueing.EventQueue": "fair_queue.py makes one for events that are given up",
    "gradio.queueing.Queue.__init__": "fair_queue.py passes the same arguments, and replaces what is made here",
    "gradio.queueing.Queue.push": "fair_queue.py: is an event still added in one step, and its request not read later?",
    "gradio.queueing.Queue.get_events": "fair_queue.py: are places still counted by concurrency_id?",
    "gradio.queueing.Queue.start": "fair_queue.py starts a loop of its own with it",
    "gradio.queueing.Queue.start_processing": "fair_queue.py restarts it after an error",
    "gradio.queueing.Queue.process_events": "fair_queue.py gives it up after a time: is the place freed at its end?",
    "gradio.queueing.Queue.send_message": "fair_queue.py: are messages to events that are not alive still dropped?",
    "gradio.queueing.Queue.clean_events": "fair_queue.py calls it for sessions that have left",
    "gradio.queueing.set_task_name": "http_guard.py removes it: does /cancel still find tasks by their names only?",
    "gradio.route_utils.CustomCORSMiddleware": "http_guard.py removes credentials from it",
    "gradio.route_utils.GradioMultiPartParser": "http_body.py: are files still hashed, and deleted after an error?",
    "gradio.route_utils.FileUploadProgress": "http_body.py bounds its mappings: does it keep anything else?",
    "gradio.route_utils.update_root_in_config": "http_guard.py: is it called for each page, with a copy of its config?",
    "gradio.route_utils.get_fn": "fair_queue.py finds the endpoint of an event with it",
    "gradio.routes.App.create_app": "http_guard.py: do its routes still check paths, and is upload_fn still called?",
    "gradio.routes.file_fetch": "http_guard.py: does it still serve only files of the upload folder and of the app?",
    "gradio.routes.upload_fn": "storage.py counts the files that it returns",
    "gradio.state_holder.SessionState": "sessions.py has the same fields, and must keep no inputs",
    "gradio.state_holder.StateHolder.__getitem__": "sessions.py: is it still the only way to a session?",
    "gradio.processing_utils.save_bytes_to_cache": "storage.py: is the file still named by the hash of its content?",
    "gradio.processing_utils.save_file_to_cache": "storage.py: is the file still named by the hash of its content?",
    "gradio.processing_utils.async_move_files_to_cache": "requests.py: may a path or web address in an input be read?",
    "gradio.components.base.Component.__init__": "first_answer.py: is a value still prepared for the page as there?",
    "gradio.components.Image.preprocess": "components.py (Photo) replaces it",
    "gradio.components.File.preprocess": "components.py (Upload) replaces it",
    "gradio.components.AnnotatedImage.postprocess": "regions.py (Regions) replaces it",
    "gradio.utils.get_upload_folder": "retention.py and storage.py: is it still GRADIO_TEMP_DIR?",
}
MCP_SEAMS = {
    "gradio.mcp.GradioMCPServer.create_mcp_server": "mcp_tools.py replaces it",
    "gradio.mcp.GradioMCPServer.get_tool_to_endpoint": "mcp_tools.py replaces it",
    "gradio.mcp.GradioMCPServer.get_input_schema": "mcp_tools.py replaces it",
    "gradio.mcp.GradioMCPServer.get_fn_description": "mcp_tools.py replaces it",
}
# Attributes of Blocks that page.py sets, for an app that is mounted.
ATTRIBUTES = (
    "css", "css_paths", "delete_cache", "enable_monitoring", "footer_links", "head_paths", "max_file_size",
    "max_threads", "run_history", "state_session_capacity",
)  # fmt: skip
WRITE = "then run: python -m tests.shared.ui.test_gradio_seams"


def find(name):
    """A function or class by its full name, as Gradio had it."""
    if name in GRADIO_OWN:
        return GRADIO_OWN[name]
    before, _, last = name.rpartition(".")
    if not before:
        return importlib.import_module(name)
    place = find(before)
    if inspect.ismodule(place) and not hasattr(place, last):
        return importlib.import_module(name)
    return getattr(place, last)


def describe(name):
    """The signature of a function or class, and a hash of its source."""
    found = find(name)
    return f"{inspect.signature(found)} #{hashlib.sha256(inspect.getsource(found).encode()).hexdigest()[:12]}"


def list_routes():
    """Every route of an app of Gradio, as "METHOD path"."""
    with gr.Blocks() as demo:
        gr.Textbox()
    demo.queue()
    pending, found = [*GRADIO_OWN["gradio.routes.App.create_app"](demo).routes], set()
    while pending:
        route = pending.pop()
        pending += getattr(getattr(route, "original_router", None), "routes", [])
        methods = getattr(route, "methods", None) or {type(route).__name__}
        found |= {f"{method} {route.path}" for method in methods if hasattr(route, "path")}
    return sorted(found)


def read_state():
    """What is compared, from the installed Gradio."""
    with gr.Blocks() as demo:
        pass
    parameters = inspect.signature(gr.Blocks.launch).parameters.values()
    mounting = inspect.signature(gr.mount_gradio_app).parameters.values()
    return {
        "version": gr.__version__,
        "routes": list_routes(),
        "launch": {item.name: repr(item.default) for item in parameters if item.name != "self"},
        "mount_gradio_app": {item.name: repr(item.default) for item in mounting},
        "attributes": {name: repr(getattr(demo, name, "is set by launch")) for name in ATTRIBUTES},
        "seams": {name: describe(name) for name in (SEAMS if MCP else SEAMS | MCP_SEAMS)},
    }


@pytest.fixture(scope="module")
def reviewed():
    return json.loads(REVIEWED.read_text("utf-8"))


@pytest.fixture(scope="module")
def state():
    return read_state()


def test_gradio_is_the_version_that_was_reviewed(state, reviewed):
    assert state["version"] == reviewed["version"], f"review everything that fails in this file, {WRITE}"


def test_there_is_no_route_that_nobody_has_looked_at(state, reviewed):
    new, gone = set(state["routes"]) - set(reviewed["routes"]), set(reviewed["routes"]) - set(state["routes"])
    assert not new, f"decide for each whether http_guard.py must close it (OPEN_ROUTES, check_route), {WRITE}"
    assert not gone, f"remove them from OPEN_ROUTES and CLOSED_ROUTES, if nothing else has taken their place, {WRITE}"


@pytest.mark.parametrize("name", ["launch", "mount_gradio_app", "attributes"])
def test_arguments_and_defaults_are_those_that_page_chooses_from(state, reviewed, name):
    found, known = state[name], reviewed[name]
    assert found.keys() == known.keys(), f"decide what page.py passes for an argument that is new, {WRITE}"
    changed = {key: (known[key], found[key]) for key in found if found[key] != known[key]}
    assert not changed, f"decide whether page.py must set what was the default before, {WRITE}"


@pytest.mark.parametrize("name", [*SEAMS, *MCP_SEAMS])
def test_what_is_called_replaced_or_extended_is_as_it_was(state, reviewed, name):
    if name not in state["seams"]:
        pytest.skip(MCP)
    assert state["seams"][name] == reviewed["seams"][name], f"{ {**SEAMS, **MCP_SEAMS}[name] }; {WRITE}"


def test_what_shared_ui_replaces_is_what_gradio_calls():
    """A module that imports a name in another way would silently bypass the replacement."""
    with gr.Blocks() as demo:
        gr.Textbox()
    page.protect(demo, (), None)
    page.offer_tools()
    replaced = {
        (routes, "upload_fn"): storage.count_upload,
        (route_utils, "GradioMultiPartParser"): http_body.UploadParser,
        (routes, "file_upload_statuses"): http_body.UPLOAD_PROGRESS,
        (routes, "CustomCORSMiddleware"): http_guard.CorsWithoutCredentials,
        (queueing, "set_task_name"): queueing.set_task_name,
        (state_holder, "SessionState"): sessions.Session,
    }
    for (module, name), new in replaced.items():
        assert getattr(module, name) is new
        assert name in {used for code in walk_code(compile_source(module)) for used in code.co_names}
    assert queueing.set_task_name is not utils.set_task_name
    assert state_holder.StateHolder.__getitem__ is sessions.get_or_make_session
    assert gr.Blocks.preprocess_data is not requests.PREPROCESS
    assert routes.App.create_app is page._create_app
    assert mcp_tools.mcp.GradioMCPServer is mcp_tools.ToolServer


def compile_source(module):
    return compile(inspect.getsource(module), module.__file__, "exec")


def walk_code(code):
    """A function's code, and that of all functions in it."""
    yield code
    for constant in code.co_consts:
        if inspect.iscode(constant):
            yield from walk_code(constant)


if __name__ == "__main__":
    REVIEWED.write_text(json.dumps(read_state(), indent=1) + "\n", encoding="utf-8", newline="\n")
    print(f"Wrote {REVIEWED}")
