"""Publishing: a single, verified, atomic commit, and a message for every error."""

import json
import os
import random
import shutil
import subprocess
import sys
import time

import pytest
import yaml
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import _auth

from hub import account as check
from hub import client
from hub.local import Fault, Hub
from hub.local.faults import BARE, LIST, NULL, PAGE, WORDS
from shared.load import load_folder
from tests.conftest import ROOT, find_free_port, point_client_to
from training import publish as script
from training.card import AUTHOR, write_card
from training.publish import PublishError, publish

SALARY, RATING = ROOT / "spaces/salary/model", ROOT / "spaces/rating/model"
REPO = "me/published"


@pytest.fixture
def hub(monkeypatch):
    with Hub() as server:
        point_client_to(monkeypatch, server.endpoint)
        monkeypatch.setenv("HF_TOKEN", server.token)
        yield server


@pytest.fixture
def copied(tmp_path):
    """A copy of a checkpoint folder, to change."""
    return shutil.copytree(SALARY, tmp_path / "model")


def refused(repo=REPO, folder=SALARY, **options):
    with pytest.raises(PublishError) as caught:
        publish(folder, repo, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_published_model_is_the_folder_with_a_card_that_names_the_repository(hub, capsys):
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
    assert f'load_model("{REPO}")' in card
    assert f'hf_hub_download("{REPO}", "onnx/model.onnx")' in card
    assert "path/to/this/folder" not in card
    assert hub.repo(REPO).tags == {f"v{script.__version__}": commit}
    assert "MB, to me/published" in capsys.readouterr().out


def test_publishing_again_changes_nothing_and_another_model_replaces_it_completely(hub):
    first = publish(SALARY, REPO)
    assert publish(SALARY, REPO) == first
    assert "has a model for tabular-classification, but this one is for recommendation" in refused(folder=RATING)
    assert hub.commits(REPO)[0] == first
    second = publish(RATING, REPO, replace=True)
    assert set(hub.files(REPO)) - {".gitattributes"} == names(RATING)
    assert hub.commits(REPO)[:2] == [second, first]
    assert list(hub.repo(REPO).tags.values()) == [second]
    assert set(hub.files(REPO, revision=first)) - {".gitattributes"} == names(SALARY)


def test_a_tag_that_moves_is_named_and_stays_if_it_cannot_move(hub, capsys):
    first = publish(SALARY, REPO)
    assert "The tag" not in capsys.readouterr().out
    hub.faults.append(Fault("status", match="POST .*/tag/", status=403, times=1))
    second = publish(RATING, REPO, replace=True)
    assert hub.repo(REPO).tags == {f"v{script.__version__}": first}
    assert "could not be set" in capsys.readouterr().err
    assert publish(RATING, REPO) == second
    assert hub.repo(REPO).tags == {f"v{script.__version__}": second}
    tag = f"The tag v{script.__version__}, which was at commit {first}, is at this one now."
    assert tag in capsys.readouterr().out


def test_a_model_that_cannot_be_read_is_replaced_only_when_asked_to(hub):
    publish(SALARY, REPO)
    script.HfApi(token=hub.token).upload_file(path_or_fileobj=b"{", path_in_repo="gallery.json", repo_id=REPO)
    assert refused() == f"{REPO} has a model that cannot be read; choose another one, or use --replace."
    assert publish(SALARY, REPO, replace=True) == hub.commits(REPO)[0]


def test_what_is_in_a_repository_is_looked_at_before_a_training(hub):
    script.check_repository(REPO, "tabular-classification")
    assert not hub.store.repos
    publish(SALARY, REPO)
    for task in ("tabular-classification", "tabular-regression", None):
        script.check_repository(REPO, task)
    with pytest.raises(PublishError, match=r"for tabular-classification, .* for recommendation; .* training\.publish"):
        script.check_repository(REPO, "recommendation")
    with pytest.raises(PublishError, match="already exists and is public"):
        script.check_repository(REPO, "tabular-classification", private=True)


def test_changes_in_a_card_are_not_lost_without_a_word(hub, copied, capsys):
    card = copied / "README.md"
    for text in (card.read_text(), write_card(copied, REPO).read_text()):
        card.write_text(text, newline="\r\n")
        publish(copied, REPO)
        assert "is not published" not in capsys.readouterr().out
    with card.open("a") as file:
        file.write("My own words.")
    publish(copied, REPO)
    assert f"{card} is not published: the card is written from gallery.json" in capsys.readouterr().out


def test_removed_files_are_named(hub, capsys):
    publish(SALARY, REPO)
    assert "This removes" not in capsys.readouterr().out
    script.HfApi(token=hub.token).upload_file(path_or_fileobj=b"mine", path_in_repo="photo.png", repo_id=REPO)
    publish(SALARY, REPO)
    assert "This removes photo.png from me/published, since the folder does not have it." in capsys.readouterr().out
    assert "photo.png" not in hub.files(REPO)
    for name in ("notes.txt", "photo.png"):
        script.HfApi(token=hub.token).upload_file(path_or_fileobj=b"mine", path_in_repo=name, repo_id=REPO)
    publish(SALARY, REPO)
    assert "notes.txt, photo.png from me/published, since the folder does not have them." in capsys.readouterr().out


def test_the_card_links_to_the_spaces_that_show_the_model(hub):
    assert script.main([str(SALARY), REPO, "--space", "me/gallery", "--space", "me/salary"]) == 0
    card = hub.files(REPO)["README.md"].decode()
    assert yaml.safe_load(card.split("---")[1])["spaces"] == ["me/gallery", "me/salary"]
    assert "[me/gallery](https://huggingface.co/spaces/me/gallery)" in card
    assert "'gallery' has no owner" in refused(spaces=["gallery"])


def test_a_published_model_is_added_to_a_collection(hub, capsys):
    for folder, repo in ((SALARY, REPO), (RATING, "me/rating"), (SALARY, REPO)):
        assert script.main([str(folder), repo, "--collection", "Model gallery"]) == 0
        assert "It is in the collection" in capsys.readouterr().out
    (collection,) = hub.collections.there.values()
    assert [(item["type"], item["id"]) for item in collection["items"]] == [("model", REPO), ("model", "me/rating")]


def test_the_collection_is_that_of_the_owner(hub):
    hub.add_organisation("us", {"me": "write"})
    assert script.main([str(SALARY), "us/salary", "--collection", "Ours"]) == 0
    assert [item["owner"]["name"] for item in hub.collections.there.values()] == ["us"]


def test_a_collection_that_is_refused_leaves_the_model_published(hub, capsys):
    hub.faults.append(Fault("status", "POST /api/collections", status=403))
    assert script.main([str(SALARY), REPO, "--collection", "Model gallery"]) == 0
    said = capsys.readouterr().out
    assert "Published and checked" in said
    assert f"{REPO} is published, but not in the collection 'Model gallery'" in said


def test_a_folder_from_before_is_published_with_what_it_lacks(hub, copied):
    (copied / "LICENSE.md").rename(copied / "NOTICE.md")
    (copied / "config.json").unlink()
    contract = json.loads((copied / "gallery.json").read_text())
    del contract["files"]["config.json"]
    (copied / "gallery.json").write_text(json.dumps(contract))
    publish(copied, REPO)
    files = hub.files(REPO)
    assert {"NOTICE.md", "config.json"} <= set(files)
    assert "NOTICE.md says what" in files["README.md"].decode()
    assert json.loads(files["config.json"])["model_type"] == "tabular-classification"
    assert not (copied / "config.json").exists()


def test_no_secret_or_stray_file_is_uploaded(hub, copied):
    for name in (".env", "notes.txt", "onnx/other.onnx", "__pycache__/x.pyc", "learner.pkl"):
        (copied / name).parent.mkdir(exist_ok=True)
        (copied / name).write_text("secret")
    publish(copied, REPO)
    assert set(hub.files(REPO)) - {".gitattributes"} == names(SALARY)


def test_a_dry_run_lists_the_files_and_makes_no_request(hub, capsys):
    assert script.main([str(SALARY), REPO, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in names(SALARY))
    assert "pipeline_tag: tabular-classification" in said
    assert not hub.log
    assert script.main([str(SALARY), "me/salary/x", "--dry-run"]) == 2


def test_an_intended_use_that_nobody_has_written_is_asked_for(hub, copied, capsys):
    contract = json.loads((copied / "gallery.json").read_text())
    publish(copied, REPO)
    assert "intended_use" not in capsys.readouterr().out
    contract["about"]["intended_use"] = AUTHOR
    (copied / "gallery.json").write_text(json.dumps(contract))
    asked = f"write that as intended_use in {copied / 'gallery.json'}, then publish"
    publish(copied, REPO)
    assert f"{asked} it again." in capsys.readouterr().out
    assert script.main([str(copied), REPO, "--dry-run"]) == 0
    assert f"{asked}.\n" in capsys.readouterr().out


def test_a_dry_run_shows_all_metadata_whatever_the_title_is(hub, copied, capsys):
    contract = json.loads((copied / "gallery.json").read_text())
    contract["about"]["title"] = "Wages --- #1"
    (copied / "gallery.json").write_text(json.dumps(contract))
    write_card(copied)
    assert script.main([str(copied), REPO, "--dry-run"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out.partition("The metadata of its card:\n\n")[2])
    assert shown["model-index"][0]["name"] == "Wages --- #1"
    assert shown["model-index"][0]["results"]


def test_the_parent_folder_of_a_model_is_refused(hub, capsys):
    assert script.main([str(SALARY.parent), REPO]) == 2
    assert f"has no gallery.json; did you mean {SALARY}?" in capsys.readouterr().err


def test_a_damaged_folder_is_not_published(hub, copied, capsys):
    (copied / "background.csv").write_text("age\n1\n")
    assert script.main([str(copied), REPO]) == 2
    assert "background.csv is damaged" in capsys.readouterr().err
    assert ("model", REPO) not in hub.store.repos


def test_a_private_repository_stays_private(hub):
    publish(SALARY, REPO, private=True)
    assert hub.repo(REPO).private
    publish(SALARY, REPO, private=True)
    public = publish(SALARY, "me/public")
    assert "already exists and is public" in refused("me/public", folder=RATING, private=True)
    assert hub.commits("me/public")[0] == public


def test_the_command_makes_a_private_repository_and_replaces_only_if_asked(hub, capsys):
    assert script.main([str(SALARY), REPO, "--private"]) == 0
    assert hub.repo(REPO).private
    assert script.main([str(RATING), REPO]) == 2
    assert "choose another one, or use --replace" in capsys.readouterr().err
    assert script.main([str(RATING), REPO, "--replace"]) == 0


def test_nothing_is_committed_over_what_somebody_else_has_just_committed(hub, monkeypatch):
    publish(SALARY, REPO)
    commit_files = script.commit_files

    def commit_late(api, repo, *more):
        api.upload_file(path_or_fileobj=b"theirs", path_in_repo="theirs.txt", repo_id=repo)
        return commit_files(api, repo, *more)

    monkeypatch.setattr(script, "commit_files", commit_late)
    assert "was changed by somebody else in the meantime" in refused(folder=RATING, replace=True)
    assert {"theirs.txt", "background.csv"} <= set(hub.files(REPO))


# --- who may ---


def test_publishing_without_a_login_is_refused(hub, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    assert "Nobody is logged in" in refused()
    assert not hub.log


def test_tokens_that_cannot_write_are_refused(hub, capsys):
    assert "does not accept the given token" in refused(token="hf_wrong")
    assert "can only read" in refused(token=hub.read_token)
    hub.add_user("other")
    assert "You are me on the Hub and cannot write to other/x; use me/" in refused("other/x")
    assert "'published' has no owner" in refused("published")
    assert not hub.store.repos


def test_a_repository_that_was_renamed_is_not_overwritten(hub):
    """The Hub redirects from its former name."""
    publish(SALARY, REPO)
    hub.repo(REPO).id = "me/renamed"
    assert refused() == "me/published is now called me/renamed; use that name if you mean it, or else another one."


def test_a_repository_that_somebody_else_creates_meanwhile_is_not_called_ours(hub, monkeypatch):
    create = HfApi.create_repo

    def create_after_another(api, repo, **options):
        create(api, repo)
        return create(api, repo, **options)

    monkeypatch.setattr(HfApi, "create_repo", create_after_another)
    said = refused()
    assert "has been created" not in said
    assert "409" in said


def test_a_given_token_is_used_for_every_request(hub, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    publish(SALARY, REPO, private=True, token=hub.token)
    assert "has a model for tabular-classification" in refused(folder=RATING, token=hub.token)


def test_a_gated_repository_is_not_taken_for_a_missing_one(hub):
    gated = Fault("status", match="GET /api/models/me/published$", status=403, headers={"X-Error-Code": "GatedRepo"})
    hub.faults.append(gated)
    assert "me/published is gated" in refused()
    assert not hub.store.repos


def test_letters_of_a_scope_or_resource_may_be_small_or_capital(hub, monkeypatch):
    monkeypatch.setattr(check, "get_token", lambda: "hf_token")
    monkeypatch.setenv("HF_OIDC_RESOURCE", "models/Me/Published")
    assert check.get_own_token(REPO) == "hf_token"
    assert check.covers({"type": "model", "name": "Me/Published"}, REPO, "model")
    assert not check.covers({"type": "model", "name": "Me/Cats"}, REPO, "model")


@pytest.mark.parametrize(
    ("match", "status", "says"),
    [
        ("POST .*/preupload/", 403, "cannot write to me/published (403: Injected status 403); set HF_TOKEN to one"),
        ("POST .*/commit/", 412, "was changed by somebody else"),
        ("POST .*/commit/", 500, "internal error (500: Injected status 500); try again later."),
        ("PUT ", 403, "The token cannot write"),
    ],
)
def test_errors_of_the_hub_are_reported(hub, match, status, says):
    first = publish(RATING, REPO)
    hub.faults.append(Fault("status", match=match, status=status))
    assert says in refused(replace=True)
    assert hub.commits(REPO)[0] == first


TOO_LARGE = "<html><head><title>413 Request Entity Too Large</title></head></html>"


@pytest.mark.parametrize(
    ("match", "fault", "says"),
    [
        ("whoami", {"status": 200, "body": PAGE}, "that the client cannot read (JSONDecodeError: "),
        ("whoami", {"status": 404, "body": BARE}, "cannot find what was requested (404): GET /api/whoami-v2."),
        ("whoami", {"status": 404, "body": LIST}, "(404: not here): GET /api/whoami-v2."),
        ("whoami", {"status": 403, "body": '{"error": "IP not allowed"}'}, "(403: IP not allowed)"),
        ("validate-yaml", {"status": 404, "body": PAGE}, "(404): POST /api/validate-yaml."),
        ("GET /api/models/[^/]*/[^/]*$", {"status": 200, "body": NULL}, "that the client cannot read (TypeError: "),
        ("GET /api/models/[^/]*/[^/]*$", {"status": 200, "body": "{}"}, "that the client cannot read (KeyError: "),
        ("preupload", {"status": 404, "body": BARE}, "requested (404): POST /api/models/me/published/preupload/main."),
        ("preupload", {"status": 200, "body": '{"files": null}'}, "failed (ValueError: preupload_info is improperly"),
        (
            "batch",
            {"status": 501, "body": '{"message": "No LFS"}'},
            "does not support this request (501: No LFS): POST",
        ),
        ("/commit/", {"status": 200, "body": NULL}, "that the client cannot read (TypeError: "),
        (
            "/commit/",
            {"status": 400, "headers": {"X-Error-Message": "Odd path."}},
            "refused the request for me/published (400: Odd",
        ),
        (
            "/commit/",
            {"status": 402, "body": '{"error": "Storage is full"}'},
            "paid plan for this request to me/published (402: ",
        ),
        (
            "/commit/",
            {"status": 404, "body": '{"detail": "Not found"}'},
            "cannot find what was requested (404: Not f",
        ),
        ("/commit/", {"status": 405, "body": BARE}, "does not support this request (405): POST /api/models"),
        (
            "/commit/",
            {"status": 409, "body": '{"error": ["busy"]}'},
            "reports a conflict with another change to",
        ),
        (
            "/commit/",
            {"status": 413, "body": TOO_LARGE},
            "or a proxy in front of it, rejects a request of this size (413): P",
        ),
        ("/commit/", {"status": 416, "body": BARE}, "refused the request for me/published (416)."),
        ("/commit/", {"status": 422, "body": '{"errors": [{"message": "a"}, {"message": "b"}]}'}, "(422: a; b)."),
        ("/commit/", {"status": 423, "body": BARE}, "me/published is locked on the Hub (423); try again later."),
        ("/commit/", {"status": 502, "body": PAGE}, "an internal error (502); try again later."),
        ("/commit/", {"status": 504, "body": WORDS}, "an internal error (504: upstream is gone); try again later."),
        ("/commit/", {"status": 507, "body": BARE}, "has no storage left for me/published (507); free some there."),
    ],
)
def test_answers_of_other_servers_are_reported(hub, match, fault, says):
    hub.store.create("model", REPO, False, "", "")
    before = hub.commits(REPO)
    hub.faults.append(Fault("status", match=match, **fault))
    said = refused()
    assert says in said
    assert "check the network" not in said or "improperly" in said
    assert hub.commits(REPO) == before


def test_a_hub_without_xet(hub, monkeypatch):
    """The client uses Xet whenever it is installed, without asking the Hub."""
    pytest.importorskip("hf_xet")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    assert "does not support Xet, the client's storage for large files (404); set HF_HUB_DISABLE_XET=1" in refused()


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault("status", match="POST .*/tag/", status=403), "(403: Injected status 403)"),
        (Fault("status", match="/refs", status=404, body=BARE), "cannot find what was requested (404)"),
        (Fault("status", match="POST .*/tag/", status=503), "(503: Injected status 503)"),
        (Fault("drop", match="POST .*/tag/"), "cannot be reached (RemoteProtocolError)"),
    ],
    ids=["403", "404", "503", "network"],
)
def test_a_tag_that_cannot_be_set_is_a_warning(hub, capsys, fault, says):
    hub.faults.append(fault)
    assert script.main([str(SALARY), REPO]) == 0
    said = capsys.readouterr()
    commit = hub.commits(REPO)[0]
    assert f"Published and checked: {hub.endpoint}/me/published at commit {commit}" in said.out
    assert said.err.startswith(
        f"warning: me/published is published, but its tag v{script.__version__} could not be set: "
    )
    assert says in said.err
    assert said.err.count("\n") == 1


def test_the_commit_is_named_before_anything_else_can_fail(hub, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(script, "verify", interrupt)
    assert script.main([str(SALARY), REPO]) == 130
    assert f"me/published is at commit {hub.commits(REPO)[0]}." in capsys.readouterr().out


def test_a_failure_says_that_a_new_repository_stays(hub):
    hub.faults.append(Fault("status", match="POST .*/commit/", status=500))
    left = "me/published has been created; run the same command to continue. To delete it: hf repos delete me/published"
    assert refused().endswith(left)
    assert len(hub.commits(REPO)) == 1
    assert left not in refused()  # the second time, it was there
    hub.faults.clear()
    publish(SALARY, REPO)


def test_a_server_that_does_not_make_it_private(hub):
    hub.faults.append(Fault("status", match="POST /api/repos/create", status=200, body='{"url": "x/me/published"}'))
    hub.faults.append(Fault("status", match="GET /api/models/me/published$", status=404, body=BARE, times=1))
    hub.store.create("model", REPO, False, "", "")
    said = refused(private=True)
    assert said.startswith("The Hub has created me/published as public although it should be private. ")
    assert said.endswith("hf repos delete me/published")


def test_a_plan_without_private_repositories_is_reported(hub):
    hub.faults.append(Fault("status", match="POST /api/repos/create", status=402))
    assert "requires a paid plan" in refused(private=True)


def test_a_short_rate_limit_is_waited_out(hub, monkeypatch):
    waits = []
    monkeypatch.setattr(client.time, "sleep", waits.append)
    hub.faults.append(Fault("status", match="whoami", status=429, headers={"Retry-After": "7"}, times=2))
    publish(SALARY, REPO)
    assert waits == [8, 8]
    hub.faults.append(Fault("status", match="whoami", status=429, headers={"RateLimit": '"api";r=0;t=20'}, times=1))
    publish(SALARY, REPO)
    assert waits[2:] == [21]
    hub.faults.append(Fault("status", match="whoami", status=429, headers={"Retry-After": "900"}, times=1))
    assert "requires a wait of 15 minutes" in refused()
    hub.faults.append(
        Fault("status", match="whoami", status=429, headers={"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"}, times=1)
    )
    assert "hours (429: Injected status 429); try again then." in refused()
    waits.clear()
    hub.faults.append(Fault("status", match="whoami", status=429))
    assert "has received too many requests from here (429: Injected status 429); wait a few minutes." in refused()
    assert waits == [30] * 5


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            "You have exceeded the rate limit for repository commits (128 per hour). You can retry this action in "
            "about 1 hour.",
            "requires a wait of 60 minutes (429: You have exceeded the rate limit for repository commits (128 per ",
        ),
        (
            "You have been rate-limited; you can retry this action in about 43 minutes.",
            "requires a wait of 43 minutes (429: You",
        ),
        (
            "Rate limit for space creation (20 per day). You can retry this action in 1 day.",
            "requires a wait of 24 hours (429: ",
        ),
        ("Too many requests. Retry after 20 minutes.", "requires a wait of 20 minutes (429: Too many requests. Retry"),
    ],
)
def test_an_hourly_rate_limit_is_not_waited_out(hub, monkeypatch, words, says):
    """Its header is about another limit, which is not exhausted."""
    monkeypatch.setattr(client.time, "sleep", lambda _: pytest.fail("it waits"))
    headers = {"RateLimit": '"api";r=977;t=188', "X-Error-Message": words}
    hub.faults.append(Fault("status", match="POST .*/commit/", status=429, headers=headers))
    assert says in refused()


