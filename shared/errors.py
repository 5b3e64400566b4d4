"""Exceptions whose messages are written for the user."""


class BadInput(ValueError):
    """The input cannot be processed; the message says in one sentence what is wrong and what is accepted."""


def get_cause(error: BaseException) -> BaseException | None:
    """Return the error that led to another one, as a traceback would show it; None if there is none."""
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def quote(value: object) -> str:
    """Return a value in quotation marks: shortened, printable, on one line, and without HTML tags."""
    if isinstance(value, str):
        text = value[:1000]
    else:
        try:
            text = str(value)[:1000]
        except Exception:  # str() fails for huge integers and deeply nested lists
            is_integer = isinstance(value, int)
            text = "a number of thousands of digits" if is_integer else f"something of type {type(value).__name__}"
    text = " ".join(text.split()).translate(str.maketrans("<>", "‹›"))
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return f"'{text if len(text) <= 40 else text[:37] + '...'}'"


class CheckpointError(RuntimeError):
    """A checkpoint folder is missing, damaged or of an unknown format; the message names the file or field."""


class HubError(CheckpointError):
    """A model cannot be loaded from the Hub; the message says why and what to do."""
