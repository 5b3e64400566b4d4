"""Text as people paste it: characters that nobody sees, and names that differ only in how they are written."""

import re
import unicodedata

# Characters without width or ink: soft hyphen, zero-width space, word joiner, byte order mark, marks of direction, ...
UNSEEN = re.compile(
    "[\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufeff\uffa0\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a]"
)
# Joiners, variation selectors and tags: emoji and scripts from Hebrew on need them, other characters do not.
JOINERS = re.compile(
    "(?<![\u0590-\u1dff\u2190-\U0010ffff])[\u200c\u200d\ufe00-\ufe0f\U000e0001\U000e0020-\U000e007f"
    "\U000e0100-\U000e01ef]+"
)

LONGEST_NAME = 1000  # characters: more than any name has


def visible(text: str) -> str:
    """The text without the characters that nobody sees. Joiners stay where emoji or a script need them."""
    return text if text.isascii() else JOINERS.sub("", UNSEEN.sub("", text))


def plain(text: str) -> str:
    """What two ways to write a name have in common: no case, no characters of another width, single spaces.

    Of a text longer than any name it is that of the beginning.
    """
    short = visible(text)[:LONGEST_NAME]  # to put n accents in order, Python may take n * n steps
    return " ".join(unicodedata.normalize("NFKC", short).casefold().split())
