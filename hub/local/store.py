"""The content of the local Hub: users and their tokens, repositories, commits and files."""

import fnmatch
import hashlib
import re
import secrets
from base64 import b64decode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

KINDS = ("model", "dataset", "space")
LFS_FROM = 10_000_000  # bytes; larger files need LFS
LFS_PATTERNS = "7z arrow bin ckpt gz h5 joblib model msgpack npy npz onnx parquet pb pickle pkl pt pth safetensors "
LFS_PATTERNS += "tar tflite tgz wasm xz zip zst"
ATTRIBUTES = "".join(f"*.{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in LFS_PATTERNS.split())
STATIC_TEMPLATE = ("index.html", "style.css")
SPACE_CARD = "---\ntitle: {name}\nemoji: 🚀\ncolorFrom: blue\ncolorTo: gray\nsdk: {sdk}\napp_file: app.py\n---\n"


class ApiError(Exception):
    """A response other than success.

    Args:
        status: the HTTP status.
        message: the message that the client shows.
        code: the error code for the client, such as RepoNotFound; sent as X-Error-Code.
        headers: additional headers.
        body: additional keys of the JSON body.
    """

    def __init__(
        self, status: int, message: str, code: str = "", headers: Mapping[str, str] | None = None, **body: Any
    ) -> None:
        super().__init__(message)
        self.status = status
        line = " ".join(message.split()).encode("ascii", "replace").decode()
        self.headers = {"X-Error-Message": line, **({"X-Error-Code": code} if code else {}), **(headers or {})}
        self.body = {"error": message, **body}


@dataclass(frozen=True)
class Blob:
    """The content of a file; git stores only a pointer to an LFS file."""

    data: bytes
    is_lfs: bool = False

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def pointer(self) -> bytes:
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.data)}\n"
        return text.encode()

    @cached_property
    def oid(self) -> str:
        """The git SHA-1 of the content."""
        stored = self.pointer if self.is_lfs else self.data
        return hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest()


@dataclass(frozen=True)
class Commit:
    sha: str
    parent: "Commit | None"
    title: str
    message: str
    author: str
    date: str
    files: Mapping[str, Blob]


@dataclass
class User:
    name: str
    paid: bool = False


@dataclass
class Organisation:
    """A group of users; `roles` maps their names to "read", "contributor", "write", "admin" or "no_access"."""

    name: str
    roles: dict[str, str]
    paid: bool = False


@dataclass
class Token:
    """A token and its rights.

    Attributes:
        user: the owner; a trusted publisher's token has a placeholder.
        role: "read", "write", "fineGrained", or "publisher".
        scopes: the scopes of a fine-grained token: {"entity": {"type", "name"}, "permissions": [...]}.
        repo: the repository of a trusted publisher's token, as (kind, name).
    """

    user: User
    role: str
    scopes: list[dict[str, Any]] = field(default_factory=list)
    repo: tuple[str, str] | None = None

    def may_write(self, kind: str, name: str) -> bool:
        """Return True if the token allows writing to a repository; the user's rights are not checked."""
        owner = name.split("/", maxsplit=1)[0]
        if self.role == "publisher":
            return self.repo == (kind, name)
        return self.role == "write" or any(
            (scope["entity"]["type"], scope["entity"]["name"]) in {("user", owner), ("org", owner), (kind, name)}
            and "repo.write" in scope["permissions"]
            for scope in self.scopes
        )


