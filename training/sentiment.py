"""Is a review for or against the film: the text model of the book, and the same for texts of your own.

    python -m training.sentiment --smoke                     seconds, on reviews made up on the spot
    python -m training.sentiment                             downloads IMDB; meant for a GPU
    python -m training.sentiment --quick                     for a CPU: shorter texts, one epoch, no teachers
    python -m training.sentiment --data FILE.csv             your own: columns text and label, any labels
    python -m training.sentiment --recipe book               the book's own cell, with its figure beside ours
    python -m training.sentiment --measure FOLDER            measure a model that is there again, without training

--data also takes a folder with train.csv and test.csv (or .csv.xz, with columns text and label), or with train and
test as IMDB has them; unsup.csv, or a folder of that name, may add texts without labels. Of your own texts a part is
set aside for validation and another for the test.
"""

import argparse
import copy
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.torch_core import default_device
from fastprogress.fastprogress import progress_bar
from numpy.typing import NDArray
from scipy.optimize import minimize, nnls
from scipy.special import log_softmax
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from tokenizers import Tokenizer
from tokenizers.implementations.bert_wordpiece import BertWordPieceTokenizer
from torch import nn
from torch.nn import functional as F
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from shared.config import MODEL, About, Dataset
from shared.errors import BadInput, CheckpointError
from shared.session import softmax
from shared.text_classifier import (
    TOKENIZER,
    TextClassifier,
    TextClassifierConfig,
    TextClassifierPrediction,
    cleaned,
    load_tokenizer,
    read_tokens,
)
from training import evaluate, export, processes
from training.card import agreement, write_card
from training.data import DataError, data_files, data_folder, read_table
from training.hard_cases import NOT_PROSE, REVIEWS
from training.learner import (
    adamw,
    arguments,
    command,
    fit,
    loader_workers,
    seconds_trained,
    set_seed,
    start,
    state_folder,
    trained,
)
from training.masked_language import pretrain
from training.pictures import mixed_precision, pretrained, with_smaller_batches
from training.tokens import SPECIAL, TokenLoader, batches, marked, padded, prune

HUB_INIT = "sentence-transformers/all-MiniLM-L6-v2"
IMDB = "IMDB"
BOOK_ACCURACY = 0.9314  # AWD-LSTM, 1 + 4 epochs
IMDB_SIZE = 25_000  # of its training part, and of its test

MAX_TOKENS, HEAD = 512, 128  # head and tail as in Sun et al., "How to Fine-Tune BERT for Text Classification?", 2019
QUICK_TOKENS, QUICK_HEAD, QUICK_EPOCHS = 256, 96, 1
SMOKE_TOKENS, SMOKE_EPOCHS, SMOKE_RATE = 32, 12, 3e-3
VOCABULARY = 18_000  # the most frequent of the encoder's 30,522 tokens
VALID = 0.08  # of the training texts: to calibrate on
TEST = 0.2  # of one's own texts
BATCH = 32
EPOCHS, RATES = 3, slice(3e-5, 2e-4)  # from the embeddings to the last layer
MASKED_EPOCHS = 6  # on a GPU
TEACHERS = (1.0, 2.0, 1.5)  # times RATES, so that they differ
STUDENTS = (1.0, 1.5)
SMOOTHING = 0.05
CLEAR_FROM = 0.7  # probability
NOT_PROSE_SHARE = 0.005  # of passages of the training texts that count as no prose
PASSAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)  # tokens
FEWEST = 20  # texts of each label
LENGTHS = ((1, 100), (101, 200), (201, 400), (401, 10**6))  # words

PARITY = 1000  # texts
PARITY_FLOAT = 1e-3  # largest difference allowed of any output, before the weights are stored in int8 ...
PARITY_STORED = 0.5  # ... and afterwards, of any one probability
TYPICAL, RELABELLED = 0.25, 0.01  # in int8: what 99.9 % of the texts may differ by; share of them with another label
MOST_LOST = 0.003  # accuracy lost by storing the weights in int8

ABOUT = About(
    title="Review sentiment",
    summary="A film review in English: for or against, which words say so, and how sure is it?",
    intended_use="Learning and teaching: how a text classifier is fine-tuned, calibrated, made small and explained.",
    limits=(
        "It was trained on reviews of films; reviews with 5 or 6 stars of 10 are not in the data. How it does on "
        "tweets, news and reviews of other things was not measured.",
        "It misreads reviews that are ironic, negated or turn at the end, and may be certain all the same: see the "
        "hard cases.",
        "It reads English. How many texts in other languages, lists and pieces of code it notices, the figures say.",
        "It may give weight to the names of people and films because of the reviews they occurred in. That is no "
        "judgement on them.",
    ),
    licence="other",
    licence_name="IMDB reviews, for research; Apache-2.0 for the network it began with",
    datasets=(
        Dataset(
            name="Large Movie Review Dataset (IMDB)",
            url="https://ai.stanford.edu/~amaas/data/sentiment/",
            licence="For research, with citation; the reviews belong to their authors.",
            citation="A. L. Maas, R. E. Daly, P. T. Pham, D. Huang, A. Y. Ng and C. Potts, ACL 2011.",
            hub="stanfordnlp/imdb",
        ),
    ),
    base_model=HUB_INIT,
)
NOTICE = """# Notice

This model was trained on the *Large Movie Review Dataset*, A. L. Maas, R. E. Daly, P. T. Pham, D. Huang, A. Y. Ng and
C. Potts, "Learning Word Vectors for Sentiment Analysis", ACL 2011 (https://ai.stanford.edu/~amaas/data/sentiment/).
The reviews were written by users of IMDb; the data is offered for research, and so is this model.

It began as all-MiniLM-L6-v2 (Apache-2.0). `tokenizer.json` has those of its tokens that are frequent in the reviews.
No review is in this folder.
"""
OWN_NOTICE = """# Notice

This model was trained on texts of its author's; whatever terms they are under hold for it, too.
It began as all-MiniLM-L6-v2 (Apache-2.0).
"""


