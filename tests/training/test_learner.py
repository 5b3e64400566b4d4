"""Runs that are interrupted: nothing half-written, and resuming ends where going through does."""

import asyncio
import errno
import hashlib
import importlib
import io
import os
import shlex
import shutil
import subprocess
import sys
from collections import namedtuple
from functools import partial
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from fastai.data.core import DataLoaders
from fastai.learner import Learner

from tests.conftest import ROOT
from tests.training.test_demos import recipe_of
from training import command, evaluate, export, parity, record, torchvision_operators
from training import learner as module_learner
from training.command import OptionError
from training.data import DataError, data_files
from training.folder import check_out, new_folder
from training.learner import (
    KeepState,
    NoValidation,
    RowLoader,
    epochs_done,
    fit,
    seconds_trained,
    set_seed,
    state_folder,
)
from training.recipe import start_run
from training.record import SOURCE
from training.salary import Salary

pytestmark = pytest.mark.training


def learner(stop_in_epoch=None):
    set_seed(1)
    x = torch.randn(64, 3)
    rows = RowLoader(x, x @ torch.tensor([[1.0], [2.0], [3.0]]), bs=16, shuffle=True)
    net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(0.2), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    learn = Learner(DataLoaders(rows, rows), net, loss_func=torch.nn.functional.mse_loss, cbs=NoValidation())
    learn.remove_cbs([cb for cb in learn.cbs if type(cb).__name__ == "ProgressCallback"])
    if stop_in_epoch is not None:

        def stop(self):
            if self.epoch == stop_in_epoch and self.iter == 2:
                raise KeyboardInterrupt

        learn.add_cb(type("Stop", (KeepState.__base__,), {"before_batch": stop})())
    return learn


def trained(learn, state, resume):
    with learn.no_logging():
        fit(learn, partial(learn.fit_one_cycle, 5, 1e-2), state, seed=7, resume=resume)
    return torch.cat([p.detach().flatten() for p in learn.model.parameters()])


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(tmp_path):
    whole = trained(learner(), tmp_path / "whole", resume=False)
    with pytest.raises(KeyboardInterrupt):
        trained(learner(stop_in_epoch=3), tmp_path / "cut", resume=False)
    assert epochs_done(tmp_path / "cut") == 3
    torch.rand(5)  # the new process has other random numbers behind it
    resumed = trained(learner(), tmp_path / "cut", resume=True)
    assert torch.equal(resumed, whole)


def test_without_resume_a_run_begins_anew(tmp_path):
    first = trained(learner(), tmp_path, resume=False)
    assert torch.equal(trained(learner(), tmp_path, resume=False), first)
    assert torch.equal(trained(learner(), tmp_path, resume=True), first)  # nothing left to do


def test_a_state_is_never_half_written(tmp_path):
    trained(learner(), tmp_path, resume=False)
    assert {path.name for path in tmp_path.iterdir()} == {"after-0005.pth", "seconds"}


def test_a_resumed_run_counts_the_time_of_the_one_before(tmp_path):
    trained(learner(), tmp_path / "body", resume=False)
    (tmp_path / "body/seconds").write_text("1000")
    assert seconds_trained(tmp_path) == 1000
    with pytest.raises(KeyboardInterrupt):
        trained(learner(stop_in_epoch=3), tmp_path / "body", resume=False)
    assert 0 < seconds_trained(tmp_path) < 1000  # begun anew
    (tmp_path / "body/seconds").write_text("1000")
    trained(learner(), tmp_path / "body", resume=True)
    assert 1000 < seconds_trained(tmp_path) < 1100


