"""Text classification: texts of one's own, what is learned before and beside the labels, and the tokens."""

import json
import math
import re
import shutil
from dataclasses import replace
from itertools import count as numbers_from

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: make test-all")
pytest.importorskip("fastai", reason="fastai is not installed: make test-all")
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, BertModel

from shared import load_model
from tests.conftest import DATA, ROOT, load_app
from training import command
from training import sentiment as demo
from training.data import DataError
from training.description import describe
from training.learner import Run
from training.networks.text_classification import TextNet, average_weights
from training.recipe import Splits
from training.recipes import text_classification as recipe
from training.texts import fitting, tfidf, tokens
from training.texts import reading as texts
from training.texts.distillation import fit_weights, pool
from training.texts.hard_cases import NOT_PROSE, REVIEWS
from training.texts.masked_language import HIDDEN, NOT_HIDDEN, PIECE, MaskedLoader, MaskedNet, hidden_loss, pretrain
from training.texts.reading import Texts
from training.texts.token_statistics import compute_token_frequencies, fit_score_range
from training.words import keep_words

pytestmark = pytest.mark.training
SMOKE = recipe.TextClassificationSettings.smoke()


def train(kind, *options) -> int:
    return command.main(kind(), [str(option) for option in options])


def load(path):
    return demo.Sentiment().load(str(path), demo.SentimentSettings())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of made-up reviews."""
    out = tmp_path_factory.mktemp("sentiment") / "model"
    assert train(demo.Sentiment, "--smoke", "--out", out) == 0
    return out


def test_own_texts_with_three_labels_from_a_csv_to_a_page(tmp_path):
    rng = np.random.default_rng(0)
    kinds = {"sport": ("ball", "goal", "team"), "food": ("salt", "oven", "spoon"), "money": ("bank", "price", "tax")}
    rows = []
    for index in range(600):
        label = list(kinds)[index % 3]
        words = [*rng.choice(["the", "a", "and", "we", "had"], 8), *rng.choice(kinds[label], 5)]
        rows.append({"text": " ".join(rng.permutation(words)) + ".", "label": label, "other": index})
    pd.DataFrame(rows).to_csv(tmp_path / "my_texts.csv", index=False)
    space = shutil.copytree(ROOT / "spaces/sentiment", tmp_path / "space", ignore=shutil.ignore_patterns("model"))
    given = ["--smoke", "--data", tmp_path / "my_texts.csv", "--out", space / "model"]
    assert train(recipe.TextClassification, *given) == 0
    model = load_model(space / "model")
    assert model.config.labels == ("food", "money", "sport")
    accuracy = next(item.value for item in model.metrics.figures if item.name == "accuracy")
    assert accuracy > 0.5  # the small network of --smoke learns one label from the others; a third would be chance
    asked = "we had a goal and the ball and a team"
    assert model.explain(asked).label == model.predict(asked).label in kinds
    page = str(load_app(space).demo.get_config_file())
    assert "is it food, money or sport?" in page
    assert "this review" not in page


def test_german_texts_of_excel_make_a_card_that_speaks_of_them(tmp_path):
    """Labels have characters that mean something in Markdown; training again keeps the words."""
    rng = np.random.default_rng(0)
    kinds = {"Rechnung|Geld": "Mahnung Konto Betrag Frist überfällig", "Urlaub <b>": "Strand Sonne Meer Hotel schön"}
    lines = ["sep=;", "Brief;Art"]
    for index in range(60):
        label = list(kinds)[index % 2]
        lines.append(f"{' '.join(rng.choice([*kinds[label].split(), 'der', 'und', 'wir'], 8))} {index}.;{label}")
    (tmp_path / "post.csv").write_text("\n".join(lines), encoding="cp1252")
    given = ["--smoke", "--masked-epochs", 0, "--data", tmp_path / "post.csv", "--out", tmp_path / "out"]
    columns = ["--text-column", "brief", "--label-column", "art"]
    words = ["--title", "Post | Eingang", "--language", "de", "--licence", "cc-by-4.0"]
    assert train(recipe.TextClassification, *given, *columns, *words) == 0
    card = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    assert "\nlanguage: de\n" in card
    assert "\nlicense: cc-by-4.0\n" in card
    assert "# Post \\| Eingang" in card
    assert "is it Rechnung\\|Geld or Urlaub &lt;b>?" in card
    assert not re.search("english|film|wonderful|review", card, re.IGNORECASE)
    rows = [line for line in card.split("## Evaluation")[1].split("##")[0].splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}
    assert "is under this licence: CC BY 4.0." in (tmp_path / "out/LICENSE.md").read_text(encoding="utf-8")
    model = load_model(tmp_path / "out")
    assert model.config.labels == tuple(kinds)
    assert keep_words(tmp_path / "out", "post") == {
        "title": "Post | Eingang", "language": "de", "licence": "cc-by-4.0", "licence_name": "CC BY 4.0",
    }  # fmt: skip


def test_teachers_label_texts_without_labels(tmp_path, capsys):
    reviews = pd.read_csv(recipe.write_reviews(tmp_path / "made-up", 1, 360))
    reviews["text"] += " " + reviews["text"].shift(2).fillna("")  # two sentences with the same label
    reviews[:240].to_csv(tmp_path / "train.csv", index=False)
    reviews[240:280].to_csv(tmp_path / "test.csv", index=False)
    reviews[280:][["text"]].to_csv(tmp_path / "unsup.csv", index=False)
    shutil.rmtree(tmp_path / "made-up")
    given = ["--smoke", "--teachers", "--data", tmp_path, "--out", tmp_path / "out"]
    assert train(recipe.TextClassification, *given) == 0
    said = capsys.readouterr().out
    assert "Training teacher 4 of 4" in said
    assert "Training student 2 of 2" in said
    assert len(re.findall(r"the teachers are right on .* of 20 (texts|crops)", said)) == 2
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert next(item["value"] for item in metrics["figures"] if item["name"] == "accuracy") > 0.8
    assert "--teachers" in metrics["trained"]["command"]


@pytest.mark.parametrize("more", [(), ("--quick",)])
def test_teachers_without_texts_to_label_are_refused_with_a_message(tmp_path, capsys, more):
    given = ["--smoke", "--teachers", *more, "--out", tmp_path / "out"]
    assert train(recipe.TextClassification, *given) == 2
    assert "--teachers needs texts without labels" in capsys.readouterr().err


def test_masked_language_modelling_runs_for_the_given_epochs(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(recipe, "pretrain", lambda *given: asked.append(given[-1]))
    monkeypatch.setattr(fitting, "fit_network", lambda classifier, *_: TextNet(classifier))
    splits = load(recipe.write_reviews(tmp_path / "data", 0, 100))
    for change in ({}, {"masked_epochs": 6}, {"masked_epochs": 0}):
        fitted = recipe.TextClassification().fit(splits, replace(SMOKE, **change), Run(tmp_path, 0, resume=False))
        assert bool(fitted.notes) == bool(change.get("masked_epochs", 1))
    assert asked == [1, 6]


def test_a_resumed_run_writes_the_same_model(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    honest, epochs = fitting.accuracy, numbers_from(1)

    def interrupted(*arguments):
        if next(epochs) == 5:
            raise KeyboardInterrupt
        return honest(*arguments)

    monkeypatch.setattr(fitting, "accuracy", interrupted)
    assert train(demo.Sentiment, "--smoke", "--out", tmp_path / "model") == 130
    assert not (tmp_path / "model").exists()
    monkeypatch.setattr(fitting, "accuracy", honest)
    assert train(demo.Sentiment, "--smoke", "--out", tmp_path / "model", "--resume") == 0
    assert (tmp_path / "model/onnx/model.onnx").read_bytes() == (folder / "onnx/model.onnx").read_bytes()


@pytest.mark.parametrize("is_imdb", [True, False])
def test_hard_cases_are_measured_on_imdb_alone(folder, tmp_path, monkeypatch, is_imdb):
    reviews = pd.read_csv(recipe.write_reviews(tmp_path / "made-up", 1, 120))
    (tmp_path / "data").mkdir()
    reviews[:80].to_csv(tmp_path / "data/train.csv", index=False)
    reviews[80:].to_csv(tmp_path / "data/test.csv", index=False)
    if is_imdb:
        monkeypatch.setattr(demo, "IMDB_SIZE", 40)
    copy = shutil.copytree(folder, tmp_path / "model")
    assert train(demo.Sentiment, "--smoke", "--data", tmp_path / "data", "--measure", copy) == 0
    model = load_model(copy)
    groups = {item.data for item in model.metrics.figures} & set(NOT_PROSE)
    assert groups == (set(NOT_PROSE) if is_imdb else set())
    assert len(model.metrics.cases) == (sum(map(len, REVIEWS.values())) if is_imdb else 0)
    for case in model.metrics.cases:
        answer = model.predict(case.text)
        assert case.right == (answer.label == case.expected)
        assert case.probability == pytest.approx(answer.probabilities[case.expected], abs=1e-4)
    assert bool(model.config.about.datasets) == is_imdb


def test_a_pool_of_answers_follows_the_better_teachers():
    rng = np.random.default_rng(0)
    y, truth = rng.integers(0, 2, 400), rng.integers(0, 2, 300)

    def answers(strength):
        logits = [strength * np.eye(2)[part] + rng.normal(0, 1, (len(part), 2)) for part in (y, truth)]
        return tuple(np.log(np.exp(part) / np.exp(part).sum(1, keepdims=True)) for part in logits)

    expert, guesser = answers(3.0), answers(0.0)
    alone = pool([expert], y)
    np.testing.assert_allclose(alone.sum(1), 1, rtol=1e-5)
    together = pool([guesser, expert], y)
    right = [(part.argmax(1) == truth).mean() for part in (np.exp(guesser[1]), alone, together)]
    assert right[0] < 0.6
    assert right[1] > 0.9
    assert right[2] >= right[1] - 0.01
    assert np.abs(together - alone).mean() < 0.03


def test_averaged_networks_have_the_mean_of_their_weights():
    config = BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    nets = [TextNet(BertForSequenceClassification(config)) for _ in range(2)]
    weights = [net.classifier.classifier.weight.detach().clone() for net in nets]
    mean = average_weights(nets).classifier.classifier.weight
    torch.testing.assert_close(mean, (weights[0] + weights[1]) / 2)


def test_masked_batches_hide_some_tokens_and_say_which():
    rows = [np.r_[1, np.arange(10, 10 + n), 2] for n in (5, 40, 600)] + [np.array([1, 3, 2])]
    loader = MaskedLoader(rows, mask=4, special=5, bs=4)
    torch.manual_seed(0)
    ids, places, hidden = loader.create_batch([0, 1, 2, 3])
    assert ids.shape == (4, PIECE)
    assert places.shape == hidden.shape
    for row, where, which, original in zip(ids, places, hidden, rows, strict=True):
        is_hidden = which != NOT_HIDDEN
        piece = min(len(original), PIECE)
        ordinary = piece - 1 - (piece == len(original)) - (len(original) == 3)  # the last is cut off a longer row
        assert int(is_hidden.sum()) == int((row == 4).sum()) == math.ceil(round(HIDDEN * ordinary, 6))
        assert (row[where[is_hidden]] == 4).all()
        assert not set(which.tolist()) & {0, 1, 2, 3, 4}
        whole = row.clone()
        whole[where[is_hidden]] = which[is_hidden]
        assert whole[0] == 1
        start = int(np.flatnonzero(original == int(whole[1]))[0])
        np.testing.assert_array_equal(whole[1:piece].numpy(), original[start : start + piece - 1])
        assert not whole[piece:].any()


def test_hidden_tokens_depend_on_nothing_but_torchs_seed():
    loader = MaskedLoader([np.r_[1, np.arange(10, 700), 2]] * 4, mask=4, special=5, bs=4)
    batches = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        np.random.default_rng().random()
        batches.append(loader.create_batch([0, 1, 2, 3]))
    assert all(map(torch.equal, batches[0], batches[1]))
    assert not torch.equal(batches[0][1], batches[2][1])


def test_the_loss_counts_hidden_tokens_alone():
    logits, target = torch.randn(2, 3, 9), torch.tensor([[5, NOT_HIDDEN, NOT_HIDDEN], [6, 7, NOT_HIDDEN]])
    expected = torch.stack([logits[0, 0], logits[1, 0], logits[1, 1]])
    expected = torch.nn.functional.cross_entropy(expected, torch.tensor([5, 6, 7]))
    torch.testing.assert_close(hidden_loss(logits, target), expected)
    assert hidden_loss(logits, torch.full((2, 3), NOT_HIDDEN)) == 0


def test_masked_language_is_learned(tmp_path):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=15, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64,
    )  # fmt: skip
    bert = BertModel(config)
    before = {name: value.clone() for name, value in bert.state_dict().items()}
    rows = [np.r_[1, np.tile([10 + n % 5, 11 + n % 4], 6)] for n in range(300)]
    net = pretrain(bert, rows, 4, 5, Run(tmp_path, 0, resume=False), epochs=40, rates=5e-3)
    ids = torch.from_numpy(np.stack(rows[:20]))
    truth = ids[:, 3].clone()
    ids[:, 3] = 4
    assert (net(ids, torch.full((20, 1), 3))[:, 0].argmax(1) == truth).float().mean() > 0.9
    after = bert.state_dict()
    assert set(after) == set(before)
    assert not torch.equal(before["embeddings.word_embeddings.weight"], after["embeddings.word_embeddings.weight"])
    assert torch.equal(before["pooler.dense.weight"], after["pooler.dense.weight"])


def small_tokenizer():
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "##s", "a", "##a", "zebra"]
    names += ["[unused0]"]
    tokenizer = Tokenizer(models.WordPiece({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    return tokenizer


def test_the_folder_serves(folder):
    model = load_model(folder)
    good, bad = model.predict_batch(["the film was wonderful and funny.", "the film was dull and awful."])
    assert (good.label, bad.label) == ("pos", "neg")
    assert good.is_clear
    assert bad.is_clear
    found = {word: model.explain(f"the music was {word}") for word in ("wonderful.", "dull.")}
    for why in found.values():
        assert why.base + sum(value for _, value in why.parts) == pytest.approx(why.probability, abs=1e-5)
    word, why = max(found.items(), key=lambda item: abs(item[1].probability - item[1].base))
    assert abs(why.probability - why.base) > 0.1  # the other answer may be the one without any word
    assert max(why.parts, key=lambda part: abs(part[1]))[0].strip() == word


def test_the_folder_is_complete(folder):
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {
        "onnx/model.onnx", "gallery.json", "metrics.json", "README.md", "LICENSE.md", "model.safetensors",
        "config.json", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    figures = {item.name for item in load_model(folder).metrics.figures}
    assert {"accuracy", "ece", "ece_before", "clear", "refused", "validation_float32", "validation"} <= figures


def test_a_file_is_divided_so_that_nothing_is_in_two_parts(tmp_path):
    rng = np.random.default_rng(0)
    words = {"sport": "goal match team referee", "food": "soup bread salt kitchen", "music": "song choir violin drum"}
    rows = [
        {"text": " ".join(rng.choice(words[label].split(), 8)) + f" {index}", "label": label}
        for label in words
        for index in range(60)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "my-topics.csv", index=False)
    splits = load(tmp_path / "my-topics.csv")
    assert splits.labels == ("food", "music", "sport")
    assert splits.description.about.title == "My topics"
    parts = [splits.train.texts, splits.valid.texts, splits.tests[0].inputs]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 180


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,label\ngood,pos\n", "at least two labels are needed"),
        ("text,label\ngood,pos\nbad,neg\n", "At least 20 different texts are needed of each label"),
        ("text\ngood\n", "no column called label or labels"),
        ("text,label\ngood,pos\nbad,\n", "line 3: The row has no label"),
    ],
)
def test_unusable_texts_are_refused_with_a_message(tmp_path, capsys, content, message):
    path = tmp_path / "mine.csv"
    path.write_text(content)
    assert train(recipe.TextClassification, "--smoke", "--data", path, "--out", tmp_path / "out") == 2
    assert message in capsys.readouterr().err


def test_labels_and_texts_that_look_like_something_else_stay_text(tmp_path):
    for part, count in (("train", 40), ("test", 10)):
        rows = [
            {"text": "null" if index == 0 else f"text {part} {index}", "label": index % 2} for index in range(count)
        ]
        pd.DataFrame(rows).to_csv(tmp_path / f"{part}.csv", index=False)
    splits = load(tmp_path)
    assert splits.labels == ("0", "1")
    assert len(splits.tests[0]) == 10
    assert "null" in splits.tests[0].inputs


def test_two_labels_called_neg_and_pos_are_not_yet_imdb(tmp_path):
    for part in ("train", "test"):
        rows = [{"text": f"tweet {part} {index}", "label": ("neg", "pos")[index % 2]} for index in range(30)]
        pd.DataFrame(rows).to_csv(tmp_path / f"{part}.csv", index=False)
    splits = load(tmp_path)
    assert not splits.description.about.datasets
    assert "IMDB" not in str(splits)


def test_a_peer_that_finds_no_words_is_left_out():
    some = Texts(["字", "詞"], np.array([0, 1]))
    splits = Splits(some, some, (some.as_test("x", "test"),), describe("x", "Which?", ()), ("a", "b"))
    assert tfidf.compare_with_tfidf(splits, np.array([True, True])) == []
    assert tfidf.predict_with_tfidf(splits, [["字"]]) == []


def test_a_folder_without_reviews_is_refused_with_a_message(tmp_path, capsys):
    assert train(demo.Sentiment, "--smoke", "--data", tmp_path, "--out", tmp_path / "out") == 2
    assert "neither train.csv nor train/*/*.txt" in capsys.readouterr().err


def test_imdbs_own_layout_is_read(tmp_path):
    for part in ("train", "test"):
        for label in ("neg", "pos", "unsup"):
            (tmp_path / part / label).mkdir(parents=True)
            for index in range(3):
                (tmp_path / part / label / f"{index}.txt").write_text(f"{part} {label} {index}<br />end")
    splits = load(tmp_path)
    assert splits.labels == ("neg", "pos")
    assert len(splits.tests[0]) == 6
    assert len(splits.train.unlabelled) == 6
    assert "<br" not in "".join(splits.train.texts)


def test_copies_of_test_texts_are_not_trained_on():
    some = Texts(["a", "b", "a", "c"], np.array([0, 1, 0, 1]))
    assert texts.drop_copies(some, ["c"]).texts == ["a", "b"]


def test_a_pruned_tokenizer_reads_what_it_keeps_as_before():
    tokenizer = small_tokenizer()
    counts = np.zeros(tokenizer.get_vocab_size(), int)
    counts[[5, 7, 8]] = 3, 9, 5  # good, film, ##s
    pruned, kept = tokens.prune(tokenizer, counts, 100)
    assert pruned.encode("good films").tokens == ["good", "film", "##s"]
    assert pruned.encode("zebra").tokens == ["zebra"]  # it may occur in new texts
    assert pruned.token_to_id("[unused0]") is None
    assert pruned.token_to_id("[PAD]") == 0
    for name, index in pruned.get_vocab().items():
        assert tokenizer.id_to_token(int(kept[index])) == name
    smaller, _ = tokens.prune(tokenizer, counts, 9)
    assert smaller.get_vocab_size() == 9
    assert smaller.encode("film zebra").tokens == ["film", "[UNK]"]


@pytest.mark.parametrize(
    "processor",
    [
        processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 9), ("[SEP]", 8)]),
        processors.BertProcessing(("[SEP]", 8), ("[CLS]", 9)),
    ],
)
def test_the_special_tokens_of_a_pruned_tokenizer_have_their_new_ids(processor):
    names = ["[PAD]", "[UNK]", "rare", "word", "good", "film", "bad", "a", "[SEP]", "[CLS]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer, tokenizer.post_processor = pre_tokenizers.BertPreTokenizer(), processor
    tokenizer.add_special_tokens([name for name in names if name.startswith("[")])
    counts = np.array([0, 0, 0, 0, 5, 5, 5, 0, 0, 0, 0])
    tokenizer.encode_special_tokens = True
    pruned, _ = tokens.prune(tokenizer, counts, 100)
    assert pruned.encode_special_tokens  # as the tokenizer that serves
    assert pruned.encode("good film").ids == [pruned.token_to_id(name) for name in ("[CLS]", "good", "film", "[SEP]")]


def test_batches_have_texts_of_similar_length_and_every_text_once():
    rng = np.random.default_rng(0)
    ids = [np.ones(rng.integers(3, 200), np.int64) for _ in range(1000)]
    loader = tokens.TokenLoader(ids, np.arange(1000), bs=8, shuffle=True)
    x, y = zip(*loader, strict=True)
    assert sorted(torch.cat(y).tolist()) == list(range(1000))
    padding = 1 - sum(len(row) for row in ids) / sum(batch.numel() for batch in x)
    assert padding < 0.1
    lengths = [batch.shape[1] for batch in x]
    assert np.corrcoef(lengths[:-1], lengths[1:])[0, 1] < 0.5  # not from the longest to the shortest


@pytest.mark.parametrize("multiple", [1, 32])
def test_batches_hold_their_rows_and_padding(multiple):
    rng = np.random.default_rng(0)
    ids = [rng.integers(1, 18_000, n) for n in (3, 70, 33, 1, 100)]
    loader = tokens.TokenLoader(ids, np.arange(5), bs=2)
    loader.rows.multiple = multiple
    for chosen, length in (([2, 0], (33, 64)), ([4, 3, 1], (100, 100)), ([3], (1, 32))):
        x, y = loader.create_batch(chosen)
        assert x.shape == (len(chosen), length[multiple == 32])
        assert x.dtype == torch.long
        assert y.tolist() == chosen
        for row, index in zip(x, chosen, strict=True):
            assert row[: len(ids[index])].tolist() == ids[index].tolist()
            assert not row[len(ids[index]) :].any()


def test_padding_does_not_change_the_answer():
    config = BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    net = TextNet(BertForSequenceClassification(config)).eval()
    ids = torch.tensor([[1, 7, 9, 2]])
    torch.testing.assert_close(net(torch.nn.functional.pad(ids, (0, 28))), net(ids))


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_padding_does_not_change_the_logits_of_hidden_tokens(implementation):
    config = BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    bert = BertModel(config, add_pooling_layer=False)
    bert.set_attn_implementation(implementation)
    net, ids, places = MaskedNet(bert).eval(), torch.tensor([[1, 4, 9, 2]]), torch.tensor([[1]])
    torch.testing.assert_close(net(torch.nn.functional.pad(ids, (0, 28)), places), net(ids, places))


def test_logits_come_in_the_order_of_the_rows():
    config = BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    net = TextNet(BertForSequenceClassification(config)).eval()
    ids = [np.r_[1, np.full(n, 5 + n % 9), 2] for n in (30, 2, 17, 400)]
    expected = [net(torch.from_numpy(row)[None])[0] for row in ids]
    found = torch.from_numpy(fitting.compute_outputs(net, ids))
    torch.testing.assert_close(found, torch.stack(expected).detach(), atol=1e-5, rtol=1e-4)


def test_sentences_end_at_marks_and_lines():
    text = 'Mr. Smith is good! "Very good." So? Yes... no 3.5 stars\n\nThe end'
    found = [text[start:end] for start, end in texts.split_sentences(text)]
    assert found == ["Mr. Smith is good!", '"Very good."', "So?", "Yes...", "no 3.5 stars", "The end"]
    assert texts.split_sentences("one sentence") == [(0, 12)]


def test_crops_are_pieces_of_their_texts():
    several = [" ".join(f"Sentence {n} of text {row} is here." for n in range(row)) for row in range(1, 9)]
    crops, rows = texts.draw_crops(several, 0)
    assert rows.tolist() == list(range(1, 8))  # the first has one sentence
    for crop, row in zip(crops, rows, strict=True):
        assert crop in several[row]
        assert crop != several[row]
        assert 1 <= len(texts.split_sentences(crop)) <= texts.CROP_SENTENCES
    assert texts.draw_crops(several, 0)[0] == crops
    assert texts.draw_crops(several, 1)[0] != crops
    assert texts.draw_crops(["Bad. Very bad."], 0)[0] == []


def test_weights_make_answers_as_certain_as_they_are_right():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 4000)
    y = (rng.random(4000) < 1 / (1 + np.exp(-logits))).astype(int)
    answers = np.stack([np.zeros(4000), logits * 3], 1)
    assert fit_weights([answers], y)[0] == pytest.approx(1 / 3, rel=0.1)
    assert np.isfinite(fit_weights([np.array([[0.0, 9.0], [9.0, 0.0]])], np.array([1, 0]))).all()


def test_scores_tell_frequent_words_from_rare_ones():
    tokenizer = small_tokenizer()
    ids = [np.array(tokenizer.encode("a good film a bad film").ids)] * 50
    log_frequency, counted = compute_token_frequencies(tokenizer, ids)
    assert log_frequency[tokenizer.token_to_id("film")] > log_frequency[tokenizer.token_to_id("zebra")]
    assert not counted[tokenizer.token_to_id("[CLS]")]
    assert counted[tokenizer.token_to_id("[UNK]")]
    mean, (everywhere, in_short) = fit_score_range(log_frequency, counted, ids, seed=0)
    assert mean - np.sqrt(everywhere + in_short / 6) > log_frequency[tokenizer.token_to_id("zebra")]


def test_all_but_a_few_passages_of_any_length_are_in_distribution():
    rng = np.random.default_rng(0)
    ids = [np.r_[2, rng.zipf(1.5, int(rng.integers(3, 200))).clip(max=900) + 4, 3] for _ in range(3000)]
    counts = np.bincount(np.concatenate(ids), minlength=1000) + 0.5
    log_frequency = torch.tensor(np.log(counts / counts.sum()), dtype=torch.float32)
    counted = torch.arange(1000) > 4
    mean, (everywhere, in_short) = fit_score_range(log_frequency, counted, ids, seed=0)
    for size in (4, 12, 100):
        scores = np.array([log_frequency[row[1 : size + 1]].mean() for row in ids if len(row) > size + 1])
        below = (scores < mean - np.sqrt(everywhere + in_short / size)).mean()
        assert 0 <= below < 0.02
    assert in_short > everywhere


@pytest.mark.parametrize(("count", "low", "high"), [(60, 5, 30), (180, 5, 12), (180, 20, 60)])
def test_new_texts_like_a_few_of_ones_own_are_in_distribution(count, low, high):
    rng = np.random.default_rng(0)

    def draw(texts):
        return [np.r_[2, rng.zipf(1.3, int(rng.integers(low, high))).clip(max=900) + 4, 3] for _ in range(texts)]

    ids, new = draw(count), draw(3000)
    counts = np.bincount(np.concatenate(ids), minlength=1000) + 0.5
    log_frequency = torch.tensor(np.log(counts / counts.sum()), dtype=torch.float32)
    mean, (everywhere, in_short) = fit_score_range(log_frequency, torch.arange(1000) > 4, ids, seed=0)
    for size in (3, 100):  # whole, and one short sentence
        read = [row[1 : size + 1] if size < len(row) - 1 else row[1:-1] for row in new]
        bound = np.array([mean - np.sqrt(everywhere + in_short / len(row)) for row in read])
        assert (np.array([log_frequency[row].mean() for row in read]) < bound).mean() <= 0.01


def test_a_network_that_cannot_be_loaded_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    recipe.write_reviews(tmp_path, 0)
    data = next(tmp_path.glob("*.csv"))
    given = ["--data", data, "--init", tmp_path / "nothing", "--out", tmp_path / "model"]
    assert train(recipe.TextClassification, *given) == 2
    assert str(tmp_path / "nothing") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("init", "hub", "terms"),
    [
        (None, recipe.HUB_INIT, recipe.TERMS),
        (recipe.HUB_INIT, recipe.HUB_INIT, recipe.TERMS),
        ({"hidden_size": 384, "num_hidden_layers": 6}, recipe.HUB_INIT, recipe.TERMS),
        ("some/bert", "some/bert", "It began as some/bert, and is also under the terms of that network."),
        (
            {"hidden_size": 384, "num_hidden_layers": 12},
            None,
            "It began as a BERT in the folder begun, and is also under the terms of that network.",
        ),
    ],
)
def test_the_network_that_training_began_with_is_named(tmp_path, init, hub, terms):
    if isinstance(init, dict):
        BertConfig(**init).save_pretrained(tmp_path / "begun")
        init = str(tmp_path / "begun")
    data = recipe.write_reviews(tmp_path / "reviews", 0)
    settings = replace(recipe.TextClassificationSettings(), init=init)
    description = recipe.TextClassification().load_own(str(data), settings).description
    assert description.about.base_model == hub
    assert description.notice.endswith(f"\n{terms}\n")
    with pytest.raises(DataError, match="'good', which is not a label of the data"):
        description.reword({"label_names": {"good": "Good"}})


def test_quick_shortens_texts_and_training():
    parser = command.make_parser(recipe.TextClassification())
    quick = recipe.TextClassification().read_settings(parser.parse_args(["--quick"]))
    assert quick == replace(
        recipe.TextClassificationSettings(),
        quick=True,
        masked_epochs=0,
        max_tokens=256,
        head=96,
        batch=32,
        epochs=1,
        rates=slice(3e-5, 2e-4),
    )


@pytest.mark.data
def test_imdb_is_read_with_its_official_split():
    splits = load(DATA / "imdb")
    assert (splits.tests[0].data, len(splits.tests[0])) == ("IMDB", 25_000)
    assert 24_700 < len(splits.train) + len(splits.valid) < 24_900
    assert not {*splits.train.texts, *splits.valid.texts} & set(splits.tests[0].inputs)
    assert splits.labels == ("neg", "pos")


@pytest.mark.parametrize(
    ("count", "batch", "epochs"),
    [(160, 10, 19), (64, 8, 20), (1440, 90, 19), (9600, 128, 4), (100_000, 128, 3)],
)
def test_few_texts_are_trained_on_for_more_epochs(count, batch, epochs):
    train = Texts(["a"] * count, np.zeros(count, np.int64))
    splits = Splits(train, train, (), describe("mine", "", (), None, ""), ("a", "b"))
    found = recipe.TextClassification().adapt(recipe.TextClassificationSettings(), splits)
    assert (found.batch, found.epochs) == (batch, epochs)


def test_a_network_of_another_language_is_noticed(capsys):
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "good": 1, "g": 2, "##u": 3, "##t": 4}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    settings = recipe.TextClassificationSettings(init="somebody/english")
    recipe.check_language(tokenizer, ["good good good", "good"], settings)
    recipe.check_language(tokenizer, ["gut gut"], replace(settings, init=None))
    assert capsys.readouterr().out == ""
    recipe.check_language(tokenizer, ["gut gut gut"], settings)
    printed = capsys.readouterr().out
    assert "somebody/english splits these texts into 3.0 tokens per word" in printed
    recipe.check_language(tokenizer, ["good \u0e14\u0e35"], settings)
    assert "somebody/english does not know 50% of the tokens of these texts" in capsys.readouterr().out
    assert "--init google-bert/bert-base-multilingual-cased" in printed
