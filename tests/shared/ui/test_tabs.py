"""What all pages share: the fold-out with the model's card, and clearing."""

import json
import re

import gradio as gr
import pytest

from shared.ui import add_card, clear
from shared.ui.tabs import read_card


def find_card(model) -> str:
    """The Markdown of the fold-out."""
    with gr.Blocks() as demo:
        add_card(model)
    return next(block.value for block in demo.blocks.values() if isinstance(block, gr.Markdown))


def find_tables(text: str) -> list[list[str]]:
    """The tables in Markdown, each as its lines."""
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    return [block.strip().split("\n") for block in blocks]


def split_columns(line: str) -> int:
    return len(re.split(r"(?<!\\)\|", line.strip())[1:-1])


@pytest.mark.parametrize("name", ["cat_dog", "segmentation", "sentiment", "salary", "rating"])
def test_the_card_is_shown_without_its_header_and_its_tables_are_whole(name, request):
    model = request.getfixturevalue(name)
    text = find_card(model)
    assert text.lstrip().startswith(f"# {model.config.about.title}")
    assert "license:" not in text
    assert model.metrics.figures[0].data in text
    for table in find_tables(text):
        assert len({split_columns(line) for line in table}) == 1


def test_groups_and_peers_are_shown(salary, rating):
    text = find_card(salary)
    group = next(row for row in salary.metrics.groups if row.group == "sex: Female")
    assert f"| sex: Female | {group.count:,} | {group.selection_rate.value:.3f} [" in text
    for model in (salary, rating):
        assert model.metrics.peers
        for peer in model.metrics.peers:
            assert f"| {peer.peer} |" in find_card(model)


def test_links_to_files_of_the_folder_become_text_and_code_stays(tmp_path):
    (tmp_path / "README.md").write_text(
        "---\ntitle: x\n---\n# A model\nSee [LICENSE.md](LICENSE.md) and ![a plot](plots/a.png), "
        "[the data](https://example.org), `[a](b)`.\n\n---\n\n```python\nx[0](y)\n```\n"
    )
    assert read_card(tmp_path) == (
        "# A model\nSee LICENSE.md and a plot, [the data](https://example.org), `[a](b)`.\n\n---\n\n"
        "```python\nx[0](y)\n```\n"
    )


def test_a_card_without_front_matter_is_whole_and_a_very_long_one_is_cut(tmp_path):
    card = tmp_path / "README.md"
    card.write_text("# A model\n---\n" + "word\n" * 100_000)
    shown = read_card(tmp_path)
    assert shown.startswith("# A model\n---\nword\n")
    assert shown.endswith("word\n\nThe rest is in README.md.")
    assert len(shown) < 201_000
    card.unlink()
    assert "has no card" in read_card(tmp_path)


def test_a_card_of_brackets_is_read(tmp_path):
    (tmp_path / "README.md").write_text("[" * 200_000)  # which took minutes
    assert read_card(tmp_path) == "[" * 200_000


def test_clearing_brings_back_what_a_page_began_with():
    with gr.Blocks() as demo:
        text = gr.Textbox()
        shown = [gr.HTML("<h2>Write</h2>"), gr.Label(), gr.JSON(), gr.Dataframe(headers=["movie", "stars"])]
        clear(text.change, shown)
    (event,) = demo.fns.values()
    values = json.loads(event.js.removeprefix("() => "))
    assert values[:3] == ["<h2>Write</h2>", {}, None]
    assert (values[3]["headers"], values[3]["data"]) == (["movie", "stars"], [])
