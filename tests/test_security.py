"""SECURITY.md and docs/faults.md: every promise names its tests, and these exist."""

import re

import pytest

from tests.conftest import ROOT

NAMED = re.compile(r"`(?:tests/)?([\w/]+\.py)::(test_\w+)`")


@pytest.mark.parametrize(("document", "least"), [("SECURITY.md", 15), ("docs/faults.md", 10)])
def test_every_row_names_a_test_that_exists(document, least):
    text = (ROOT / document).read_text(encoding="utf-8")
    table = next(part for part in text.split("\n\n") if NAMED.search(part))
    rows = table.splitlines()[2:]
    assert len(rows) >= least
    for row in rows:
        found = NAMED.findall(row)
        assert found, row
        for path, name in found:
            assert f"def {name}(" in (ROOT / "tests" / path).read_text(encoding="utf-8"), (path, name)
