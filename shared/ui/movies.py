"""Show movies, or other items, on a page: lists with scores, a visitor's ratings, a map, and the error."""

import inspect
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import islice
from typing import Any, TypeAlias

import gradio as gr
import pandas as pd
from pandas.io.formats.style import Styler

from ..errors import BadInput
from ..markdown import escape_markdown
from ..movies import Movie
from ..recommender import Recommender, RecommenderExplanation, Scored
from ..text import parse_number, raise_first
from ..visitors import Visitor
from . import share
from .errors import show_errors
from .explanations import add_up, draw_signed_bars
from .first_answer import show_first_answer
from .headline import ANNOUNCED
from .languages import NEW

OFFERED = 1500  # number of best known movies in a drop-down and on the map
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")  # for colour-blind people: Okabe, Ito 2008
OTHER = "#808080"
Table: TypeAlias = Styler  # its scores are shown with two decimals
Ratings = dict[str, float] | None  # {movie id: stars}, from JSON


def reword(model: Recommender, function: Callable[..., Any]) -> None:
    """Give an endpoint of a model of a user's own data the words of that data, in its docstring and its arguments."""
    if not model.config.is_own:
        return
    (one, many), signature = model.config.item, inspect.signature(function)
    words = {
        "movie_id": model.item_column, "movies": many, "movie": one, "stars": model.config.unit,
        "; they are numbered from 1": "", "genre": "kind",
        'an id of the data set, as a number; or a title, as text. "300" is the film, and 300 is an id.':
            "an id or a title; a text that is both is the title.",
    }  # fmt: skip
    hints: dict[str, Any] = {"user_id": str if model.config.users else Ratings}
    if not model.config.users:
        given = f"ratings: their ratings, {{id: {model.config.unit}}}; null for an average person"
        words |= {
            "user_id": "ratings", "user_id: a user of the data set; they are numbered from 1": given,
            "a user of the data set": "a person", "columns user_id and movie_id": f"column {model.item_column}",
        }  # fmt: skip
    pattern = re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)))
    function.__doc__ = pattern.sub(lambda found: words[found[0]], function.__doc__ or "")
    hints = function.__annotations__ | {name: hint for name, hint in hints.items() if name in signature.parameters}
    function.__annotations__ = {words.get(name, name): hint for name, hint in hints.items()}
    arguments = [item.replace(name=words.get(name, name)) for name, item in signature.parameters.items()]
    function.__signature__ = signature.replace(parameters=arguments)  # type: ignore[attr-defined]


def label_page(model: Recommender) -> dict[str, str]:
    """Return the labels of the page that depend on whether the model knows users."""
    one, many = model.config.item
    if model.config.users:
        columns = " and ".join(f"`{column}`" for column in model.columns)
        best = f"They may like (without {many} that they rated in the sample)"
        hint = f"A CSV with the columns {columns}."
        return {"tab": "A user of the data set", "best": best, "table": "Many pairs", "hint": hint}
    hint = f"A CSV with the column `{model.item_column}`: each gets the rating of an average person."
    return {"tab": f"One {one}", "best": "You may like", "table": f"Many {many}", "hint": hint}


def limit_to_visitors(recommend: Callable[..., Any]) -> Callable[..., Any]:
    """Return the endpoint `recommend` for a model without users: without its first argument."""

    @show_errors
    def recommend_to_visitor(ratings: Ratings = None, k: int = 10) -> tuple[dict[str, Any], Table]:
        """Recommend movies, with predicted ratings in stars.

        Args:
            ratings: your ratings: {"movie id": stars, ...}, or null for an average person.
            k: how many, 1 to 100.
        """
        result: tuple[dict[str, Any], Table] = recommend(None, {} if ratings is None else ratings, k)
        return result

    return recommend_to_visitor


