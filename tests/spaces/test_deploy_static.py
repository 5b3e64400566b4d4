"""spaces/deploy.py --static and --rollback: what goes up, that it is served, and that the state before comes back."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import httpx2
import pytest
import yaml
from huggingface_hub import constants
from huggingface_hub.utils import _auth
from PIL import Image

from hub import live_static, static_site
from hub.client import PublishError
from hub.live_static import ask_models, find_browser, unpack_models
from hub.local import Fault, Hub
from hub.local.cards import find_problems
from hub.local.store import Blob
from hub.staging import find_model_files
from hub.static_site import FIGURES, HEADERS, PACKED, describe_file, format_share, main, serve, stage_static
from hub.vendor import LIBRARIES, fetch_libraries, hash_bytes
from shared import load_model
from shared.config import fingerprint, read_json
from shared.errors import CheckpointError
from shared.markdown import escape_markdown
from shared.metrics import Metrics
from tests.conftest import DEMOS, ROOT, point_client_to, sign_folder
from tests.spaces.test_own_models import make_own
from training.publish import stage_model


@pytest.fixture(scope="module", autouse=True)
def libraries():
    try:
        fetch_libraries()
    except PublishError as error:
        pytest.skip(str(error))


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A Hub that serves its Spaces, with a free account."""
    with Hub(run_spaces=True) as hub:
        yield hub


@pytest.fixture
def run(deploy, hub, tmp_path, monkeypatch, capsys):
    """Runs the script in this process, without a browser."""
    monkeypatch.setattr(live_static, "find_browser", lambda: None)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))

    def run(*arguments: str, wait: float = 60) -> SimpleNamespace:
        monkeypatch.setenv("HF_TOKEN", hub.token)
        point_client_to(monkeypatch, hub.endpoint)
        status = deploy.main([*arguments, "--owner", "me", "--timeout", str(wait)])
        return SimpleNamespace(returncode=status, **capsys.readouterr()._asdict())

    return run


def stage(deploy, name: str, space: str = ""):
    return stage_static(*deploy.choose(deploy.make_parser().parse_args([name, "--owner", "me", "--static"])), space)


def read_header(content: bytes) -> dict:
    return yaml.safe_load(content.decode().split("---\n")[1])


# --- what goes up ---


@pytest.mark.parametrize("name", ["salary", "gallery"])
def test_a_staged_space_has_its_models_and_nothing_of_gradio(deploy, name):
    staged = stage(deploy, name, f"me/{name}")
    models = DEMOS if name == "gallery" else [name]
    assert {"index.html", "sw.js", "LICENSE", "README.md", "thumbnail.png"} <= set(staged.files)
    assert {path.split("/")[1] for path in staged.files if path.startswith("models/")} == set(models)
    assert not [path for path in staged.files if path.endswith((".py", "requirements.txt"))]
    licences = staged.read("licences.txt").decode()
    assert all(f"{one.package}\n===" in licences for one in LIBRARIES)
    assert b'href="licences.txt"' in staged.read("index.html")
    assert staged.variables == {}
    header = read_header(staged.read("README.md"))
    here = read_header((ROOT / "spaces" / name / "README.md").read_bytes())
    assert (header["sdk"], header["app_file"]) == ("static", "index.html")
    assert header["custom_headers"] == {key.lower(): value for key, value in HEADERS.items()}
    for key in ("title", "emoji", "colorFrom", "colorTo", "license", "short_description"):
        assert header[key] == here[key]
    assert set(here["tags"]) - set(header["tags"]) == {"mcp-server"}
    assert header["thumbnail"].endswith(f"/spaces/me/{name}/resolve/main/thumbnail.png")
    assert "scikit-learn/adult-census-income" in header["datasets"]
    assert not {"sdk_version", "python_version", "models"} & set(header)
    assert find_problems(staged.read("README.md").decode(), "space") == ([], [])


