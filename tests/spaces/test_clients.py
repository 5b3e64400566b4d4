"""The gallery as curl and @gradio/client in node ask it: answers, progress, and one sentence with the right status."""

import json
import subprocess

import httpx2
import pytest

from tests.conftest import NODE, ROOT, load_app

CAT = ROOT / "spaces/cat_dog/examples/cat.png"
NAMES = "cat_dog, cat_dog_batch, cat_dog_explain, rating, rating_batch, "


@pytest.fixture(scope="module")
def http(gallery_url):
    with httpx2.Client(base_url=f"{gallery_url}/gradio_api", timeout=60) as client:
        yield client


def fetch(http, name, data):
    """The kind of an answer, and the answer."""
    event = http.post(f"/call/{name}", json={"data": data}).raise_for_status().json()["event_id"]
    lines = http.get(f"/call/{name}/{event}").text.splitlines()
    return lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))


def read_error(reply):
    """The status and the one sentence of a refusal."""
    sentence = reply.json()["detail"]
    assert "\n" not in sentence
    return reply.status_code, sentence


@pytest.mark.parametrize("path", ["call/nobody", "call/v2/nobody", "call/", "call/rate", "call/lambda"])
def test_an_unknown_endpoint_is_a_404_that_names_the_endpoints(http, path):
    status, sentence = read_error(http.post(f"/{path}", json={"data": []}))
    assert status == 404
    assert sentence.startswith(f"There is no such endpoint; the endpoints are {NAMES}")
    assert "lambda" not in sentence


@pytest.mark.parametrize("path", ["/api/predict", "/run/rating", "/call/rating"])
def test_paths_of_older_gradio_versions_name_the_new_ones(gallery_url, path):
    status, sentence = read_error(httpx2.post(gallery_url + path, json={"data": []}))
    assert status == 404
    assert sentence.startswith(f"Send requests to /gradio_api/call/NAME; the endpoints are {NAMES}")


@pytest.mark.parametrize(("data", "count"), [([], 0), ([15], 1), ([15, 260, 3], 3)])
def test_a_wrong_number_of_arguments_is_reported(http, data, count):
    assert read_error(http.post("/call/rating", json={"data": data})) == (
        422,
        f"The endpoint takes 2 arguments, not {count}: user_id, movie_id.",
    )


def test_parameters_that_gradio_injects_are_not_arguments(http):
    assert read_error(http.post("/call/salary_batch", json={"data": []})) == (
        422,
        "The endpoint takes 1 argument, not 0: file.",
    )


def test_an_answer_can_be_fetched_once(http):
    event = http.post("/call/rating", json={"data": [15, 260]}).json()["event_id"]
    assert http.get(f"/call/rating/{event}").text.startswith("event: complete")
    for name in (event, "nothing"):
        status, sentence = read_error(http.get(f"/call/rating/{name}"))
        assert (status, sentence) == (404, "There is no such event; an answer can be fetched once, within 300 s.")


def test_the_error_message_of_an_endpoint_reaches_the_client(http):
    kind, found = fetch(http, "rating", [0, 260])
    assert (kind, found["error"]) == ("error", "There is no user '0'; users are 1 to 671.")


ODD = [None, "", "abc", "1" * 90_000 + "x", True, -1, 10**30, 1e308, [], [[1]], {}, {"a": [1]}, "data:,x"]


def test_any_argument_gets_an_answer_or_an_error_message(http):
    for path, endpoint in http.get("/info").json()["named_endpoints"].items():
        name, usual = path[1:], [item["parameter_default"] for item in endpoint["parameters"]]
        for place in {0, len(usual) - 1}:
            for value in ODD:
                data = [value if index == place else other for index, other in enumerate(usual)]
                reply = http.post(f"/call/{name}", json={"data": data})
                if reply.status_code != 200:
                    assert read_error(reply)[0] == 422
                    continue
                text = http.get(f"/call/{name}/{reply.json()['event_id']}").text
                if not text.startswith("event: complete"):
                    assert json.loads(text.splitlines()[1].removeprefix("data: "))["error"], (name, place, value)


def test_an_upload_needs_the_field_files_but_no_extension(http):
    reply = http.post("/upload", files={"file": ("cat.png", CAT.read_bytes())})
    assert (reply.status_code, reply.text) == (400, "Send every file in a form field called files.")
    path = http.post("/upload", files={"files": ("blob", CAT.read_bytes())}).json()[0]
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    kind, found = fetch(http, "cat_dog_batch", [[file]])
    assert (kind, found[0]) == ("complete", {"files": 1, "answered": 1, "errors": 0})
    kind, found = fetch(http, "sentiment_batch", [file])
    assert (kind, found["error"]) == (
        "error",
        "This is a picture, not a CSV or a text file; save the table as CSV first.",
    )


