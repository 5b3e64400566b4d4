"""The limits for visitors are in one place, and documented there."""

import dataclasses
import os
import subprocess
import sys

import pytest

from shared.limits import LIMITS, Limits, name_variable
from tests.conftest import ROOT

TABLE = "| Variable |"


def test_a_variable_changes_one_limit_and_an_empty_one_none():
    found = Limits.read({"GALLERY_ROWS": " 7 ", "GALLERY_TEXTS": "", "GALLERY_REPLICA": "1", "ROWS": "8"})
    assert found == dataclasses.replace(Limits(), rows=7)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.rows = 8


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "1e6", "many", "1_000", "٣", "²", "9" * 5_000])
def test_a_wrong_value_is_refused_with_one_sentence(value):
    with pytest.raises(
        ValueError, match=r"^GALLERY_ROWS must be a whole number above 0, such as 100000, not '.{1,41}'.$"
    ):
        Limits.read({"GALLERY_ROWS": value})


def test_a_wrong_value_stops_the_start_without_a_traceback():
    environment = {**os.environ, "GALLERY_ROWS": "lots"}
    done = subprocess.run(
        [sys.executable, "-c", "import shared"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "GALLERY_ROWS must be a whole number above 0, such as 100000, not 'lots'.\n"


def test_a_variable_holds_where_the_limit_is_used(tmp_path):
    code = (
        "from shared.tables import read_csv\n"
        "open('t.csv', 'w').write('a\\n1\\n2\\n3\\n')\n"
        "try: read_csv('t.csv', ['a'])\n"
        "except ValueError as error: print(error)\n"
    )
    environment = {**os.environ, "GALLERY_ROWS": "2", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert "more than 2 rows" in done.stdout


def test_every_limit_has_a_reason():
    for item in dataclasses.fields(Limits):
        assert item.type == "int" or item.type is int
        assert len(item.metadata["reason"]) > 15, item.name


def test_limits_within_limits():
    """A file within its own limit must not be refused by that of the request around it."""
    limits = Limits()
    assert limits.picture_bytes <= limits.file_bytes <= limits.upload_bytes
    assert max(limits.table_bytes, limits.zipped_file_bytes) <= limits.file_bytes
    assert limits.zip_bytes < limits.upload_bytes
    assert 12 * limits.page_characters < limits.request_bytes
    assert limits.session_waiting <= limits.client_waiting <= limits.page_waiting


def test_the_table_in_the_docs_is_that_of_the_object():
    text = (ROOT / "docs/limits.md").read_text("utf-8")
    table = text[text.index(TABLE) :].split("\n\n")[0].strip()
    assert table == Limits().as_table(), "write Limits().as_table() into docs/limits.md"
    assert name_variable("rows") == "GALLERY_ROWS"


def test_no_limit_is_changed_by_the_environment_of_the_tests():
    assert Limits() == LIMITS
