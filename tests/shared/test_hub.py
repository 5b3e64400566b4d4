"""Models from the Hub: what arrives is what was published, and every trouble ends soon, in one sentence."""

import errno
import hashlib
import json
import math
import os
import shutil
import ssl
import subprocess
import sys
import time
import urllib.request
from dataclasses import asdict
from pathlib import Path

import httpx2
import numpy as np
import pytest
from huggingface_hub import HfApi, constants

from hub.local import Fault, Hub
from hub.local.faults import LIST, NULL, PAGE, WORDS
from shared import CheckpointError, HubError, ImageClassifier, TabularClassifier, hub_errors, load_model
from shared import hub as pull
from shared.space import load_space_model, start_downloads
from tests.conftest import DEMOS, ROOT, find_free_port, point_client_to, serve_app, sign_folder

MODEL = ROOT / "spaces/salary/model"
NAME = "me/salary"


@pytest.fixture(scope="module")
def server():
    with Hub() as hub:
        HfApi(hub.endpoint, token=hub.token).create_repo(NAME)
        HfApi(hub.endpoint, token=hub.token).upload_folder(repo_id=NAME, folder_path=MODEL)
        yield hub


@pytest.fixture
def hub(server, monkeypatch):
    """The Hub that this process's client asks, with a published model, and no fault."""
    point_client_to(monkeypatch, server.endpoint)
    server.faults.clear()
    server.log.clear()
    yield server
    server.faults.clear()


def commit(hub):
    return hub.commits(NAME)[0]


def load(cache, **options):
    return TabularClassifier(pull.download(NAME, cache=cache, **options))


def expect_failure(cache, within, name=NAME, **options):
    """The sentence of the HubError that a download ends with, in time."""
    began = time.monotonic()
    with pytest.raises(HubError) as caught:
        pull.download(name, cache=cache, **options)
    assert time.monotonic() - began < within
    sentence = str(caught.value)
    assert sentence.endswith((".", "hf auth login")) and "\n" not in sentence  # noqa: PT018 - one sentence
    return sentence


def test_what_arrives_answers_as_what_was_published(hub, tmp_path, person):
    model = load(tmp_path)
    assert model.predict(person) == TabularClassifier(MODEL).predict(person)
    assert model.folder.name == commit(hub)
    assert (model.folder / "README.md").exists()  # which the page shows
    assert not (model.folder / "LICENSE.md").exists()  # only what serving needs


def test_a_commit_in_the_cache_needs_no_request(hub, tmp_path):
    load(tmp_path, revision=commit(hub))
    hub.log.clear()
    load(tmp_path, revision=commit(hub))
    assert not hub.log


def test_a_card_that_a_spaces_build_left_out_is_fetched_once(hub, tmp_path):
    folder = load(tmp_path, revision=commit(hub)).folder
    (folder / "README.md").unlink()
    hub.log.clear()
    assert (load(tmp_path, revision=commit(hub)).folder / "README.md").read_bytes()
    assert {request.path.rsplit("/", 1)[1] for request in hub.log} == {"README.md"}
    hub.log.clear()
    load(tmp_path, revision=commit(hub))
    assert not hub.log


@pytest.mark.parametrize("kind", ["status", "hang", "corrupt"])
def test_a_model_answers_without_a_card_that_does_not_arrive(hub, tmp_path, monkeypatch, person, kind):
    monkeypatch.setattr(pull, "CARD_SECONDS", 1.0)
    hub.faults.append(Fault(kind, match="README.md"))
    model = load(tmp_path)
    assert model.predict(person) == TabularClassifier(MODEL).predict(person)
    assert (model.folder / "README.md").exists() is (kind == "corrupt")


@pytest.mark.parametrize("revision", [None, "main"])
def test_a_branch_is_asked_for_and_its_files_are_not_downloaded_again(hub, tmp_path, revision):
    load(tmp_path, revision=revision)
    hub.log.clear()
    load(tmp_path, revision=revision)
    assert hub.log
    assert {request.method for request in hub.log} == {"HEAD"}


def test_the_token_goes_to_the_hub_and_not_to_where_its_files_are_stored(hub, tmp_path):
    load(tmp_path, token=hub.token)
    seen = {request.server: "authorization" in request.headers for request in hub.log}
    assert seen == {"hub": True, "cdn": False}


