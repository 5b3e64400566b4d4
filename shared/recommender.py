"""How would somebody rate a movie? A linear Gaussian factor model of MovieLens ratings.

A movie i has a mean m_i, a row of factors A_i and a noise variance n_i; a person is a vector w with prior
N(0, 1), and rates N(m_i + A_i w, n_i). (Probabilistic factor analysis: Tipping and Bishop, "Probabilistic
Principal Component Analysis", JRSS B 61, 1999.) The last factors of a movie are uncertain, with variances S_i.
A new visitor needs no training: the posterior mean of w is a ridge regression on what they rated,

    w = (1 + sum_i (A_i A_i' + S_i) / n_i)^-1  sum_i A_i (r_i - m_i) / n_i,

and every prediction is a sum over those ratings. training/rating.py says how the tables are learned.

A visitor with hardly any rating is predicted by what everybody gave a movie; metrics.json compares the two ways. Below
`popularity_below` ratings they get the movie's average, plus how much more generous than others they were (a bias
model: Koren, Bell and Volinsky, "Matrix Factorization Techniques for Recommender Systems", IEEE Computer 42(8), 2009).
"""

import csv
import difflib
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from .config import MODEL, GalleryConfig
from .errors import BadInput, CheckpointError, as_number, number_hint, quoted
from .predictor import Prediction, Predictor
from .text import plain

Vector = NDArray[np.float64]
Scored = list[tuple[int, str, float]]
PERSON = 2  # the first factors say how somebody rates (generosity, width of the scale); the others, what
GENEROSITY_RIDGE = 5  # so many ratings with no surprise are added to a visitor's, when their generosity is estimated
LONGEST_TITLE = 200  # characters of what somebody looks for
YEAR = re.compile(r" \(\d{4}[-\d]*\)( \[\d+\])?$")  # at the end of a title
ARTICLE = re.compile(r"^(the|an?) ")
LAST_ARTICLE = re.compile(r"^([^(]*), (the|an?)( \(.*)?$")
FEWEST_RATINGS = 20  # of movies that fewer people rated too little is known to suggest them


class RecommenderConfig(GalleryConfig):
    """gallery.json of a rating model; movies are in movies.csv, in the order of the model's rows.

    Visitors with fewer than `popularity_below` ratings are answered from the averages in movies.csv.
    """

    users: Annotated[tuple[int, ...], Field(min_length=1)]
    lowest: float
    highest: float
    popularity_below: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True)
class RecommenderPrediction(Prediction):
    """Stars, between the lowest and highest rating of the scale (0.5 to 5)."""

    rating: float

    def as_dict(self) -> dict[str, Any]:
        """Return the answer as JSON has it."""
        return {"rating": self.rating}

    def as_row(self) -> dict[str, object]:
        """Return the answer as cells of a CSV."""
        return {"predicted stars": round(self.rating, 3)}


