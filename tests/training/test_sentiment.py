"""The sentiment script from made-up reviews to a folder that serves."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from transformers import BertConfig, BertForSequenceClassification, BertModel

from shared import load_model
from shared.config import GalleryConfig
from tests.conftest import DATA, ROOT, load_app
from training import sentiment as script
from training import tokens
from training.learner import command
from training.masked_language import NOT_HIDDEN, PIECE, MaskedLoader, pretrain

pytestmark = pytest.mark.training


def train(*options):
    return command(script.run, script.command_line(), [str(option) for option in options])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("sentiment") / "model"
    assert train("--smoke", "--out", out) == 0
    return out


def test_texts_of_ones_own_with_three_labels_from_a_csv_to_a_page(tmp_path):
    rng = np.random.default_rng(0)
    kinds = {"sport": ("ball", "goal", "team"), "food": ("salt", "oven", "spoon"), "money": ("bank", "price", "tax")}
    rows = []
    for index in range(600):
        label = list(kinds)[index % 3]
        words = [*rng.choice(["the", "a", "and", "we", "had"], 8), *rng.choice(kinds[label], 5)]
        rows.append({"text": " ".join(rng.permutation(words)) + ".", "label": label, "other": index})
    pd.DataFrame(rows).to_csv(tmp_path / "my_texts.csv", index=False)
    space = shutil.copytree(ROOT / "spaces/sentiment", tmp_path / "space", ignore=shutil.ignore_patterns("model"))
    assert train("--smoke", "--data", tmp_path / "my_texts.csv", "--out", space / "model") == 0
    model = load_model(space / "model")
    assert model.config.labels == ("food", "money", "sport")
    accuracy = next(item["value"] for item in model.metrics["figures"] if item["name"] == "accuracy")
    assert accuracy > 0.5  # the small network of --smoke learns one label from the others; a third would be chance
    asked = "we had a goal and the ball and a team"
    assert model.explain(asked).label == model.predict(asked).label in kinds
    app = load_app(space)
    found, headline, shown = app.predict("we had salt and a spoon and the oven")
    assert found["label"] in kinds
    assert found["label"] in headline or "Not sure" in headline
    assert set(shown) == set(kinds)
    page = str(app.demo.get_config_file())
    assert "is it food, money or sport?" in page
    assert "this review" not in page
    assert "Many texts" in page


def test_teachers_say_what_texts_without_labels_are(tmp_path, capsys):
    reviews = script.made_up_reviews(500, 1)
    reviews[:200].to_csv(tmp_path / "train.csv", index=False)
    reviews[200:300].to_csv(tmp_path / "test.csv", index=False)
    reviews[300:][["text"]].to_csv(tmp_path / "unsup.csv", index=False)
    assert train("--smoke", "--teachers", "--data", tmp_path, "--out", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "Training teacher 3 of 3" in said
    assert "Training student 2 of 2" in said
    assert "the teachers are right on" in said
    figures = json.loads((tmp_path / "out/metrics.json").read_text())["figures"]
    assert next(item["value"] for item in figures if item["name"] == "accuracy") > 0.8


def test_a_pool_of_answers_follows_those_who_know():
    rng = np.random.default_rng(0)
    y, truth = rng.integers(0, 2, 400), rng.integers(0, 2, 300)

    def answers(strength):
        logits = [strength * np.eye(2)[part] + rng.normal(0, 1, (len(part), 2)) for part in (y, truth)]
        return tuple(np.log(np.exp(part) / np.exp(part).sum(1, keepdims=True)) for part in logits)

    expert, guesser = answers(3.0), answers(0.0)
    alone = script.pooled([expert], y)
    np.testing.assert_allclose(alone.sum(1), 1, rtol=1e-5)
    together = script.pooled([guesser, expert], y)
    right = [(part.argmax(1) == truth).mean() for part in (np.exp(guesser[1]), alone, together)]
    assert right[0] < 0.6
    assert right[1] > 0.9
    assert right[2] >= right[1] - 0.01
    assert np.abs(together - alone).mean() < 0.03


def test_averaged_networks_have_the_mean_of_their_weights():
    config = BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    nets = [script.ReviewNet(BertForSequenceClassification(config)) for _ in range(2)]
    weights = [net.classifier.classifier.weight.detach().clone() for net in nets]
    mean = script.averaged(nets).classifier.classifier.weight
    torch.testing.assert_close(mean, (weights[0] + weights[1]) / 2)


def test_masked_batches_hide_some_tokens_and_say_which():
    rows = [np.r_[1, np.arange(10, 10 + n), 2] for n in (5, 40, 600)]
    loader = MaskedLoader(rows, mask=4, special=5, bs=3)
    loader.rng.seed(0)
    ids, hidden = loader.create_batch([0, 1, 2])
    assert ids.shape == hidden.shape == (3, PIECE)
    assert ((ids == 4) == (hidden != NOT_HIDDEN)).all()
    whole = torch.where(ids == 4, hidden, ids)
    for row, original in zip(whole, rows, strict=True):
        found = row[row > 0].numpy()
        start = int(np.flatnonzero(original == found[1])[0])
        assert found[0] == 1
        np.testing.assert_array_equal(found[1:], original[start : start + len(found) - 1])
    assert 0.1 < (hidden != NOT_HIDDEN).sum() / (whole >= 5).sum() < 0.3
    assert not set(hidden.flatten().tolist()) & {0, 1, 2, 3, 4}


def test_masked_language_is_learned(tmp_path):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=15, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64,
    )  # fmt: skip
    bert = BertModel(config)
    before = {name: value.clone() for name, value in bert.state_dict().items()}
    rows = [np.r_[1, np.tile([10 + n % 5, 11 + n % 4], 6)] for n in range(300)]
    net = pretrain(bert, rows, 4, 5, tmp_path, seed=0, epochs=40, rates=5e-3)
    ids = torch.from_numpy(np.stack(rows[:20]))
    truth = ids[:, 3].clone()
    ids[:, 3] = 4
    assert (net(ids).argmax(1) == truth).float().mean() > 0.9
    after = bert.state_dict()
    assert set(after) == set(before)
    assert not torch.equal(before["embeddings.word_embeddings.weight"], after["embeddings.word_embeddings.weight"])
    assert torch.equal(before["pooler.dense.weight"], after["pooler.dense.weight"])


def small_tokenizer():
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "##s", "a", "##a", "zebra"]
    tokenizer = Tokenizer(models.WordPiece({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    return tokenizer


def test_the_folder_serves(folder):
    model = load_model(folder)
    good, bad = model.predict_batch(["the film was wonderful and funny.", "the film was dull and awful."])
    assert (good.label, bad.label) == ("pos", "neg")
    assert good.is_clear
    assert bad.is_clear
    why = model.explain("the music was wonderful.")
    values = {piece.strip(): value for piece, value in why.parts}
    assert why.base + sum(values.values()) == pytest.approx(why.probability, abs=1e-5)
    assert max(values, key=values.get) == "wonderful."


def test_the_folder_is_complete_and_its_metrics_are_whole(folder):
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {
        "onnx/model.onnx", "gallery.json", "metrics.json", "README.md", "LICENSE.md", "model.safetensors",
        "config.json", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    metrics = json.loads((folder / "metrics.json").read_text())
    figures = {item["name"]: item for item in metrics["figures"]}
    assert {"accuracy", "ece", "ece_before", "clear", "refused", "accuracy_float", "accuracy_validation"} <= set(
        figures
    )
    assert figures["accuracy"]["value"] > 0.9
    assert metrics["peers"][0]["value"] > 0.9
    assert metrics["parity_float"]["largest_difference"] < 1e-3
    assert metrics["parity"]["relabelled"] <= max(script.RELABELLED, 1 / metrics["parity"]["compared"])
    assert metrics["trained"]["command"].startswith("python -m training.sentiment --smoke --")
    assert "temperature" in metrics["trained"]["notes"][-1]


def test_the_embedded_model_says_of_itself_what_the_script_says():
    assert GalleryConfig.read_common(ROOT / "spaces/sentiment/model").about == script.ABOUT


def test_measuring_again_gives_the_figures_of_the_first_time(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "model")
    before = json.loads((copy / "metrics.json").read_text())
    assert train("--smoke", "--measure", copy) == 0
    after = json.loads((copy / "metrics.json").read_text())
    dated = {"measured": before["measured"]["date"]}
    kept = ("ece_before", "accuracy_float")
    figures = {item["name"]: item for item in before["figures"]}
    assert {item["name"]: item for item in after["figures"]} == {
        name: item | dated if name in kept else item for name, item in figures.items()
    }
    assert [after[name] for name in ("peers", "notes", "headline", "trained")] == [
        before[name] for name in ("peers", "notes", "headline", "trained")
    ]
    assert load_model(copy).metrics == after


def test_a_model_of_other_labels_is_not_measured(folder, tmp_path, capsys):
    path = tmp_path / "mine.csv"
    rows = [{"text": f"{label} words {index}", "label": label} for label in ("a", "b") for index in range(40)]
    pd.DataFrame(rows).to_csv(path, index=False)
    assert train("--data", path, "--measure", folder) == 2
    assert "The model gives neg, pos; the data has a, b." in capsys.readouterr().err


def test_transformers_loads_the_folder_alone(folder):
    text = "a wonderful story, funny and moving."
    code = f"""
