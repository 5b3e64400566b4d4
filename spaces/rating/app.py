"""Recommendation: rate movies or choose a user, see predictions and recommendations, find similar movies.

Run it: python spaces/rating/app.py, or with hot reload: gradio spaces/rating/app.py
"""

from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from shared.markdown import escape_markdown
from shared.space import load_space_model
from shared.tables import read_csv
from shared.ui import Page, add_batch_tab, add_end, add_json, clear, introduce, movies, show_errors
from shared.ui.batch import answer_rows
from shared.ui.first_answer import show_first_answer
from shared.ui.newest import ask, explain_newest
from shared.ui.quality import add_quality_tab

model = load_space_model(Path(__file__).parent / "model")
config = model.config


@show_errors
def predict(user_id: int, movie_id: int | str) -> tuple[dict[str, Any], str]:
    """Predict a rating, in stars, of a movie by a user of the data set.

    Args:
        user_id: a user of the data set; they are numbered from 1.
        movie_id: an id of the data set, as a number; or a title, as text. "300" is the film, and 300 is an id.
    """
    movie_id = model.find(movie_id)
    answer, actual = model.predict(user_id, movie_id), model.find_rating(user_id, movie_id)
    words = movies.describe_rating(model, user_id, movie_id, answer.rating, actual)
    return answer.as_dict() | {"actual": actual, "title": model.movies[movie_id].title}, words


@show_errors
def explain(user_id: int, movie_id: int | str) -> tuple[dict[str, Any], str]:
    """Explain a predicted rating: base + contributions, in stars, before it is clipped to the scale.

    Args:
        user_id: a user of the data set; they are numbered from 1.
        movie_id: an id of the data set, as a number; or a title, as text. "300" is the film, and 300 is an id.
    """
    why = model.explain(user_id, model.find(movie_id))
    return why.as_dict(), movies.explain_rating(model, why)


@show_errors
def recommend(user_id: int | None, ratings: movies.Ratings = None, k: int = 10) -> tuple[dict[str, Any], movies.Table]:
    """Recommend movies, with predicted ratings in stars, to a user of the data set or to a new user.

    Args:
        user_id: a user of the data set, or null for a new user.
        ratings: the ratings of a new user: {"movie id": stars, ...}.
        k: how many, 1 to 100.
    """
    best = movies.recommend(model, user_id, ratings, k)
    return movies.make_scores_json(model, best, "rating"), movies.make_scores_table(model, best, config.unit)


@show_errors
def similar(movie_id: int | str, k: int = 10) -> tuple[dict[str, Any], movies.Table]:
    """Find movies with similar factors, that is, liked by the same people; rare ones also by genre and year.

    Args:
        movie_id: an id of the data set, as a number; or a title, as text. "300" is the film, and 300 is an id.
        k: how many, 1 to 100.
    """
    near = model.similar(model.find(movie_id), k)
    return movies.make_scores_json(model, near, "similarity"), movies.make_scores_table(model, near, "similarity")


@show_errors
def batch(file: str, progress: gr.Progress = gr.Progress()) -> tuple[dict[str, int], pd.DataFrame, str]:  # noqa: B008
    """Predict ratings for a CSV with the columns user_id and movie_id and up to 100,000 rows; other columns are kept.

    Args:
        file: the CSV. An invalid row gets a message in the column "error".
    """
    return answer_rows(read_csv(file, model.columns), model, progress)


advise = recommend if config.users else movies.limit_to_visitors(recommend)
for endpoint in (predict, explain, advise, similar, batch):
    movies.reword(model, endpoint)
(one, many), labels = config.item, movies.label_page(model)
with Page(model, title=config.about.title) as demo:
    introduce(model, f"Type any of {len(model.movies):,} {escape_markdown(many)}; the list shows the best known.")
    with gr.Tabs() as tabs:
        with gr.Tab("You") as you:
            ratings = movies.add_visitor(model)
        with gr.Tab("Similar"):
            like = movies.add_picker(model, f"{many} similar to")
            near = movies.add_list(model, "similarity", f"Similar {many}")
        add_quality_tab(model, more=lambda: movies.add_newcomers(model))
        with gr.Tab(labels["tab"]) as other, gr.Row():
            with gr.Column():
                user = movies.add_user(model) if config.users else ratings
                movie = movies.add_picker(model, one)
                answer, bars = movies.add_answer(model), gr.HTML(label="Why")
            with gr.Column():
                for_user = movies.add_list(model, config.unit, labels["best"])
        with gr.Tab("Map"):
            movies.add_map(model)
        table = add_batch_tab(labels["table"], labels["hint"], file_types=[".csv", ".tsv"])
        answer_json, why_json, best_json, similar_json = add_json("predict", "explain", "recommend", "similar")
    filled = movies.add_link(model, tabs, [you, other], ratings, user, movie)
    add_end(model)

    # The model checks all values with clear errors. Gradio's own checks would take a thread for each.
    live: dict[str, Any] = {"preprocess": False, "show_progress": "hidden"}
    events = [*([user.submit, user.blur] if config.users else [ratings.change]), movie.change, filled]
    why = [why_json, bars, best_json, for_user]
    predicted = ask(events, predict, [user, movie], [answer_json, answer], why, api_name="predict", **live)
    clear(predicted.success, why)  # results of another pair
    explain_newest(predicted.success, explain, [user, movie], [why_json, bars], api_name="explain", **live)
    whom, ten = movies.add_hidden_inputs(model, user)
    explain_newest(predicted.success, advise, [*whom, ten], [best_json, for_user], api_name="recommend", **live)
    ask([like.change], similar, [like, ten], [similar_json, near], api_name="similar", **live)
    table.answer_with(batch)
    pair, whose = (user.value, movie.value), (user.value, None) if config.users else (None, dict[str, float]())
    show_first_answer([answer_json, answer, *why], lambda: [*predict(*pair), *explain(*pair), *recommend(*whose)])
    show_first_answer([similar_json, near], lambda: similar(like.value, 10))

if __name__ == "__main__":
    demo.launch()
