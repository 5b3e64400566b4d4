"""The sentiment predictor, on the embedded model: what it answers, refuses, reads, and how it explains itself."""

import shutil

import numpy as np
import pytest

from shared import BadInput, CheckpointError, load_model, session
from shared.shapley import average_changes, list_sets
from shared.text_parts import MAX_PARTS, merge_spans, split_text
from shared.tokens import clean_text, read_tokens
from tests.conftest import DATA, ROOT, sign_folder

GOOD = "A wonderful film. I loved the acting, the music and above all the ending."
BAD = "A terrible film. I hated the acting, the music and above all the ending."
LONG = " ".join(f"Scene {number} was fine, but nothing to remember; then came the next." for number in range(40))


def test_it_tells_good_from_bad(sentiment):
    good, bad = sentiment.predict_batch([GOOD, BAD])
    assert (good.label, bad.label) == ("pos", "neg")
    assert good.is_clear
    assert bad.is_clear
    assert good.words == good.words_read == len(GOOD.split())
    assert sum(good.probabilities.values()) == pytest.approx(1)


def test_one_at_a_time_and_many_at_once_are_the_same(sentiment):
    texts = [GOOD, LONG, BAD, "Fine."]
    assert sentiment.predict_batch(texts) == [sentiment.predict(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "There is no text"),
        (" \n\t ", "There is no text"),
        ("\x00\x07\x1b\u200b\ufeff", "There is no text"),
        ("<br /><br>", "There is no text"),
        ("a" * 5_000_001, "at most 5,000,000"),
        (None, "The input must be text, not NoneType"),
        (b"good", "The input must be text, not bytes"),
    ],
)
def test_a_value_that_is_no_text_is_refused_with_a_message(sentiment, text, message):
    for answer in (sentiment.predict, sentiment.explain):
        with pytest.raises(BadInput, match=message):
            answer(text)
    with pytest.raises(BadInput, match=f"Item 1: .*{message}"):
        sentiment.predict_batch([GOOD, text])


@pytest.mark.parametrize(
    "text",
    [
        "😀🎬🍿",
        "!!! ??? ...",
        "x" * 1_000_000,
        "الفيلم رائع جدا والممثلون ممتازون.",
        "Фильм очень скучный, я уснул через полчаса.",
        "sudo apt-get install -y nginx-light && systemctl restart nginx",
        "qzx vwk jjkq xzzv wqpt",
        "\ud83d",
    ],
    ids=["emoji", "signs", "one long word", "right to left", "Cyrillic", "code", "letters", "half a surrogate pair"],
)
def test_text_that_is_not_english_prose_is_not_clear(sentiment, text):
    answer = sentiment.predict(text)
    assert not answer.is_clear
    why = sentiment.explain(text)
    given = sum(value for _, value in why.parts if value is not None)
    assert why.base + given == pytest.approx(why.probability, abs=1e-9)


@pytest.mark.parametrize("extra", ["<script>alert(1)</script>", "<br /><br />", "\x00\u202e", "\n\n"])
def test_marks_and_controls_do_not_change_the_answer(sentiment, extra):
    assert sentiment.predict(f"{GOOD} {extra}").label == "pos"
    assert sentiment.predict(f"{BAD} {extra}").label == "neg"


@pytest.mark.parametrize(
    "sign",
    [
        "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\xad", "\u200e", "\u202e", "\u2066", "\u034f", "\ufe0f",
        "\x00", "\x08", "\u115f", "\u3164", "\U000e0041",
    ],
    ids=ascii,
)  # fmt: skip
def test_a_character_that_nobody_sees_cuts_no_word(sentiment, sign):
    hidden = f"{sign}I hat{sign}ed{sign} it. Dread{sign}{sign}ful!{sign}"
    assert clean_text(hidden) == "I hated it. Dreadful!"
    assert sentiment.predict(hidden) == sentiment.predict("I hated it. Dreadful!")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("a terri\ufb01c, \ufb02awless \ufb01lm", "a terrific, flawless film"),
        ("\uff29 \uff48\uff41\uff54\uff45\uff44 \uff49\uff54", "I hated it"),
        ("I \U0001d421\U0001d41a\U0001d42d\U0001d41e\U0001d41d it", "I hated it"),
        ("good\x96but\u2028short", "good but short"),
        (
            "I loved it \U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f",
            "I loved it \U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f",
        ),
        ("8\u00bd, 100\u00b2, caf\u00e9\u2026 \uff0c", "8\u00bd, 100\u00b2, caf\u00e9\u2026 \uff0c"),
        ("h\u0430ted", "h\u0430ted"),
    ],
    ids=range(7),
)
def test_texts_are_cleaned(written, read):
    assert clean_text(written) == read


