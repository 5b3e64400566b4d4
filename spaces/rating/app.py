"""Recommendation: rate movies or choose a user, see predictions and recommendations, find similar movies.

Run it: python spaces/rating/app.py, or with hot reload: gradio spaces/rating/app.py
"""

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from shared import BadInput
from shared.space import load_space_model
from shared.tables import read_csv
from shared.text import parse_number
from shared.ui import Page, add_batch_tab, add_card, add_json, clear, clear_after_error, introduce, movies, show_errors
from shared.ui.batch import answer_rows

model = load_space_model(Path(__file__).parent / "model")
config = model.config


@show_errors
def predict(user_id: int, movie_id: int | str) -> tuple[dict[str, Any], str]:
    """Predict a rating, 0.5 to 5 stars, of a movie by a user of the data set.

    Args:
        user_id: a user of the data set; they are numbered from 1.
        movie_id: an id of the data set, as a number; or a title, as text. "300" is the film, and 300 is an id.
    """
    movie_id = model.find(movie_id)
    answer, actual = model.predict(user_id, movie_id), model.find_rating(user_id, movie_id)
    title = model.movies[movie_id].title
    truth = "" if actual is None else f" The actual rating is {actual:g} ★; the model was trained on it."
    stars = movies.format_stars(answer.rating)
    words = f"<h2>{stars}</h2><p>User {int(parse_number(user_id))} on {escape(title)}.{truth}</p>"
    return answer.as_dict() | {"actual": actual, "title": title}, words


@show_errors
def explain(user_id: int, movie_id: int | str) -> tuple[dict[str, Any], str]:
    """Explain a predicted rating: base + contributions, in stars, before it is clipped to the scale of 0.5 to 5.

    Args:
        user_id: a user of the data set; they are numbered from 1.
        movie_id: an id of the data set, as a number; or a title, as text. "300" is the film, and 300 is an id.
    """
    why = model.explain(user_id, model.find(movie_id))
    return why.as_dict(), movies.explain_rating(model, why)


@show_errors
def recommend(user_id: int | None, ratings: movies.Ratings = None, k: int = 10) -> tuple[dict[str, Any], pd.DataFrame]:
    """Recommend movies, with predicted ratings in stars, to a user of the data set or to a new user.

    Args:
        user_id: a user of the data set, or null for a new user.
        ratings: the ratings of a new user: {"movie id": stars from 0.5 to 5, ...}.
        k: how many, 1 to 100.
    """
    if (user_id is None) != isinstance(ratings, dict):
        raise BadInput('Give either a user_id, or null and ratings such as {"260": 5, "1": 3.5}.')
    best = model.recommend(model.fold_in(ratings) if user_id is None else user_id, k)
    return movies.make_scores_json(best, "rating"), movies.make_scores_table(best, "stars")


@show_errors
def similar(movie_id: int | str, k: int = 10) -> tuple[dict[str, Any], pd.DataFrame]:
    """Find movies with similar factors, that is, liked by the same people; rare ones also by genre and year.

    Args:
        movie_id: an id of the data set, as a number; or a title, as text. "300" is the film, and 300 is an id.
        k: how many, 1 to 100.
    """
    near = model.similar(model.find(movie_id), k)
    return movies.make_scores_json(near, "similarity"), movies.make_scores_table(near, "similarity")


@show_errors
def batch(file: str, progress: gr.Progress = gr.Progress()) -> tuple[dict[str, int], pd.DataFrame, str]:  # noqa: B008
    """Predict the ratings for a CSV of up to 100,000 pairs of user_id and movie_id; other columns are kept.

    Args:
        file: the CSV. An invalid row gets a message in the column "error".
    """
    return answer_rows(read_csv(file, model.columns), model, progress)


with Page(model, title=config.about.title) as demo:
    introduce(model, f"Type the title of any of {len(model.movies):,} movies; the lists show the best known.")
    with gr.Tabs():
        with gr.Tab("You"):
            movies.add_visitor(model, demo)
            movies.add_newcomers(model)
        with gr.Tab("A user of the data set"), gr.Row():
            with gr.Column():
                user, movie = movies.add_user(model), movies.add_picker(model, "Movie")
                answer, bars = gr.HTML(label="Predicted stars"), gr.HTML(label="Why")
            with gr.Column():
                for_user = movies.add_list("stars", "They may like (without movies that they rated in the sample)")
        with gr.Tab("Similar movies"):
            like = movies.add_picker(model, "Movies similar to")
            near = movies.add_list("similarity", "Similar movies")
        with gr.Tab("Map"):
            gr.Markdown("The best known movies. Movies with similar factors are mostly close to each other.")
            movies.add_map(model)
        hint = "A CSV with the columns `user_id` and `movie_id`."
        many = add_batch_tab("Many pairs", hint, file_types=[".csv", ".tsv"])
        answer_json, why_json, best_json, similar_json = add_json("predict", "explain", "recommend", "similar")
    add_card(model)

    # The model checks all values with clear errors. Gradio's own checks would take a thread for each.
    live = {"trigger_mode": "always_last", "preprocess": False, "show_progress": "hidden"}
    asked = [demo.load, user.submit, user.blur, movie.change]
    predicted = gr.on(asked, predict, [user, movie], [answer_json, answer], api_name="predict", **live)
    why = [why_json, bars, best_json, for_user]
    clear(predicted.success, why)
    clear_after_error(predicted.failure, [answer_json, answer, *why])  # results of another pair
    predicted.success(explain, [user, movie], [why_json, bars], api_name="explain", **live)
    nobody = gr.JSON(visible=False, label="Ratings of a new user: {movie id: stars}")
    ten = gr.Number(10, visible=False, label="How many movies, 1 to 100", minimum=1, maximum=100)
    predicted.success(recommend, [user, nobody, ten], [best_json, for_user], api_name="recommend", **live)
    found = gr.on([demo.load, like.change], similar, [like, ten], [similar_json, near], api_name="similar", **live)
    clear_after_error(found.failure, [similar_json, near])
    many.answer_with(batch)

if __name__ == "__main__":
    demo.launch()