@dataclass(frozen=True)
class Texts:
    """Some cleaned texts, and the index of each one's label."""

    texts: list[str]
    y: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Sequence[int] | NDArray[np.intp]) -> "Texts":
        """The texts with these indices."""
        return Texts([self.texts[row] for row in rows], self.y[rows])


@dataclass(frozen=True)
class Task:
    """What is to be learned, and what to write about it."""

    labels: tuple[str, ...]
    train: Texts
    valid: Texts
    test: Texts
    unlabelled: list[str]  # more texts of the kind
    where: tuple[str, str]  # names of the data set and of its test split
    about: About
    notice: str


# --- data ---


def load(options: argparse.Namespace) -> Task:
    """Texts and labels, from wherever the options say; no text of the test is trained on, not even a copy of one."""
    if options.smoke and not options.data:
        return own_texts(made_up_reviews(400, options.seed), "made-up reviews", options)
    if options.data and Path(options.data).is_file():
        path = Path(options.data)
        return own_texts(read_texts(path), path.stem, options)
    folder = Path(options.data) if options.data else data_folder(None, "IMDB", "")
    parts = {part: read_part(folder, part) for part in ("train", "test")}
    labels = tuple(sorted(set(parts["train"]["label"])))
    if not set(parts["test"]["label"]) <= set(labels):
        raise DataError(f"{folder}: the test has labels that the training texts do not have.")
    train, test = (indexed(parts[part], labels) for part in ("train", "test"))
    train, valid = divide(without_copies(train, test.texts), VALID, options.seed)
    is_imdb = labels == ("neg", "pos") and len(parts["train"]) == len(parts["test"]) == IMDB_SIZE
    about = ABOUT if is_imdb else own_about(labels, folder.resolve().name)
    where = (IMDB if is_imdb else folder.resolve().name, "official test")
    known = {*train.texts, *valid.texts, *test.texts}
    unlabelled = [text for text in read_unlabelled(folder) if text not in known]
    return Task(labels, train, valid, test, unlabelled, where, about, NOTICE if is_imdb else OWN_NOTICE)


def read_part(folder: Path, part: str) -> pd.DataFrame:
    """Texts and labels of one part of the data set, in either layout.

    Raises:
        DataError: it is in neither.
    """
    for path in (folder / f"{part}.csv", folder / f"{part}.csv.xz"):
        if path.is_file():
            return read_texts(path)
    files = [path for path in sorted((folder / part).glob("*/*.txt")) if path.parent.name != "unsup"]
    if not files:
        raise DataError(f"There is neither {part}.csv nor {part}/*/*.txt in {folder}; --data must name such a folder.")
    return pd.DataFrame({"text": [path.read_text("utf-8") for path in files], "label": [p.parent.name for p in files]})


def read_unlabelled(folder: Path) -> list[str]:
    """Cleaned texts without labels that lie beside the data set, in either layout; none if there are none."""
    for path in (folder / "unsup.csv", folder / "unsup.csv.xz"):
        if path.is_file():
            texts = read_table(path, ["text"], dtype=str, keep_default_na=False)["text"].tolist()
            break
    else:
        texts = [path.read_text("utf-8") for path in sorted(folder.glob("**/unsup/*.txt"))]
    everything = indexed(pd.DataFrame({"text": texts, "label": ""}), [""])
    return without_copies(everything, []).texts


def read_texts(path: Path) -> pd.DataFrame:
    """A CSV with the columns text and label, both as text, whatever they look like.

    Raises:
        DataError: it cannot be read, lacks a column, or has a row without a label.
    """
    table = read_table(path, ["text", "label"], dtype=str, keep_default_na=False)
    if (table["label"] == "").any():
        raise DataError(f"{path}, row {int((table['label'] == '').idxmax()) + 2}, has no label.")
    return table


def indexed(table: pd.DataFrame, labels: Sequence[str]) -> Texts:
    """A table's texts, cleaned, and indices of labels; empty texts are left out."""
    codes = {label: index for index, label in enumerate(labels)}
    texts, y = [], []
    for text, label in zip(table["text"], table["label"].astype(str), strict=True):
        try:
            texts.append(cleaned(text))
        except BadInput:
            continue
        y.append(codes[label])
    return Texts(texts, np.array(y, np.int64))


def own_texts(table: pd.DataFrame, name: str, options: argparse.Namespace) -> Task:
    """A table of texts with any labels, divided at random.

    Raises:
        DataError: there are fewer than two labels, or too few texts of one.
    """
    labels = tuple(sorted(set(table["label"].astype(str))))
    if len(labels) < 2:
        raise DataError(f"{name} has only the label {labels[0]!r}; at least two are needed.")
    everything = without_copies(indexed(table, labels), [])
    counts = np.bincount(everything.y, minlength=len(labels))
    if counts.min() < FEWEST:
        few = labels[int(counts.argmin())]
        raise DataError(f"{name} has {counts.min()} different texts labelled {few!r}; at least {FEWEST} are needed.")
    rest, test = divide(everything, TEST, options.seed)
    train, valid = divide(rest, min(max(VALID, 20 / len(rest)), 0.3), options.seed)
    return Task(labels, train, valid, test, [], (name, "held-out fifth"), own_about(labels, name), OWN_NOTICE)


