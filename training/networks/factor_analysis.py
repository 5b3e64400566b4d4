"""Factor analysis of ratings: the network, its batches of whole users, and the served tables."""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from fastai.data.load import DataLoader
from numpy.typing import NDArray
from torch import nn

User = tuple[torch.Tensor, torch.Tensor]  # rows of the movies that a user rated, and the stars


def group_by_user(users: NDArray[np.intp], movies: NDArray[np.intp], stars: NDArray[np.float64]) -> dict[int, User]:
    """Return the movies and stars of each user."""
    order = np.argsort(users, kind="stable")
    names, starts = np.unique(users[order], return_index=True)
    parts = zip(
        torch.from_numpy(movies[order].astype(np.int64)).tensor_split(torch.from_numpy(starts[1:])),
        torch.from_numpy(stars[order].astype(np.float32)).tensor_split(torch.from_numpy(starts[1:])),
        strict=True,
    )
    return dict(zip(names.tolist(), parts, strict=True))


class UserLoader(DataLoader):
    """Batches of users with similar numbers of ratings, padded: movies, stars and mask, each (users, longest)."""

    def __init__(self, users: list[User], size: int) -> None:
        self.users = users
        self.groups: list[list[int]] = [[]]
        longest = 0
        for index in np.argsort([len(movies) for movies, _ in users]):
            longest = max(longest, len(users[index][0]))
            if self.groups[-1] and longest * (len(self.groups[-1]) + 1) > size:
                self.groups.append([])
                longest = len(users[index][0])
            self.groups[-1].append(int(index))
        super().__init__(users, bs=1, num_workers=0)
        self.n_inp = 3

    def __len__(self) -> int:
        return len(self.groups)

    def create_batches(self, samples: Any) -> Iterator[tuple[torch.Tensor, ...]]:  # noqa: ARG002 - fastai's name
        """Yield the groups, padded, in random order."""
        for group in self.rng.sample(self.groups, len(self.groups)):
            movies, stars, mask = pad_users([self.users[index] for index in group])
            yield movies, stars, mask, stars


