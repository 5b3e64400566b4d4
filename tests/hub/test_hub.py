"""The Hub that the other tests rely on, used by the real client and the real command."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    constants,
    get_hf_file_metadata,
    get_token,
)
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import _auth

from hub.local import Fault, Hub
from tests.conftest import ROOT

CARD = b"---\nlicense: mit\n---\nCats."
WEIGHTS = bytes(range(256)) * 2_000  # 512 kB
HF = Path(sys.executable).with_name("hf.exe" if os.name == "nt" else "hf")


@pytest.fixture(autouse=True)
def settings(monkeypatch):
    """What hub.environment() sets for another process, for this one."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)


@pytest.fixture
def hub():
    with Hub() as hub:
        yield hub


@pytest.fixture
def api(hub):
    return HfApi(endpoint=hub.endpoint, token=hub.token)


@pytest.fixture
def cats(hub, api, tmp_path):
    """The folder of a model that has been uploaded to me/cats."""
    folder = tmp_path / "cats"
    (folder / "deep/er").mkdir(parents=True)
    (folder / "README.md").write_bytes(CARD)
    (folder / "model.onnx").write_bytes(WEIGHTS)
    (folder / "deep/er/labels.json").write_text('["cat", "neither"]')
    api.create_repo("me/cats")
    api.upload_folder(repo_id="me/cats", folder_path=folder)
    hub.log.clear()
    return folder


def status(error):
    return error.value.response.status_code


def as_user(hub, token):
    return HfApi(endpoint=hub.endpoint, token=token)


def commit(api, operations, repo="me/cats", **options):
    return api.create_commit(repo, operations, commit_message="a change", **options)


# --- there and back ---


def test_a_folder_comes_back_as_it_was(hub, api, cats, tmp_path):
    back = Path(api.snapshot_download("me/cats", cache_dir=tmp_path / "cache"))
    for path in ("README.md", "model.onnx", "deep/er/labels.json"):
        assert (back / path).read_bytes() == (cats / path).read_bytes() == hub.files("me/cats")[path]
    assert {path.name for path in back.iterdir()} == {"README.md", "model.onnx", "deep", ".gitattributes"}


def test_the_client_gets_the_metadata(hub, api, cats):
    info = api.model_info("me/cats", files_metadata=True)
    assert info.sha == hub.commits("me/cats")[0]
    assert (info.private, info.gated, info.author, info.card_data.license) == (False, False, "me", "mit")
    sizes = {sibling.rfilename: (sibling.size, sibling.lfs is not None) for sibling in info.siblings}
    assert sizes["model.onnx"] == (len(WEIGHTS), True)
    assert sizes["README.md"] == (len(CARD), False)
    assert {entry.path for entry in api.list_repo_tree("me/cats", "deep", recursive=True)} == {
        "deep/er",
        "deep/er/labels.json",
    }
    paths = api.get_paths_info("me/cats", ["deep", "model.onnx", "nothing"])
    assert [entry.path for entry in paths] == ["deep", "model.onnx"]
    assert not api.file_exists("me/cats", "dogs.onnx")
    assert not api.repo_exists("me/dogs")
    with pytest.raises(RemoteEntryNotFoundError):
        list(api.list_repo_tree("me/cats", "shallow"))


def test_a_second_upload_of_the_same_is_no_commit(hub, api, cats):
    before = hub.commits("me/cats")
    api.upload_folder(repo_id="me/cats", folder_path=cats)
    assert hub.commits("me/cats") == before
    assert not [request for request in hub.log if "/commit/" in request.path]


