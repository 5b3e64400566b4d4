"""Read a user's own ratings, and the titles and kinds of what is rated, from tables; check and describe them."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.errors import quote
from shared.text import drop_zeros, parse_number
from training.data import OWN_TEST, DataError
from training.own_data.column_types import parse_times
from training.own_data.columns import find_column, find_usual, list_columns
from training.own_data.labels import clean_label, describe_alike
from training.own_data.options import DataOptions
from training.own_data.problems import Problems
from training.own_data.tables import (
    DIVISIONS,
    IS_VALID,
    OwnTable,
    list_tables,
    name_data,
    read_division,
    read_own_table,
)
from training.ratings import newcomers
from training.ratings.movies import Ratings
from training.sentences import list_names, print_lines
from training.splitting import TEST, TRAIN, print_split, split_by_time

WITH_YEAR = re.compile(r"\(\d{4}\)$")
USERS = (
    "userid", "user_id", "user-id", "user id", "user", "reader", "readerid", "reader_id", "customer", "customerid",
    "customer_id", "reviewerid", "reviewer_id", "reviewer", "member", "person", "uid", "username", "kunde", "nutzer",
    "e-mail", "email", "mail",
)  # fmt: skip
ITEMS = (
    "itemid", "item_id", "item-id", "item id", "item", "movieid", "movie_id", "movie", "bookid", "book_id", "book",
    "isbn", "productid", "product_id", "product", "asin", "songid", "song_id", "song", "gameid", "game_id", "game",
    "iid", "id", "artikel", "produkt", "title", "name",
)  # fmt: skip
RATINGS = (
    "rating", "ratings", "stars", "star_rating", "score", "points", "book-rating", "user_rating", "overall", "grade",
    "value", "note", "bewertung", "punkte", "sterne",
)  # fmt: skip
TITLES = ("title", "name", "item_name", "product_name", "book-title", "book_title", "movie_title", "titel")
KINDS = ("genres", "genre", "categories", "category", "tags", "tag", "kinds", "kind")
YEARS = ("year", "year-of-publication", "publication_year", "original_publication_year", "release_year", "jahr")
TIMES = ("time", "timestamp", "date", "created_at", "zeit", "datum")  # read if --time names one
MANY_YEARS = 0.2  # share of titles with several years from which they are years of the ratings, not of the items
ITEM_FILES = ("items", "movies", "books", "products", "songs", "games")
MIN_RATINGS = 100
MAX_RATINGS = 1_000_000  # of more, those of a sample of the users are read
MANY = 50  # users with more than 10 ratings each, by whom newcomers are measured if there are so many
MANY_UNRATED = 0.1  # share of a lowest rating that may mean "not rated"
SPREAD = 1.058  # standard deviation of MovieLens' stars, for which the recipe was tuned
FEWEST_STEPS = 100  # in a scale without regular steps


def read_own_ratings(data: Path, own: DataOptions, seed: int, folds: int) -> Ratings:
    """Read and check a user's own ratings, and print what was understood.

    Args:
        data: a table; or a folder with ratings.csv and perhaps items.csv, movies.csv or the like.
        own: the options that say how to read it.
        seed: determines the sample, if there are too many ratings, and the split.
        folds: number of folds for measuring.

    Raises:
        DataError: the data cannot be used.
    """
    if own.group:
        raise DataError("--group is not for ratings, whose users are held out whole anyway; leave it out.")
    path, items_path = find_tables(data, own)
    problems = Problems(data, own.skip_bad, "ratings")
    table = read_own_table(path, problems, partial(choose_columns, path, own, items_path is None))
    user, item, rating, time = find_columns(path, own, table.columns)
    print(f"{path.name}: users are in the column {user}, items in {item}, ratings in {rating}.")
    if not items_path:
        table = add_years(table, item)
    ratings = read_rows(table, (user, item, rating), parse_scale(own.scale), problems)
    ratings = add_parts(ratings, table, (user, item, rating, time), problems)
    if time:
        cells, places = table.table[time].iloc[ratings.index], ratings.index
        ratings["time"] = parse_times(cells, time, lambda row: table.name_place(places[row]), problems)
        ratings = ratings.dropna(subset="time").sort_values("time", kind="stable")
    if problems.count:
        problems.settle_with(lambda: check_ratings(ratings, path))
    ratings = sample_users(drop_copies(ratings, time), seed)
    for column, name in ((user, "user"), (item, "movie")):
        print_lines(describe_alike(sorted(ratings[name].unique()), f"values of {column}"))
    check_ratings(ratings, path)
    items = read_items(items_path, own) if items_path else (table, item)
    described = describe_items(*items, ratings["movie"].unique(), is_named=items_path is not None)
    unit = float(ratings["rating"].std()) / SPREAD
    lowest, highest = parse_scale(own.scale) or (ratings["rating"].min(), ratings["rating"].max())
    step = find_step(ratings["rating"], lowest, highest)
    how = "as given" if own.scale else "as found; --scale LOW,HIGH names another"
    print(
        f"{len(ratings):,} ratings of {ratings['user'].nunique():,} users for {len(described):,} items, from "
        f"{lowest:g} to {highest:g} in steps of {step:g} ({how})."
    )
    print_lines(describe_unrated(ratings["rating"]) if not own.scale else ())
    is_test, split = find_test(ratings, folds)
    counts = ratings["user"].value_counts()
    least = (10, 50) if (counts > 10).sum() >= MANY else (3,)
    newcomers.check_enough(ratings, folds, seed, least[0], (path.name, "items"))
    ratings["rating"] /= unit
    return Ratings(
        ratings.assign(in_sample=True)[["user", "movie", "rating", "in_sample"]],
        described,
        name_data(data),
        next(iter(sorted(data.glob("README*"))), None) if data.is_dir() else None,
        lowest=lowest / unit,
        highest=highest / unit,
        step=step / unit,
        unit=unit,
        is_own=True,
        held_out=is_test,
        split=split,
        least=least,
    )


# --- files and columns ---


def find_tables(data: Path, own: DataOptions) -> tuple[Path, Path | None]:
    """Return the table of ratings, and that of the items if there is one.

    Raises:
        DataError: a folder has none.
    """
    items = Path(own.items) if own.items else None
    if not data.is_dir():
        return data, items
    tables = {stem: path for path, stem in list_tables(data).items()}
    if "ratings" not in tables:
        raise DataError(f"There is no ratings.csv in {data}; name the table of ratings itself with --data.")
    return tables["ratings"], items or next((tables[stem] for stem in ITEM_FILES if stem in tables), None)


def find_columns(path: Path, own: DataOptions, columns: Sequence[str]) -> tuple[str, str, str, str | None]:
    """Return the columns of users, items, ratings and, if --time names one, times.

    Raises:
        DataError: one is missing, or two of the first three are the same.
    """
    others = (*TITLES, *KINDS, *YEARS, *TIMES)
    needed = {
        "users": (own.user_column, USERS, "--user-column", (*ITEMS, *RATINGS, *others)),
        "ratings": (own.rating_column, RATINGS, "--rating-column", (*USERS, *ITEMS, *others)),
        "items": (own.item_column, ITEMS, "--item-column", (*USERS, *RATINGS, *others)),
    }
    columns_of: dict[str, str] = {}
    problems: dict[str, DataError] = {}
    for what, (asked, usual, option, used) in needed.items():
        taken = {name.strip().casefold() for name in columns_of.values()}
        left = [name for name in usual if name not in taken]
        try:
            columns_of[what] = find_column(columns, asked, left, option, path, used)
        except DataError as error:
            problems[what] = error
    if problems:
        there = list_columns(columns)
        said = [str(error).removesuffix(f" {there}") for error in problems.values()]
        why = " Without users, ratings do not show what goes together." if "users" in problems else ""
        raise DataError(f"{' '.join(said)} {there}{why}")
    user, rating, item = columns_of.values()
    found = (user, item, rating)
    if len(set(found)) < len(found):
        raise DataError(
            f"Users, items and ratings of {path} cannot be in one column ({list_names(found)}); name them with "
            "--user-column, --item-column and --rating-column."
        )
    return *found, find_column(columns, own.time, (), "--time", path) if own.time else None


def choose_columns(path: Path, own: DataOptions, describes_items: bool, columns: Sequence[str]) -> list[str]:
    """Return the columns of ratings to read; those that describe items only if no other table does."""
    found = [name for name in find_columns(path, own, columns) if name]
    found += [name for name in columns if name.casefold() in (IS_VALID, *DIVISIONS)]
    return found + find_descriptions(columns) * describes_items


def find_descriptions(columns: Sequence[str]) -> list[str]:
    """Return the columns with the usual names of titles, kinds and years."""
    return [name for name in columns if name.strip().casefold() in (*TITLES, *KINDS, *YEARS)]


def parse_scale(text: str | None) -> tuple[float, float] | None:
    """Return the lowest and highest rating of "LOW,HIGH".

    Raises:
        DataError: it is something else.
    """
    if text is None:
        return None
    low, high = ([parse_number(part) for part in text.split(",")] + [np.nan] * 2)[:2]
    if text.count(",") != 1 or not low < high:
        raise DataError(f"--scale must be two numbers, the lower one first, such as 1,10, not {quote(text)}.")
    return low, high


def read_rows(
    table: OwnTable, columns: Sequence[str], scale: tuple[float, float] | None, problems: Problems
) -> pd.DataFrame:
    """Return user, item and rating of the rows; one that lacks any, or is off the scale, is a problem, and left out.

    Users and items are categories: twenty million ratings have few.
    """
    user, item, text = (clean_cells(table.table[name]) for name in columns)
    values = np.array([parse_number(rating) for rating in text.categories])
    lowest, highest = scale or (-np.inf, np.inf)
    is_bad = (~(np.isfinite(values) & (lowest <= values) & (values <= highest)))[text.codes]
    for cells in (user, item):
        is_bad |= (cells.categories == "")[cells.codes]
    for row in np.flatnonzero(is_bad).tolist():
        given, value = text[row], values[text.codes[row]]
        if not (user[row] and item[row]):
            sentence = f"The {'item' if user[row] else 'user'} is missing."
        elif not np.isfinite(value):
            sentence = f"The rating is not a number: {quote(given)}." if given else "The rating is missing."
        else:
            sentence = f"The rating {value:g} is outside the scale of {lowest:g} to {highest:g}."
        problems.add(table.name_place(row), sentence)
    found = pd.DataFrame({"user": user, "movie": item, "rating": values[text.codes]}, copy=False)
    return found[~is_bad] if is_bad.any() else found


def add_parts(
    ratings: pd.DataFrame, table: OwnTable, columns: Sequence[str | None], problems: Problems
) -> pd.DataFrame:
    """Return ratings with the part of each, if a column divides them; a row of no part is a problem, and left out.

    Args:
        ratings: those of the table that can be used, by their row in it.
        table: the table.
        columns: those of users, items, ratings and times; None for the last if --time does not divide the ratings.
        problems: takes the problems of rows.
    """
    division = read_division(table.table, f"--time {columns[-1]} divides the rows" if columns[-1] else "", columns)
    print_lines(division.lines)
    for row, sentence in division.bad.items():
        problems.add(table.name_place(row), sentence)
    if not division.parts:
        return ratings
    parts = np.array(division.parts, dtype=object)[ratings.index]
    return ratings.assign(part=parts)[parts != ""]


def find_test(ratings: pd.DataFrame, folds: int) -> tuple[NDArray[np.bool_] | None, str]:
    """Return which ratings are the test, None if times or parts do not tell, and what the test is; print given parts.

    Args:
        ratings: those that are used, with their times or parts, if they have any.
        folds: the latest of so many parts is the test, if there are times.
    """
    if "time" in ratings:
        return np.array(split_by_time(ratings["time"].tolist(), {TEST: 1 / folds})) == TEST, "latest fifth"
    is_test = ratings["part"].to_numpy() == TEST if "part" in ratings else np.zeros(len(ratings), np.bool_)
    if not is_test.any():
        return None, ""
    print_split({TRAIN: ratings[~is_test], TEST: ratings[is_test]}, [TEST])
    return is_test, OWN_TEST


def clean_cells(cells: pd.Series) -> pd.Categorical:
    """Return cells with single spaces; of whole numbers only, without the decimals that pandas may write."""
    spaced = [" ".join(text.split()) for text in cells.cat.categories]
    whole = [*map(drop_zeros, spaced)]
    are_whole = all(text.lstrip("+-").isdecimal() for text in whole if text)
    codes, texts = pd.factorize(np.array(whole if are_whole else spaced, dtype=object))
    return pd.Categorical.from_codes(codes.astype(np.int32)[cells.cat.codes], pd.Index(texts, dtype=object))


# --- checks ---


def drop_copies(ratings: pd.DataFrame, time: str | None) -> pd.DataFrame:
    """Return the last rating of each user and item; print how many were left out."""
    pairs = ratings["user"].cat.codes.astype(np.int64) * len(ratings["movie"].cat.categories)
    is_copy = (pairs + ratings["movie"].cat.codes).duplicated(keep="last")
    if is_copy.any():
        last = f"the latest by {time}" if time else "the last in the file"
        print(f"Rated again by the same user: {is_copy.sum():,} ratings left out, {last} counts.")
    return ratings[~is_copy]


def sample_users(ratings: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return all ratings, or those of a random sample of users if there are more than MAX_RATINGS.

    Users and items become texts.
    """
    if len(ratings) > MAX_RATINGS:
        counts = ratings["user"].cat.remove_unused_categories().value_counts()
        counts = counts.set_axis(counts.index.astype(object)).sort_index().sample(frac=1, random_state=seed)
        users = counts.index[counts.cumsum() <= MAX_RATINGS]
        print(
            f"Of {len(ratings):,} ratings, those of {len(users):,} users drawn at random are used, out of "
            f"{len(counts):,}: training takes at most {MAX_RATINGS:,} ratings."
        )
        ratings = ratings[ratings["user"].isin(users)]
    return ratings.astype({"user": object, "movie": object}).reset_index(drop=True)


