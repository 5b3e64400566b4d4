"""Draw each Space's thumbnail.png (the preview image of links) from its picture.svg: python spaces/thumbnails.py

It needs Playwright and Chromium. The gallery's thumbnail combines the pictures of all Spaces.
"""

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

SPACES = Path(__file__).resolve().parent
WIDTH, HEIGHT = 1200, 675


def draw_thumbnails() -> None:
    """Write a thumbnail.png to the folder of every Space."""
    pictures = {path.parent: path.read_text(encoding="utf-8") for path in sorted(SPACES.glob("*/picture.svg"))}
    pages = {**pictures, SPACES / "gallery": "".join(pictures.values())}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        for folder, content in pages.items():
            columns = 1 if folder in pictures else 3
            page.set_content(
                f'<body style="margin:0; display:flex; flex-wrap:wrap; justify-content:center; align-content:center;'
                f' height:100vh; background:#fff"><style>svg {{ width:{100 / columns}% }}</style>{content}'
            )
            page.screenshot(path=folder / "thumbnail.png")
        browser.close()


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    draw_thumbnails()
