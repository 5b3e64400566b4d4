"""Recommendation: be a new visitor, or ask for a user of the data set; similar movies, and a map of them.

Run it: python spaces/rating/app.py, or with hot reload: gradio spaces/rating/app.py
"""

from shared.ui import Page, about, batch_tab, clear, json_tab, show_errors

# isort: split
import html
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from shared.ui import movies
from shared import BadInput
from shared.errors import as_number
from shared.markdown import as_markdown
from shared.space import load_space_model
from shared.tables import read_csv
from shared.ui.batch import answer_rows
from shared.ui.explanations import add_up, signed_bars
from shared.ui.movies import format_stars, scores_json, scores_table

model = load_space_model(Path(__file__).parent / "model")
config = model.config
known = sorted(model.movies.values(), key=lambda movie: -movie.ratings)[:1500]  # what a drop-down offers
choices, first = model.choices(len(known)), known[0].movie_id
Ratings = dict[str, float] | None


@show_errors
def predict(user_id: int, movie_id: int | str) -> tuple[dict[str, Any], str]:
    """Predict how many stars, 0.5 to 5, a user of MovieLens gives a movie.

    Args:
        user_id: a user of the data set; they are numbered from 1.
        movie_id: an id of MovieLens as a number; or a title, as text. "300" is the film, and 300 is an id.
    """
    movie_id = model.find(movie_id)
    answer, actual = model.predict(user_id, movie_id), model.actual(user_id, movie_id)
    title = model.movies[movie_id].title
    truth = "" if actual is None else f" They gave it {actual:g} ★, which the model has seen in training."
    sentence = f"User {int(as_number(user_id))} on {html.escape(title)}.{truth}"
    words = f"<h2>{format_stars(answer.rating)}</h2><p>{sentence}</p>"
    return answer.as_dict() | {"actual": actual, "title": title}, words


@show_errors
def explain(user_id: int, movie_id: int | str) -> tuple[dict[str, Any], str]:
    """Say which parts a predicted rating is the sum of: base + contributions, in stars, before it is cut to 0.5 to 5.

    Args:
        user_id: a user of the data set; they are numbered from 1.
        movie_id: an id of MovieLens as a number; or a title, as text. "300" is the film, and 300 is an id.
    """
    why = model.explain(user_id, model.find(movie_id))
    total = why.base + sum(why.contributions.values())
    is_cut = not config.lowest < total < config.highest
    cut = f", of which {format_stars(why.rating)} is left, the end of the scale" if is_cut else ""
    total = total if is_cut else why.rating
    title = f"An average movie gets {format_stars(why.base)}. With the parts below it is {format_stars(total)}{cut}:"
    return why.as_dict(), signed_bars(title, add_up(why.contributions, why.base, total, 2), "{:+.2f}".format)


@show_errors
def recommend(user_id: int | None, ratings: Ratings = None, k: int = 10) -> tuple[dict[str, Any], pd.DataFrame]:
    """Recommend movies, with their predicted stars, to a user of MovieLens or to somebody new.

    Args:
        user_id: a user of the data set, or null for somebody new.
        ratings: for somebody new, what they rated: {"movie id": stars from 0.5 to 5, ...}.
        k: how many, 1 to 100.
    """
    if (user_id is None) != isinstance(ratings, dict):
        raise BadInput('Give a user_id, or ratings such as {"260": 5, "1": 3.5} and null for the user_id.')
    best = model.recommend(model.fold_in(ratings) if user_id is None else user_id, k)
    return scores_json(best, "rating"), scores_table(best, "stars")


@show_errors
def similar(movie_id: int | str, k: int = 10) -> tuple[dict[str, Any], pd.DataFrame]:
    """Find the movies that the same people like, by the model's factors; of rarely rated ones, by genre and year, too.

    Args:
        movie_id: an id of MovieLens as a number; or a title, as text. "300" is the film, and 300 is an id.
        k: how many, 1 to 100.
    """
    near = model.similar(model.find(movie_id), k)
    return scores_json(near, "similarity"), scores_table(near, "similarity")


@show_errors
def batch(file: str, progress: gr.Progress = gr.Progress()) -> tuple[dict[str, int], pd.DataFrame, str]:  # noqa: B008
    """Answer a CSV of up to 100,000 pairs with the columns user_id and movie_id; other columns are kept.

    Args:
        file: the CSV. A row that cannot be answered gets a sentence in the column "error".
    """
    return answer_rows(read_csv(file, model.columns), model, progress)