def test_from_pretrained_takes_a_name_as_well_as_a_folder(hub, tmp_path, monkeypatch, person):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert load_model(NAME, revision=commit(hub)).folder.is_relative_to(tmp_path)
    assert load_model(str(MODEL)).folder == MODEL
    with pytest.raises(HubError, match="me/nothing does not exist on the Hub"):
        load_model("me/nothing")
    with pytest.raises(CheckpointError, match="no checkpoint folder 'spaces/nothing/model'"):
        load_model("spaces/nothing/model")


def test_a_model_of_another_kind_says_so(hub, tmp_path):
    folder = pull.download(NAME, cache=tmp_path)
    with pytest.raises(CheckpointError, match="a model for 'tabular-classification', not for 'image-"):
        ImageClassifier(folder)


def test_a_branch_that_moves_during_a_download_gives_no_mixture(hub, tmp_path):
    """The other files and the card are those of the commit whose gallery.json has arrived."""
    load(tmp_path)
    asked = [request.path for request in hub.log if "/resolve/" in request.path]
    others = [path for path in asked if not path.endswith("/gallery.json")]
    assert {path.rsplit("/", 1)[1] for path in others} >= {"README.md", "model.onnx", "background.csv"}
    assert not [path for path in others if f"/resolve/{commit(hub)}/" not in path]


def test_a_given_revision_counts_more_than_that_of_the_address(hub, tmp_path):
    assert "has no revision 'v9'" in expect_failure(tmp_path, 3, f"{hub.endpoint}/{NAME}/tree/main", revision="v9")


# --- trouble: the Hub refuses ---


def test_missing_repository_revision_and_file(hub, tmp_path):
    assert "me/nothing does not exist on the Hub, or is private" in expect_failure(tmp_path, 3, "me/nothing")
    assert "has no revision 'v9'" in expect_failure(tmp_path, 3, revision="v9")
    assert "has no revision" in expect_failure(tmp_path, 3, revision="0" * 40)
    HfApi(hub.endpoint, token=hub.token).create_repo("me/empty", exist_ok=True)
    assert "not a model of this gallery" in expect_failure(tmp_path, 3, "me/empty")
    assert "neither a folder nor the name" in expect_failure(tmp_path, 1, "salary at me")


def test_private_gated_and_wrong_token(hub, tmp_path):
    repository = hub.repo(NAME)
    repository.private = True
    try:
        assert "or is private" in expect_failure(tmp_path, 3)
        assert load(tmp_path / "allowed", token=hub.read_token).folder.is_dir()
    finally:
        repository.private = False
    repository.gated = "manual"
    other = hub.add_user("other")
    try:
        assert "is gated" in expect_failure(tmp_path, 3, token=other)
    finally:
        repository.gated = False
    assert "does not accept the given token" in expect_failure(tmp_path, 3, token="hf_wrong")


def test_a_private_model_arrives_with_its_card_and_is_not_served_to_others_from_the_cache(hub, tmp_path):
    load(tmp_path / "public")
    hub.repo(NAME).private = True
    try:
        assert (load(tmp_path / "allowed", token=hub.read_token).folder / "README.md").exists()
        assert "or is private" in expect_failure(tmp_path / "public", 3)
    finally:
        hub.repo(NAME).private = False


def test_a_hub_in_trouble_does_not_turn_one_branch_into_another(hub, tmp_path):
    load(tmp_path)
    hub.faults.append(Fault("status"))
    assert "internal error" in expect_failure(tmp_path, 5, revision="v9")


@pytest.mark.parametrize(
    ("status", "headers", "says"),
    [(503, {}, "internal error (503)"), (500, {}, "internal error"), (429, {"Retry-After": "2"}, "too many requests")],
)
def test_a_hub_in_trouble(hub, tmp_path, status, headers, says):
    hub.faults.append(Fault("status", status=status, headers=headers))
    assert says in expect_failure(tmp_path, 5)
    hub.faults.clear()
    load(tmp_path)
    hub.faults.append(Fault("status", status=status, headers=headers))
    assert load(tmp_path).folder.name == commit(hub)  # what the cache has must do


# --- trouble: the Hub cannot be reached ---


def test_refused_connection(hub, tmp_path, monkeypatch):
    load(tmp_path / "warm")
    point_client_to(monkeypatch, f"http://127.0.0.1:{find_free_port()}")
    assert "cannot be reached" in expect_failure(tmp_path / "cold", 3)
    assert load(tmp_path / "warm").folder.name == commit(hub)


