"""Clients of a Gradio app, in a separate process.

    python -m benchmarks.clients http://127.0.0.1:7860 predict --upload photo.jpg --clients 8 --seconds 5

Each client is a thread that keeps its connection and session, like a browser or gradio_client. It uses Gradio's HTTP
API: upload the file, post to /call for an event, read the event's stream to its end. http.client takes a fraction of a
millisecond for each. The output includes the processor time of this process, to show that it is not the bottleneck.
(Without a session, as with curl, Gradio creates one for each question.)
"""

import argparse
import http.client
import itertools
import json
import secrets
import statistics
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

BOUNDARY = "a-boundary-that-no-picture-contains"
Question = tuple[str, Sequence[Any], str | None]  # endpoint, data, file to upload as the first of the data


class Refused(RuntimeError):
    """An HTTP answer other than 200; `retry_after` is what its header says, in seconds, or None."""

    def __init__(self, path: str, status: int, content: bytes, retry_after: str | None) -> None:
        super().__init__(f"{path} answered {status}: {content[:200]!r}.")
        self.status = status
        self.retry_after = int(retry_after) if retry_after else None


class Client:
    """A connection to a Gradio app that asks as curl and gradio_client do; `session` may be None."""

    def __init__(self, url: str, timeout: float = 120, headers: Mapping[str, str] | None = None) -> None:
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=timeout)
        self.headers = dict(headers or {})
        self.session: str | None = secrets.token_hex(8)

    def ask(self, question: Question) -> list[Any]:
        """Ask one question; return the outputs of the endpoint.

        Raises:
            OSError or http.client.HTTPException: there is no answer.
            RuntimeError: the answer is an error.
        """
        endpoint, data, file = question
        if file:
            data = [*self.upload((Path(file).name, Path(file).read_bytes())), *data]
        return self.call(endpoint, data)

    def call(self, endpoint: str, data: Sequence[Any]) -> list[Any]:
        """Send the arguments of an endpoint; return its outputs. See `ask` for the errors."""
        call = f"/gradio_api/call/{endpoint}"
        session = {"session_hash": self.session} if self.session else {}
        event = self.post(call, {"data": data, **session})["event_id"]
        stream = self.request("GET", f"{call}/{event}").decode()
        if "event: error\n" in stream:
            raise RuntimeError(f"{endpoint} answered {stream[-200:]!r}.")
        if "event: complete\n" not in stream:
            raise ConnectionError(f"The stream of {endpoint} ended without an answer: {stream[-200:]!r}.")
        return json.loads(stream.rsplit("data: ", 1)[1])

    def upload(self, *files: tuple[str, bytes]) -> list[dict[str, Any]]:
        """Upload files, each a name and its content; return them as arguments of an endpoint."""
        parts = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
            + content
            + b"\r\n"
            for name, content in files
        )
        body = b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        paths = json.loads(self.request("POST", "/gradio_api/upload", body, kind))
        return [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in paths]

    def post(self, path: str, content: object) -> Any:
        """Send JSON; return the JSON of the response."""
        return json.loads(self.request("POST", path, json.dumps(content).encode(), "application/json"))

    def request(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> bytes:
        """Send a request over the open connection; return the content of the response.

        Raises:
            Refused: the status is not 200.
        """
        self.connection.request(method, path, body, self.headers | ({"Content-Type": kind} if body else {}))
        response = self.connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise Refused(path, response.status, content, response.getheader("Retry-After"))
        return content

    def open_stream(self, path: str) -> http.client.HTTPResponse:
        """Open a stream; return it unread."""
        self.connection.request("GET", path, headers=self.headers)
        response = self.connection.getresponse()
        if response.status != 200:
            raise Refused(path, response.status, response.read(), response.getheader("Retry-After"))
        return response

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


class Browser(Client):
    """A page in a browser: one session, its heartbeat open all the time, and the session's stream for the answers.

    Args:
        url: the address of the app.
        ids: the ids of its endpoints; see read_endpoint_ids.
        options: options of Client.
    """

    def __init__(self, url: str, ids: Mapping[str, int], **options: Any) -> None:
        super().__init__(url, **options)
        self.ids = ids
        self.alive = Client(url, **options)
        self.heartbeat = self.alive.open_stream(f"/gradio_api/heartbeat/{self.session}")

    def call(self, endpoint: str, data: Sequence[Any]) -> list[Any]:
        """Send the arguments of an endpoint; return its outputs. See `ask` for the errors."""
        asked = {"data": data, "fn_index": self.ids[endpoint], "session_hash": self.session}
        event = self.post("/gradio_api/queue/join", asked)["event_id"]
        stream = self.request("GET", f"/gradio_api/queue/data?session_hash={self.session}").decode()
        messages = [json.loads(line[len("data: ") :]) for line in stream.split("\n\n") if line.startswith("data: ")]
        for message in messages:
            if message["msg"] == "process_completed" and message["event_id"] == event:
                if not message["success"]:
                    raise RuntimeError(f"{endpoint} answered {str(message['output'])[:200]}.")
                return message["output"]["data"]
        raise ConnectionError(f"The stream of {endpoint} ended without an answer: {stream[-200:]!r}.")

    def close(self) -> None:
        """Close the page."""
        self.heartbeat.close()
        self.alive.close()
        super().close()


def read_endpoint_ids(url: str) -> dict[str, int]:
    """Return the ids of an app's public endpoints, by name."""
    config = json.loads(Client(url).request("GET", "/config"))
    return {each["api_name"]: each["id"] for each in config["dependencies"] if each["api_visibility"] == "public"}


def ask_in_parallel(
    url: str, questions: Sequence[Question], clients: int, seconds: float = 0, count: int = 0
) -> dict[str, float]:
    """Ask the questions in turn from several clients at once, for `seconds` or until `count` answers.

    Returns:
        The number of answers, answers a second, the median and 95th percentile of their milliseconds, and the number
        of cores that this process kept busy.
    """
    asked: Iterator[Question] = itertools.islice(itertools.cycle(questions), count or None)
    lock, took, errors = threading.Lock(), [], []

    def client() -> None:
        connection = Client(url)
        try:
            while not errors and (count or time.perf_counter() < start + seconds):
                with lock:
                    question = next(asked, None)
                if question is None:
                    return
                begun = time.perf_counter()
                connection.ask(question)
                took.append(1000 * (time.perf_counter() - begun))
        except Exception as error:  # any error invalidates the figures
            errors.append(error)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    start, busy = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    elapsed, busy = time.perf_counter() - start, time.process_time() - busy
    took.sort()
    return {
        "answers": len(took),
        "per_second": len(took) / elapsed,
        "p50_ms": statistics.median(took),
        "p95_ms": took[min(len(took) - 1, round(0.95 * len(took)))],
        "client_cores": busy / elapsed,
    }


def main() -> None:
    """Ask one question again and again, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("endpoint")
    parser.add_argument("--data", type=json.loads, default=[], help="arguments of the endpoint, as a JSON list")
    parser.add_argument("--upload", metavar="FILE", help="a file to upload for each question")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    question = (options.endpoint, options.data, options.upload)
    print(json.dumps(ask_in_parallel(options.url, [question], options.clients, options.seconds)), flush=True)


if __name__ == "__main__":
    main()
