"""Movie ratings: be a new visitor, or ask for a user of the data set; similar movies, and a map of them.

Run it: python spaces/rating/app.py, or with hot reload: gradio spaces/rating/app.py
"""

import gc
import html
import math
from collections import Counter
from pathlib import Path
from typing import Any

gc.set_threshold(50_000)  # what is imported now stays, so it need not be searched for garbage

import gradio as gr
import pandas as pd

from shared import BadInput, Visitor
from shared.errors import as_number
from shared.space import load_space_model
from shared.tables import read_csv
from shared.ui.page import (
    NO_ROWS,
    Page,
    Upload,
    about_model,
    add_up,
    answer_rows,
    answer_uploads,
    clear_at_once,
    show_errors,
    signed_bars,
)

model = load_space_model(Path(__file__).parent / "model")
contract = model.config
KNOWN = sorted(model.movies.values(), key=lambda movie: -movie.ratings)[:1500]  # what a drop-down offers
CHOICES = model.choices(len(KNOWN))
FIRST = KNOWN[0].movie_id

LEFT_OUT = "They may like (of what they have rated, only the sample's ratings are known here and left out)"
INTRODUCTION = """# What would they think of this movie?
Rate a few movies and get recommendations at once, or look at how the people of MovieLens rated. Any of
{count:,} movies can be typed in; the lists offer the best known."""


def stars(value: float) -> str:
    """A rating in words."""
    return f"{value:.2f} ★"


def table(scored: list[tuple[int, str, float]], column: str) -> pd.DataFrame:
    """Movies and their scores, to be drawn."""
    return pd.DataFrame({"movie": [title for _, title, _ in scored], column: [round(s, 2) for *_, s in scored]})


def as_json(scored: list[tuple[int, str, float]], name: str) -> dict[str, Any]:
    """Movies and their scores, to be read by programs."""
    return {"movies": [{"movie_id": movie_id, "title": title, name: score} for movie_id, title, score in scored]}


@show_errors
def predict(user_id: int, movie_id: int | str) -> tuple[dict[str, Any], str]:
    """Predict how many stars, 0.5 to 5, a user of MovieLens gives a movie.

    Args:
        user_id: a user of the data set; they are numbered from 1.
        movie_id: an id of MovieLens as a number; or a title, as text. "300" is the film, and 300 is an id.
    """
    movie_id = model.find(movie_id)
    rating = model.predict(user_id, movie_id).rating
    actual = model.actual(user_id, movie_id)
    title = model.movies[movie_id].title
    truth = "" if actual is None else f" They gave it {actual:g} ★, which the model has seen in training."
    words = f"<h2>{stars(rating)}</h2><p>User {int(as_number(user_id))} on {html.escape(title)}.{truth}</p>"
    return {"rating": rating, "actual": actual, "title": title}, words


@show_errors
def explain(user_id: int, movie_id: int | str) -> tuple[dict[str, Any], str]:
    """Say which parts a predicted rating is the sum of: base + contributions, in stars, before it is cut to 0.5 to 5.

    Args:
        user_id: a user of the data set; they are numbered from 1.
        movie_id: an id of MovieLens as a number; or a title, as text. "300" is the film, and 300 is an id.
    """
    movie_id = model.find(movie_id)
    why = model.explain(user_id, movie_id)
    total = why.base + sum(why.contributions.values())
    is_cut = not contract.lowest < total < contract.highest
    total = total if is_cut else model.predict(user_id, movie_id).rating  # as the page shows it
    cut = f", of which {stars(why.rating)} is left, the end of the scale" if is_cut else ""
    title = f"An average movie gets {stars(why.base)}. With what is added here it is {stars(total)}{cut}:"
    bars = signed_bars(title, add_up(why.contributions, why.base, total, 2), "{:+.2f}".format)
    return {"rating": why.rating, "base": why.base, "contributions": why.contributions}, bars


