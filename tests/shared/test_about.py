"""The fold-out that every page ends with: its tables hold whatever the labels are, and it shows what it speaks of."""

import re
from types import SimpleNamespace

import gradio as gr
import pytest

from shared.ui import about


def shown(model) -> str:
    """The Markdown of the fold-out."""
    with gr.Blocks() as demo:
        about(model)
    return next(block.value for block in demo.blocks.values() if isinstance(block, gr.Markdown))


def tables(text: str) -> list[list[str]]:
    """The tables in Markdown, each as its lines."""
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    return [block.strip().split("\n") for block in blocks]


def columns(line: str) -> int:
    return len(re.split(r"(?<!\\)\|", line.strip())[1:-1])


@pytest.mark.parametrize("name", ["cat_dog", "segmentation", "sentiment", "salary", "rating"])
def test_every_row_has_the_cells_of_its_table(name, request):
    for table in tables(shown(request.getfixturevalue(name))):
        assert len({columns(line) for line in table}) == 1


def test_the_peers_and_groups_that_notes_and_limits_speak_of_are_shown(salary, rating):
    said = shown(salary)
    assert "The table of groups shows" in said
    group = next(row for row in salary.metrics["groups"] if row["group"] == "sex: Female")
    rates = " | ".join(
        f"{group[rate]['value']:.1%}" for rate in ("selection_rate", "true_positive_rate", "false_positive_rate")
    )
    assert f"| sex: Female | {group['count']:,} | {rates} |" in said
    for model in (salary, rating):
        assert model.metrics["peers"]
        for peer in model.metrics["peers"]:
            assert f"| {peer['peer']} |" in shown(model)


def test_labels_as_people_have_them(cat_dog):
    label = "error, where it is cat|dog <b>no</b>"
    figure = {
        "name": "error",
        "label": label,
        "value": 0.1,
        "interval": None,
        "data": "my|pics",
        "split": "a",
        "count": 6,
    }
    model = SimpleNamespace(checkpoint=cat_dog.config, metrics={"figures": [figure]}, origin="")
    (table,) = tables(shown(model))
    assert table[-1] == r"| error, where it is cat\|dog &lt;b>no&lt;/b> | 0.1000 |  | my\|pics, a (6) |"
