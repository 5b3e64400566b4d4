"""The gallery takes in whatever Space lies beside it or inside it."""

import json
import re
import shutil
from urllib.request import Request, urlopen

import pytest

from shared.config import sha256
from shared.ui.languages import INSERTED, LANGUAGES
from tests.conftest import ROOT, load_app
from tests.spaces.test_deploy import copy_model
from tests.spaces.translations import RecordedLanguage, translate_visible


def test_a_staged_gallery_finds_the_spaces_inside_it(tmp_path):
    staged = shutil.copytree(ROOT / "spaces/gallery", tmp_path / "gallery")
    shutil.copytree(ROOT / "spaces/salary", staged / "salary")
    shutil.copytree(ROOT / "spaces/salary", staged / "another")
    names = set(load_app(staged).demo.get_api_info()["named_endpoints"])
    assert names == {
        f"/{name}{event}" for name in ("salary", "another") for event in ("", "_explain", "_what_if", "_batch")
    }


def test_the_preview_of_a_link_is_about_its_page(gallery_url):
    for name, title in (("", "Model gallery"), ("segmentation", "Street scenes")):
        with urlopen(f"{gallery_url}/{name}") as answer:
            head = answer.read().decode().partition("<script")[0]
        assert re.findall('"og:title" content="(.*?)"', head) == [title]
        assert len(re.findall('"og:description" content=".{50,}"', head)) == 1
        assert "radio" not in head


@pytest.mark.parametrize(
    ("name", "language", "title"),
    [
        ("", "en", "Model gallery"),
        ("segmentation", "en", "Street scenes - Model gallery"),
        ("segmentation", "de", "Straßenszenen - Modellgalerie"),
    ],
)
def test_the_title_names_the_page(gallery_url, name, language, title):
    with urlopen(Request(f"{gallery_url}/{name}", headers={"Accept-Language": language})) as answer:
        config = re.search(r"window\.gradio_config = (\{.*?\});</script>", answer.read().decode())[1]
    assert json.loads(config)["title"] == title


def test_a_damaged_model_does_not_affect_the_others(tmp_path):
    staged = shutil.copytree(ROOT / "spaces/gallery", tmp_path / "gallery")
    shutil.copytree(ROOT / "spaces/salary", staged / "salary")
    shutil.copytree(ROOT / "spaces/salary", staged / "broken")
    (staged / "broken/model/gallery.json").write_text("{}")
    app = load_app(staged)
    assert {folder.name for folder in app.apps} == {"salary"}
    assert "broken cannot be shown" in str(app.demo.get_config_file())


def test_the_page_does_not_reveal_the_path_of_a_damaged_model(tmp_path, caplog):
    staged = shutil.copytree(ROOT / "spaces/gallery", tmp_path / "gallery")
    shutil.copytree(ROOT / "spaces/salary", staged / "salary")
    (staged / "salary/model/onnx/model.onnx").write_bytes(b"damaged")
    config = str(load_app(staged).demo.get_config_file())
    assert "Its model is damaged; the log says why." in config
    assert str(tmp_path) not in config
    assert str(tmp_path) in caplog.text


def test_a_file_that_is_not_a_model_is_detected_at_the_start(tmp_path):
    """Its SHA-256 is the one in gallery.json, so only opening it shows that it is none."""
    staged = shutil.copytree(ROOT / "spaces/gallery", tmp_path / "gallery")
    shutil.copytree(ROOT / "spaces/salary", staged / "salary")
    shutil.copytree(ROOT / "spaces/salary", staged / "garbage")
    garbage, contract = staged / "garbage/model/onnx/model.onnx", staged / "garbage/model/gallery.json"
    garbage.write_bytes(b"garbage")
    content = json.loads(contract.read_text())
    content["files"]["onnx/model.onnx"] |= {"sha256": sha256(garbage), "bytes": 7}
    contract.write_text(json.dumps(content))
    app = load_app(staged)
    assert {folder.name for folder in app.apps} == {"salary"}
    assert "garbage cannot be shown" in str(app.demo.get_config_file())