def test_no_network(hub, monkeypatch):
    point_client_to(monkeypatch, f"http://127.0.0.1:{find_free_port()}")
    assert "cannot be reached (ConnectError)" in refused()


def test_a_hub_that_does_not_answer_is_reported(hub, monkeypatch):
    monkeypatch.setattr(client, "ANSWER", 1.0)
    hub.faults.append(Fault("hang", match="whoami"))
    began = time.monotonic()
    assert "did not answer within 1 s" in refused()
    assert time.monotonic() - began < 3


def test_metadata_the_hub_does_not_accept(hub, copied):
    text = (copied / "gallery.json").read_text()
    assert '"licence": "cc-by-4.0"' in text
    (copied / "gallery.json").write_text(text.replace('"licence": "cc-by-4.0"', '"licence": "my own!"'))
    said = refused(folder=copied)
    assert 'The Hub does not accept the header of README.md: "license" must be one of [agpl-3.0, ' in said
    assert not hub.store.repos


# --- what can go wrong on the way ---


def test_a_changed_upload_is_reported_with_the_way_to_restore(hub, tmp_path):
    first = publish(RATING, REPO)
    hub.faults.append(Fault("corrupt", match="GET", server="cdn"))
    said = refused(replace=True)
    assert said.startswith(
        f"me/published was published as commit {hub.commits(REPO)[0]}, but it differs from the local model"
    )
    assert f"hf download {REPO} --revision {first} --local-dir before" in said
    hub.faults.clear()
    command = [sys.executable, "-m", "huggingface_hub.cli.hf", "download", REPO, "--revision", first, "--local-dir"]
    environment = {**os.environ, **hub.environment(tmp_path / "home")}
    subprocess.run([*command, tmp_path / "before"], env=environment, check=True, capture_output=True)
    publish(tmp_path / "before", REPO, replace=True)
    assert set(hub.files(REPO)) - {".gitattributes"} == names(RATING)


