"""All models on one site: a home page with a card for each model, and a page for each Space.

It shows every Space in a folder next to this one (or inside it, when deployed) that has a picture.svg and an app.py
with `demo` and `model`.

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
# If the gallery is embedded in another site as <gradio-app>, a relative link would lead to that site, so links need the
# gallery's address: Gradio prepends it to the url of anything that looks like a file. Only the template is code; text
# inserted with {{...}} would run as JavaScript.
CARDS = """<div class="cards">${
    value.replaceAll('href="./', 'href="' + (window.gradio_config ? './' : encodeURI(gallery.url) + '/'))
}</div>"""
ADDRESS = {"path": "", "url": "", "meta": {"_type": "gradio.FileData"}}


def find_space_folders() -> list[Path]:
    """Return the folders of the other Spaces with a model: inside this folder when deployed, else next to it."""
    inside, beside = (sorted(path.parent for path in place.glob("*/app.py")) for place in (HERE, HERE.parent))
    return [folder for folder in inside or beside if folder != HERE and (folder / "model").is_dir()]


def load_app(folder: Path) -> ModuleType:
    """Run a Space's app.py under a unique module name, and return the module."""
    loader = SourceFileLoader(f"space_{folder.name}", str(folder / "app.py"))
    module = ModuleType(loader.name)
    module.__file__ = loader.path
    loader.exec_module(module)
    return module


def add_page(gallery: gr.Blocks, name: str, app: ModuleType) -> None:
    """Add a Space's blocks as a page; its endpoints become /name, /name_explain, ..."""
    before = set(gallery.fns)
    with gallery.route(app.model.config.about.title, name):
        gr.Navbar(main_page_name="All models")
        app.demo.render()
    for identifier in set(gallery.fns) - before:
        event = gallery.fns[identifier]
        if event.api_visibility != "private":
            event.api_name = name if event.api_name == "predict" else f"{name}_{event.api_name}"


def make_card(folder: Path, app: ModuleType) -> str:
    """Return the HTML of a model's card on the home page: picture, summary, headline figure, link."""
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
    except Exception as error:  # one broken Space must not affect the others
        logging.exception("The Space %s cannot be shown.", folder.name)
        what = "Its model is damaged" if isinstance(error, CheckpointError) else "Its app.py failed"
        broken.append(f"**{folder.name} cannot be shown.** {what}; the log says why.")
if not apps:
    logging.error("The gallery has no models to show; each needs a folder with app.py, model/ and picture.svg.")
    broken.append("There are no models here yet.")

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
