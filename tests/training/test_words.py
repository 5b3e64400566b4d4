"""The words of a model of one's own: from options, about.yaml, and the model that was there before."""

import json

import pytest

pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")

from shared.config import About, GalleryConfig
from tests.training.test_demos import load_recipe
from training import command
from training.card import AUTHOR
from training.data import DataError
from training.description import TERMS_OF_DATA, ask_label, describe, make_title
from training.made_up import write_rows
from training.recipe import load
from training.recipes.tabular import Tabular
from training.words import keep_words, name_licence

pytestmark = pytest.mark.training


@pytest.fixture
def rows(tmp_path):
    return write_rows(tmp_path / "data", 0)


@pytest.fixture
def describe_own(rows, tmp_path):
    """A function that returns the description of a model of one's own with these options."""

    def describe_own(*words):
        recipe = Tabular()
        given = ["--data", str(rows), "--out", str(tmp_path / "model"), *map(str, words)]
        options = command.make_parser(recipe).parse_args(given)
        return load(recipe, options, recipe.read_settings(options)).description

    return describe_own


def write_model(folder, about, data="rows"):
    """Write the part of a checkpoint folder that has words."""
    folder.mkdir(exist_ok=True)
    config = GalleryConfig(format=2, task="x", about=about, created="2026-01-01", versions={}, files={})
    (folder / "gallery.json").write_text(json.dumps(config.model_dump(mode="json")), encoding="utf-8")
    figures = [{"name": "accuracy", "value": 0.5, "interval": None, "data": data, "split": "test", "count": 9}]
    metrics = {"headline": "x", "figures": figures, "measured": {"date": "2026-01-01"}}
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")


def test_without_words_a_model_has_those_of_its_data(describe_own):
    about = describe_own().about
    assert (about.title, about.licence_name, about.language) == ("Rows", TERMS_OF_DATA, None)


def test_a_title_keeps_the_capitals_of_its_data():
    assert make_title("Kunden_Übersicht (final)") == "Kunden Übersicht (final)"
    assert make_title("meine-PLZ") == "Meine PLZ"


def test_options_are_stronger_than_the_file_and_the_file_than_the_model_before(describe_own, rows, tmp_path):
    before = describe("rows", "Old?", ()).about
    write_model(tmp_path / "model", before.model_copy(update={"title": "Before", "intended_use": "To learn."}))
    about = describe_own().about
    assert (about.title, about.intended_use) == ("Before", "To learn.")
    assert about.summary.startswith("From one row of a table")  # it has the labels of the data
    rows.with_name("about.yaml").write_text(
        "title: From the file\nlicence: cc-by-4.0\nnotes: [One.]\n", encoding="utf-8"
    )
    described = describe_own()
    assert (described.about.title, described.about.licence_name) == ("From the file", "CC BY 4.0")
    assert described.notes == ("One.",)
    assert "is under this licence: CC BY 4.0." in described.notice
    about = describe_own("--title", "From the option", "--language", "de", "--licence", "MIT").about
    assert (about.title, about.language, about.licence, about.licence_name) == ("From the option", "de", "mit", "MIT")
    other = tmp_path / "other.yaml"
    other.write_text("title: Named\nnotice: Mine.\nlicence: My terms\n", encoding="utf-8")
    described = describe_own("--about", other)
    assert (described.about.title, described.notice) == ("Named", "Mine.")
    assert (described.about.licence, described.about.licence_name) == ("other", "My terms")


def test_only_what_its_author_changed_is_kept(tmp_path):
    written = describe("rows", "A row: is it a or b?", ("A limit.",)).about
    write_model(tmp_path / "model", written)
    assert keep_words(tmp_path / "model", "rows") == {}
    changed = {"licence": "mit", "licence_name": "MIT", "language": "fr", "summary": "Of other labels."}
    write_model(tmp_path / "model", written.model_copy(update=changed))
    assert keep_words(tmp_path / "model", "rows") == {"licence": "mit", "licence_name": "MIT", "language": "fr"}
    assert keep_words(tmp_path / "nothing", "rows") == {}
    assert written.intended_use == AUTHOR
    (tmp_path / "model/metrics.json").unlink()
    assert keep_words(tmp_path / "model", "rows") == {}