@pytest.mark.data
def test_real_reviews_are_read_as_when_the_model_was_measured(sentiment):
    """What is deleted was a space then, or left to the tokenizer: of the test reviews one changes, and no token."""
    import lzma
    import re

    import pandas as pd

    signs = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufffd]")
    with lzma.open(DATA / "imdb/test.csv.xz", "rt", encoding="utf-8") as file:
        texts = [text for text in pd.read_csv(file).text if not text.isascii()]
    then = [signs.sub(" ", re.sub(r"(?i)<br\s*/?>", "\n", text)).strip() for text in texts]
    changed = [(old, clean_text(text)) for old, text in zip(then, texts, strict=True) if old != clean_text(text)]
    assert len(changed) == 1
    for old, new in changed:
        assert [*sentiment.tokenize([old])[0].ids] == [*sentiment.tokenize([new])[0].ids]


def test_breaks_of_html_are_line_breaks(sentiment):
    assert clean_text("One.<br /><br>Two.<BR/>") == "One.\n\nTwo."
    assert sentiment.predict("Awful.<br /><br />Dull.") == sentiment.predict("Awful.\n\nDull.")


def test_a_hundred_thousand_words_are_read_at_both_ends(sentiment):
    text = f"{BAD} " + "The film goes on. " * 25_000 + GOOD
    answer = sentiment.predict(text)
    assert answer.words > 100_000
    most = sentiment.config.max_tokens - 2
    assert most / 2 < answer.words_read <= most
    (tokens,) = sentiment.tokenize([text])
    assert len(tokens.ids) == most
    assert tokens.read[0][0] == 0
    assert tokens.read[1][1] == len(text)
    middle = f"{BAD} " + "Another word here. " * 25_000 + GOOD
    assert sentiment.tokenize([middle])[0].read[0][1] < 5000
    why = sentiment.explain(text)
    assert "".join(piece for piece, _ in why.parts) == text
    assert sum(value is None for _, value in why.parts) == 1


def test_a_word_that_is_read_at_both_ends_counts_once(sentiment):
    most, head = sentiment.config.max_tokens - 2, sentiment.config.head
    words = ["good"] * (head - 1) + ["untranslatableness"] + ["good"] * (most - head - 4)  # one token too many
    (tokens,) = sentiment.tokenize([" ".join(words)])
    parts = [" ".join(words)[start:end].split() for start, end in tokens.read]
    assert (parts[0][-1], parts[1][0]) == ("un", "nslatableness")
    answer = sentiment.predict(" ".join(words))
    assert answer.words == answer.words_read == len(words) == len(parts[0]) + len(parts[1]) - 1


def change_config(monkeypatch, model, **fields):
    monkeypatch.setattr(model, "config", model.config.model_copy(update=fields))


def test_a_clear_answer_is_as_probable_as_the_config_says(sentiment, monkeypatch):
    answer = sentiment.predict(GOOD)
    assert answer.as_row()["clear"] == "yes"
    probability = max(answer.probabilities.values())
    for least, is_clear in ((probability, True), (np.nextafter(probability, 1), False)):
        change_config(monkeypatch, sentiment, min_clear_probability=least)
        answer = sentiment.predict(GOOD)
        assert (answer.in_distribution, answer.is_clear) == (True, is_clear)
        assert answer.as_row()["clear"] == ("yes" if is_clear else "no")


def test_of_more_than_two_labels_the_most_probable_is_explained(sentiment, monkeypatch):
    change_config(monkeypatch, sentiment, labels=("a", "b", "c"))
    monkeypatch.setattr(sentiment, "_run", lambda ids: (np.tile([0.2, 0.3, 0.5], (len(ids), 1)), np.zeros(len(ids))))
    why = sentiment.explain(GOOD)
    assert (why.label, why.probability, why.base) == ("c", 0.5, pytest.approx(0.5))


