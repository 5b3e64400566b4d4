"""The clients of benchmarks/load.py: many at once, each with its own address, half of them with a session."""

import collections
import http.client
import itertools
import random
import resource
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from benchmarks.attacks import Attack
from benchmarks.clients import Browser, Client, Refused
from benchmarks.questions import Question, WrongAnswer

PATIENCE = 300  # seconds, as long as an event may take
LONGEST_WAIT = 5  # seconds, however long the app says a client should wait
WAIT_STATUS = {429, 503}  # "try again", if it says when
FAILURES = ("5xx", "stopped", "wrong")

Work = Callable[[Client], None]


class Records:
    """What clients met: seconds by kind of question, counts, and failures by kind."""

    def __init__(self) -> None:
        self.took: dict[str, list[float]] = collections.defaultdict(list)
        self.counts: collections.Counter[str] = collections.Counter()
        self.failures: dict[str, list[str]] = {name: [] for name in FAILURES}
        self.lock = threading.Lock()

    @property
    def requests(self) -> int:
        """The number of answers, attacks and failures."""
        return sum(map(len, list(self.took.values()))) + self.counts["hostile"] + self.count_failures()

    def count(self, name: str) -> None:
        """Count one."""
        with self.lock:
            self.counts[name] += 1

    def count_failures(self) -> int:
        """Return the number of failures."""
        return sum(map(len, self.failures.values()))

    def meet(self, work: Callable[[], None]) -> bool:
        """Do some work and record its failure; return False if it left the connection broken."""
        try:
            work()
        except Refused as refused:
            if refused.status in WAIT_STATUS and refused.retry_after:
                self.count("told to wait")
                time.sleep(min(refused.retry_after, LONGEST_WAIT))
            else:
                self.failures["5xx" if refused.status >= 500 else "wrong"].append(str(refused))
        except (OSError, http.client.HTTPException) as error:
            self.failures["stopped"].append(f"{type(error).__name__}: {error}")
            return False
        except (WrongAnswer, RuntimeError, ValueError, LookupError) as error:  # the last two for a malformed answer
            self.failures["wrong"].append(f"{type(error).__name__}: {error}")
        return True


class Traffic:
    """Clients who ask an app.

    Args:
        url: the address of the app.
        ids: the ids of the app's endpoints; see read_endpoint_ids.
        asked: questions by kind.
        weights: the frequency of each kind.
        attacks: what hostile clients send.
        hostile: the share of attacks.
    """

    def __init__(
        self,
        url: str,
        ids: Mapping[str, int],
        asked: Mapping[str, Sequence[Question]],
        weights: Mapping[str, float],
        attacks: Sequence[Attack] = (),
        hostile: float = 0,
    ) -> None:
        self.url, self.ids, self.asked, self.weights = url, ids, asked, weights
        self.attacks, self.hostile = attacks, hostile
        self.records = Records()
        self.addresses = make_addresses()

    def start(self, clients: int, is_over: Callable[[], bool]) -> list[threading.Thread]:
        """Start clients that ask until it is over; return their threads."""
        return start_threads(clients, lambda number: self.visit(number, self.choose(random.Random(number), is_over)))

    def ask_all(self, clients: int) -> None:
        """Ask every question and try every attack once, without recording times."""
        works = [*(question.ask for asked in self.asked.values() for question in asked), *self.attacks]
        for thread in start_threads(clients, lambda number: self.visit(number, works[number::clients])):
            thread.join()

    def visit(self, number: int, works: Iterable[Work]) -> None:
        """Do the works: every second client in one session, the others with a new connection and address each time."""
        keeps_session = number % 2 == 0
        client: Client | None = None

        def do(work: Work) -> None:
            nonlocal client
            client = client or self.open(keeps_session)
            work(client)

        for work in works:
            is_whole = self.records.meet(partial(do, work))
            if not is_whole:
                time.sleep(1)  # the app may be gone
            if client and not (keeps_session and is_whole):
                client.close()
                client = None
        if client:
            client.close()

    def open(self, keeps_session: bool) -> Client:
        """Return a new client."""
        headers = {"X-Forwarded-For": next(self.addresses)}
        if keeps_session:
            return Browser(self.url, self.ids, timeout=PATIENCE, headers=headers)
        client = Client(self.url, timeout=PATIENCE, headers=headers)
        client.session = None
        return client

    def choose(self, rng: random.Random, is_over: Callable[[], bool]) -> Iterator[Work]:
        """Yield questions and attacks at random until it is over."""
        kinds, weights = list(self.weights), list(self.weights.values())
        while not is_over():
            if rng.random() < self.hostile:
                yield partial(self.attack, rng.choice(self.attacks))
            else:
                kind = rng.choices(kinds, weights)[0]
                yield self.make_work(kind, rng.choice(self.asked[kind]))

    def make_work(self, kind: str, question: Question) -> Work:
        """Return the work of asking a question, which records its seconds."""

        def work(client: Client) -> None:
            begun = time.monotonic()
            question.ask(client)
            self.records.took[kind].append(time.monotonic() - begun)

        return work

    def attack(self, attack: Attack, client: Client) -> None:
        """Try an attack, and count it."""
        attack(client)
        self.records.count("hostile")


def make_addresses() -> Iterator[str]:
    """Yield addresses from the network for benchmarks, 198.18.0.0/15 (RFC 2544), again after the last."""
    for number in itertools.count():
        yield f"198.{18 + (number >> 16) % 2}.{(number >> 8) % 256}.{number % 256}"


def start_threads(count: int, work: Callable[[int], None]) -> list[threading.Thread]:
    """Start threads that do a numbered work; return them."""
    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    return threads


# --- sessions that are opened and abandoned ---


def abandon_sessions(traffic: Traffic, count: int) -> None:
    """Open pages until all are open at once, most of them with an event; then cut them off without a word."""
    raise_file_limit()
    pages: list[Browser] = []
    for _ in range(count):
        traffic.records.meet(lambda: pages.append(traffic.open(keeps_session=True)))
    for number, page in enumerate(pages):
        traffic.records.meet(partial(leave_event, traffic, page, number))
    for number, page in enumerate(pages):
        cut_off(page, is_reset=number % 2 == 0)


def leave_event(traffic: Traffic, page: Browser, number: int) -> None:
    """Send an event from a page: for every fifth a slow one; two of three pages then listen for the answer."""
    question = traffic.asked["segmentation" if number % 5 == 0 else "rating"][0]
    data = [*(page.upload(*question.files) if question.files else ()), *question.data]
    asked = {"data": data, "fn_index": page.ids[question.endpoint], "session_hash": page.session}
    page.post("/gradio_api/queue/join", asked)
    if number % 3:
        page.open_stream(f"/gradio_api/queue/data?session_hash={page.session}")


def cut_off(page: Browser, is_reset: bool) -> None:
    """Close the connections of a page, also in the middle of a stream; with or without a reset (RST)."""
    for connection in (page.connection, page.alive.connection):
        if is_reset and connection.sock:
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    page.close()


def raise_file_limit() -> None:
    """Let this process open as many connections as the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