def recommend(model: Recommender, user_id: Any, ratings: Ratings, k: int) -> Scored:
    """Return recommendations for a user of the data set, or for a visitor with these ratings.

    Raises:
        BadInput: neither is given, or both, or one is invalid.
    """
    if (user_id is None) != isinstance(ratings, dict):
        some = {str(movie_id): model.config.highest for movie_id in islice(model.movies, 2)}
        raise BadInput(f"Give either a user_id, or null and ratings such as {json.dumps(some)}.")
    return model.recommend(model.fold_in(ratings or {}) if user_id is None else user_id, k)


def describe_rating(model: Recommender, user_id: Any, movie_id: Any, rating: float, actual: float | None) -> str:
    """Return a predicted rating as HTML, with the actual one if it is known."""
    who = "With your ratings:"
    if model.config.users:
        who = f"User {escape(str(user_id)) if model.config.is_own else int(parse_number(user_id))} on"
    truth = ""
    if actual is not None:
        truth = f" The actual rating is {format_stars(model, actual, 'g')}; the model was trained on it."
    return f"<h2>{format_stars(model, rating)}</h2><p>{who} {escape(model.movies[movie_id].title)}.{truth}</p>"


def format_stars(model: Recommender, value: float, form: str = ".2f") -> str:
    """Format a rating for the page."""
    return f"{value:{form}} {'★' if model.config.unit == 'stars' else escape(model.config.unit)}"


def make_scores_table(model: Recommender, scored: Scored, column: str) -> Table:
    """Return movies and their scores as a table for display."""
    titles = [title for _, title, _ in scored]
    table = pd.DataFrame({model.config.item[0]: titles, column: [round(s, 2) for *_, s in scored]})
    return table.style.format({column: "{:.2f}"})


def make_scores_json(model: Recommender, scored: Scored, name: str) -> dict[str, Any]:
    """Return movies and their scores as a JSON object."""
    rows = [{model.item_column: movie_id, "title": title, name: score} for movie_id, title, score in scored]
    return {"items" if model.config.is_own else "movies": rows}


def add_list(model: Recommender, column: str, label: str, **options: Any) -> gr.Dataframe:
    """Add a table of movies and scores; long titles are wrapped, so that the scores stay visible on a phone."""
    widths = ["70%", "30%"] if len(column) < 6 else ["60%", "40%"]  # headings must fit on a phone
    headers = [model.config.item[0], column]
    return gr.Dataframe(headers=headers, label=label, interactive=False, wrap=True, column_widths=widths, **options)


def find_best_known(model: Recommender) -> list[Movie]:
    """Return the OFFERED movies with the most ratings, in descending order."""
    return sorted(model.movies.values(), key=lambda movie: -movie.ratings)[:OFFERED]