@pytest.mark.parametrize("kind", ["hang", "delay"])
def test_a_hub_that_does_not_answer_is_reported(hub, tmp_path, kind):
    load(tmp_path / "warm")
    hub.faults.append(Fault(kind))
    assert "cannot be reached (ReadTimeout)" in expect_failure(tmp_path / "cold", 4)
    began = time.monotonic()
    assert load(tmp_path / "warm").folder.name == commit(hub)
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("kind", ["hang", "truncate"])
def test_a_download_that_does_not_end(hub, tmp_path, kind):
    hub.faults.append(Fault(kind, server="cdn", after=1000))
    assert "did not arrive" in expect_failure(tmp_path, 4, deadline=2)
    hub.faults.clear()
    assert load(tmp_path).folder.name == commit(hub)


@pytest.fixture
def update(hub, tmp_path):
    """Publishes a new version, with other weights, each time it is called; the first version comes back at the end."""
    api = HfApi(hub.endpoint, token=hub.token)
    weights = next((MODEL / "onnx").glob("*.onnx")).relative_to(MODEL).as_posix()
    new = shutil.copytree(MODEL, tmp_path / "new")

    def publish():
        (new / weights).write_bytes((new / weights).read_bytes() + b"\x5a\x00")  # an unknown field, without content
        sign_folder(new)
        before = commit(hub)
        api.upload_folder(repo_id=NAME, folder_path=new)
        assert commit(hub) != before

    yield publish
    hub.faults.clear()
    api.upload_folder(repo_id=NAME, folder_path=MODEL)


@pytest.mark.parametrize(
    ("fault", "options", "why"),
    [
        (Fault("hang", server="cdn"), {"deadline": 2}, "did not arrive from the Hub in time"),
        (Fault("status", server="cdn", status=503), {}, "internal error (503: "),
        (Fault("status", server="cdn", status=404), {}, "cannot find what was requested (404: "),
        (Fault("corrupt", match="GET", server="cdn"), {}, "was damaged in the download"),
    ],
    ids=["hang", "503", "404", "corrupt"],
)
def test_an_update_that_does_not_arrive_leaves_the_version_before_it_in_use(
    hub, tmp_path, update, fault, options, why, caplog
):
    before = load(tmp_path).folder.name
    update()
    hub.faults.append(fault)
    assert load(tmp_path, **options).folder.name == before
    [said] = [record.getMessage() for record in caplog.records if record.name == "shared.hub"]
    assert why in said
    assert said.endswith(f"Using commit {before[:7]} of me/salary in the cache.")
    hub.faults[:] = [Fault("status", server="hub")]
    assert load(tmp_path).folder.name == before
    hub.faults.clear()
    assert load(tmp_path).folder.name == commit(hub)
    assert pull.find_cached(NAME, "main", tmp_path).name == commit(hub)


def test_a_branch_that_moves_during_an_update_ends_at_the_version_that_has_arrived(hub, tmp_path, update, monkeypatch):
    load(tmp_path)
    update()
    second, fetch_intact = commit(hub), pull.fetch_intact

    def fetch_and_move(name, *args, **where):
        path = fetch_intact(name, *args, **where)
        if name == "onnx/model.onnx":
            update()
        return path

    monkeypatch.setattr(pull, "fetch_intact", fetch_and_move)
    assert load(tmp_path).folder.name == second != commit(hub)
    assert pull.find_cached(NAME, "main", tmp_path).name == second
    hub.faults.append(Fault("status"))
    assert load(tmp_path).folder.name == second


