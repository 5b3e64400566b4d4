"""The routes of repositories: creation, listings and commits."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hub.local import cards
from hub.local.access import Handlers, get_param
from hub.local.runner import Builder
from hub.local.store import ApiError, Blob, Commit, Repository, Space, Store, format_now

FREE_ZERO_SPACES = 2  # Spaces on "zero-a10g" that a free account may have


class Repositories(Handlers):
    """The Hub's /api routes, except those of Spaces.

    Args:
        store: the content of the Hub.
        endpoint: the Hub's address.
        page_size: number of entries per page of a listing.
        builder: starts the apps of Spaces.
    """

    def __init__(self, store: Store, endpoint: str, page_size: int, builder: Builder) -> None:
        super().__init__(store)
        self.endpoint, self.page_size, self.builder = endpoint, page_size, builder

    def routes(self) -> list[Route]:
        repo = "/api/{kind}s/{owner}/{name}"
        return [
            Route("/api/whoami-v2", self.whoami),
            Route("/oauth/token", self.exchange, methods=["POST"]),
            Route("/ci/identity", self.identity),
            Route("/api/validate-yaml", self.validate, methods=["POST"]),
            Route("/api/repos/create", self.create, methods=["POST"]),
            Route("/api/repos/delete", self.delete, methods=["DELETE"]),
            Route(repo, self.info),
            Route(repo + "/revision/{revision}", self.info),
            Route(repo + "/settings", self.settings, methods=["PUT"]),
            Route(repo + "/preupload/{revision}", self.preupload, methods=["POST"]),
            Route(repo + "/commit/{revision}", self.commit, methods=["POST"]),
            Route(repo + "/commits/{revision}", self.commits),
            Route(repo + "/tree/{revision}", self.tree),
            Route(repo + "/tree/{revision}/{path:path}", self.tree),
            Route(repo + "/paths-info/{revision}", self.paths_info, methods=["POST"]),
            Route(repo + "/refs", self.refs),
            Route(repo + "/branch/{branch}", self.branch, methods=["POST", "DELETE"]),
            Route(repo + "/tag/{tag}", self.tag, methods=["POST", "DELETE"]),
        ]

    async def whoami(self, request: Request) -> Response:
        token = self.require_account(request)
        user = token.user
        shown: dict[str, Any] = {"displayName": f"a {token.role} token", "role": token.role, "createdAt": format_now()}
        if token.role == "fineGrained":
            shown["fineGrained"] = {"canReadGatedRepos": True, "global": ["discussion.write"], "scoped": token.scopes}
        groups = [
            {"type": "org", "name": group.name, "fullname": group.name, "roleInOrg": group.roles[user.name]}
            for group in self.store.organisations.values()
            if user.name in group.roles
        ]
        known = {"type": "user", "name": user.name, "fullname": user.name, "isPro": user.paid, "orgs": groups}
        return JSONResponse({**known, "auth": {"type": "access_token", "accessToken": shown}})

    async def identity(self, request: Request) -> Response:
        """Return the identity of a CI job; in reality this route belongs to the CI provider, not to the Hub."""
        if not request.headers.get("authorization", "").startswith("Bearer "):
            return JSONResponse({"message": "no token"}, 401)
        return JSONResponse({"value": f"job for {request.query_params['audience']}"})

    async def exchange(self, request: Request) -> Response:
        """Return a token for a CI job, for the repository that trusts it."""
        asked = await request.json()
        kind, _, name = asked["resource"].partition("s/")
        repo = (kind, name) if asked["resource"].count("/") == 2 else ("model", asked["resource"])
        if self.store.trusted.get(asked["subject_token"]) != repo or repo not in self.store.repos:
            body = {"error": "invalid_grant", "error_description": "No trusted publisher matches"}
            return JSONResponse(body, 400)
        token = self.store.add_publisher_token(repo)
        return JSONResponse({"access_token": token, "token_type": "bearer", "expires_in": 3600})

    async def validate(self, request: Request) -> Response:
        asked = await request.json()
        errors, warnings = cards.find_problems(asked["content"], asked["repoType"])
        body = {"errors": [{"message": text} for text in errors], "warnings": [{"message": text} for text in warnings]}
        return JSONResponse(body, 400 if errors else 200)

    async def create(self, request: Request) -> Response:
        token, asked = self.require_account(request), await request.json()
        kind, owner = asked.get("type", "model"), asked.get("organization") or token.user.name
        name = f"{owner}/{asked['name']}"
        self.check_writer(token, kind, name)
        hardware, sdk = asked.get("hardware", "cpu-basic"), asked.get("sdk", "")
        if kind == "space" and sdk != "static":
            check_payment(self.store, owner, hardware)  # before the name is checked, as on the Hub
        url = f"{self.endpoint}/{Repository(kind, name).path}"
        if (kind, name) in self.store.repos:
            raise ApiError(409, f"You already created this {kind} repo", url=url)
        repo = self.store.create(kind, name, asked.get("visibility") == "private", sdk, hardware)
        if isinstance(repo, Space):
            repo.variables = {item["key"]: item["value"] for item in asked.get("variables", [])}
            repo.secrets = {item["key"]: item["value"] for item in asked.get("secrets", [])}
        return JSONResponse({"url": url, "name": name, "private": repo.private})

    async def delete(self, request: Request) -> Response:
        token, asked = self.require_account(request), await request.json()
        request.path_params.update(owner=asked.get("organization") or token.user.name, name=asked["name"])
        request.path_params["kind"] = asked.get("type", "model")
        repo, _ = self.find_writable(request)
        del self.store.repos[repo.kind, repo.id]
        if isinstance(repo, Space):
            self.builder.stop(repo)
        return JSONResponse({})

    async def info(self, request: Request) -> Response:
        repo = self.find_readable(request)
        return JSONResponse(
            describe_repository(repo, repo.at(get_param(request, "revision", "main")), "blobs" in request.query_params)
        )

    async def settings(self, request: Request) -> Response:
        (repo, _), asked = self.find_writable(request), await request.json()
        repo.private = asked.get("visibility", "private" if repo.private else "public") == "private"
        repo.gated = asked.get("gated", repo.gated)
        return JSONResponse({"private": repo.private, "gated": repo.gated})

    async def preupload(self, request: Request) -> Response:
        (repo, _), revision = self.find_writable(request), get_param(request, "revision")
        present = repo.at(revision).files
        answers = []
        for file in (await request.json())["files"]:
            answer = {"path": file["path"], "shouldIgnore": False}
            answer["uploadMode"] = "lfs" if repo.is_large(file["path"], file["size"], revision) else "regular"
            if blob := present.get(file["path"]):
                answer["oid"] = blob.sha256 if blob.is_lfs else blob.oid
            answers.append(answer)
        return JSONResponse({"files": answers})

    async def commit(self, request: Request) -> Response:
        lines = [json.loads(line) for line in (await request.body()).splitlines() if line.strip()]
        (repo, user), branch = self.find_writable(request), get_param(request, "revision")
        if "create_pr" in request.query_params:
            raise ApiError(400, "This Hub has no pull requests")
        if branch not in repo.branches:
            raise ApiError(404, f"Invalid rev id: {branch}", "RevisionNotFound")
        header, *operations = [(line["key"], line["value"]) for line in lines]
        head = repo.at(branch)
        if not head.sha.startswith(header[1].get("parentCommit") or ""):
            raise ApiError(412, "A commit has happened since. Please refresh and try again.")
        files = repo.apply_operations(head.files, operations)
        card = files.get("README.md")
        if card and card is not head.files.get("README.md"):
            errors, _ = cards.find_problems(card.data.decode(errors="replace"), repo.kind)
            if errors:
                raise ApiError(400, "; ".join(errors))
        made = repo.add(branch, files, header[1]["summary"], header[1].get("description", ""), user.name)
        if isinstance(repo, Space) and branch == "main":
            self.builder.start(repo)
        url = f"{self.endpoint}/{repo.path}/commit/{made.sha}"
        return JSONResponse({"success": True, "commitUrl": url, "commitOid": made.sha})

    async def commits(self, request: Request) -> Response:
        history = self.find_readable(request).history(get_param(request, "revision"))
        listed = [
            {
                "id": commit.sha,
                "title": commit.title,
                "message": commit.message,
                "authors": [{"user": commit.author}],
                "date": commit.date,
            }
            for commit in history
        ]
        return self.make_page(request, listed)

    async def tree(self, request: Request) -> Response:
        files, folder = self.find_readable(request).at(get_param(request, "revision")).files, get_param(request, "path")
        found = list_entries(files)
        if folder and found.get(folder, {}).get("type") != "directory":
            raise ApiError(404, f"{folder} does not exist on {get_param(request, 'revision')}", "EntryNotFound")
        prefix = f"{folder}/" if folder else ""
        is_recursive = request.query_params.get("recursive", "").lower() in ("true", "1")
        inside = [
            entry
            for path, entry in found.items()
            if path.startswith(prefix) and (is_recursive or "/" not in path.removeprefix(prefix))
        ]
        return self.make_page(request, inside)

    async def paths_info(self, request: Request) -> Response:
        commit = self.find_readable(request).at(get_param(request, "revision"))
        paths = parse_qs((await request.body()).decode()).get("paths", [])
        found = list_entries(commit.files)
        return JSONResponse([found[path] for path in paths if path in found])

    async def refs(self, request: Request) -> Response:
        repo = self.find_readable(request)

        def listed(names: dict[str, str], where: str) -> list[dict[str, str]]:
            return [{"name": name, "ref": f"refs/{where}/{name}", "targetCommit": sha} for name, sha in names.items()]

        branches, tags = listed(repo.branches, "heads"), listed(repo.tags, "tags")
        return JSONResponse({"branches": branches, "tags": tags, "converts": [], "pullRequests": []})

    async def branch(self, request: Request) -> Response:
        (repo, _), name = self.find_writable(request), get_param(request, "branch")
        if request.method == "DELETE":
            if name == "main":
                raise ApiError(403, "The main branch cannot be deleted", "Forbidden")
            return _remove_name(repo.branches, name)
        start = json.loads(await request.body() or "{}").get("startingPoint", "main")
        return _add_name(repo.branches, name, repo.at(start))

    async def tag(self, request: Request) -> Response:
        (repo, _), name = self.find_writable(request), get_param(request, "tag")
        if request.method == "DELETE":
            return _remove_name(repo.tags, name)
        return _add_name(repo.tags, (await request.json())["tag"], repo.at(name))

    def make_page(self, request: Request, items: list[Any]) -> Response:
        """Return a page of a listing; the Link header has the address of the next page."""
        start = int(request.query_params.get("cursor", 0))
        end = start + self.page_size
        headers = {}
        if end < len(items):
            query = urlencode({**request.query_params, "cursor": end})
            headers["Link"] = f'<{self.endpoint}{request.scope["path"]}?{query}>; rel="next"'
        return JSONResponse(items[start:end], headers=headers)


def check_payment(store: Store, owner: str, hardware: str) -> None:
    """Raise ApiError if a free account uses CPU hardware or has too many Spaces on ZeroGPU."""
    if store.find_payer(owner).paid:
        return
    spaces = [repo for repo in store.repos.values() if isinstance(repo, Space) and repo.owner == owner]
    if hardware != "zero-a10g":
        raise ApiError(402, f"Gradio and Docker Spaces on {hardware} need a PRO subscription")
    if sum(space.hardware == "zero-a10g" for space in spaces) >= FREE_ZERO_SPACES:
        raise ApiError(402, f"More than {FREE_ZERO_SPACES} ZeroGPU Spaces need a PRO subscription")


def describe_repository(repo: Repository, commit: Commit, with_blobs: bool = False) -> dict[str, Any]:
    """Return the JSON of the client's ModelInfo, DatasetInfo or SpaceInfo."""
    siblings: list[dict[str, Any]] = [{"rfilename": path} for path in sorted(commit.files)]
    for sibling in siblings if with_blobs else []:
        blob = commit.files[sibling["rfilename"]]
        sibling.update(size=len(blob.data), blobId=blob.oid)
        if blob.is_lfs:
            sibling["lfs"] = {"sha256": blob.sha256, "size": len(blob.data), "pointerSize": len(blob.pointer)}
    card = cards.read_card_data(commit.files["README.md"].data) if "README.md" in commit.files else {}
    known = {
        "id": repo.id,
        "author": repo.owner,
        "sha": commit.sha,
        "private": repo.private,
        "gated": repo.gated,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": card.get("tags", []),
        "createdAt": min(commit.date for commit in repo.commits.values()),
        "lastModified": commit.date,
        "siblings": siblings,
        "cardData": json.loads(json.dumps(card, default=str)),
    }
    if isinstance(repo, Space):
        known.update(
            sdk=repo.sdk, runtime=describe_runtime(repo), host=repo.host, subdomain=repo.id.replace("/", "-").lower()
        )
    return known


