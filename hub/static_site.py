"""Build the site of spaces/browser, on which models run in the visitor's browser, and serve it on this machine.

python -m hub.static_site                    # the five demos, at http://127.0.0.1:7861
python -m hub.static_site runs --out site    # the checkpoint folders in runs/, written to a folder
"""

import argparse
import functools
import gzip
import hashlib
import html
import http.server
import itertools
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from huggingface_hub import constants

from hub.client import PublishError
from hub.staging import (
    GALLERY,
    ROOT,
    SpaceModel,
    Staged,
    add_readme,
    describe_own_model,
    find_model_files,
    make_common_fields,
    make_name,
    match_files,
    read_card,
    read_fields,
    refuse_links,
)
from hub.vendor import LIBRARIES, fetch_libraries, hash_bytes
from shared.config import CARD, CONFIG_FILE, METRICS, GalleryConfig, list_visible, read_json
from shared.errors import CheckpointError
from shared.markdown import escape_markdown, format_figure
from shared.metrics import Metrics
from shared.space import find_checkpoints, list_examples

SITE = ROOT / "spaces/browser"
SITE_FILES = ("*.html", "*.css", "*.svg", "*.webmanifest", "*.js", "js/*.js")
PACKED = 200_000  # bytes; larger files of a model are compressed, because a static host sends files as they are
HEADERS = {  # that let ONNX Runtime use threads; a Space sets the same ones (custom_headers)
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}
NO_JEKYLL = ".nojekyll"  # or GitHub Pages converts the cards of the models to HTML; a Space does not need it
OF_GRADIO = ("sdk_version", "python_version")  # in the header of a README.md
TITLE = "Model gallery"
TEXT = (
    "The models run in the visitor's browser. Their licences and terms are in `models/`. The site is under Apache-2.0, "
    "see `LICENSE`; the licences of the libraries in `vendor/` are in `licences.txt`."
)
FIGURES = 6  # of a model that its page shows
NO_SHARES = ("auroc", "log_loss", "mae", "mse", "r2", "rmse", "width")  # how the names of other figures begin
PICTURES = (".png", ".jpg", ".jpeg", ".webp")


def build_site(models: dict[str, Path], title: str) -> dict[str, bytes]:
    """Return the files of a site by their paths.

    Args:
        models: checkpoint folders by the names of their pages.
        title: of the first page.

    Raises:
        CheckpointError: a model is damaged.
        PublishError: a JavaScript library cannot be fetched.
    """
    files = {path: file.read_bytes() for path, file in match_files(SITE, SITE_FILES).items()}
    files["index.html"] = files["index.html"].replace(TITLE.encode(), html.escape(title).encode())
    files["any.html"] = admit_hub(files["index.html"])
    files["collect.html"] = files["index.html"].replace(b"js/app.js", b"js/collect.js", 1)
    site: dict[str, Any] = {"title": title, "hub": constants.ENDPOINT, "models": [], "vendor": {}}
    licences = {path.stem: path.read_bytes() for path in (SITE / "licences").glob("*.txt")}  # of packages without one
    for library, path in zip(LIBRARIES, fetch_libraries(), strict=True):
        content = path.read_bytes()
        if library.is_licence:
            licences[library.package] = content
            continue
        files[f"vendor/{library.stored_name}"] = content
        if library.is_packed:
            site["vendor"][f"vendor/{library.name}"] = describe_file(gzip.decompress(content))
    files["licences.txt"] = join_licences(licences)
    for name, folder in models.items():
        entry, found = pack_model(name, folder)
        if any(entry["title"] == other["title"] for other in site["models"]):
            entry["title"] += f" ({name})"
        site["models"].append(entry)
        files |= found
    files["site.json"] = json.dumps(site, indent=1, ensure_ascii=False).encode()
    version = hashlib.sha256(b"".join(hash_bytes(content).encode() for _, content in sorted(files.items()))).hexdigest()
    own = [path for path in files if not path.startswith("models/") and path != "sw.js"]
    pages = [path for path in own if path.endswith(".html")]
    # A host may insert a script into a page, as the Hub does, so the service worker looks for the version in it.
    hashes = {path: None if path in pages else hash_bytes(files[path]) for path in own}
    files["sw.js"] = files["sw.js"].replace(b"{}", json.dumps({"./": None, **hashes}).encode(), 1)
    for marked in ("sw.js", *pages):
        files[marked] = files[marked].replace(b'"VERSION"', f'"{version[:16]}"'.encode(), 1)
    return dict(sorted(files.items()))


def join_licences(licences: dict[str, bytes]) -> bytes:
    """Return the licences of the libraries as one text."""
    texts = [f"{name}\n{'=' * len(name)}\n\n{text.decode().strip()}\n" for name, text in sorted(licences.items())]
    return "\n\n".join(["The licences of the libraries in vendor/.\n", *texts]).encode()


