"""Salary above or below 50k, from the 1994 census (UCI Adult): the tabular model of the book's chapter 1.

    python -m training.salary --smoke                        seconds, on made-up people
    python -m training.salary --data DIR                     adult.csv and adult_test.csv, minutes on a CPU
    python -m training.salary --data DIR --networks FOLDER   measure and export again what was trained before
    python -m training.salary --recipe book                  the book's own cell, with its figure beside ours

The peers are measured on the same test rows, and like for like: the book's recipe reads 9 columns, ours 12, so both
are trained with either choice of columns.
Without --data fastai downloads ADULT_SAMPLE. It has no official test file: a fifth of its rows, set aside
before anything else, takes that place, and the figures say so.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import torch
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.metrics import accuracy
from fastai.tabular.all import (
    Categorify,
    FillMissing,
    Normalize,
    TabularDataLoaders,
    tabular_learner,
)
from fastprogress.fastprogress import progress_bar
from numpy.typing import NDArray
from onnx import numpy_helper
from safetensors.torch import save_file
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold
from torch import nn
from torch.nn import functional as F

from shared.config import METRICS, MODEL, About, Dataset
from shared.errors import CheckpointError
from shared.tables import write_csv
from shared.tabular import MISSING, NumberColumn, TabularClassifierConfig, calibrated, encode
from training import evaluate, export, processes
from training.card import PROVENANCE, agreement, as_written_now, write_card
from training.data import DataError, data_files, data_folder, read_table
from training.learner import (
    NoValidation,
    RowLoader,
    arguments,
    command,
    fit,
    seconds_trained,
    set_seed,
    start,
    state_folder,
    trained,
)

TARGET = "salary"
LABELS = ("<50k", ">=50k")
CATEGORIES = (
    "workclass",
    "education",
    "marital-status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "native-country",
)
NUMBERS = ("age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week")
COLUMNS = [
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education-num",
    "marital-status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital-gain",
    "capital-loss",
    "hours-per-week",
    "native-country",
]
IGNORED = ("fnlwgt", "education-num")  # a sampling weight; and what education says, too
EXACT = ("capital-gain", "capital-loss")  # amounts that are codes in disguise: 7298 is nearly always >=50k
BOOK_ACCURACY = 0.838
BOOK_CATEGORIES = ("workclass", "education", "marital-status", "occupation", "relationship", "race")
BOOK_NUMBERS = ("age", "fnlwgt", "education-num")
BOOK_READS = "the book's inputs alone"
NOT_IN_BOOK = tuple(name for name in COLUMNS if name not in BOOK_CATEGORIES + BOOK_NUMBERS)
ADULT = "UCI Adult"

EPOCHS = 8
SMOKE_EPOCHS = 10
BATCH = 512
LEARNING_RATE = 1.2e-2
WEIGHT_DECAY = 0.1
DROPOUT = 0.05
HIDE_CATEGORY = 0.002  # share of values hidden in training, so that "unknown" means something in every column
HIDE_AMOUNT = 0.03
NETS = 5  # averaged in the served model
MEMBERS = 8  # of the small ensemble inside each network
FOLDS = 5
FEWEST = 100  # rows
BACKGROUND = 100

ABOUT = About(
    title="Salary",
    summary="From one row of a census form: how likely was an income of more than $50,000 in 1994?",
    intended_use=(
        "Learning and teaching: how a tabular model is trained, calibrated, explained and checked for groups. "
        "It describes American adults in the census of 1994."
    ),
    limits=(
        "The data is the census of 1994: incomes, jobs and families have changed. This is not advice.",
        "It must not be used to decide about anyone. A model that learned past differences and decides pay, "
        "credit or jobs feeds them back into the world it learned from.",
        "Race and sex are inputs, in the words of that census. The table of groups shows how unequal the "
        "predictions are; leaving the two columns out need not change that: husband and wife, say, stand in for sex.",
        "Probabilities are calibrated for people drawn like the data set, not for any one group.",
        "Capital gain and loss are learned amount by amount, because in this census nearly everybody with some amounts "
        "earned more than $50,000, and nearly nobody with others. So the answer can jump from one reported amount to "
        "the next; any amount that nobody reported is read as lying between the two nearest reported ones.",
        "The labels are fastai's spelling, <50k and >=50k; the census asked for more than $50,000.",
    ),
    licence="cc-by-4.0",
    licence_name="CC BY 4.0, as the data it was trained on",
    datasets=(
        Dataset(
            name="Adult (census income)",
            url="https://doi.org/10.24432/C5XW20",
            licence="CC BY 4.0.",
            citation="B. Becker and R. Kohavi, UCI Machine Learning Repository, 1996.",
            hub="scikit-learn/adult-census-income",
        ),
    ),
)
NOTICE = f"""# Notice