def test_words_are_kept_only_for_data_of_the_same_name_and_printed(describe_own, tmp_path, capsys):
    changed = {"title": "Before", "licence": "mit", "licence_name": "MIT"}
    about = describe("rows", "Old?", ()).about.model_copy(update=changed)
    write_model(tmp_path / "model", about)
    assert describe_own("--title", "Now").about.licence == "mit"
    said = capsys.readouterr().out
    assert f"Kept from the model in {tmp_path / 'model'}: licence 'mit', licence name 'MIT'.\n" in said
    write_model(tmp_path / "model", about, "other rows")
    assert describe_own().about.title == make_title("rows")
    assert describe_own().about.licence_name == TERMS_OF_DATA
    assert "Kept" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("titel: Mine", "unknown field 'titel'. There is a field 'title'; did you mean it"),
        ("title: [", "cannot be read as YAML"),
        ("just text", "must have fields such as title"),
        ("title: 3", "the field title must be a text, but is '3'. YAML reads"),
        ("licence: 4.0", "the field licence must be a text, but is '4.0'"),
        ("language: no", "the field language must be a text, but is 'False'"),
        ("notice: [Mine.]", "the field notice must be a text, but is"),
        ("notes: 5", "the field notes must be a text or a list of texts"),
        ("examples: [Good., 5]", "the field examples must be a text or a list of texts"),
        ("limits: {a: b}", "the field limits must be a text or a list of texts"),
        ("label_names: [Katze, Hund]", "the field label_names must have a line such as label: text for each label"),
        ("columns: Age", "the field columns must have a line such as column: text for each column"),
        ("label_names: {cat: 1}", "the field label_names must have texts on both sides of the colon, but has '1'"),
        ("label_names: {yes: Ja}", "has 'True'. YAML reads yes, no, numbers and dates as something else than text"),
        ("datasets: Mine", "The field datasets of the model's description is invalid"),
        ("language: English", "The language 'English' is not a code such as de, en or pt-BR"),
    ],
)
def test_a_file_with_mistakes_is_refused(describe_own, rows, content, message):
    rows.with_name("about.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        describe_own()


def test_a_single_note_or_example_is_a_list_of_one(describe_own, rows):
    rows.with_name("about.yaml").write_text("notes: Made in May.\nexamples: Good film.\nlimits: One.\n", "utf-8")
    described = describe_own()
    assert described.notes == ("Made in May.",)
    assert described.examples == ("Good film.",)
    assert described.about.limits == ("One.",)


def test_names_of_labels_that_the_data_does_not_have_are_refused():
    described = describe("pets", "A cat or a dog?", (), labels=("cat", "dog"))
    assert described.reword({"label_names": {"cat": "Katze"}}).label_names == {"cat": "Katze"}
    message = r"has 'Dog', which is not a label of the data\. .* a label 'dog'.* The labels are cat, dog\."
    with pytest.raises(DataError, match=message):
        described.reword({"label_names": {"cat": "Katze", "Dog": "Hund"}})


def test_a_licence_has_an_identifier_and_a_name():
    assert name_licence("CC BY-SA 4.0") == {"licence": "cc-by-sa-4.0", "licence_name": "CC BY-SA 4.0"}
    assert name_licence("internal use") == {"licence": "other", "licence_name": "internal use"}


def test_the_words_of_a_demo_are_not_replaced(tmp_path):
    recipe = load_recipe("salary")
    options = command.make_parser(recipe).parse_args(["--smoke", "--out", str(tmp_path / "model")])
    assert not hasattr(options, "title")
    assert isinstance(load(recipe, options, recipe.read_settings(options)).description.about, About)


def test_words_are_no_paths(describe_own, rows, tmp_path, monkeypatch):
    from training.record import record

    monkeypatch.chdir(tmp_path)
    (tmp_path / "label").mkdir()
    recipe = Tabular()
    parser = command.make_parser(recipe)
    found = record(parser, parser.parse_args(["--data", str(rows), "--target", "label", "--title", "data"]))
    assert found.command.endswith("--data rows.csv --title data --target label")
    assert [item.name for item in found.inputs] == ["rows.csv"]


@pytest.mark.parametrize(
    ("labels", "subject", "question"),
    [
        (("rose", "tulip"), {}, "is it rose or tulip?"),
        (("leaf", "spot", "soil"), {"subject": "each pixel"}, "is each pixel leaf, spot or soil?"),
        (tuple("abcdef"), {}, "is it a, b, c, d, e or f?"),
        (tuple("abcdefg"), {}, "which of 7 labels is it?"),
        ([f"a label of several words, number {number}" for number in range(1500)], {}, "which of 1,500 labels is it?"),
    ],
)
def test_a_question_names_few_labels_and_counts_many(labels, subject, question):
    assert ask_label(labels, **subject) == question