def test_an_empty_gallery_says_so(tmp_path, caplog):
    staged = shutil.copytree(ROOT / "spaces/gallery", tmp_path / "gallery")
    assert "There are no models here yet." in str(load_app(staged).demo.get_config_file())
    assert "no models to show" in caplog.text


def test_a_space_without_a_model_is_left_out(tmp_path):
    staged = shutil.copytree(ROOT / "spaces/gallery", tmp_path / "gallery")
    for name in ("salary", "untrained"):
        shutil.copytree(ROOT / "spaces/salary", staged / name)
    shutil.rmtree(staged / "untrained/model")
    app = load_app(staged)
    assert {folder.name for folder in app.apps} == {"salary"}
    assert "cannot be shown" not in str(app.demo.get_config_file())


def test_a_space_without_a_picture_does_not_affect_the_others(tmp_path):
    staged = shutil.copytree(ROOT / "spaces/gallery", tmp_path / "gallery")
    shutil.copytree(ROOT / "spaces/salary", staged / "salary")
    shutil.copytree(ROOT / "spaces/salary", staged / "blind")
    (staged / "blind/picture.svg").unlink()
    app = load_app(staged)
    assert {folder.name for folder in app.apps} == {"salary"}
    assert "blind cannot be shown" in str(app.demo.get_config_file())


@pytest.fixture(scope="module")
def config():
    """Gradio's description of all pages of the gallery."""
    return load_app("gallery").demo.get_config_file()


def test_home_page_has_a_card_for_every_model(config):
    config = str(config)
    for name in ("cat_dog", "segmentation", "sentiment", "salary", "rating"):
        assert f'href="./{name}"' in config


# --- in another language ---

# Names of data sets, endpoints and columns, and of countries that are the same in German.
UNTRANSLATED = {
    "Oxford Pets", "predict", "explain", "recommend", "similar", "what_if", "age", "capital-gain", "capital-loss",
    "hours-per-week", "China", "Ecuador", "El Salvador", "England", "Guatemala", "Haiti", "Honduras", "Iran", "Japan",
    "Action", "Drama", "Laos", "Nicaragua", "Peru", "Portugal", "Puerto Rico", "Taiwan", "Thailand", "Vietnam",
}  # fmt: skip


@pytest.mark.parametrize("name", LANGUAGES)
def test_every_text_on_a_page_is_translated_and_every_translation_is_used(config, name, monkeypatch):
    language = RecordedLanguage(name)
    monkeypatch.setitem(LANGUAGES, name, language)
    page = translate_visible(config, name)
    choices = [choice for one in page["components"] for choice in one["props"].get("choices", ())[:60]]
    unknown = language.unknown | {value for shown, value in choices if shown == value and language.find(shown) is None}
    assert unknown <= UNTRANSLATED
    # Answers that no page opens with are found in the code, where a long one is on several lines.
    files = [*(ROOT / "shared").rglob("*.py"), *(ROOT / "spaces").glob("*/app.py")]
    code = re.sub(r'"\s*\n\s*f?"', "", "".join(file.read_text("utf-8") for file in files))
    parts = {key: [part for part in INSERTED.split(key)[::2] if part.strip()] for key in language.texts}
    unused = {key for key in set(parts) - language.texts.used if not all(part in code for part in parts[key])}
    assert unused == set()


# --- models of one's own ---


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """An empty folder, whose models the gallery shows."""
    folder = tmp_path / "runs"
    folder.mkdir()
    monkeypatch.setenv("MODELS", str(folder))
    return folder


def list_endpoints(app, name):
    return {endpoint for endpoint in app.demo.get_api_info()["named_endpoints"] if endpoint.startswith(f"/{name}")}


