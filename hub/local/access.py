"""Check callers and their rights; errors and their codes are those of the Hub."""

from urllib.parse import unquote

from starlette.requests import Request

from hub.local.store import KINDS, ApiError, Repository, Space, Store, Token, User


class Handlers:
    """Base class of all groups of routes."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def find_caller(self, request: Request) -> Token | None:
        """Return the token of a request, or None."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not token:
            return None
        if scheme != "Bearer" or token not in self.store.tokens:
            raise ApiError(401, "Invalid credentials in Authorization header")
        return self.store.tokens[token]

    def require_account(self, request: Request) -> Token:
        """Return the token of an account; reject requests without token or with a trusted publisher's token."""
        token = self.find_caller(request)
        if token is None or token.role == "publisher":
            raise ApiError(401, "Invalid username or password.")
        return token

    def check_writer(self, token: Token, kind: str, name: str) -> None:
        """Check that a token and its user can write to a repository, which need not exist yet."""
        owner = name.split("/", maxsplit=1)[0]
        if token.role == "read":
            raise ApiError(403, "You must use a write token for this", "Forbidden")
        if not token.may_write(kind, name):
            raise ApiError(403, f"This token lacks the permission repo.write for {name}", "Forbidden")
        if token.role != "publisher" and not self.store.may_write(token.user, owner):
            raise ApiError(403, f"You have no write access to the namespace {owner}", "Forbidden")

    def find_readable(self, request: Request) -> Repository:
        """Return the repository in the path, if the caller may see it."""
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
        """Return the repository in the path, if the caller may read its files; gated repositories need access."""
        repo = self.find_readable(request)
        token = self.find_caller(request)
        if repo.gated and (token is None or not self.store.may_read(token, repo)):
            raise ApiError(403 if token else 401, f"Access to {repo.kind} {repo.id} is restricted", "GatedRepo")
        return repo

    def find_writable(self, request: Request) -> tuple[Repository, User]:
        """Return the repository in the path, and the user, if the caller may change it."""
        repo, token = self.find_readable(request), self.find_caller(request)
        if token is None:
            raise ApiError(401, "Invalid username or password.", "RepoNotFound")
        self.check_writer(token, repo.kind, repo.id)
        return repo, token.user

    def find_space(self, request: Request, write: bool = True) -> Space:
        """Return the Space in the path."""
        request.path_params["kind"] = "space"
        repo = self.find_writable(request)[0] if write else self.find_readable(request)
        assert isinstance(repo, Space)
        return repo


def get_param(request: Request, name: str, default: str = "") -> str:
    """Return a decoded parameter of the path."""
    return unquote(request.path_params.get(name, default))