def test_a_huge_description_is_not_downloaded(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(pull, "LARGEST_CONFIG", 1000)
    assert "gallery.json of me/salary is larger than" in expect_failure(tmp_path, 3)
    assert not any("gallery.json" in request.path for request in hub.log if request.method == "GET")


@pytest.mark.parametrize("deadline", [math.inf, 1e12])
def test_a_deadline_may_be_far_away(hub, tmp_path, deadline):
    assert load(tmp_path, deadline=deadline).folder.name == commit(hub)


def test_an_interrupted_download_is_tried_again(hub, tmp_path):
    hub.faults.append(Fault("truncate", server="cdn", after=100_000, times=2))
    assert load(tmp_path).folder.name == commit(hub)
    assert [request.server for request in hub.log].count("cdn") == 3


@pytest.mark.parametrize("offline", [True, False])
def test_offline(hub, tmp_path, monkeypatch, offline):
    load(tmp_path / "warm")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    hub.log.clear()
    if not offline:
        load(tmp_path / "cold")
        assert hub.log
        return
    assert "HF_HUB_OFFLINE does not allow" in expect_failure(tmp_path / "cold", 1)
    assert load(tmp_path / "warm").folder.name == load(tmp_path / "warm", revision=commit(hub)).folder.name
    assert not hub.log


# --- trouble: bytes ---


@pytest.mark.parametrize(
    ("match", "where"), [("GET", "cdn"), ("GET .*/gallery.json", "hub"), ("GET .*/background.csv", "hub")]
)
def test_a_flipped_byte_is_detected_and_the_file_fetched_again(hub, tmp_path, match, where):
    hub.faults.append(Fault("corrupt", match=match, server=where, times=1))
    load(tmp_path)
    assert hub.faults[0].times == 0
    hub.faults[0].times = None
    assert "was damaged in the download" in expect_failure(tmp_path / "again", 10)


@pytest.mark.parametrize("name", ["onnx/model.onnx", "gallery.json", "background.csv"])
def test_a_cache_damaged_on_disk_is_mended(hub, tmp_path, name):
    path = load(tmp_path, revision=commit(hub)).folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.resolve().write_bytes(content)
    assert pull.find_cached(NAME, commit(hub), tmp_path) is None
    load(tmp_path, revision=commit(hub))
    assert pull.find_cached(NAME, commit(hub), tmp_path)
    path.resolve().write_bytes(content)
    hub.faults.append(Fault("status"))
    assert "internal error" in expect_failure(tmp_path, 5, revision=commit(hub))  # rather nothing than the damaged file


def test_a_large_file_of_the_cache_is_compared_with_the_hash_in_its_name(tmp_path):
    blob = tmp_path / hashlib.sha256(b"{}").hexdigest()
    blob.write_bytes(b"{}")
    assert pull.is_intact(blob)
    blob.write_bytes(b"[]")
    assert not pull.is_intact(blob)


def test_a_cached_description_with_another_number_is_damaged(hub, tmp_path):
    path = load(tmp_path, revision=commit(hub)).folder / "gallery.json"
    content = path.read_bytes()
    assert b'"temperature": 1' in content
    path.resolve().write_bytes(content.replace(b'"temperature": 1', b'"temperature": 3'))
    assert pull.find_cached(NAME, commit(hub), tmp_path) is None


def test_a_file_missing_in_the_cache_is_fetched(hub, tmp_path):
    (load(tmp_path, revision=commit(hub)).folder / "metrics.json").unlink()
    load(tmp_path, revision=commit(hub))


def test_a_listed_file_outside_the_repository_is_refused(hub, tmp_path):
    text = (MODEL / "gallery.json").read_text().replace('"metrics.json"', '"../metrics.json"')
    api = HfApi(hub.endpoint, token=hub.token)
    api.create_repo("me/hostile", exist_ok=True)
    api.upload_file(repo_id="me/hostile", path_in_repo="gallery.json", path_or_fileobj=text.encode())
    with pytest.raises(CheckpointError, match="lies outside the folder"):
        pull.download("me/hostile", cache=tmp_path)


def test_the_cause_is_looked_for_in_the_whole_chain():
    error = ValueError("Force download failed")
    error.__cause__ = httpx2.ConnectError("refused")
    assert "cannot be reached (ConnectError)" in hub_errors.explain_error(error, NAME)
    error.__cause__.__cause__ = PermissionError(errno.EACCES, "Permission denied")
    assert "is not writable; set HF_HOME" in hub_errors.explain_error(error, NAME)


@pytest.mark.parametrize(
    ("match", "fault", "says"),
    [
        (
            "HEAD",
            {"status": 404},
            "cannot find what was requested (404): HEAD /me/salary/resolve/main/gallery.json.",
        ),
        (
            "HEAD",
            {"status": 400, "headers": {"X-Error-Message": "Odd."}},
            "refused the request for me/salary (400: Odd).",
        ),
        ("HEAD", {"status": 451}, "refused the request for me/salary (451)."),
        ("HEAD", {"status": 402}, "requires a paid plan for this request to me/salary (402)."),
        ("HEAD", {"status": 403, "headers": {"X-Error-Message": "Blocked"}}, "cannot read me/salary (403: Blocked)."),
        ("HEAD", {"status": 501}, "does not support this request (501): HEAD /me/salary/"),
        ("HEAD", {"status": 502}, "an internal error (502); try again later."),
        ("HEAD", {"status": 200, "body": PAGE}, "that the client cannot read (FileMetadataError"),
        ("GET", {"status": 404, "body": '{"error": "No such blob"}'}, "requested (404: No such blob): GET /me/salary/"),
        ("GET", {"status": 404, "body": LIST}, "requested (404: not here): GET /me/salary/"),
        ("GET", {"status": 410, "body": NULL}, "refused the request for me/salary (410)."),
        ("GET", {"status": 409, "body": WORDS}, "reports a conflict with another change to me/salary (409: "),
    ],
)
def test_a_server_that_answers_as_it_likes(hub, tmp_path, match, fault, says):
    hub.faults.append(Fault("status", match=match, **{"server": "hub", **fault}))
    assert says in expect_failure(tmp_path, 4)


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        ("403: Private repository storage limit reached, please upgrade your plan", "The Hub refuses to write to a/b"),
        ("403: you have exceeded your quota", "The Hub refuses to write to a/b"),
        ("403: Forbidden: the token lacks repo.write", "The token cannot write to a/b"),
        ("403: This token has limited scope, the plan of its owner", "The token cannot write to a/b"),
        ("403", "The token cannot write to a/b"),
    ],
)
def test_a_token_is_only_blamed_for_a_refusal_that_is_not_about_storage(monkeypatch, reason, says):
    monkeypatch.setattr(constants, "ENDPOINT", constants._HF_DEFAULT_ENDPOINT)
    assert hub_errors._explain_forbidden("a/b", reason, True, None).startswith(f"{says} ({reason})")