import sys
sys.path[:] = [entry for entry in sys.path if entry not in ("", {str(ROOT)!r})]
import json, torch
library = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from transformers import pipeline
print(json.dumps(pipeline("text-classification", {str(folder)!r}, device="cpu", top_k=None)({text!r})))
assert not any(name.split(".")[0] in ("shared", "training") for name in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    theirs = {item["label"]: item["score"] for item in (answer[0] if isinstance(answer[0], list) else answer)}
    assert theirs == pytest.approx(load_model(folder).predict(text).probabilities, abs=0.03)


def test_any_labels_of_ones_own_can_be_trained(tmp_path):
    rng = np.random.default_rng(0)
    words = {"sport": "goal match team referee", "food": "soup bread salt kitchen", "music": "song choir violin drum"}
    rows = [
        {"text": " ".join(rng.choice(words[label].split(), 8)) + f" {index}", "label": label}
        for label in words
        for index in range(60)
    ]
    path = tmp_path / "my-topics.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    options = script.command_line().parse_args(["--data", str(path), "--out", str(tmp_path / "out")])
    task = script.load(options)
    assert task.labels == ("food", "music", "sport")
    assert task.about.title == "My topics"
    assert len(task.train) + len(task.valid) + len(task.test) == 180
    assert not set(task.train.texts) & set(task.test.texts)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,label\ngood,pos\n", "at least two are needed"),
        ("text,label\ngood,pos\nbad,neg\n", "at least 20 are needed"),
        ("text\ngood\n", "lacks the column label"),
        ("text,label\ngood,pos\nbad,\n", "row 3, has no label"),
    ],
)
def test_unusable_texts_are_refused_in_a_sentence(tmp_path, capsys, content, message):
    path = tmp_path / "mine.csv"
    path.write_text(content)
    assert train("--data", path, "--out", tmp_path / "out") == 2
    assert message in capsys.readouterr().err


