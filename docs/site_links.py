"""A hook of MkDocs: link to the repository for what lies outside docs/."""

import re
from typing import Any

OUTSIDE = re.compile(r"\]\(\.\./")


def on_page_markdown(markdown: str, *, config: Any, **_: Any) -> str:
    """Replace links such as ../training/book.py with addresses in the repository."""
    return OUTSIDE.sub(f"]({config.repo_url}/blob/main/", markdown)