@pytest.mark.parametrize(
    ("given", "in_environment", "says"),
    [
        (None, "", "use one that can: hf auth login"),
        (None, "hf_x", "set HF_TOKEN to one that can, or unset it."),
        ("hf_y", "hf_x", "give one that can."),
    ],
)
def test_advice_about_a_token_is_about_the_one_that_was_used(monkeypatch, given, in_environment, says):
    monkeypatch.setenv("HF_TOKEN", in_environment)
    assert hub_errors._explain_forbidden("a/b", "403", True, given) == f"The token cannot write to a/b (403); {says}"


def test_a_spent_quota_is_a_full_disk():
    assert "no space for me/salary" in hub_errors.explain_error(OSError(errno.EDQUOT, "Quota exceeded"), NAME)


def test_a_long_path_with_a_token_is_shortened():
    request = httpx2.Request("GET", f"http://hub/{'x' * 500}/hf_{'aB3' * 12}")
    error = httpx2.HTTPStatusError("no", request=request, response=httpx2.Response(404, request=request))
    sentence = hub_errors.explain_error(error, NAME)
    assert "aB3" not in sentence
    assert len(sentence) < 400


def test_a_servers_words_are_made_one_short_line():
    assert hub_errors.make_one_line("Bad\n\tcard\x1b[31m: 'license'.  ") == "Bad card [31m: 'license'"
    assert len(hub_errors.make_one_line("x" * 5000)) == 300


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RuntimeError("CAS client error: 403 Forbidden"), "cannot read"),
        (RuntimeError("Unknown"), "client failed (RuntimeError: Unknown); check the network"),
        (ValueError("Force download failed"), "client failed (ValueError: Force download failed)"),
        (TimeoutError("timed out"), "cannot be reached (TimeoutError)"),
        (httpx2.InvalidURL("no address"), "client failed (InvalidURL: no address)"),
        (httpx2.RemoteProtocolError("cut"), "cannot be reached (RemoteProtocolError)"),
        (ssl.SSLCertVerificationError(1, "self-signed"), "cannot be reached (SSLCertVerificationError)"),
        (FileNotFoundError(errno.ENOENT, "No such file", "C:/long"), "set HF_HOME to a folder with a short path"),
        (TypeError("'NoneType' object is not iterable"), "the client cannot read (TypeError: 'NoneType' object is"),
        (KeyError("commitOid"), "the client cannot read (KeyError: 'commitOid')"),
    ],
)
def test_whatever_the_client_raises_is_a_message(hub, tmp_path, monkeypatch, error, says):
    def fail(**_):
        raise error

    monkeypatch.setattr(pull, "hf_hub_download", fail)
    assert says in expect_failure(tmp_path, 3)


