"""The gallery as API users see it: names, order, first outputs, and one sentence for what is wrong."""

import base64
import csv
import json
import re
import urllib.request
import zipfile

import numpy as np
import pytest
from gradio.media import get_image
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from shared.image_classifier import ImageClassifierPrediction
from tests.conftest import ROOT, load_app

CAT = ROOT / "spaces/cat_dog/examples/cat.png"


@pytest.fixture(scope="session")
def client(gallery_url):
    return Client(gallery_url, verbose=False)


@pytest.fixture
def arguments(person):
    return [person[column] for column in person]


def test_public_endpoints(client):
    names = set(client.view_api(return_format="dict")["named_endpoints"])
    assert names == {
        "/cat_dog", "/cat_dog_explain", "/cat_dog_batch",
        "/segmentation", "/segmentation_explain", "/segmentation_batch",
        "/sentiment", "/sentiment_explain", "/sentiment_batch",
        "/salary", "/salary_explain", "/salary_what_if", "/salary_batch",
        "/rating", "/rating_explain", "/rating_recommend", "/rating_similar", "/rating_batch",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "endpoints"),
    [
        ("cat_dog", {"/predict", "/explain", "/batch"}),
        ("segmentation", {"/predict", "/explain", "/batch"}),
        ("sentiment", {"/predict", "/explain", "/batch"}),
        ("salary", {"/predict", "/explain", "/what_if", "/batch"}),
        ("rating", {"/predict", "/explain", "/recommend", "/similar", "/batch"}),
    ],
)
def test_endpoints_of_a_space_alone(name, endpoints):
    assert set(load_app(name).demo.get_api_info()["named_endpoints"]) == endpoints


@pytest.mark.parametrize("name", ["cat_dog", "segmentation", "sentiment", "salary", "rating", "gallery"])
def test_every_parameter_and_answer_has_a_name(name):
    endpoints = load_app(name).demo.get_api_info()["named_endpoints"]
    assert endpoints
    for endpoint in endpoints.values():
        assert endpoint["parameters"]
        names = [item["parameter_name"] for item in endpoint["parameters"]]
        assert len(set(names)) == len(names)
        for item in (*endpoint["parameters"], *endpoint["returns"]):
            label = item["label"]
            assert label
            assert not re.match(r"(parameter|param|value)_\d+$", label)
            assert not re.match(r"(parameter|param|value|arg)_?\d+$", item.get("parameter_name", ""))


def test_arguments_are_the_columns_in_order(client, person):
    endpoint = client.view_api(return_format="dict")["named_endpoints"]["/salary"]
    assert [item["parameter_name"] for item in endpoint["parameters"]] == [
        column.replace("-", "_") for column in person
    ]


def test_salary(client, arguments, salary, person):
    answer = client.predict(*arguments, api_name="/salary")[0]
    expected = salary.predict(person)
    assert answer["label"] == expected.label
    assert answer["probabilities"] == pytest.approx(expected.probabilities)


def test_salary_explain_and_what_if(client, arguments):
    why = client.predict(*arguments, api_name="/salary_explain")[0]
    assert why["base"] + sum(why["contributions"].values()) == pytest.approx(why["probability"], abs=1e-6)
    curve = client.predict(*arguments, "age", api_name="/salary_what_if")[0]
    assert curve["values"][0] == 17
    assert len(curve["probabilities"]) == len(curve["values"])


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, -3, "Age in years must be a number from 17 to 90"),
        (0, "forty", "Age in years must be a number"),
        (1, "Astronaut", r"Employer \(workclass\) must be one of"),
    ],
)
def test_salary_reports_errors(client, arguments, position, value, message):
    arguments[position] = value
    with pytest.raises(AppError, match=message):
        client.predict(*arguments, api_name="/salary")


def test_salary_takes_null_as_missing(client, arguments):
    arguments[0] = None
    assert client.predict(*arguments, api_name="/salary")[0]["label"] in ("<50k", ">=50k")


