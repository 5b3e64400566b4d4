"""Movies on a page: lists with their scores, a map, and how far off predictions are for newcomers."""

import math
from collections import Counter
from typing import Any

import gradio as gr
import pandas as pd

from ..metrics import Newcomers
from ..recommender import Movie, Recommender, Scored, Visitor
from .explanations import signed_bars


def format_stars(value: float) -> str:
    """Return a rating as the page writes it."""
    return f"{value:.2f} ★"


def scores_table(scored: Scored, column: str) -> pd.DataFrame:
    """Return movies and their scores as a table to be drawn."""
    return pd.DataFrame({"movie": [title for _, title, _ in scored], column: [round(s, 2) for *_, s in scored]})


def scores_json(scored: Scored, name: str) -> dict[str, Any]:
    """Return movies and their scores as JSON has them."""
    return {"movies": [{"movie_id": movie_id, "title": title, name: score} for movie_id, title, score in scored]}


def add_list(column: str, label: str) -> gr.Dataframe:
    """Add a table of movies and their scores; long titles are wrapped, so that the score stays in sight on a phone."""
    widths = ["70%", "30%"] if len(column) < 6 else ["60%", "40%"]  # so that a phone breaks no heading
    return gr.Dataframe(headers=["movie", column], label=label, interactive=False, wrap=True, column_widths=widths)


def add_picker(label: str, choices: list[tuple[str, int]], value: int) -> gr.Dropdown:
    """Add a list of the best known movies in which any title can be typed."""
    found = gr.Dropdown(choices, value=value, label=label, allow_custom_value=True)
    found.api_info = lambda: {"anyOf": [{"type": "integer"}, {"type": "string"}]}  # Gradio lists the choices alone
    return found


def add_map(movies: list[Movie]) -> gr.ScatterPlot:
    """Add a map of movies, coloured by their first genre; those without a place are left out."""
    mapped = [movie for movie in movies if not math.isnan(movie.x)]
    common = {genre for genre, _ in Counter(movie.genres[0] for movie in mapped).most_common(6)}
    table = pd.DataFrame(
        {
            "x": [movie.x for movie in mapped],
            "y": [movie.y for movie in mapped],
            "movie": [movie.title for movie in mapped],
            "genre": [movie.genres[0] if movie.genres[0] in common else "other" for movie in mapped],
        }
    )
    return gr.ScatterPlot(
        table, x="x", y="y", color="genre", tooltip=["movie", "genre"], x_title=" ", y_title=" ", label="Map of movies",
        x_axis_labels_visible=False,
    )  # fmt: skip


def add_newcomers(newcomers: Newcomers) -> None:
    """Add a fold-out on how far off predictions are, by how many movies somebody has rated."""
    group, below = newcomers.groups[-1], newcomers.popularity_below
    table = pd.DataFrame(
        {
            "movies rated": [point.given for point in group.curve],
            "off by, in stars": [f"{point.value**0.5:.2f}" for point in group.curve],
            "from averages alone": [f"{point.popularity_value**0.5:.2f}" for point in group.curve],
        }
    )
    start = "Until you have rated anything" if below == 1 else f"Until you have rated {below} movies"
    first = f" {start}, you get predictions from averages." if below else ""
    with gr.Accordion("How far off is it, by how many movies you have rated?", open=False):
        gr.Markdown(
            f"Measured on {group.users} people of MovieLens, each kept out of training and placed by a few of their "
            f'ratings; {group.ratings:,} of their other ratings were predicted. "Off by" is the root of the mean '
            "squared error, every person counting the same. Averages are what everybody gave a movie, and how "
            f"generous the person is.{first}"
        )
        gr.Dataframe(table, interactive=False, wrap=True)


def explain_first(model: Recommender, visitor: Visitor, best: Scored) -> str:
    """Return what moved the first recommendation, the largest parts first, as HTML."""
    if not best:
        return ""
    movie_id, title, _ = best[0]
    parts = model.explain(visitor, movie_id).contributions
    ordered = sorted(parts.items(), key=lambda part: -abs(part[1]))[:8]
    largest = {label: value for label, value in ordered if round(value, 2)}
    return signed_bars(f"What counts most for {title}, in stars, rounded:", largest, "{:+.2f}".format)