def test_the_headlines_are_those_of_the_gradio_pages(deploy):
    models = json.loads(stage(deploy, "gallery").read("site.json"))["models"]
    found = {entry["name"]: entry["headline"] for entry in models}
    assert found == {name: Metrics.read(ROOT / "spaces" / name / "model").summary for name in DEMOS}
    assert found["rating"] == "typically off by 0.7 stars"


def test_the_first_figures_are_those_of_the_card(deploy):
    figures = []
    for entry in json.loads(stage(deploy, "gallery").read("site.json"))["models"]:
        card = (ROOT / "spaces" / entry["name"] / "model/README.md").read_text(encoding="utf-8")
        _, *rows = entry["figures"]
        assert 2 <= len(rows) <= FIGURES
        figures += rows
        for label, value, where in rows:
            number, interval = value.removesuffix(")").split(" (")
            assert f"| {escape_markdown(label)} | " in card
            assert f"| {where}" in card
            assert ("%" in number) is ("%" in interval) is not re.search("loss|squared", label)
            if "%" not in number:
                assert f"| {number} | {interval} |" in card
    assert ["error, of the likeliest label", "0.5 % (0.3 % – 0.7 %)", "Oxford Pets, official test (3,669)"] in figures
    assert [format_share(share) for share in (0, 0.0001, 0.0005, 0.5, 0.9996, 1)] == [
        "0.0 %", "< 0.1 %", "0.1 %", "50.0 %", "> 99.9 %", "100.0 %",
    ]  # fmt: skip


def test_a_space_for_an_own_model_has_its_title_and_no_thumbnail(deploy, tmp_path):
    staged = stage(deploy, str(make_own(tmp_path / "My herbs", "image-classification")), "me/My-herbs")
    header = read_header(staged.read("README.md"))
    assert (header["title"], header["emoji"], header["short_description"]) == ("Herbarium", "🖼️", "Which plant?")
    assert "thumbnail" not in header
    assert "thumbnail.png" not in staged.files
    assert b'<meta property="og:title" content="Herbarium" />' in staged.read("index.html")
    site = json.loads(staged.read("site.json"))
    assert (site["title"], site["models"][0]["folder"]) == ("Herbarium", "models/My-herbs")
    assert "models/My-herbs/examples/leaf-1.png" in staged.files
    assert not [path for path in staged.files if path.startswith("pictures/")]  # those are of the demos


def test_a_model_that_an_older_site_left_is_named(tmp_path, capsys):
    salary, rating = (str(ROOT / "spaces" / name / "model") for name in ("salary", "rating"))
    assert main([salary, rating, "--out", str(tmp_path / "site")]) == 0
    assert "older site" not in capsys.readouterr().out
    assert main([salary, "--out", str(tmp_path / "site")]) == 0
    assert "site/models has rating, too, of an older site: delete what must not be online." in capsys.readouterr().out


def test_a_title_is_text_on_the_page(deploy, tmp_path):
    folder = make_own(tmp_path / "herbs", "image-classification")
    config = json.loads((folder / "gallery.json").read_text())
    config["about"]["title"] = 'Herbs"><script>alert(1)</script>'
    (folder / "gallery.json").write_text(json.dumps(config))
    for page in ("index.html", "any.html", "collect.html"):
        text = stage(deploy, str(folder)).read(page)
        assert b"alert(1)" in text
        assert b"<script>alert(1)" not in text


def test_a_folder_with_the_name_of_a_demo_has_none_of_its_pictures(deploy, tmp_path):
    folder = make_own(tmp_path / "cat_dog", "image-classification")
    shutil.rmtree(folder / "examples")
    staged = stage(deploy, str(folder))
    (entry,) = json.loads(staged.read("site.json"))["models"]
    assert (entry["name"], entry["examples"], entry["picture"]) == ("cat_dog", [], None)
    assert not [path for path in staged.files if path.startswith("pictures/")]


