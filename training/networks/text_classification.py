"""Networks of text classification: the pretrained BERT, its reduced vocabulary, and the exported module."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.implementations.bert_wordpiece import BertWordPieceTokenizer
from torch import nn
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from shared.text_classifier import TOKENIZER
from shared.tokens import load_tokenizer
from training.data import DataError
from training.pretrained import find_pretrained, load_pretrained


class TextNet(nn.Module):
    """A text classifier of transformers: token indices (n, length), 0 for padding, to logits (n, labels)."""

    def __init__(self, classifier: BertForSequenceClassification) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.classifier(input_ids=ids, attention_mask=mask_padding(ids)).logits


class Encoder(nn.Module):
    """The network below a text classifier's last two layers: token indices (n, length) to features (n, hidden)."""

    def __init__(self, classifier: BertForSequenceClassification) -> None:
        super().__init__()
        self.bert = classifier.bert

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.bert(input_ids=ids, attention_mask=mask_padding(ids)).last_hidden_state[:, 0]


class LastLayers(nn.Module):
    """The last two layers of a text classifier: features (n, hidden) to logits (n, labels)."""

    def __init__(self, classifier: BertForSequenceClassification) -> None:
        super().__init__()
        self.pooler, self.classifier = classifier.bert.pooler.dense, classifier.classifier

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.pooler(features).tanh())


def mask_padding(ids: torch.Tensor) -> torch.Tensor:
    """Return the attention mask, which leaves out padding: on a GPU (n, 1, 1, length), elsewhere (n, length).

    transformers uses the larger shape as it is. Of the smaller, it first asks the GPU if it is all True, and waits.
    """
    return (ids > 0)[:, None, None] if ids.is_cuda else (ids > 0).long()


class ExportWrapper(nn.Module):
    """The exported module: maps token indices (n, length), without padding, to logits (n, labels) and scores (n,).

    The in-distribution score is the mean log frequency, in the training texts, of a text's tokens that contain letters.
    Other languages, lists of names and code consist of rarer tokens than prose in the language of the training texts.

    Args:
        classifier: the network.
        log_frequency: log frequency of each token, (tokens,).
        counted: True for tokens that count, (tokens,).
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


def load_encoder(init: str | None, texts: Sequence[str]) -> tuple[Tokenizer, BertForSequenceClassification]:
    """Return a tokenizer and a network from a folder or the Hub; small and random if `init` is None.

    Args:
        init: a folder or a Hub name.
        texts: source of the vocabulary of a small tokenizer.

    Raises:
        DataError: they cannot be loaded.
    """
    if init is None:
        words = sorted({word for text in texts for word in text.lower().replace(".", "").split()})
        vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *words, *(f"##{a}" for a in "aes"), *"aes"]
        small = BertWordPieceTokenizer({token: index for index, token in enumerate(dict.fromkeys(vocabulary))})
        config = BertConfig(
            vocab_size=small.get_vocab_size(), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=64, max_position_embeddings=64,
        )  # fmt: skip
        return small._tokenizer, BertForSequenceClassification(config)
    network = load_pretrained(BertForSequenceClassification, init, new=("classifier.", "bert.pooler."))
    with tempfile.TemporaryDirectory() as folder:
        try:
            AutoTokenizer.from_pretrained(find_pretrained(init)).save_pretrained(folder)
            tokenizer = load_tokenizer(Path(folder) / TOKENIZER)
        except (OSError, ValueError) as error:
            raise DataError(f"{init} has no tokenizer ({error}); name another model with --init.") from error
    if tokenizer.get_vocab_size() < network.config.vocab_size / 2:  # without files, transformers makes one up
        raise DataError(f"{init} has no tokenizer for its {network.config.vocab_size:,} tokens; name another one.")
    return tokenizer, network


def keep_tokens(
    network: BertForSequenceClassification, kept: NDArray[np.int64], labels: Sequence[str]
) -> BertForSequenceClassification:
    """Return the encoder with embeddings of the kept tokens only, and a new last layer for these labels."""
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


def group_parameters(net: TextNet) -> list[list[nn.Parameter]]:
    """Return the parameters of the embeddings and first half, of the second half, and of the last layers."""
    bert = net.classifier.bert
    half = len(bert.encoder.layer) // 2
    groups = [
        [bert.embeddings, *bert.encoder.layer[:half]],
        [*bert.encoder.layer[half:]],
        [bert.pooler, net.classifier.classifier],
    ]
    return [[p for module in modules for p in module.parameters()] for modules in groups]


def average_weights(nets: Sequence[TextNet]) -> TextNet:
    """Return the first network with the mean weights of all: a model soup (Wortsman et al., ICML 2022)."""
    weights = [net.state_dict() for net in nets]
    nets[0].load_state_dict({name: torch.stack([one[name] for one in weights]).mean(0) for name in weights[0]})
    return nets[0]