def test_there_is_nothing_to_restore_after_the_first_commit(hub):
    hub.faults.append(Fault("corrupt", match="GET", server="cdn"))
    assert refused().endswith("it differs from the local model: onnx/model.onnx differs.")


def test_a_failed_download_is_not_reported_as_a_difference(hub):
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
    assert "has other files" in refused()
    assert "thesis.pdf" in hub.files(REPO)


def test_an_answer_that_differs_is_detected(hub, monkeypatch):
    monkeypatch.setattr(script, "are_equal", lambda *_: False)
    assert "It answers differently." in refused()


def test_every_field_is_compared():
    model = load_folder(SALARY)
    one = model.predict_batch([model.example()])[0]
    assert script.are_equal(one, one)
    assert not script.are_equal(one, type(one)(one.label, {label: p + 1e-9 for label, p in one.probabilities.items()}))


WRITE, READ = ["repo.content.read", "repo.write"], ["repo.content.read"]
SCOPES = {
    "none": [],
    "read me": [("user", "me", READ)],
    "me": [("user", "me", WRITE)],
    "us": [("user", "me", READ), ("org", "us", WRITE)],
    "them": [("org", "them", WRITE)],
    "this one": [("model", "me/published", WRITE)],
    "another one": [("model", "me/cats", WRITE)],
    "a Space of that name": [("space", "me/published", WRITE)],
}
ROLES = {"me": None, "us": "write", "them": "read", "those": "no_access", "ours": "contributor", "you": None}