@pytest.fixture
def state(tmp_path, monkeypatch):
    """The folder for the states of a run of salary, by its settings and its training files."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def state(described=None, files=(), resume=True):
        return state_folder(described or {"seed": 1}, "salary", files, tmp_path / "model", resume)

    return state


def test_state_folder_depends_on_the_settings_but_not_on_resume(state, tmp_path, capsys):
    folder = state(resume=False)
    assert folder.is_relative_to(tmp_path / "cache")
    folder.mkdir(parents=True)
    assert state() == folder
    assert folder.exists()
    assert state({"seed": 2}) != folder
    assert "no interrupted run" in capsys.readouterr().out
    assert state(resume=False) == folder
    assert not folder.exists()


def test_state_folder_follows_the_files_and_not_what_they_are_called_by(state, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.csv").write_text("text,label\n")
    monkeypatch.chdir(tmp_path)
    first = state(files=data_files("data"))
    assert state(files=data_files(str(tmp_path / "data"))) == first
    (tmp_path / "data/a.csv").write_text("text,label\nmore,1\n")
    assert state(files=data_files("data")) != first


def test_what_is_only_measured_on_does_not_decide_which_run_is_resumed(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    recipe = recipe_of("cat_dog")

    def folder(*words):
        options = command.parser_of(recipe).parse_args([*words, "--resume"])
        return start_run(recipe, options, recipe.settings_of(options)).state

    assert folder("--camvid", "x") == folder()
    assert folder("--quick") != folder()


def test_state_folder_is_another_on_another_device_or_with_another_torch(state, monkeypatch):
    first = state()
    with monkeypatch.context() as patch:
        patch.setattr(module_learner, "training_device", lambda: "another GPU")
        assert state() != first
    assert state() == first
    monkeypatch.setattr(module_learner, "training_versions", lambda: {"torch": "3.0"})
    assert state() != first


SCRIPTS = {
    "cat_dog": ["--quick", "--dogs-vs-cats", "{data}", "--camvid", "{data}", "--init", "{weights}", "--examples"],
    "segmentation": ["--init", "{weights}"],
    "sentiment": ["--teachers", "--init", "someone/encoder"],
    "salary": [],
    "rating": [],
}


def parser_of(name):
    return command.parser_of(recipe_of(name))


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_recorded_command_is_what_the_scripts_own_parser_understands(name, tmp_path):
    for folder in ("my data", "weights"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_text(folder)
    places = {"data": str(tmp_path / "my data"), "weights": str(tmp_path / "weights")}
    own = [word.format(**places) for word in SCRIPTS[name]]
    parser = parser_of(name)
    given = ["--data", places["data"], "--seed", "7", "--out", str(tmp_path / "x"), "--embed", "--resume", *own]
    options = parser.parse_args(given)
    recorded = record.record(parser, options)
    assert str(tmp_path) not in str(recorded)  # of a path the name alone
    words = shlex.split(recorded.command)
    assert words[:3] == ["python", "-m", f"training.{name}"]
    again = vars(parser.parse_args(words[3:]))
    names = {places["data"]: "my data", places["weights"]: "weights"}
    ignored = ("out", "embed", "resume")
    expected = {key: names.get(value, value) for key, value in vars(options).items() if key not in ignored}
    assert {key: value for key, value in again.items() if key not in ignored} == expected
    paths = [names[word] for word in given if word in names]
    assert sorted(item.name for item in recorded.inputs) == sorted(paths)


def test_the_recorded_hash_is_that_of_sha256sum_over_the_sorted_files(tmp_path):
    data = tmp_path / "data"
    (data / "b").mkdir(parents=True)
    (data / "b/one.txt").write_text("1")
    (data / "a.txt").write_text("2")
    (data / SOURCE).write_text("# data: made smaller\n")
    parser = parser_of("salary")
    (found,) = record.record(parser, parser.parse_args(["--data", str(data)])).inputs
    listed = subprocess.run(
        ["sha256sum", SOURCE, "a.txt", "b/one.txt"], cwd=data, capture_output=True, check=True
    ).stdout
    assert found.model_dump() == {
        "option": "--data", "name": "data", "files": 3, "sha256": hashlib.sha256(listed).hexdigest(),
        "source": "# data: made smaller",
    }  # fmt: skip
    (data / "b/one.txt").rename(data / "b/two.txt")
    (renamed,) = record.record(parser, parser.parse_args(["--data", str(data)])).inputs
    assert renamed.sha256 != found.sha256
    (one,) = record.record(parser, parser.parse_args(["--data", str(data / "a.txt")])).inputs
    assert (one.files, one.sha256) == (1, hashlib.sha256(b"2").hexdigest())


def test_what_is_said_of_weights_may_lie_in_the_folder_above_and_of_data_only_in_it(tmp_path):
    (tmp_path / SOURCE).write_text("dequantised")
    for name in ("data", "weights"):
        (tmp_path / name).mkdir()
    (tmp_path / "weights/config.json").write_text("{}")
    parser = parser_of("segmentation")
    options = parser.parse_args(["--data", str(tmp_path / "data"), "--init", str(tmp_path / "weights")])
    found = {item.option: item.source for item in record.record(parser, options).inputs}
    assert found == {"--data": None, "--init": "dequantised"}


def test_a_training_is_recorded_with_the_commit_and_the_versions_that_trained(monkeypatch):
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    if commit.returncode:
        pytest.skip("not in a git repository")
    parser = parser_of("salary")
    recorded = record.record(parser, parser.parse_args(["--smoke", "--seed", "3"]))
    found = recorded.trained(started=0.0, seed=3, notes=["A note."])
    assert found.command == "python -m training.salary --smoke --seed 3"
    assert found.commit.removesuffix(", with changes") == commit.stdout.strip()
    assert found.versions["torch"] == torch.__version__
    assert (found.seed, found.notes) == (3, ("A note.",))
    monkeypatch.setattr(record, "__file__", "/elsewhere/training/record.py")
    assert record.commit() is None


def test_ctrl_c_leaves_the_old_checkpoint_and_nothing_else(tmp_path):
    out = tmp_path / "model"
    with new_folder(out) as made:
        (made / "gallery.json").write_text("old")

    def write():
        with new_folder(out) as made:
            (made / "gallery.json").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert (out / "gallery.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    with new_folder(out) as made:
        (made / "other").write_text("new")
    assert [path.name for path in out.iterdir()] == ["other"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.fixture
def salary():
    """A recipe whose data cannot be read, for the reason that is set."""

    class Failing(Salary):
        reason = KeyboardInterrupt()

        def load(self, *_):
            raise self.reason

    return Failing()


def test_interruption_and_bad_data_end_in_one_sentence(salary, tmp_path, capsys):
    out = ["--out", str(tmp_path / "model")]
    assert command.main(salary, out) == 130
    assert "--resume goes on" in capsys.readouterr().err
    salary.reason = DataError("No such file.")
    assert command.main(salary, out) == 2
    assert capsys.readouterr().err == "error: No such file.\n"


def test_parity_refuses_a_model_that_differs(tmp_path):
    module = torch.nn.Linear(3, 1)
    inputs = {"x": torch.randn(4, 3)}
    export.write_onnx(module, tmp_path / "model.onnx", inputs, ["y"])
    rows = [{"x": torch.randn(count, 3).numpy()} for count in (20, 30)]
    assert parity.parity(module, tmp_path / "model.onnx", rows, ["y"], 1e-4).rows == 50
    with pytest.raises(RuntimeError, match="differs from torch by nan"):
        parity.parity(module, tmp_path / "model.onnx", [*rows, {"x": np.full((2, 3), np.nan, np.float32)}], ["y"], 1e-4)
    with torch.no_grad():
        module.weight += 0.1
    with pytest.raises(RuntimeError, match="differs from torch by"):
        parity.parity(module, tmp_path / "model.onnx", rows, ["y"], 1e-4)


def probabilities(logits):
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_parity_says_what_most_rows_differ_by_and_how_many_change_their_label(tmp_path):
    class Logits(torch.nn.Module):
        def __init__(self, amiss):
            super().__init__()
            self.amiss = amiss

        def forward(self, x):  # the first number says which row it is
            wrong = (x[:, 0] < self.amiss).float()
            return torch.stack([x[:, 1] * 0 + 1, wrong * 2], 1)

    rows = np.stack([np.arange(4000), np.ones(4000)], 1).astype(np.float32)
    batches = [{"x": rows[:1500]}, {"x": rows[1500:]}]
    export.write_onnx(Logits(0), tmp_path / "model.onnx", {"x": torch.from_numpy(rows[:2])}, ["logits"])

    def found(amiss, **allowed):
        shown = parity.Shown("probability", probabilities, "pictures", "pictures", **allowed)
        return parity.parity(Logits(amiss), tmp_path / "model.onnx", batches, ["logits"], 1.0, shown)

    far = float(abs(probabilities(np.array([[1.0, 0.0]])) - probabilities(np.array([[1.0, 2.0]]))).max())
    few = found(3, typical=0.01, relabelled=0.001)  # fewer than one in a thousand: not typical
    assert (few.rows, few.compared, few.relabelled) == (4000, 4000, 3 / 4000)
    assert few.largest_difference == pytest.approx(far, abs=1e-6)
    assert few.typical_difference < 1e-6
    some = found(40, typical=0.7, relabelled=0.01)
    assert some.relabelled == 0.01
    assert some.typical_difference == pytest.approx(far, abs=1e-6)
    with pytest.raises(RuntimeError, match=r"1\.00% of the pictures another label than torch \(allowed: 0\.90%\)"):
        found(40, typical=0.7, relabelled=0.009)
    with pytest.raises(RuntimeError, match=r"may differ from torch's by at most 0\.1; it differs by up to 0\.46"):
        found(40, typical=0.1, relabelled=0.01)


def test_parity_of_few_rows_lets_one_change_its_label():
    shown = parity.Shown("probability", np.asarray, "texts", "texts", typical=1.0, relabelled=0.001)
    one = np.arange(20) == 0
    assert parity.how_much_changes(shown, np.zeros(20), one)["relabelled"] == 0.05
    with pytest.raises(RuntimeError, match="another label"):
        parity.how_much_changes(shown, np.zeros(20), np.arange(20) < 2)


def test_large_weights_are_stored_as_half_and_amounts_are_not(tmp_path):
    import onnx
    from onnx import numpy_helper

    class Amounts(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(600, 600)
            self.register_buffer("amounts", torch.arange(600.0) * 1000)

        def forward(self, x):
            return self.linear(x / (1 + self.amounts))

    export.write_onnx(Amounts(), tmp_path / "m.onnx", {"x": torch.randn(2, 600)}, ["y"])
    export.store(tmp_path / "m.onnx", export.store_half)
    arrays = [numpy_helper.to_array(t) for t in onnx.load(tmp_path / "m.onnx").graph.initializer]
    assert {str(a.dtype) for a in arrays if a.size == 360_000} == {"float16"}
    assert {str(a.dtype) for a in arrays if a.size == 600 and abs(a).max() > 1000} == {"float32"}


def test_the_cure_for_torchvision_is_idle_where_it_has_run_or_is_not_needed():
    assert torchvision_operators.ensure() is False
    import torchvision  # noqa: F401 - would raise "operator torchvision::nms does not exist"


@pytest.mark.parametrize(("method", "workers"), [("fork", None), ("spawn", 0), ("forkserver", 0)])
def test_no_process_loads_data_that_would_have_to_be_spawned(monkeypatch, method, workers):
    monkeypatch.setattr(module_learner.multiprocessing, "get_start_method", lambda **_: method)
    assert module_learner.loader_workers() == workers


# --- consoles, notebooks, places that cannot be written ---


def test_a_figure_that_the_console_lacks_costs_nothing(tmp_path, monkeypatch):
    console = io.TextIOWrapper(io.BytesIO(), "cp1252", "strict")
    monkeypatch.setattr(sys, "stdout", console)
    figures = [evaluate.figure("error_猫", 0.25, None, "写真", "held-out fifth", 4)]

    class Figures(Salary):
        def load(self, *_):
            evaluate.print_figures(figures)
            raise KeyboardInterrupt

    assert command.main(Figures(), ["--out", str(tmp_path / "model")]) == 130
    assert rb"error_\u732b" in console.buffer.getvalue()


def in_a_cell(function, *options):
    """What a function returns that is called in a notebook: a loop is running, and sys.argv is the kernel's."""

    async def cell():
        return function(list(options))

    return asyncio.run(cell())


