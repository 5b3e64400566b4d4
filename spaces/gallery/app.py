"""All models on one site: a home page with a card for each model, and a page for each Space.

It shows every Space in a folder next to this one (or inside it, when deployed) that has a picture.svg and an app.py
with `demo` and `model`. If the variable MODELS names a folder, such as runs, it also shows the checkpoint folders
there, each with the app for its task.

Run it: python spaces/gallery/app.py, or with hot reload: gradio spaces/gallery/app.py
"""

import base64
import html
import logging
import os
import re
from importlib.machinery import SourceFileLoader
from itertools import chain, count
from pathlib import Path
from types import ModuleType

import gradio as gr
from gradio.routes import INTERNAL_ROUTES

from shared import CheckpointError
from shared.config import GalleryConfig
from shared.markdown import escape_markdown
from shared.space import EMOJIS, find_app, find_checkpoints, replace_model
from shared.ui import Page

HERE = Path(__file__).resolve().parent
TITLE = "Model gallery"
SUMMARY = (
    "Small models to play with: show one a photo, write it a film review, or rate a few movies. Each page also says "
    "how good its model is, and when it is wrong."
)
LESSON = "The tasks are those of fast.ai's first lesson."
# If the gallery is embedded in another site as <gradio-app>, a relative link would lead to that site, so links need the
# gallery's address: Gradio prepends it to the url of anything that looks like a file. Only the template is code; text
# inserted with {{...}} would run as JavaScript.
LINKS = """${
    value.replaceAll('href="./', 'href="' + (window.gradio_config ? './' : encodeURI(gallery.url) + '/'))
}"""
ADDRESS = {"path": "", "url": "", "meta": {"_type": "gradio.FileData"}}
PICTURE = (  # of a model that is not a Space's own
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 180"><rect width="320" height="180" fill="#e2e8f0"/>'
    '<text x="160" y="112" font-size="64" text-anchor="middle">{}</text></svg>'
)
RESERVED = {*INTERNAL_ROUTES, "health", "healthz"}  # paths that are no pages


def find_space_folders() -> list[Path]:
    """Return the folders of the other Spaces with a model: inside this folder when deployed, else next to it."""
    inside, beside = (sorted(path.parent for path in place.glob("*/app.py")) for place in (HERE, HERE.parent))
    return [folder for folder in inside or beside if folder != HERE and (folder / "model").is_dir()]


def load_app(folder: Path, name: str) -> ModuleType:
    """Run a Space's app.py under a unique module name, and return the module."""
    loader = SourceFileLoader(f"space_{name}", str(folder / "app.py"))
    module = ModuleType(loader.name)
    module.__file__ = loader.path
    loader.exec_module(module)
    return module


def load_own_app(folder: Path) -> ModuleType:
    """Run the app for the task of a checkpoint folder with the model in that folder, and return its module.

    Raises:
        CheckpointError: the folder is damaged, or there is no app for its task.
    """
    task = GalleryConfig.read_common(folder).task
    app = find_app(find_space_folders(), task)
    if app is None:
        raise CheckpointError(f"{folder} has a model for {task!r}, which no app here shows.")
    with replace_model(folder):
        return load_app(app, f"own_{folder.name}")


def list_endpoints(app: ModuleType, name: str) -> dict[str, str]:
    """Map an app's public endpoints to their names in the gallery: /name, /name_explain, ..."""
    own = [event.api_name for event in app.demo.fns.values() if event.api_visibility != "private"]
    return {old: name if old == "predict" else f"{name}_{old}" for old in own}


def choose_name(folder: Path, app: ModuleType) -> str:
    """Return the name of a checkpoint folder's page: the folder's, with a number if another page or endpoint has it."""
    wanted = re.sub("[^a-z0-9]+", "_", folder.name.lower()).strip("_") or "model"
    taken = {*RESERVED, *names.values(), *list_endpoints(app, "")}
    for other, name in names.items():
        taken.update(*list_endpoints(apps[other], name).items())
    candidates = chain([wanted], (f"{wanted}_{number}" for number in count(2)))
    return next(name for name in candidates if taken.isdisjoint([name, *list_endpoints(app, name).values()]))