def test_pictures_of_any_name_can_be_tried(deploy, tmp_path):
    folder = make_own(tmp_path / "herbs", "image-classification")
    shutil.rmtree(folder / "examples")
    (folder / "examples").mkdir()
    Image.new("RGB", (64, 64), "green").save(folder / "examples/50% über #1.PNG")
    Image.new("RGB", (64, 64), "red").save(folder / "examples/a-letter.png")  # not listed, so not published
    (folder / "examples/._leaf-1.png").write_bytes(b"of a Mac")
    listed = {"optional": True, **fingerprint(folder / "examples/50% über #1.PNG")}
    sign_folder(folder, files={"examples/50% über #1.PNG": listed, **read_json(folder)["files"]})
    site = json.loads(stage(deploy, str(folder)).read("site.json"))
    ((title, example),) = site["models"][0]["examples"]
    content = (folder / "examples/50% über #1.PNG").read_bytes()
    assert title == "50% über #1"
    assert example == {"url": "models/herbs/examples/50%25%20%C3%BCber%20%231.PNG", **describe_file(content)}


@pytest.mark.parametrize("name", ["examples/leaf-1.png", "README.md"])
def test_a_link_to_a_file_elsewhere_is_not_published(run, hub, tmp_path, name):
    folder = make_own(tmp_path / "herbs", "image-classification")
    (tmp_path / "secret").write_text("mine alone")
    (folder / name).unlink(missing_ok=True)
    try:
        (folder / name).symlink_to(tmp_path / "secret")
    except OSError:
        pytest.skip("this account may not make links")
    kinds = [["--static"], *([[]] if name == "README.md" else [])]  # the Gradio page has no examples of own models
    for kind in kinds:
        done = run(str(folder), *kind)
        assert (done.returncode, f"{folder / name} is a link to a file outside the folder" in done.err) == (2, True)
    if name == "README.md":
        with pytest.raises(CheckpointError, match="is a link to a file outside the folder"):
            stage_model(folder, tmp_path / "staged", "me/herbs", onnx_only=True)
    assert not hub.store.repos