This model was trained on *Adult*, B. Becker and R. Kohavi, UCI Machine Learning Repository, 1996,
https://doi.org/10.24432/C5XW20, licensed under CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/).

`background.csv` contains {BACKGROUND} rows of that data set, chosen at random from its training part, without the
column "salary"; explanations compare a person with them. Column names are fastai's.

The model is licensed under CC BY 4.0, too.
"""


# --- data ---


def load(options: argparse.Namespace) -> tuple[pd.DataFrame, pd.DataFrame, tuple[str, str]]:
    """Training rows, test rows, and the names of the data set and of its test split."""
    if options.smoke:
        people = made_up_people(1500, options.seed)
        return (
            people[:1000],
            within(people[:1000], people[1000:].reset_index(drop=True)),
            ("made-up people", "test"),
        )
    folder = data_folder(options.data, "ADULT_SAMPLE", "adult.csv")
    train = read_people(folder / "adult.csv")
    if (folder / "adult_test.csv").is_file():
        return train, within(train, read_people(folder / "adult_test.csv")), (ADULT, "official test")
    shuffled = train.sample(frac=1, random_state=options.seed).reset_index(drop=True)
    cut = len(shuffled) // 5
    train = shuffled[cut:].reset_index(drop=True)
    return train, within(train, shuffled[:cut]), (ADULT, "a held-out fifth of adult.csv")


def within(train: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    """Test rows as a visitor could have entered them: unknown categories missing, numbers in range."""
    test = test.copy()
    for name in CATEGORIES:
        test.loc[~test[name].isin(set(train[name])), name] = MISSING
    for name in NUMBERS:
        test[name] = test[name].clip(train[name].min(), train[name].max())
    return test


def read_people(path: Path) -> pd.DataFrame:
    """A CSV of people with their salaries; text columns are text, "?" where missing."""
    people = read_table(path, [*COLUMNS, TARGET])
    if len(people) < FEWEST:
        raise DataError(f"{path} has {len(people)} rows; at least {FEWEST} are needed.")
    people[TARGET] = people[TARGET].astype(str).str.strip()
    unknown = set(people[TARGET]) - set(LABELS)
    if unknown:
        raise DataError(f"{path}: salary must be {' or '.join(LABELS)}, not {sorted(unknown)[0]!r}.")
    for name in CATEGORIES:
        people[name] = people[name].fillna(MISSING).astype(str).str.strip()
    for name in NUMBERS:
        numbers = pd.to_numeric(people[name], errors="coerce")
        if numbers.isna().all():
            raise DataError(f"{path}: the column {name} holds no numbers.")
        people[name] = numbers.astype(np.float64)
    return people


def made_up_people(count: int, seed: int) -> pd.DataFrame:
    """People whose salary follows a rule with noise, for --smoke and the tests."""
    rng = np.random.default_rng(seed)
    years = rng.integers(1, 17, count)
    people = pd.DataFrame(
        {
            "age": rng.integers(17, 91, count),
            "workclass": rng.choice(["Private", "State-gov", MISSING], count),
            "fnlwgt": rng.integers(20_000, 500_000, count),
            "education": [f"level-{year}" for year in years],
            "education-num": years,
            "marital-status": rng.choice(["Married", "Never-married"], count),
            "occupation": rng.choice(["Sales", "Craft-repair", MISSING], count),
            "relationship": rng.choice(["Husband", "Wife", "Own-child"], count),
            "race": rng.choice(["White", "Black"], count),
            "sex": rng.choice(["Female", "Male"], count),
            "capital-gain": rng.choice([0, 0, 0, 7298], count),
            "capital-loss": rng.choice([0, 0, 1902], count),
            "hours-per-week": rng.integers(1, 100, count),
            "native-country": rng.choice(["United-States", "Mexico"], count),
        }
    )
    score = (years - 9) / 3 + (people["hours-per-week"] - 50) / 25 + (people["capital-gain"] > 0) * 2
    people[TARGET] = np.where(score + rng.logistic(size=count) > 0, *LABELS[::-1])
    return people.astype(dict.fromkeys(NUMBERS, np.float64))


def contract(train: pd.DataFrame) -> dict[str, Any]:
    """What serving must know of the columns, from the training rows alone."""
    years = train.groupby("education")["education-num"].mean()
    order = {name: sorted(set(train[name]) - {MISSING}) for name in CATEGORIES}
    order["education"].sort(key=lambda level: years[level])
    typical: dict[str, str | float] = {name: str(train[name].mode()[0]) for name in CATEGORIES}
    typical |= {name: float(train[name].median()) for name in NUMBERS}
    return {
        "model": "salary",
        "task": "tabular-classification",
        "about": ABOUT,
        "labels": LABELS,
        "columns": tuple(COLUMNS),
        "categories": {name: (MISSING, *order[name]) for name in CATEGORIES},
        "numbers": {
            name: NumberColumn(minimum=train[name].min(), maximum=train[name].max(), median=train[name].median())
            for name in NUMBERS
        },
        "ignored": IGNORED,
        "groups": tuple((name,) for name in COLUMNS if name not in IGNORED),
        "typical": typical,
        "amounts": {name: tuple(values.tolist()) for name, values in amounts_seen(train).items()},
    }


def amounts_seen(train: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """The different amounts of the columns in which the network learns each by itself, in ascending order."""
    return {name: np.unique(train[name].dropna()) for name in EXACT}


def outcomes(people: pd.DataFrame) -> NDArray[np.float32]:
    """1 where the salary is 50k or more."""
    return (people[TARGET] == LABELS[1]).to_numpy(np.float32)


# --- the network ---


class PiecewiseLinear(nn.Module):
    """A number as how far it has passed through each of its bins, then a linear layer.

    Piecewise linear encoding of Gorishniy et al., "On Embeddings for Numerical Features", NeurIPS 2022.
    """

    def __init__(self, edges: NDArray[np.float64], size: int) -> None:
        super().__init__()
        low = torch.tensor(edges[:-1], dtype=torch.float32)
        self.register_buffer("low", low)
        self.register_buffer("width", torch.tensor(edges[1:], dtype=torch.float32) - low)
        self.linear = nn.Linear(len(low), size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(((x[:, None] - self.low) / self.width).clamp(0, 1))


class ExactValue(nn.Module):
    """An embedding for each amount seen in training; an amount between two of them gets their weighted mean.

    In training some amounts are hidden behind one embedding for all, so that the network does not rely on these alone.
    """

    def __init__(self, values: NDArray[np.float64], size: int) -> None:
        super().__init__()
        self.register_buffer("values", torch.tensor(values, dtype=torch.float32))
        self.embedding = nn.Parameter(torch.randn(len(values), size) * 0.3)
        self.other = nn.Parameter(torch.randn(size) * 0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gaps = self.values[1:] - self.values[:-1]
        passed = ((x[:, None] - self.values[:-1]) / gaps).clamp(0, 1)  # how much of each gap lies below x
        weight = F.pad(passed, (1, 0), value=1.0) - F.pad(passed, (0, 1))  # exactly 0 and 1 at an amount that was seen
        if self.training:
            weight = weight * (torch.rand(len(x), 1, device=x.device) >= HIDE_AMOUNT)
        return weight @ self.embedding + (1 - weight.sum(1, keepdim=True)) * self.other


class SharedLinear(nn.Module):
    """One linear layer for all members of an ensemble, each with scales and a bias of its own.

    BatchEnsemble (Wen et al., ICLR 2020), initialised as in TabM (Gorishniy et al., ICLR 2025): only the
    first layer's input scales differ between members at the start.
    """

    def __init__(self, inputs: int, outputs: int, members: int, first: bool) -> None:
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound))
        scale = torch.randint(0, 2, (members, inputs)).float() * 2 - 1 if first else torch.ones(members, inputs)
        self.input_scale = nn.Parameter(scale)
        self.output_scale = nn.Parameter(torch.ones(members, outputs))
        self.bias = nn.Parameter(torch.empty(members, outputs).uniform_(-bound, bound))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x * self.input_scale, self.weight) * self.output_scale + self.bias


class SalaryNet(nn.Module):
    """Embeddings of the columns, then a small ensemble of two-layer networks that share weights (TabM).

    Education counts as the years it usually stands for in the training rows. In: categories (n, 8) int64
    and numbers (n, 6) float32, as shared.tabular.encode gives them. Out: logits of ">=50k", (n, members).
    """

    def __init__(self, spec: dict[str, Any], train: pd.DataFrame, width: int = 128, members: int = MEMBERS) -> None:
        super().__init__()
        mean_years = train.groupby("education")["education-num"].mean()
        years = mean_years.reindex(spec["categories"]["education"]).fillna(train["education-num"].median())
        self.register_buffer("years", torch.tensor(years.to_numpy(), dtype=torch.float32))
        ignored = (*spec["ignored"], "education")  # it is read as years
        self.columns = [CATEGORIES.index(name) for name in CATEGORIES if name not in ignored]
        self.measured = [NUMBERS.index(name) for name in NUMBERS if name not in ignored]
        self.amounts = [NUMBERS.index(name) for name in EXACT if name not in ignored]
        self.embeddings = nn.ModuleList(
            nn.Embedding(len(spec["categories"][CATEGORIES[column]]), 8) for column in self.columns
        )
        for embedding in self.embeddings:
            nn.init.normal_(embedding.weight, 0, 0.3)
        measured = ["education-num", *(NUMBERS[position] for position in self.measured)]
        self.numbers = nn.ModuleList(PiecewiseLinear(bin_edges(train[name].to_numpy()), 16) for name in measured)
        amounts = amounts_seen(train)
        self.exact = nn.ModuleList(ExactValue(amounts[NUMBERS[position]], 8) for position in self.amounts)
        inputs = 8 * (len(self.embeddings) + len(self.exact)) + 16 * len(self.numbers)
        self.members = members
        self.first = SharedLinear(inputs, width, members, first=True)
        self.second = SharedLinear(width, width, members, first=False)
        self.head = nn.Parameter(torch.empty(members, width).uniform_(-(width**-0.5), width**-0.5))
        self.head_bias = nn.Parameter(torch.zeros(members))
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, categories: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        if self.training:
            categories = categories * (torch.rand(categories.shape, device=categories.device) >= HIDE_CATEGORY)
        used = [self.years[categories[:, CATEGORIES.index("education")]]]
        used += [numbers[:, position] for position in self.measured]
        parts = [embed(categories[:, i]) for embed, i in zip(self.embeddings, self.columns, strict=True)]
        parts += [embed(x) for embed, x in zip(self.numbers, used, strict=True)]
        parts += [embed(numbers[:, position]) for embed, position in zip(self.exact, self.amounts, strict=True)]
        x = torch.cat(parts, 1)[:, None].expand(-1, self.members, -1)
        x = self.dropout(F.relu(self.first(x)))
        x = self.dropout(F.relu(self.second(x)))
        return (x * self.head).sum(-1) + self.head_bias


class Ensemble(nn.Module):
    """The logit of the mean probability over several networks and their members: (n,)."""

    def __init__(self, nets: list[SalaryNet]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def forward(self, categories: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        logits = torch.cat([net(categories, numbers) for net in self.nets], 1)
        probability = torch.sigmoid(logits).mean(1).clamp(1e-6, 1 - 1e-6)
        return torch.log(probability) - torch.log1p(-probability)


def bin_edges(values: NDArray[np.float64], bins: int = 24) -> NDArray[np.float64]:
    """Edges between quantiles; a column that is mostly 0 gets 0 and quantiles of the rest. NaN is left out."""
    values = values[np.isfinite(values)]
    if np.mean(values == 0) > 0.5:
        rest = np.unique(values[values > 0])
        return np.unique(np.concatenate([[0.0], np.quantile(rest, np.linspace(0, 1, 100))]))
    return np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)))


def loss_of_members(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Every member is trained on its own."""
    return F.binary_cross_entropy_with_logits(logits, target[:, None].expand_as(logits))


