"""The movies of a recommender, or other items, and a search for their titles."""

import csv
import difflib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import BadInput, quote
from .text import normalise_name

MOVIES, ITEMS = "movies.csv", "items.csv"  # the latter in models of a user's own data
Id = int | str  # of a user or movie; texts in models of a user's own data
MAX_TITLE = 200  # characters of a title, or of a search text, that are used
CANDIDATES = 200  # titles that are compared with an unknown one letter by letter
YEAR = re.compile(r" \(\d{4}[-\d]*\)( \[\d+\])?$")  # at the end of a title
ARTICLE = re.compile(r"^(the|an?) ")
# In Japanese or Hindi, marks are parts of letters.
ACCENTS = re.compile(
    "([A-Za-z\u0370-\u03ff\u0400-\u04ff])[\u0300-\u036f]+"  # Latin, Greek and Cyrillic
    "|[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u0655]"  # vowels of Hebrew and Arabic
)
LAST_ARTICLE = re.compile(r"^([^(]*), (the|an?)( \(.*)?$")
HYPHENS = re.compile("[\u00b7\u2010-\u2015]")  # the dot of WALL\u00b7E, and dashes, for which keyboards have a hyphen


@dataclass(frozen=True)
class Movie:
    """A row of movies.csv or items.csv.

    `ratings` is the number of training ratings; `x`, `y` is the position on the map, or NaN. `average` is the mean
    rating in stars, adjusted for how generous the raters are and shrunk towards the mean of all movies; NaN if the
    folder does not have it.
    """

    movie_id: Id
    title: str
    genres: tuple[str, ...]
    ratings: int
    x: float
    y: float
    average: float = float("nan")