def add_picker(model: Recommender, label: str) -> gr.Dropdown:
    """Add a drop-down of the best known movies that accepts any title; its label gets a capital first letter."""
    first = find_best_known(model)[0].movie_id
    choices, label = model.titles.list_choices(OFFERED), raise_first(label)
    found = gr.Dropdown(choices, value=first, label=label, allow_custom_value=True)
    # Gradio's schema allows only the choices.
    found.api_info = lambda: {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    return found


def add_user(model: Recommender) -> gr.Number | gr.Textbox:
    """Add a field for a user of the data set."""
    users = model.config.users
    if model.config.is_own:
        return gr.Textbox(str(users[0]), label="User")
    low, high = min(users), max(users)
    value = users[min(14, len(users) - 1)]
    return gr.Number(value, label=f"User ({low} to {high})", minimum=low, maximum=high)


def add_answer(model: Recommender) -> gr.HTML:
    """Add the component for describe_rating."""
    return gr.HTML(label=f"Predicted {model.config.unit}", elem_classes=ANNOUNCED)


def add_hidden_inputs(model: Recommender, user: Any) -> tuple[list[Any], gr.Number]:
    """Add the inputs of recommendations that only API users give: the ratings of a new user, and how many movies.

    Args:
        model: the model.
        user: the input for a user or, if the model knows none, for the ratings of a visitor.

    Returns:
        The inputs that say whom to recommend to, and the one for how many.
    """
    one, many = model.config.item
    ratings = gr.JSON(visible=False, label=f"Ratings of a new user: {{{one} id: {model.config.unit}}}")
    ten = gr.Number(10, visible=False, label=f"How many {many}, 1 to 100", minimum=1, maximum=100)
    return [user, ratings] if model.config.users else [user], ten


def add_visitor(model: Recommender) -> gr.JSON:
    """Add the tab for a new visitor: rate movies, and see recommendations with a reason; return their ratings.

    At first it shows recommendations for an average person.
    """
    config = model.config
    start = config.highest - round((config.highest - config.lowest) / 4.5 / config.step) * config.step
    with gr.Row():
        with gr.Column():
            movie = add_picker(model, f"{config.item[0]} that you know")
            stars = gr.Slider(config.lowest, config.highest, start, step=config.step, label=f"Your {config.unit}")
            add = gr.Button("Add my rating", variant="primary", size="md")
            with gr.Row():
                remove = gr.Button("Remove my rating", size="md", min_width=120)
                restart = gr.Button("Start over", size="md", min_width=120)
            ratings = gr.JSON({}, visible=False, label="Your ratings")
            order = gr.JSON([], visible=False, label="Their order")  # a browser sorts the keys of the ratings by number
        with gr.Column():
            best = add_list(model, config.unit, "You may like (▲ ▼: what your newest rating changed)")
            why = gr.HTML(label="Why this one comes first", elem_classes=ANNOUNCED)
            rated = add_list(model, config.unit, "You rated", elem_classes="rated")  # last, as it grows

    @show_errors
    def rate(given: Ratings, known: Any, chosen: int | str | None, value: float) -> tuple[list[str], dict[str, float]]:
        rated = add_rating(model, put_in_order(given, known), chosen, value)
        newest = next(iter(rated))
        return [newest, *(movie_id for movie_id in list_known(rated, known) if movie_id != newest)], rated

    @show_errors
    def forget(given: Ratings, known: Any, chosen: int | str | None) -> tuple[list[str], dict[str, float]]:
        left = remove_rating(model, put_in_order(given, known), chosen)
        return list_known(left, known), left

    @show_errors
    def show(given: Ratings, known: Any) -> tuple[Table, Table, str]:
        return recommend_for(model, given, known)

    kept = [order, ratings]
    # A second click waits for the ratings with the first; by default, Gradio would ignore it.
    waiting: dict[str, Any] = {"trigger_mode": "always_last", "api_visibility": "private"}
    add.click(rate, [ratings, order, movie, stars], kept, **waiting)
    remove.click(forget, [ratings, order, movie], kept, **waiting)
    restart.click(lambda: ([], {}), None, kept, api_visibility="private")
    ratings.change(show, [ratings, order], [rated, best, why], api_visibility="private", show_progress="hidden")
    show_first_answer([rated, best, why], lambda: show({}, []))
    return ratings


def put_in_order(given: Ratings, order: Any) -> Ratings:
    """Return a visitor's ratings in an order of movie ids; those that it lacks come last.

    Both come from the page, so they may be anything.
    """
    if not isinstance(given, dict):
        return given
    return {movie_id: given[movie_id] for movie_id in (*list_known(given, order), *given)}


def list_known(given: dict[str, float], order: Any) -> list[str]:
    """Return the ids of an order, which comes from the page, that have ratings."""
    return [each for each in order if isinstance(each, str) and each in given] if isinstance(order, list) else []


def add_rating(model: Recommender, given: Ratings, movie: int | str | None, stars: float) -> dict[str, float]:
    """Return a visitor's ratings with a new one first; it replaces an earlier rating of the same movie.

    Raises:
        BadInput: the movie is unknown, or stars lie outside the scale.
    """
    new = model.fold_in({model.find(movie): stars}).ratings
    older = model.fold_in({} if given is None else given).ratings
    return {str(movie_id): value for movie_id, value in {**new, **older, **new}.items()}


def remove_rating(model: Recommender, given: Ratings, movie: int | str | None) -> dict[str, float]:
    """Return a visitor's ratings without that of one movie.

    Raises:
        BadInput: the movie is unknown or has no rating.
    """
    movie_id, older = model.find(movie), model.fold_in({} if given is None else given).ratings
    if movie_id not in older:
        raise BadInput(f"You have not rated {model.movies[movie_id].title}; choose one that you have rated.")
    return {str(rated): value for rated, value in older.items() if rated != movie_id}


def mark_changes(before: Scored, after: Scored) -> Scored:
    """Return a list with marks behind the titles: by how many places each rose (▲) or fell (▼), or that it is new."""
    places = {movie_id: place for place, (movie_id, *_) in enumerate(before)}
    marked = []
    for place, (movie_id, title, score) in enumerate(after):
        rise = places[movie_id] - place if movie_id in places else None
        mark = NEW if rise is None else f" ▲{rise}" if rise > 0 else f" ▼{-rise}" if rise else ""
        marked.append((movie_id, f"{title}{mark}", score))
    return marked


def recommend_for(model: Recommender, given: Ratings, order: Any = None) -> tuple[Table, Table, str]:
    """Return a visitor's ratings and recommendations as tables, and an explanation of the first one as HTML.

    What the newest rating has changed in the recommendations is marked, if it is known which one that is.

    Args:
        model: the model.
        given: the ratings.
        order: the ids of the movies that were rated on this page as text, the newest rating first; those of a link or
            of an earlier visit are not among them.

    Raises:
        BadInput: a movie is unknown, or stars lie outside the scale.
    """
    ordered = put_in_order(given, order)
    visitor = model.fold_in({} if ordered is None else ordered)
    rated = [(movie_id, model.movies[movie_id].title, value) for movie_id, value in visitor.ratings.items()]
    best = before = model.recommend(visitor, 10)
    if isinstance(order, list) and order[:1] == list(ordered or {})[:1]:
        before = model.recommend(model.fold_in(dict(islice(visitor.ratings.items(), 1, None))), 10)
    tables = (make_scores_table(model, scored, model.config.unit) for scored in (rated, mark_changes(before, best)))
    return *tables, explain_first(model, visitor, best)


def add_map(model: Recommender) -> gr.ScatterPlot:
    """Add a map of the best known movies, coloured by first genre; movies without a position are left out."""
    one, many = model.config.item
    gr.Markdown(f"The best known {escape_markdown(many)}. Those that the same people like are mostly close together.")
    mapped = [movie for movie in find_best_known(model) if not math.isnan(movie.x)]
    genre = "kind" if model.config.is_own else "genre"
    first = Counter(movie.genres[0] for movie in mapped)
    colours = dict(zip([name for name, _ in first.most_common(len(COLOURS))], COLOURS, strict=False))
    if len(first) > len(colours):
        colours |= {"other": OTHER}
    table = pd.DataFrame(
        {
            "x": [movie.x for movie in mapped],
            "y": [movie.y for movie in mapped],
            one: [movie.title for movie in mapped],
            genre: [movie.genres[0] if movie.genres[0] in colours else "other" for movie in mapped],
        }
    )
    plot = gr.ScatterPlot(
        table, x="x", y="y", color=genre if len(first) > 1 else None, color_map=colours, colors_in_legend=[],
        tooltip=[one, genre], x_title=" ", y_title=" ", label=f"Map of {many}", x_axis_labels_visible=False,
        x_lim=add_margin(table["x"]), y_lim=add_margin(table["y"]),
    )  # fmt: skip
    if len(first) > 1:
        gr.HTML(draw_legend(colours), label="Legend")  # the plot's own is cut on a phone
    return plot


def add_margin(values: pd.Series) -> list[float] | None:
    """Return the range of some values with a margin of a twentieth on both sides, so that no dot is cut, if any."""
    if values.empty:
        return None
    low, high = float(values.min()), float(values.max())
    return [low - (high - low) / 20, high + (high - low) / 20]


def draw_legend(colours: Mapping[str, str]) -> str:
    """Return a legend as HTML: each name with a dot of its colour."""
    return "".join(
        f'<span class="dot" style="--colour: {colour}">{escape(name)}</span> ' for name, colour in colours.items()
    )


def add_link(
    model: Recommender, tabs: gr.Tabs, places: Sequence[gr.Tab], ratings: gr.JSON, user: Any, movie: gr.Dropdown
) -> Callable[..., Any]:
    """Add a button to two tabs that copies a link with the ratings, the user and the movie; see share.add_link.

    The link also has the number of the open tab, and opens it again.
    """
    opened = share.number_tabs(tabs)
    inputs = {"ratings": ratings, "movie": movie, "tab": opened, **({"user": user} if model.config.users else {})}
    with places[1]:
        share.add_copy(inputs)
    with places[0]:
        return share.add_link(inputs, tabs=tabs)


def add_newcomers(model: Recommender) -> None:
    """Add a plot and a table of the prediction error by number of rated movies, if it was measured."""
    newcomers = model.metrics and model.metrics.newcomers
    if not newcomers:
        return
    group, below, config = newcomers.groups[-1], newcomers.popularity_below, model.config
    one, many = config.item
    table = pd.DataFrame(
        {
            f"{many} rated": [point.given for point in group.curve],
            f"off by, in {config.unit}": [round(point.value**0.5, 2) for point in group.curve],
            "from averages alone": [round(point.popularity_value**0.5, 2) for point in group.curve],
        }
    )
    one, many = map(escape_markdown, config.item)
    first = f" Until you have rated {below} {many}, you get predictions from averages." if below else ""
    if below == 1:
        first = " Until you have rated anything, you get predictions from averages."
    whose = "" if config.is_own else " MovieLens"
    gr.Markdown("### For a newcomer, by how much they have rated")
    gr.Markdown(
        f"Measured on {group.users}{whose} users who were held out of training. "
        f"The model got a few ratings of each user and predicted {group.ratings:,} of their other ratings. "
        '"Off by" is the root mean squared '
        f"error, with the same weight for every user. Predictions from averages use the {one}'s average rating and "
        f"the user's generosity.{first}"
    )
    shown = table.rename(columns={table.columns[1]: "this model"})
    lines = shown.melt(table.columns[0], var_name="predictions", value_name=table.columns[1])
    gr.LinePlot(
        lines, x=table.columns[0], y=table.columns[1], color="predictions", height=260, label="Newcomers",
        show_label=False,
    )  # fmt: skip
    gr.Dataframe(table.style.format(precision=2), interactive=False, wrap=True)


def explain_first(model: Recommender, visitor: Visitor, best: Scored) -> str:
    """Return the parts of the first recommendation's rating as HTML, the largest first."""
    if not best:
        return ""
    movie_id, title, _ = best[0]
    parts = model.explain(visitor, movie_id).contributions
    ordered = sorted(parts.items(), key=lambda part: -abs(part[1]))[:8]
    largest = {label: value for label, value in ordered if round(value, 2)}
    return draw_signed_bars(f"Why {title} comes first, in {model.config.unit}:", largest, "{:+.2f}".format)


def explain_rating(model: Recommender, why: RecommenderExplanation) -> str:
    """Return the parts of a predicted rating as HTML: base + parts, before it is clipped to the scale."""
    total = why.base + sum(why.contributions.values())
    is_cut = not model.config.lowest < total < model.config.highest
    cut = f", limited by the scale to {format_stars(model, why.rating)}" if is_cut else ""
    total = total if is_cut else why.rating
    base, reached = format_stars(model, why.base), format_stars(model, total)
    title = f"Start at {base}, the average, then add the parts below. That makes {reached}{cut}:"
    return draw_signed_bars(title, add_up(why.contributions, why.base, total, 2), "{:+.2f}".format)
