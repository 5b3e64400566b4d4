"""The routes of collections, which are lists of repositories."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hub.local.access import Handlers, get_param
from hub.local.store import ApiError, Store, format_now


class Collections(Handlers):
    """The routes to create a collection, show it, and add to it.

    Args:
        store: the content of the Hub.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.there: dict[str, dict[str, Any]] = {}

    def routes(self) -> list[Route]:
        one = "/api/collections/{owner}/{name}"
        return [
            Route("/api/collections", self.create, methods=["POST"]),
            Route(one, self.look),
            Route(one + "/items", self.add, methods=["POST"]),
        ]

    async def create(self, request: Request) -> Response:
        token, asked = self.require_account(request), await request.json()
        owner = asked["namespace"]
        self.check_writer(token, "collection", f"{owner}/{asked['title']}")
        slug = f"{owner}/{asked['title'].lower().replace(' ', '-')}-0123456789ab"
        if slug in self.there:
            raise ApiError(409, "A collection with this title already exists", slug=slug)
        self.there[slug] = {
            "slug": slug, "title": asked["title"], "owner": {"name": owner}, "items": [], "lastUpdated": format_now(),
            "position": 0, "private": asked["private"], "theme": "blue", "upvotes": 0,
        }  # fmt: skip
        return JSONResponse(self.there[slug])

    async def look(self, request: Request) -> Response:
        return JSONResponse(self._found(request))

    async def add(self, request: Request) -> Response:
        token, found, item = self.require_account(request), self._found(request), (await request.json())["item"]
        self.check_writer(token, "collection", found["slug"])
        if (item["type"], item["id"]) not in self.store.repos:
            raise ApiError(404, "Repository not found", "RepoNotFound")
        if item["id"] in [other["id"] for other in found["items"]]:
            raise ApiError(409, "The repository is already in the collection")
        found["items"].append({**item, "_id": str(len(found["items"])), "position": len(found["items"])})
        return JSONResponse(found)

    def _found(self, request: Request) -> dict[str, Any]:
        slug = f"{get_param(request, 'owner')}/{get_param(request, 'name')}"
        if slug not in self.there:
            raise ApiError(404, "Collection not found")
        return self.there[slug]