def test_links_of_the_hubs_cache_are_followed(deploy, tmp_path):
    model, cache = ROOT / "spaces/salary/model", tmp_path / "models--me--salary"
    snapshot = cache / "snapshots/1a2b3c"
    for number, (name, path) in enumerate(find_model_files(model).items()):
        (cache / "blobs").mkdir(parents=True, exist_ok=True)
        shutil.copy(path, cache / f"blobs/{number}")
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            (snapshot / name).symlink_to(cache / f"blobs/{number}")
        except OSError:
            pytest.skip("this account may not make links")
    assert find_model_files(snapshot).keys() == find_model_files(model).keys()
    (cache / "blobs").rename(tmp_path / "elsewhere")
    (cache / "blobs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="is a link to a file outside the folder"):
        find_model_files(snapshot)


def test_a_token_in_a_compressed_file_is_not_published(hub, run, tmp_path):
    folder = make_own(tmp_path / "texts", "text-classification")
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["note"] = "hf_" + "AbCdEfGhIj" * 3 + "AbCd" + " " * PACKED
    path.write_text(json.dumps(content), encoding="utf-8")
    config = json.loads((folder / "gallery.json").read_text())
    config["files"]["tokenizer.json"] |= describe_file(path.read_bytes())
    (folder / "gallery.json").write_text(json.dumps(config))
    for option in ((), ("--dry-run",)):
        done = run(str(folder), "--static", *option)
        assert (done.returncode, "tokenizer.json.gz has a token of the Hub in it" in done.err) == (2, True), done.err
    assert not hub.store.repos


@pytest.mark.parametrize("name", ["page.html", "page.SVG", "page"])
def test_a_model_brings_no_page(deploy, capsys, tmp_path, name):
    """It would run on the site's own address, without its policy."""
    folder = make_own(tmp_path / "herbs", "image-classification")
    (folder / name).write_bytes(b"<script>alert(1)</script>")
    config = json.loads((folder / "gallery.json").read_text())
    config["files"][name] = describe_file((folder / name).read_bytes()) | {"optional": True}
    (folder / "gallery.json").write_text(json.dumps(config))
    for kind in ("--static", "--private"):
        assert deploy.main([str(folder), "--owner", "me", "--dry-run", kind]) == 2
        assert f"{folder / name} is not a model file (.onnx, .json" in capsys.readouterr().err
    assert main([str(folder), "--out", str(tmp_path / "site")]) == 1


def test_unpacked_models_are_the_staged_ones(deploy, tmp_path):
    staged = stage(deploy, "salary")
    assert "models/salary/onnx/model.onnx.gz" in staged.files
    (folder,) = unpack_models(staged, tmp_path).values()
    model, original = load_model(folder), load_model(ROOT / "spaces/salary/model")
    assert model.predict(model.example()) == original.predict(original.example())


def test_the_bytes_of_a_first_visit_are_those_in_the_documentation(capsys, tmp_path):
    assert main(["--out", str(tmp_path / "site")]) == 0
    found = re.findall(r"A first visit of (\w+) downloads ([\d,]+) bytes.", capsys.readouterr().out)
    assert {name for name, _ in found} == set(DEMOS)
    text = (ROOT / "docs/scale.md").read_text(encoding="utf-8")
    for name, count in found:
        said, each_day = re.search(rf"\| {name} \| ([\d.]+) MB \| ([\d.]+) TB \|", text).groups()
        assert said == each_day
        assert float(said) == pytest.approx(int(count.replace(",", "")) / 1e6, abs=0.06)


def test_a_site_for_other_hosts_says_that_github_pages_need_not_convert_it(deploy, tmp_path):
    assert main([str(ROOT / "spaces/salary/model"), "--out", str(tmp_path)]) == 0
    assert (tmp_path / ".nojekyll").read_bytes() == b""
    assert "nojekyll" not in (tmp_path / "sw.js").read_text(encoding="utf-8")  # which keeps only what a host serves
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    of_a_space = {"LICENSE", "README.md", "thumbnail.png"}
    assert written - {".nojekyll"} == set(stage(deploy, "salary").files) - of_a_space


def test_folders_of_models_are_shown_and_damaged_ones_left_out(capsys, tmp_path):
    for name in ("My herbs", "herbs", "bad"):
        make_own(tmp_path / "runs" / name, "image-classification")
    (tmp_path / "runs/bad/onnx/model.onnx").write_bytes(b"damaged")
    shutil.copytree(tmp_path / "runs/herbs", tmp_path / "other/herbs")
    places = [tmp_path / "runs", tmp_path / "other/herbs", ROOT / "spaces/salary/model", tmp_path / "nothing"]
    assert main([*map(str, places), "--out", str(tmp_path / "site")]) == 0
    found = json.loads((tmp_path / "site/site.json").read_text())["models"]
    assert [entry["name"] for entry in found] == ["My-herbs", "herbs", "herbs_2", "salary"]
    first, *others, salary = (entry["title"] for entry in found)
    assert others == [f"{first} (herbs)", f"{first} (herbs_2)"]
    assert salary == "Salary"
    assert f"{tmp_path / 'runs/bad'} cannot be shown: " in capsys.readouterr().err
    assert main([str(tmp_path / "nothing"), "--out", str(tmp_path / "none")]) == 1
    assert "There is no checkpoint folder in" in capsys.readouterr().err


def test_the_site_is_served_to_this_machine_only_and_without_a_service_worker(monkeypatch, tmp_path):
    with serve(tmp_path, 0) as server:
        assert server.server_address[0] == "127.0.0.1"
    seen = set()

    def look(folder, _):
        seen.update(path.name for path in folder.iterdir())
        raise OSError(98, "Address already in use")

    monkeypatch.setattr(static_site, "serve", look)
    assert main([str(ROOT / "spaces/salary/model")]) == 1
    assert "index.html" in seen
    assert "sw.js" not in seen  # or browsers would go on showing the site when another app runs at its address


def test_a_port_in_use_is_named(capsys, tmp_path):
    with serve(tmp_path, 0) as taken:
        assert main([str(ROOT / "spaces/salary/model"), "--port", str(taken.server_port)]) == 1
    assert re.fullmatch(
        rf"Port {taken.server_port}: .+; use another one with --port \(make browser PORT=7862\)\.\n",
        capsys.readouterr().err,
    )


def test_a_dry_run_makes_no_request(hub, run, tmp_path):
    done = run("gallery", "--static", "--dry-run")
    assert done.returncode == 0
    assert "models/cat_dog/onnx/model.onnx.gz" in done.out
    assert "Variables: none" in done.out
    assert run("salary", "--static", "--stage", str(tmp_path / "new")).returncode == 0
    here = (ROOT / "spaces/browser/index.html").read_text(encoding="utf-8")
    staged = (tmp_path / "new/index.html").read_text(encoding="utf-8")
    version = re.search('"version" content="([0-9a-f]{16})"', staged)[1]
    assert staged == here.replace("Model gallery", "Salary").replace("VERSION", version) != here
    assert not hub.log


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--static", "--hardware", "zero-a10g"], "--static cannot be combined with --hardware: a static Space has"),
        (["--static", "--models-owner", "me"], "--static cannot be combined with --models-owner"),
        (["--static", "--revision", "salary=1a2b3c"], "--static cannot be combined with --revision"),
        (["--rollback", "1a2b3c", "--static"], "--rollback cannot be combined with --static: it restores"),
        (["--rollback", "1a2b3c", "--dry-run"], "--rollback cannot be combined with --dry-run"),
        (["--rollback", "1a2b3c", "--private"], "--rollback cannot be combined with --private"),
        (["--rollback", "1a2b3c", "--stage", "new"], "--rollback cannot be combined with --stage"),
        (["--rollback", "1a2b3c", "--hardware", "zero-a10g"], "--rollback cannot be combined with --hardware"),
        (["--rollback", "1a2b3c", "--models-owner", "me"], "--rollback cannot be combined with --models-owner"),
        (["--rollback", "1a2b3c", "--revision", "salary=1a2b3c"], "--rollback cannot be combined with --revision"),
    ],
)
def test_options_that_exclude_each_other_are_reported(hub, run, options, message):
    done = run("salary", *options)
    assert (done.returncode, message in done.err, done.err.count("\n")) == (2, True, 1)
    assert not hub.log