@pytest.mark.parametrize("scopes", ["write", "read", *SCOPES])
def test_the_check_of_an_account_refuses_what_the_hub_would_and_nothing_else(hub, scopes):
    for owner in ROLES.keys() - {"me", "you"}:
        hub.add_organisation(owner, {"me": ROLES[owner]})
    hub.add_user("you")
    token = hub.add_fine_grained("me", *SCOPES[scopes]) if scopes in SCOPES else hub.add_token("me", scopes)
    refusals = {}
    for owner in ROLES:
        repo = f"{owner}/published"
        try:
            script.check_account(repo, token)
        except PublishError as error:
            refusals[repo] = str(error)
        if repo in refusals:
            with pytest.raises(HfHubHTTPError, match="403 Forbidden"):
                HfApi(hub.endpoint, token=token).create_repo(repo)
        else:
            HfApi(hub.endpoint, token=token).create_repo(repo)
    may = {"write": {"me", "us", "ours"}, "me": {"me"}, "us": {"us"}, "this one": {"me"}}.get(scopes, set())
    assert {repo.split("/")[0] for repo in refusals} == ROLES.keys() - may


def test_what_is_missing_is_named(hub):
    hub.add_organisation("them", {"me": "read"})
    hub.add_organisation("us", {"me": "write"})
    other = hub.add_fine_grained("me", ("model", "me/cats", WRITE))
    said = refused(token=other)
    assert said.startswith(
        "The token lacks the permission repo.write for me/published; add it at https://huggingface.co/"
    )
    assert "for that repository (if it exists) or for all of me, or create a token with the role write" in said
    assert "for all of us" in refused("us/x", token=other)
    assert refused("them/x").startswith(
        "Your role in them is read, which cannot write to them/x; ask its administrators"
    )
    assert refused("you/x") == "You are me on the Hub and cannot write to you/x; use me/x"
    assert not hub.store.repos


