"""Train a classifier of texts.

    python -m training.recipes.text_classification --data FILE      CSV, TSV or Parquet with texts and labels
    python -m training.recipes.text_classification --data FOLDER    a subfolder of .txt files for each label
    python -m training.recipes.text_classification --smoke          seconds, on generated texts

A folder may have train/ and test/ with such subfolders, or train.csv and test.csv; unsup.csv, or a folder unsup, may
add texts without labels. Otherwise a part is held out for validation and a fifth for the test; equal texts count once.
--quick is for a CPU. --teachers, for a GPU, has four networks and TF-IDF label the texts without labels and passages of
them, and also trains two more networks on those.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import BertForSequenceClassification, PretrainedConfig, PreTrainedTokenizerFast

from shared.metrics import Figure
from shared.session import softmax
from shared.text_classifier import TextClassifier
from shared.tokens import read_tokens
from training import command, evaluate
from training.data import OWN_TEST, DataError, TestSet
from training.description import ask_label, describe
from training.export import store_int8_products
from training.learner import Run
from training.made_up import write_reviews
from training.networks.text_classification import (
    ExportWrapper,
    TextNet,
    average_weights,
    keep_tokens,
    load_encoder,
)
from training.own_data.tables import name_data
from training.own_data.texts import check_folders, read_own_texts
from training.parity import Shown
from training.pretrained import check_pretrained
from training.recipe import Answered, Recipe, Splits
from training.splitting import TEST, TRAIN, VALID
from training.storing import Export
from training.texts.calibration import calibrate
from training.texts.distillation import Targets, smooth
from training.texts.fitting import ask_teachers, fit_networks
from training.texts.masked_language import pretrain
from training.texts.reading import CROP_SENTENCES, Texts
from training.texts.settings import HUB_INIT, TextClassificationSettings
from training.texts.tfidf import compare_with_tfidf
from training.texts.token_statistics import PASSAGES, REJECTED_SHARE, compute_token_frequencies, fit_score_range
from training.texts.tokens import SPECIAL, encode_texts, prune

HUB_SIZE = {"hidden_size": 384, "num_hidden_layers": 6}  # in its config
VOCABULARY = 18_000  # the most frequent of the encoder's 30,522 tokens
TEACHERS, STUDENTS = (1.0, 1.5, 0.75, 1.25), (1.0, 1.25)  # factors of the learning rates, for diversity
MIN_CLEAR_PROBABILITY = 0.7
SMALLEST, STEPS_AN_EPOCH, STEPS, MOST_EPOCHS = 8, 16, 300, 20  # for few texts
MULTILINGUAL = "google-bert/bert-base-multilingual-cased"
SAMPLED, MANY_TOKENS, MANY_UNKNOWN = 500, 2.0, 0.1  # texts; tokens per word, of which IMDB has 1.3 and German 2.7
LENGTHS = ((1, 100), (101, 200), (201, 400), (401, 10**6))  # words
PARITY_TEXTS = 1000
OTHERS = 4000  # training texts whose answers the calibrated layers keep to
TERMS = "It began as all-MiniLM-L6-v2 (Apache-2.0)."
LIMITS = ("The probabilities hold for texts like those it was trained on.",)


@dataclass(frozen=True)
class Fitted:
    """A trained network, its tokenizer, the tokens of the training texts, and notes on the training."""

    net: TextNet
    tokenizer: Tokenizer
    ids: list[NDArray[np.int64]]
    notes: tuple[str, ...]


class TextClassification(Recipe[Texts, TextClassificationSettings]):
    """Classify texts."""

    module = "training.recipes.text_classification"
    predictor = TextClassifier
    settings = TextClassificationSettings
    data_options = ("time", "text_column", "label_column")
    max_accuracy_drop = 0.003

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add --init, --quick, --teachers and --masked-epochs."""
        parser.add_argument("--init", metavar="NAME", help=f"to begin with; folder or Hub name (default {HUB_INIT})")
        parser.add_argument("--quick", action="store_true", default=None, help="shorter texts and training, for a CPU")
        parser.add_argument(
            "--teachers", action=argparse.BooleanOptionalAction, default=False,
            help="also train on texts that other networks label: for a GPU",
        )  # fmt: skip
        parser.add_argument(
            "--masked-epochs",
            type=partial(command.parse_count, least=0),
            metavar="N",
            help="epochs of masked-language modelling before training on labels (1)",
        )

    def read_settings(self, options: argparse.Namespace) -> TextClassificationSettings:
        """Return the settings that the options ask for; --quick shortens texts, and training that has no option."""
        settings = super().read_settings(options)
        if not settings.quick:
            return settings
        settings = replace(settings, masked_epochs=options.masked_epochs or 0)
        if options.smoke:
            return settings
        epochs = options.epochs or 1
        return replace(settings, max_tokens=256, head=96, batch=32, epochs=epochs, rates=slice(3e-5, 2e-4))

    def check_layout(self, data: str, settings: TextClassificationSettings) -> None:  # noqa: ARG002 - the signature
        """Check that a folder has a table, or subfolders of text files."""
        check_folders(Path(data))

    def check_start(self, settings: TextClassificationSettings) -> None:
        """Check that the pretrained network can be used."""
        if settings.init:
            check_pretrained(BertForSequenceClassification, settings.init)

    # --- data ---

    def load_own(self, data: str, settings: TextClassificationSettings) -> Splits[Texts]:
        """Read a table, or a folder of texts or tables."""
        path = Path(data)
        found = read_own_texts(path, settings.own, settings.seed)
        name = name_data(path)
        summary = f"A text: {ask_label(found.labels)}"
        description = describe(name, summary, LIMITS, *describe_start(settings.init), found.labels)
        split = f"last fifth by {settings.own.time}" if settings.own.time else "held-out fifth"
        tests = (found.parts[TEST].as_test(name, OWN_TEST if TEST in found.given else split),)
        check = found.parts[VALID].as_test(name, "validation")
        return Splits(found.parts[TRAIN], found.parts[VALID], tests, description, found.labels, check)

    def adapt(self, settings: TextClassificationSettings, splits: Splits[Texts]) -> TextClassificationSettings:
        """Return settings with more epochs of smaller batches for few texts: an epoch of 200 would be a few steps."""
        count = len(splits.train)
        batch = min(settings.batch, max(SMALLEST, count // STEPS_AN_EPOCH))
        epochs = max(settings.epochs, min(MOST_EPOCHS, round(STEPS * batch / count)))
        return replace(settings, batch=batch, epochs=epochs)

    def make_up(self, folder: Path, seed: int) -> str:
        """Write reviews made of a few words."""
        return str(write_reviews(folder, seed))

    # --- training ---

    def fit(self, splits: Splits[Texts], settings: TextClassificationSettings, run: Run) -> Fitted:
        """Reduce the vocabulary, adapt the encoder to the texts, then train on the labels.

        Raises:
            DataError: the teachers have no texts to label, or the pretrained network cannot be loaded.
        """
        if settings.teachers and (settings.quick or not splits.train.unlabelled):
            raise DataError(
                "--teachers needs texts without labels (unsup.csv, or a folder unsup, beside train and test), "
                "and cannot be combined with --quick."
            )
        torch.backends.cuda.enable_cudnn_sdp(
            False
        )  # cuDNN's attention is slow: it makes a new plan for each text length
        train, valid = splits.train, splits.valid
        print(f"{len(train):,} texts to train on, {len(valid):,} to validate on, {len(splits.tests[0]):,} to test on.")
        tokenizer, classifier = make_network(splits, settings)
        encode = partial(encode_texts, tokenizer, most=settings.max_tokens, head=settings.head)
        finished = TextNet(classifier)
        found = run.restore(finished)
        if found is not None:
            return Fitted(finished.eval(), tokenizer, encode(train.texts), found)
        parts = (train.texts, valid.texts, [] if settings.quick else train.unlabelled)
        ids, checked, unlabelled = map(encode, parts)
        notes = []
        mask = tokenizer.token_to_id("[MASK]")
        epochs = settings.masked_epochs
        if mask is not None and epochs > 0:
            notes.append(
                f"Before it saw any label, it was trained to predict hidden words of {len(ids) + len(unlabelled):,} "
                f"texts ({epochs} epoch{'s' * (epochs > 1)})."
            )
            print(notes[-1])
            pretrain(classifier.bert, [*ids, *unlabelled], mask, SPECIAL, run, epochs)
        labelled = Targets(ids, smooth(train.y, len(splits.labels)))
        validation = Targets(checked, smooth(valid.y, len(splits.labels)))
        fit_several = partial(fit_networks, classifier, validation)
        students: tuple[float, ...] = STUDENTS[:1]
        if settings.teachers:
            fit_teachers = partial(fit_several, settings, run, name="teacher", factors=TEACHERS)
            labelled, crops = ask_teachers(splits, encode, labelled, checked, unlabelled, fit_teachers, settings.seed)
            students, settings = STUDENTS, replace(settings, epochs=settings.epochs + 1)
            notes.append(
                f"{len(TEACHERS)} networks of its kind and TF-IDF then labelled {len(unlabelled):,} texts without "
                f"labels and {crops:,} passages of them, of 1 to {CROP_SENTENCES} sentences, and it was trained "
                f"on those, too. Its weights are the mean of {len(students)} networks'."
            )
        nets = fit_several(settings, run, labelled, name="student", factors=students)
        net = average_weights([net.cpu() for net in nets])
        run.keep(net, tuple(notes))
        return Fitted(net, tokenizer, ids, tuple(notes))

    # --- storing and measuring ---

    def export(self, network: Fitted, splits: Splits[Texts], settings: TextClassificationSettings) -> Export:
        """Calibrate the last layers on validation texts, and add the in-distribution score."""
        classifier, tokenizer = network.net.classifier, network.tokenizer
        valid = encode_texts(tokenizer, splits.valid.texts, settings.max_tokens, settings.head)
        others = network.ids[:: math.ceil(len(network.ids) / OTHERS)]
        temperature = calibrate(network.net, valid, splits.valid.y, others)
        log_frequency, counted = compute_token_frequencies(tokenizer, network.ids)
        mean, spread = fit_score_range(log_frequency, counted, network.ids, settings.seed)
        outputs = ["logits", "in_distribution_score"]

        def save(folder: Path) -> None:
            specials = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
            PreTrainedTokenizerFast(
                tokenizer_object=tokenizer, model_max_length=settings.max_tokens, **specials
            ).save_pretrained(folder)
            classifier.save_pretrained(folder)

        return Export(
            module=ExportWrapper(classifier, log_frequency, counted).eval(),
            inputs={"input_ids": torch.ones(2, 16, dtype=torch.long)},
            outputs=outputs,
            store=store_int8_products,
            batches=[{"input_ids": row[None]} for row in valid[:PARITY_TEXTS]],
            shown=Shown("probability", softmax, "texts", "texts", typical=0.25, relabelled=0.01),
            tolerance=(0.5, 1e-2),
            fields={
                "labels": splits.labels, "max_tokens": settings.max_tokens, "head": settings.head,
                "min_clear_probability": MIN_CLEAR_PROBABILITY,
                "label_names": dict(splits.description.label_names), "examples": splits.description.examples,
                "in_distribution_mean": mean, "in_distribution_spread": spread,
            },
            free_axes={"input_ids": {0: "rows", 1: "tokens"}} | {name: {0: "rows"} for name in outputs},
            save=save,
            notes=(*network.notes, temperature.describe(len(valid))),
            uncalibrated=temperature.undo,
        )  # fmt: skip

    def compute_figures(self, answers: Sequence[Any], test: TestSet) -> list[Figure]:
        """Return accuracy, calibration, accuracy by length, and the shares of clear and rejected texts."""
        p = evaluate.stack_probabilities(answers)
        right = p.argmax(1) == test.targets
        share = partial(evaluate.measure_share, data=test.data, split=test.split)
        figures = [
            share("accuracy", right, label="accuracy"),
            evaluate.measure_calibration(p, test.targets, test.where),
        ]
        words = np.array([answer.words for answer in answers])
        for low, high in LENGTHS:
            rows = (words >= low) & (words <= high)
            span = f"{low} to {high} words" if high < 10**6 else f"more than {low - 1} words"
            if rows.any():
                figures.append(share(f"accuracy_from_{low}", right[rows], label=f"accuracy, {span}"))
        clear = np.array([answer.is_clear for answer in answers])
        figures.append(share("clear", clear, label="answered clearly"))
        if clear.any():
            figures.append(share("accuracy_clear", right[clear], label="accuracy where the answer is clear"))
        rejected = np.array([not answer.in_distribution for answer in answers])
        return [*figures, share("refused", rejected, label="rejected as out of distribution")]

    def format_headline(self, figure: Figure) -> str:
        """Return the gallery's line about the model."""
        return f"right for {figure.value:.1%} of {figure.count:,} test texts"

    def describe_result(self, found: Answered[Texts, TextClassificationSettings], headline: str) -> str:  # noqa: ARG002 - the signature
        """Return a sentence with the numbers of right, wrong and rejected texts."""
        return evaluate.describe_counts(found.answers[0], found.splits.tests[0].targets, "texts")

    def measure(self, found: Answered[Texts, TextClassificationSettings]) -> dict[str, Any]:
        """Add TF-IDF as a peer, and the calibration error before calibration."""
        measured = super().measure(found)
        test, p, config = found.splits.tests[0], evaluate.stack_probabilities(found.answers[0]), found.model.config
        if found.exported and found.exported.uncalibrated:
            before = evaluate.measure_calibration(found.exported.uncalibrated(p), test.targets, test.where, before=True)
            measured["figures"].insert(2, before)
        measured["calibration"] = evaluate.measure_bins(p, test.targets, test.where, "texts")
        right = p.argmax(1) == test.targets
        measured["peers"] = compare_with_tfidf(found.splits, right)
        if found.splits.description.is_own:
            measured["peers"].append(evaluate.compare_with_majority(test.targets, found.splits.labels, right))
        if better := evaluate.describe_better_peers(measured["peers"]):
            print("More texts, or a network pretrained on their language (--init), may help.")
            measured["notes"] += better
        measured["notes"] += [
            f"An answer is clear if its label has a probability of at least {config.min_clear_probability} and the "
            f"text is in distribution. The threshold rejects {REJECTED_SHARE:.1%} of passages of the training texts, "
            f"at each length from {PASSAGES[0]} to {PASSAGES[-1]} tokens.",
            f"Of a text of more than {config.max_tokens - 2} tokens, only the first {config.head} and the last "
            f"{config.max_tokens - 2 - config.head} are read.",
        ]
        return measured


def describe_start(init: str | None) -> tuple[str | None, str]:
    """Return the Hub name of the network that training begins with, if it has one, and a sentence on its terms.

    A folder counts as the default network if it has its architecture and size.

    Raises:
        DataError: the folder has no network of this architecture.
    """
    if init is None or init == HUB_INIT:
        return HUB_INIT, TERMS
    name, is_folder = init, Path(init).is_dir()
    if is_folder:
        config, _ = PretrainedConfig.get_config_dict(check_pretrained(BertForSequenceClassification, init))
        if all(config.get(field) == value for field, value in HUB_SIZE.items()):
            return HUB_INIT, TERMS
        name = f"a BERT in the folder {Path(init).resolve().name}"
    return None if is_folder else init, f"It began as {name}, and is also under the terms of that network."


def make_network(
    splits: Splits[Texts], settings: TextClassificationSettings
) -> tuple[Tokenizer, BertForSequenceClassification]:
    """Return the tokenizer and the classifier before training, with the vocabulary of the training texts."""
    tokenizer, network = load_encoder(settings.init, splits.train.texts)
    ids = [tokens.ids for tokens in read_tokens(tokenizer, splits.train.texts, settings.max_tokens - 2, settings.head)]
    check_language(tokenizer, splits.train.texts, settings)
    counts = np.bincount(np.concatenate(ids), minlength=tokenizer.get_vocab_size())
    tokenizer, kept = prune(tokenizer, counts, VOCABULARY)
    return tokenizer, keep_tokens(network, kept, splits.labels)


def check_language(tokenizer: Tokenizer, texts: Sequence[str], settings: TextClassificationSettings) -> None:
    """Print advice if a pretrained network seems to know another language than that of the texts."""
    some = texts[:: max(1, len(texts) // SAMPLED)]
    tokens = [token for one in tokenizer.encode_batch(some, add_special_tokens=False) for token in one.ids]
    ratio = len(tokens) / max(1, sum(len(text.split()) for text in some))
    unknown = np.mean(np.array(tokens) == tokenizer.token_to_id("[UNK]")) if tokens else 0.0
    if settings.init and (ratio >= MANY_TOKENS or unknown >= MANY_UNKNOWN):
        what = f"splits these texts into {ratio:.1f} tokens per word"
        if unknown >= MANY_UNKNOWN:
            what = f"does not know {unknown:.0%} of the tokens of these texts"
        print(
            f"{settings.init} {what}, so it was hardly trained on their language. A network that was may be better, "
            f"such as --init {MULTILINGUAL}."
        )


main = partial(command.run, TextClassification())

if __name__ == "__main__":
    raise SystemExit(command.main(TextClassification()))
