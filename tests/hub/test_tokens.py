"""The token of a login reaches the Hub in one header, and nothing else: no output, no file, no commit, no variable."""

import logging
import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub import logging as hub_logging

from hub.local import Fault, Hub
from hub.repository import PublishError, refuse_tokens
from shared.hub_errors import make_one_line
from tests.conftest import ROOT, point_client_to
from training import publish

MODEL = str(ROOT / "spaces/salary/model")
PUBLISH = ("publish", MODEL, "me/salary")
DEPLOY = ("deploy", "salary", "--owner", "me", "--timeout", "0.1")
COMMANDS = {
    "publish": [(*PUBLISH, "--collection", "Mine"), PUBLISH],
    "deploy": [DEPLOY, DEPLOY],
    "deploy, of a private model": [(*PUBLISH, "--private"), (*DEPLOY, "--models-owner", "me")],
    "only list": [(*PUBLISH, "--dry-run"), (*DEPLOY, "--dry-run"), (*DEPLOY, "--static", "--dry-run")],
}
SECRETS = [  # of the kinds that the Hub gives
    "hf_" + "aB3" * 12,
    "hf_oauth_" + "aB3" * 12,
    "hf_jwt_eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIi.a-b_c",
]


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with Hub() as server:
        server.set_paid("me", True)
        point_client_to(monkeypatch, server.endpoint)
        monkeypatch.setenv("HF_TOKEN", server.token)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield server


@pytest.fixture
def run(deploy, capfd, caplog, monkeypatch):
    """Runs a command in this process, with all that the client logs; return what it printed and logged."""
    monkeypatch.setattr(hub_logging, "set_verbosity_error", lambda: None)
    library = logging.getLogger("huggingface_hub")
    monkeypatch.setattr(library, "propagate", True)

    def run(command, *arguments):
        with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, library.name):
            {"publish": publish, "deploy": deploy}[command].main(arguments)
        out, err = capfd.readouterr()
        return out + err + caplog.text

    return run


def find_stored(hub):
    """Return all that the Hub stores of its repositories: files of all commits, messages, variables."""
    for (kind, name), repo in hub.store.repos.items():
        yield repr(getattr(repo, "variables", {})).encode()
        for commit in repo.history("main"):
            yield f"{commit.title} {commit.message}".encode()
            yield from hub.files(name, commit.sha, kind).values()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_token_is_in_no_output_file_commit_or_variable(hub, run, tmp_path, name):
    said = [run(*command) for command in COMMANDS[name]]
    assert all(said)
    assert hub.token not in "".join(said)
    stored = list(find_stored(hub))
    assert not [content for content in stored if hub.token.encode() in content]
    cached = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in cached if hub.token.encode() in path.read_bytes()]
    assert not [asked for asked in hub.log if hub.token in asked.path]
    assert bool(hub.log) == bool(stored) == (name != "only list")


@pytest.mark.parametrize("command", [PUBLISH, DEPLOY], ids=["publish", "deploy"])
@pytest.mark.parametrize("status", [400, 401, 403, 500])
def test_a_server_that_repeats_the_token_is_not_quoted(hub, run, command, status):
    """As a proxy may, that shows the headers which it refuses."""
    body = f'{{"error": "Bad header: Bearer {hub.token}"}}'
    hub.faults.append(Fault("status", match="GET .*whoami", status=status, body=body))
    said = run(*command)
    assert "hf_…" in said
    assert hub.token not in said


@pytest.mark.parametrize("token", SECRETS)
def test_a_file_with_a_token_is_not_uploaded(tmp_path, token):
    (tmp_path / "about.txt").write_text(f"token={token}\n")
    with pytest.raises(PublishError, match=r"^about.txt has a token of the Hub in it"):
        refuse_tokens({"a.txt": b"hf_hub_download", "about.txt": tmp_path / "about.txt"})
    assert make_one_line(f"Refused: {token}") == "Refused: hf_…"


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        (f"{SECRETS[0]} at the start", "hf_… at the start"),
        (f"é={SECRETS[1]}", "é=hf_…"),
        (f"-{SECRETS[2]}, {SECRETS[0]}", "-hf_…, hf_…"),
        (f"self{SECRETS[0]}", None),
        (f"é{SECRETS[0]}", None),
        (f"_{SECRETS[0]} 9{SECRETS[0]}", None),
        ("hf_" + "a" * 29, None),
    ],
)
def test_a_token_begins_where_a_word_does(text, quoted):
    assert make_one_line(text) == (quoted or text)


@pytest.mark.parametrize("before", range(250, 300, 7))
def test_a_token_at_the_end_of_a_long_refusal_is_not_quoted_in_part(before):
    assert "aB3" not in make_one_line(f"{'x' * before} {SECRETS[0]}")


def test_a_token_in_a_model_card_stops_the_upload(hub, run, tmp_path):
    copied = Path(shutil.copytree(MODEL, tmp_path / "model"))
    with (copied / "NOTICE.md").open("a", encoding="utf-8") as file:
        file.write(f"Load it with token={hub.token}\n")
    assert "NOTICE.md has a token of the Hub in it; remove it" in run("publish", str(copied), "me/salary")
    assert "NOTICE.md has a token of the Hub in it; remove it" in run("publish", str(copied), "me/salary", "--dry-run")
    assert not [content for content in find_stored(hub) if hub.token.encode() in content]
    assert not hub.store.repos


def test_nothing_of_ours_looks_like_a_token():
    files = [path for path in (ROOT / "spaces").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert len(files) > 50
    refuse_tokens({str(path): path for path in files})
