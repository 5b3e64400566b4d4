"""Recommendation: a linear Gaussian factor model of ratings; it speaks of movies, which may be any items.

A movie i has a mean m_i, a row of factors A_i and a noise variance n_i. A person is a vector w with prior N(0, 1),
whose rating is distributed as N(m_i + A_i w, n_i). (Probabilistic factor analysis: Tipping and Bishop, "Probabilistic
Principal Component Analysis", JRSS B 61, 1999.) The last factors of a movie are uncertain, with variances S_i.
A new visitor needs no training: the posterior mean of w is a ridge regression on their ratings,

    w = (1 + sum_i (A_i A_i' + S_i) / n_i)^-1  sum_i A_i (r_i - m_i) / n_i,

and every prediction is a sum over those ratings. See training/rating.py for how the tables are learned.

For visitors with fewer than `popularity_below` ratings, the prediction is the movie's average plus the visitor's
generosity (a bias model: Koren, Bell and Volinsky, "Matrix Factorization Techniques for Recommender Systems", IEEE
Computer 42(8), 2009). metrics.json compares the two methods.
"""

import csv
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from numbers import Integral
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, model_validator

from .config import GalleryConfig, explain_damage
from .errors import BadInput, CheckpointError, quote
from .movies import ITEMS, MOVIES, Id, TitleIndex, read_movies
from .predictor import Prediction, Predictor
from .session import Shapes
from .text import drop_zeros, is_like_number, normalise_name, parse_number, parse_whole, suggest_number
from .visitors import GENEROSITY_RIDGE, Visitor, estimate_generosity, place_visitor

Scored = list[tuple[Id, str, float]]
PERSON_FACTORS = 2  # the first factors describe how a person rates (generosity, spread); the others, their taste
RATINGS = "ratings.csv"


class RecommenderConfig(GalleryConfig):
    """gallery.json of a rating model; movies.csv or items.csv lists the movies in the order of the model's rows.

    Predictions for visitors with fewer than `popularity_below` ratings use the averages in that file, and movies with
    fewer than `min_ratings` ratings are not recommended. A model with items.csv, of a user's own data, has text ids,
    and may have no users: then it only knows visitors. `item` is the noun for a movie (singular and plural), `unit`
    that for stars, and `step` the difference between neighbouring ratings.
    """

    users: tuple[Id, ...]
    lowest: float
    highest: float
    popularity_below: Annotated[int, Field(ge=0)] = 0
    min_ratings: Annotated[int, Field(ge=0)] = 20
    item: tuple[str, str] = ("movie", "movies")
    unit: str = "stars"
    step: Annotated[float, Field(gt=0)] = 0.5

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        if self.lowest >= self.highest:
            raise ValueError("lowest must be below highest")
        needed = (MOVIES, RATINGS) if not self.is_own else (RATINGS,) if self.users else ()
        if missing := [name for name in needed if name not in self.files]:
            raise ValueError(f"{missing[0]} is not listed")
        if not self.users and not self.is_own:
            raise ValueError("there are no users")
        return self

    @property
    def is_own(self) -> bool:
        """Whether it is a model of a user's own data."""
        return ITEMS in self.files


@dataclass(frozen=True)
class RecommenderPrediction(Prediction):
    """A predicted rating, in stars or another unit, within the scale (0.5 to 5)."""

    rating: float
    unit: str = "stars"

    def as_dict(self) -> dict[str, Any]:
        """Return the prediction as a JSON object."""
        return {"rating": self.rating}

    def as_row(self) -> dict[str, object]:
        """Return the prediction as cells of a CSV row."""
        return {f"predicted {self.unit}": round(self.rating, 3)}