@show_errors
def recommend(
    user_id: int | None, ratings: dict[str, float] | None = None, k: int = 10
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Recommend movies, with their predicted stars, to a user of MovieLens or to somebody new.

    Args:
        user_id: a user of the data set, or null for somebody new.
        ratings: for somebody new, what they rated: {"movie id": stars from 0.5 to 5, ...}.
        k: how many, 1 to 100.
    """
    if (user_id is None) != isinstance(ratings, dict):
        raise BadInput('Give a user_id, or ratings such as {"260": 5, "1": 3.5} and null for the user_id.')
    best = model.recommend(model.fold_in(ratings) if user_id is None else user_id, k)
    return as_json(best, "rating"), table(best, "stars")


@show_errors
def similar(movie_id: int | str, k: int = 10) -> tuple[dict[str, Any], pd.DataFrame]:
    """Find the movies that the same people like, by the model's factors; of rarely rated ones, by genre and year, too.

    Args:
        movie_id: an id of MovieLens as a number; or a title, as text. "300" is the film, and 300 is an id.
        k: how many, 1 to 100.
    """
    near = model.similar(model.find(movie_id), k)
    return as_json(near, "similarity"), table(near, "similarity")


@show_errors
def batch(file: str, progress: gr.Progress = gr.Progress()) -> tuple[dict[str, int], pd.DataFrame, str]:  # noqa: B008
    """Answer a CSV of up to 100,000 pairs with the columns user_id and movie_id; other columns are kept.

    Args:
        file: the CSV. A row that cannot be answered gets a sentence in the column "error".
    """
    return answer_rows(
        read_csv(file, ["user_id", "movie_id"]),
        lambda rows: model.predict_each([(row["user_id"], row["movie_id"]) for row in rows]),
        lambda answer: {"predicted stars": round(answer.rating, 3)},
        progress,
    )


@show_errors
def rate(ratings: dict[str, float] | None, movie: int | str | None, given: float) -> dict[str, float]:
    """Add a rating to what the visitor has rated, the newest first."""
    new = model.fold_in({model.find(movie): given}).ratings
    rated = model.fold_in({} if ratings is None else ratings).ratings
    return {str(movie_id): stars for movie_id, stars in {**new, **rated, **new}.items()}


@show_errors
def for_visitor(ratings: dict[str, float] | None) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """What the visitor's page draws after each rating: their list, recommendations, and why the first."""
    visitor = model.fold_in({} if ratings is None else ratings)
    mine = [(movie_id, model.movies[movie_id].title, value) for movie_id, value in visitor.ratings.items()]
    best = model.recommend(visitor, 10)
    return table(mine, "stars"), table(best, "stars"), why_first(visitor, best) if best else ""


def why_first(visitor: Visitor, best: list[tuple[int, str, float]]) -> str:
    """What moved the first recommendation, the largest parts first."""
    movie_id, title, _ = best[0]
    parts = model.explain(visitor, movie_id).contributions
    ordered = sorted(parts.items(), key=lambda part: -abs(part[1]))[:8]
    largest = {label: value for label, value in ordered if round(value, 2)}
    return signed_bars(f"What counts most for {title}, in stars, rounded:", largest, "{:+.2f}".format)


def movie_map() -> pd.DataFrame:
    """Where the best known movies lie, coloured by their first genre."""
    mapped = [movie for movie in KNOWN if not math.isnan(movie.x)]
    common = {genre for genre, _ in Counter(movie.genres[0] for movie in mapped).most_common(6)}
    return pd.DataFrame(
        {
            "x": [movie.x for movie in mapped],
            "y": [movie.y for movie in mapped],
            "movie": [movie.title for movie in mapped],
            "genre": [movie.genres[0] if movie.genres[0] in common else "other" for movie in mapped],
        }
    )


def newcomer_table() -> pd.DataFrame:
    """How far off predictions were for people who were new to the model, by how many ratings they had given."""
    curve = model.metrics.newcomers.groups[-1].curve
    return pd.DataFrame(
        {
            "movies rated": [point.given for point in curve],
            "off by, in stars": [f"{point.value**0.5:.2f}" for point in curve],
            "from averages alone": [f"{point.popularity_value**0.5:.2f}" for point in curve],
        }
    )


def newcomers_measured() -> str:
    """What the curve is of, in words."""
    newcomers = model.metrics.newcomers
    group = newcomers.groups[-1]
    below = newcomers.popularity_below
    popular = "Until you have rated anything" if below == 1 else f"Until you have rated {below} movies"
    first = f" {popular}, you get what follows from averages." if below else ""
    return (
        f"Measured on {group.users} people of MovieLens, each kept out of training and placed by a few of their "
        f'ratings; {group.ratings:,} others of theirs were predicted. "Off by" is the root of the mean squared '
        "error, every person counting the same. From averages alone: what everybody gave a movie, and how generous the "
        f"person is.{first}"
    )


def pick(label: str, value: int) -> gr.Dropdown:
    """A list of the best known movies in which any title can be typed."""
    found = gr.Dropdown(CHOICES, value=value, label=label, allow_custom_value=True)
    found.api_info = lambda: {"anyOf": [{"type": "integer"}, {"type": "string"}]}  # Gradio lists the choices alone
    return found


def movie_list(column: str, label: str) -> gr.Dataframe:
    """A table of movies and their scores; long titles are wrapped, so that the score stays in sight on a phone."""
    widths = ["70%", "30%"] if len(column) < 6 else ["60%", "40%"]  # so that a phone breaks no heading
    return gr.Dataframe(headers=["movie", column], label=label, interactive=False, wrap=True, column_widths=widths)


with Page(model, title="Movie ratings") as demo:
    gr.Markdown(INTRODUCTION.format(count=len(model.movies)))
    with gr.Tabs():
        with gr.Tab("You"):
            with gr.Row():
                with gr.Column():
                    mine = pick("A movie you know", FIRST)
                    given = gr.Slider(contract.lowest, contract.highest, value=4, step=0.5, label="Your stars")
                    with gr.Row():
                        add = gr.Button("Add my rating", variant="primary")
                        clear = gr.Button("Start over")
                    my_ratings = gr.JSON({}, visible=False, label="Your ratings")
                    my_table = movie_list("stars", "You rated")
                with gr.Column():
                    for_me = movie_list("stars", "You may like")
                    for_me_why = gr.HTML(label="Why the first")
            if model.metrics and model.metrics.newcomers:
                with gr.Accordion("How far off is it, by how many movies you have rated?", open=False):
                    gr.Markdown(newcomers_measured())
                    gr.Dataframe(newcomer_table(), interactive=False, wrap=True)
        with gr.Tab("A user of MovieLens"), gr.Row():
            with gr.Column():
                first, last = min(contract.users), max(contract.users)
                user = gr.Number(contract.users[14], label=f"User ({first} to {last})", minimum=first, maximum=last)
                movie = pick("Movie", FIRST)
                answer = gr.HTML(label="Predicted stars")
                bars = gr.HTML(label="Why")
            with gr.Column():
                for_user = movie_list("stars", LEFT_OUT)
        with gr.Tab("Similar movies"):
            like = pick("Movies similar to", FIRST)
            near = movie_list("similarity", "Similar movies")
        with gr.Tab("Map"):
            gr.Markdown("The best known movies. Near each other are mostly movies with similar factors in the model.")
            gr.ScatterPlot(
                movie_map(), x="x", y="y", color="genre", tooltip=["movie", "genre"], x_title=" ", y_title=" ",
                label="Map of movies", x_axis_labels_visible=False,
            )  # fmt: skip
        with gr.Tab("Many pairs"):
            gr.Markdown("A CSV with the columns `user_id` and `movie_id`.")
            file = Upload(label="CSV", file_types=[".csv", ".txt", ".tsv"])
            summary = gr.JSON(label="Rows answered")
            first_rows = gr.Dataframe(label="The first 20", interactive=False)
            result = gr.File(label="All predictions, as CSV")
        with gr.Tab("As JSON"):
            answer_json = gr.JSON(label="predict")
            why_json = gr.JSON(label="explain")
            recommended_json = gr.JSON(label="recommend")
            similar_json = gr.JSON(label="similar")
    about_model(model)

    add.click(rate, [my_ratings, mine, given], my_ratings, api_visibility="private")
    clear.click(dict, None, my_ratings, api_visibility="private")
    gr.on(
        [my_ratings.change, demo.load], for_visitor, my_ratings, [my_table, for_me, for_me_why],
        api_visibility="private", show_progress="hidden",
    )  # fmt: skip
    # The model checks every value and says what it accepts. Gradio's own checks would take a thread for each.
    unchecked = {"preprocess": False, "show_progress": "hidden"}
    live = {"trigger_mode": "always_last", **unchecked}
    asked = [demo.load, user.submit, user.blur, movie.change]
    predicted = gr.on(asked, predict, [user, movie], [answer_json, answer], api_name="predict", **live)
    shown = [answer_json, answer, why_json, bars, recommended_json, for_user]
    blank = [None] * 5 + [{**NO_ROWS, "headers": ["movie", "stars"]}]
    clear_at_once(predicted.success, shown[2:], blank[2:])
    clear_at_once(predicted.failure, shown, blank)  # what was shown is of another pair
    predicted.success(explain, [user, movie], [why_json, bars], api_name="explain", **live)
    nobody = gr.JSON(visible=False, label="Ratings of somebody new: {movie id: stars}")
    ten = gr.Number(10, visible=False, label="How many movies, 1 to 100", minimum=1, maximum=100)
    predicted.success(recommend, [user, nobody, ten], [recommended_json, for_user], api_name="recommend", **live)
    found = gr.on([demo.load, like.change], similar, [like, ten], [similar_json, near], api_name="similar", **live)
    clear_at_once(found.failure, [similar_json, near], [None, {**NO_ROWS, "headers": ["movie", "similarity"]}])
    answer_uploads(file, batch, [summary, first_rows, result])

if __name__ == "__main__":
    demo.launch()