@pytest.fixture
def kernel(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "kernel-1.json"])


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_takes_its_options_as_a_list_in_a_notebook(name, tmp_path, monkeypatch, kernel):
    script = importlib.import_module(f"training.{name}")
    met = []
    monkeypatch.setattr(command, "make", lambda _, options, __: met.append(options) or Path(options.out))
    assert in_a_cell(script.main, "--smoke", "--out", tmp_path / "model") == tmp_path / "model"
    assert (met[0].smoke, met[0].data) == (True, None)
    with pytest.raises(OptionError, match="unrecognized arguments: -f kernel"):
        in_a_cell(script.main, "-f", "kernel")
    with pytest.raises(OptionError, match="go with the gallery's"):
        in_a_cell(script.main, "--recipe", "book", "--embed")
    monkeypatch.undo()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match="no checkpoint folder; name another one"):
        in_a_cell(script.main, "--smoke", "--out", tmp_path / "other")


def test_training_in_a_notebook_returns_the_folder(tmp_path, kernel):
    from shared import load_model
    from training import salary

    folder = in_a_cell(salary.main, "--smoke", "--out", str(tmp_path / "model"))
    assert load_model(folder).example()


@pytest.mark.parametrize("module", ["training.publish", "training.card"])
def test_the_other_commands_do_not_read_the_kernels_options_either(module, tmp_path, kernel, capsys):
    folder = str(ROOT / "spaces/salary/model")
    words = [folder, "me/salary", "--dry-run"] if module == "training.publish" else [str(tmp_path)]
    assert in_a_cell(importlib.import_module(module).main, *words) == (0 if module == "training.publish" else 2)
    said = capsys.readouterr()
    assert "would go to me/salary" in said.out or "has no gallery.json" in said.err


