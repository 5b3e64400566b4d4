"""Check who asks and what they may do; refusals and their codes are the Hub's."""

from urllib.parse import unquote

from starlette.requests import Request

from hub.local.store import KINDS, ApiError, Repository, Space, Store, Token, User


class Handlers:
    """What all groups of routes share."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def find_caller(self, request: Request) -> Token | None:
        """Return the token that came with a request, or None."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not token:
            return None
        if scheme != "Bearer" or token not in self.store.tokens:
            raise ApiError(401, "Invalid credentials in Authorization header")
        return self.store.tokens[token]

    def require_account(self, request: Request) -> Token:
        """Return the token if it belongs to an account; refuse a trusted publisher's where no repository is named."""
        token = self.find_caller(request)
        if token is None or token.role == "publisher":
            raise ApiError(401, "Invalid username or password.")
        return token

    def check_writer(self, token: Token, kind: str, name: str) -> None:
        """Check that a token and its user may write to a repository that exists or is about to be made."""
        owner = name.split("/", maxsplit=1)[0]
        if token.role == "read":
            raise ApiError(403, "You must use a write token for this", "Forbidden")
        if not token.may_write(kind, name):
            raise ApiError(403, f"This token lacks the permission repo.write for {name}", "Forbidden")
        if token.role != "publisher" and not self.store.may_write(token.user, owner):
            raise ApiError(403, f"You have no right to write under the namespace {owner}", "Forbidden")

    def find_readable(self, request: Request) -> Repository:
        """Return the repository that the path names, if the caller may know of it."""
        kind, name = (
            request.path_params.get("kind", "model"),
            f"{get_param(request, 'owner')}/{get_param(request, 'name')}",
        )
        token = self.find_caller(request)
        repo = self.store.repos.get((kind, name)) if kind in KINDS else None
        if repo is None or (repo.private and (token is None or not self.store.may_read(token, repo))):
            raise ApiError(404 if token else 401, "Repository not found", "RepoNotFound")
        return repo

    def find_downloadable(self, request: Request) -> Repository:
        """Return the same if the caller may read its files; a gated repository shows others only their names."""
        repo = self.find_readable(request)
        token = self.find_caller(request)
        if repo.gated and (token is None or not self.store.may_read(token, repo)):
            raise ApiError(403 if token else 401, f"Access to {repo.kind} {repo.id} is restricted", "GatedRepo")
        return repo

    def find_writable(self, request: Request) -> tuple[Repository, User]:
        """Return the same, with the user, if the caller may change it."""
        repo, token = self.find_readable(request), self.find_caller(request)
        if token is None:
            raise ApiError(401, "Invalid username or password.", "RepoNotFound")
        self.check_writer(token, repo.kind, repo.id)
        return repo, token.user

    def find_space(self, request: Request, write: bool = True) -> Space:
        """Return the Space that the path names."""
        request.path_params["kind"] = "space"
        repo = self.find_writable(request)[0] if write else self.find_readable(request)
        assert isinstance(repo, Space)
        return repo


def get_param(request: Request, name: str, default: str = "") -> str:
    """Return a part of the path, decoded."""
    return unquote(request.path_params.get(name, default))