@dataclass(frozen=True)
class RecommenderExplanation:
    """Why: base + sum(contributions.values()) is the rating, before it is cut to the scale.

    For a user of the data set the parts are the movie, the person's generosity and their taste; for a
    visitor they are the movie and each rating they gave.
    """

    rating: float
    base: float
    contributions: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON has it."""
        return asdict(self)


@dataclass(frozen=True)
class Movie:
    """A row of movies.csv.

    `ratings` counts those it was learned from; `x`, `y` are its place on the map, or NaN. `average` is the stars it
    gets from a person of average generosity, drawn towards the mean of all movies where few people rated it; NaN in
    folders without it.
    """

    movie_id: int
    title: str
    genres: tuple[str, ...]
    ratings: int
    x: float
    y: float
    average: float = float("nan")


@dataclass(frozen=True)
class Visitor:
    """Somebody new, described by what they rated: the posterior mean of their vector w, shape (factors,)."""

    ratings: Mapping[int, float]
    vector: Vector = field(repr=False)
    weights: Vector = field(repr=False)  # (ratings, factors): w = sum of weight * (stars - mean)


class Recommender(Predictor[RecommenderConfig, tuple[Any, Any], RecommenderPrediction]):
    """Predicted stars of a user for a movie; recommendations, similar movies, and new visitors.

    `movies` maps a movie id to its Movie.
    """

    task = "recommendation"
    config_type = RecommenderConfig
    required_files = (MODEL, "movies.csv", "ratings.csv")

    def __init__(self, folder: Any) -> None:
        super().__init__(folder)
        with (self.folder / "movies.csv").open(encoding="utf-8", newline="") as file:
            self.movies = {
                int(row["movie_id"]): Movie(
                    int(row["movie_id"]),
                    row["title"],
                    tuple(row["genres"].split("|")),
                    int(row["ratings"]),
                    float(row["x"] or "nan"),
                    float(row["y"] or "nan"),
                    float(row.get("average") or "nan"),
                )
                for row in csv.DictReader(file)
            }
        self._suggested = [movie.movie_id for movie in self.movies.values() if movie.ratings >= FEWEST_RATINGS]
        self._movie_row = {movie_id: row for row, movie_id in enumerate(self.movies)}
        self._user_row = {user_id: row for row, user_id in enumerate(self.config.users)}
        tables = self.session.constants(
            ["means", "factors", "variances", "noise", "users"],
            {"user": np.zeros(1, np.int64), "movie": np.zeros(1, np.int64)},
        )
        tables = [table.astype(np.float64) for table in tables]
        self._means, self._factors, self._variances, self._noise, self._users = tables
        shapes = (len(self._means), len(self._factors), len(self._noise), len(self._variances), len(self._users))
        if shapes != (len(self.movies),) * 4 + (len(self.config.users),):
            raise CheckpointError(f"{self.folder}: the model, movies.csv and 'users' do not belong together.")
        self._averages = np.array([movie.average for movie in self.movies.values()])
        if self.config.popularity_below and not np.isfinite(self._averages).all():
            raise CheckpointError(f"{self.folder}: movies.csv has no 'average', which 'popularity_below' needs.")
        with (self.folder / "ratings.csv").open(encoding="utf-8", newline="") as file:
            self._actual = {
                (int(row["user_id"]), int(row["movie_id"])): float(row["rating"]) for row in csv.DictReader(file)
            }

    def example(self) -> tuple[int, int]:
        """Return the first user and the first movie."""
        return self.config.users[0], next(iter(self.movies))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a table of pairs must have."""
        return ("user_id", "movie_id")

    def from_row(self, row: Mapping[str, str]) -> tuple[Any, Any]:
        """Return the pair of a row."""
        return row["user_id"], row["movie_id"]

    def arguments(self, item: tuple[Any, Any]) -> list[Any]:
        """Return the user and the movie."""
        return list(item)

    def find(self, movie: Any) -> int:
        """The id of a movie that somebody names.

        A number is an id. A text is a title where a movie has it, in any case and with or without accents: the whole
        title first, then the title without its year, then without its article or one of its other titles. So "300" is
        the film of that name, and 300 is a movie id. A text that is no title may still be an id: "260".

        Raises:
            BadInput: there is no such movie, and similar titles are offered; or several have the title.
        """
        if not isinstance(movie, str):
            return self._movie_id(movie)
        wanted = _folded(movie[:LONGEST_TITLE])
        for titles in self._titles:
            if found := titles.get(wanted):
                if len(found) == 1:
                    return found[0]
                several = ", ".join(self.movies[movie_id].title for movie_id in found[:5])
                more = f" and {len(found) - 5} more" if len(found) > 5 else ""
                raise BadInput(
                    f"Several movies are called {quoted(movie)}: {several}{more}. Give the title with its year."
                )
        if not math.isnan(as_number(movie)) or number_hint(movie):
            return self._movie_id(movie)
        near = self.search(movie, 3) or difflib.get_close_matches(wanted, self._titles[0], n=3, cutoff=0.4)
        names = [self.movies[one if isinstance(one, int) else self._titles[0][one][0]].title for one in near]
        hint = f"Did you mean {' or '.join(names)}?" if names else "Give the title as in the list, with its year."
        raise BadInput(f"No movie is called {quoted(movie)}. {hint}")

    def search(self, words: str, k: int = 10) -> list[int]:
        """The ids of at most k movies whose titles hold some words.

        The title that they are comes first, then titles that start with them, then those in which a word starts so;
        of equals, the best known first.
        """
        wanted = _folded(words[:LONGEST_TITLE])
        whole = self._titles[1].get(wanted, [])
        found = []
        for title, ids in self._titles[0].items() if wanted else ():
            if wanted in title:
                starts = title.startswith(wanted) or ARTICLE.sub("", title).startswith(wanted)
                inside = f" {wanted}" not in title
                found += [(one not in whole, not starts, inside, -self.movies[one].ratings, one) for one in ids]
        return [movie_id for *_, movie_id in sorted(found)[:k]]

    def choices(self, count: int) -> list[tuple[str, int]]:
        """Titles and ids of the `count` best known movies, and of those called by a number, for a list on a page.

        Such a list takes the first title that holds what is typed. So the shortest come first: "matrix" means The
        Matrix, not The Animatrix; and numbers before all, since years hold them, too.
        """

        def name(movie: Movie) -> str:
            title = YEAR.sub("", movie.title.lower())
            return ARTICLE.sub("", title.split(" (")[0])  # 1984 (Nineteen Eighty-Four) is called by a number, too

        def is_number(movie: Movie) -> bool:
            return any(map(str.isdigit, name(movie))) and not any(map(str.isalpha, name(movie)))

        known = sorted(self.movies.values(), key=lambda movie: -movie.ratings)
        offered = known[:count] + [movie for movie in known[count:] if is_number(movie)]
        offered.sort(key=lambda movie: (not is_number(movie), len(name(movie)), -movie.ratings))
        return [(movie.title, movie.movie_id) for movie in offered]

    @cached_property
    def _titles(self) -> tuple[dict[str, list[int]], ...]:
        """Ids by title: as it is; without year and other titles; and without article, or another title of the movie."""
        levels: tuple[dict[str, list[int]], ...] = ({}, {}, {})
        for movie_id, movie in self.movies.items():
            title = _folded(movie.title)
            year = found[0] if (found := YEAR.search(title)) else ""
            parts = [part for part in re.split(r" *\((?:a\.k\.a\. )?|\) *", YEAR.sub("", title)) if part]
            first = YEAR.sub("", title) if title.startswith("(") else parts[0]
            names = [first, *(LAST_ARTICLE.sub(r"\2 \1", part) for part in parts[1:])]
            shorter = [ARTICLE.sub("", name) for name in names]
            loose = {form for name in (*names, *shorter) for form in (name, name + year)}
            for level, forms in zip(levels, ({title}, {first}, loose), strict=True):
                for form in forms:
                    level.setdefault(form, []).append(movie_id)
        return levels

    def predict(self, user_id: int | Visitor, movie_id: int) -> RecommenderPrediction:  # type: ignore[override]
        """Predicted stars of a user of the data set, or of a visitor, for a movie.

        Raises:
            BadInput: the user or the movie is unknown.
        """
        if isinstance(user_id, Visitor):
            return RecommenderPrediction(self._kept(self._visitor_scores(user_id, self._movie(movie_id))))
        answer = self.predict_each([(user_id, movie_id)])[0]
        if isinstance(answer, BadInput):
            raise answer
        return answer

    def predict_each(self, items: Sequence[tuple[Any, Any]]) -> list[RecommenderPrediction | BadInput]:
        """Predict (user_id, movie_id) pairs; an unknown one gets its BadInput as the answer."""
        answers: list[RecommenderPrediction | BadInput | None] = []
        pairs = []
        for item in items:
            try:
                is_list = isinstance(item, Sequence | np.ndarray) and getattr(item, "ndim", 1) > 0
                if not is_list or len(item) != 2:
                    raise BadInput(f"A user and a movie are needed, (user_id, movie_id), not {quoted(item)}.")
                pairs.append((self._user(item[0]), self._movie(item[1])))
                answers.append(None)
            except BadInput as error:
                answers.append(error)
        ratings: list[float] = []
        if pairs:
            users, movies = np.array(pairs, dtype=np.int64).T
            ratings = self.session.run(["rating"], {"user": users, "movie": movies})[0].tolist()
        found = iter(ratings)
        return [RecommenderPrediction(self._kept(next(found))) if answer is None else answer for answer in answers]

    def actual(self, user_id: Any, movie_id: Any) -> float | None:
        """What the user really gave, where the folder's sample of ratings has it; the model was trained on it.

        Raises:
            BadInput: the user or the movie is unknown.
        """
        return self._actual.get((self.config.users[self._user(user_id)], self._movie_id(movie_id)))

    def fold_in(self, ratings: Mapping[Any, Any]) -> Visitor:
        """A new visitor from {movie_id: stars}, in closed form; no rating at all is somebody average.

        Raises:
            BadInput: a movie is unknown, or stars lie outside the scale.
        """
        if not isinstance(ratings, Mapping):
            raise BadInput(f"Ratings must be {{movie id: stars}}, not {quoted(ratings)}.")
        given: dict[int, float] = {}
        for movie_id, value in ratings.items():
            known = self._movie_id(movie_id)
            if known in given:
                raise BadInput(f"The movie {quoted(movie_id)} is rated twice.")
            given[known] = self._stars(value)
        rows = np.array([self._movie_row[movie_id] for movie_id in given], dtype=np.int64)
        stars = np.array(list(given.values()), dtype=np.float64)
        vector, weights = place(self._means[rows], self._factors[rows], self._variances[rows], self._noise[rows], stars)
        return Visitor(ratings=given, vector=vector, weights=weights)

    def recommend(self, user: int | Visitor, k: int = 10) -> Scored:
        """The k movies with the highest predicted stars: [(movie_id, title, stars), ...].

        Left out: what a visitor rated, or what the folder's sample of ratings says a user rated, and movies
        with fewer than 20 ratings.
        """
        if isinstance(user, Visitor):
            scores, seen = self._visitor_scores(user, slice(None)), set(user.ratings)
        else:
            row = self._user(user)
            scores = self._means + self._factors @ self._users[row]
            seen = {movie_id for user_id, movie_id in self._actual if self._user_row[user_id] == row}
        ids = [movie_id for movie_id in self._suggested if movie_id not in seen]
        rows = [self._movie_row[movie_id] for movie_id in ids]
        best = np.argsort(-scores[rows], kind="stable")[: _count(k)]
        return [(ids[i], self.movies[ids[i]].title, self._kept(scores[rows[i]])) for i in best]

    def similar(self, movie_id: int, k: int = 10) -> Scored:
        """The k movies whose factors point most nearly the same way: [(movie_id, title, cosine), ...].

        Movies with fewer than 20 ratings are not suggested.
        """
        taste = self._factors[:, PERSON:]
        lengths = np.linalg.norm(taste, axis=1) + 1e-12
        row = self._movie(movie_id)
        cosine = taste @ taste[row] / (lengths * lengths[row])
        ids = [other for other in self._suggested if self._movie_row[other] != row]
        scores = cosine[[self._movie_row[other] for other in ids]]
        return [
            (ids[i], self.movies[ids[i]].title, float(scores[i]))
            for i in np.argsort(-scores, kind="stable")[: _count(k)]
        ]

    def explain(self, user: int | Visitor, movie_id: int) -> RecommenderExplanation:
        """The parts a predicted rating is the sum of."""
        row = self._movie(movie_id)
        by_popularity = isinstance(user, Visitor) and self._by_popularity(user)
        means = self._averages if by_popularity else self._means
        base = float(means.mean())
        parts = {"the movie, for everybody": float(means[row]) - base}
        if isinstance(user, Visitor):
            rated = [self._movie_row[rated_id] for rated_id in user.ratings]
            surprises = np.array(list(user.ratings.values())) - means[rated]
            share = 1 / (len(rated) + GENEROSITY_RIDGE) if by_popularity else user.weights @ self._factors[row]
            for rated_id, part in zip(user.ratings, surprises * share, strict=True):
                parts[f"{self.movies[rated_id].title}: {user.ratings[rated_id]:g} stars"] = float(part)
        else:
            vector = self._users[self._user(user)]
            parts["how this user rates in general"] = float(self._factors[row, :PERSON] @ vector[:PERSON])
            parts["this user's taste"] = float(self._factors[row, PERSON:] @ vector[PERSON:])
        return RecommenderExplanation(self._kept(base + sum(parts.values())), base, parts)

    def _by_popularity(self, visitor: Visitor) -> bool:
        return len(visitor.ratings) < self.config.popularity_below

    def _visitor_scores(self, visitor: Visitor, rows: Any) -> Any:
        if self._by_popularity(visitor):
            rated = [self._movie_row[movie_id] for movie_id in visitor.ratings]
            return self._averages[rows] + generosity(self._averages[rated], np.array([*visitor.ratings.values()]))
        return self._means[rows] + self._factors[rows] @ visitor.vector

    def _user(self, user_id: Any) -> int:
        row = self._user_row.get(_whole(user_id, missing=-1))
        if row is None:
            users = self.config.users
            raise BadInput(
                f"There is no user {quoted(user_id)}; users are {min(users)} to {max(users)}.{number_hint(user_id)}"
            )
        return row

    def _movie_id(self, movie_id: Any) -> int:
        known = _whole(movie_id, missing=-1)
        if known not in self.movies:
            first = next(iter(self.movies.values()))
            raise BadInput(
                f"There is no movie {quoted(movie_id)}; movie ids are those of MovieLens, such as "
                f"{first.movie_id} for {first.title}.{number_hint(movie_id)}"
            )
        return known

    def _movie(self, movie_id: Any) -> int:
        return self._movie_row[self._movie_id(movie_id)]

    def _stars(self, value: Any) -> float:
        low, high = self.config.lowest, self.config.highest
        stars = as_number(value)
        if not low <= stars <= high:
            raise BadInput(f"A rating must be {low:g} to {high:g} stars, not {quoted(value)}.")
        return stars

    def _kept(self, stars: Any) -> float:
        return float(min(max(stars, self.config.lowest), self.config.highest))


