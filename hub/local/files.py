"""The routes of files: downloads, LFS uploads of large files, and the "CDN" for both."""

import hashlib
import math
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hub.local.access import Handlers, get_param
from hub.local.store import ApiError, Repository, Store


@dataclass
class Upload:
    """An announced upload; its address allows it without a token."""

    repo: Repository
    sha256: str
    size: int
    parts: dict[int, bytes] = field(default_factory=dict)


class Files(Handlers):
    """The routes of downloads and LFS.

    Args:
        store: the content of the Hub.
        endpoint: the address of the Hub.
        cdn: the address of the CDN.
        multipart_from: size in bytes; larger files are uploaded in parts of half this size.
    """

    def __init__(self, store: Store, endpoint: str, cdn: str, multipart_from: int) -> None:
        super().__init__(store)
        self.endpoint, self.cdn = endpoint, cdn
        self.multipart_from, self.part_size = multipart_from, max(1, multipart_from // 2)
        self.uploads: dict[str, Upload] = {}
        self.downloads: dict[str, bytes] = {}

    def routes(self) -> list[Route]:
        routes = [Route("/api/complete-upload/{ticket}", self.complete, methods=["POST"])]
        for repo in ("/{owner}/{name}", "/{kind}s/{owner}/{name}"):
            routes += [
                Route(repo + ".git/info/lfs/objects/batch", self.batch, methods=["POST"]),
                Route(repo + ".git/info/lfs/objects/verify", self.verify, methods=["POST"]),
                Route(repo + "/resolve/{revision}/{path:path}", self.resolve),
            ]
        return routes

    def cdn_routes(self) -> list[Route]:
        return [
            Route("/upload/{ticket}", self.upload, methods=["PUT"]),
            Route("/upload/{ticket}/{part:int}", self.upload, methods=["PUT"]),
            Route("/download/{ticket}", self.download),
        ]

    async def resolve(self, request: Request) -> Response:
        repo, path = self.find_downloadable(request), get_param(request, "path")
        commit = repo.at(get_param(request, "revision"))
        headers = {"X-Repo-Commit": commit.sha}
        if path not in commit.files:
            raise ApiError(404, "Entry not found", "EntryNotFound", headers)
        blob = commit.files[path]
        headers["ETag"] = f'"{blob.oid}"'
        if not blob.is_lfs:
            return answer_range(request, blob.data, headers)
        ticket = secrets.token_hex(16)
        self.downloads[ticket] = blob.data
        headers["Location"] = f"{self.cdn}/download/{ticket}"
        headers["X-Linked-Etag"], headers["X-Linked-Size"] = f'"{blob.sha256}"', str(len(blob.data))
        return Response(status_code=302, headers=headers)

    async def batch(self, request: Request) -> Response:
        repo, _ = self.find_writable(request)
        answers = []
        for item in (await request.json())["objects"]:
            answer = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in repo.lfs:
                ticket = secrets.token_hex(16)
                self.uploads[ticket] = Upload(repo, item["oid"], item["size"])
                upload: dict[str, object] = {"href": f"{self.cdn}/upload/{ticket}"}
                if item["size"] > self.multipart_from:
                    count = math.ceil(item["size"] / self.part_size)
                    parts = {f"{part:05}": f"{self.cdn}/upload/{ticket}/{part}" for part in range(1, count + 1)}
                    upload["href"] = f"{self.endpoint}/api/complete-upload/{ticket}"
                    upload["header"] = {"chunk_size": str(self.part_size), **parts}
                verify = {"href": f"{self.endpoint}/{repo.path}.git/info/lfs/objects/verify"}
                answer["actions"] = {"upload": upload, "verify": verify}
            answers.append(answer)
        return JSONResponse({"transfer": "basic", "objects": answers}, media_type="application/vnd.git-lfs+json")

    async def verify(self, request: Request) -> Response:
        (repo, _), asked = self.find_writable(request), await request.json()
        if len(repo.lfs.get(asked["oid"], b"")) != asked["size"]:
            raise ApiError(404, f"There is no upload {asked['oid']} with {asked['size']} bytes", "EntryNotFound")
        return JSONResponse({})

    async def complete(self, request: Request) -> Response:
        """Finish an upload in parts."""
        upload = self._find_upload(request)
        named = [(part["partNumber"], part["etag"]) for part in (await request.json())["parts"]]
        if named != [(number, _make_etag(data)) for number, data in sorted(upload.parts.items())]:
            raise ApiError(400, "The parts differ from the uploaded ones")
        return self._keep(upload, b"".join(upload.parts[number] for number, _ in named))

    async def upload(self, request: Request) -> Response:
        """Receive a file, or a part of one."""
        _check_anonymous(request)
        upload, data = self._find_upload(request), await request.body()
        if "part" not in request.path_params:
            return self._keep(upload, data)
        upload.parts[request.path_params["part"]] = data
        return Response(headers={"ETag": _make_etag(data)})

    async def download(self, request: Request) -> Response:
        _check_anonymous(request)
        ticket = request.path_params["ticket"]
        if ticket not in self.downloads:
            raise ApiError(403, "The address has expired", "Forbidden")
        return answer_range(request, self.downloads[ticket], {})

    def _find_upload(self, request: Request) -> Upload:
        if request.path_params["ticket"] not in self.uploads:
            raise ApiError(403, "The address has expired", "Forbidden")
        return self.uploads[request.path_params["ticket"]]

    def _keep(self, upload: Upload, data: bytes) -> Response:
        if len(data) != upload.size or hashlib.sha256(data).hexdigest() != upload.sha256:
            raise ApiError(400, "The content does not match its sha256 and size")
        upload.repo.lfs[upload.sha256] = data
        return Response(headers={"ETag": _make_etag(data)})


def answer_range(request: Request, data: bytes, headers: Mapping[str, str]) -> Response:
    """Return bytes, or the part requested by the Range header."""
    headers = {**headers, "Accept-Ranges": "bytes"}
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if not found:
        return Response(data, headers=headers, media_type="application/octet-stream")
    start, end = int(found[1]), min(int(found[2] or len(data)), len(data) - 1)
    if start > end:
        raise ApiError(416, "Range not satisfiable", headers={"Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
    return Response(data[start : end + 1], 206, headers, media_type="application/octet-stream")


def _make_etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


def _check_anonymous(request: Request) -> None:
    if "authorization" in request.headers:
        raise ApiError(400, "The address already includes authorization; send no Authorization header")