def test_salary_over_plain_http(gallery_url, arguments, salary, person):
    request = urllib.request.Request(
        f"{gallery_url}/gradio_api/call/salary",
        json.dumps({"data": arguments}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as reply:
        event = json.load(reply)["event_id"]
    with urllib.request.urlopen(f"{gallery_url}/gradio_api/call/salary/{event}") as stream:
        lines = stream.read().decode().splitlines()
    assert lines[0] == "event: complete"
    assert json.loads(lines[1].removeprefix("data: "))[0]["label"] == salary.predict(person).label


@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1"])
def test_salary_batch(client, person, tmp_path, encoding):
    path = tmp_path / "people.csv"
    rows = [{"who": "=José", **person}, {"who": "b", **person, "age": -3}]
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    summary, _, result = client.predict(handle_file(path), api_name="/salary_batch")
    assert {**summary, "encoding": ""} == {"rows": 2, "answered": 1, "errors": 1, "encoding": ""}
    with open(result, newline="", encoding="utf-8-sig") as file:
        answers = list(csv.DictReader(file))
    assert answers[0]["who"] == "'=José"
    assert answers[0]["prediction"] in ("<50k", ">=50k")
    assert answers[1]["error"].startswith("Line 3: Age in years must be")


def test_a_batch_names_the_encoding_that_it_guessed(client, person, tmp_path):
    path = tmp_path / "people.csv"
    path.write_text(f"who,{','.join(person)}\nJosé,{','.join(map(str, person.values()))}\n", encoding="cp1252")
    summary, _, _ = client.predict(handle_file(path), api_name="/salary_batch")
    assert summary["encoding"] == "Windows-1252, a guess; save the file as UTF-8 if letters look wrong"


@pytest.mark.parametrize(("content", "message"), [(b"", "empty"), (b"age,sex\n3,x\n", "lacks the columns")])
def test_batch_reports_errors(client, tmp_path, content, message):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(AppError, match=message):
        client.predict(handle_file(path), api_name="/salary_batch")


def test_rating(client, rating):
    answer = client.predict(15, 1, api_name="/rating")[0]
    assert answer["rating"] == pytest.approx(rating.predict(15, 1).rating)
    assert answer["actual"] == 2.0
    assert answer["title"] == "Toy Story (1995)"
    for user, movie in ((15, "Toy Story (1995)"), (15, "TOY STORY"), ("15", "1"), ("15,0", 1), (15.0, 1.0)):
        assert client.predict(user, movie, api_name="/rating")[0] == answer


def test_a_movie_whose_title_is_a_number(client, rating):
    for named, title in (("300", "300 (2007)"), (300, rating.movies[300].title), ("the matrix", "The Matrix (1999)")):
        assert client.predict(15, named, api_name="/rating")[0]["title"] == title
    near = client.predict("2012", 3, api_name="/rating_similar")[0]
    assert near == client.predict("2012 (2009)", 3, api_name="/rating_similar")[0]


@pytest.mark.parametrize(
    ("user", "movie", "message"),
    [
        (15, "9", r"Several movies are called '9': 9 \(2009\), 9 \(2005\)"),
        (0, 1, "There is no user '0'; users are 1 to 671"),
        (15, 99_999_999, "There is no movie '99999999'"),
        (15, "Toy Storry (1995)", r"Did you mean Toy Story \(1995\)"),
        (None, 1, "Give a user, such as 1."),
        (15, "<img src=x>", "No movie is called '‹img src=x›'"),
    ],
)
def test_rating_reports_errors(client, user, movie, message):
    with pytest.raises(AppError, match=message):
        client.predict(user, movie, api_name="/rating")


def test_rating_explain_recommend_similar(client):
    why = client.predict(15, 1, api_name="/rating_explain")[0]
    assert why["base"] + sum(why["contributions"].values()) == pytest.approx(why["rating"], abs=1e-4)
    for_user = client.predict(15, None, 5, api_name="/rating_recommend")[0]
    for_visitor = client.predict(None, {"260": 5, "1210": 4.5}, 5, api_name="/rating_recommend")[0]
    assert len(for_user["movies"]) == len(for_visitor["movies"]) == 5
    assert for_user != for_visitor
    near = client.predict(260, 3, api_name="/rating_similar")[0]
    assert "Star Wars" in near["movies"][0]["title"]


@pytest.mark.parametrize("ratings", [{"260": 0}, {"260": 6}, {"260": "many"}])
def test_stars_outside_the_scale(client, ratings):
    with pytest.raises(AppError, match=r"A rating must be 0\.5 to 5 stars"):
        client.predict(None, ratings, 5, api_name="/rating_recommend")


def test_rating_batch(client, tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("user_id,movie_id\n15,1\n0,1\n15,abc\n")
    summary, _, result = client.predict(handle_file(path), api_name="/rating_batch")
    assert summary == {"rows": 3, "answered": 1, "errors": 2}
    with open(result, newline="", encoding="utf-8-sig") as file:
        errors = [row["error"] for row in csv.DictReader(file)]
    assert errors[1].startswith("Line 3: There is no user")


def test_a_hundred_thousand_pairs(client, tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("user_id,movie_id\n" + "15,1\n" * 100_000)
    summary, _, _ = client.predict(handle_file(path), api_name="/rating_batch")
    assert summary == {"rows": 100_000, "answered": 100_000, "errors": 0}


def test_cat_dog_with_a_local_file(client, cat_dog):
    answer, words, drawn = client.predict(handle_file(CAT), api_name="/cat_dog")
    expected = cat_dog.predict(CAT)
    assert answer["label"] == "cat"
    assert answer["in_distribution"]
    assert answer["probabilities"] == pytest.approx(expected.probabilities)
    assert answer["in_distribution_score"] == pytest.approx(expected.in_distribution_score)
    assert "It is a cat" in words
    assert drawn["label"] == "a cat"


@pytest.mark.parametrize(("cat", "sentence"), [(0.9, "It is a cat."), (0.89, "It is probably a cat.")])
def test_a_doubtful_answer_about_a_picture_says_so(monkeypatch, cat, sentence):
    app = load_app("cat_dog")
    answer = ImageClassifierPrediction("cat", {"cat": cat, "dog": 1 - cat}, True, 1.0)
    monkeypatch.setattr(app.model, "predict", lambda _: answer)
    assert app.predict(str(CAT))[1] == f"<h2>{sentence}</h2>"


def test_cat_dog_shows_no_bars_for_neither_but_api_users_get_the_probabilities(client):
    answer, words, drawn = client.predict(handle_file(get_image("lion.jpg")), api_name="/cat_dog")
    assert answer["label"] is None
    assert words.startswith("<h2>It is neither a cat nor a dog.")
    assert drawn == {}
    assert set(answer["probabilities"]) == {"cat", "dog"}


def test_cat_dog_explain(client):
    why, overlay, words = client.predict(handle_file(CAT), api_name="/cat_dog_explain")
    assert np.shape(why["evidence"]) == (9, 9)
    with Image.open(overlay) as image:
        assert max(image.size) <= 640
        assert image.width > image.height  # as the picture is
    assert "cat" in words


def test_cat_dog_over_plain_http_with_an_upload(gallery_url, cat_dog):
    """As the README's curl lines do: upload, ask, fetch."""
    boundary = "----test"
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="cat.png"\r\n\r\n'.encode()
        + CAT.read_bytes()
        + f"\r\n--{boundary}--\r\n".encode()
    )
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    with urllib.request.urlopen(urllib.request.Request(f"{gallery_url}/gradio_api/upload", body, headers)) as reply:
        (path,) = json.load(reply)
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    request = urllib.request.Request(
        f"{gallery_url}/gradio_api/call/cat_dog",
        json.dumps({"data": [file]}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as reply:
        event = json.load(reply)["event_id"]
    with urllib.request.urlopen(f"{gallery_url}/gradio_api/call/cat_dog/{event}") as stream:
        lines = stream.read().decode().splitlines()
    assert json.loads(lines[1].removeprefix("data: "))[0]["label"] == cat_dog.predict(CAT).label


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.jpg", b"", "empty"),
        ("text.jpg", b"hello", "not a picture that can be read"),
        ("phone.heic", b"\0\0\0\x18ftypheic" + b"\0" * 40, "HEIC cannot be read here"),
        ("cut.png", CAT.read_bytes()[:2000], "damaged or incomplete"),
    ],
)
def test_cat_dog_reports_errors(client, tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(AppError, match=message):
        client.predict(handle_file(path), api_name="/cat_dog")


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(client, tmp_path):
    path = tmp_path / "bomb.png"
    Image.new("1", (13_000, 13_000)).save(path)
    assert path.stat().st_size < 50_000
    with pytest.raises(AppError, match="megapixels"):
        client.predict(handle_file(path), api_name="/cat_dog")


@pytest.mark.parametrize("name", ["cat_dog", "cat_dog_explain", "segmentation", "segmentation_explain"])
def test_a_picture_as_base64_is_answered_like_the_file(client, name):
    text = "data:image/png;base64," + base64.b64encode(CAT.read_bytes()).decode()
    expected = client.predict(handle_file(CAT), api_name=f"/{name}")[0]
    assert client.predict(text, api_name=f"/{name}")[0] == expected


@pytest.mark.parametrize("name", ["cat_dog", "cat_dog_explain", "segmentation", "segmentation_explain"])
@pytest.mark.parametrize("value", [str(CAT), "https://example.org/cat.jpg", {}, 3, [], "iVBORw0KGgo="])
def test_a_file_that_is_not_a_picture_gets_an_error_message(client, name, value):
    with pytest.raises(AppError, match="Send a picture as"):
        client.predict(value, api_name=f"/{name}")


@pytest.mark.parametrize(
    "name", ["cat_dog_batch", "segmentation_batch", "sentiment_batch", "salary_batch", "rating_batch"]
)
@pytest.mark.parametrize("value", [str(CAT), {}, 3, [3], "text"])
def test_a_value_that_is_not_a_file_gets_an_error_message(client, name, value):
    with pytest.raises(AppError, match="Send a file as"):
        client.predict(value, api_name=f"/{name}")


def test_a_text_that_is_not_a_string_is_refused(client):
    with pytest.raises(AppError, match="Send the text itself"):
        client.predict({"text": "I liked it."}, api_name="/sentiment")


def test_cat_dog_without_a_picture(client):
    with pytest.raises(AppError, match="Choose a picture first"):
        client.predict(None, api_name="/cat_dog")


def test_cat_dog_batch_of_files_and_a_zip(client, tmp_path):
    bad = tmp_path / "=bad.jpg"
    bad.write_bytes(b"no picture")
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        archive.write(CAT, "pets/cat.png")
        archive.write(get_image("lion.jpg"), "pets/lion.jpg")
    files = [handle_file(CAT), handle_file(bad), handle_file(tmp_path / "some.zip")]
    summary, table, result = client.predict(files, api_name="/cat_dog_batch")
    assert summary == {"files": 4, "answered": 3, "errors": 1}
    assert len(table["data"]) == 4
    with open(result, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [row.get("prediction") for row in rows] == ["cat", "", "cat", "neither"]
    assert [row["probability cat"] != "" for row in rows] == [True, False, True, False]
    assert [row["file"] for row in rows][2:] == ["pets/cat.png", "pets/lion.jpg"]
    assert "not a picture" in rows[1]["error"]


def test_cat_dog_batch_without_files(client):
    with pytest.raises(AppError, match="Choose some files first"):
        client.predict([], api_name="/cat_dog_batch")


def test_simultaneous_visitors_get_their_own_answers(client, arguments):
    from concurrent.futures import ThreadPoolExecutor

    ages = list(range(20, 80, 5)) * 2

    def ask(age):
        return client.predict(age, *arguments[1:], api_name="/salary")[0]["probabilities"][">=50k"]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, ages)) == [ask(age) for age in ages]


def test_unknown_page_is_404(gallery_url):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{gallery_url}/nothing")