def test_every_checkpoint_folder_gets_a_page_beside_the_demos(runs):
    demos = {"flowers": "cat_dog", "leaves": "segmentation", "loans": "salary", "tickets": "sentiment"}
    for name, demo in demos.items():
        copy_model(runs / name, demo, f"My {name}")
    (runs / "flowers-made-up").mkdir()
    (runs / ".flowers-1x2y").mkdir()
    shutil.copyfile(runs / "flowers/gallery.json", runs / ".flowers-1x2y/gallery.json")  # a run that is being written
    app = load_app("gallery")
    assert list(app.names.values())[-4:] == ["flowers", "leaves", "loans", "tickets"]
    assert list_endpoints(app, "loans") == {"/loans", "/loans_explain", "/loans_what_if", "/loans_batch"}
    assert list_endpoints(app, "tickets") == {"/tickets", "/tickets_explain", "/tickets_batch"}
    config = str(app.demo.get_config_file())
    for name in (*demos, *demos.values()):
        assert f'href="./{name}"' in config
    titles = re.findall("<h2>([^<]+)</h2>", config)
    assert titles[:4] == ["My flowers", "My leaves", "My loans", "My tickets"]
    assert "Cat or dog" in titles[4:]
    assert "Your own: My flowers, My leaves, My loans, My tickets." in config
    assert "cannot be shown" not in config


def test_equal_names_and_titles_get_different_addresses_and_endpoints(runs):
    for name in ("My loans!", "my_loans", "salary", "salary_explain", "predict", "health", "借款"):
        copy_model(runs / name, "salary", "Salary")
    app = load_app("gallery")
    own = {folder.name: name for folder, name in app.names.items() if folder.parent == runs}
    assert own == {
        "My loans!": "my_loans",
        "my_loans": "my_loans_2",
        "salary": "salary_2",
        "salary_explain": "salary_explain_2",
        "predict": "predict_2",
        "health": "health_2",
        "借款": "model",
    }
    assert len(set(app.titles.values())) == len(app.titles)
    assert app.titles[runs / "salary"] == "Salary (salary_2)"
    endpoints = [event.api_name for event in app.demo.fns.values() if event.api_visibility != "private"]
    assert len(set(endpoints)) == len(endpoints)
    assert len(list_endpoints(app, "salary")) == 3 * 4  # of salary, salary_2 and salary_explain_2


def test_a_broken_folder_is_named_and_does_not_stop_the_others(runs, caplog):
    copy_model(runs / "loans", "salary", "Loans")
    copy_model(runs / "poems", "sentiment", "Poems", task="poetry")
    (copy_model(runs / "cut", "salary", "Cut") / "gallery.json").write_text('{"format": 2')
    (copy_model(runs / "bare", "salary", "Bare") / "gallery.json").unlink()
    app = load_app("gallery")
    assert [folder.name for folder in app.apps if folder.parent == runs] == ["loans"]
    config = str(app.demo.get_config_file())
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    for name in ("poems", "cut", "bare"):
        assert f"{name} cannot be shown. Its model is damaged; the log says why." in config
        (line,) = [line for line in errors if line.startswith(f"{runs / name} cannot be shown: ")]
        assert "\n" not in line
    assert "Traceback" not in caplog.text


def test_a_single_checkpoint_folder_may_be_named(runs, monkeypatch):
    monkeypatch.setenv("MODELS", str(copy_model(runs / "loans", "salary", "Loans")))
    assert "/loans" in load_app("gallery").demo.get_api_info()["named_endpoints"]


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_without_models_is_named(runs, caplog, exists):
    if not exists:
        runs.rmdir()
    app = load_app("gallery")
    assert len(app.apps) == len(list((ROOT / "spaces").glob("*/model")))
    assert "There are no models in the folder runs." in str(app.demo.get_config_file())
    assert f"MODELS is {runs}, which is not a folder with checkpoint folders" in caplog.text