def test_labels_and_texts_that_look_like_something_else_stay_text(tmp_path):
    for part, count in (("train", 40), ("test", 10)):
        rows = [
            {"text": "null" if index == 0 else f"text {part} {index}", "label": index % 2} for index in range(count)
        ]
        pd.DataFrame(rows).to_csv(tmp_path / f"{part}.csv", index=False)
    task = script.load(script.command_line().parse_args(["--data", str(tmp_path)]))
    assert task.labels == ("0", "1")
    assert len(task.test) == 10
    assert "null" in task.test.texts


def test_two_labels_called_neg_and_pos_are_not_yet_imdb(tmp_path):
    for part in ("train", "test"):
        rows = [{"text": f"tweet {part} {index}", "label": ("neg", "pos")[index % 2]} for index in range(30)]
        pd.DataFrame(rows).to_csv(tmp_path / f"{part}.csv", index=False)
    task = script.load(script.command_line().parse_args(["--data", str(tmp_path)]))
    assert not task.about.datasets
    assert "IMDB" not in str(task)


def test_a_peer_that_finds_no_words_is_left_out():
    texts = script.Texts(["字", "詞"], np.array([0, 1]))
    task = script.Task(("a", "b"), texts, texts, texts, [], ("x", "test"), script.own_about(("a", "b"), "x"), "")
    assert script.peers(task, np.array([True, True])) == []


def test_a_folder_without_reviews_is_refused_in_a_sentence(tmp_path, capsys):
    assert train("--data", tmp_path, "--out", tmp_path / "out") == 2
    assert "neither train.csv nor train/*/*.txt" in capsys.readouterr().err


def test_imdbs_own_layout_is_read(tmp_path):
    for part in ("train", "test"):
        for label in ("neg", "pos", "unsup"):
            (tmp_path / part / label).mkdir(parents=True)
            for index in range(3):
                (tmp_path / part / label / f"{index}.txt").write_text(f"{part} {label} {index}<br />end")
    task = script.load(script.command_line().parse_args(["--data", str(tmp_path)]))
    assert task.labels == ("neg", "pos")
    assert len(task.test) == 6
    assert task.about.datasets == ()
    assert "<br" not in "".join(task.train.texts)


