"""All models on one site: a home page with a card for each, and every Space's own page.

It shows every Space in a folder beside this one (or inside it, when deployed) whose app.py has `demo` and `model`, and
that has a picture.svg. Nothing here names them.

Run it: python spaces/gallery/app.py, or with hot reload: gradio spaces/gallery/app.py
"""

import base64
import html
import logging
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import gradio as gr

from shared import CheckpointError
from shared.ui import Page

HERE = Path(__file__).resolve().parent
INTRODUCTION = """# Model gallery
Small models for the tasks of fast.ai's first lesson, trained on public data. Each page says how it was measured.
They need no graphics card. Pick one and try it."""
# Where the gallery is embedded in another site's page as <gradio-app>, a relative link would lead to that site, so it
# gets the gallery's address: Gradio puts it before the url of whatever looks like a file. Only the template is code; a
# text put into it by {{...}} would be run as JavaScript.
CARDS = """<div class="cards">${
    value.replaceAll('href="./', 'href="' + (window.gradio_config ? './' : encodeURI(gallery.url) + '/'))
}</div>"""
ADDRESS = {"path": "", "url": "", "meta": {"_type": "gradio.FileData"}}


def find_space_folders() -> list[Path]:
    """Return the other Spaces' folders that have a model: inside this one when deployed, else beside it."""
    inside, beside = (sorted(path.parent for path in place.glob("*/app.py")) for place in (HERE, HERE.parent))
    return [folder for folder in inside or beside if folder != HERE and (folder / "model").is_dir()]


def load_app(folder: Path) -> ModuleType:
    """Run a Space's app.py under a name of its own; return it as a module."""
    loader = SourceFileLoader(f"space_{folder.name}", str(folder / "app.py"))
    module = ModuleType(loader.name)
    module.__file__ = loader.path
    loader.exec_module(module)
    return module


def add_page(gallery: gr.Blocks, name: str, app: ModuleType) -> None:
    """Show a Space's own blocks as a page; its endpoints become /name, /name_explain, ..."""
    before = set(gallery.fns)
    with gallery.route(app.model.config.about.title, name):
        gr.Navbar(main_page_name="All models")
        app.demo.render()
    for identifier in set(gallery.fns) - before:
        event = gallery.fns[identifier]
        if event.api_visibility != "private":
            event.api_name = name if event.api_name == "predict" else f"{name}_{event.api_name}"


def make_card(folder: Path, app: ModuleType) -> str:
    """Return a model's card on the home page, as HTML: picture, purpose, measured figure, link."""
    about = app.model.config.about
    headline = app.model.metrics.headline if app.model.metrics else ""
    picture = base64.b64encode((folder / "picture.svg").read_bytes()).decode()
    return (
        f'<a class="card" href="./{folder.name}"><img src="data:image/svg+xml;base64,{picture}" alt="">'
        f"<h2>{html.escape(about.title)}</h2><p>{html.escape(about.summary)}</p>"
        f"<p><strong>{html.escape(headline)}</strong></p></a>"
    )


apps: dict[Path, ModuleType] = {}
cards: list[str] = []
broken: list[str] = []
for folder in find_space_folders():
    try:
        app = load_app(folder)
        cards.append(make_card(folder, app))
        apps[folder] = app
    except Exception as error:  # one broken Space must not take the others down
        logging.exception("The Space %s cannot be shown.", folder.name)
        what = "Its model is damaged" if isinstance(error, CheckpointError) else "Its app.py fails"
        broken.append(f"**{folder.name} cannot be shown.** {what}; the log says why.")
if not apps:
    logging.error("The gallery has no model to show: each is a folder with app.py, model/ and picture.svg.")
    broken.append("There is no model here yet.")

with Page(*(app.model for app in apps.values()), title="Model gallery") as demo:
    gr.Navbar(main_page_name="All models")
    gr.Markdown(INTRODUCTION)
    gr.HTML("".join(cards), html_template=CARDS, gallery=ADDRESS)
    for message in broken:
        gr.Markdown(message)

for folder, app in apps.items():
    add_page(demo, folder.name, app)

if __name__ == "__main__":
    demo.launch()
