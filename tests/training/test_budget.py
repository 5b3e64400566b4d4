"""Training that is fitted into a number of minutes."""

import json
import re
from dataclasses import dataclass
from functools import partial

import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from fastai.learner import Learner

from training import budget
from training.command import OptionError, make_parser, run
from training.learner import NoValidation, RowLoader, Run
from training.recipes.image_classification import ImageClassification
from training.recipes.text_classification import TextClassification
from training.sentiment import Sentiment

pytestmark = pytest.mark.training


@dataclass(frozen=True)
class Settings:
    epochs: int = 10


class Slow(Callback):
    """Each batch takes ten seconds of a clock that only this callback moves."""

    def __init__(self, clock):
        self.clock = clock

    def after_batch(self):
        self.clock[0] += 10


@pytest.fixture
def fit(monkeypatch):
    """Return a function that trains, 4 batches an epoch, and takes 60 seconds besides."""
    clock = [0.0]
    monkeypatch.setattr(budget.time, "monotonic", lambda: clock[0])
    trained = []

    def fit(settings, run):
        clock[0] += 60
        x = torch.randn(64, 3)
        rows = RowLoader(x, x.sum(1, keepdim=True), bs=16)
        learn = Learner(
            DataLoaders(rows, rows), torch.nn.Linear(3, 1), loss_func=torch.nn.functional.mse_loss,
            cbs=[NoValidation(), Slow(clock)],
        )  # fmt: skip
        trained.append(run)
        run.fit(learn, "net", partial(learn.fit_one_cycle, settings.epochs, 1e-3))
        run.keep(learn.model)

    fit.trained = trained
    return fit


def test_the_epochs_fill_the_minutes(fit, tmp_path, capsys):
    run = Run(tmp_path, 1, resume=False)
    # 20 minutes, less twice (60 seconds of preparation + 4 batches of timing): 1,000 seconds of 40 an epoch.
    assert budget.choose_epochs(20, Settings(), run, fit) == Settings(epochs=25)
    assert "Chosen: --epochs 25, about 18 minutes" in capsys.readouterr().out
    assert json.loads((tmp_path / "epochs.json").read_text(encoding="utf-8")) == 25
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epochs.json"]


@pytest.mark.parametrize(("minutes", "epochs"), [(0.1, 1), (10_000, 100)])
def test_there_is_always_an_epoch_and_never_ten_times_the_usual_number(fit, tmp_path, minutes, epochs):
    assert budget.choose_epochs(minutes, Settings(), Run(tmp_path, 1, resume=False), fit) == Settings(epochs)


def test_a_resumed_run_keeps_its_number(fit, tmp_path):
    chosen = budget.choose_epochs(20, Settings(), Run(tmp_path, 1, resume=False), fit)
    assert budget.choose_epochs(5, Settings(), Run(tmp_path, 1, resume=True), fit) == chosen
    assert len(fit.trained) == 1


def test_the_recorded_command_has_the_chosen_epochs(tmp_path, monkeypatch):
    monkeypatch.setattr(budget, "MOST", 0.25)
    out = tmp_path / "model"
    run(TextClassification(), ["--smoke", "--minutes", "5", "--out", str(out)])
    command = json.loads((out / "metrics.json").read_text(encoding="utf-8"))["trained"]["command"]
    assert command == "python -m training.recipes.text_classification --smoke --epochs 3"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--minutes", "5"], "--minutes"),
        (["--epochs", "3"], "--epochs"),
        (["--teacher", "efficientnet-lite0", "--alpha", "0"], "--teacher and --alpha"),
    ],
)
def test_options_of_fine_tuning_are_refused_where_only_the_last_layer_is_trained(tmp_path, options, named):
    sentence = f"--quick trains only the last layer of the network; leave out {named}, or --quick."
    with pytest.raises(OptionError, match=re.escape(sentence)):
        run(ImageClassification(), ["--smoke", "--quick", *options, "--out", str(tmp_path / "model")])


@pytest.mark.parametrize("recipe", [TextClassification(), Sentiment()])
@pytest.mark.parametrize("smoke", [(), ("--smoke",)])
def test_quick_texts_are_trained_as_long_as_asked(recipe, smoke):
    parser = make_parser(recipe)
    settings = recipe.read_settings(parser.parse_args([*smoke, "--quick", "--epochs", "4", "--masked-epochs", "2"]))
    assert (settings.epochs, settings.masked_epochs) == (4, 2)
    default = recipe.read_settings(parser.parse_args([*smoke, "--quick"]))
    assert (default.epochs, default.masked_epochs) == (12 if smoke else 1, 0)


@pytest.mark.parametrize("options", [["--minutes", "0"], ["--epochs", "0"], ["--epochs", "2", "--minutes", "3"]])
def test_an_impossible_length_is_refused(options):
    with pytest.raises(OptionError, match=r"epochs|minutes"):
        run(ImageClassification(), ["--smoke", *options])
