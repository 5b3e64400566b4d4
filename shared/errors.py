"""What can go wrong, as exceptions whose text is made to be shown to a person."""


class BadInput(ValueError):
    """What was given cannot be answered; one sentence says what was wrong and what is accepted."""


def quote(value: object) -> str:
    """Return what somebody gave in quotation marks: short, on one line, printable, and without the marks of HTML."""
    if isinstance(value, str):
        text = value[:1000]
    else:
        try:
            text = str(value)[:1000]
        except Exception:  # Python writes no integer of thousands of digits and no list in thousands of lists
            is_integer = isinstance(value, int)
            text = "a number of thousands of digits" if is_integer else f"something of type {type(value).__name__}"
    text = " ".join(text.split()).translate(str.maketrans("<>", "‹›"))
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return f"'{text if len(text) <= 40 else text[:37] + '...'}'"


class CheckpointError(RuntimeError):
    """A checkpoint folder is missing, damaged or of an unknown format; the text names the file or field."""


class HubError(CheckpointError):
    """A model cannot be had from the Hub; one sentence says why, and what to do."""
