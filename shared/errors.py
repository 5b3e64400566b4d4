"""What can go wrong, as exceptions whose text is made to be shown to a person."""


class BadInput(ValueError):
    """What was given cannot be answered; one sentence says what was wrong and what is accepted."""


def quoted(value: object) -> str:
    """What somebody gave, in quotation marks: short, on one line, and without the marks of HTML."""
    try:
        text = str(value)
    except ValueError:  # Python refuses to write integers of thousands of digits
        text = "a number of thousands of digits"
    text = " ".join(text.split()).translate(str.maketrans("<>", "‹›"))
    return f"'{text if len(text) <= 40 else text[:37] + '...'}'"


class CheckpointError(RuntimeError):
    """A checkpoint folder is missing, damaged or of an unknown format; the text names the file or field."""


class HubError(CheckpointError):
    """A model cannot be had from the Hub; one sentence says why, and what to do."""
