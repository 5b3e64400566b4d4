"""Features of movies: genres, year, and which users rated them."""

import re

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

DECADES = np.arange(1930, 2017, 10)


def encode_movies(movies: pd.DataFrame) -> torch.Tensor:
    """Return genres as 0 or 1, and the year in radial basis functions of the decades: (movies, features)."""
    genres = sorted({genre for text in movies["genres"] for genre in text.split("|")} - {"(no genres listed)"})
    flags = np.array([[genre in text.split("|") for genre in genres] for text in movies["genres"]], dtype=float)
    years = movies["title"].str.extract(r"\((\d{4})\)\s*$")[0].astype(float)
    known = years.fillna(years.median()).fillna(2000).to_numpy()
    bumps = np.exp(-0.5 * ((known[:, None] - DECADES) / 8) ** 2)
    return torch.tensor(np.concatenate([flags, bumps], axis=1), dtype=torch.float32)


def compute_corating_features(users: NDArray[np.intp], movies: NDArray[np.intp], count: int, size: int) -> torch.Tensor:
    """Return singular vectors of the matrix of who rated what, shrunk for rare movies: (count, size)."""
    rows = np.unique(users, return_inverse=True)[1]
    rated = np.zeros((rows.max() + 1, count), np.float32)
    rated[rows, movies] = 1
    times = rated.sum(axis=0)
    normal = rated / np.sqrt(rated.sum(axis=1, keepdims=True) + 5) / np.sqrt(times + 5)
    _, values, vectors = np.linalg.svd(normal, full_matrices=False)
    chosen = vectors[1 : size + 1] * (
        values[1 : size + 1, None] > 1e-6
    )  # the first vector is how often a movie was rated
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
