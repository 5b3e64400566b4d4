"""The fold-out that every page ends with shows the model's card."""

import re

import gradio as gr
import pytest

from shared.ui import about


def card_on_page(model) -> str:
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
def test_the_card_is_shown_without_its_header_and_its_tables_are_whole(name, request):
    model = request.getfixturevalue(name)
    text = card_on_page(model)
    assert text.lstrip().startswith(f"# {model.config.about.title}")
    assert "license:" not in text
    assert model.metrics.figures[0].data in text
    for table in tables(text):
        assert len({columns(line) for line in table}) == 1


def test_groups_and_peers_are_shown(salary, rating):
    text = card_on_page(salary)
    group = next(row for row in salary.metrics.groups if row.group == "sex: Female")
    assert f"| sex: Female | {group.count:,} | {group.selection_rate.value:.3f} [" in text
    for model in (salary, rating):
        assert model.metrics.peers
        for peer in model.metrics.peers:
            assert f"| {peer.peer} |" in card_on_page(model)