def test_a_stopped_cell_is_stopped_and_told_of_resume(salary, tmp_path, capsys, kernel):
    with pytest.raises(KeyboardInterrupt):
        command.run(salary, ["--out", str(tmp_path / "model")])
    assert "--resume goes on" in capsys.readouterr().err


def test_states_go_beside_the_model_where_home_cannot_be_written(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file/cache"))
    out = tmp_path / "runs/model"
    folder = state_folder({}, "salary", [], out, resume=False)
    assert folder.parent == tmp_path / "runs/.model-gallery"
    said = capsys.readouterr().out
    assert f"cannot be written to (Not a directory): the states that --resume needs are kept in {folder.parent}" in said
    trained(learner(), folder / "net", resume=False)
    assert epochs_done(state_folder({}, "salary", [], out, resume=True) / "net") == 5


def test_a_user_without_a_home_is_told_where_the_states_go(tmp_path, monkeypatch, capsys):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(module_learner.Path, "home", no_home)
    assert module_learner.state_place(tmp_path / "model") == tmp_path / ".model-gallery"
    assert "the home folder cannot be written to (Could not determine" in capsys.readouterr().out


def test_a_state_that_cannot_be_kept_costs_no_training(tmp_path, monkeypatch, capsys):
    whole = trained(learner(), tmp_path / "whole", resume=False)
    save, calls = module_learner.save_model, []

    def full_at_the_third(file, *arguments):
        calls.append(file)
        if len(calls) > 2:
            file.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
        save(file, *arguments)

    monkeypatch.setattr(module_learner, "save_model", full_at_the_third)
    assert torch.equal(trained(learner(), tmp_path / "cut", resume=False), whole)
    assert "The state after epoch 3 could not be kept" in (said := capsys.readouterr().out)
    assert "--resume would go on after epoch 2." in said
    assert {path.name for path in (tmp_path / "cut").iterdir()} == {"after-0002.pth", "seconds"}


def disk_with(monkeypatch, free):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 10**12 - free, free))