# --- to a Hub ---


def test_a_free_account_deploys_and_updates(hub, run, deploy, monkeypatch):
    done = run("salary", "--static", "--collection", "Mine")
    assert done.returncode == 0, done.err
    host = f"{hub.endpoint}/static/me/salary/"
    staged = stage(deploy, "salary", "me/salary")
    count = len(staged.files) - 1  # the README.md is the Hub's
    assert f"{host} serves the {count} files of this commit. Its models were not asked: that needs Chr" in done.out
    assert "It is in the collection" in done.out
    assert b"<head><script>window.huggingface={variables:{" in httpx2.get(host).content  # which is no difference
    expected = {path: staged.read(path) for path in staged.files}
    attributes = hub.files("me/salary", kind="space")[".gitattributes"]
    assert hub.files("me/salary", kind="space") == {**expected, ".gitattributes": attributes}
    assert len(hub.commits("me/salary", "space")) == 2
    assert hub.repo("me/salary", "space").variables == {}
    assert "unchanged" in run("salary", "--static").out
    space = hub.repo("me/salary", "space")
    space.add("main", {**space.at("main").files, "old.js": Blob(b"")}, "More", "", "me")
    assert run("salary", "--static", "--private").returncode == 0
    assert hub.files("me/salary", kind="space") == {**expected, ".gitattributes": attributes}
    assert space.private
    assert httpx2.get(host).status_code == 401
    for name in ("two", "three"):
        assert run("salary", "--static", "--name", name).returncode == 0


def test_a_damaged_file_on_the_live_page_is_reported(hub, run):
    hub.faults.append(Fault("corrupt", match="GET /static/.*/metrics.json"))
    done = run("salary", "--static", wait=0)
    assert done.returncode == 2
    assert "/static/me/salary/ does not serve 1 of its" in done.err
    assert "such as models/salary/metrics.json; run the same command again" in done.err