def read_movies(path: Path) -> dict[Id, Movie]:
    """Read a movies.csv or items.csv; return the movies by id, in the order of the rows."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        ids = ((row["item_id"] if path.name == ITEMS else int(row["movie_id"]), row) for row in rows)
        return {
            movie_id: Movie(
                movie_id,
                row["title"],
                tuple(row["genres"].split("|")),
                int(row["ratings"]),
                float(row["x"] or "nan"),
                float(row["y"] or "nan"),
                float(row.get("average") or "nan"),
            )
            for movie_id, row in ids
        }


class TitleIndex:
    """An index of movie titles that ignores case and accents; `noun` is the plural for movies."""

    def __init__(self, movies: Mapping[Id, Movie], noun: str = "movies") -> None:
        self.movies, self.noun = movies, noun

    def find(self, title: str) -> Id | None:
        """Return the id of the movie with this title; None if there is none.

        The full title is tried first, then the title without its year, then titles without article and alternative
        titles.

        Raises:
            BadInput: several movies have this title.
        """
        wanted = _fold_title(title[:MAX_TITLE])
        for titles in self._levels:
            if found := titles.get(wanted):
                if len(found) == 1:
                    return found[0]
                several = ", ".join(self.movies[movie_id].title for movie_id in found[:5])
                more = f" and {len(found) - 5} more" if len(found) > 5 else ""
                raise BadInput(f"Several {self.noun} are called {quote(title)}: {several}{more}. Give the full title.")
        return None

    def suggest(self, title: str) -> list[str]:
        """Return up to three existing titles that are similar to an unknown title."""
        if near := self.search(title, 3):
            return [self.movies[movie_id].title for movie_id in near]
        whole, wanted = self._levels[0], _fold_title(title[:MAX_TITLE])
        close = difflib.get_close_matches(wanted, self._find_candidates(wanted), n=3, cutoff=0.4)
        return [self.movies[whole[one][0]].title for one in close]

    def _find_candidates(self, wanted: str) -> list[str]:
        """Return the titles that share the most pairs of letters with a text; difflib would take 0.4 s for all."""
        titles, lengths, by_pair = self._pairs
        pairs = _list_pairs(wanted)
        rows = [by_pair[pair] for pair in pairs if pair in by_pair]
        shared = np.bincount(np.concatenate(rows), minlength=len(titles)) if rows else np.zeros(len(titles))
        best = np.argsort(-shared / (lengths + len(pairs) + 1), kind="stable")[:CANDIDATES]
        return [titles[row] for row in best]

    @cached_property
    def _pairs(self) -> tuple[list[str], NDArray[np.int64], dict[str, NDArray[np.int64]]]:
        """The full titles, their numbers of different pairs of letters, and the rows of the titles with each pair."""
        titles, rows = list(self._levels[0]), defaultdict[str, list[int]](list)
        pairs = [_list_pairs(title) for title in titles]
        for row, found in enumerate(pairs):
            for pair in found:
                rows[pair].append(row)
        by_pair = {pair: np.array(found, np.int64) for pair, found in rows.items()}
        return titles, np.array([len(found) for found in pairs], np.int64), by_pair

    def search(self, words: str, k: int = 10) -> list[Id]:
        """Return the ids of up to k movies whose titles contain a text.

        An exact match comes first, then titles that start with the text, then titles with a word that starts with it;
        among equals, the movies with the most ratings.
        """
        wanted = _fold_title(words[:MAX_TITLE])
        whole = set(self._levels[1].get(wanted, []))
        found = []
        for title, ids in self._levels[0].items() if wanted else ():
            if wanted in title:
                starts = title.startswith(wanted) or ARTICLE.sub("", title).startswith(wanted)
                inside = f" {wanted}" not in title
                found += [(one not in whole, not starts, inside, -self.movies[one].ratings, one) for one in ids]
        return [movie_id for *_, movie_id in sorted(found)[:k]]

    def list_choices(self, count: int) -> list[tuple[str, Id]]:
        """Return (title, id) of the `count` best known movies and of movies named by a number, for a drop-down.

        A drop-down selects the first title that contains the typed text. So shorter titles come first: "matrix" selects
        The Matrix, not The Animatrix. Numbers come before all others, because years contain digits, too.
        """

        def name(movie: Movie) -> str:
            title = YEAR.sub("", movie.title.lower())
            return ARTICLE.sub("", title.split(" (")[0])  # 1984 (Nineteen Eighty-Four) is also named by a number

        def is_number(movie: Movie) -> bool:  # an id in place of a title does not count
            return (
                movie.title != movie.movie_id
                and any(map(str.isdigit, name(movie)))
                and not any(map(str.isalpha, name(movie)))
            )

        known = sorted(self.movies.values(), key=lambda movie: -movie.ratings)
        offered = known[:count] + [movie for movie in known[count:] if is_number(movie)]
        offered.sort(key=lambda movie: (not is_number(movie), len(name(movie)), -movie.ratings))
        return [(movie.title, movie.movie_id) for movie in offered]

    @cached_property
    def _levels(self) -> tuple[dict[str, list[Id]], ...]:
        """Ids by title, in three levels: full titles; titles without year; titles without article and other titles."""
        levels: tuple[dict[str, list[Id]], ...] = ({}, {}, {})
        for movie_id, movie in self.movies.items():
            title = _fold_title(movie.title[:MAX_TITLE])
            year = found[0] if (found := YEAR.search(title)) else ""
            parts = [part for part in re.split(r" *\((?:a\.k\.a\. )?|\) *", YEAR.sub("", title)) if part]
            first = YEAR.sub("", title) if title.startswith("(") or not parts else parts[0]
            names = [first, *(LAST_ARTICLE.sub(r"\2 \1", part) for part in parts[1:])]
            shorter = [ARTICLE.sub("", name) for name in names]
            loose = {form for name in (*names, *shorter) for form in (name, name + year)}
            for level, forms in zip(levels, ({title}, {first}, loose), strict=True):
                for form in forms:
                    level.setdefault(form, []).append(movie_id)
        return levels


def _list_pairs(text: str) -> set[str]:
    text = f" {text} "
    return {text[start : start + 2] for start in range(len(text) - 1)}


def _fold_title(title: str) -> str:
    """Return a title without case and accents, with its article first: "Matrix, The" becomes "the matrix"."""
    name = HYPHENS.sub("-", normalise_name(title)).replace("\u0131", "i")  # dotless i
    letters = unicodedata.normalize("NFD", name)
    return LAST_ARTICLE.sub(r"\2 \1\3", unicodedata.normalize("NFC", ACCENTS.sub(r"\1", letters)))
