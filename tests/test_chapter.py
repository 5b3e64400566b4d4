"""docs/book.md: its tables have the measured figures; the ablation behind two of them runs."""

import json
import re

import pytest

from benchmarks import chapter
from tests.conftest import DEMOS, ROOT

PAGE = (ROOT / "docs/book.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def find_row(text, name):
    """Return the cells of the row of a model."""
    return next(line for line in text.splitlines() if line.startswith(f"| [{name}]")).split("|")


@pytest.mark.parametrize("table", chapter.format_all(), ids=lambda table: table.split("|")[5][:12].strip())
def test_the_page_has_the_tables(table):
    assert f"\n\n{table}\n\n" in PAGE, f"docs/book.md should say:\n{table}"


@pytest.mark.parametrize("name", DEMOS)
def test_the_first_table_has_the_figures_of_readme(name):
    """Which tests/test_readme.py compares with the measured ones."""
    *_, measured, books, _, _, _ = find_row(README, name)
    *_, its_books, its_measured, _ = find_row(PAGE, name)
    assert its_measured.strip() == measured.split(";")[0].strip()
    assert its_books.strip().endswith(books.strip())


@pytest.mark.parametrize("name", ["salary", "rating"])
def test_what_the_page_says_of_the_ablation_is_in_its_results(name):
    results = json.loads(chapter.RESULTS.read_text(encoding="utf-8"))
    assert f"It took {results['seconds'] / 60:.0f} minutes on two cores" in PAGE
    assert results["machine"]["cores"] == 2
    assert len(results["seeds"]) == 3
    (table,) = (table for table in chapter.read_ablations() if table.model == name)
    assert {len(scores) for scores in table.scores.values()} == {3}
    assert name == "rating" or PAGE.count(f"{table.trained_on:,} ") == PAGE.count(f"{table.measured_on:,} ") == 2


@pytest.mark.training
def test_the_cells_are_run_by_the_commands_of_the_page():
    from training.command import make_parser
    from training.recipe import Recipe

    commands = re.findall(r"^python -m (training\.\w+) (.*)$", PAGE, re.MULTILINE)
    assert [module for module, _ in commands] == [
        f"training.{name}" for name in ("cat_dog", "segmentation", "sentiment", "salary", "rating")
    ]
    for module, options in commands:
        kinds = vars(__import__(module, fromlist=["main"])).values()
        (recipe,) = (
            kind()
            for kind in kinds
            if isinstance(kind, type) and issubclass(kind, Recipe) and kind.__module__ == module
        )
        assert make_parser(recipe).parse_args(options.split()).recipe == "book"


@pytest.mark.training
def test_an_ablation_from_command_to_table(tmp_path, capsys):
    from benchmarks import ablation

    out = tmp_path / "results/ablation.json"
    ablation.main(["--smoke", "--seeds", "1", "--out", str(out)])
    tables = chapter.read_ablations(out)
    printed = capsys.readouterr().out
    stored = {table.model: list(table.scores) for table in chapter.read_ablations()}
    for table in tables:
        assert table.format() in printed
        assert [len(scores) for scores in table.scores.values()] == [1] * len(stored[table.model])
        assert list(table.scores)[1:] == stored[table.model][1:]  # the first says how many networks are averaged
    accuracy, error = (table.scores for table in tables)
    assert accuracy[chapter.ONE] > accuracy["the book's cell"]
    assert error["without any features of movies"] > error[chapter.ONE]


def test_the_data_folder_is_not_recorded():
    ablation = pytest.importorskip("benchmarks.ablation", reason="torch is not installed: make test-all")
    assert ablation.describe_options(["--data", "/home/me/data", "--seeds", "2"]) == ["--data", "DIR", "--seeds", "2"]
