"""Fits that are interrupted and resumed, where their states are kept, and how data is loaded."""

import errno
import os
from functools import partial

import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from fastai.data.core import DataLoaders
from fastai.learner import Learner

from training import learner as module_learner
from training.data import list_files
from training.learner import (
    KeepState,
    NoValidation,
    RowLoader,
    count_epochs,
    fit,
    prepare_state_folder,
    read_seconds_trained,
    set_seed,
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
    assert count_epochs(tmp_path / "cut") == 3
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
    assert read_seconds_trained(tmp_path) == 1000
    with pytest.raises(KeyboardInterrupt):
        trained(learner(stop_in_epoch=3), tmp_path / "body", resume=False)
    assert 0 < read_seconds_trained(tmp_path) < 1000  # begun anew
    (tmp_path / "body/seconds").write_text("1000")
    trained(learner(), tmp_path / "body", resume=True)
    assert 1000 < read_seconds_trained(tmp_path) < 1100


@pytest.fixture
def state(tmp_path, monkeypatch):
    """Return a function that gives the state folder of a run, by its settings and files."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def state(described=None, files=(), resume=True):
        return prepare_state_folder(described or {"seed": 1}, "salary", files, tmp_path / "model", resume)

    return state


def test_state_folder_depends_on_the_settings_but_not_on_resume(state, tmp_path, capsys):
    folder = state(resume=False)
    assert folder.is_relative_to(tmp_path / "cache")
    folder.mkdir(parents=True)
    assert state() == folder
    assert folder.exists()
    assert state({"seed": 2}) != folder
    assert "No interrupted run" in capsys.readouterr().out
    assert state(resume=False) == folder
    assert not folder.exists()


def test_state_folder_depends_on_the_files_but_not_on_how_they_are_named(state, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.csv").write_text("text,label\n")
    monkeypatch.chdir(tmp_path)
    first = state(files=list_files("data"))
    assert state(files=list_files(str(tmp_path / "data"))) == first
    (tmp_path / "data/a.csv").write_text("text,label\nmore,1\n")
    assert state(files=list_files("data")) != first


def test_state_folder_is_another_on_another_device_or_with_another_torch(state, monkeypatch):
    first = state()
    with monkeypatch.context() as patch:
        patch.setattr(module_learner, "get_training_device", lambda: "another GPU")
        assert state() != first
    assert state() == first
    monkeypatch.setattr(module_learner, "get_training_versions", lambda: {"torch": "3.0"})
    assert state() != first


def test_states_are_saved_beside_the_model_if_home_is_not_writable(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file/cache"))
    out = tmp_path / "runs/model"
    folder = prepare_state_folder({}, "salary", [], out, resume=False)
    assert folder.parent == tmp_path / "runs/.model-gallery"
    printed = capsys.readouterr().out
    assert f"is not writable (Not a directory): the states for --resume are saved in {folder.parent}" in printed
    trained(learner(), folder / "net", resume=False)
    assert count_epochs(prepare_state_folder({}, "salary", [], out, resume=True) / "net") == 5


def test_a_user_without_a_home_is_told_where_the_states_go(tmp_path, monkeypatch, capsys):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(module_learner.Path, "home", no_home)
    assert module_learner.choose_state_place(tmp_path / "model") == tmp_path / ".model-gallery"
    assert "the home folder is not writable (Could not determine" in capsys.readouterr().out


def test_training_goes_on_if_a_state_cannot_be_saved(tmp_path, monkeypatch, capsys):
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
    assert "The state after epoch 3 could not be saved" in (printed := capsys.readouterr().out)
    assert "--resume will continue after epoch 2." in printed
    assert {path.name for path in (tmp_path / "cut").iterdir()} == {"after-0002.pth", "seconds"}


@pytest.mark.parametrize(("method", "workers"), [("fork", None), ("spawn", 0), ("forkserver", 0)])
def test_data_is_loaded_in_this_process_if_workers_would_be_spawned(monkeypatch, method, workers):
    monkeypatch.setattr(module_learner.multiprocessing, "get_start_method", lambda **_: method)
    assert module_learner.choose_loader_workers() == workers