def test_a_damaged_page_on_the_live_host_is_reported(hub, run):
    hub.faults.append(Fault("corrupt", match="GET /static/.*/index.html"))
    assert "such as index.html; run the same command again" in run("salary", "--static", wait=0).err


def test_a_token_goes_to_private_static_spaces_only(hub, run):
    for options, is_sent in (((), {False}), (("--private",), {True})):
        hub.log.clear()
        assert run("salary", "--static", *options).returncode == 0
        assert {"authorization" in asked.headers for asked in hub.log if asked.path.startswith("/static/")} == is_sent


def test_a_page_that_is_late_is_waited_for(hub, run, monkeypatch):
    monkeypatch.setattr(live_static.time, "sleep", lambda _: None)
    hub.faults.append(Fault("status", match="GET /static/", status=503, times=40))
    assert run("salary", "--static").returncode == 0


def test_a_browser_that_does_not_start_is_mentioned(hub, run, monkeypatch):
    def fail(*_):
        raise RuntimeError("BrowserType.launch: no\nlibrary")

    monkeypatch.setattr(live_static, "find_browser", lambda: "chromium")
    monkeypatch.setattr(live_static, "ask_models", fail)
    done = run("salary", "--static")
    assert done.returncode == 0
    assert "not asked, because headless Chromium failed (RuntimeError: BrowserType.launch: no library)." in done.out
    monkeypatch.setattr(live_static, "ask_models", lambda *_: ["salary: label is '<50k', but locally '>=50k'."])
    done = run("salary", "--static")
    assert (done.returncode, "its answers differ from ours: salary: label is" in done.err) == (2, True)


def test_other_spaces_are_left_alone(hub, run):
    assert run("salary", "--static").returncode == 0
    for arguments, message in (
        (["rating", "--static", "--name", "salary"], "me/salary is a Space with a model for tabular-classification"),
        (["gallery", "--static", "--name", "salary"], "me/salary is a Space with a model for tabular-classification"),
        (["salary"], "me/salary is a static Space, not a gradio one; choose another name with --name."),
    ):
        assert message in run(*arguments).err
    space = hub.store.create("space", "me/page", False, "static", "cpu-basic")
    space.add("main", {"index.html": Blob(b"<p>Mine")}, "Mine", "", "me")
    assert "me/page is another Space" in run("salary", "--static", "--name", "page").err
    assert hub.files("me/page", kind="space") == {"index.html": b"<p>Mine"}


def test_an_interrupted_deployment_goes_on(hub, run):
    hub.faults.append(Fault("status", match="POST .*/commit/", status=500, times=1))
    assert "has been created; run the same command to continue" in run("salary", "--static").err
    assert run("salary", "--static").returncode == 0  # although the Hub has made an index.html


# --- back ---


@pytest.mark.parametrize("name", ["salary", "mine"])
def test_a_static_space_is_rolled_back(hub, run, tmp_path, name):
    asked = name if name == "salary" else str(shutil.copytree(ROOT / "spaces/salary/model", tmp_path / name))
    assert run(asked, "--static").returncode == 0
    first, before = hub.commits(f"me/{name}", "space")[0], hub.files(f"me/{name}", kind="space")
    space = hub.repo(f"me/{name}", "space")
    files = {path: blob for path, blob in space.at("main").files.items() if path != "style.css"}
    space.add("main", {**files, "index.html": Blob(b"spoilt"), "new.js": Blob(b"")}, "Spoil it", "", "me")
    done = run(asked, "--rollback", first)
    assert done.returncode == 0, done.err
    assert hub.files(f"me/{name}", kind="space") == before
    assert len(hub.commits(f"me/{name}", "space")) == 4
    assert space.at("main").title == f"Roll back to {first[:7]}"
    assert f"/static/me/{name}/ serves the" in done.out
    assert "unchanged" in run(asked, "--rollback", first).out