@dataclass(frozen=True)
class RecommenderExplanation:
    """The parts of a rating: base + sum(contributions.values()) is the rating before it is clipped to the scale.

    For a user of the data set, the parts are the movie, the user's generosity and their taste; for a visitor, the
    movie and each of their ratings.
    """

    rating: float
    base: float
    contributions: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation as a JSON object."""
        return asdict(self)


class Recommender(Predictor[RecommenderConfig, tuple[Any, Any], RecommenderPrediction]):
    """A recommender: predicted ratings, recommendations and similar movies, for users and for new visitors.

    `movies` maps movie ids to movies; `titles` finds movies by title.
    """

    task = "recommendation"
    config_type = RecommenderConfig

    def __init__(self, folder: Any) -> None:
        super().__init__(folder)
        path = self.folder / (ITEMS if self.config.is_own else MOVIES)
        with explain_damage(path):
            self.movies = read_movies(path)
        self.titles = TitleIndex(self.movies, self.config.item[1])
        least = self.config.min_ratings
        self._suggested = [movie.movie_id for movie in self.movies.values() if movie.ratings >= least]
        self._movie_row = {movie_id: row for row, movie_id in enumerate(self.movies)}
        self._user_row = {user_id: row for row, user_id in enumerate(self.config.users)}
        names = ["means", "factors", "variances", "noise", "users"]
        tables = self.session.run_once(names, {"user": np.zeros(1, np.int64), "movie": np.zeros(1, np.int64)})
        self.session.check_finite(names, tables)
        tables = [table.astype(np.float64) for table in tables]
        self._means, self._factors, self._variances, self._noise, self._users = tables
        shapes = (len(self._means), len(self._factors), len(self._noise), len(self._variances), len(self._users))
        if shapes != (len(self.movies),) * 4 + (len(self.config.users) or 1,):  # without users, the average person
            raise CheckpointError(f"{self.folder}: the model, {path.name} and 'users' have different sizes.")
        self._averages = np.array([movie.average for movie in self.movies.values()])
        if self.config.popularity_below and not np.isfinite(self._averages).all():
            raise CheckpointError(f"{self.folder}: {path.name} has no 'average', which 'popularity_below' needs.")
        self._nobody = self.fold_in({})
        self._actual: dict[Id, dict[Id, float]] = {user: {} for user in self.config.users}
        if self.config.users:
            read = str if self.config.is_own else int
            path = self.folder / RATINGS
            with explain_damage(path), path.open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    self._actual[read(row["user_id"])][read(row[self.item_column])] = float(row["rating"])

    @property
    def shapes(self) -> tuple[Shapes, Shapes]:
        """The shapes of the model's inputs and outputs; see Session."""
        outputs: Shapes = {"rating": (None,), "means": (None,), "noise": (None,)}
        tables: Shapes = {"factors": (None, None), "variances": (None, None), "users": (None, None)}
        return {"user": (None,), "movie": (None,)}, {**outputs, **tables}

    def example(self) -> tuple[Id | None, Id]:
        """Return the first user, or None if there are no users, and the first movie: predict(*example())."""
        return next(iter(self.config.users), None), next(iter(self.movies))

    @property
    def item_column(self) -> str:
        """The name of the ids of movies in tables and JSON."""
        return "item_id" if self.config.is_own else "movie_id"

    @property
    def columns(self) -> tuple[str, ...]:
        """The required columns of a table: pairs, or movies only if there are no users."""
        return ("user_id", self.item_column) if self.config.users else (self.item_column,)

    def from_row(self, row: Mapping[str, str]) -> tuple[Any, Any]:
        """Return the (user, movie) pair of a table row; the user is None if there are no users."""
        return row.get("user_id"), row[self.item_column]

    def arguments(self, item: tuple[Any, Any]) -> list[Any]:
        """Return the user and the movie as a list."""
        return list(item)

    def find(self, movie: Any) -> Id:
        """Return the id of a movie given by id or title.

        A number is an id. A text is a title if a movie has it (see TitleIndex.find), else an id: "300" is the film of
        that name, 300 is a movie id, and "260" is an id as well.

        Raises:
            BadInput: there is no such movie (the message suggests similar titles), or several have the title.
        """
        if not isinstance(movie, str):
            return self._check_movie_id(movie)
        if (found := self.titles.find(movie)) is not None:
            return found
        if self._read_id(movie) in self.movies or is_like_number(movie):
            return self._check_movie_id(movie)
        near = self.titles.suggest(movie)
        hint = f"Did you mean {' or '.join(near)}?" if near else "Give the full title, as in the list."
        raise BadInput(f"No {self.config.item[0]} is called {quote(movie)}. {hint}")

    def predict(self, user_id: Any, movie_id: Any) -> RecommenderPrediction:  # type: ignore[override]
        """Predict the rating that a user of the data set, or a visitor, gives a movie.

        A model without users takes a visitor's ratings in place of a user; None is an average person.

        Raises:
            BadInput: the user or the movie is unknown.
        """
        if isinstance(user_id, Visitor):
            return self._answer(self._score_for_visitor(user_id, self._find_movie_row(movie_id)))
        answer = self._predict_all([(user_id, movie_id)])[0]
        if isinstance(answer, BadInput):
            raise answer
        return answer

    def _predict_all(self, items: Sequence[tuple[Any, Any]]) -> list[RecommenderPrediction | BadInput]:
        """Predict ratings for (user_id, movie_id) pairs as `predict` does; an unknown pair gets a BadInput."""
        answers: list[RecommenderPrediction | BadInput | None] = []
        pairs = []
        for item in items:
            try:
                is_list = isinstance(item, Sequence | np.ndarray) and getattr(item, "ndim", 1) > 0
                if not is_list or isinstance(item, str | bytes) or len(item) != 2:
                    raise BadInput(
                        f"Give a user and a {self.config.item[0]} as (user_id, {self.item_column}), not {quote(item)}."
                    )
                if self.config.users and not isinstance(item[0], Visitor):
                    pairs.append((self._find_user_row(item[0]), self._find_movie_row(item[1])))
                    answers.append(None)
                else:
                    answers.append(self.predict(self._find_person(item[0]), item[1]))
            except BadInput as error:
                answers.append(error)
        ratings: list[float] = []
        if pairs:
            users, movies = np.array(pairs, dtype=np.int64).T
            ratings = self.session.run(["rating"], {"user": users, "movie": movies})[0].tolist()
        found = iter(ratings)
        return [self._answer(next(found)) if answer is None else answer for answer in answers]

    def find_rating(self, user_id: Any, movie_id: Any) -> float | None:
        """Return the user's actual rating if the folder's sample of training ratings has it, else None.

        Raises:
            BadInput: the user or the movie is unknown.
        """
        if not self.config.users:
            return None
        return self._actual[self.config.users[self._find_user_row(user_id)]].get(self._check_movie_id(movie_id))

    def fold_in(self, ratings: Mapping[Any, Any]) -> Visitor:
        """Compute a visitor from {movie_id: stars}, in closed form; without ratings it is the average person.

        Raises:
            BadInput: a movie is unknown or rated twice, or stars are outside the scale.
        """
        if not isinstance(ratings, Mapping):
            raise BadInput(f"Ratings must be {{{self.config.item[0]} id: {self.config.unit}}}, not {quote(ratings)}.")
        given: dict[Id, float] = {}
        for movie_id, value in ratings.items():
            known = self._check_movie_id(movie_id)
            if known in given:
                raise BadInput(f"The {self.config.item[0]} {quote(movie_id)} is rated twice.")
            given[known] = self._check_stars(value)
        rows = np.array([self._movie_row[movie_id] for movie_id in given], dtype=np.int64)
        stars = np.array(list(given.values()), dtype=np.float64)
        vector, weights = place_visitor(
            self._means[rows], self._factors[rows], self._variances[rows], self._noise[rows], stars
        )
        return Visitor(ratings=given, vector=vector, weights=weights)

    def recommend(self, user_id: Any, k: int = 10) -> Scored:
        """Return the k movies with the highest predicted stars: [(movie_id, title, stars), ...].

        Movies that the visitor has rated, that the user has rated in the folder's sample, or that have fewer than
        `min_ratings` ratings are left out.
        """
        person = self._find_person(user_id)
        if isinstance(person, Visitor):
            scores, seen = self._score_for_visitor(person, slice(None)), set(person.ratings)
        else:
            scores = self._means + self._factors @ self._users[person]
            seen = set(self._actual[self.config.users[person]])
        ids = [movie_id for movie_id in self._suggested if movie_id not in seen]
        rows = [self._movie_row[movie_id] for movie_id in ids]
        best = np.argsort(-scores[rows], kind="stable")[: self._check_count(k)]
        return [(ids[i], self.movies[ids[i]].title, self._clip(scores[rows[i]])) for i in best]

    def similar(self, movie_id: Any, k: int = 10) -> Scored:
        """Return the k movies with the most similar factors: [(movie_id, title, cosine similarity), ...].

        Movies with fewer than `min_ratings` ratings are left out.
        """
        taste = self._factors[:, PERSON_FACTORS:]
        lengths = np.linalg.norm(taste, axis=1) + 1e-12
        row = self._find_movie_row(movie_id)
        cosine = taste @ taste[row] / (lengths * lengths[row])
        ids = [other for other in self._suggested if self._movie_row[other] != row]
        scores = cosine[[self._movie_row[other] for other in ids]]
        return [
            (ids[i], self.movies[ids[i]].title, float(scores[i]))
            for i in np.argsort(-scores, kind="stable")[: self._check_count(k)]
        ]

    def explain(self, user_id: Any, movie_id: Any) -> RecommenderExplanation:
        """Return the parts that add up to a predicted rating.

        Raises:
            BadInput: the user or the movie is unknown.
        """
        row = self._find_movie_row(movie_id)
        person = self._find_person(user_id)
        by_popularity = isinstance(person, Visitor) and self._is_by_popularity(person)
        means = self._averages if by_popularity else self._means
        base = float(means.mean())
        parts = {f"the {self.config.item[0]}, for everybody": float(means[row]) - base}
        if isinstance(person, Visitor):
            rated = [self._movie_row[rated_id] for rated_id in person.ratings]
            surprises = np.array(list(person.ratings.values())) - means[rated]
            share = 1 / (len(rated) + GENEROSITY_RIDGE) if by_popularity else person.weights @ self._factors[row]
            for rated_id, part in zip(person.ratings, surprises * share, strict=True):
                given, unit = person.ratings[rated_id], self.config.unit
                unit = "star" if unit == "stars" and given == 1 else unit
                parts[f"{self.movies[rated_id].title}: {given:g} {unit}"] = float(part)
        else:
            vector = self._users[person]
            parts["how this user rates in general"] = float(
                self._factors[row, :PERSON_FACTORS] @ vector[:PERSON_FACTORS]
            )
            parts["this user's taste"] = float(self._factors[row, PERSON_FACTORS:] @ vector[PERSON_FACTORS:])
        return RecommenderExplanation(self._clip(base + sum(parts.values())), base, parts)

    def _is_by_popularity(self, visitor: Visitor) -> bool:
        return len(visitor.ratings) < self.config.popularity_below

    def _score_for_visitor(self, visitor: Visitor, rows: Any) -> Any:
        if self._is_by_popularity(visitor):
            rated = [self._movie_row[movie_id] for movie_id in visitor.ratings]
            stars = np.array([*visitor.ratings.values()])
            return self._averages[rows] + estimate_generosity(self._averages[rated], stars)
        return self._means[rows] + self._factors[rows] @ visitor.vector

    def _find_person(self, user: Any) -> int | Visitor:
        """Return a visitor, or the row of a user; a model without users takes ratings in place of a user."""
        if isinstance(user, Visitor):
            return user
        if self.config.users:
            return self._find_user_row(user)
        return self._nobody if user is None else self.fold_in(user)

    def _find_user_row(self, user_id: Any) -> int:
        row = self._user_row.get(self._read_id(user_id))
        if row is None:
            users = self.config.users
            if user_id is None or (isinstance(user_id, str) and not user_id):
                raise BadInput(f"Give a user, such as {users[0]}.")
            those = f"such as {users[0]}" if self.config.is_own else f"{min(users)} to {max(users)}"
            raise BadInput(f"There is no user {quote(user_id)}; users are {those}.{suggest_number(user_id)}")
        return row

    def _check_movie_id(self, movie_id: Any) -> Id:
        known = self._read_id(movie_id)
        if known not in self.movies:
            by_title = self._find_title(movie_id)
            if by_title is not None:
                return by_title
            unknown = f"There is no {self.config.item[0]} {quote(movie_id)}"
            if isinstance(known, str) and (near := self._by_name.get(normalise_name(known))):
                raise BadInput(f"{unknown}. Did you mean {near}?")
            first = next(iter(self.movies.values()))
            title = "" if first.title == first.movie_id else f" for {first.title}"
            those = "ids are those of the ratings" if self.config.is_own else "movie ids are those of MovieLens"
            raise BadInput(f"{unknown}; {those}, such as {first.movie_id}{title}.{suggest_number(movie_id)}")
        return known

    def _find_title(self, text: Any) -> Id | None:
        """Return the movie with this title, or None; a number is never a title here.

        Similar titles are not looked for, which takes up to half a second: there may be 100,000 texts.

        Raises:
            BadInput: several movies have it.
        """
        return self.titles.find(text) if isinstance(text, str) and not is_like_number(text) else None

    @cached_property
    def _by_name(self) -> dict[str, Id]:
        """Ids that are texts, by their form without case."""
        return {normalise_name(movie_id): movie_id for movie_id in self.movies if isinstance(movie_id, str)}

    def _read_id(self, value: Any) -> Id:
        """Return an id as in the tables, which may be unknown: a whole number, or a text in models of own data."""
        if not self.config.is_own:
            return parse_whole(value)
        if isinstance(value, str):
            text = " ".join(value.split())
            return text if text in self._user_row or text in self._movie_row else drop_zeros(text)
        if not isinstance(value, bool) and isinstance(value, Integral):  # a float would round large ids
            with suppress(ValueError):  # str() refuses thousands of digits
                return str(int(value))
        number = parse_number(value)
        return str(int(number)) if number.is_integer() else ""

    def _find_movie_row(self, movie_id: Any) -> int:
        return self._movie_row[self._check_movie_id(movie_id)]

    def _check_stars(self, value: Any) -> float:
        low, high = self.config.lowest, self.config.highest
        stars = parse_number(value)
        if not low <= stars <= high:
            raise BadInput(f"A rating must be {low:g} to {high:g} {self.config.unit}, not {quote(value)}.")
        return stars

    def _check_count(self, k: Any) -> int:
        count = parse_whole(k)
        if not 1 <= count <= 100:
            raise BadInput(f"The number of {self.config.item[1]} must be 1 to 100, not {quote(k)}.")
        return count

    def _answer(self, stars: Any) -> RecommenderPrediction:
        return RecommenderPrediction(self._clip(stars), self.config.unit)

    def _clip(self, stars: Any) -> float:
        return float(min(max(stars, self.config.lowest), self.config.highest))
