"""Take a picture of each page of the gallery, with its first answer: python spaces/screenshots.py

They are in runs/screenshots: 1280 and 390 pixels wide, in light and dark. Two of them make README's picture,
spaces/gallery/screenshot.png. It needs Playwright and Chromium.
"""

import argparse
import runpy
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

SPACES = Path(__file__).resolve().parent
FOLDER = SPACES.parent / "runs/screenshots"
SIZES = {1280: 1200, 390: 844}  # width and height in pixels
SCHEMES = ("light", "dark")
IN_README = ("gallery", "segmentation")
README_WIDTH = 800  # pixels of each of the two


def take_screenshots() -> None:
    """Serve the gallery, and write all pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    demo = runpy.run_path(str(SPACES / "gallery/app.py"))["demo"]
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for width, height in SIZES.items():
            for scheme in SCHEMES:
                visit_pages(browser, url, width, height, scheme)
        browser.close()
    demo.close(verbose=False)
    size = README_WIDTH, README_WIDTH * SIZES[1280] // 1280
    pictures = [Image.open(FOLDER / f"{name}-1280-light.png").resize(size) for name in IN_README]
    both = Image.new("RGB", (README_WIDTH * len(pictures), size[1]))
    for index, picture in enumerate(pictures):
        both.paste(picture, (index * README_WIDTH, 0))
    both.quantize(256, dither=Image.Dither.NONE).save(SPACES / "gallery/screenshot.png", optimize=True)
    print(f"Wrote {FOLDER.relative_to(SPACES.parent)} and spaces/gallery/screenshot.png.")


def visit_pages(browser: Browser, url: str, width: int, height: int, scheme: str) -> None:
    """Take the pictures of all pages at one size and in one colour scheme."""
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    for folder in sorted(path.parent for path in SPACES.glob("*/app.py")):
        page.goto(url if folder.name == "gallery" else f"{url}{folder.name}")
        page.locator("footer").wait_for()
        page.wait_for_function("[...document.images].every((image) => image.complete)")
        page.wait_for_timeout(1500)  # bars grow
        page.screenshot(path=FOLDER / f"{folder.name}-{width}-{scheme}.png")
    page.close()


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    take_screenshots()
