"""All limits for visitors: how much a request may contain, cost and leave behind, and how many there may be.

Each is read once, at the start, from its environment variable: GALLERY_ROWS for `rows`.

    python -c "from shared.limits import LIMITS; print(LIMITS.as_table())"     # those in force
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

PREFIX = "GALLERY_"


def _limit(default: int, reason: str) -> Any:
    """Return a field of Limits; `reason` says what is limited, and why to this value."""
    return field(default=default, metadata={"reason": reason})


@dataclass(frozen=True)
class Limits:
    """The limits for visitors, in the unit that the name gives; their reasons are in the fields' metadata."""

    # Pictures
    picture_bytes: int = _limit(25_000_000, "the file of a picture, which is held in memory")
    pixels: int = _limit(24_000_000, "a picture decoded in full, at several bytes of memory for each pixel")
    webp_pixels: int = _limit(13_000_000, "a WebP, whose decoder keeps several copies")
    avif_pixels: int = _limit(20_000_000, "an AVIF, whose decoder keeps several copies")
    jpeg_pixels: int = _limit(120_000_000, "a JPEG that is decoded at reduced size, which needs little memory")
    aspect_ratio: int = _limit(50, "long side of a picture to its short side; a line would fill the width of a page")
    request_pixels: int = _limit(
        300_000_000, "all pictures of a request, as the cost of decoding them; 200 JPEGs of 12 megapixels"
    )
    mask_pixels: int = _limit(24_000_000, "a mask with 11 classes; that of a larger picture is scaled down")
    request_mask_pixels: int = _limit(100_000_000, "all masks of a request, as their cost; its work and memory")

    # Texts and tables
    text_characters: int = _limit(5_000_000, "a text for a model, which reads its beginning and end; a long novel")
    page_characters: int = _limit(100_000, "a text on a page, which is classified while it is typed")
    texts: int = _limit(5_000, "texts in a file; the work of a request")
    table_bytes: int = _limit(50_000_000, "a table or file of texts, which is read three times")
    rows: int = _limit(100_000, "rows of a table; the work of a request")
    columns: int = _limit(200, "columns of a table; each is kept in the answer")

    # Files of a batch
    batch_files: int = _limit(200, "files of a batch, zips unpacked; the work of a request")
    zipped_file_bytes: int = _limit(25_000_000, "a file in a zip, unpacked, since it is held in memory")
    zip_bytes: int = _limit(200_000_000, "all zips of a request, packed and unpacked; against zip bombs")

    # A request
    request_bytes: int = _limit(1_300_000, "a request other than an upload; 100,000 escaped characters have 1.2 MB")
    example_bytes: int = _limit(100_000, "a request that selects an example")
    upload_bytes: int = _limit(210_000_000, "all files of an upload: the largest zips, and the form around them")
    file_bytes: int = _limit(50_000_000, "one file of an upload; the largest table")
    field_bytes: int = _limit(10_000, "a field of an upload that is not a file, since it is held in memory")
    query_characters: int = _limit(2_000, "the part of an address after the question mark")
    header_bytes: int = _limit(128_000, "the header of a request, or what follows its body; uvicorn would read on")
    session_characters: int = _limit(128, "the name of a session, which Gradio keeps in many places")
    data_depth: int = _limit(32, "levels of nested lists and mappings in the data of an event")
    data_items: int = _limit(20_000, "items of all lists and mappings in the data of an event; rates every movie")
    header_seconds: int = _limit(15, "until the header of a request has arrived; else idle connections pile up")
    silence_seconds: int = _limit(15, "the longest pause within a request; else half-sent requests pile up")
    bytes_per_second: int = _limit(
        1_000, "the slowest request, on average after its first minute; a bad mobile network has ten times that"
    )
    unread_seconds: int = _limit(120, "how long an answer may wait for its client to read; else slow readers pile up")

    client_requests: int = _limit(
        1_000,
        "requests of a client in progress at once, at most a quarter of the files that the process may open, since "
        "each has a connection; a page has up to nine while it opens",
    )

    # The queue
    page_waiting: int = _limit(64, "events that wait on a page; half as many more for clients that have none there")
    client_waiting: int = _limit(48, "events of a client that wait on a page; enough for a class behind one router")
    client_waiting_bytes: int = _limit(
        30_000_000, "memory that the data of a client's waiting events take, on all pages; as estimated from its items"
    )
    all_waiting_bytes: int = _limit(300_000_000, "the same of all clients; small requests are accepted beyond it")
    session_waiting: int = _limit(
        40, "events of a session that wait, run, or have answers that are not fetched; gradio_client sends 40 at once"
    )
    events_per_minute: int = _limit(
        6_000,
        "events of a client, at once or evenly spread; about half of what a process answers. 30 people behind one "
        "router who change a form three times a second send 5,400, a loop of gradio_client less than 2,000",
    )
    pages_per_minute: int = _limit(
        300,
        "pages and descriptions of the API that a client loads, each of which takes 0.1 s of CPU time: at most half a "
        "core; enough for a class behind one router, and for 150 starts of gradio_client",
    )
    event_seconds: int = _limit(
        300, "from the start of an event until it is given up as stuck; 5,000 reviews take 90 to 180 s on two cores"
    )
    stuck_events: int = _limit(
        8, "events that are given up but still hold a thread, of Gradio's 40; from then on, GET /health answers 503"
    )
    unfetched_seconds: int = _limit(300, "how long an answer that nobody fetches is kept")
    unfetched_answers: int = _limit(200, "answers that nobody fetches; each may have megabytes")
    sessions: int = _limit(2_000, "sessions whose messages are kept, unless they are in use; as many as in Gradio")
    page_sessions: int = _limit(200, "sessions whose state is kept; Gradio keeps 10,000")

    # Files on disk
    kept_seconds: int = _limit(3_600, "how long a visitor's file is kept; it is deleted up to 5 minutes later")
    client_file_bytes: int = _limit(
        5_000_000_000, "files of a client that are not deleted yet, uploads and answers; 1,000 photos of 5 MB"
    )
    all_file_bytes: int = _limit(
        20_000_000_000, "files of all visitors that are not deleted yet; less than half of the disk of a free Space"
    )
    free_bytes: int = _limit(500_000_000, "disk space that uploads leave free for everything else")

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> Self:
        """Return the limits, with those that environment variables give; an empty one counts as absent.

        Raises:
            ValueError: a variable is not a whole number above 0.
        """
        found: dict[str, int] = {}
        for item in fields(cls):
            value = variables.get(name_variable(item.name), "").strip()
            if value:
                if not (value.isascii() and value.isdecimal() and len(value) <= 18 and int(value) > 0):
                    shown = value if len(value) <= 40 else f"{value[:40]}…"
                    raise ValueError(
                        f"{name_variable(item.name)} must be a whole number above 0, such as {item.default}, "
                        f"not {shown!r}."
                    )
                found[item.name] = int(value)
        return cls(**found)

    def as_table(self) -> str:
        """Return the limits as a table in Markdown."""
        rows = [
            f"| `{name_variable(item.name)}` | {getattr(self, item.name):,} | {item.metadata['reason']} |"
            for item in fields(self)
        ]
        return "\n".join(["| Variable | Value | What it limits, and why |", "| --- | ---: | --- |", *rows])


def name_variable(name: str) -> str:
    """Return the environment variable of a limit."""
    return PREFIX + name.upper()


try:
    LIMITS = Limits.read(os.environ)
except ValueError as error:  # the sentence is for whoever starts the program; a traceback would bury it
    raise SystemExit(str(error)) from None