def test_requests_of_use_via_api_are_answered(gallery_url):
    assert httpx2.get(f"{gallery_url}/monitoring/summary").json() == {"functions": {}}
    for path in ("schema", ""):  # the page takes anything but an error for a sign of MCP
        assert httpx2.get(f"{gallery_url}/gradio_api/mcp/{path}").status_code == 404


def test_no_description_of_an_endpoint_lists_the_movies():
    for name, endpoint in load_app("rating").demo.get_api_info()["named_endpoints"].items():
        assert len(json.dumps(endpoint["parameters"])) < 4000, name
        for parameter in endpoint["parameters"]:
            assert parameter["python_type"]["type"] != ""
        if endpoint["parameters"][-1]["parameter_name"] == "movie_id":
            assert endpoint["parameters"][-1]["python_type"]["type"] == "int | str"


# --- @gradio/client ---

SCRIPT = """
import { Client, handle_file } from "@gradio/client";
import { readFile } from "node:fs/promises";

const [url, cat] = process.argv.slice(2);
const client = await Client.connect(url);
const found = {};
const ask = async (name, data) => (await client.predict(name, data)).data;
const refusal = async (name, data) => { try { return await ask(name, data) } catch (error) { return error.message } };

const picture = new Blob([await readFile(cat)]);
found.blob = (await ask("/cat_dog", { image: picture }))[0];
found.path = (await ask("/cat_dog", { image: handle_file(cat) }))[0];
found.shares = (await ask("/segmentation", { image: picture }))[0];
found.batch = (await ask("/cat_dog_batch", { files: [picture, handle_file(picture)] }))[0];
found.movies = (await ask("/rating_recommend", { user_id: null, ratings: { 260: 5 }, k: 2 }))[0].movies.length;
found.title = (await ask("/rating", [15, "Toy Story (1995)"]))[0].title;
found.user = await refusal("/rating", [0, 260]);
found.address = await refusal("/cat_dog", { image: handle_file("http://127.0.0.1:1/cat.png") });
found.long = await refusal("/sentiment", ["a".repeat(200_000)]);
found.large = await refusal("/sentiment", ["a".repeat(2_000_000)]);

// The server may close a stream of answers just as a question arrives; the client then looks again at its next one.
const nudge = setInterval(() => client.predict("/rating", [1, 1]), 5_000);
const questions = [["/rating", [15, 260]], ["/rating", [16, 1]], ["/sentiment", ["I hated it"]]];
const [first, second, third] = await Promise.all(questions.map(([name, data]) => ask(name, data)));
clearInterval(nudge);
found.several = [first[0].rating, second[0].rating, third[0].label];

const rows = Array.from({ length: 300 }, (_, row) => `I loved film ${row}`).join("\\n");
found.progress = [];
const file = new File([rows], "rows.txt");
for await (const message of client.submit("/sentiment_batch", { file }, null, null, true)) {
  if (message.progress_data) found.progress.push(message.progress_data[0].progress);
  if (message.type === "data") found.rows = message.data[0];
}
console.log(JSON.stringify(found));
process.exit(0);
"""


@pytest.mark.skipif(NODE is not None, reason=str(NODE))
def test_gradio_client_in_node(gallery_url, node_folder, rating, cat_dog):
    script = node_folder / "script.mjs"
    script.write_text(SCRIPT)
    command = ["node", script, gallery_url, CAT]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["blob"] == found["path"]
    assert found["blob"]["probabilities"] == pytest.approx(cat_dog.predict(CAT).probabilities)
    assert sum(found["shares"]["shares"].values()) == pytest.approx(1)
    assert found["batch"] == {"files": 2, "answered": 2, "errors": 0}
    assert (found["movies"], found["title"]) == (2, "Toy Story (1995)")
    assert found["user"] == "There is no user '0'; users are 1 to 671."
    assert "addresses are not" in found["address"]
    assert found["long"] == "The text has 200,000 characters; at most 100,000 are read here."
    assert found["large"].startswith("The request is larger than 1.3 MB")
    assert found["several"] == [
        pytest.approx(rating.predict(15, 260).rating), pytest.approx(rating.predict(16, 1).rating), "neg",
    ]  # fmt: skip
    assert found["rows"] == {"rows": 300, "answered": 300, "errors": 0}
    assert found["progress"] == sorted(found["progress"])
    assert 0 < found["progress"][0] < found["progress"][-1] <= 1