def test_a_full_disk_is_found_before_the_training_and_told_after_it(salary, tmp_path, monkeypatch):
    disk_with(monkeypatch, 5_000_000)
    with pytest.raises(DataError, match="has less than 100 MB left; make room"):
        check_out(tmp_path / "model")

    def full():
        disk_with(monkeypatch, 0)
        return RuntimeError("PytorchStreamWriter failed writing file")

    disk_with(monkeypatch, 10**9)
    monkeypatch.setattr(type(salary), "reason", property(lambda _: full()))
    with pytest.raises(DataError, match=f"There is no room left for {tmp_path}"):
        command.run(salary, ["--out", str(tmp_path / "model")])


def test_an_error_that_has_nothing_to_do_with_the_disk_is_not_hidden(salary, tmp_path):
    salary.reason = RuntimeError("a fault of ours")
    with pytest.raises(RuntimeError, match="a fault of ours"):
        command.run(salary, ["--out", str(tmp_path / "model")])


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="a file system on which nothing can be written")
def test_a_folder_to_measure_that_is_read_only_is_refused_before_the_measuring():
    with pytest.raises(DataError, match="Nothing can be written into /proc"):
        command.run(recipe_of("segmentation"), ["--measure", "/proc"])


def test_a_model_that_cannot_be_replaced_keeps_the_new_one(tmp_path, monkeypatch):
    out = tmp_path / "model"
    for name, text in (("model", "old"), ("model-2", "older")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "gallery.json").write_text(text, encoding="utf-8")
    rename = Path.rename

    def refusing(self, target):
        if self == out:
            raise PermissionError(13, "Access is denied", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refusing)

    def write():
        with new_folder(out) as made:
            (made / "gallery.json").write_text("new", encoding="utf-8")

    with pytest.raises(DataError, match=r"cannot be replaced \(Access is denied\).*The new model is in .*model-3\."):
        write()
    found = {path.name: (path / "gallery.json").read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert found == {"model": "old", "model-2": "older", "model-3": "new"}
