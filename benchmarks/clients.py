"""Clients of a Gradio app, in a process of their own.

    python -m benchmarks.clients http://127.0.0.1:7860 predict --upload photo.jpg --clients 8 --seconds 5

Each client is a thread with a connection and a session that it keeps, as a browser and gradio_client do, and asks as
Gradio's HTTP API wants it: upload the file, post to /call for an event, read the event's stream to its end. http.client
takes a fraction of a millisecond for each of the three; what the process used of the processor is in what it prints, so
that one can see that it is not the limit. (Without a session, as with curl, Gradio makes one for each question.)
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
        """Ask one question; returns the endpoint's outputs.

        Raises:
            OSError or http.client.HTTPException: nobody answers.
            RuntimeError: the app answers with an error.
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
        """Upload a file; returns the path by which the app knows it."""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="{file.name}"\r\n\r\n'
        body = head.encode() + file.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode()
        return json.loads(
            self.request("POST", "/gradio_api/upload", body, f"multipart/form-data; boundary={BOUNDARY}")
        )[0]

    def request(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> bytes:
        """One request over the connection, which stays open."""
        self.connection.request(method, path, body, {"Content-Type": kind} if body else {})
        response = self.connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise RuntimeError(f"{path} answered {response.status}: {content[:200]!r}.")
        return content


def ask_in_parallel(
    url: str, questions: Sequence[Question], clients: int, seconds: float = 0, count: int = 0
) -> dict[str, float]:
    """Ask the questions in turn, from so many clients at once: for some seconds, or so many of them.

    Returns:
        How many were answered, answers a second, the median and 95th percentile of an answer's milliseconds, and the
        cores that this process kept busy.
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
        except Exception as error:  # whatever it is, the figures would be of something else
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
    parser.add_argument("--data", type=json.loads, default=[], help="the endpoint's arguments, a JSON list")
    parser.add_argument("--upload", metavar="FILE", help="a file that is uploaded anew for each question")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    question = (options.endpoint, options.data, options.upload)
    print(json.dumps(ask_in_parallel(options.url, [question], options.clients, options.seconds)), flush=True)


if __name__ == "__main__":
    main()
