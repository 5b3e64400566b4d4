"""The files of one client, and of all, take limited space."""

import base64
import http.client
import json
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

import gradio as gr
import pytest
from PIL import Image
from starlette.exceptions import HTTPException

from shared.ui import Photo, http_body, storage
from shared.ui.files import keep_picture
from shared.ui.retention import sweep
from shared.ui.storage import CLIENT, Storage, keep_bytes, keep_file
from tests.conftest import launch_app, set_limits
from tests.shared.ui.test_fair_queue import wait_until

FORM = {"Content-Type": "multipart/form-data; boundary=b"}
MINE = "127.0.0.1"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of uploads, of which nothing is counted yet."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    (tmp_path / "uploads").mkdir()
    new = Storage()
    for module in (storage, http_body):
        monkeypatch.setattr(module, "STORAGE", new)
    monkeypatch.setattr(storage, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(storage, "MEASURING_SHARE", 1e9)
    return tmp_path / "uploads"


@pytest.fixture
def url(folder):
    with gr.Blocks() as demo:
        picture, out = Photo(), gr.JSON()
        picture.change(lambda path: {"bytes": Path(path).stat().st_size}, picture, out, api_name="size")
        text, file = gr.Textbox(), gr.File()
        text.submit(lambda text: keep_bytes(text.encode() * 60_000, "a.txt"), text, file, api_name="write")
    with launch_app(demo) as url:
        yield url


def upload(url, *contents, headers=(), parts=None, name="a.bin"):
    """Upload files in one request; returns the status, Retry-After, and the paths or the sentence."""
    body = b"".join(
        f'--b\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode() + content + b"\r\n"
        for content in contents
    )
    body += b"--b--\r\n"
    whole = body
    if parts:
        body = (whole[start : start + parts] for start in range(0, len(whole), parts))
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request("POST", "/gradio_api/upload", body, {**FORM, **dict(headers)})
        response = connection.getresponse()
        content = json.loads(response.read())
        return (
            response.status,
            response.getheader("Retry-After"),
            content if response.status == 200 else content["detail"],
        )
    finally:
        connection.close()


def ask(url, name, value):
    """Ask an endpoint; returns the kind and the data of the answer."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    body = json.dumps({"data": [value]})
    connection.request("POST", f"/gradio_api/call/{name}", body, {"Content-Type": "application/json"})
    event = json.loads(connection.getresponse().read())["event_id"]
    connection.request("GET", f"/gradio_api/call/{name}/{event}")
    kind, _, data = connection.getresponse().read().decode().strip().rpartition("event: ")[2].partition("\ndata: ")
    connection.close()
    return kind, json.loads(data)


def count_bytes(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# --- uploads ---


def test_uploads_beyond_a_clients_share_are_refused_whatever_their_form(url, folder, monkeypatch):
    set_limits(monkeypatch, client_file_bytes=1_000_000)
    for number in range(4):
        assert upload(url, os.urandom(200_000), parts=50_000 if number % 2 else None)[0] == 200
    before = count_bytes(folder)
    for parts in (None, 50_000):  # with Content-Length, and chunked
        status, wait, sentence = upload(url, os.urandom(300_000), parts=parts)
        assert (status, wait) == (429, "300")
        assert sentence == "One visitor may have 0.001 GB of files here; yours are deleted 60 minutes after use."
    assert upload(url, os.urandom(1_100_000))[0] == 413  # more than the whole share
    assert count_bytes(folder) == before
    assert not storage.STORAGE.unfinished
    assert not storage.STORAGE.arriving


def test_many_small_uploads_are_no_way_around_it(url, folder, monkeypatch):
    """Each file takes blocks, a folder, and time to find and delete."""
    set_limits(monkeypatch, client_file_bytes=2_000_000)
    statuses = [upload(url, bytes([number]))[0] for number in range(45)]
    assert statuses == [200] * (2_000_000 // storage.FILE_COST) + [429] * 5


def test_many_small_files_in_one_upload_count_as_much(url, folder, monkeypatch):
    set_limits(monkeypatch, client_file_bytes=2_000_000)
    status, _, sentence = upload(url, *[number.to_bytes(2, "big") for number in range(300)])
    assert (status, sentence[:21]) == (429, "One visitor may have ")
    wait_until(lambda: not storage.STORAGE.arriving)
    assert not count_bytes(folder)
    assert upload(url, *[bytes([number]) for number in range(40)])[0] == 200
    assert upload(url, b"one more")[0] == 429


def test_many_small_files_in_several_uploads_at_once_count_as_much(url, monkeypatch):
    set_limits(monkeypatch, client_file_bytes=2_000_000)
    address = urlsplit(url)
    head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM['Content-Type']}\r\n"
    part = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nx\r\n'
    with socket.create_connection((address.hostname, address.port)) as client:
        client.sendall(head.encode() + b"Content-Length: 9000\r\n\r\n" + 30 * part)
        wait_until(lambda: storage.STORAGE.arriving[MINE] == 30 * storage.FILE_COST)
        assert upload(url, *[bytes([number]) for number in range(11)])[0] == 429
        assert upload(url, *[bytes([number]) for number in range(10)])[0] == 200
    wait_until(lambda: not storage.STORAGE.arriving)
    assert storage.STORAGE.used == {MINE: 10 * storage.FILE_COST}
    assert upload(url, *[bytes([number]) for number in range(50, 80)])[0] == 200


def test_the_same_file_counts_once_and_under_another_name_twice(url, monkeypatch):
    set_limits(monkeypatch, client_file_bytes=1_000_000)
    content = os.urandom(300_000)
    assert {upload(url, content)[0] for _ in range(8)} == {200}
    assert [upload(url, content, name=f"{number}.bin")[0] for number in range(4)] == [200, 200, 429, 429]


def test_an_upload_that_is_cut_off_in_the_middle_takes_no_room(url, folder):
    address = urlsplit(url)
    head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM['Content-Type']}\r\n"
    part = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n' + bytes(90_000)
    for _ in range(20):
        with socket.create_connection((address.hostname, address.port)) as client:
            client.sendall(head.encode() + b"Content-Length: 4000000\r\n\r\n" + part)
            wait_until(lambda: storage.STORAGE.arriving[MINE] > 80_000)
        wait_until(lambda: not storage.STORAGE.arriving)
    assert not storage.STORAGE.unfinished
    assert not storage.STORAGE.used
    wait_until(lambda: not count_bytes(folder))


def test_unfinished_uploads_count_as_soon_as_they_arrive(url, monkeypatch):
    """Else many at once would each be within the limit."""
    set_limits(monkeypatch, client_file_bytes=1_000_000)
    address = urlsplit(url)
    head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM['Content-Type']}\r\n"
    part = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n' + bytes(300_000)
    clients = []
    for number in range(3):
        clients.append(socket.create_connection((address.hostname, address.port)))
        clients[-1].sendall(head.encode() + b"Content-Length: 900000\r\n\r\n" + part)
        wait_until(lambda count=number: storage.STORAGE.arriving[MINE] > 300_000 * (count + 1))
    assert upload(url, os.urandom(200_000))[0] == 429
    for client in clients:
        client.close()
    wait_until(lambda: not storage.STORAGE.arriving)
    assert upload(url, os.urandom(200_000))[0] == 200


def test_a_forged_header_gives_no_second_share(url, monkeypatch):
    set_limits(monkeypatch, client_file_bytes=500_000)
    monkeypatch.setenv("GALLERY_TRUSTED_PROXIES", "1")
    forged = [
        upload(url, os.urandom(200_000), headers={"X-Forwarded-For": f"6.6.6.{number}, 10.0.0.1"})[0]
        for number in range(4)
    ]
    assert forged == [200, 200, 429, 429]
    assert upload(url, os.urandom(200_000), headers={"X-Forwarded-For": "10.0.0.2"})[0] == 200
    assert storage.STORAGE.used == {"10.0.0.1": 400_000, "10.0.0.2": 200_000}


def test_all_files_together_are_limited_and_those_of_other_processes_count(url, folder, monkeypatch):
    set_limits(monkeypatch, all_file_bytes=1_000_000)
    assert upload(url, os.urandom(200_000))[0] == 200
    other = folder / ("a" * 64)
    other.mkdir()
    (other / "file").write_bytes(bytes(700_000))
    (folder / "notes.txt").write_bytes(bytes(10_000_000))  # of another program
    status, wait, sentence = upload(url, os.urandom(200_000))
    assert (status, wait, sentence) == (507, "300", "The server has no room for more files; try again later.")
    (other / "file").unlink()
    assert upload(url, os.urandom(200_000))[0] == 200


def test_files_that_are_deleted_make_room(url, folder, monkeypatch):
    set_limits(monkeypatch, client_file_bytes=500_000)
    assert [upload(url, os.urandom(200_000))[0] for _ in range(3)] == [200, 200, 429]
    sweep(folder, set(), older_than=-10)
    assert count_bytes(folder) == 0
    assert [upload(url, os.urandom(200_000))[0] for _ in range(3)] == [200, 200, 429]


# --- files in JSON, and files of answers ---


def test_pictures_as_text_count_too(url, monkeypatch):
    set_limits(monkeypatch, client_file_bytes=500_000)
    for number in range(3):
        content = base64.b64encode(os.urandom(200_000)).decode()
        kind, answer = ask(url, "size", f"data:image/png;base64,{content}")
        if number < 2:
            assert (kind, answer) == ("complete", [{"bytes": 200_000}])
    assert kind == "error"
    assert answer["error"].startswith("One visitor may have 0.0005 GB of files here")


def test_files_of_answers_count_too(url, folder, monkeypatch):
    set_limits(monkeypatch, client_file_bytes=500_000)
    found = [ask(url, "write", f"{number:03}")[0] for number in range(4)]
    assert found == ["complete", "complete", "error", "error"]
    assert ask(url, "write", "000")[0] == "error"
    assert count_bytes(folder) < 500_000


def test_pictures_and_copies_are_files_of_their_client(folder, tmp_path, monkeypatch):
    (tmp_path / "table.csv").write_bytes(b"a\n1\n")
    keep_file(tmp_path / "table.csv")  # of the app itself
    CLIENT.set("somebody")
    keep_picture(Image.new("RGB", (5, 5)), "picture.png")
    keep_file(tmp_path / "table.csv")
    CLIENT.set("")
    assert storage.STORAGE.used == {"somebody": 2 * storage.FILE_COST}
    set_limits(monkeypatch, client_file_bytes=1)
    keep_picture(Image.new("RGB", (5, 6)), "picture.png")  # the app's own files are not limited
    CLIENT.set("somebody")
    for keep in (lambda: keep_bytes(b"x", "a.txt"), lambda: keep_file(tmp_path / "table.csv")):
        with pytest.raises(gr.Error, match="One visitor may have"):
            keep()
    CLIENT.set("")


# --- counting ---


def test_what_is_counted_takes_bounded_memory(folder, monkeypatch):
    monkeypatch.setattr(storage, "FILES", 100)
    counted = Storage()
    for number in range(1_000):
        counted.add(f"client {number % 7}", [folder / f"{number:064x}" / "a.bin"])
    assert len(counted.owners) == 100
    assert sum(counted.used.values()) == 100 * storage.FILE_COST
    counted.measure()
    assert not counted.owners
    assert not counted.used


def test_a_file_counts_for_who_wrote_it_last_and_not_for_ever(folder, monkeypatch):
    path = folder / ("b" * 64) / "a.bin"
    path.parent.mkdir()
    path.write_bytes(bytes(100_000))
    counted = Storage()
    counted.add("first", [path])
    counted.add("second", [path])
    assert counted.used == {"second": 100_000}
    counted.measure()
    assert counted.used == {"second": 100_000}
    assert (counted.measured, counted.added) == (100_000, 0)
    set_limits(monkeypatch, kept_seconds=-1_000)  # long ago; the app itself shows the file, so it stays
    counted.measure()
    assert not counted.used
    assert counted.measured == 100_000


def write_upload(folder, letter, size):
    path = folder / (letter * 64) / "a.bin"
    path.parent.mkdir()
    path.write_bytes(bytes(size))


def test_the_folder_is_measured_seldom(folder, monkeypatch):
    """Else each upload, also one that is refused, would list all files."""
    counted = Storage()
    for fresh, share in ((1_000.0, 1e9), (0.0, 1e-12)):
        monkeypatch.setattr(storage, "FRESH_SECONDS", fresh)
        monkeypatch.setattr(storage, "MEASURING_SHARE", share)
        counted.measure_at = 0.0
        counted.measure()
        before = counted.measured
        write_upload(folder, f"{share:g}"[-1], 100_000)
        counted.measure()
        assert counted.measured == before
        counted.measure_at = 0.0
        counted.measure()
        assert counted.measured == before + 100_000


def test_what_is_arriving_counts_for_all_clients_and_once(folder, monkeypatch):
    set_limits(monkeypatch, all_file_bytes=1_000_000)
    counted = Storage()
    counted.arrive("first", 600_000)
    with pytest.raises(HTTPException) as refused:
        counted.arrive("second", 500_000)
    assert refused.value.status_code == 507
    write_upload(folder, "c", 600_000)  # where it arrives
    counted.measure()
    assert counted.measured == 0
    counted.arrive("second", 300_000)
