"""Two replicas of a Space behind nginx with deploy/gallery.conf: restarts lose no request."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import pytest
from gradio_client import Client, handle_file

from tests.conftest import NGINX, ROOT, find_free_port, run_nginx, wait_for

pytestmark = pytest.mark.skipif(not NGINX, reason="nginx is not installed: apt-get install nginx-light")

CONFIGURATION = (ROOT / "deploy/gallery.conf").read_text()


@contextmanager
def run_replica(port, folder):
    """The process of a Space that shares the folder of uploads with others; killed at the end, if it still runs."""
    log = folder / f"replica-{port}"
    variables = {"GALLERY_REPLICA": "1", "GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": str(folder / "uploads")}
    with log.open("a") as output:
        command = [sys.executable, ROOT / "spaces/rating/app.py"]
        process = subprocess.Popen(command, env=os.environ | variables, stdout=output, stderr=output)
    try:
        wait_for(f"http://127.0.0.1:{port}", process, log)
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def run_balancer(ports, folder):
    """nginx with deploy/gallery.conf, in which only ports and the log are others; yields its address."""
    port = find_free_port()
    site = CONFIGURATION.replace("listen 8080", f"listen 127.0.0.1:{port}")
    site = site.replace("/var/log/nginx/gallery.log", str(folder / "access.log"))
    log = '$time_iso8601 $session $upstream_addr $upstream_status "$request"'  # the real one names no session
    site, count = re.subn(r"log_format replicas .*;", f"log_format replicas '{log}';", site)
    assert count == 1
    for written, own in zip(("7861", "7862"), ports, strict=True):
        assert f"server 127.0.0.1:{written} " in site
        site = site.replace(f"server 127.0.0.1:{written} ", f"server 127.0.0.1:{own} ")
    url = f"http://127.0.0.1:{port}"
    with run_nginx(site, url, folder):
        yield url


def read_log(folder):
    """What nginx logged: (session, the replica that answered, the request line) in order."""
    complete, _, _ = (folder / "access.log").read_text().rpartition("\n")  # nginx may be writing the next line
    for line in complete.splitlines():
        before, request, _ = line.split('"')
        _, session, *asked = before.replace(", ", ",").split()
        yield session, asked[0].split(",")[-1], request


class Visitors:
    """Sessions that ask steadily, each from threads of its own, until they leave; what went wrong is kept."""

    def __init__(self, url, folder, rating):
        self.url, self.folder, self.rating = url, folder, rating
        self.pairs = folder / "pairs.csv"
        self.pairs.write_text("user_id,movie_id\n" + "15,260\n" * 2_000)
        self.sessions, self.answers, self.failures = set(), defaultdict(int), []
        self.end, self.threads = threading.Event(), []

    def add(self, name, ask):
        """Let somebody ask again and again."""
        self.answers[name] = 0

        def run():
            while not self.end.wait(0.5):  # a replica that starts must get its share of this machine
                try:
                    ask()
                    self.answers[name] += 1
                except Exception as error:
                    self.failures.append(f"{name}: {type(error).__name__}: {error}")

        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()

    def welcome(self):
        """A new session, which asks for single answers; every third for whole files instead."""
        client, turn = Client(self.url, verbose=False), count()
        movies = list(self.rating.movies)[:50]

        def ask():
            movie = movies[next(turn) % len(movies)]
            answer = client.predict(15, movie, api_name="/predict")[0]
            assert answer["rating"] == self.rating.predict(15, movie).rating

        def ask_many():
            summary, _, file = client.predict(handle_file(self.pairs), api_name="/batch")
            assert summary == {"rows": 2_000, "answered": 2_000, "errors": 0}
            assert len(Path(file).read_text(encoding="utf-8").splitlines()) == 2_001

        ask()
        session = client.cookies["gallery_replica"]
        self.sessions.add(session)
        if len(self.sessions) % 3:
            self.add((session, "one"), ask)
        else:
            self.add((session, "many"), ask_many)

    def homes(self):
        """Where each session's questions were answered, in order and without repetition."""
        found = defaultdict(list)
        for session, place, request in read_log(self.folder):
            if session in self.sessions and "/queue/" in request and [place] != found[session][-1:]:
                found[session].append(place)
        return dict(found)

    def until_each_has(self, more):
        """Wait until every visitor has been answered so many times more; at once, if one has not been answered."""
        goal = {name: answers + more for name, answers in self.answers.items()}
        end = time.monotonic() + 120
        while any(self.answers[name] < answers for name, answers in goal.items()) and not self.failures:
            assert time.monotonic() < end, f"somebody waits: {dict(self.answers)}, {goal}"
            time.sleep(0.05)
        assert not self.failures

    def leave(self):
        """Nobody asks any more."""
        self.end.set()
        for thread in self.threads:
            thread.join(60)


def ask_without_cookie(url, rating):
    """Ask as curl does, without a cookie."""
    body = json.dumps({"data": [15, 260]}).encode()
    request = urllib.request.Request(f"{url}/gradio_api/call/predict", body, {"Content-Type": "application/json"})
    event = json.load(urllib.request.urlopen(request, timeout=60))["event_id"]
    answer = urllib.request.urlopen(f"{url}/gradio_api/call/predict/{event}", timeout=60).read().decode()
    assert "event: complete" in answer, answer
    assert json.loads(answer.split("data: ")[1])[0]["rating"] == rating.predict(15, 260).rating


def test_a_rolling_restart_loses_no_request_and_sessions_stay_where_they_are(rating, tmp_path):
    ports = [find_free_port(), find_free_port()]
    names = [f"127.0.0.1:{port}" for port in ports]
    with ExitStack() as stack:
        first, second = (stack.enter_context(run_replica(port, tmp_path)) for port in ports)
        url = stack.enter_context(run_balancer(ports, tmp_path))
        visitors = Visitors(url, tmp_path, rating)
        stack.callback(visitors.leave)
        while len(visitors.sessions) < 6 or len({home[0] for home in visitors.homes().values()}) < 2:
            visitors.welcome()
            assert len(visitors.sessions) < 30
        visitors.add("curl", lambda: ask_without_cookie(url, rating))
        visitors.until_each_has(3)
        before = visitors.homes()
        assert all(len(home) == 1 for home in before.values())

        first.send_signal(signal.SIGTERM)
        first.wait(120)
        visitors.until_each_has(3)
        assert first.returncode == 0
        assert visitors.homes() == {session: list(dict.fromkeys([*home, names[1]])) for session, home in before.items()}

        stack.enter_context(run_replica(ports[0], tmp_path))
        visitors.until_each_has(3)
        second.send_signal(signal.SIGTERM)
        second.wait(120)
        visitors.until_each_has(3)
        assert second.returncode == 0
        assert {home[-1] for home in visitors.homes().values()} == {names[0]}
        visitors.leave()
        assert not visitors.failures