def pad_users(users: list[User]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return movies, stars and mask of several users, padded to (users, longest)."""
    pad = partial(nn.utils.rnn.pad_sequence, batch_first=True)
    return (
        pad([movies for movies, _ in users]),
        pad([stars for _, stars in users]),
        pad([torch.ones_like(stars) for _, stars in users]),
    )


class FactorAnalysis(nn.Module):
    """Factor analysis of ratings with features of the movies.

    User u rates movie i with r = m_i + A_i w_u + noise of variance n_i, where w_u ~ N(0, 1) is integrated out
    exactly. The mean m_i includes the contribution of an average user's vector, so that a user without ratings is
    average. A_i has, in this order: a constant (how generous a user is), the movie's mean (how widely they use the
    scale), its features, and latent factors whose prior mean is linear in the features. Means and latent factors have
    factorised Gaussian posteriors, and their precisions are learned: variational Bayes with automatic relevance
    determination (Bishop, "Variational Principal Components", ICANN 1999). The output is the negative evidence lower
    bound per rating.

    Args:
        features: features of the movies, (movies, features).
        counts: number of ratings of each movie, (movies,).
        mean: mean of all ratings.
        factors: number of latent factors.
        precisions: prior precisions of latent factors, of movies' means, and of the weights of features.
    """

    def __init__(
        self,
        features: torch.Tensor,
        counts: torch.Tensor,
        mean: float,
        factors: int,
        precisions: tuple[float, float, float],
    ) -> None:
        super().__init__()
        movies, width, k = len(features), features.shape[1] + 1, factors
        latent, of_mean, of_feature = precisions
        popularity = torch.log1p(counts.float())
        popularity = (popularity - popularity.mean()) / (popularity.std() + 1e-6)
        self.register_buffer("features", torch.cat([features, popularity[:, None]], 1))
        self.ratings = int(counts.sum())
        self.feature_precision = of_feature
        self.overall = nn.Parameter(torch.tensor(float(mean)))
        self.mean_of_feature = nn.Parameter(torch.zeros(width))
        self.mean_of_movie = nn.Parameter(torch.zeros(movies))
        self.latent_of_feature = nn.Parameter(torch.zeros(width, k))
        self.latent_of_movie = nn.Parameter(torch.randn(movies, k) * 0.1)
        self.log_latent_sd = nn.Parameter(torch.full((movies, k), math.log(0.5 / latent**0.5)))
        self.log_mean_sd = nn.Parameter(torch.full((movies,), math.log(0.3 / of_mean**0.5)))
        self.log_latent_precision = nn.Parameter(torch.full((k,), math.log(latent)))
        self.log_mean_precision = nn.Parameter(torch.tensor(math.log(of_mean)))
        self.log_generosity = nn.Parameter(torch.tensor(math.log(0.4)))
        self.log_width = nn.Parameter(torch.tensor(math.log(0.3)))
        self.log_feature_scale = nn.Parameter(torch.full((width,), math.log(0.12)))
        self.average_person = nn.Parameter(torch.zeros(2 + width + k))
        self.log_noise = nn.Parameter(torch.tensor(math.log(0.75)))
        self.log_noise_of_movie = nn.Parameter(torch.zeros(movies))

    def compute_tables(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return each movie's mean, factors, variances of the latent factors, and noise, for serving."""
        means = self.overall + self.features @ self.mean_of_feature + self.mean_of_movie
        factors = torch.cat(
            [
                self.log_generosity.exp().expand(len(means), 1),
                (means - self.overall)[:, None] * self.log_width.exp(),
                self.features * self.log_feature_scale.exp(),
                self.features @ self.latent_of_feature + self.latent_of_movie,
            ],
            1,
        )
        noise = (self.log_noise + self.log_noise_of_movie).exp()
        return means + factors @ self.average_person, factors, (2 * self.log_latent_sd).exp(), noise

    def forward(self, movies: torch.Tensor, stars: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        means, factors, variances, noise = (table[movies] for table in self.compute_tables())
        surprise = (stars - means) * mask
        vector, weighted, root = compute_posterior(factors, variances, noise, surprise, mask)
        expected = surprise**2 + (2 * self.log_mean_sd).exp()[movies] * mask
        loss = 0.5 * ((expected / noise + noise.log()) * mask).sum()
        loss = loss - 0.5 * (weighted * vector).sum() + root.diagonal(dim1=1, dim2=2).log().sum()
        return loss / mask.sum() + self.compute_divergence() / self.ratings

    def compute_divergence(self) -> torch.Tensor:
        """Return the KL divergence of the posteriors plus the negative log priors of the point estimates."""
        points = self.feature_precision * (10 * (self.latent_of_feature**2).sum() + (self.mean_of_feature**2).sum())
        points = points + 20 * (self.log_noise_of_movie**2).sum() + (self.average_person**2).sum()
        points = points + 2 * ((self.log_feature_scale - math.log(0.12)) ** 2).sum()
        return (
            gaussian_divergence(self.latent_of_movie, self.log_latent_sd, self.log_latent_precision)
            + gaussian_divergence(self.mean_of_movie, self.log_mean_sd, self.log_mean_precision)
            + 0.5 * points
        )


def gaussian_divergence(mean: torch.Tensor, log_sd: torch.Tensor, log_precision: torch.Tensor) -> torch.Tensor:
    """Return the summed KL divergence of N(mean, sd^2) from N(0, 1/precision), up to a constant."""
    return 0.5 * (log_precision.exp() * (mean**2 + (2 * log_sd).exp()) - log_precision - 2 * log_sd).sum()


def compute_posterior(
    factors: torch.Tensor, variances: torch.Tensor, noise: torch.Tensor, surprise: torch.Tensor, mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the posterior means of users' vectors in closed form, as Recommender.fold_in does for one user.

    Args:
        factors: (users, ratings, factors).
        variances: variances of the last, latent factors, (users, ratings, latent).
        noise: (users, ratings).
        surprise: stars minus the movies' means, 0 where padded, (users, ratings).
        mask: 1 where there is a rating, (users, ratings).

    Returns:
        Vectors and weighted sums of surprises, both (users, factors), and the Cholesky factors of the posterior
        precisions, (users, factors, factors).
    """
    scaled = factors * (mask / noise)[..., None]
    extra = torch.ones(len(factors), factors.shape[-1], device=factors.device)
    latent = variances.shape[-1]
    doubt = (variances * (mask / noise)[..., None]).sum(1)
    extra = torch.cat([extra[:, : factors.shape[-1] - latent], 1 + doubt], 1)
    root = torch.linalg.cholesky(factors.transpose(1, 2) @ scaled + torch.diag_embed(extra))
    weighted = (scaled * surprise[..., None]).sum(1)
    return torch.cholesky_solve(weighted[..., None], root)[..., 0], weighted, root


def negative_bound(bound: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
    """Return the output of the network, which is its loss."""
    return bound


class Tables(nn.Module):
    """A trained model as served: it predicts stars for known users, and outputs the tables for new ones."""

    def __init__(self, tables: tuple[torch.Tensor, ...], users: torch.Tensor) -> None:
        super().__init__()
        for name, table in zip(("means", "factors", "variances", "noise", "users"), (*tables, users), strict=True):
            self.register_buffer(name, table.detach().clone())

    def forward(self, user: torch.Tensor, movie: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rating = self.means[movie] + (self.users[user] * self.factors[movie]).sum(-1)
        return rating, self.means, self.factors, self.variances, self.noise, self.users


@torch.inference_mode()
def place_users(model: FactorAnalysis, users: dict[int, User]) -> Tables:
    """Return the served tables; each user's vector is the posterior mean given all their ratings."""
    means, factors, variances, noise = model.compute_tables()
    vectors = []
    for movies, stars in users.values():
        known, mask = movies[None], torch.ones(1, len(movies))
        vector, _, _ = compute_posterior(
            factors[known], variances[known], noise[known], (stars - means[movies])[None], mask
        )
        vectors.append(vector[0])
    return Tables((means, factors, variances, noise), torch.stack(vectors))