def test_the_command_line(hub, tmp_path):
    (tmp_path / "dogs").mkdir()
    (tmp_path / "dogs/README.md").write_bytes(CARD)
    (tmp_path / "dogs/model.safetensors").write_bytes(WEIGHTS)

    def hf(*words):
        environment = {**os.environ, **hub.environment(tmp_path / "home"), "NO_COLOR": "1"}
        done = subprocess.run([HF, *words], env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "me" in hf("auth", "whoami")
    hf("repos", "create", "me/dogs", "--exist-ok")
    uploaded = hf("upload", "me/dogs", str(tmp_path / "dogs"), ".")
    assert hub.commits("me/dogs")[0] in uploaded
    assert hub.commits("me/dogs")[0] in hf("models", "info", "me/dogs")
    hf("download", "me/dogs", "--local-dir", str(tmp_path / "back"))
    assert (tmp_path / "back/model.safetensors").read_bytes() == WEIGHTS


def test_cli_without_a_token_is_anonymous(hub, tmp_path):
    environment = {**os.environ, **hub.environment(tmp_path, token=None)}
    done = subprocess.run([HF, "auth", "whoami"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1


# --- history ---


def test_every_revision_is_kept(hub, api, cats, tmp_path):
    old = hub.commits("me/cats")[0]
    api.create_tag("me/cats", tag="v1")
    api.create_branch("me/cats", branch="odd/name")
    new = commit(api, [CommitOperationAdd("model.onnx", WEIGHTS[::-1])]).oid
    assert hub.commits("me/cats")[:2] == [new, old]
    assert [item.commit_id for item in api.list_repo_commits("me/cats")] == hub.commits("me/cats")
    assert hub.repo("me/cats").tags == {"v1": old}
    refs = api.list_repo_refs("me/cats")
    assert {ref.name: ref.target_commit for ref in refs.branches} == {"main": new, "odd/name": old}
    assert hub.files("me/cats")["model.onnx"] == WEIGHTS[::-1]
    for revision in (old, "v1", "odd/name"):
        path = api.hf_hub_download("me/cats", "model.onnx", revision=revision, cache_dir=tmp_path / "cache")
        assert Path(path).read_bytes() == WEIGHTS
    with pytest.raises(RevisionNotFoundError):
        api.hf_hub_download("me/cats", "model.onnx", revision="v2", cache_dir=tmp_path / "cache")


def test_tags_and_branches_are_made_once_and_go(hub, api, cats):
    for make, remove, names in (
        (api.create_tag, api.delete_tag, {"tag": "v1"}),
        (api.create_branch, api.delete_branch, {"branch": "b"}),
    ):
        make("me/cats", **names)
        make("me/cats", **names, exist_ok=True)
        with pytest.raises(HfHubHTTPError) as error:
            make("me/cats", **names)
        assert status(error) == 409
        remove("me/cats", **names)
        with pytest.raises(RevisionNotFoundError):
            remove("me/cats", **names)
    assert (hub.repo("me/cats").tags, list(hub.repo("me/cats").branches)) == ({}, ["main"])


def test_a_commit_is_atomic(hub, api, cats):
    before = hub.commits("me/cats")
    operations = [CommitOperationAdd("new.txt", b"new"), CommitOperationDelete("gone.txt")]
    with pytest.raises(RemoteEntryNotFoundError):
        commit(api, operations)
    assert hub.commits("me/cats") == before
    commit(api, [CommitOperationDelete("deep/"), CommitOperationDelete("model.onnx")])
    assert set(hub.files("me/cats")) == {".gitattributes", "README.md"}
    assert "deep/er/labels.json" in hub.files("me/cats", before[0])


def test_a_stale_parent_is_refused(hub, api, cats):
    stale = hub.commits("me/cats")[0]
    commit(api, [CommitOperationAdd("a.txt", b"a")], parent_commit=stale)
    with pytest.raises(HfHubHTTPError) as error:
        commit(api, [CommitOperationAdd("b.txt", b"b")], parent_commit=stale)
    assert status(error) == 412
    assert "b.txt" not in hub.files("me/cats")


def test_listings_come_in_pages(tmp_path):
    with Hub(page_size=2) as hub:
        api = as_user(hub, hub.token)
        api.create_repo("me/cats")
        commit(api, [CommitOperationAdd(f"{number}.txt", b"") for number in range(5)])
        assert len(list(api.list_repo_tree("me/cats", recursive=True))) == 6
        pages = [request for request in hub.log if "/tree/" in request.path]
        assert len(pages) == 3


# --- rights ---


def test_a_token_can_be_too_weak_or_wrong(hub, api, cats, tmp_path):
    reader = as_user(hub, hub.read_token)
    assert reader.whoami()["auth"]["accessToken"]["role"] == "read"
    assert reader.hf_hub_download("me/cats", "README.md", cache_dir=tmp_path / "cache")
    for change in (
        lambda: reader.create_repo("me/dogs"),
        lambda: reader.delete_repo("me/cats"),
        lambda: reader.create_tag("me/cats", tag="v1"),
        lambda: commit(reader, [CommitOperationAdd("a.txt", b"a")]),
        lambda: commit(as_user(hub, hub.add_user("other")), [CommitOperationAdd("a.txt", b"a")]),
        lambda: api.create_repo("other/dogs"),
    ):
        with pytest.raises(HfHubHTTPError) as error:
            change()
        assert status(error) == 403
    with pytest.raises(HfHubHTTPError) as error:
        as_user(hub, "hf_wrong").whoami()
    assert status(error) == 401
    assert not isinstance(error.value, RepositoryNotFoundError)


def test_fine_grained_tokens_and_organisations(hub, api, cats):
    hub.add_organisation("us", {"me": "contributor"})
    hub.add_organisation("them", {"me": "no_access"})
    tokens = {
        hub.token: {"me/x", "us/x"},
        hub.add_fine_grained("me"): set(),
        hub.add_fine_grained("me", ("user", "me", ["repo.content.read"])): set(),
        hub.add_fine_grained("me", ("user", "me", ["repo.write"])): {"me/x"},
        hub.add_fine_grained("me", ("org", "us", ["repo.write"]), ("org", "them", ["repo.write"])): {"us/x"},
        hub.add_fine_grained("me", ("model", "me/cats", ["repo.write"])): {"me/cats"},
    }
    for token, may in tokens.items():
        for name in ("me/x", "us/x", "them/x"):
            if name in may:
                as_user(hub, token).create_repo(name, exist_ok=True)
            else:
                with pytest.raises(HfHubHTTPError, match=r"403 Forbidden: .*(repo\.write for|namespace them)"):
                    as_user(hub, token).create_repo(name)
        if token != hub.token and "me/cats" not in may | {name.replace("x", "cats") for name in may}:
            with pytest.raises(HfHubHTTPError, match=r"repo\.write for me/cats"):
                commit(as_user(hub, token), [CommitOperationAdd("a.txt", b"a")])
    commit(as_user(hub, token), [CommitOperationAdd("a.txt", b"a")])
    account = as_user(hub, token).whoami()
    assert account["auth"]["accessToken"]["fineGrained"]["scoped"][0]["entity"]["name"] == "me/cats"
    assert {group["name"]: group["roleInOrg"] for group in account["orgs"]} == {
        "us": "contributor",
        "them": "no_access",
    }


def test_a_trusted_job_gets_a_token_for_one_repository(hub, api, cats, monkeypatch):
    api.create_repo("me/dogs")
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    monkeypatch.setattr(_auth, "_OIDC_TOKEN_CACHE", None)
    for name, value in hub.trust("me/cats").items():
        monkeypatch.setenv(name, value)
    token = get_token()
    assert token.startswith("hf_jwt_")
    job = as_user(hub, token)
    assert job.create_repo("me/cats", exist_ok=True).repo_id == "me/cats"
    commit(job, [CommitOperationAdd("a.txt", b"a")])
    assert hub.files("me/cats")["a.txt"] == b"a"
    for change, expected in (
        (job.whoami, 401),
        (lambda: job.create_repo("me/birds"), 401),
        (lambda: commit(job, [CommitOperationAdd("a.txt", b"a")], repo="me/dogs"), 403),
    ):
        with pytest.raises(HfHubHTTPError) as error:
            change()
        assert status(error) == expected
    monkeypatch.setattr(_auth, "_OIDC_TOKEN_CACHE", None)
    monkeypatch.setenv("HF_OIDC_RESOURCE", "me/dogs")
    with pytest.raises(HfHubHTTPError, match="invalid_grant"):
        get_token()


def test_private_repositories_are_hidden_from_others(hub, api, cats, tmp_path):
    api.update_repo_settings("me/cats", private=True)
    assert hub.repo("me/cats").private
    for token, expected in ((False, 401), (hub.add_user("other"), 404)):
        with pytest.raises(RepositoryNotFoundError) as error:
            as_user(hub, token).model_info("me/cats")
        assert status(error) == expected
    assert api.model_info("me/cats").private
    assert api.hf_hub_download("me/cats", "model.onnx", cache_dir=tmp_path / "cache")


def test_gated_repositories_show_their_names_only(hub, api, cats, tmp_path):
    hub.repo("me/cats").gated = "manual"
    for token, expected in ((False, 401), (hub.add_user("other"), 403)):
        other = as_user(hub, token)
        assert other.model_info("me/cats").gated == "manual"
        with pytest.raises(GatedRepoError) as error:
            other.get_hf_file_metadata(url=f"{hub.endpoint}/me/cats/resolve/main/README.md")
        assert status(error) == expected
    assert api.hf_hub_download("me/cats", "README.md", cache_dir=tmp_path / "cache")


def test_a_repository_is_made_once_and_goes(hub, api):
    assert api.create_repo("cats", private=True).repo_id == "me/cats"
    assert api.create_repo("me/cats", exist_ok=True).repo_id == "me/cats"
    with pytest.raises(HfHubHTTPError) as error:
        api.create_repo("me/cats")
    assert status(error) == 409
    api.create_repo("me/cats", repo_type="dataset")
    api.delete_repo("me/cats")
    with pytest.raises(KeyError):
        hub.repo("me/cats")
    with pytest.raises(RepositoryNotFoundError):
        api.delete_repo("me/cats")
    assert set(hub.files("me/cats", kind="dataset")) == {".gitattributes"}


# --- large files ---


def test_large_files_go_by_lfs_and_anonymously(hub, api, cats, tmp_path):
    large = b"word " * 2_000_001
    commit(api, [CommitOperationAdd("large.txt", large), CommitOperationAdd("small.txt", b"word")])
    entries = {entry.path: entry.lfs for entry in api.get_paths_info("me/cats", ["large.txt", "small.txt"])}
    assert entries["large.txt"].size == len(large)
    assert entries["small.txt"] is None
    path = api.hf_hub_download("me/cats", "large.txt", cache_dir=tmp_path / "cache")
    assert Path(path).read_bytes() == large
    at_cdn = [request for request in hub.log if request.server == "cdn"]
    assert [request.method for request in at_cdn] == ["PUT", "GET"]
    assert not any("authorization" in request.headers for request in at_cdn)
    assert all("authorization" in request.headers for request in hub.log if request.server == "hub")


def test_the_cdn_refuses_a_token(hub, cats):
    found = httpx2.get(f"{hub.endpoint}/me/cats/resolve/main/model.onnx")
    assert found.status_code == 302
    assert httpx2.get(found.headers["Location"]).content == WEIGHTS
    shown = httpx2.get(found.headers["Location"], headers={"Authorization": f"Bearer {hub.token}"})
    assert shown.status_code == 400


def test_a_very_large_file_goes_in_parts(tmp_path):
    with Hub(multipart_from=200_000) as hub:
        api = as_user(hub, hub.token)
        api.create_repo("me/cats")
        commit(api, [CommitOperationAdd("model.onnx", WEIGHTS)])
        assert hub.files("me/cats")["model.onnx"] == WEIGHTS
        assert sum(request.method == "PUT" for request in hub.log) == 6
        assert [request.status for request in hub.log if "complete" in request.path] == [200]


def test_only_announced_and_uploaded_files_are_accepted(hub, api, cats):
    sha256, head = "ab" * 32, hub.commits("me/cats")
    with httpx2.Client(headers={"Authorization": f"Bearer {hub.token}"}) as client:
        asked = {"operation": "upload", "objects": [{"oid": sha256, "size": 4}]}
        answer = client.post(f"{hub.endpoint}/me/cats.git/info/lfs/objects/batch", json=asked).json()
        actions = answer["objects"][0]["actions"]
        assert httpx2.put(actions["upload"]["href"], content=b"evil").status_code == 400
        assert client.post(actions["verify"]["href"], json={"oid": sha256, "size": 4}).status_code == 404
        pointer = {"path": "model.onnx", "algo": "sha256", "oid": sha256, "size": 4}
        lines = [{"key": "header", "value": {"summary": "?"}}, {"key": "lfsFile", "value": pointer}]
        body = "\n".join(map(json.dumps, lines))
        assert client.post(f"{hub.endpoint}/api/models/me/cats/commit/main", content=body).status_code == 400
    assert hub.commits("me/cats") == head


# --- cards ---


@pytest.mark.parametrize(
    ("kind", "yaml"),
    [
        ("model", "license: my-own"),
        ("model", "license: [mit"),
        ("space", "license: mit"),
        ("space", "sdk: gradio\nsdk_version: newest"),
        ("space", "sdk: gradio\npython_version: newest"),
        ("space", "sdk: gradio\ncolorFrom: mauve"),
        ("space", "sdk: gradio\nemoji: cat"),
        ("space", "sdk: static\ncustom_headers:\n  content-security-policy: none"),
        ("space", f"sdk: gradio\nshort_description: {'long ' * 13}"),
    ],
)
def test_bad_cards_are_refused(hub, api, kind, yaml):
    hub.set_paid("me", True)
    api.create_repo("me/cats", repo_type=kind, space_sdk="gradio" if kind == "space" else None)
    with pytest.raises(ValueError, match="Invalid metadata"):
        commit(api, [CommitOperationAdd("README.md", f"---\n{yaml}\n---\n".encode())], repo_type=kind)
    assert len(hub.commits("me/cats", kind=kind)) == 1


def test_a_missing_card_is_a_warning(hub, api, cats):
    with pytest.warns(UserWarning, match="missing yaml metadata"):
        commit(api, [CommitOperationAdd("README.md", b"Cats.")])


# --- what goes wrong ---


def metadata(hub, timeout=2.0):
    address = f"{hub.endpoint}/me/cats/resolve/main/README.md"
    return get_hf_file_metadata(address, token=hub.token, timeout=timeout)


def test_a_fault_happens_where_and_as_often_as_configured(hub, api, cats):
    hub.faults.append(Fault("status", match="HEAD .*/resolve/", server="hub", times=2, headers={"Retry-After": "7"}))
    for _ in range(2):
        with pytest.raises(HfHubHTTPError) as error:
            metadata(hub)
        assert status(error) == 503
        assert error.value.response.headers["Retry-After"] == "7"
    assert metadata(hub).size == len(CARD)
    hub.faults.append(Fault("status", server="cdn"))
    assert metadata(hub).size == len(CARD)
    hub.faults.append(Fault("status", status=429))
    with pytest.raises(HfHubHTTPError, match="429"):
        metadata(hub)
    hub.faults.clear()
    assert metadata(hub).size == len(CARD)
    with pytest.raises(ValueError, match="Unknown fault"):
        Fault("earthquake")


def test_delayed_and_hanging(hub, api, cats):
    hub.faults.append(Fault("delay", seconds=0.5))
    start = time.monotonic()
    assert metadata(hub).size == len(CARD)
    assert time.monotonic() - start >= 0.5
    for fault in (Fault("delay", seconds=30), Fault("hang")):
        hub.faults[:] = [fault]
        with pytest.raises(httpx2.ReadTimeout):
            metadata(hub, timeout=0.5)


def test_stopping_does_not_wait_for_hanging_requests():
    failed = []

    def ask(address):
        try:
            httpx2.get(address, timeout=30)
        except httpx2.HTTPError as error:
            failed.append(error)

    with Hub() as hub:
        hub.faults += [Fault("hang", match="one"), Fault("delay", match="two")]
        threads = [threading.Thread(target=ask, args=(f"{hub.endpoint}/{name}",)) for name in ("one", "two")]
        for thread in threads:
            thread.start()
        while len(hub.log) < 2:
            time.sleep(0.01)
        start = time.monotonic()
    for thread in threads:
        thread.join()
    assert time.monotonic() - start < 5
    assert len(failed) == 2


def test_a_cut_download_goes_on_where_it_ended(hub, api, cats, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
    hub.faults.append(Fault("truncate", match="GET", server="cdn", times=1, after=100_000))
    path = api.hf_hub_download("me/cats", "model.onnx", cache_dir=tmp_path / "cache")
    assert Path(path).read_bytes() == WEIGHTS
    ranges = [request.headers.get("range") for request in hub.log if request.server == "cdn"]
    assert ranges == [None, "bytes=100000-"]


def test_a_range_beyond_the_end_is_refused(hub, cats):
    address = f"{hub.endpoint}/me/cats/resolve/main/README.md"
    assert httpx2.get(address, headers={"Range": "bytes=4-7"}).content == CARD[4:8]
    assert httpx2.get(address, headers={"Range": "bytes=4000-"}).status_code == 416


def test_a_corrupt_download_has_the_right_size(hub, api, cats, tmp_path):
    hub.faults.append(Fault("corrupt", match="GET", server="cdn"))
    path = api.hf_hub_download("me/cats", "model.onnx", cache_dir=tmp_path / "cache")
    content = Path(path).read_bytes()
    assert len(content) == len(WEIGHTS)
    assert sum(there != here for there, here in zip(content, WEIGHTS, strict=True)) == 1


def test_an_upload_that_breaks_off_is_tried_again(hub, api, cats):
    hub.faults.append(Fault("drop", match="PUT", times=1, after=1000))
    commit(api, [CommitOperationAdd("model.onnx", WEIGHTS[::-1])])
    assert hub.files("me/cats")["model.onnx"] == WEIGHTS[::-1]
    assert [request.status for request in hub.log if request.method == "PUT"] == [None, 200]


def test_a_commit_that_breaks_off_leaves_nothing(hub, api, cats):
    hub.faults.append(Fault("drop", match="POST .*/commit/"))
    before = hub.commits("me/cats")
    with pytest.raises(httpx2.HTTPError):
        commit(api, [CommitOperationAdd("a.txt", b"a")])
    assert hub.commits("me/cats") == before


# --- Spaces ---

APP = """
import http.server, os, shared

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        seen = [shared.NAME, *map(os.environ.get, ("ANIMAL", "SPACE_ID", "PYTHONPATH"))]
        self.wfile.write(" ".join(map(str, seen)).encode())

print("Here I am", os.environ.get("SECRET"))
http.server.HTTPServer(("127.0.0.1", int(os.environ["GRADIO_SERVER_PORT"])), Page).serve_forever()
"""


def deploy(hub, app=APP):
    """A Space that is a folder with its own `shared`, which must win over this project's."""
    api = as_user(hub, hub.token)
    hub.set_paid("me", True)
    api.create_repo("me/zoo", repo_type="space", space_sdk="gradio", exist_ok=True)
    files = [CommitOperationAdd("app.py", app.encode()), CommitOperationAdd("shared/__init__.py", b"NAME = 'own'")]
    commit(api, files, repo="me/zoo", repo_type="space")
    return api


def wait(hub, *stages):
    for _ in range(200):
        if (space := hub.repo("me/zoo", "space")).stage in stages:
            return space
        time.sleep(0.1)
    pytest.fail(f"The Space is {space.stage} after 20 s: {space.error}")


def page(space):
    with urllib.request.urlopen(space.host, timeout=60) as answer:
        return answer.read().decode()


def has_ended(host):
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(host, timeout=5)
    return True


def test_accounts_that_can_have_a_space(hub, api):
    def create(name, **options):
        api.create_repo(f"me/{name}", repo_type="space", **{"space_sdk": "gradio", **options})

    def is_refused(name, **options):
        with pytest.raises(HfHubHTTPError) as error:
            create(name, **options)
        return status(error) == 402

    assert is_refused("zoo")
    create("page", space_sdk="static")
    create("one", space_hardware="zero-a10g")
    create("two", space_hardware="zero-a10g")
    assert is_refused("three", space_hardware="zero-a10g")
    with pytest.raises(HfHubHTTPError) as error:
        api.request_space_hardware("me/one", "cpu-basic")
    assert status(error) == 402
    hub.set_paid("me", True)
    create("zoo")
    create("three", space_hardware="zero-a10g")
    hub.set_paid("me", False)
    assert is_refused("zoo")  # before it is noticed that there is one


def test_a_space_gets_its_variables_and_secrets(hub):
    api = deploy(hub)
    space = hub.repo("me/zoo", "space")
    assert api.get_space_runtime("me/zoo").stage == "BUILDING"
    space.stage, space.host = "RUNNING", "http://127.0.0.1:1"
    info = api.space_info("me/zoo")
    assert (info.host, info.subdomain, info.sdk) == ("http://127.0.0.1:1", "me-zoo", "gradio")
    assert (info.runtime.stage, info.runtime.hardware) == ("RUNNING", "cpu-basic")
    assert api.add_space_variable("me/zoo", "ANIMAL", "cat")["ANIMAL"].value == "cat"
    api.add_space_secret("me/zoo", "SECRET", "dog")
    assert (space.variables, space.secrets, space.stage) == ({"ANIMAL": "cat"}, {"SECRET": "dog"}, "BUILDING")
    assert list(api.get_space_variables("me/zoo")) == ["ANIMAL"]
    assert list(api.get_space_secrets("me/zoo")) == ["SECRET"]
    assert api.delete_space_variable("me/zoo", "ANIMAL") == {}
    api.delete_space_secret("me/zoo", "SECRET")
    assert space.secrets == {}
    assert api.pause_space("me/zoo").stage == "PAUSED"
    api.add_space_variable("me/zoo", "ANIMAL", "cat")
    assert space.stage == "PAUSED"
    assert api.restart_space("me/zoo").stage == "BUILDING"
    assert api.request_space_hardware("me/zoo", "t4-small", sleep_time=60).requested_hardware == "t4-small"
    assert api.set_space_sleep_time("me/zoo", 90).sleep_time == 90
    assert (space.hardware, space.sleep_time) == ("t4-small", 90)


def test_a_space_runs_and_starts_anew_when_a_variable_changes(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with Hub(run_spaces=True) as hub:
        api = deploy(hub)
        space = wait(hub, "RUNNING")
        first = space.host
        assert page(space) == "own None me/zoo None"
        assert api.wait_for_space("me/zoo").stage == "RUNNING"
        api.add_space_variable("me/zoo", "ANIMAL", "cat")
        assert space.stage == "BUILDING"
        wait(hub, "RUNNING")
        assert page(space) == "own cat me/zoo None"
        assert has_ended(first)
        last = space.host
        api.pause_space("me/zoo")
        assert has_ended(last)
        api.restart_space("me/zoo")
        wait(hub, "RUNNING")
        deploy(hub, APP + "# changed")
        wait(hub, "RUNNING")
        last = space.host
        hub.put_to_sleep("me/zoo")
        assert has_ended(last)
        assert api.get_space_runtime("me/zoo").stage == "SLEEPING"
        with pytest.raises(urllib.error.HTTPError, match="503"):
            page(space)
        wait(hub, "RUNNING")
        assert page(space) == "own cat me/zoo None"
        last = space.host
    assert has_ended(last)


def test_a_static_space_is_served_at_once():
    card = b"---\nsdk: static\ncustom_headers:\n  cross-origin-embedder-policy: require-corp\n---\n"
    files = {"README.md": card, "index.html": b"<p>Cats", "js/a.js": b"meow()", "a b.wasm.gz": WEIGHTS}
    with Hub(run_spaces=True) as hub:
        api = as_user(hub, hub.token)
        api.create_repo("me/zoo", repo_type="space", space_sdk="static")
        assert set(hub.files("me/zoo", kind="space")) >= {"index.html", "style.css"}
        commit(api, [CommitOperationAdd(*item) for item in files.items()], repo="me/zoo", repo_type="space")
        info = api.space_info("me/zoo")
        assert (info.sdk, info.runtime.stage) == ("static", "RUNNING")
        with httpx2.Client(base_url=info.host) as client:
            for path, content in [*files.items(), ("", files["index.html"])]:
                response = client.get(path.replace(" ", "%20"))
                assert response.content == content
                assert response.headers["cross-origin-embedder-policy"] == "require-corp"
                assert "content-encoding" not in response.headers
            commit(api, [CommitOperationAdd("b.html", b"<head><p>Cats")], repo="me/zoo", repo_type="space")
            shown = "<head><script>window.huggingface={variables:{}};</script><p>Cats"
            assert client.get("b.html").text == shown
            assert client.get("js/a.js").headers["content-type"].startswith("text/javascript")
            assert client.get("js").status_code == client.get("b.js").status_code == 404
            api.update_repo_settings("me/zoo", private=True, repo_type="space")
            assert client.get("").status_code == 401
            assert client.get("", headers={"Authorization": f"Bearer {hub.token}"}).status_code == 200
            api.pause_space("me/zoo")
            assert client.get("", headers={"Authorization": f"Bearer {hub.token}"}).status_code == 404


def test_an_app_that_exits_reports_why():
    with Hub(run_spaces=True) as hub:
        api = deploy(hub, "raise SystemExit('no cats here')")
        assert "no cats here" in wait(hub, "RUNTIME_ERROR").error
        assert "no cats here" in api.get_space_runtime("me/zoo").raw["errorMessage"]
        hub.repo("me/zoo", "space").build_log = "Collecting cats\nERROR: no such package"
        assert list(api.fetch_space_logs("me/zoo")) == ["no cats here\n"]
        assert list(api.fetch_space_logs("me/zoo", build=True)) == ["Collecting cats\n", "ERROR: no such package\n"]


# --- by hand ---


def test_it_runs_by_hand(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "hub.local", "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        lines = []
        while not lines or not lines[-1].startswith("Your user name"):
            lines.append(process.stdout.readline())
            assert lines[-1], lines
        variables = dict(line.strip().removeprefix("export ").split("=") for line in lines if "export" in line)
        assert Path(variables["HF_HOME"]).is_dir()
        api = HfApi(endpoint=variables["HF_ENDPOINT"], token=variables["HF_TOKEN"])
        assert api.whoami()["isPro"]
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert not Path(variables["HF_HOME"]).exists()


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_has_a_target_for_it():
    done = subprocess.run(["make", "-n", "hub"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "-m hub.local" in done.stdout