def test_a_commit_with_a_token_is_not_restored(hub, run):
    assert run("salary", "--static").returncode == 0
    space = hub.repo("me/salary", "space")
    files = space.at("main").files
    leaked = space.add("main", {**files, "notes.js": Blob(f"hf_{'aB3' * 12}".encode())}, "Leak", "", "me").sha
    space.add("main", files, "Mend", "", "me")
    assert "notes.js has a token of the Hub in it" in run("salary", "--rollback", leaked).err
    assert "notes.js" not in hub.files("me/salary", kind="space")


def test_who_may_roll_back(hub, run, monkeypatch):
    assert run("salary", "--static").returncode == 0
    first = hub.commits("me/salary", "space")[0]
    with monkeypatch.context() as patch:
        patch.setattr(hub, "token", hub.read_token)
        assert "The token can only read" in run("salary", "--rollback", first).err
    monkeypatch.setattr(_auth, "_OIDC_TOKEN_CACHE", None)
    for name, value in hub.trust("me/salary", "space").items():
        monkeypatch.setenv(name, value)
    assert run("salary", "--rollback", first).returncode == 0
    monkeypatch.setattr(_auth, "_OIDC_TOKEN_CACHE", None)


def test_what_cannot_be_rolled_back_is_reported(hub, run):
    assert "There is no Space me/salary on the Hub." in run("salary", "--rollback", "1234567").err
    assert run("salary", "--static").returncode == 0
    made = hub.commits("me/salary", "space")
    assert f"me/salary has no commit '1234567'; its commits are at {hub.endpoint}/spaces/me/salary/commits/main" in run(
        "salary", "--rollback", "1234567"
    ).err  # fmt: skip
    done = run("salary", "--rollback", made[-1])
    assert f"This script did not deploy me/salary at {made[-1]}; choose a later commit." in done.err
    assert hub.commits("me/salary", "space") == made


def test_a_gradio_space_is_rolled_back_with_its_model(hub, run):
    hub.set_paid("me", True)
    model = hub.store.create("model", "me/salary", False, "", "")
    folder = ROOT / "spaces/salary/model"
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    sha = model.add("main", {path: Blob(data) for path, data in files.items()}, "Model", "", "me").sha
    assert run("salary", "--models-owner", "me").returncode == 0
    first, before = hub.commits("me/salary", "space")[0], hub.files("me/salary", kind="space")
    space = hub.repo("me/salary", "space")
    variables = {"MODEL_REPO": "me/salary", "MODEL_REVISION": sha}
    assert space.variables == variables
    model.add("main", model.at("main").files, "A newer one", "", "me")
    space.variables.clear()
    space.add("main", {**space.at("main").files, "app.py": Blob(b"raise SystemExit")}, "Spoil it", "", "me")
    done = run("salary", "--rollback", first)
    assert done.returncode == 0, done.err
    assert f"Its predictions at {space.host} match the local ones." in done.out
    assert hub.files("me/salary", kind="space") == before
    assert space.variables == variables


# --- all the way ---


@pytest.mark.browser
def test_an_own_model_answers_in_the_browser_as_in_python(hub, tmp_path):
    folder = make_own(tmp_path / "herbs", "image-classification")
    command = [sys.executable, ROOT / "spaces/deploy.py", folder, "--owner", "me", "--static", "--timeout", "240"]
    environment = {**os.environ, **hub.environment(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    host = hub.repo("me/herbs", "space").host
    assert f"{host} serves the" in done.stdout
    assert "and in headless Chromium its predictions match the local ones." in done.stdout
    gallery = json.loads((folder / "gallery.json").read_text())
    (folder / "gallery.json").write_text(json.dumps(gallery | {"labels": gallery["labels"][::-1]}))
    differing = ask_models(host, {"herbs": load_model(folder)}, find_browser(), {})
    assert sorted(line.split(" is ")[0] for line in differing) == ["herbs: Kind 0", "herbs: Kind 1"]
    with httpx2.Client(base_url=host) as client:
        for path, content in hub.files("me/herbs", kind="space").items():
            response = client.get(path)
            assert hash_bytes(response.content) == hash_bytes(content) or path.endswith(".html")
            assert {name: response.headers[name] for name in HEADERS} == HEADERS
        assert client.get("nothing.js").status_code == 404
