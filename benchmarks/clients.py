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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

BOUNDARY = "a-boundary-that-no-picture-contains"
Question = tuple[str, Sequence[Any], str | None]  # endpoint, data, file to upload as the first of the data


class Client:
    """A connection to a Gradio app."""

    def __init__(self, url: str, timeout: float = 120) -> None:
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=timeout)
        self.session: str | None = secrets.token_hex(8)

    def ask(self, question: Question) -> list[Any]:
        """Ask one question; return the outputs of the endpoint.

        Raises:
            OSError or http.client.HTTPException: there is no answer.
            RuntimeError: the answer is an error.
        """
        endpoint, data, file = question
        if file:
            data = [{"path": self.upload(Path(file)), "meta": {"_type": "gradio.FileData"}}, *data]
        call = f"/gradio_api/call/{endpoint}"
        session = {"session_hash": self.session} if self.session else {}
        body = json.dumps({"data": data, **session}).encode()
        event = json.loads(self.request("POST", call, body, "application/json"))["event_id"]
        stream = self.request("GET", f"{call}/{event}").decode()
        if "event: complete\n" not in stream:
            raise RuntimeError(f"{endpoint} answered {stream[:200]!r}.")
        return json.loads(stream.rsplit("data: ", 1)[1])

    def upload(self, file: Path) -> str:
        """Upload a file; return its path in the app."""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="{file.name}"\r\n\r\n'
        body = head.encode() + file.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode()
        return json.loads(
            self.request("POST", "/gradio_api/upload", body, f"multipart/form-data; boundary={BOUNDARY}")
        )[0]

    def request(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> bytes:
        """Send a request over the open connection; return the content of the response."""
        self.connection.request(method, path, body, {"Content-Type": kind} if body else {})
        response = self.connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise RuntimeError(f"{path} answered {response.status}: {content[:200]!r}.")
        return content


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
