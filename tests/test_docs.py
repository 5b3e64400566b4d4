"""The documentation: every link has a target, and the site builds."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("spaces/*/README.md")),
    *sorted(ROOT.glob("spaces/*/*/README.md")),
]
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)\s#]*)(?:#([^)\s]+))?\)")
CONFIG = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


def list_anchors(path: Path) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub names them."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


def find_broken(path: Path) -> list[str]:
    """Return the links of a page to a file, folder or heading that does not exist."""
    broken = []
    for target, anchor in LINK.findall(FENCE.sub("", path.read_text(encoding="utf-8"))):
        to = path.parent / target if target else path
        if not to.exists() or (anchor and anchor not in list_anchors(to)):
            broken.append(f"{target}#{anchor}" if anchor else target)
    return broken


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_has_its_target(path):
    assert find_broken(path) == []


def test_broken_links_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# Of *cats*, and dogs\n[a](#of-cats-and-dogs) [b](#birds) [c](gone.md) [d](https://x.org/gone)\n```\n[e](f)\n```\n"
    )
    assert find_broken(page) == ["#birds", "gone.md"]


def test_the_site_has_every_page_in_its_navigation():
    """mkdocs build --strict checks it, too; but this needs no MkDocs."""
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert sorted(re.findall(r"^ *- [\w' ]+: (\w+\.md)$", CONFIG, re.MULTILINE)) == sorted(pages)


def test_the_first_page_of_the_site_leads_to_every_other():
    text = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert set(re.findall(r"\]\((\w+\.md)\)", text)) == pages


def test_the_site_builds_and_links_to_the_repository_for_what_it_lacks(tmp_path):
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed: make test-all")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", tmp_path / "site"]
    environment = os.environ | {"NO_COLOR": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = [path.read_text(encoding="utf-8") for path in (tmp_path / "site").rglob("*.html")]
    assert len(pages) >= 16
    (repository,) = re.findall(r"^repo_url: (\S+)", CONFIG, re.MULTILINE)
    book = (tmp_path / "site/book/index.html").read_text(encoding="utf-8")
    assert f'href="{repository}/blob/main/training/book.py"' in book
    assert 'href="../your_own/"' in book
    assert not [
        page for page in pages if re.search(r'<(?:script|img)[^>]*src="https?:|<link[^>]*stylesheet[^>]*https?:', page)
    ]