def test_copies_of_test_texts_are_not_trained_on():
    texts = script.Texts(["a", "b", "a", "c"], np.array([0, 1, 0, 1]))
    assert script.without_copies(texts, ["c"]).texts == ["a", "b"]


def test_a_pruned_tokenizer_reads_what_it_keeps_as_before():
    tokenizer = small_tokenizer()
    counts = np.zeros(tokenizer.get_vocab_size(), int)
    counts[[5, 7, 8]] = 3, 9, 5  # good, film, ##s
    pruned, kept = tokens.prune(tokenizer, counts, 100)
    assert pruned.encode("good films").tokens == ["good", "film", "##s"]
    assert pruned.encode("zebra").tokens == ["[UNK]"]
    assert pruned.token_to_id("[PAD]") == 0
    for name, index in pruned.get_vocab().items():
        assert tokenizer.id_to_token(int(kept[index])) == name
    assert tokens.prune(tokenizer, counts, 9)[0].get_vocab_size() == 9


@pytest.mark.parametrize(
    "processor",
    [
        processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 9), ("[SEP]", 8)]),
        processors.BertProcessing(("[SEP]", 8), ("[CLS]", 9)),
    ],
)
def test_the_marks_of_a_pruned_tokenizer_have_their_new_numbers(processor):
    names = ["[PAD]", "[UNK]", "rare", "word", "good", "film", "bad", "a", "[SEP]", "[CLS]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer, tokenizer.post_processor = pre_tokenizers.BertPreTokenizer(), processor
    tokenizer.add_special_tokens([name for name in names if name.startswith("[")])
    counts = np.array([0, 0, 0, 0, 5, 5, 5, 0, 0, 0, 0])
    pruned, _ = tokens.prune(tokenizer, counts, 100)
    assert pruned.encode("good film").ids == [pruned.token_to_id(name) for name in ("[CLS]", "good", "film", "[SEP]")]


def test_batches_have_texts_of_like_length_and_every_text_once():
    rng = np.random.default_rng(0)
    ids = [np.ones(rng.integers(3, 200), np.int64) for _ in range(1000)]
    loader = tokens.TokenLoader(ids, np.arange(1000), bs=8, shuffle=True)
    x, y = zip(*loader, strict=True)
    assert sorted(torch.cat(y).tolist()) == list(range(1000))
    padding = 1 - sum(len(row) for row in ids) / sum(batch.numel() for batch in x)
    assert padding < 0.1
    lengths = [batch.shape[1] for batch in x]
    assert np.corrcoef(lengths[:-1], lengths[1:])[0, 1] < 0.5  # not from the longest to the shortest


def test_prose_scores_tell_frequent_words_from_rare_ones():
    tokenizer = small_tokenizer()
    ids = [np.array(tokenizer.encode("a good film a bad film").ids)] * 50
    log_frequency, counted = script.frequencies(tokenizer, ids)
    assert log_frequency[tokenizer.token_to_id("film")] > log_frequency[tokenizer.token_to_id("zebra")]
    assert not counted[tokenizer.token_to_id("[CLS]")]
    assert counted[tokenizer.token_to_id("[UNK]")]
    mean, (everywhere, in_short) = script.prose_range(log_frequency, counted, ids, seed=0)
    assert mean - np.sqrt(everywhere + in_short / 6) > log_frequency[tokenizer.token_to_id("zebra")]


def test_all_but_a_few_passages_of_any_length_are_in_the_range_of_prose():
    rng = np.random.default_rng(0)
    ids = [np.r_[2, rng.zipf(1.5, int(rng.integers(3, 200))).clip(max=900) + 4, 3] for _ in range(3000)]
    counts = np.bincount(np.concatenate(ids), minlength=1000) + 0.5
    log_frequency = torch.tensor(np.log(counts / counts.sum()), dtype=torch.float32)
    counted = torch.arange(1000) > 4
    mean, (everywhere, in_short) = script.prose_range(log_frequency, counted, ids, seed=0)
    for size in (4, 12, 100):
        scores = np.array([log_frequency[row[1 : size + 1]].mean() for row in ids if len(row) > size + 1])
        below = (scores < mean - np.sqrt(everywhere + in_short / size)).mean()
        assert 0 <= below < 0.02
    assert in_short > everywhere


@pytest.mark.data
def test_imdb_is_read_with_its_official_split():
    task = script.load(script.command_line().parse_args(["--data", str(DATA / "imdb")]))
    assert len(task.test) == 25_000
    assert 24_700 < len(task.train) + len(task.valid) < 24_900
    assert not {*task.train.texts, *task.valid.texts} & set(task.test.texts)
    assert task.labels == ("neg", "pos")