def check_ratings(ratings: pd.DataFrame, path: Path) -> None:
    """Check that there are enough ratings, and different ones.

    Raises:
        DataError: there are not.
    """
    if len(ratings) < MIN_RATINGS:
        raise DataError(
            f"{path} has {len(ratings)} rating{'s' * (len(ratings) != 1)} that can be used; at least {MIN_RATINGS} are "
            "needed."
        )
    if ratings["rating"].nunique() == 1:
        raise DataError(
            f"All ratings of {path} are {ratings['rating'].iloc[0]:g}, so there is nothing to predict; is another "
            "column meant? Name it with --rating-column."
        )


def describe_unrated(ratings: pd.Series) -> list[str]:
    """Return a warning of 0 or -1 that may mean "not rated": it is frequent, and the next rating is far or rare."""
    shares = ratings.value_counts(normalize=True).sort_index()
    if len(shares) < 3 or shares.index[0] not in (0, -1) or shares.iloc[0] < MANY_UNRATED:
        return []
    steps = np.diff(shares.index)
    if steps[0] <= steps[1:].min() and shares.iloc[1] > shares.iloc[0] / 10:
        return []
    return [
        f'Warning: {shares.iloc[0]:.0%} of the ratings are {shares.index[0]:g}. If that means "not rated", --scale '
        f"{shares.index[1]:g},{shares.index[-1]:g} with --skip-bad leaves them out."
    ]