def test_a_head_leaves_room_for_a_tail(sentiment, tmp_path):
    folder = shutil.copytree(ROOT / "spaces/sentiment/model", tmp_path / "model")
    most = sentiment.config.max_tokens - 2
    sign_folder(folder, head=most - 1)
    assert load_model(folder).config.head == most - 1
    sign_folder(folder, head=most)
    with pytest.raises(CheckpointError, match="head must be less than max_tokens - 2"):
        load_model(folder)


def test_what_lies_in_the_middle_of_a_long_text_changes_nothing(sentiment):
    start, end = "Good. " * 400, " Bad." * 400
    assert (
        sentiment.predict(start + "Neither here nor there. " * 9000 + end).probabilities
        == sentiment.predict(start + "Something else entirely. " * 9000 + end).probabilities
    )


def test_contributions_add_up_and_point_the_right_way(sentiment):
    why = sentiment.explain("I loved the music but the story is dreadful and dull.")
    values = {piece.strip(): value for piece, value in why.parts}
    assert why.label == "pos"
    assert why.base + sum(value for _, value in why.parts) == pytest.approx(why.probability, abs=1e-9)
    assert (
        why.probability
        == sentiment.predict("I loved the music but the story is dreadful and dull.").probabilities["pos"]
    )
    assert values["loved"] > 0 > values["dreadful"]
    assert sentiment.explain("I loved it", label="neg").label == "neg"
    assert why == sentiment.explain("I loved the music but the story is dreadful and dull.")


def test_few_words_have_exact_contributions(sentiment):
    words = ["Not", "a", "bad", "film!"]
    why = sentiment.explain(" ".join(words))
    texts = [" ".join(word for word, kept in zip(words, some, strict=True) if kept) for some in list_sets(4)[1:]]
    found = [why.base, *(answer.probabilities["pos"] for answer in sentiment.predict_batch(texts))]
    assert [value for _, value in why.parts] == pytest.approx(average_changes(np.array(found)).tolist(), abs=1e-9)


@pytest.mark.parametrize("text", [GOOD, LONG])
def test_an_explanation_takes_at_most_32_evaluations(sentiment, text, monkeypatch):
    lengths, run = [], sentiment._run

    def count(ids):
        lengths.extend(map(len, ids))
        return run(ids)

    monkeypatch.setattr(sentiment, "_run", count)
    sentiment.explain(text)
    assert len(lengths) <= 32
    assert lengths.count(max(lengths)) == 1  # the whole text only once


def test_a_long_review_is_explained_by_clauses_and_they_by_words(sentiment):
    text = f"{LONG} The ending was a wonderful surprise!"
    why = sentiment.explain(text)
    assert "".join(piece for piece, _ in why.parts) == clean_text(text)
    assert 8 < sum(value is not None for _, value in why.parts) <= MAX_PARTS
    last = len(why.parts) - 1
    closer = sentiment.explain(text, part=last)
    inside = [(piece, value) for piece, value in closer.parts if value is not None]
    assert "".join(piece for piece, _ in inside) == why.parts[last][0]
    assert closer.base + sum(value for _, value in inside) == pytest.approx(why.probability, abs=1e-9)
    assert len(inside) > 2


def test_a_part_may_be_given_as_text(sentiment):
    assert sentiment.explain(LONG, part="1.0") == sentiment.explain(LONG, part=1)


@pytest.mark.parametrize("part", [-1, 99, 0.5, "x", True])
def test_a_part_that_is_not_there_is_refused(sentiment, part):
    with pytest.raises(BadInput, match="There is no part"):
        sentiment.explain(GOOD, part=part)


def test_an_unknown_label_is_refused(sentiment):
    with pytest.raises(BadInput, match="There is no label 'great'; choose one of neg, pos"):
        sentiment.explain(GOOD, label="great")