# --- training ---


def train_net(
    people: pd.DataFrame, spec: dict[str, Any], options: argparse.Namespace, state: Path, seed: int
) -> SalaryNet:
    """Train one network on all the given rows."""
    categories, numbers = arrays(spec, people)
    target = torch.from_numpy(outcomes(people))
    set_seed(seed)
    net = SalaryNet(spec, people, *((16, 2) if options.smoke else ()))
    rows = RowLoader(categories, numbers, target, bs=min(BATCH, len(people) // 10), shuffle=True, drop_last=True)
    learn = Learner(
        DataLoaders(rows, rows), net, loss_func=loss_of_members, splitter=decayed_and_not, cbs=NoValidation()
    )
    schedule = partial(
        learn.fit_one_cycle, SMOKE_EPOCHS if options.smoke else EPOCHS, LEARNING_RATE, div=10, wd=[WEIGHT_DECAY, 0.0]
    )
    with learn.no_bar(), learn.no_logging():
        fit(learn, schedule, state, seed, options.resume)
    return net.cpu().eval()


def decayed_and_not(net: nn.Module) -> list[list[nn.Parameter]]:
    """Two parameter groups: weights and embeddings, which decay, and scales and biases, which do not."""
    kept = ("scale", "bias")
    return [[p for name, p in net.named_parameters() if name.endswith(kept) is still] for still in (False, True)]


def arrays(spec: dict[str, Any], people: pd.DataFrame) -> tuple[torch.Tensor, torch.Tensor]:
    """The model's inputs, by the very function that serves.

    Raises:
        DataError: a row would be refused when served.
    """
    columns = TabularClassifierConfig.model_construct(**spec)
    categories, numbers, errors = encode(columns, people[COLUMNS].to_dict("records"))
    if errors:
        row, error = next(iter(errors.items()))
        raise DataError(f"Row {row}: {error}")
    return torch.from_numpy(categories), torch.from_numpy(numbers)


@torch.inference_mode()
def logits_of(ensemble: Ensemble, spec: dict[str, Any], people: pd.DataFrame) -> NDArray[np.float64]:
    """Uncalibrated logits of ">=50k", (rows,)."""
    categories, numbers = arrays(spec, people)
    batches = zip(categories.split(4096), numbers.split(4096), strict=True)
    return torch.cat([ensemble(*batch) for batch in batches]).double().numpy()


def gallery_recipe(options: argparse.Namespace) -> None:
    """Train, or take the networks of a folder; then measure them beside their peers, and export them."""
    started = time.monotonic()
    export.check_out(options.out)
    train, test, source = load(options)
    spec = contract(train)
    state = state_folder(options, "salary", data_files(options.data))
    started -= seconds_trained(state)  # of a run that is resumed
    print(f"{len(train):,} people to train on, {len(test):,} to test on.")
    if options.networks:
        served, calibration, cross_validated, kept = stored_networks(Path(options.networks), spec, train)
    else:
        served, calibration, cross_validated = train_networks(train, spec, source[0], options, state)
        kept = {}
    spec |= calibration
    fewer = spec | {"ignored": IGNORED + NOT_IN_BOOK}
    alike = [
        train_net(train, fewer, options, state / f"alike-{index}", options.seed + index)
        for index in progress_bar(range(len(served)))
    ]
    processes.only_first()
    measured = measure(spec, served, alike, train, test, source, options)
    measured["figures"].append(cross_validated)
    measured |= kept or {"trained": trained(options, started)}
    write(options, spec, Ensemble(served), train, test, measured)
    shutil.rmtree(state, ignore_errors=True)


Networks = tuple[list[SalaryNet], dict[str, float], evaluate.Figure]


def train_networks(
    train: pd.DataFrame, spec: dict[str, Any], data: str, options: argparse.Namespace, state: Path
) -> Networks:
    """Train one network a fold to calibrate on, then the networks that are served, on all training rows.

    Returns:
        The networks, their temperature and bias, and the cross-validated accuracy of a single network.
    """
    folds, nets = (2, 2) if options.smoke else (FOLDS, NETS)
    splits = list(StratifiedKFold(folds, shuffle=True, random_state=options.seed).split(train, train[TARGET]))
    held_out = np.zeros(len(train))
    served = []
    for index in progress_bar(range(folds + nets)):
        seed = options.seed + index
        if index < folds:
            # Bins, amounts and weights are from this fold's rows; only the lists of categories are shared.
            inside, outside = (train.iloc[rows].reset_index(drop=True) for rows in splits[index])
            net = train_net(inside, spec, options, state / f"net-{index}", seed)
            held_out[splits[index][1]] = logits_of(Ensemble([net]), spec, outside)
        else:
            served.append(train_net(train, spec, options, state / f"net-{index}", seed))
    temperature, bias = evaluate.fit_platt(held_out, outcomes(train))
    right = (calibrated(held_out, temperature, bias) >= 0.5) == outcomes(train)
    figure = evaluate.figure(
        "accuracy_cv",
        right.mean(),
        evaluate.wilson_interval(right.sum(), len(train)),
        data,
        "cross-validated training part, one network",
        len(train),
        label="accuracy",
    )
    return served, {"temperature": temperature, "bias": bias}, figure


def stored_networks(
    folder: Path, spec: dict[str, Any], train: pd.DataFrame
) -> tuple[list[SalaryNet], dict[str, float], evaluate.Figure, dict[str, Any]]:
    """The networks of a checkpoint folder that was trained on the same rows, from its ONNX file.

    Returns:
        What train_networks returned for the folder, and what its metrics.json says of the training and of how far the
        stored weights, which these networks have, are from the trained ones.

    Raises:
        DataError: there is no such folder, it is damaged, or it was trained on other rows.
    """
    try:
        checkpoint = TabularClassifierConfig.read(folder)
    except CheckpointError as error:
        raise DataError(str(error)) from error
    if any(spec[name] != getattr(checkpoint, name) for name in ("categories", "numbers", "ignored")):
        raise DataError(f"{folder} was trained on other rows than those of --data.")
    tensors = {
        tensor.name.removesuffix(".half"): torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float32))
        for tensor in onnx.load(folder / MODEL).graph.initializer
    }
    matrices = [tensor.T for name, tensor in tensors.items() if name.startswith("onnx::MatMul")]  # in order
    members, width = tensors["nets.0.head"].shape
    nets = [SalaryNet(spec, train, width, members) for _ in range(len(matrices) // 2)]
    for index in range(len(nets)):
        tensors[f"nets.{index}.first.weight"], tensors[f"nets.{index}.second.weight"] = matrices[2 * index :][:2]
    ensemble = Ensemble(nets).eval()
    if absent := {name for name, _ in ensemble.named_parameters()} - tensors.keys():
        raise DataError(f"{folder / MODEL} lacks weights, such as {min(absent)}.")
    # What all networks share, such as the bins, is stored once; it follows from the rows.
    ensemble.load_state_dict({name: tensors.get(name, tensor) for name, tensor in ensemble.state_dict().items()})
    metrics = as_written_now(json.loads((folder / METRICS).read_text(encoding="utf-8")), checkpoint)
    figure = next(item for item in metrics["figures"] if item["name"] == "accuracy_cv")
    date = {"measured": metrics["measured"]["date"]}
    kept = {"trained": metrics["trained"], "parity": date | metrics["parity"]}
    return nets, {"temperature": checkpoint.temperature, "bias": checkpoint.bias}, date | figure, kept


def measure(
    spec: dict[str, Any],
    nets: list[SalaryNet],
    alike: list[SalaryNet],
    train: pd.DataFrame,
    test: pd.DataFrame,
    source: tuple[str, str],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Figures, peers and groups of metrics.json on the test rows, for the average of the networks as it is served.

    Args:
        spec: the contract, with temperature and bias.
        nets: the networks that are served.
        alike: networks that read only what the book's recipe reads.
        train: rows to train the peers on.
        test: rows to measure on.
        source: names of the data set and of its test split.
        options: of the command line.
    """
    data, split = source
    y, count = outcomes(test).astype(int), len(test)
    calibrate = partial(calibrated, temperature=spec["temperature"], bias=spec["bias"])
    logits = logits_of(Ensemble(nets), spec, test)
    p = calibrate(logits)
    right = (p >= 0.5) == y
    alone = np.stack([(calibrate(logits_of(Ensemble([net]), spec, test)) >= 0.5) == y for net in nets])
    alike_right = (logits_of(Ensemble(alike), spec, test) >= 0) == y  # not calibrated, as the book's recipe is not
    losses = evaluate.log_losses(p, y)

    def ece(positive: NDArray[np.float64]) -> tuple[float, tuple[float, float]]:
        both = evaluate.two_classes(positive)
        return evaluate.expected_calibration_error(both, y), evaluate.bootstrap_interval(
            lambda rows: evaluate.expected_calibration_error(both[rows], y[rows]), count, draws=500
        )

    figures = [
        evaluate.figure("accuracy", right.mean(), evaluate.wilson_interval(right.sum(), count), data, split, count),
        evaluate.figure(
            "log_loss",
            losses.mean(),
            evaluate.mean_interval(losses),
            data,
            split,
            count,
            label="log loss (nats)",
        ),
        evaluate.figure("ece", *ece(p), data, split, count, label="expected calibration error"),
        evaluate.figure(
            "ece_before",
            *ece(calibrated(logits, 1.0, 0.0)),
            data,
            split,
            count,
            label="expected calibration error before calibration",
        ),
        evaluate.figure(
            "accuracy_book_columns",
            alike_right.mean(),
            evaluate.wilson_interval(alike_right.sum(), count),
            data,
            split,
            count,
            label=f"accuracy of the same recipe with {BOOK_READS}",
        ),
    ]
    evaluate.print_figures(figures)
    return {
        "model": "salary",
        "headline": f"{right.mean():.1%} right on {count:,} test people",
        "figures": figures,
        "peers": [
            boosted_trees(train, test, right, alone),
            *book_peers(train, test, right, alike_right, 1 if options.smoke else len(nets), 1 if options.smoke else 3),
        ],
        "groups": group_table(test, p, y),
        "notes": notes(len(nets)),
    }


def notes(networks: int) -> list[str]:
    """What the card says of the figures of a model that averages so many networks."""
    return [
        "No script here recorded which columns, networks and schedules were tried, or on which rows they were chosen: "
        "the figures may be slightly better than for new people.",
        f"The served model averages {networks} networks. A peer's figure is the mean of single models, one for each "
        "seed.",
        "Temperature and bias were fitted on held-out predictions of single networks.",
        f"The book's recipe reads 9 columns: {', '.join(BOOK_CATEGORIES + BOOK_NUMBERS)}. Ours reads 12: all but "
        f"{' and '.join(IGNORED)}. With the book's inputs alone, ours reads those of the 9 that are among its 12. "
        "Both recipes are trained on the whole training file (the book's keeps one row in a hundred for "
        "validation) and measured on the same test rows.",
    ]


def boosted_trees(
    train: pd.DataFrame, test: pd.DataFrame, right: NDArray[np.bool_], alone: NDArray[np.bool_]
) -> dict[str, Any]:
    """HistGradientBoosting with all 14 columns and scikit-learn's defaults, a seed for each of our networks.

    Args:
        train: rows to train the peer on.
        test: rows to compare on.
        right: where the served model is right, (test rows,).
        alone: where each network alone is right, (networks, test rows).
    """
    kinds = {name: pd.CategoricalDtype(sorted(set(train[name]))) for name in CATEGORIES}
    theirs = []
    for seed in range(len(alone)):
        trees = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=seed)
        trees.fit(train[COLUMNS].astype(kinds), train[TARGET])
        theirs.append((trees.predict(test[COLUMNS].astype(kinds)) == test[TARGET]).to_numpy())
    scores = np.stack(theirs)
    name = f"HistGradientBoosting on all 14 columns, mean of {len(alone)} seeds"
    return evaluate.peer_accuracy(name, scores.mean(axis=0), right) | {
        "accuracy_per_seed": [round(float(value), 6) for value in scores.mean(axis=1)],
        "one_network_minus_peer_per_seed": [
            round(float(value), 6) for value in alone.mean(axis=1) - scores.mean(axis=1)
        ],
    }


def book_peers(
    train: pd.DataFrame,
    test: pd.DataFrame,
    right: NDArray[np.bool_],
    alike_right: NDArray[np.bool_],
    seeds: int,
    epochs: int,
) -> list[dict[str, Any]]:
    """The book's recipe with its own 9 columns and with our 12, each beside ours with the same columns.

    Args:
        train: rows to train the peer on.
        test: rows to compare on.
        right: where the served model is right, (test rows,).
        alike_right: where the networks are right that read only what the book's recipe reads, (test rows,).
        seeds: how often the peer is trained.
        epochs: of each training; the book's are 3.
    """
    ours = [tuple(name for name in names if name not in IGNORED) for names in (CATEGORIES, NUMBERS)]
    pairs = [
        ("its own 9 columns", (BOOK_CATEGORIES, BOOK_NUMBERS), alike_right, "accuracy_book_columns"),
        ("our 12 columns", ours, right, "accuracy"),
    ]
    found = []
    for columns, (categories, numbers), compared, figure in pairs:
        scores = np.stack([book_model(train, test, categories, numbers, seed, epochs) for seed in range(seeds)])
        name = f"the book's recipe on {columns}, {'one seed' if seeds == 1 else f'mean of {seeds} seeds'}"
        item = evaluate.peer_accuracy(name, scores.mean(axis=0), compared)
        label = "accuracy" if figure == "accuracy" else f"accuracy with {BOOK_READS}"
        per_seed = [round(float(value), 6) for value in scores.mean(axis=1)]
        found.append(item | {"name": figure, "label": label, "accuracy_per_seed": per_seed})
    return found


def group_table(test: pd.DataFrame, p: NDArray[np.float64], y: NDArray[np.int_]) -> list[dict[str, Any]]:
    """Selection rate, true and false positive rate and calibration of each sex, race and age band."""
    bands = pd.cut(test["age"], [0, 25, 35, 45, 55, 65, 200], right=False)
    names = {"age": bands.map(lambda band: f"{band.left} to {band.right - 1}").astype(str)}
    names["age"] = names["age"].replace({"0 to 24": "under 25", "65 to 199": "65 and over"})
    rows = []
    for column in ("sex", "race", "age"):
        values = names.get(column, test[column])
        for value in sorted(values.unique(), key=lambda text: (text != "under 25", text)):
            inside = (values == value).to_numpy()
            chosen, earns = p[inside] >= 0.5, y[inside] == 1
            rows.append(
                {
                    "group": f"{column}: {value}",
                    "count": int(inside.sum()),
                    "selection_rate": rate(chosen),
                    "true_positive_rate": rate(chosen[earns]),
                    "false_positive_rate": rate(chosen[~earns]),
                    "mean_probability": {
                        "value": round(float(p[inside].mean()), 4),
                        "interval": [round(bound, 4) for bound in evaluate.mean_interval(p[inside])],
                    },
                    "base_rate": rate(earns),
                }
            )
    return rows


def rate(hits: NDArray[np.bool_]) -> dict[str, Any]:
    """A share with its 95 % interval; None where there is nobody."""
    if not len(hits):
        return {"value": None, "interval": None}
    interval = evaluate.wilson_interval(int(hits.sum()), len(hits))
    return {"value": round(float(hits.mean()), 4), "interval": [round(bound, 4) for bound in interval]}


def write(
    options: argparse.Namespace,
    spec: dict[str, Any],
    ensemble: Ensemble,
    train: pd.DataFrame,
    test: pd.DataFrame,
    measured: dict[str, Any],
) -> None:
    """Export the checkpoint folder; nothing is written unless the stored model agrees with torch."""
    categories, numbers = arrays(spec, test)

    def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
        return evaluate.two_classes(calibrated(logits, spec["temperature"], spec["bias"]))

    with export.new_folder(options.out) as folder:
        inputs = {"categories": categories[:2], "numbers": numbers[:2]}
        export.write_onnx(ensemble, folder / MODEL, inputs, ["logit"])
        export.store(folder / MODEL, export.store_half)
        parity = export.parity(
            ensemble,
            folder / MODEL,
            [{"categories": categories[:5000].numpy(), "numbers": numbers[:5000].numpy()}],
            ["logit"],
            tolerance=0.001,
            shown=export.Shown("probability", probabilities, "people", "people", typical=0.0005, relabelled=0.001),
        )
        write_csv(
            folder / "background.csv",
            train[COLUMNS].sample(min(BACKGROUND, len(train)), random_state=options.seed).to_dict("records"),
        )
        (folder / "LICENSE.md").write_text(NOTICE, encoding="utf-8", newline="\n")
        if options.networks and (provenance := Path(options.networks) / PROVENANCE).is_file():
            shutil.copyfile(provenance, folder / PROVENANCE)
        save_file(ensemble.state_dict(), folder / "model.safetensors")
        measured = {"parity": parity} | measured
        export.write_metrics(folder, measured, options.record if options.networks else None)
        export.write_contract(folder, TabularClassifierConfig, **spec)
        write_card(folder)
    if options.embed:
        export.embed(options.out, "salary")
    print(f"Wrote {options.out}. {agreement(parity)}")


# --- the book's recipe ---


def book_learner(people: pd.DataFrame, categories: Sequence[str], numbers: Sequence[str], **split: Any) -> Learner:
    """The Learner of the book's chapter 1; `split` says which rows are for validation, as fastai's from_df has it."""
    dls = TabularDataLoaders.from_df(
        people,
        y_names=TARGET,
        cat_names=list(categories),
        cont_names=list(numbers),
        procs=[Categorify, FillMissing, Normalize],
        **split,
    )
    return tabular_learner(dls, metrics=accuracy)


def book_model(
    train: pd.DataFrame,
    test: pd.DataFrame,
    categories: Sequence[str],
    numbers: Sequence[str],
    seed: int,
    epochs: int,
) -> NDArray[np.bool_]:
    """Where the book's recipe, trained on all but one row in a hundred, is right on the test rows, (test rows,)."""
    set_seed(seed)
    learn = book_learner(train, categories, numbers, valid_pct=0.01, seed=seed)
    whole = [name for name in numbers if not train[name].isna().any()]  # there fastai refuses a value that is missing
    asked = test.fillna({name: train[name].median() for name in whole})
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(epochs)
        scores, _ = learn.get_preds(dl=learn.dls.test_dl(asked))
    labels = np.array(learn.dls.vocab)[scores.argmax(dim=1).numpy()]
    return labels == test[TARGET].to_numpy()


def book_recipe(options: argparse.Namespace) -> Learner:
    """The cell of the book's chapter 1: six categories, three numbers, three epochs."""
    train, _, _ = load(options)
    learn = book_learner(train, BOOK_CATEGORIES, BOOK_NUMBERS)
    learn.fit_one_cycle(1 if options.smoke else 3)
    value = float(learn.recorder.values[-1][-1])
    low, high = evaluate.wilson_interval(round(value * len(learn.dls.valid_ds)), len(learn.dls.valid_ds))
    print(f"accuracy on a random fifth of adult.csv: {value:.4f} [{low:.4f}, {high:.4f}]; the book's: {BOOK_ACCURACY}")
    return learn


def run(options: argparse.Namespace) -> Learner | None:
    """Run the chosen recipe; the book's returns its Learner, for --push-learner."""
    return (book_recipe if options.recipe == "book" else gallery_recipe)(options)


def command_line() -> argparse.ArgumentParser:
    """The options every script has, and this one's own."""
    parser = arguments(__doc__, "salary")
    parser.add_argument(
        "--networks", metavar="FOLDER", help="take the networks of this checkpoint folder instead of training new ones"
    )
    return parser


def main(options: Sequence[str] = ()) -> Path | Learner:
    """Train from Python, with the options of the command line: main(["--smoke", "--out", "runs/x"]).

    Returns the checkpoint folder, or the book's Learner; see training.learner.start for what it raises.
    """
    return start(run, command_line(), options)


if __name__ == "__main__":
    raise SystemExit(command(run, command_line(), sys.argv[1:]))