def find_step(ratings: pd.Series, lowest: float, highest: float) -> float:
    """Return the difference between neighbouring ratings; without regular steps, a hundredth of the scale."""
    values = np.unique(ratings)
    step = float(np.round(np.diff(values).min(), 6))
    steps = (values - lowest) / step if step else np.array([0.5])
    regular = np.allclose(steps, steps.round(), atol=1e-3) and (highest - lowest) / step <= FEWEST_STEPS
    return step if regular else (highest - lowest) / FEWEST_STEPS


# --- items ---


def read_items(path: Path, own: DataOptions) -> tuple[OwnTable, str]:
    """Return the table of the items, and the column of their ids."""
    problems = Problems(path, own.skip_bad, "items")

    def find_item(columns: Sequence[str]) -> str:
        asked = own.item_column if own.item_column in columns else None
        return find_column(columns, asked, ITEMS, "--item-column", path)

    table = read_own_table(path, problems, lambda columns: [find_item(columns), *find_descriptions(columns)])
    problems.settle()
    return table, find_item(table.columns)


def add_years(table: OwnTable, item: str) -> OwnTable:
    """Return ratings where a title that has several years is an item with each, such as "Batman (1966)".

    A row of such a title without a year keeps the title alone. If many titles have several years, those are the years
    of the ratings, and the items stay as they are.

    Args:
        table: the ratings.
        item: the column of the items.
    """
    year = find_usual(table.columns, YEARS)
    if not year or item.strip().casefold() not in TITLES:
        return table
    names, cells = clean_cells(table.table[item]), table.table[year].cat
    when = np.array([parse_number(text) for text in cells.categories])[cells.codes]
    when = np.where((when >= 1000) & (when <= 2999), when, 0).astype(np.int64)
    pairs = pd.DataFrame({"name": names.codes, "year": when})
    found = pairs[pairs["year"] > 0].groupby("name")["year"].agg(["size", "nunique"])
    several = found.index[found["nunique"] > 1]
    if not 0 < len(several) <= MANY_YEARS * (found["size"] > 1).sum():
        return table
    apart = set(several.tolist())
    codes, unique = pd.factorize(pairs["name"].astype(np.int64) * 10_000 + pairs["year"])
    texts = []
    for name, number in (divmod(number, 10_000) for number in unique.tolist()):
        title, end = names.categories[name], f" ({number})"
        texts.append(title + end if number and name in apart and not title.endswith(end) else title)
    shown = [text for text, number in zip(texts, unique.tolist(), strict=True) if number // 10_000 == several[0]]
    print(
        f"{len(several):,} titles in {item} have several years in {year}, so each of these years is an item, such as "
        f"{' and '.join(sorted(shown)[-2:])}."
    )
    again, different = pd.factorize(np.array(texts, dtype=object))
    joined = pd.Categorical.from_codes(again[codes], pd.Index(different, dtype=object))
    return replace(table, table=table.table.assign(**{item: joined}))


def fill_descriptions(table: OwnTable, items: NDArray[np.intp]) -> OwnTable:
    """Return ratings where an empty title, kind or year is the first one that the same item has elsewhere.

    A column stays as it is if most items have it once at most: it may describe the rating, or the user.

    Args:
        table: the ratings.
        items: the number of the item of each row, from 0.
    """
    filled = {}
    for name in find_descriptions(table.columns):
        cells = table.table[name].cat
        is_empty = np.array([not text.strip() for text in cells.categories])[cells.codes]
        rows = np.flatnonzero(~is_empty)[::-1]
        found = np.bincount(items[rows])
        if 2 * (found > 1).sum() <= (found > 0).sum():
            continue
        first = np.full(items.max() + 1, -1)
        first[items[rows]] = rows  # of several rows of an item, the last assigned is its first
        source = np.where(is_empty & (first[items] >= 0), first[items], np.arange(len(items)))
        filled[name] = table.table[name].take(source).set_axis(table.table.index)
    return replace(table, table=table.table.assign(**filled))


def find_constant(table: OwnTable, same: NDArray[np.intp]) -> list[str]:
    """Return the columns of ratings that describe the items, and print which others have a usual name.

    Those differ between ratings of one item: they describe the rating, or the user, whose name must not be published.

    Args:
        table: the ratings.
        same: for each row, the first row of the same item.
    """
    columns = find_descriptions(table.columns)
    codes = {name: table.table[name].cat.codes.to_numpy() for name in columns}
    other = [name for name in columns if (codes[name] != codes[name][same]).any()]
    if other:
        print(f"Not of the items, because it differs between ratings of the same item: {list_names(other)}.")
    return [name for name in columns if name not in other]


def describe_items(table: OwnTable, item: str, rated: Collection[str], is_named: bool) -> pd.DataFrame:
    """Return title and genres of the rated items, by id; the first row of each counts.

    Args:
        table: a row for each item, or the ratings themselves.
        item: the column of their ids.
        rated: the ids of the rated items.
        is_named: the table is one of items, which is expected to describe all of them once.

    Raises:
        DataError: the table has none of them.
    """
    ids = clean_cells(table.table[item])
    if not is_named:
        table = fill_descriptions(table, ids.codes)
    rows = pd.Series(ids.codes).drop_duplicates()  # the first of each item
    cells = table.table.iloc[rows.index].astype(object).to_dict("records")
    first = dict(zip(ids.categories[rows], cells, strict=True))
    columns = table.columns if is_named else find_constant(table, rows.sort_values().index.to_numpy()[ids.codes])
    title, kinds, year = (find_usual(columns, usual) for usual in (TITLES, KINDS, YEARS))
    unknown = set(rated) - set(first)
    if is_named:
        if len(unknown) == len(rated):
            raise DataError(f"No item of the ratings is in the column {item} of {table.path}; is it the right one?")
        found = {"ids": item, "titles": title, "kinds": kinds, "years": year}
        print(f"{table.path.name}: {list_names(f'{what} in {name}' for what, name in found.items() if name)}.")
        counts = {
            "rows repeat an item; the first counts": len(table.table) - len(first),
            "items that nobody rated are left out": len(set(first) - set(rated)),
            "rated items are not in it; their ids stand in for titles": len(unknown),
        }
        print_lines((f"{count:,} {what}." for what, count in counts.items() if count))

    titles, genres = [], []
    untitled = 0
    for name in (names := sorted(rated)):
        row = first.get(name, {})
        words = clean_label(row.get(title or "", ""))
        untitled += name in first and not words
        when = parse_number(row.get(year or "", ""))
        is_year = 1000 <= when <= 2999 and not WITH_YEAR.search(words)
        titles.append((words or name) + (f" ({when:.0f})" if is_year else ""))
        genres.append("|".join(part.strip() for part in row.get(kinds or "", "").split("|") if part.strip()))
    if title and untitled:
        print(f"{untitled:,} items have no title; their ids stand in for it.")
    return pd.DataFrame({"title": titles, "genres": genres}, index=pd.Index(names, name="movie"))
