"""The hyper-parameters of text classification."""

from dataclasses import dataclass, field

from training.recipe import Settings

HUB_INIT = "sentence-transformers/all-MiniLM-L6-v2"


@dataclass(frozen=True)
class TextClassificationSettings(Settings):
    """Hyper-parameters. `init` is the folder or Hub name of the pretrained encoder; None is a small random one.

    At most `max_tokens` of a text are read, `head` from its beginning and the rest from its end (Sun et al., "How to
    Fine-Tune BERT for Text Classification?", 2019). `rates` are learning rates from the embeddings to the last layer.
    """

    init: str | None = HUB_INIT
    quick: bool = False
    teachers: bool = False
    masked_epochs: int = 1
    max_tokens: int = 512
    head: int = 128
    batch: int = 128
    epochs: int = 3
    rates: slice = field(default_factory=lambda: slice(6e-5, 4e-4))

    @classmethod
    def smoke(cls) -> "TextClassificationSettings":
        """Return settings for a training run of seconds."""
        return cls(init=None, max_tokens=32, head=8, batch=32, epochs=12, rates=slice(3e-3, 3e-3))
