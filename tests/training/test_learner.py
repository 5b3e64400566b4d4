"""Runs that are interrupted: nothing half-written, and resuming ends where going through does."""

import argparse
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from fastai.data.core import DataLoaders
from fastai.learner import Learner

from training import export, torchvision_operators
from training.data import data_files
from training.learner import (
    KeepState,
    NoValidation,
    RowLoader,
    arguments,
    epochs_done,
    fit,
    main,
    seconds_trained,
    set_seed,
    state_folder,
)

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


def test_state_folder_depends_on_the_options_but_not_on_resume(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    options = argparse.Namespace(seed=1, resume=False)
    folder = state_folder(options, "salary", [])
    assert folder.is_relative_to(tmp_path)
    folder.mkdir(parents=True)
    assert state_folder(argparse.Namespace(seed=1, resume=True), "salary", []) == folder
    assert folder.exists()
    assert state_folder(argparse.Namespace(seed=2, resume=True), "salary", []) != folder
    assert "no interrupted run" in capsys.readouterr().out


def test_state_folder_follows_the_files_and_not_what_they_are_called_by(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.csv").write_text("text,label\n")
    monkeypatch.chdir(tmp_path)

    def folder(data, **options):
        return state_folder(argparse.Namespace(resume=True, data=data, **options), "m", data_files(data), ["measured"])

    first = folder("data")
    assert folder(str(tmp_path / "data")) == first
    assert folder("data", measured="x") == first
    (tmp_path / "data/a.csv").write_text("text,label\nmore,1\n")
    assert folder("data") != first


def test_ctrl_c_leaves_the_old_checkpoint_and_nothing_else(tmp_path):
    out = tmp_path / "model"
    with export.new_folder(out) as folder:
        (folder / "gallery.json").write_text("old")

    def write():
        with export.new_folder(out) as folder:
            (folder / "gallery.json").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert (out / "gallery.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    with export.new_folder(out) as folder:
        (folder / "other").write_text("new")
    assert [path.name for path in out.iterdir()] == ["other"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_interruption_and_bad_data_end_in_one_sentence(capsys):
    from training.data import DataError

    def raising(error):
        def run(options):
            raise error

        return run

    parser = arguments("", "salary")
    assert main(raising(KeyboardInterrupt()), parser, []) == 130
    assert "--resume goes on" in capsys.readouterr().err
    assert main(raising(DataError("No such file.")), parser, []) == 2
    assert capsys.readouterr().err == "error: No such file.\n"


def test_parity_refuses_a_model_that_differs(tmp_path):
    module = torch.nn.Linear(3, 1)
    inputs = {"x": torch.randn(4, 3)}
    export.write_onnx(module, tmp_path / "model.onnx", inputs, ["y"])
    rows = [{"x": torch.randn(count, 3).numpy()} for count in (20, 30)]
    assert export.parity(module, tmp_path / "model.onnx", rows, "y", 1e-4)["rows"] == 50
    with pytest.raises(RuntimeError, match="differs from torch by nan"):
        export.parity(module, tmp_path / "model.onnx", [*rows, {"x": np.full((2, 3), np.nan, np.float32)}], "y", 1e-4)
    with torch.no_grad():
        module.weight += 0.1
    with pytest.raises(RuntimeError, match="differs from torch by"):
        export.parity(module, tmp_path / "model.onnx", rows, "y", 1e-4)


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