@pytest.mark.parametrize(
    "account",
    [
        {"name": "me"},
        {"name": "ME", "orgs": None, "auth": None},
        {"name": "me", "type": "user", "auth": {"type": "oauth", "expiresAt": "2027-01-01"}},
        {"name": "me", "auth": {"accessToken": {"role": "god"}}},
        {"name": "me", "auth": {"accessToken": {"role": "fineGrained"}}},
        {"name": "me", "auth": {"accessToken": {"role": "fineGrained", "fineGrained": {"scoped": {"of": "late"}}}}},
        {"name": "bot", "type": "app", "scope": {"entities": ["me"], "role": "write"}},
        {
            "name": "me",
            "auth": {"accessToken": {"role": "fineGrained", "fineGrained": {"global": ["repo.write"], "scoped": []}}},
        },
        {
            "name": "you",
            "orgs": [{"name": "Me", "roleInOrg": "read", "resourceGroups": [{"name": "a", "role": "write"}]}],
        },
        {"name": "you", "orgs": [{"name": "me", "roleInOrg": "a new one"}]},
        {
            "name": "you",
            "auth": {
                "accessToken": {
                    "role": "fineGrained",
                    "fineGrained": {"scoped": [{"entity": {"type": "resource-group"}, "permissions": ["repo.write"]}]},
                }
            },
        },
        ["another shape"],
    ],
)
def test_an_account_of_an_unknown_shape_may_write(monkeypatch, account):
    monkeypatch.setattr(check, "ask", lambda *_, **__: account)
    check.check_account(REPO, "hf_token")