def own_about(labels: Sequence[str], name: str) -> About:
    """What there is to say of a model of somebody's own texts; edit gallery.json to say more."""
    return About(
        title=name.replace("_", " ").replace("-", " ").capitalize(),
        summary=f"A text: is it {', '.join(labels[:-1])} or {labels[-1]}?",
        intended_use="Whatever its author's texts are about.",
        limits=("The probabilities hold for texts like those it was trained on.",),
        licence="other",
        licence_name="as its author's texts",
        datasets=(),
        base_model=HUB_INIT,
    )


def without_copies(texts: Texts, others: Sequence[str]) -> Texts:
    """The first of equal texts, and none that is among the others."""
    seen = set(others)
    rows = []
    for row, text in enumerate(texts.texts):
        if text not in seen:
            rows.append(row)
            seen.add(text)
    return texts.take(rows)


def divide(texts: Texts, share: float, seed: int) -> tuple[Texts, Texts]:
    """Two parts at random, the second with this share."""
    order = np.random.default_rng(seed).permutation(len(texts))
    cut = max(1, round(share * len(texts)))
    return texts.take(order[cut:]), texts.take(order[:cut])


def made_up_reviews(count: int, seed: int) -> pd.DataFrame:
    """Reviews out of a few words, for --smoke and the tests."""
    rng = np.random.default_rng(seed)
    good, bad = ("wonderful", "moving", "funny", "brilliant"), ("dull", "awful", "boring", "clumsy")
    plain = ("the", "film", "was", "a", "story", "about", "people", "in", "town", "and", "its", "actors", "music")
    texts, labels = [], []
    for index in range(count):
        words = rng.choice(plain, rng.integers(6, 40)).tolist()
        for word in rng.choice(good if index % 2 else bad, 3):
            words.insert(int(rng.integers(len(words))), str(word))
        texts.append(" ".join(words) + ".")
        labels.append("pos" if index % 2 else "neg")
    return pd.DataFrame({"text": texts, "label": labels})


# --- tokens ---


def encoder(options: argparse.Namespace, task: Task) -> tuple[Tokenizer, BertForSequenceClassification]:
    """The tokenizer and the classifier to begin with, of the tokens that the training texts need."""
    tokenizer, network = encoder_files(options, task.train)
    most, head = lengths_read(options)
    ids = [tokens.ids for tokens in read_tokens(tokenizer, task.train.texts, most - 2, head)]
    counts = np.bincount(np.concatenate(ids), minlength=tokenizer.get_vocab_size())
    tokenizer, kept = prune(tokenizer, counts, VOCABULARY)
    return tokenizer, with_tokens(network, kept, task.labels)


def encoder_files(options: argparse.Namespace, train: Texts) -> tuple[Tokenizer, BertForSequenceClassification]:
    """The tokenizer and the network to begin with, from --init or the Hub; small and random for --smoke."""
    if options.smoke:
        words = sorted({word for text in train.texts for word in text.lower().replace(".", "").split()})
        vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *words, *(f"##{a}" for a in "aes"), *"aes"]
        tokenizer = BertWordPieceTokenizer({token: index for index, token in enumerate(dict.fromkeys(vocabulary))})
        config = BertConfig(
            vocab_size=tokenizer.get_vocab_size(), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=64, max_position_embeddings=64,
        )  # fmt: skip
        return tokenizer._tokenizer, BertForSequenceClassification(config)
    network = pretrained(BertForSequenceClassification, options.init)
    with tempfile.TemporaryDirectory() as folder:
        try:
            AutoTokenizer.from_pretrained(options.init).save_pretrained(folder)
        except (OSError, ValueError) as error:
            raise DataError(f"{options.init} has no tokenizer ({error}); name another model with --init.") from error
        return load_tokenizer(Path(folder) / TOKENIZER), network


# --- the network ---


class ReviewNet(nn.Module):
    """A text classifier of transformers: token indices (n, length), 0 for padding, to logits (n, labels)."""

    def __init__(self, classifier: BertForSequenceClassification) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.classifier(input_ids=ids, attention_mask=(ids > 0).long()).logits


