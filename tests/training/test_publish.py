"""Publishing: one commit, checked afterwards, old or new but nothing between, and a sentence for every refusal."""

import json
import os
import random
import shutil
import subprocess
import sys
import time

import pytest
import yaml
from huggingface_hub import HfApi

from tests.conftest import ROOT, free_port, turn_to
from tests.hub import Fault, Hub
from training import publish as script
from training.publish import PublishError, publish

SALARY, RATING = ROOT / "spaces/salary/model", ROOT / "spaces/rating/model"
REPO = "me/published"


@pytest.fixture
def hub(monkeypatch):
    with Hub() as server:
        turn_to(monkeypatch, server.endpoint)
        monkeypatch.setenv("HF_TOKEN", server.token)
        yield server


@pytest.fixture
def copied(tmp_path):
    """A checkpoint folder to change."""
    return shutil.copytree(SALARY, tmp_path / "model")


def refused(repo=REPO, folder=SALARY, **options):
    with pytest.raises(PublishError) as caught:
        publish(folder, repo, **options)
    return str(caught.value)


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_is_published_is_the_folder_with_a_card_that_names_the_repository(hub, capsys):
    commit = publish(SALARY, REPO)
    files = hub.files(REPO)
    assert hub.commits(REPO)[0] == commit
    assert set(files) - {".gitattributes"} == names(SALARY)
    assert files["onnx/model.onnx"] == (SALARY / "onnx/model.onnx").read_bytes()
    card = files["README.md"].decode()
    header = yaml.safe_load(card.split("---")[1])
    assert (header["library_name"], header["pipeline_tag"]) == ("onnx", "tabular-classification")
    assert header["datasets"] == ["scikit-learn/adult-census-income"]
    assert header["model-index"][0]["results"]
    assert f'Salary.from_pretrained("{REPO}")' in card
    assert f'hf_hub_download("{REPO}", "onnx/model.onnx")' in card
    assert "path/to/this/folder" not in card
    assert hub.repo(REPO).tags == {f"v{script.__version__}": commit}
    assert "MB, to me/published" in capsys.readouterr().out


def test_the_same_again_changes_nothing_and_something_else_takes_its_place_whole(hub):
    first = publish(SALARY, REPO)
    assert publish(SALARY, REPO) == first
    assert "holds a salary model, and this is rating" in refused(folder=RATING)
    assert hub.commits(REPO)[0] == first
    second = publish(RATING, REPO, replace=True)
    assert set(hub.files(REPO)) - {".gitattributes"} == names(RATING)
    assert hub.commits(REPO)[:2] == [second, first]
    assert list(hub.repo(REPO).tags.values()) == [second]
    assert set(hub.files(REPO, revision=first)) - {".gitattributes"} == names(SALARY)


def test_the_card_links_to_the_spaces_that_show_the_model(hub):
    assert script.main([str(SALARY), REPO, "--space", "me/gallery", "--space", "me/salary"]) == 0
    card = hub.files(REPO)["README.md"].decode()
    assert yaml.safe_load(card.split("---")[1])["spaces"] == ["me/gallery", "me/salary"]
    assert "[me/gallery](https://huggingface.co/spaces/me/gallery)" in card
    assert "'gallery' is no name on the Hub" in refused(spaces=["gallery"])


def test_a_collection_of_what_was_published(hub, capsys):
    for folder, repo in ((SALARY, REPO), (RATING, "me/rating"), (SALARY, REPO)):
        assert script.main([str(folder), repo, "--collection", "Model gallery"]) == 0
        assert "It is in the collection" in capsys.readouterr().out
    (collection,) = hub.collections.there.values()
    assert [(item["type"], item["id"]) for item in collection["items"]] == [("model", REPO), ("model", "me/rating")]


def test_a_collection_that_is_refused_leaves_the_model_published(hub, capsys):
    hub.faults.append(Fault("status", "POST /api/collections", status=403))
    assert script.main([str(SALARY), REPO, "--collection", "Model gallery"]) == 0
    said = capsys.readouterr().out
    assert "Published and checked" in said
    assert f"{REPO} is there, but not in the collection 'Model gallery'" in said


def test_a_folder_from_before_is_published_with_what_it_lacks(hub, copied):
    (copied / "LICENSE.md").rename(copied / "NOTICE.md")
    (copied / "config.json").unlink()
    contract = json.loads((copied / "gallery.json").read_text())
    del contract["files"]["config.json"]
    (copied / "gallery.json").write_text(json.dumps(contract))
    publish(copied, REPO)
    files = hub.files(REPO)
    assert {"NOTICE.md", "config.json"} <= set(files)
    assert "See NOTICE.md for" in files["README.md"].decode()
    assert json.loads(files["config.json"])["model_type"] == "salary"
    assert not (copied / "config.json").exists()