def describe_runtime(space: Space) -> dict[str, Any]:
    """Return the JSON of the client's SpaceRuntime."""
    return {
        "stage": space.stage,
        "hardware": {
            "current": space.hardware if space.stage == "RUNNING" else None,
            "requested": space.hardware,
        },
        "gcTimeout": space.sleep_time,
        "storage": None,
        "devMode": False,
        **({"errorMessage": space.error} if space.error else {}),
    }


def list_entries(files: Mapping[str, Blob]) -> dict[str, dict[str, Any]]:
    """Return the tree entries of files and folders, by path and sorted."""
    found: dict[str, dict[str, Any]] = {}
    for path, blob in files.items():
        found[path] = {"type": "file", "path": path, "size": len(blob.data), "oid": blob.oid}
        if blob.is_lfs:
            found[path]["lfs"] = {"oid": blob.sha256, "size": len(blob.data), "pointerSize": len(blob.pointer)}
        folder = path.rpartition("/")[0]
        while folder:
            oid = hashlib.sha1(f"{found.get(folder, {}).get('oid', folder)}{path}{blob.oid}".encode()).hexdigest()
            found[folder] = {"type": "directory", "path": folder, "size": 0, "oid": oid}
            folder = folder.rpartition("/")[0]
    return dict(sorted(found.items()))


def _add_name(names: dict[str, str], name: str, commit: Commit) -> Response:
    if name in names:
        raise ApiError(409, f"Reference {name} exists already")
    names[name] = commit.sha
    return JSONResponse({})


def _remove_name(names: dict[str, str], name: str) -> Response:
    if names.pop(name, None) is None:
        raise ApiError(404, f"Invalid rev id: {name}", "RevisionNotFound")
    return JSONResponse({})
