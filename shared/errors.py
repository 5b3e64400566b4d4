"""The two things that can go wrong, as two exceptions whose text is made to be shown to a person."""


class BadInput(ValueError):
    """What was given cannot be answered; one sentence says what was wrong and what is accepted."""


class CheckpointError(RuntimeError):
    """A checkpoint folder is missing, damaged or of an unknown format; the text names the file or field."""