@pytest.mark.parametrize("text", [GOOD, LONG, "one", "no signs " * 60, "a,b;c. d! " * 200, "line\n" * 30])
def test_parts_join_to_the_whole(text):
    text = clean_text(text)
    parts = split_text(text, [(0, len(text))])
    assert "".join(text[start:end] for (start, end), _ in parts) == text
    assert 1 <= len(parts) <= MAX_PARTS
    assert all(is_read for _, is_read in parts)


def test_merging_never_joins_what_lies_apart():
    parts = [(index, index + 1) for index in range(20)] + [(500, 501)]
    assert (500, 501) in merge_spans(parts)
    assert len(merge_spans(parts)) == MAX_PARTS


def test_names_of_special_tokens_are_words(sentiment):
    """Or a visitor could end a text in its middle."""
    (tokens,) = sentiment.tokenize(["It was [MASK] okay [SEP] [CLS]"])
    special = {sentiment.tokenizer.token_to_id(name) for name in ("[MASK]", "[SEP]", "[CLS]")}
    assert special.isdisjoint(tokens.ids.tolist())


def test_tokens_stand_where_they_say(sentiment):
    text = "A fine, unforgettable film."
    (tokens,) = read_tokens(sentiment.tokenizer, [text], 500, 100)
    names = [sentiment.tokenizer.id_to_token(int(token)) for token in tokens.ids]
    assert names[0] == "a"
    for name, start in zip(names, tokens.starts, strict=True):
        assert text[start:].lower().startswith(name.removeprefix("##"))


def test_head_and_tail_of_a_text_that_is_too_long(sentiment):
    text = " ".join(f"good {word}" for word in ["film"] * 300)
    (tokens,) = read_tokens(sentiment.tokenizer, [text], 20, 5)
    assert len(tokens.ids) == 20
    assert text[: tokens.read[0][1]].split() == text.split()[:5]
    assert text[tokens.read[1][0] :].split() == text.split()[-15:]


def test_nothing_to_judge_is_no_error(sentiment):
    assert sentiment.predict_batch([]) == []


def test_the_texts_of_a_table_are_in_its_column(sentiment):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"id": [1, 2], "text": [GOOD, BAD]})
    assert (
        sentiment.predict_batch(table)
        == sentiment.predict_batch(table["text"])
        == [*map(sentiment.predict, (GOOD, BAD))]
    )
    with pytest.raises(BadInput, match="The table has no column 'text'; rename the one that holds it, or give a list"):
        sentiment.predict_batch(table.rename(columns={"text": "review"}))
    with pytest.raises(BadInput, match="Item 1: The input must be text"):
        sentiment.predict_batch(pandas.DataFrame({"text": [GOOD, None]}))


@pytest.mark.data
def test_it_is_right_on_real_reviews_as_often_as_it_says():
    import pandas as pd

    model = load_model(ROOT / "spaces/sentiment/model")
    reviews = pd.read_csv(DATA / "imdb/test.csv.xz", nrows=100)
    right = [answer.label for answer in model.predict_batch(list(reviews.text))] == reviews.label
    expected = next(item.value for item in model.metrics.figures if item.name == "accuracy")
    assert np.mean(right) > expected - 3 * np.sqrt(expected * (1 - expected) / 100)


@pytest.mark.parametrize(
    ("flags", "vnni"), [("fpu avx2 avx512f avx512_vnni", True), ("fpu avx2 avx512f", False), (None, False)]
)
def test_the_flags_of_the_cpu_say_whether_int8_products_are_exact(flags, vnni, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "CPU_INFO", tmp_path / "cpuinfo")
    if flags is not None:
        (tmp_path / "cpuinfo").write_text(f"model name\t: Some CPU\nflags\t\t: {flags}\n")
    assert session.has_vnni.__wrapped__() == vnni


@pytest.mark.skipif(not session.has_vnni(), reason="the CPU has no AVX-512 VNNI")
def test_answers_are_the_same_with_vnni_and_with_exact_products(monkeypatch):
    folder, texts = ROOT / "spaces/sentiment/model", [GOOD, BAD, LONG, "Fine."]
    fast = load_model(folder).predict_batch(texts)
    monkeypatch.setattr(session, "has_vnni", lambda: False)
    exact = load_model(folder).predict_batch(texts)
    assert [answer.probabilities for answer in fast] == [answer.probabilities for answer in exact]