def choose_title(folder: Path, app: ModuleType) -> str:
    """Return the title of a page: the model's, with the name of the page if another page has the same title."""
    title: str = app.model.config.about.title
    return f"{title} ({names[folder]})" if title in titles.values() else title


def add_page(gallery: Page, folder: Path) -> None:
    """Add the blocks of an app as a page; its endpoints become /name, /name_explain, ..."""
    app, name = apps[folder], names[folder]
    endpoints = list_endpoints(app, name)
    before = set(gallery.fns)
    gallery.previews[name] = titles[folder], app.model.config.about.summary
    with gallery.route(titles[folder], name):
        gr.Navbar(main_page_name="All models")
        gr.HTML(make_menu(folder), html_template=LINKS, gallery=ADDRESS)
        app.demo.render()
    for identifier in set(gallery.fns) - before:
        event = gallery.fns[identifier]
        if event.api_visibility != "private":
            event.api_name = endpoints[event.api_name]


def make_menu(current: Path) -> str:
    """Return the HTML of a menu of all pages, which a narrow screen shows instead of Gradio's row of links."""
    links = [
        f'<a href="./{names[folder]}"{" aria-current=page" * (folder == current)}>{html.escape(titles[folder])}</a>'
        for folder in apps
    ]
    home = '<a href="./">All models</a>'
    return (
        f'<details class="menu"><summary>Menu</summary><nav aria-label="Models">{home}{"".join(links)}</nav></details>'
    )


def make_card(folder: Path) -> str:
    """Return the HTML of a model's card on the home page: picture, summary, headline figure, link."""
    model = apps[folder].model
    headline = model.metrics.summary if model.metrics else ""
    drawn = PICTURE.format(EMOJIS[model.task]).encode() if folder in own else (folder / "picture.svg").read_bytes()
    picture = base64.b64encode(drawn).decode()
    return (
        f'<a class="card" href="./{names[folder]}"><img src="data:image/svg+xml;base64,{picture}" alt="">'
        f"<h2>{html.escape(titles[folder])}</h2><p>{html.escape(model.config.about.summary)}</p>"
        f"<p><strong>{html.escape(headline)}</strong></p></a>"
    )


own: list[Path] = []
messages: list[str] = []
if place := os.environ.get("MODELS"):
    own = find_checkpoints(Path(os.path.expanduser(place)))
    if not own:
        logging.warning("MODELS is %s, which is not a folder with checkpoint folders; train a model first.", place)
        messages.append(f"There are no models in the folder {escape_markdown(Path(place).name)}.")

apps: dict[Path, ModuleType] = {}
names: dict[Path, str] = {}
titles: dict[Path, str] = {}
cards: dict[Path, str] = {}
for folder in [*find_space_folders(), *own]:
    try:
        app = load_own_app(folder) if folder in own else load_app(folder, folder.name)
        name = choose_name(folder, app) if folder in own else folder.name
        apps[folder], names[folder] = app, name
        titles[folder] = choose_title(folder, app)
        cards[folder] = make_card(folder)
    except Exception as error:  # one broken model must not affect the others
        for found in (apps, names, titles):
            found.pop(folder, None)
        is_damaged = isinstance(error, CheckpointError)
        logging.error("%s cannot be shown: %s", folder, error, exc_info=not is_damaged)
        what = "Its model is damaged" if is_damaged else "Its app.py failed"
        messages.append(f"{escape_markdown(folder.name)} cannot be shown. {what}; the log says why.")
if not apps:
    logging.error("The gallery has no models to show; each needs a folder with app.py, model/ and picture.svg.")
    messages.append("There are no models here yet.")

with Page(*(app.model for app in apps.values()), title=TITLE, summary=SUMMARY) as demo:
    gr.Navbar(main_page_name="All models")
    gr.Markdown(f"# {TITLE}\n{SUMMARY} {LESSON}")
    if shown := [escape_markdown(titles[folder]) for folder in own if folder in apps]:
        gr.Markdown(f"Your own: {', '.join(shown)}.")
    own_first = [cards[folder] for folder in sorted(cards, key=lambda folder: folder not in own)]
    gr.HTML(f'<div class="cards">{"".join(own_first)}</div>', html_template=LINKS, gallery=ADDRESS)
    for message in messages:
        gr.Markdown(message)

for folder in apps:
    add_page(demo, folder)

if __name__ == "__main__":
    demo.launch()