# --- without a token, from CI ---


@pytest.fixture
def job(hub, monkeypatch, tmp_path):
    """Return a function that makes this process a CI job with these variables and no login."""

    def be(**variables):
        for name in ("HF_TOKEN", "HF_OIDC_RESOURCE", "HF_OIDC_ID_TOKEN", "GITHUB_ACTIONS"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
        monkeypatch.setattr(_auth, "_OIDC_TOKEN_CACHE", None)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    yield be
    monkeypatch.setattr(_auth, "_OIDC_TOKEN_CACHE", None)


@pytest.mark.parametrize("identity", [None, "a job on GitLab"])
def test_a_trusted_job_publishes_without_a_token(hub, job, identity):
    hub.store.create("model", REPO, False, "", "")
    job(**hub.trust(REPO, job=identity))
    commit = publish(SALARY, REPO)
    assert hub.commits(REPO)[0] == commit
    assert hub.repo(REPO).tags == {f"v{script.__version__}": commit}
    assert not [request for request in hub.log if request.path in ("/api/whoami-v2", "/api/repos/create")]


def test_a_trusted_job_whose_token_was_exchanged_before(hub, job):
    hub.store.create("model", REPO, False, "", "")
    job(HF_TOKEN=hub.store.add_publisher_token(("model", REPO)))
    assert publish(SALARY, REPO) == hub.commits(REPO)[0]


def test_a_job_with_a_token_names_no_repository_for_trusted_publishing(hub, job):
    job(HF_TOKEN=hub.token, HF_OIDC_RESOURCE="", GITHUB_ACTIONS="true")
    assert publish(SALARY, REPO) == hub.commits(REPO)[0]
    job(HF_TOKEN=hub.token, HF_OIDC_RESOURCE=REPO, GITHUB_ACTIONS="true")
    assert refused().endswith("To use HF_TOKEN instead, unset HF_OIDC_RESOURCE.")


def test_a_job_without_a_token_gets_the_reason(hub, job, capsys):
    hub.store.create("model", REPO, False, "", "")
    trusted = hub.trust(REPO)
    job(HF_OIDC_RESOURCE=REPO)  # on no CI
    assert "There is no token for keyless publishing: HF_OIDC_RESOURCE is set but no OIDC id token is ava" in refused()
    job(HF_OIDC_RESOURCE=REPO, GITHUB_ACTIONS="true")
    assert "`permissions: id-token: write`" in refused()
    job(**{**trusted, "HF_OIDC_RESOURCE": "me/other"})
    token = "HF_OIDC_RESOURCE is me/other, whose token can write only to that repository"
    assert refused() == f"{token}; set it to me/published"
    job(**{**trusted, "HF_OIDC_RESOURCE": "me"})
    assert refused() == "HF_OIDC_RESOURCE is me, whose token can only read; set it to me/published"
    job(**{**trusted, "HF_OIDC_RESOURCE": "spaces/me/published"})
    assert "whose token can write only to that repository" in refused()
    job(HF_OIDC_RESOURCE=REPO, HF_OIDC_ID_TOKEN="somebody else")
    said = refused()
    assert "(400: invalid_grant; No trusted publisher matches)" in said
    assert said.endswith("that repository must exist and list this job in its settings, under Trusted Publishers.")
    assert script.main([str(SALARY), REPO]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_trusted_publisher_makes_no_repository(hub, job):
    job(HF_TOKEN=hub.store.add_publisher_token(("model", REPO)))
    assert refused().startswith("There is no me/published on the Hub yet, and a trusted publisher cannot create it")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ConnectionError("Upload failed: 402 Payment Required"), "requires a paid plan"),
        (RuntimeError("CAS client error: 403 Forbidden"), "cannot write"),
        (TimeoutError("timed out"), "cannot be reached (TimeoutError)"),
    ],
)
def test_errors_of_xet_storage_are_reported(error, says):
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


def test_an_upload_killed_four_times_leaves_the_old_or_the_new(hub, tmp_path):
    """Each time, the upload is killed after another request."""
    rng = random.Random(42)
    environment = {**os.environ, **hub.environment(tmp_path / "home")}
    expected = names(SALARY)
    publish(SALARY, REPO)
    requests = len(hub.log)
    for turn in range(4):
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
