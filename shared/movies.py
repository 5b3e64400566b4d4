"""The movies of a recommender, and how people name them."""

import csv
import difflib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .errors import BadInput, quote
from .text import normalise_name

MAX_TITLE = 200  # characters of what somebody looks for
YEAR = re.compile(r" \(\d{4}[-\d]*\)( \[\d+\])?$")  # at the end of a title
ARTICLE = re.compile(r"^(the|an?) ")
LAST_ARTICLE = re.compile(r"^([^(]*), (the|an?)( \(.*)?$")


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


def read_movies(path: Path) -> dict[int, Movie]:
    """Return the movies of a movies.csv by their ids, in the order of its rows."""
    with path.open(encoding="utf-8", newline="") as file:
        return {
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


class TitleIndex:
    """Finds movies by their titles, in any case and with or without accents."""

    def __init__(self, movies: Mapping[int, Movie]) -> None:
        self.movies = movies

    def find(self, title: str) -> int | None:
        """Return the id of the movie with a title; None if there is none.

        The whole title counts first, then the title without its year, then without its article or one of its other
        titles.

        Raises:
            BadInput: several movies have the title.
        """
        wanted = _fold_title(title[:MAX_TITLE])
        for titles in self._levels:
            if found := titles.get(wanted):
                if len(found) == 1:
                    return found[0]
                several = ", ".join(self.movies[movie_id].title for movie_id in found[:5])
                more = f" and {len(found) - 5} more" if len(found) > 5 else ""
                raise BadInput(
                    f"Several movies are called {quote(title)}: {several}{more}. Give the title with its year."
                )
        return None

    def suggest(self, title: str) -> list[str]:
        """Return at most three titles that are similar to one that no movie has."""
        if near := self.search(title, 3):
            return [self.movies[movie_id].title for movie_id in near]
        whole = self._levels[0]
        close = difflib.get_close_matches(_fold_title(title[:MAX_TITLE]), whole, n=3, cutoff=0.4)
        return [self.movies[whole[one][0]].title for one in close]

    def search(self, words: str, k: int = 10) -> list[int]:
        """Return the ids of at most k movies whose titles contain some words.

        The title that consists of them comes first, then titles that start with them, then those in which a word
        starts so; of equals, the best known first.
        """
        wanted = _fold_title(words[:MAX_TITLE])
        whole = self._levels[1].get(wanted, [])
        found = []
        for title, ids in self._levels[0].items() if wanted else ():
            if wanted in title:
                starts = title.startswith(wanted) or ARTICLE.sub("", title).startswith(wanted)
                inside = f" {wanted}" not in title
                found += [(one not in whole, not starts, inside, -self.movies[one].ratings, one) for one in ids]
        return [movie_id for *_, movie_id in sorted(found)[:k]]

    def list_choices(self, count: int) -> list[tuple[str, int]]:
        """Return titles and ids of the `count` best known movies, and of those named by a number, for a list on a page.

        Such a list takes the first title that contains what is typed. So the shortest come first: "matrix" means The
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
    def _levels(self) -> tuple[dict[str, list[int]], ...]:
        """Ids by title: as it is; without year and other titles; and without article, or another title of the movie."""
        levels: tuple[dict[str, list[int]], ...] = ({}, {}, {})
        for movie_id, movie in self.movies.items():
            title = _fold_title(movie.title)
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


def _fold_title(title: str) -> str:
    """Return a title without case and accents, its English article in front: "matrix, the" becomes "the matrix"."""
    letters = unicodedata.normalize("NFD", normalise_name(title).replace("\u0131", "i"))  # whose capital is I
    return LAST_ARTICLE.sub(r"\2 \1\3", "".join(letter for letter in letters if unicodedata.category(letter) != "Mn"))
