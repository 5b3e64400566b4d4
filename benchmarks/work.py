"""What the parts of a run have in common: how thorough it is, which models there are, and the files they are asked."""

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
    """A run of the benchmark: `rounds` of timed calls, models by `names`, and a `folder` for what it makes."""

    rounds: int
    names: tuple[str, ...]
    folder: Path

    @cached_property
    def learner(self) -> Path:
        """The lesson app's learner, exported. A process of its own makes it: this one needs no torch for that."""
        path = self.folder / "model.pkl"
        subprocess.run([sys.executable, "-m", "benchmarks.learners", path], cwd=ROOT, check=True)
        return path

    @cached_property
    def pictures(self) -> dict[str, Path]:
        """The files of the phone photo, the small photo and the street frame, each made up."""
        made = {"phone": inputs.make_phone_photo, "small": inputs.make_small_photo, "street": inputs.make_street_frame}
        for name, make in made.items():
            (self.folder / f"{name}.jpg").write_bytes(make())
        return {name: self.folder / f"{name}.jpg" for name in made}

    def make_question(self, name: str, picture: str = "street", endpoint: str | None = None) -> Question:
        """What a model's endpoint is asked over HTTP: in the gallery by its name, alone as "predict"."""
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
        """An upload to an app that takes nothing else: the echo's, or the lesson's "predict"."""
        return endpoint, [], str(self.pictures[picture])
