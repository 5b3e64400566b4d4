"""Fine-tune networks on texts: one, several from the same start, and teachers that label texts for the others."""

import copy
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.torch_core import default_device
from numpy.typing import NDArray
from scipy.special import log_softmax
from torch import nn
from torch.nn import functional as F
from transformers import BertForSequenceClassification

from training.learner import Run, choose_mixed_precision, make_adamw, retry_with_smaller_batches, send_rows, set_seed
from training.networks.text_classification import TextNet, group_parameters
from training.progress import show_progress
from training.recipe import Splits
from training.texts.distillation import Targets, pool, smooth
from training.texts.reading import Texts, draw_crops
from training.texts.settings import TextClassificationSettings
from training.texts.tfidf import predict_with_tfidf
from training.texts.tokens import FlatRows, TokenLoader, make_batches

TOKENS, GPU_TOKENS = 8192, 65_536  # in a batch without training
AT_ONCE = 32  # texts on a CPU, where a batch of 128 long ones takes 12 GB
MIN_CROPS = 20  # of validation texts, to weigh the teachers on crops

Encoded = list[NDArray[np.int64]]


def fit_network(
    classifier: BertForSequenceClassification,
    train: Targets,
    valid: Targets,
    settings: TextClassificationSettings,
    run: Run,
    name: str,
    seed: int,
    rates: slice,
) -> TextNet:
    """Train a network; return it on the training device, in evaluation mode."""
    set_seed(seed)
    net = TextNet(classifier).to(default_device())

    def train_with(batch: int, accumulate: list[Callback], is_again: bool) -> None:
        loaders = [
            TokenLoader(train.ids, train.targets, bs=batch, shuffle=True, drop_last=True),
            TokenLoader(valid.ids, valid.targets, bs=batch),
        ]
        learn = Learner(
            DataLoaders(*loaders, device=loaders[0].device), net, metrics=[accuracy], splitter=group_parameters,
            loss_func=F.cross_entropy, opt_func=make_adamw, cbs=[*choose_mixed_precision(), *accumulate],
        )  # fmt: skip
        schedule = partial(learn.fit_one_cycle, settings.epochs, rates, pct_start=0.1, div=25)
        run.fit(learn, name, schedule, seed=seed, again=is_again)

    retry_with_smaller_batches(train_with, min(settings.batch, len(train.ids) // 2), AT_ONCE)
    return net.eval()


def accuracy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the accuracy; targets are probabilities (n, labels)."""
    return (logits.argmax(1) == target.argmax(1)).float().mean()


def fit_networks(
    classifier: BertForSequenceClassification,
    valid: Targets,
    settings: TextClassificationSettings,
    run: Run,
    train: Targets,
    name: str,
    factors: Sequence[float],
) -> list[TextNet]:
    """Train networks from the same start, each with its own seed and factor of the learning rates."""
    nets = []
    for number, factor in enumerate(factors, 1):
        print(f"Training {name} {number} of {len(factors)}.")
        rates = slice(factor * settings.rates.start, factor * settings.rates.stop)
        seed, start = settings.seed + 10 * number, copy.deepcopy(classifier)
        nets.append(fit_network(start, train, valid, settings, run, f"{name}-{number}", seed, rates))
    return nets


@torch.inference_mode()
def compute_outputs(net: nn.Module, ids: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
    """Return a network's outputs (n, …) for n rows of token indices, computed on its device: on a GPU in bfloat16."""
    net.eval()
    device = next(net.parameters()).device
    on_gpu = device.type == "cuda"
    rows, found = FlatRows(ids, device), []
    batches = list(make_batches(rows.lengths.tolist(), GPU_TOKENS if on_gpu else TOKENS))
    with torch.autocast(device.type, torch.bfloat16, enabled=on_gpu and torch.cuda.is_bf16_supported(False)):
        for batch in show_progress(f"Reading {len(ids):,} texts", batches):
            found.append(net(rows.take(send_rows(batch, rows.device), rows.choose_length(batch))).float())
    outputs = torch.cat(found).cpu().numpy()
    result = np.empty_like(outputs)
    result[np.concatenate(batches)] = outputs
    return result


def ask_teachers(
    splits: Splits[Texts],
    encode: Callable[[Sequence[str]], Encoded],
    labelled: Targets,
    checked: Encoded,
    unlabelled: Encoded,
    fit_teachers: Callable[[Targets], list[TextNet]],
    seed: int,
) -> tuple[Targets, int]:
    """Train teachers on labelled texts and crops of them; have them and TF-IDF label the students' rows.

    The pool of answers has other weights for crops than for whole texts: those that are best for the labels of the
    validation texts that they were cut from. The targets of labelled texts are half their labels and half the teachers'
    answers.

    Args:
        splits: the texts.
        encode: returns the token indices of texts.
        labelled: rows and targets of the training texts.
        checked: rows of the validation texts.
        unlabelled: rows of the texts without labels.
        fit_teachers: trains the teachers.
        seed: seed of the crops.

    Returns:
        The students' rows and targets, and the number of crops among them.
    """
    train, valid = splits.train, splits.valid
    (crops, sources), (valid_crops, valid_sources), (more_crops, _) = (
        draw_crops(part, seed) for part in (train.texts, valid.texts, train.unlabelled)
    )
    has_crops = bool(more_crops) and len(valid_crops) >= MIN_CROPS
    taught = labelled.join(Targets(encode(crops), smooth(train.y[sources], len(splits.labels))))
    teachers = fit_teachers(taught if has_crops else labelled)
    asked, rows = [valid.texts, train.unlabelled], [checked, unlabelled]
    if has_crops:
        asked += [valid_crops, more_crops]
        rows += [encode(valid_crops), encode(more_crops)]
    answers = [[log_softmax(compute_outputs(net, part), 1) for part in rows] for net in teachers]
    known = np.mean([np.exp(log_softmax(compute_outputs(net, labelled.ids), 1)) for net in teachers], 0)
    answers += predict_with_tfidf(splits, asked)
    students = Targets(labelled.ids, ((labelled.targets + known) / 2).astype(np.float32))
    students = students.join(Targets(unlabelled, pool([(part[0], part[1]) for part in answers], valid.y)))
    if not has_crops:
        return students, 0
    pooled = pool([(part[2], part[3]) for part in answers], valid.y[valid_sources], "crops")
    return students.join(Targets(rows[3], pooled)), len(more_crops)