@dataclass
class Repository:
    """A repository with its commits.

    Attributes:
        kind: "model", "dataset" or "space".
        id: "owner/name".
        gated: False, "auto" or "manual".
        lfs: contents of uploaded LFS files by SHA-256, committed or not.
    """

    kind: str
    id: str
    private: bool = False
    gated: bool | str = False
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    lfs: dict[str, bytes] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        return self.id.split("/")[0]

    @property
    def path(self) -> str:
        """The path of its pages and files; models have no prefix."""
        return self.id if self.kind == "model" else f"{self.kind}s/{self.id}"

    def add(self, branch: str, files: Mapping[str, Blob], title: str, message: str, author: str) -> Commit:
        """Add a commit to a branch, which is created if necessary, and return the commit."""
        parent = self.commits.get(self.branches.get(branch, ""))
        commit = Commit(secrets.token_hex(20), parent, title, message, author, format_now(), dict(files))
        self.commits[commit.sha] = commit
        self.branches[branch] = commit.sha
        return commit

    def at(self, revision: str) -> Commit:
        """Return the commit of a branch, a tag or a hash (full or abbreviated)."""
        named = self.branches.get(revision) or self.tags.get(revision)
        if named is None and re.fullmatch("[0-9a-f]{7,40}", revision):
            named = next((sha for sha in self.commits if sha.startswith(revision)), None)
        if named is None:
            raise ApiError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[named]

    def history(self, revision: str) -> list[Commit]:
        """Return the commits of a branch, newest first."""
        commit: Commit | None = self.at(revision)
        commits = []
        while commit:
            commits.append(commit)
            commit = commit.parent
        return commits

    def is_large(self, path: str, size: int, revision: str) -> bool:
        """Return True if a file must be uploaded by LFS, because of its size or .gitattributes."""
        attributes = self.at(revision).files.get(".gitattributes", Blob(b"")).data.decode()
        patterns = [line.split()[0] for line in attributes.splitlines() if "filter=lfs" in line]
        names = (path, PurePosixPath(path).name)
        return size > LFS_FROM or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns for name in names)

    def apply_operations(
        self, files: Mapping[str, Blob], operations: Iterable[tuple[str, dict[str, Any]]]
    ) -> dict[str, Blob]:
        """Return the files after the operations of a commit, given as (key, value) as in the client's request."""
        result = dict(files)
        for key, value in operations:
            path = value["path"].rstrip("/")
            if not path or path.startswith("/") or {"", ".", "..", ".git"} & set(path.split("/")):
                raise ApiError(400, f"Invalid path: {value['path']!r}")
            match key:
                case "file":
                    result[path] = Blob(b64decode(value["content"]))
                    if len(result[path].data) > LFS_FROM:
                        raise ApiError(400, f"{path} is larger than 10 MB: use LFS")
                case "lfsFile":
                    if value["oid"] not in self.lfs:
                        raise ApiError(400, f"LFS pointer of {path} points to a file that was not uploaded")
                    result[path] = Blob(self.lfs[value["oid"]], is_lfs=True)
                case "deletedFile" | "deletedFolder":
                    gone = [path] if key == "deletedFile" else [name for name in result if name.startswith(path + "/")]
                    if not set(gone) & set(result):
                        raise ApiError(404, "A file with this name doesn't exist", "EntryNotFound")
                    for name in gone:
                        del result[name]
                case _:
                    raise ApiError(400, f"Unknown operation: {key}")
        return result


@dataclass
class Space(Repository):
    """A repository with an app.

    Attributes:
        stage: "NO_APP_FILE", "BUILDING", "RUNNING", "PAUSED", "RUNTIME_ERROR", …
        host: the URL of the app.
        error: the end of the app's log, if it failed.
        log: the file with the app's output.
        build_log: the output of the build.
        log_time: the timestamp of all lines of the log.
    """

    sdk: str = "gradio"
    hardware: str = "cpu-basic"
    sleep_time: int = 172_800
    variables: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    stage: str = "NO_APP_FILE"
    host: str | None = None
    error: str | None = None
    log: Path | None = None
    build_log: str = ""
    log_time: str = "2026-01-01T00:00:00.000Z"


class Store:
    """All users, organisations and repositories, by name."""

    def __init__(self) -> None:
        self.users: dict[str, User] = {}
        self.organisations: dict[str, Organisation] = {}
        self.tokens: dict[str, Token] = {}
        self.repos: dict[tuple[str, str], Repository] = {}
        self.trusted: dict[str, tuple[str, str]] = {}  # identity of a CI job -> repository (kind, name)

    def add_token(self, user: str, role: str, scopes: Iterable[dict[str, Any]] = ()) -> str:
        token = f"hf_{secrets.token_hex(17)}"
        self.tokens[token] = Token(self.users[user], role, list(scopes))
        return token

    def add_publisher_token(self, repo: tuple[str, str]) -> str:
        """Add a trusted publisher's token for one repository, and return it."""
        token = f"hf_jwt_{secrets.token_hex(17)}"
        self.tokens[token] = Token(User("[OIDC]"), "publisher", repo=repo)
        return token

    def may_write(self, user: User, owner: str) -> bool:
        """Return True if a user can write to the repositories of an owner."""
        if owner in self.organisations:
            return self.organisations[owner].roles.get(user.name) in ("contributor", "write", "admin")
        return owner == user.name

    def may_read(self, token: Token, repo: Repository) -> bool:
        """Return True if a token can read a private repository."""
        roles = self.organisations[repo.owner].roles if repo.owner in self.organisations else {repo.owner: "admin"}
        own = roles.get(token.user.name, "no_access") != "no_access"
        return token.repo == (repo.kind, repo.id) if token.role == "publisher" else own

    def find_payer(self, owner: str) -> User | Organisation:
        """Return the account that pays for an owner's Spaces."""
        return self.organisations.get(owner) or self.users[owner]

    def create(self, kind: str, name: str, private: bool, sdk: str, hardware: str) -> Repository:
        """Create a repository with the Hub's initial commit."""
        files = {".gitattributes": Blob(ATTRIBUTES.encode())}
        repo = Repository(kind, name, private)
        if kind == "space":
            repo = Space(kind, name, private, sdk=sdk, hardware=hardware)
            files["README.md"] = Blob(SPACE_CARD.format(name=name.split("/")[1], sdk=sdk).encode())
            if sdk == "static":
                files |= {path: Blob(b"My static Space") for path in STATIC_TEMPLATE}
        repo.add("main", files, "initial commit", "", "system")
        self.repos[kind, name] = repo
        return repo


def format_now() -> str:
    """Return the current time in the client's format: ISO 8601 in UTC, with a Z."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
