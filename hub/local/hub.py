"""The local Hub: both servers, and the methods with which tests control it."""

import asyncio
import os
import socket
import threading
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request as Asked
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hub.local.collections import Collections
from hub.local.faults import Door, Fault, Request
from hub.local.files import Files
from hub.local.repos import Repositories
from hub.local.runner import Builder, Runner
from hub.local.spaces import Spaces
from hub.local.store import ApiError, Organisation, Repository, Space, Store, User

OWN = "the Hub's own token"


class Hub:
    """A local Hub on two ports of this machine; a context manager.

    Args:
        port: port of the Hub; 0 selects a free one.
        run_spaces: True to run the apps of Spaces, and to serve static ones; otherwise they stay "BUILDING" until a
            test sets `stage` and `host`.
        multipart_from: size in bytes; larger LFS files are uploaded in parts.
        page_size: number of entries per page of a listing.

    Attributes:
        endpoint: the Hub's address.
        user: the name of the first user, "me", who has a free account.
        token: a write token of this user.
        read_token: a read token of this user.
        faults: the list of `Fault` to inject; all that match a request apply, in order.
        log: all requests so far.
        collections: the collections of all users.
    """

    user = "me"

    def __init__(
        self, port: int = 0, run_spaces: bool = False, multipart_from: int = 50_000_000, page_size: int = 1000
    ) -> None:
        self.faults: list[Fault] = []
        self.log: list[Request] = []
        self.store = Store()
        self.token = self.add_user(self.user)
        self.read_token = self.add_token(self.user, role="read")
        self._sockets = [_listen(port), _listen(0)]
        self.endpoint, cdn = (f"http://127.0.0.1:{listener.getsockname()[1]}" for listener in self._sockets)
        self.builder = (
            Runner(lambda home: self.environment(home, token=None), self.endpoint) if run_spaces else Builder()
        )
        files = Files(self.store, self.endpoint, cdn, multipart_from)
        repositories = Repositories(self.store, self.endpoint, page_size, self.builder)
        spaces = Spaces(self.store, self.builder)
        self.collections = Collections(self.store)
        self._doors = [
            Door(
                _make_app([*self.collections.routes(), *repositories.routes(), *spaces.routes(), *files.routes()]),
                "hub",
                self.faults,
                self.log,
            ),
            Door(_make_app(files.cdn_routes()), "cdn", self.faults, self.log),
        ]
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> "Hub":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop both servers and all Spaces, even if requests are open."""
        for door in self._doors:
            door.listener.should_exit = door.listener.force_exit = True
        self._thread.join(5)
        self.builder.close()

    def add_user(self, name: str, paid: bool = False) -> str:
        """Add a user; return a write token."""
        self.store.users[name] = User(name, paid)
        return self.add_token(name, role="write")

    def add_token(self, user: str, role: str = "write") -> str:
        """Add a token for a user and return it; `role` is "read" or "write"."""
        return self.store.add_token(user, role)

    def add_fine_grained(self, user: str, *scopes: tuple[str, str, list[str]]) -> str:
        """Add a fine-grained token for a user and return it; a scope is (entity type, entity name, permissions)."""
        entities = [
            {"entity": {"_id": "0" * 24, "type": kind, "name": name}, "permissions": permissions}
            for kind, name, permissions in scopes
        ]
        return self.store.add_token(user, "fineGrained", entities)

    def add_organisation(self, name: str, roles: dict[str, str], paid: bool = False) -> None:
        """Add an organisation; `roles` maps the names of its members to their roles."""
        self.store.organisations[name] = Organisation(name, roles, paid)

    def trust(self, name: str, kind: str = "model", job: str | None = None) -> dict[str, str]:
        """Let a repository trust a CI job; return the environment variables of the job.

        Args:
            name: the repository, as "owner/name".
            kind: "model" or "space".
            job: the identity of a job that passes it in a variable; by default the job is on GitHub.
        """
        self.store.trusted[job or f"job for {self.endpoint}"] = kind, name
        resource = {"HF_OIDC_RESOURCE": name if kind == "model" else f"{kind}s/{name}"}
        if job:
            return {**resource, "HF_OIDC_ID_TOKEN": job}
        identity = {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.endpoint}/ci/identity",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "x",
        }
        return {**resource, **identity, "GITHUB_ACTIONS": "true"}

    def put_to_sleep(self, name: str) -> None:
        """Put a Space to sleep until the next visit, as happens after two days without visits."""
        space = self.repo(name, "space")
        assert isinstance(space, Space)
        self.builder.stop(space)
        space.stage, space.host = "SLEEPING", f"{self.endpoint}/asleep/{name}"

    def set_paid(self, user: str, paid: bool) -> None:
        """Make a user's account paid or free."""
        self.store.users[user].paid = paid

    def environment(self, home: Path, token: str | None = OWN) -> dict[str, str]:
        """Return the environment variables for a process that uses this Hub.

        Args:
            home: the folder for cache and settings (HF_HOME).
            token: the token, or None; by default that of the first user.
        """
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home),
            "HF_TOKEN": self.token if token is OWN else token or "",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        }

    def repo(self, name: str, kind: str = "model") -> Repository:
        """Return a repository object, which tests may change; raise KeyError if it does not exist."""
        return self.store.repos[kind, name]

    def files(self, name: str, revision: str = "main", kind: str = "model") -> dict[str, bytes]:
        """Return the contents of the files of a revision, by path."""
        return {path: blob.data for path, blob in self.repo(name, kind).at(revision).files.items()}

    def commits(self, name: str, kind: str = "model") -> list[str]:
        """Return the commit hashes of the main branch, newest first."""
        return [commit.sha for commit in self.repo(name, kind).history("main")]

    async def _serve(self) -> None:
        async def serve(door: Door, listener: socket.socket) -> None:
            serving = asyncio.ensure_future(door.listener.serve(sockets=[listener]))
            while not door.listener.should_exit:
                await asyncio.sleep(0.05)
            door.cut()
            await serving

        await asyncio.gather(*map(serve, self._doors, self._sockets))


def _listen(port: int) -> socket.socket:
    """Return a listening socket, so that clients can connect before the server is ready."""
    listener = socket.socket()
    if os.name != "nt":  # on Windows, two servers could then use the same port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    return listener


def _make_app(routes: list[Route]) -> Starlette:
    async def refuse(request: Asked, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        return JSONResponse(error.body, error.status, error.headers)

    app = Starlette(routes=routes, exception_handlers={ApiError: refuse})
    app.router.redirect_slashes = False
    return app