class Served(nn.Module):
    """What is exported: token indices (n, length), without padding, to logits (n, labels) and prose scores (n,).

    A prose score is the mean log frequency, in the training texts, of a text's tokens with letters in them. English
    prose has a narrow range of it; other languages, lists of names and code are made of rarer tokens.

    Args:
        classifier: the network.
        log_frequency: of each token, (tokens,).
        counted: whether a token counts, (tokens,).
    """

    def __init__(
        self, classifier: BertForSequenceClassification, log_frequency: torch.Tensor, counted: torch.Tensor
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.register_buffer("log_frequency", log_frequency)
        self.register_buffer("counted", counted.float())

    def forward(self, input_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.classifier(input_ids=input_ids).logits
        weights = self.counted[input_ids]
        nothing = (weights.sum(1) == 0).float() * self.log_frequency.min()
        return logits, (self.log_frequency[input_ids] * weights).sum(1) / weights.sum(1).clamp(min=1) + nothing


def frequencies(tokenizer: Tokenizer, ids: Sequence[NDArray[np.int64]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Log frequency of each token, smoothed by one half; and whether it has letters, or stands for what has none."""
    size = tokenizer.get_vocab_size()
    counts = np.bincount(np.concatenate(ids), minlength=size) + 0.5
    names = [tokenizer.id_to_token(index) or "" for index in range(size)]
    unknown = tokenizer.token_to_id("[UNK]")
    counts[unknown] = 0.5  # in the training texts it is a rare sign; elsewhere it may be every word
    counted = [
        index == unknown or (name[:1] != "[" and any(map(str.isalpha, name))) for index, name in enumerate(names)
    ]
    return torch.tensor(np.log(counts / counts.sum()), dtype=torch.float32), torch.tensor(counted)


def prose_range(
    log_frequency: torch.Tensor, counted: torch.Tensor, ids: Sequence[NDArray[np.int64]], seed: int
) -> tuple[float, tuple[float, float]]:
    """The mean prose score of some texts, and a and b: all but a few of their passages of n tokens have one of at
    least the mean less sqrt(a + b / n).
    """
    rng = np.random.default_rng(seed)
    flat = np.concatenate(ids)
    is_counted = counted.numpy()[flat]
    worths = np.r_[0, np.cumsum(log_frequency.double().numpy()[flat] * is_counted)]
    counts = np.r_[0, np.cumsum(is_counted)]
    lengths = np.array([len(row) - 2 for row in ids])
    firsts = np.cumsum(lengths + 2) - lengths - 1
    mean, sizes, depths = worths[-1] / counts[-1], [], []
    for size in PASSAGES:
        long = lengths >= size
        starts = firsts[long] + rng.integers(np.maximum(lengths[long] - size, 0) + 1)
        found = counts[starts + size] - counts[starts]
        scores = (worths[starts + size] - worths[starts])[found > 0] / found[found > 0]
        if len(scores) >= FEWEST:
            sizes.append(size)
            depths.append(max(mean - np.quantile(scores, NOT_PROSE_SHARE), 1e-3))
    if not sizes:  # too few texts to tell: everything is prose
        return float(mean), (float(mean - log_frequency.min()) ** 2, 0.0)
    squares = np.square(depths)
    a, b = nnls(np.stack([1 / squares, 1 / squares / sizes], 1), np.ones(len(sizes)))[0]
    wider = max(1.0, float(np.max(squares / (a + b / np.array(sizes)))))  # the bound holds for each size
    return float(mean), (float(a * wider), float(b * wider))


def three_groups(net: ReviewNet) -> list[list[nn.Parameter]]:
    """Parameters of the embeddings and the first half, the second half, and what is new, for rates that differ."""
    bert = net.classifier.bert
    half = len(bert.encoder.layer) // 2
    groups = [
        [bert.embeddings, *bert.encoder.layer[:half]],
        [*bert.encoder.layer[half:]],
        [bert.pooler, net.classifier.classifier],
    ]
    return [[p for module in modules for p in module.parameters()] for modules in groups]


# --- training ---


def gallery_recipe(options: argparse.Namespace) -> None:
    """A small encoder with the tokens that reviews need, first made familiar with their language, then fine-tuned."""
    started = time.monotonic()
    torch.backends.cuda.enable_cudnn_sdp(False)  # cuDNN's attention plans anew for each length of text
    export.check_out(options.out)
    task = load(options)
    most, head = lengths_read(options)
    print(f"{len(task.train):,} texts to train on, {len(task.valid):,} to validate on, {len(task.test):,} to test on.")
    state = state_folder(options, "sentiment", data_files(options.data))
    started -= seconds_trained(state)  # of a run that is resumed
    tokenizer, classifier = encoder(options, task)
    texts = [task.train.texts, task.valid.texts, [] if options.quick else task.unlabelled]
    train, valid, unlabelled = (marked(tokenizer, part, most, head) for part in texts)
    mask = tokenizer.token_to_id("[MASK]")
    notes = []
    if mask is not None and not options.quick:
        epochs = MASKED_EPOCHS if torch.cuda.is_available() else 1
        notes.append(
            f"Before it saw any label, it was trained to guess hidden words of {len(train) + len(unlabelled):,} texts "
            f"({epochs} epoch{'s' * (epochs > 1)})."
        )
        print(notes[-1])
        pretrain(
            classifier.bert,
            [*train, *unlabelled],
            mask,
            SPECIAL,
            state / "masked",
            options.seed,
            options.resume,
            epochs,
        )
    labelled = Labelled(train, smoothed(task.train.y, len(task.labels)))
    checked = Labelled(valid, smoothed(task.valid.y, len(task.labels)))
    students: tuple[float, ...] = STUDENTS[:1]
    if options.teachers and unlabelled:
        labelled = labelled.and_also(pseudo_labelled(options, task, classifier, labelled, checked, unlabelled, state))
        students = STUDENTS
        notes.append(
            f"{len(TEACHERS)} networks of its kind and TF-IDF then labelled {len(unlabelled):,} texts that have no "
            f"label, and it was trained on those, too. Its weights are the mean of {len(students)} networks'."
        )
    nets = several(options, classifier, labelled, checked, state, "student", students)
    processes.only_first()
    net = averaged([net.cpu() for net in nets])
    temperature = calibrate(net, valid, task.valid.y)
    notes.append(
        f"Its last layer was divided by the temperature {temperature:.3f}, fitted on {len(task.valid):,} texts that "
        "were not trained on."
    )
    write(options, task, net.classifier, tokenizer, train, temperature, notes, started)
    shutil.rmtree(state, ignore_errors=True)


def lengths_read(options: argparse.Namespace) -> tuple[int, int]:
    """Tokens that are read of a text, and those of them from its beginning."""
    if options.smoke:
        return SMOKE_TOKENS, SMOKE_TOKENS // 4
    return (QUICK_TOKENS, QUICK_HEAD) if options.quick else (MAX_TOKENS, HEAD)


def with_tokens(
    network: BertForSequenceClassification, kept: NDArray[np.int64], labels: Sequence[str]
) -> BertForSequenceClassification:
    """The same encoder with embeddings of the kept tokens alone, and a new last layer for these labels."""
    config = BertConfig.from_dict(
        network.config.to_dict()
        | {
            "vocab_size": len(kept),
            "pad_token_id": 0,
            "attention_probs_dropout_prob": 0.0,  # torch has no fast attention with dropout on a CPU
            "id2label": dict(enumerate(labels)),
            "label2id": {label: index for index, label in enumerate(labels)},
            "architectures": ["BertForSequenceClassification"],
        }
    )
    result = BertForSequenceClassification(config)
    before = network.bert.state_dict()
    words = "embeddings.word_embeddings.weight"
    result.bert.load_state_dict(before | {words: before[words][torch.from_numpy(kept)]})
    return result


@dataclass(frozen=True)
class Labelled:
    """Rows of token indices, and what to answer: the probability of each label, (rows, labels)."""

    ids: list[NDArray[np.int64]]
    targets: NDArray[np.float32]

    def and_also(self, other: "Labelled") -> "Labelled":
        """These and some others."""
        return Labelled([*self.ids, *other.ids], np.concatenate([self.targets, other.targets]))


def smoothed(y: NDArray[np.int64], labels: int) -> NDArray[np.float32]:
    """Label smoothing (Szegedy et al., CVPR 2016): probabilities that are not quite certain of the labels y."""
    return (np.eye(labels) * (1 - SMOOTHING) + SMOOTHING / labels).astype(np.float32)[y]


def several(
    options: argparse.Namespace,
    classifier: BertForSequenceClassification,
    train: Labelled,
    valid: Labelled,
    state: Path,
    name: str,
    factors: Sequence[float],
) -> "list[ReviewNet]":
    """Networks that begin alike and are trained with seeds and rates of their own."""
    nets = []
    for number, factor in enumerate(factors, 1):
        print(f"Training {name} {number} of {len(factors)}.")
        folder, seed = state / f"{name}-{number}", options.seed + 10 * number
        nets.append(train_net(options, copy.deepcopy(classifier), train, valid, folder, seed, factor))
    return nets


def pseudo_labelled(
    options: argparse.Namespace,
    task: Task,
    classifier: BertForSequenceClassification,
    train: Labelled,
    valid: Labelled,
    unlabelled: list[NDArray[np.int64]],
    state: Path,
) -> Labelled:
    """The texts without labels, with what several teachers together say of them (knowledge distillation: Hinton,
    Vinyals and Dean, 2015).
    """
    teachers = several(options, classifier, train, valid, state, "teacher", TEACHERS)
    answers = [tuple(log_softmax(logits_of(net, ids), 1) for ids in (valid.ids, unlabelled)) for net in teachers]
    return Labelled(unlabelled, pooled([*answers, *answers_of_tfidf(task)], task.valid.y))


def averaged(nets: "Sequence[ReviewNet]") -> "ReviewNet":
    """One network with the mean of their weights: a model soup (Wortsman et al., ICML 2022)."""
    weights = [net.state_dict() for net in nets]
    nets[0].load_state_dict({name: torch.stack([one[name] for one in weights]).mean(0) for name in weights[0]})
    return nets[0]


Answers = tuple[NDArray[np.float64], NDArray[np.float64]]  # log probabilities, of validation and of unlabelled texts


def answers_of_tfidf(task: Task) -> list[Answers]:
    """What words and pairs of words say of them; nothing where no word occurs twice, or a label is in no text."""
    fitted = words_and_pairs(task.train.texts, task.train.y)
    if fitted is not None and len(fitted.classes_) < len(task.labels):
        return []
    return [tuple(fitted.predict_log_proba(texts) for texts in (task.valid.texts, task.unlabelled))] if fitted else []


def pooled(answers: Sequence[Answers], y: NDArray[np.int64]) -> NDArray[np.float32]:
    """Probabilities (unlabelled texts, labels): a logarithmic opinion pool (Genest and Zidek, 1986) of all answers.

    Args:
        answers: of each who answers.
        y: labels of the validation texts; the weights, none below 0, are those that make them most probable.
    """
    valid, unlabelled = (np.stack(part) for part in zip(*answers, strict=True))

    def loss(weights: NDArray[np.float64]) -> float:
        return float(-log_softmax(np.tensordot(weights, valid, 1), 1)[np.arange(len(y)), y].mean())

    start = np.full(len(answers), 1 / len(answers))
    weights = minimize(loss, start, bounds=[(0, None)] * len(answers)).x
    right = np.tensordot(weights, valid, 1).argmax(1) == y
    print(f"Together, with weights {np.round(weights, 2).tolist()}, the teachers are right on {right.mean():.2%}.")
    return softmax(np.tensordot(weights, unlabelled, 1)).astype(np.float32)


def train_net(
    options: argparse.Namespace,
    classifier: BertForSequenceClassification,
    train: Labelled,
    valid: Labelled,
    state: Path,
    seed: int,
    factor: float,
) -> ReviewNet:
    """Train with some factor times RATES; the network is left where it was trained, in evaluation mode."""
    set_seed(seed)
    net = ReviewNet(classifier).to(default_device())

    def run(batch: int, accumulate: list[Callback]) -> None:
        loaders = [
            TokenLoader(train.ids, train.targets, bs=batch, shuffle=True, drop_last=True),
            TokenLoader(valid.ids, valid.targets, bs=batch),
        ]
        learn = Learner(
            DataLoaders(*loaders, device=loaders[0].device), net, metrics=[accuracy], splitter=three_groups,
            loss_func=F.cross_entropy, opt_func=adamw, cbs=[*mixed_precision(), *accumulate],
        )  # fmt: skip
        resume = options.resume or bool(accumulate)  # after running out of memory, from the last whole epoch
        epochs = SMOKE_EPOCHS if options.smoke else QUICK_EPOCHS if options.quick else EPOCHS
        rates = slice(factor * RATES.start, factor * RATES.stop) if not options.smoke else SMOKE_RATE
        schedule = partial(learn.fit_one_cycle, epochs, rates, pct_start=0.1, div=25)
        fit(learn, schedule, state, seed, resume)

    with_smaller_batches(run, min(BATCH, len(train.ids) // 2))
    return net.eval()


def accuracy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Share of right labels, given their probabilities."""
    return (logits.argmax(1) == target.argmax(1)).float().mean()


@torch.inference_mode()
def logits_of(net: nn.Module, ids: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
    """Logits (n, labels) of rows of token indices, in float32, wherever the network is."""
    net.eval()
    device = next(net.parameters()).device
    result: dict[int, NDArray[np.float32]] = {}
    for rows in progress_bar(list(batches([len(row) for row in ids], 8192))):
        found = net(padded([ids[row] for row in rows]).to(device)).float().cpu().numpy()
        result |= dict(zip(rows, found, strict=True))
    return np.stack([result[row] for row in range(len(ids))])


def calibrate(net: ReviewNet, ids: Sequence[NDArray[np.int64]], y: NDArray[np.int64]) -> float:
    """Divide the last layer by a temperature, so that its probabilities can be believed: see fit_temperature.

    So the logits are calibrated wherever the weights go, with transformers, too. Returns the temperature.
    """
    temperature = evaluate.fit_temperature(logits_of(net, ids), y)
    with torch.no_grad():
        net.classifier.classifier.weight /= temperature
        net.classifier.classifier.bias /= temperature
    return temperature


# --- measuring and writing ---


def write(
    options: argparse.Namespace,
    task: Task,
    classifier: BertForSequenceClassification,
    tokenizer: Tokenizer,
    train: Sequence[NDArray[np.int64]],
    temperature: float,
    notes: Sequence[str],
    started: float,
) -> None:
    """Export the checkpoint folder; nothing is written unless the stored model agrees with torch."""
    most, head = lengths_read(options)
    log_frequency, counted = frequencies(tokenizer, train)
    served = Served(classifier, log_frequency, counted).eval()
    mean, spread = prose_range(log_frequency, counted, train, options.seed)
    names = ["logits", "prose"]
    valid = marked(tokenizer, task.valid.texts, most, head)
    with export.new_folder(options.out) as folder:
        axes = {"input_ids": {0: "rows", 1: "tokens"}} | {name: {0: "rows"} for name in names}
        export.write_onnx(served, folder / MODEL, {"input_ids": torch.ones(2, 16, dtype=torch.long)}, names, axes)
        some = [{"input_ids": row[None]} for row in valid[:PARITY]]
        parity_float = export.parity(served, folder / MODEL, some, names, PARITY_FLOAT)
        export.store(folder / MODEL, export.store_int8_products)
        probability = export.Shown("probability", softmax, "texts", "texts", TYPICAL, RELABELLED)
        parity = export.parity(served, folder / MODEL, some, names[:1], PARITY_STORED, probability)
        specials = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=most, **specials).save_pretrained(folder)
        classifier.save_pretrained(folder)
        (folder / "LICENSE.md").write_text(task.notice, encoding="utf-8", newline="\n")
        contract: dict[str, Any] = {
            "model": "sentiment", "task": "text-classification", "about": task.about, "labels": task.labels,
            "max_tokens": most, "head": head, "clear_from": CLEAR_FROM, "prose_mean": mean, "prose_spread": spread,
        }  # fmt: skip
        export.write_metrics(folder, {"figures": []})  # for the predictor, which measures as it serves; then anew
        export.write_contract(folder, TextClassifierConfig, **contract)
        model = load_model(folder)
        measured = measure(task, model, temperature)
        measured["figures"] += cost_of_int8(model, classifier, valid, task)
        measured["trained"] = trained(options, started, notes)
        measured |= {"parity": parity | {"weights": "int8"}, "parity_float": parity_float}
        export.write_metrics(folder, measured)
        export.write_contract(folder, TextClassifierConfig, **contract)
        write_card(folder)
    if options.embed:
        export.embed(options.out, "sentiment")
    print(f"Wrote {options.out}. {agreement(parity)}")


def measure_stored(options: argparse.Namespace) -> None:
    """Measure the model of the folder --measure again, and write its figures and card anew.

    The texts are divided by --seed, as they were for its training.

    Raises:
        DataError: the folder has no such model that is whole, or one of other labels.
    """
    folder = Path(options.measure)
    try:
        model = load_model(folder)
    except CheckpointError as error:
        raise DataError(str(error)) from error
    task = load(options)
    if model.config.labels != task.labels:
        raise DataError(f"The model gives {', '.join(model.config.labels)}; the data has {', '.join(task.labels)}.")
    measured = measure(task, model)
    measured["figures"].append(validation_figure(stored_right(model, task), task))
    record = options.record | {"command": f"{options.record['command']} --measure DIR"}
    about = ABOUT if task.about is ABOUT else None
    export.measure_again(folder, measured, ("ece_before", "accuracy_float"), record, about)
    print(f"Wrote {folder}.")


def stored_right(model: TextClassifier, task: Task) -> NDArray[np.bool_]:
    """Whether the stored model is right on each validation text, (texts,)."""
    labels = np.array([task.labels.index(answer.label) for answer in predictions(model, task.valid.texts)])
    return np.asarray(labels == task.valid.y)


def validation_figure(stored: NDArray[np.bool_], task: Task) -> evaluate.Figure:
    """The accuracy of the stored model on the validation texts."""
    where = {"data": task.where[0], "split": "validation", "count": len(stored)}
    return share_figure("accuracy_validation", stored, **where, label="accuracy as stored")


def cost_of_int8(
    model: TextClassifier, classifier: BertForSequenceClassification, valid: Sequence[NDArray[np.int64]], task: Task
) -> list[evaluate.Figure]:
    """Accuracy on the validation texts, of the stored model and of the one with float32 weights.

    Raises:
        RuntimeError: storing the weights in int8 costs too much.
    """
    right = logits_of(ReviewNet(classifier), valid).argmax(1) == task.valid.y
    stored = stored_right(model, task)
    if right.mean() - stored.mean() > max(MOST_LOST, 2.5 / len(right)):
        raise RuntimeError(
            f"Storing the weights in int8 takes accuracy from {right.mean():.4f} to {stored.mean():.4f}."
        )
    where = {"data": task.where[0], "split": "validation", "count": len(right)}
    without = share_figure("accuracy_float", right, **where, label="accuracy with float32 weights")
    return [validation_figure(stored, task), without]


def share_figure(name: str, right: NDArray[np.bool_], **details: Any) -> evaluate.Figure:
    """A share with its interval."""
    hits = int(right.sum())
    return evaluate.figure(name, hits / len(right), evaluate.wilson_interval(hits, len(right)), **details)


def predictions(model: TextClassifier, texts: Sequence[str]) -> list[TextClassifierPrediction]:
    """What the stored model says of some texts, with a progress bar."""
    parts = progress_bar([texts[start : start + 256] for start in range(0, len(texts), 256)])
    return [answer for part in parts for answer in model.predict_batch(part)]


def measure(task: Task, model: TextClassifier, temperature: float | None = None) -> dict[str, Any]:
    """Every figure of metrics.json, of the model as it is stored and served.

    Args:
        task: with the test.
        model: the stored model.
        temperature: by which the last layer was divided, if that is known.
    """
    data, split = task.where
    where: dict[str, Any] = {"data": data, "split": split, "count": len(task.test)}
    answers = predictions(model, task.test.texts)
    p = np.array([[answer.probabilities[label] for label in task.labels] for answer in answers])
    right = p.argmax(1) == task.test.y
    figures = [share_figure("accuracy", right, **where, label="accuracy")]
    calibrations = [("ece", "expected calibration error", p)]
    if temperature is not None:
        before = softmax(np.log(np.clip(p, 1e-12, 1)) * temperature)
        calibrations.append(("ece_before", "expected calibration error before calibration", before))
    for name, label, shown in calibrations:
        error = evaluate.expected_calibration_error(shown, task.test.y)
        interval = evaluate.calibration_interval(shown, task.test.y)
        figures.append(evaluate.figure(name, error, interval, **where, label=label))
    words = np.array([answer.words for answer in answers])
    for low, high in LENGTHS:
        rows = (words >= low) & (words <= high)
        if rows.any():
            span = f"{low} to {high} words" if high < 10**6 else f"more than {low - 1} words"
            counted = where | {"count": int(rows.sum())}
            figures.append(share_figure(f"accuracy_from_{low}", right[rows], **counted, label=f"accuracy, {span}"))
    clear = np.array([answer.is_clear for answer in answers])
    figures.append(share_figure("clear", clear, **where, label="answered clearly"))
    counted = where | {"count": int(clear.sum())}
    if clear.any():
        label = "accuracy where the answer is clear"
        figures.append(share_figure("accuracy_clear", right[clear], **counted, label=label))
    prose = np.array([answer.is_prose for answer in answers])
    figures.append(share_figure("refused", ~prose, **where, label="reviews taken for no English prose"))
    cases: list[dict[str, Any]] = []
    if task.about is ABOUT:
        cases = hard_cases(model)
        for kind in REVIEWS:
            hits = np.array([case["right"] for case in cases if case["kind"] == kind])
            name, counted = f"accuracy_{kind.replace(' ', '_')}", {"data": "hard cases", "split": kind}
            figures.append(share_figure(name, hits, **counted, count=len(hits), label=f"accuracy: {kind}"))
        inside = np.array([answer.prose_score for answer in answers])
        for group, texts in NOT_PROSE.items():
            figures += prose_figures(model, inside, group, texts)
    evaluate.print_figures(figures)
    return {
        "model": "sentiment",
        "headline": f"{right.mean():.1%} right on {len(right):,} test texts",
        "figures": figures,
        "peers": peers(task, right),
        "cases": cases,
        "notes": [
            f"An answer is clear where its label has a probability of {model.config.clear_from} or more and the "
            f"text looks like the prose it was trained on. All but {NOT_PROSE_SHARE:.1%} of passages of the training "
            f"texts do, at each of the lengths from {PASSAGES[0]} to {PASSAGES[-1]} tokens by which the bound was set.",
            f"Of a text of more than {model.config.max_tokens - 2} tokens it reads the first "
            f"{model.config.head} and the last {model.config.max_tokens - 2 - model.config.head}.",
        ],
    }


def hard_cases(model: TextClassifier) -> list[dict[str, Any]]:
    """What the stored model says of each hard case."""
    found = []
    for kind, reviews in REVIEWS.items():
        for text, label in reviews:
            answer = model.predict(text)
            found.append(
                {
                    "kind": kind,
                    "text": text,
                    "expected": label,
                    "probability": round(answer.probabilities[label], 4),
                    "right": answer.label == label,
                    "clear": answer.is_clear,
                }
            )
    return found


def prose_figures(
    model: TextClassifier, inside: NDArray[np.float64], group: str, texts: Sequence[str]
) -> list[evaluate.Figure]:
    """How well the prose score tells a group of other texts from the test's, and how many it refuses."""
    answers = predictions(model, texts)
    scores = np.concatenate([inside, [answer.prose_score for answer in answers]])
    is_review = np.arange(len(scores)) < len(inside)
    noticed = np.array([not answer.is_prose for answer in answers])
    where: dict[str, Any] = {"data": group, "split": "none trained on", "count": len(texts)}
    return [
        evaluate.figure("auroc", float(roc_auc_score(is_review, scores)), None, **where, label="AUROC of prose"),
        share_figure("noticed", noticed, **where, label="noticed as no English prose"),
    ]


def words_and_pairs(texts: Sequence[str], y: NDArray[np.int64]) -> Pipeline | None:
    """TF-IDF of words and pairs of words, and logistic regression, fitted.

    None for texts in which no word occurs twice, as in languages without spaces.
    """
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    try:
        return make_pipeline(vectorizer, LogisticRegression(C=10, max_iter=1000)).fit(texts, y)
    except ValueError:
        return None


def peers(task: Task, right: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """TF-IDF and logistic regression: what one tries first.

    Args:
        task: with the training and test texts.
        right: where the served model is right, (test texts,).
    """
    fitted = words_and_pairs([*task.train.texts, *task.valid.texts], np.concatenate([task.train.y, task.valid.y]))
    if fitted is None:
        return []
    theirs = fitted.predict(task.test.texts) == task.test.y
    return [evaluate.peer_accuracy("TF-IDF of words and pairs of words, logistic regression", theirs, right)]


# --- the book's recipe ---


def book_recipe(options: argparse.Namespace) -> Learner:
    """The book's cell: AWD-LSTM, four epochs after one of the head alone, the test set as validation."""
    from fastai.text.all import AWD_LSTM, TextDataLoaders, text_classifier_learner
    from fastai.text.all import accuracy as fastai_accuracy

    task = load(options)
    parts = [(task.train, False), (task.valid, False), (task.test, True)]
    table = pd.concat(
        pd.DataFrame({"text": part.texts, "label": np.array(task.labels)[part.y], "is_valid": is_valid})
        for part, is_valid in parts
    )

    def train(batch: int, accumulate: list[Callback]) -> Learner:
        dls = TextDataLoaders.from_df(
            table, text_col="text", label_col="label", valid_col="is_valid", bs=batch, num_workers=loader_workers()
        )
        try:
            learn = text_classifier_learner(dls, AWD_LSTM, drop_mult=0.5, metrics=fastai_accuracy, cbs=accumulate)
        except OSError as error:
            print(f"The pretrained weights cannot be had ({error}): starting from scratch, as the book does not.")
            learn = text_classifier_learner(
                dls, AWD_LSTM, drop_mult=0.5, metrics=fastai_accuracy, cbs=accumulate, pretrained=False
            )
        learn.fine_tune(1 if options.smoke else 4, 1e-2)
        return learn

    learn = with_smaller_batches(train, 8 if options.smoke else 64)  # the book: halve it if memory runs out
    value = float(learn.recorder.values[-1][-1])
    low, high = evaluate.wilson_interval(round(value * len(task.test)), len(task.test))
    print(
        f"accuracy on the {task.where[1]}: {value:.4f} [{low:.4f}, {high:.4f}]; the book's: {BOOK_ACCURACY}, on texts "
        "with their copies and HTML, which are left out here."
    )
    return learn


def run(options: argparse.Namespace) -> Learner | None:
    """Measure, or run the chosen recipe; the book's returns its Learner, for --push-learner."""
    if options.measure:
        measure_stored(options)
        return None
    return (book_recipe if options.recipe == "book" else gallery_recipe)(options)


def command_line() -> argparse.ArgumentParser:
    """The options every script has, and this one's own."""
    parser = arguments(__doc__, "sentiment")
    parser.add_argument("--init", metavar="NAME", default=HUB_INIT, help=f"folder or Hub name (default {HUB_INIT})")
    parser.add_argument("--measure", metavar="DIR", help="measure the model in this folder again; train nothing")
    parser.add_argument("--quick", action="store_true", help="shorter texts, fewer epochs: for a CPU")
    parser.add_argument(
        "--teachers", action=argparse.BooleanOptionalAction, default=torch.cuda.is_available(),
        help="let three other networks label the texts that have no label, and train two on those, too: the default on "
        "a GPU",
    )  # fmt: skip
    return parser


def main(options: Sequence[str] = ()) -> Path | Learner:
    """Train from Python, with the options of the command line: main(["--smoke", "--out", "runs/x"]).

    Returns the checkpoint folder, or the book's Learner; see training.learner.start for what it raises.
    """
    return start(run, command_line(), options)


if __name__ == "__main__":
    raise SystemExit(command(run, command_line(), sys.argv[1:]))