# --- trouble: this machine ---


def test_a_full_disk(hub, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    assert "no space for me/salary in the cache" in expect_failure(tmp_path, 3)


def test_a_cache_that_cannot_be_written(hub, tmp_path):
    (tmp_path / "file").write_text("no folder")
    assert "is not writable; set HF_HOME" in expect_failure(tmp_path / "file", 3)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_read_only_cache_serves_what_it_has(hub, tmp_path):
    folder = load(tmp_path, revision=commit(hub)).folder
    tmp_path.chmod(0o500)
    try:
        assert load(tmp_path, revision=commit(hub)).folder == folder
        assert "is not writable" in expect_failure(tmp_path / "new", 3)
    finally:
        tmp_path.chmod(0o700)


# --- Spaces ---


@pytest.fixture
def space(hub, monkeypatch, tmp_path):
    """Loads the salary Space's model as its app does, with MODEL_REPO set; returns the model and the seconds taken."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    start_downloads.cache_clear()

    def start(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        began = time.monotonic()
        return load_space_model(MODEL), time.monotonic() - began

    yield start
    start_downloads.cache_clear()


def test_a_space_serves_the_embedded_model_by_default(space):
    model, _ = space()
    assert (model.folder, model.origin) == (MODEL, "")


def test_a_space_pulls_the_model_it_is_told_to(hub, space, tmp_path):
    model, _ = space(MODEL_REPO=NAME, MODEL_REVISION=commit(hub))
    assert model.folder.is_relative_to(tmp_path / "cache")
    assert model.origin == f"This page runs me/salary from the Hub, commit {commit(hub)[:7]}."


def test_in_the_gallery_each_model_has_a_variable_of_its_own(hub, space):
    model, _ = space(MODEL_REPO_CAT_DOG="me/cat_dog", MODEL_REPO_SALARY=NAME)
    assert "me/salary from the Hub" in model.origin


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault("hang"), "cannot be reached"),
        (Fault("delay"), "cannot be reached"),
        (Fault("hang", server="cdn"), "did not arrive from the Hub within 4 s"),
        (Fault("status"), "internal error (503)"),
        (Fault("status", status=429), "too many requests"),
        (Fault("status", status=401, headers={"X-Error-Code": "RepoNotFound"}), "is private"),
        (Fault("truncate", server="cdn", after=1000), "did not arrive"),
        (Fault("corrupt", match="GET", server="cdn"), "was damaged in the download"),
        (Fault("corrupt", match="GET .*json"), "was damaged in the download"),
    ],
    ids=lambda value: value.kind + (value.server or "") if isinstance(value, Fault) else "",
)
def test_a_space_is_up_within_five_seconds_whatever_the_hub_does(hub, space, fault, says):
    hub.faults.append(fault)
    model, seconds = space(MODEL_REPO=NAME)
    assert seconds < 5
    assert model.folder == MODEL
    assert model.origin.startswith("This page runs its built-in model. ")
    assert says in model.origin


def test_a_hub_that_dies_is_not_missed_and_is_asked_again_at_the_next_start(hub, space, person):
    hub.faults.append(Fault("status"))
    assert "built-in model" in space(MODEL_REPO=NAME)[0].origin
    hub.faults.clear()
    start_downloads.cache_clear()
    model, _ = space()
    assert "me/salary from the Hub" in model.origin
    hub.faults.append(Fault("status"))
    hub.log.clear()
    assert model.predict(person) == TabularClassifier(MODEL).predict(person)
    assert not hub.log
    start_downloads.cache_clear()
    assert "me/salary from the Hub" in space()[0].origin  # from the cache


def test_a_space_serves_the_version_in_its_cache_if_an_update_is_slow(hub, space, update):
    before = space(MODEL_REPO=NAME)[0].folder
    start_downloads.cache_clear()
    update()
    hub.faults.append(Fault("hang", server="cdn"))
    model, seconds = space()
    assert seconds < 5
    assert (model.folder, model.origin) == (
        before,
        f"This page runs me/salary from the Hub, commit {before.name[:7]}.",
    )


def test_a_space_does_not_serve_a_model_of_another_kind(hub, space):
    start_downloads.cache_clear()
    folder = ROOT / "spaces/rating/model"
    api = HfApi(hub.endpoint, token=hub.token)
    api.create_repo("me/rating", exist_ok=True)
    api.upload_folder(repo_id="me/rating", folder_path=folder)
    model, _ = space(MODEL_REPO="me/rating")
    assert model.folder == MODEL
    assert "me/rating is not a model that this page can use" in model.origin


@pytest.mark.parametrize(
    ("name", "content"), [("onnx/model.onnx", b"nonsense"), ("metrics.json", b"{}"), ("background.csv", b"age\n1\n")]
)
def test_a_space_does_not_serve_nonsense_although_it_arrives_whole(hub, space, tmp_path, name, content):
    folder = shutil.copytree(MODEL, tmp_path / "nonsense")
    (folder / name).write_bytes(content)
    contract = json.loads((folder / "gallery.json").read_text())
    contract["files"][name] |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "gallery.json").write_text(json.dumps(contract))
    api = HfApi(hub.endpoint, token=hub.token)
    api.create_repo("me/nonsense", exist_ok=True)
    api.upload_folder(repo_id="me/nonsense", folder_path=folder)
    model, _ = space(MODEL_REPO="me/nonsense")
    assert model.folder == MODEL
    assert model.origin.endswith("me/nonsense is not a model that this page can use; the log says why.")


def test_the_page_says_which_model_it_runs(hub, tmp_path):
    variables = hub.environment(tmp_path / "home") | {"HF_HUB_DISABLE_TELEMETRY": ""}  # as on the real Hub
    began = time.monotonic()
    with serve_app("salary", tmp_path, variables):
        usual = time.monotonic() - began
    hub.faults.append(Fault("hang"))
    variables["MODEL_REPO"] = NAME
    began = time.monotonic()
    with serve_app("salary", tmp_path, variables) as url:
        assert time.monotonic() - began < 1.5 * usual + 5
        with urllib.request.urlopen(url, timeout=60) as answer:
            assert "This page runs its built-in model" in answer.read().decode()
    assert "serving the model in its folder" in (tmp_path / "log").read_text()


def test_a_process_ends_although_a_download_hangs(hub, tmp_path):
    hub.faults.append(Fault("hang", server="cdn"))
    code = (
        f"from shared import hub\ntry:\n    hub.download({NAME!r}, deadline=1)\n"
        "except hub.HubError as error:\n    print(error)"
    )
    environment = {**os.environ, **hub.environment(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert "did not arrive" in done.stdout


@pytest.mark.parametrize("name", [name for name in DEMOS if (ROOT / "spaces" / name / "model").is_dir()])
def test_the_command_line_of_the_hub_downloads_what_from_pretrained_loads(hub, tmp_path, name):
    embedded = ROOT / "spaces" / name / "model"
    api = HfApi(hub.endpoint, token=hub.token)
    api.create_repo(f"me/{name}", exist_ok=True)
    api.upload_folder(repo_id=f"me/{name}", folder_path=embedded)
    command = shutil.which("hf", path=str(Path(sys.executable).parent))
    environment = {**os.environ, **hub.environment(tmp_path / "home")}
    target = tmp_path / "model"
    subprocess.run([command, "download", f"me/{name}", "--local-dir", target], env=environment, check=True)
    here, there = load_model(embedded), load_model(str(target))
    probe = here.example()
    np.testing.assert_equal(*(asdict(model.predict_batch([probe])[0]) for model in (here, there)))


@pytest.mark.parametrize(
    ("content", "charset", "said"),
    [
        (b"[" * 100_000, "utf-8", "400: [[["),
        (b"no\x1b[31m\nroom\xff", "utf-8", "400: no [31m room\ufffd"),
        (b"no room", "rot13", "400: no room"),
        (b"no room", "hex", "400: no room"),
        (b'{"errors": [{"message": {}}, null, "no room"]}', "utf-8", "400: no room"),
    ],
)
def test_whatever_a_server_says_is_one_bounded_line(content, charset, said):
    request = httpx2.Request("GET", "http://hub")
    response = httpx2.Response(
        400, content=content, headers={"content-type": f"text/plain; charset={charset}"}, request=request
    )
    sentence = hub_errors.explain_error(httpx2.HTTPStatusError("refused", request=request, response=response), NAME)
    assert said in sentence
    assert sentence.isprintable()
    assert len(sentence) < 400