def test_nothing_secret_or_stray_goes_up(hub, copied):
    for name in (".env", "notes.txt", "onnx/other.onnx", "__pycache__/x.pyc", "learner.pkl"):
        (copied / name).parent.mkdir(exist_ok=True)
        (copied / name).write_text("secret")
    publish(copied, REPO)
    assert set(hub.files(REPO)) - {".gitattributes"} == names(SALARY)


def test_a_dry_run_says_what_would_go_up_and_asks_nobody(hub, capsys):
    assert script.main([str(SALARY), REPO, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in names(SALARY))
    assert "pipeline_tag: tabular-classification" in said
    assert not hub.log
    assert script.main([str(SALARY), "me/salary/x", "--dry-run"]) == 2


def test_a_folder_above_the_model(hub, capsys):
    assert script.main([str(SALARY.parent), REPO]) == 2
    assert f"has no gallery.json; did you mean {SALARY}?" in capsys.readouterr().err


def test_a_damaged_folder_is_not_published(hub, copied, capsys):
    (copied / "background.csv").write_text("age\n1\n")
    assert script.main([str(copied), REPO]) == 2
    assert "background.csv is damaged" in capsys.readouterr().err
    assert ("model", REPO) not in hub.store.repos


def test_private(hub):
    publish(SALARY, REPO, private=True)
    assert hub.repo(REPO).private
    publish(SALARY, REPO, private=True)
    public = publish(SALARY, "me/public")
    assert "is there already, and public" in refused("me/public", folder=RATING, private=True)
    assert hub.commits("me/public")[0] == public


# --- who may ---


def test_nobody_is_logged_in(hub, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    assert "Nobody is logged in" in refused()
    assert not hub.log


def test_wrong_read_only_and_another_ones(hub, capsys):
    assert "does not accept the token" in refused(token="hf_wrong")
    assert "may only read" in refused(token=hub.read_token)
    hub.add_user("other")
    assert "You are me on the Hub and may not write to other/x; use me/" in refused("other/x")
    assert "is no name on the Hub" in refused("published")
    assert not hub.store.repos


@pytest.mark.parametrize(
    ("match", "status", "says"),
    [
        ("POST .*/preupload/", 403, "The token may not write"),
        ("POST .*/commit/", 412, "Somebody else changed"),
        ("POST .*/commit/", 500, "error of its own (500)"),
        ("PUT ", 403, "The token may not write"),
    ],
)
def test_the_hub_refuses(hub, match, status, says):
    first = publish(RATING, REPO)
    hub.faults.append(Fault("status", match=match, status=status))
    assert says in refused(replace=True)
    assert hub.commits(REPO)[0] == first


def test_a_plan_that_does_not_allow_it(hub):
    hub.faults.append(Fault("status", match="POST /api/repos/create", status=402))
    assert "asks for a paid plan" in refused(private=True)


def test_a_hub_that_was_asked_too_often_is_waited_for(hub, monkeypatch):
    waits = []
    monkeypatch.setattr(script.time, "sleep", waits.append)
    hub.faults.append(Fault("status", match="whoami", status=429, headers={"Retry-After": "7"}, times=2))
    publish(SALARY, REPO)
    assert waits == [8, 8]
    hub.faults.append(Fault("status", match="whoami", status=429, headers={"RateLimit": '"api";r=0;t=20'}, times=1))
    publish(SALARY, REPO)
    assert waits[2:] == [21]
    hub.faults.append(Fault("status", match="whoami", status=429, headers={"Retry-After": "900"}, times=1))
    assert "asks to wait 15 minutes" in refused()
    hub.faults.append(Fault("status", match="whoami", status=429))
    assert "asked too often" in refused()


def test_no_network(hub, monkeypatch):
    turn_to(monkeypatch, f"http://127.0.0.1:{free_port()}")
    assert "cannot be reached (ConnectError)" in refused()


def test_a_hub_that_does_not_answer(hub, monkeypatch):
    monkeypatch.setattr(script, "ANSWER", 1.0)
    hub.faults.append(Fault("hang", match="whoami"))
    began = time.monotonic()
    assert "did not answer within 1 s" in refused()
    assert time.monotonic() - began < 3


def test_metadata_the_hub_does_not_accept(hub, copied):
    text = (copied / "gallery.json").read_text()
    assert '"licence": "cc-by-4.0"' in text
    (copied / "gallery.json").write_text(text.replace('"licence": "cc-by-4.0"', '"licence": "my own!"'))
    assert "does not accept it" in refused(folder=copied)


# --- what can go wrong on the way ---


def test_what_does_not_arrive_as_it_was_sent_is_said_with_the_way_back(hub, tmp_path):
    first = publish(RATING, REPO)
    hub.faults.append(Fault("corrupt", match="GET", server="cdn"))
    said = refused(replace=True)
    assert said.startswith(f"me/published was published as commit {hub.commits(REPO)[0]}, but it is not what is here")
    assert f"hf download {REPO} --revision {first} --local-dir before" in said
    hub.faults.clear()
    command = [sys.executable, "-m", "huggingface_hub.cli.hf", "download", REPO, "--revision", first, "--local-dir"]
    environment = {**os.environ, **hub.environment(tmp_path / "home")}
    subprocess.run([*command, tmp_path / "before"], env=environment, check=True, capture_output=True)
    publish(tmp_path / "before", REPO, replace=True)
    assert set(hub.files(REPO)) - {".gitattributes"} == names(RATING)


def test_the_first_commit_has_no_way_back(hub):
    hub.faults.append(Fault("corrupt", match="GET", server="cdn"))
    assert refused().endswith("it is not what is here: onnx/model.onnx differs.")


def test_what_cannot_be_downloaded_again_is_not_called_wrong(hub):
    hub.faults.append(Fault("truncate", match="GET", server="cdn", after=1000))
    said = refused()
    assert "but could not be checked: The Hub at http" in said
    assert "local-dir" not in said
    hub.faults.clear()
    assert publish(SALARY, REPO) == hub.commits(REPO)[0]


def test_a_repository_that_holds_something_else_is_left_alone(hub):
    api = HfApi(token=hub.token)
    api.create_repo(REPO)
    api.upload_file(repo_id=REPO, path_in_repo="thesis.pdf", path_or_fileobj=b"%PDF")
    assert "holds something else" in refused()
    assert "thesis.pdf" in hub.files(REPO)


def test_an_answer_that_differs_is_noticed(hub, monkeypatch):
    monkeypatch.setattr(script, "same", lambda *_: False)
    assert "It answers otherwise." in refused()


def test_same_compares_every_field():
    one = script.predictor(SALARY).predict_batch([script.predictor(SALARY).example()])[0]
    assert script.same(one, one)
    assert not script.same(one, type(one)(one.label, {label: p + 1e-9 for label, p in one.probabilities.items()}))


@pytest.mark.parametrize(
    ("rights", "may"), [(["repo.content.read"], False), (["repo.content.read", "repo.write"], True)]
)
def test_a_fine_grained_token(monkeypatch, rights, may):
    scope = {"entity": {"type": "user", "name": "me"}, "permissions": rights}
    token = {"role": "fineGrained", "fineGrained": {"scoped": [scope]}}
    account = {"name": "me", "orgs": [{"name": "us", "roleInOrg": "read"}], "auth": {"accessToken": token}}
    monkeypatch.setattr(script, "ask", lambda *_: account)
    if may:
        script.check_account(REPO, "hf_token")
        with pytest.raises(PublishError, match="may not write to us/x"):
            script.check_account("us/x", "hf_token")
    else:
        with pytest.raises(PublishError, match="may only read"):
            script.check_account(REPO, "hf_token")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ConnectionError("Upload failed: 402 Payment Required"), "asks for a paid plan"),
        (RuntimeError("CAS client error: 403 Forbidden"), "may not write"),
        (TimeoutError("timed out"), "cannot be reached (TimeoutError)"),
    ],
)
def test_errors_of_xets_storage(error, says):
    def fail():
        raise error

    with pytest.raises(PublishError) as caught:
        script.ask(fail, REPO)
    assert says in str(caught.value)