@show_errors
def rate(ratings: Ratings, movie: int | str | None, stars: float) -> dict[str, float]:
    """Add a rating to what the visitor has rated, the newest first."""
    new = model.fold_in({model.find(movie): stars}).ratings
    rated = model.fold_in({} if ratings is None else ratings).ratings
    return {str(movie_id): value for movie_id, value in {**new, **rated, **new}.items()}


@show_errors
def show_visitor(ratings: Ratings) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Draw what the visitor rated, recommendations, and why the first."""
    visitor = model.fold_in({} if ratings is None else ratings)
    mine = [(movie_id, model.movies[movie_id].title, value) for movie_id, value in visitor.ratings.items()]
    best = model.recommend(visitor, 10)
    return scores_table(mine, "stars"), scores_table(best, "stars"), movies.explain_first(model, visitor, best)


with Page(model, title=config.about.title) as demo:
    gr.Markdown(
        f"# {as_markdown(config.about.title)}\n{as_markdown(config.about.summary)} Any of {len(model.movies):,} movies "
        "can be typed in; the lists offer the best known."
    )
    with gr.Tabs():
        with gr.Tab("You"):
            with gr.Row():
                with gr.Column():
                    mine = movies.add_picker("A movie you know", choices, first)
                    stars = gr.Slider(config.lowest, config.highest, value=4, step=0.5, label="Your stars")
                    with gr.Row():
                        add = gr.Button("Add my rating", variant="primary")
                        restart = gr.Button("Start over")
                    my_ratings = gr.JSON({}, visible=False, label="Your ratings")
                    my_table = movies.add_list("stars", "You rated")
                with gr.Column():
                    for_me = movies.add_list("stars", "You may like")
                    for_me_why = gr.HTML(label="Why the first")
            if model.metrics and model.metrics.newcomers:
                movies.add_newcomers(model.metrics.newcomers)
        with gr.Tab("A user of the data"), gr.Row():
            with gr.Column():
                low, high = min(config.users), max(config.users)
                user = gr.Number(
                    config.users[min(14, len(config.users) - 1)],
                    label=f"User ({low} to {high})",
                    minimum=low,
                    maximum=high,
                )
                movie = movies.add_picker("Movie", choices, first)
                answer, bars = gr.HTML(label="Predicted stars"), gr.HTML(label="Why")
            with gr.Column():
                for_user = movies.add_list("stars", "They may like (only rated movies in the sample are left out)")
        with gr.Tab("Similar movies"):
            like = movies.add_picker("Movies similar to", choices, first)
            near = movies.add_list("similarity", "Similar movies")
        with gr.Tab("Map"):
            gr.Markdown("The best known movies. Movies with similar factors in the model are mostly near each other.")
            movies.add_map(known)
        many = batch_tab("Many pairs", "A CSV with the columns `user_id` and `movie_id`.", file_types=[".csv", ".tsv"])
        answer_json, why_json, recommended_json, similar_json = json_tab("predict", "explain", "recommend", "similar")
    about(model)

    add.click(rate, [my_ratings, mine, stars], my_ratings, api_visibility="private")
    restart.click(dict, None, my_ratings, api_visibility="private")
    shown_to_visitor = [my_table, for_me, for_me_why]
    private = {"api_visibility": "private", "show_progress": "hidden"}
    gr.on([my_ratings.change, demo.load], show_visitor, my_ratings, shown_to_visitor, **private)
    # The model checks every value and says what it accepts. Gradio's own checks would take a thread for each.
    live = {"trigger_mode": "always_last", "preprocess": False, "show_progress": "hidden"}
    asked = [demo.load, user.submit, user.blur, movie.change]
    predicted = gr.on(asked, predict, [user, movie], [answer_json, answer], api_name="predict", **live)
    why = [why_json, bars, recommended_json, for_user]
    clear(predicted.success, why)
    clear(predicted.failure, [answer_json, answer, *why])  # what was shown is of another pair
    predicted.success(explain, [user, movie], [why_json, bars], api_name="explain", **live)
    nobody = gr.JSON(visible=False, label="Ratings of somebody new: {movie id: stars}")
    ten = gr.Number(10, visible=False, label="How many movies, 1 to 100", minimum=1, maximum=100)
    predicted.success(recommend, [user, nobody, ten], [recommended_json, for_user], api_name="recommend", **live)
    found = gr.on([demo.load, like.change], similar, [like, ten], [similar_json, near], api_name="similar", **live)
    clear(found.failure, [similar_json, near])
    many.answer_with(batch)

if __name__ == "__main__":
    demo.launch()