def admit_hub(page: bytes) -> bytes:
    """Return the page that shows any model on the Hub: it may reach the Hub and its file servers, and nothing else."""
    admitted = f"default-src 'self'; connect-src 'self' {constants.ENDPOINT} https://*.hf.co;"
    return page.replace(b"default-src 'self';", admitted.encode(), 1)


def pack_model(name: str, folder: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return a model's entry in site.json, and its files; large ones are compressed.

    Raises:
        CheckpointError: the model is damaged, or a file is a link to one elsewhere.
    """
    config = GalleryConfig.read_common(folder)
    needed = {path for path, entry in config.files.items() if not entry.optional}
    examples = {f"models/{name}/examples/{path.name}": path for path in find_pictures(name, folder)}
    files = {path: file.read_bytes() for path, file in examples.items()}
    pictures = [
        [file.stem.replace("-", ", "), {"url": quote(path), **describe_file(files[path])}]
        for path, file in examples.items()
    ]
    visited = [f"models/{name}/{CONFIG_FILE}", *examples]
    for path, file in find_model_files(folder).items():
        content, target = file.read_bytes(), f"models/{name}/{path}"
        if path in needed:
            if len(content) > PACKED:
                content, target = gzip.compress(content, mtime=0), f"{target}.gz"
            visited.append(target)
        files[target] = content
    content = json.dumps(read_json(folder), ensure_ascii=False).encode()  # of format 2, whatever the file's is
    files[f"models/{name}/{CONFIG_FILE}"] = content
    metrics = Metrics.read(folder) if (folder / METRICS).is_file() else None
    app, picture = ROOT / "spaces" / name, f"pictures/{name}.svg"
    if is_demo := folder == app / "model":
        files[picture] = (app / "picture.svg").read_bytes()
    entry = {
        "name": name,
        "folder": f"models/{name}",
        "title": config.about.title,
        "summary": config.about.summary,
        "headline": metrics.summary if metrics else None,
        "figures": list_figures(metrics) if metrics else [],
        "picture": picture if is_demo else None,
        "config": describe_file(content),
        "card": describe_file(files[f"models/{name}/{CARD}"]) if f"models/{name}/{CARD}" in files else None,
        "files": visited,
        "examples": pictures,
    }
    return entry, files


def list_figures(metrics: Metrics) -> list[list[str]]:
    """Return the first figures as the rows of a table, the first of which is its head."""
    rows = [["figure", "value (95 % interval)", "measured on"]]
    for one in metrics.figures[:FIGURES]:
        write = format_figure if one.name.startswith(NO_SHARES) else format_share
        value = write(one.value)
        if interval := one.interval_over_users or one.interval:
            value += f" ({' – '.join(map(write, interval))})"
        rows.append([one.label or one.name, value, f"{one.data}, {one.split} ({one.count:,})"])
    return rows


def format_share(share: float) -> str:
    """Return a share in percent; do not show 0 or 100 unless it is exact."""
    if 0 < share < 0.0005:
        return "< 0.1 %"
    return "> 99.9 %" if 0.9995 <= share < 1 else f"{100 * share:.1f} %"


def describe_file(content: bytes) -> dict[str, Any]:
    """Return what the page checks of a file that it downloads."""
    return {"sha256": hash_bytes(content), "bytes": len(content)}


def find_pictures(name: str, folder: Path) -> list[Path]:
    """Return the pictures to try: those that gallery.json lists, or those of the demo with this model.

    Raises:
        CheckpointError: one is a link to a file elsewhere.
    """
    app = ROOT / "spaces" / name
    listed = list_examples(folder, GalleryConfig.read_common(folder))
    of_demo = list_visible(app / "examples") if folder == app / "model" else []
    for place, paths in ((folder, listed), (app, of_demo)):
        found = [path for path in paths if path.suffix.lower() in PICTURES]
        refuse_links(place, found)
        if found:
            return found
    return []


def stage_static(app: Path, models: list[SpaceModel], space: str = "") -> Staged:
    """Return the files of a static Space, on which the models run in the visitor's browser.

    Args:
        app: the folder of the Gradio app for the models, with the header and the thumbnail.
        models: the models.
        space: "OWNER/NAME", for the address of the thumbnail; without it, the header has no thumbnail.

    Raises:
        CheckpointError: a model's folder is damaged.
        PublishError: a JavaScript library cannot be fetched, or the README's header cannot be read.
    """
    is_gallery = app.name == GALLERY
    site = build_site({model.name: model.folder for model in models}, TITLE if is_gallery else models[0].about.title)
    files: dict[str, Path | bytes] = {"LICENSE": ROOT / "LICENSE", **site}
    card = read_card(app)
    if models[0].is_own:
        describe_own_model(card, models[0])
    elif (app / "thumbnail.png").is_file():
        files["thumbnail.png"] = app / "thumbnail.png"
    front = {name: value for name, value in read_fields(card).items() if name not in OF_GRADIO}
    front["tags"] = [tag for tag in front.get("tags", []) if tag != "mcp-server"]
    computed = {
        "sdk": "static",
        "app_file": "index.html",
        "custom_headers": {name.lower(): value for name, value in HEADERS.items()},
        **make_common_fields(front, models),
    }
    header = {name: value for name, value in {**front, **computed}.items() if value}
    summary = "All models of the gallery." if is_gallery else escape_markdown(models[0].about.summary)
    return Staged(header, add_readme(files, header, f"\n{summary}\n\n{TEXT}\n", space))


def find_models(places: Sequence[str]) -> dict[str, Path]:
    """Return the checkpoint folders in some folders, by the names of their pages.

    A damaged one is left out, and the reason is printed.
    """
    found: dict[str, Path] = {}
    for folder in (folder.resolve() for place in places for folder in find_checkpoints(Path(place))):
        try:
            find_model_files(folder)
        except CheckpointError as error:
            print(f"{folder} cannot be shown: {error}", file=sys.stderr)
            continue
        wanted = make_name(folder)
        candidates = itertools.chain([wanted], (f"{wanted}_{number}" for number in itertools.count(2)))
        found[next(name for name in candidates if name not in found)] = folder
    return found


def find_demos() -> dict[str, Path]:
    """Return the checkpoint folders of the demos by name."""
    return find_models([str(path) for path in sorted(ROOT.glob("spaces/*/model"))])


def count_first_visit(files: dict[str, bytes], name: str) -> int:
    """Return the bytes that a visitor of one model's page downloads.

    These are the whole site with its libraries, because it must work without network later, and the model with its
    pictures to try. A server that compresses text sends less.
    """
    visited = next(entry["files"] for entry in json.loads(files["site.json"])["models"] if entry["name"] == name)
    own = [path for path in files if not path.startswith("models/")]
    return sum(len(files[path]) for path in [*own, *visited])


def write_site(files: dict[str, bytes], folder: Path) -> None:
    """Write the files of a site into a folder."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Send the files of a site as a static Space does."""

    extensions_map = {  # noqa: RUF012 - as in the base class
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".gz": "application/octet-stream",  # the page decompresses it itself
        ".webmanifest": "application/manifest+json",
        ".md": "text/markdown; charset=utf-8",
    }

    def end_headers(self) -> None:
        """Add the headers that let ONNX Runtime use threads."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def serve(folder: Path, port: int, handler: type[Handler] = Handler) -> http.server.ThreadingHTTPServer:
    """Return a server of a site at 127.0.0.1, whose requests a subclass of Handler may answer."""
    return http.server.ThreadingHTTPServer(("127.0.0.1", port), functools.partial(handler, directory=str(folder)))


def main(argv: Sequence[str] | None = None) -> int:
    """Build a site, and serve or write it; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m hub.static_site", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "models", nargs="*", metavar="FOLDER", help="checkpoint folders, or folders of them (default: the demos)"
    )
    parser.add_argument("--port", type=int, default=7861, help="where it is served (default 7861)")
    parser.add_argument("--out", metavar="DIR", help="write the site to this folder instead of serving it")
    options = parser.parse_args(argv)
    models = find_models(options.models) if options.models else find_demos()
    if not models:
        print(f"There is no checkpoint folder in {', '.join(options.models)}; train a model first.", file=sys.stderr)
        return 1
    try:
        files = build_site(models, TITLE)
    except (CheckpointError, PublishError) as error:
        print(error, file=sys.stderr)
        return 1
    if options.out:
        files[NO_JEKYLL] = b""
        write_site(files, Path(options.out))
        print(f"Wrote {len(files)} files, {sum(map(len, files.values())):,} bytes, to {options.out}.")
        if left := [path.name for path in list_visible(Path(options.out) / "models") if path.name not in models]:
            print(f"{options.out}/models has {', '.join(left)}, too, of an older site: delete what must not be online.")
        for name in models:
            print(f"A first visit of {name} downloads {count_first_visit(files, name):,} bytes.")
        return 0
    del files["sw.js"]  # or browsers would go on showing this site when another app runs at its address
    with tempfile.TemporaryDirectory() as folder:
        write_site(files, Path(folder))
        try:
            server = serve(Path(folder), options.port)
        except OSError as error:
            reason = f"Port {options.port}: {error.strerror}"
            print(f"{reason}; use another one with --port (make browser PORT=7862).", file=sys.stderr)
            return 1
        print(f"The models run in the browser, at http://127.0.0.1:{server.server_port}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            server.server_close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
