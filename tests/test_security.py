"""SECURITY.md and docs/faults.md: every promise names its tests, and these exist."""

import re

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize(("document", "folder", "least"), [("SECURITY.md", "", 15), ("docs/faults.md", "tests/", 11)])
def test_every_row_names_a_test_that_exists(document, folder, least):
    named = re.compile(rf"`{folder}([\w/]+\.py)::(test_\w+)`")
    text = (ROOT / document).read_text(encoding="utf-8")
    table = next(part for part in text.split("\n\n") if named.search(part))
    rows = [row.split(" | ") for row in table.splitlines()[2:]]
    assert len(rows) >= least
    for *_, last in rows:
        found = named.findall(last)
        assert found, last
        for path, name in found:
            assert f"\ndef {name}(" in (ROOT / "tests" / path).read_text(encoding="utf-8"), (path, name)
