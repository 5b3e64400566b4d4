"""Ratings, and features of movies: genres, year, and which users rated them."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import svds

DECADES = np.arange(1930, 2017, 10)
NO_GENRES = ("(no genres listed)", "")
MAX_GENRES = 50  # that are features


@dataclass(frozen=True)
class Ratings:
    """Ratings (user, movie, rating, in_sample), movies by id (title, genres), and the README of the data set.

    Those of a user's own data are in units of `unit`, in which they spread like MovieLens' stars; so are `lowest`,
    `highest` and `step`. `held_out` marks the ratings of the test, if the data determines them, and `split` says what
    they are. `least` is that of training/ratings/newcomers.py.
    """

    table: pd.DataFrame
    movies: pd.DataFrame
    data: str
    readme: Path | None = None
    lowest: float = 0.5
    highest: float = 5.0
    step: float = 0.5
    unit: float = 1.0
    is_own: bool = False
    held_out: NDArray[np.bool_] | None = None
    split: str = ""
    least: tuple[int, ...] = (10, 50)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def scale(self) -> tuple[float, float]:
        """The lowest and highest rating."""
        return self.lowest, self.highest


def encode_movies(movies: pd.DataFrame) -> torch.Tensor:
    """Return genres as 0 or 1, and the year in radial basis functions of the decades: (movies, features)."""
    counts = Counter(genre for text in movies["genres"] for genre in set(text.split("|")) - set(NO_GENRES))
    genres = sorted(genre for genre, _ in counts.most_common(MAX_GENRES))
    flags = np.array([[genre in text.split("|") for genre in genres] for text in movies["genres"]], dtype=float)
    years = movies["title"].str.extract(r"\((\d{4})\)\s*$")[0].astype(float)
    known = years.fillna(years.median()).fillna(2000).to_numpy()
    bumps = np.exp(-0.5 * ((known[:, None] - DECADES) / 8) ** 2)
    return torch.tensor(np.concatenate([flags, bumps], axis=1), dtype=torch.float32)


def compute_corating_features(users: NDArray[np.intp], movies: NDArray[np.intp], count: int, size: int) -> torch.Tensor:
    """Return singular vectors of the matrix of who rated what, shrunk for rare movies: (count, size)."""
    rows = np.unique(users, return_inverse=True)[1]
    rated = csr_array((np.ones(len(rows)), (rows, movies)), shape=(rows.max() + 1, count))
    times, own = np.asarray(rated.sum(axis=0)), np.asarray(rated.sum(axis=1))
    normal = diags_array((own + 5) ** -0.5) @ rated @ diags_array((times + 5) ** -0.5)
    most = min(normal.shape) - 1
    _, values, vectors = svds(normal, k=min(size + 1, most), v0=np.ones(min(normal.shape)))
    order = np.argsort(-values)[1:]  # the first vector is how often a movie was rated
    chosen = vectors[order] * (values[order, None] > 1e-6)
    features = chosen.T * (times / (times + 5))[:, None]
    return torch.tensor((features / (features.std(axis=0) + 1e-6) * 0.4).clip(-2, 2), dtype=torch.float32)


def move_article_first(title: str) -> str:
    """Move an article to the front: "Matrix, The (1999)" becomes "The Matrix (1999)"."""
    articles = "The|A|An|Les|Le|La|L'|Il|El|Los|Las|Der|Die|Das|Un|Une|Det|Den|De|En"
    moved = re.fullmatch(rf"(.*), ({articles})((?: \(.*)?)", title.strip())
    if moved is None:
        return title.strip()
    gap = "" if moved[2].endswith("'") else " "
    return f"{moved[2]}{gap}{moved[1]}{moved[3]}"