def place(means: Vector, factors: Vector, variances: Vector, noise: Vector, stars: Vector) -> tuple[Vector, Vector]:
    """Place somebody new by what they rated, in closed form.

    Args:
        means: of the movies they rated, (ratings,).
        factors: (ratings, factors).
        variances: of the last of these factors, (ratings, uncertain factors).
        noise: (ratings,).
        stars: what they gave, (ratings,).

    Returns:
        The posterior mean of their vector, (factors,), and its weights, (ratings, factors): it is the sum of
        weight * (stars - mean).
    """
    scaled = factors / noise[:, None]
    precision = np.eye(factors.shape[1]) + scaled.T @ factors
    doubt = (variances / noise[:, None]).sum(axis=0)
    precision[np.diag_indices(len(precision))] += np.concatenate([np.zeros(len(precision) - len(doubt)), doubt])
    weights = np.asarray(np.linalg.solve(precision, scaled.T).T, dtype=np.float64)
    return (stars - means) @ weights, weights


def generosity(averages: Vector, stars: Vector) -> float:
    """How many stars more than others somebody gives: the mean of what they gave above the averages, shrunk to 0."""
    return float((stars - averages).sum() / (len(stars) + GENEROSITY_RIDGE))


def _whole(value: Any, missing: int) -> int:
    """A whole number from 5, 5.0, "5" or "5.0"; `missing` from anything else."""
    number = as_number(value)
    return int(number) if number.is_integer() else missing


def _folded(title: str) -> str:
    """A title without case and accents, its article in front: "Misérables, Les" stays, "Matrix, The" does not."""
    letters = unicodedata.normalize("NFD", plain(title).replace("\u0131", "i"))  # whose capital is I
    return LAST_ARTICLE.sub(r"\2 \1\3", "".join(letter for letter in letters if unicodedata.category(letter) != "Mn"))


def _count(k: Any) -> int:
    count = _whole(k, missing=0)
    if not 1 <= count <= 100:
        raise BadInput(f"The number of movies must be 1 to 100, not {quoted(k)}.")
    return count
