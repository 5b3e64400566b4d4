"""Progress bars say what they are for, and end their line."""

import pytest

pytest.importorskip("fastprogress", reason="torch and fastai are not installed: make test-all")

from fastprogress.fastprogress import ConsoleProgressBar, NBProgressBar

from training import progress
from training.progress import show_progress

pytestmark = pytest.mark.training


@pytest.fixture
def console(monkeypatch):
    monkeypatch.setattr(progress, "progress_bar", ConsoleProgressBar)
    monkeypatch.setattr("fastprogress.fastprogress.printing", lambda: True)


@pytest.mark.usefixtures("console")
@pytest.mark.parametrize(("items", "total"), [(range(3), None), (iter(range(3)), 3)])
def test_a_bar_is_named_and_ends_its_line(items, total, capsys):
    assert list(show_progress("Decoding", items, total)) == [0, 1, 2]
    print("Next.")
    *_, bar, after = capsys.readouterr().out.splitlines()
    assert bar.startswith("Decoding |")
    assert bar.endswith("[3/3 00:00<00:00]")
    assert after == "Next."


@pytest.mark.usefixtures("console")
def test_an_error_ends_the_line_too(capsys):
    with pytest.raises(ZeroDivisionError):
        list(show_progress("Dividing", (1 // n for n in (1, 0)), 2))
    assert capsys.readouterr().out.endswith("\n")


@pytest.mark.usefixtures("console")
def test_without_items_there_is_no_bar(capsys):
    assert list(show_progress("Decoding", [])) == []
    assert not capsys.readouterr().out


def test_in_a_notebook_the_name_is_above_the_bar(monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(progress, "progress_bar", NBProgressBar)
    monkeypatch.setattr("fastprogress.fastprogress.show_styles", lambda: None)
    monkeypatch.setattr("IPython.display.display", lambda bar, **_: shown.append(bar) or Shown(shown))
    assert list(show_progress("Decoding", range(2))) == [0, 1]
    assert capsys.readouterr().out == "Decoding:\n"
    assert len(shown) > 1


class Shown:
    """What IPython returns of a display that can be updated."""

    def __init__(self, shown):
        self.update = shown.append
