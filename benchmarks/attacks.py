"""What a hostile client sends to the gallery in benchmarks/load.py."""

import io
import json
from collections.abc import Callable
from functools import cache
from typing import Any

from PIL import Image

from benchmarks.apps import ROOT
from benchmarks.clients import Client, Refused
from benchmarks.questions import WrongAnswer

REFUSALS = {400, 403, 404, 413, 422}
UPLOADED = {"_type": "gradio.FileData"}

Attack = Callable[[Client], None]


def list_attacks() -> list[Attack]:
    """Return the attacks.

    Each raises WrongAnswer if it succeeds, and Refused if the answer says that it failed by chance, as 429 and 503 do.
    """
    return [
        call("segmentation", [{"path": str(ROOT / "spaces/cat_dog/examples/cat.png")}]),
        call("cat_dog", [{"path": "/etc/passwd", "meta": UPLOADED}]),
        call("rating_recommend", [None, json.loads("[" * 60 + "]" * 60), 10]),
        call("rating_recommend", [None, [{}] * 30_000, 10]),
        call("no_such_endpoint", []),
        call("rating", [15, 260], session_hash="x" * 9_999),
        post("run/rating", {"data": [15, 260]}),
        post("queue/join", {"data": [], "fn_index": -1, "session_hash": "x"}),
        post("component_server", {}),
        send_bomb,
        cut_upload,
    ]


def post(route: str, content: object) -> Attack:
    """Return an attack that sends JSON, which must be refused."""
    path, body = f"/gradio_api/{route}", json.dumps(content).encode()

    def attack(client: Client) -> None:
        try:
            client.request("POST", path, body, "application/json")
        except Refused as refused:
            if refused.status not in REFUSALS:
                raise
        else:
            raise WrongAnswer(f"{path} accepted {body[:100]!r}.")

    return attack


def call(endpoint: str, data: list[Any], **more: str) -> Attack:
    """Return an attack that asks an endpoint."""
    return post(f"call/{endpoint}", {"data": data, **more})


def send_bomb(client: Client) -> None:
    """Send a picture of 120 megapixels; an error or an answer of bounded cost is right."""
    uploads = client.upload(("picture.jpg", make_decompression_bomb()))
    try:
        client.call("segmentation", uploads)
    except Refused:
        raise
    except RuntimeError:  # the model's error
        pass


def cut_upload(client: Client) -> None:
    """Stop in the middle of an upload."""
    client.connection.close()
    client.connection.putrequest("POST", "/gradio_api/upload")
    kind = "multipart/form-data; boundary=half"
    for name, value in {**client.headers, "Content-Type": kind, "Content-Length": "1000000"}.items():
        client.connection.putheader(name, value)
    start = b'--half\r\nContent-Disposition: form-data; name="files"; filename="half.jpg"\r\n\r\n'
    client.connection.endheaders(start + bytes(500_000))
    client.connection.close()


@cache
def make_decompression_bomb() -> bytes:
    """Return a JPEG of a few hundred bytes whose header claims 120 megapixels."""
    content = io.BytesIO()
    Image.new("L", (8, 8)).save(content, "JPEG")
    data = bytearray(content.getvalue())
    frame = data.index(b"\xff\xc0") + 5  # after the marker, its length and the precision
    data[frame : frame + 4] = (10_950).to_bytes(2) * 2
    return bytes(data)
