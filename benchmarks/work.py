"""The shared state of a benchmark run: its rounds, models, files and questions."""

import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks import inputs
from benchmarks.apps import ROOT
from benchmarks.clients import Question
from shared import load_model


@dataclass(frozen=True)
class Work:
    """A benchmark run: the number of `rounds`, the `names` of models, and a `folder` for files."""

    rounds: int
    names: tuple[str, ...]
    folder: Path

    @cached_property
    def learner(self) -> Path:
        """The exported learner of the lesson app, made in another process so that this one needs no torch."""
        path = self.folder / "model.pkl"
        subprocess.run([sys.executable, "-m", "benchmarks.learners", path], cwd=ROOT, check=True)
        return path

    @cached_property
    def pictures(self) -> dict[str, Path]:
        """The files of the made-up phone photo, small photo and street frame."""
        made = {"phone": inputs.make_phone_photo, "small": inputs.make_small_photo, "street": inputs.make_street_frame}
        for name, make in made.items():
            (self.folder / f"{name}.jpg").write_bytes(make())
        return {name: self.folder / f"{name}.jpg" for name in made}

    def make_question(self, name: str, picture: str = "street", endpoint: str | None = None) -> Question:
        """Return a question for a model's endpoint: its name in the gallery, or "predict" in its Space."""
        endpoint = endpoint or name
        if name in ("cat_dog", "segmentation"):
            return endpoint, [], str(self.pictures[picture])
        if name == "sentiment":
            return endpoint, [inputs.make_review()], None
        model = load_model(ROOT / "spaces" / name / "model")
        asked = model.example()
        data = [asked[column] for column in model.config.columns] if name == "salary" else list(asked)
        return endpoint, data, None

    def make_upload(self, picture: str, endpoint: str = "upload") -> Question:
        """Return an upload to the echo app, or to the lesson app's "predict"."""
        return endpoint, [], str(self.pictures[picture])
