"""Who asks, and what they may: the same refusals, with the same codes, as the Hub's."""

from urllib.parse import unquote

from starlette.requests import Request

from tests.hub.store import KINDS, HubError, Repository, Space, Store, User


class Handlers:
    """What the groups of routes share."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def caller(self, request: Request) -> tuple[User | None, str]:
        """(user, role of the token), (None, "") without a token."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not token:
            return None, ""
        if scheme != "Bearer" or token not in self.store.tokens:
            raise HubError(401, "Invalid credentials in Authorization header")
        return self.store.tokens[token]

    def writer(self, request: Request) -> User:
        """The user, if the token may write at all."""
        user, role = self.caller(request)
        if user is None:
            raise HubError(401, "Invalid username or password.", "RepoNotFound")
        if role != "write":
            raise HubError(403, "You must use a write token for this", "Forbidden")
        return user

    def readable(self, request: Request) -> Repository:
        """The repository that the path names, if the caller may know of it."""
        kind, name = request.path_params.get("kind", "model"), f"{param(request, 'owner')}/{param(request, 'name')}"
        user, _ = self.caller(request)
        repo = self.store.repos.get((kind, name)) if kind in KINDS else None
        if repo is None or (repo.private and (user is None or user.name != repo.owner)):
            raise HubError(404 if user else 401, "Repository not found", "RepoNotFound")
        return repo

    def downloadable(self, request: Request) -> Repository:
        """The same, if the caller may have its files: a gated repository shows everybody its names only."""
        repo = self.readable(request)
        user, _ = self.caller(request)
        if repo.gated and (user is None or user.name != repo.owner):
            raise HubError(403 if user else 401, f"Access to {repo.kind} {repo.id} is restricted", "GatedRepo")
        return repo

    def writable(self, request: Request) -> tuple[Repository, User]:
        """The same, with the user, if the caller may change it."""
        repo = self.readable(request)
        user = self.writer(request)
        if user.name != repo.owner:
            raise HubError(403, f"You have no right to write to {repo.id}", "Forbidden")
        return repo, user

    def space(self, request: Request, write: bool = True) -> Space:
        """The Space that the path names."""
        request.path_params["kind"] = "space"
        repo = self.writable(request)[0] if write else self.readable(request)
        assert isinstance(repo, Space)
        return repo


def param(request: Request, name: str, default: str = "") -> str:
    """A part of the path, decoded."""
    return unquote(request.path_params.get(name, default))