def test_a_dropped_connection_leaves_what_was_there(hub):
    first = publish(RATING, REPO)
    hub.faults.append(Fault("drop", match="POST .*/commit/", after=10))
    assert "cannot be reached" in refused(replace=True)
    assert hub.commits(REPO)[0] == first
    hub.faults.clear()
    assert set(hub.files(REPO, revision=publish(SALARY, REPO, replace=True))) - {".gitattributes"} == names(SALARY)


def test_an_upload_killed_twenty_times_leaves_the_old_or_the_new(hub, tmp_path):
    """Each time another of the Hub's requests is the last that it sees of it."""
    rng = random.Random(42)
    environment = {**os.environ, **hub.environment(tmp_path / "home")}
    expected = names(SALARY)
    publish(SALARY, REPO)
    requests = len(hub.log)
    for turn in range(20):
        before, folder = expected, (SALARY, RATING)[turn % 2 == 0]
        start, last = len(hub.log), rng.randint(1, requests)
        command = [sys.executable, "-m", "training.publish", folder, REPO, "--replace"]
        process = subprocess.Popen(
            command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while process.poll() is None and len(hub.log) < start + last:
            time.sleep(rng.random() / 500)
        process.kill()
        process.wait()
        expected = names(folder)
        found = set(hub.files(REPO)) - {".gitattributes"}
        assert found in (before, expected)
        model = (folder if found == expected else (SALARY, RATING)[turn % 2]) / "onnx/model.onnx"
        assert hub.files(REPO)["onnx/model.onnx"] == model.read_bytes()
        publish(folder, REPO, replace=True)
        assert set(hub.files(REPO)) - {".gitattributes"} == expected
