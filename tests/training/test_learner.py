"""Fits that are interrupted and resumed, where their states are kept, and how data is loaded."""

import errno
import os
from functools import partial

import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from fastai.learner import Learner

from training import learner as module_learner
from training import states as module_states
from training.data import DataError, list_files
from training.learner import KeepState, NoValidation, RowLoader, Run, set_seed
from training.states import count_epochs, prepare_states, read_seconds_trained

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


@pytest.fixture(autouse=True)
def save_every_epoch(monkeypatch):
    monkeypatch.setattr(module_learner, "BETWEEN_SAVES", 0.0)


def trained(learn, state, resume, average=None):
    with learn.no_logging():
        run = Run(state.parent, 7, resume)
        run.fit(learn, state.name, partial(learn.fit_one_cycle, 5, 1e-2), average=average)
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
    first = trained(learner(), tmp_path / "net", resume=False)
    assert torch.equal(trained(learner(), tmp_path / "net", resume=False), first)
    assert torch.equal(trained(learner(), tmp_path / "net", resume=True), first)  # nothing left to do


def test_a_state_is_never_half_written(tmp_path):
    trained(learner(), tmp_path / "net", resume=False)
    assert {path.name for path in (tmp_path / "net").iterdir()} == {"after-0005.pth", "seconds"}


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
        return prepare_states(described or {"seed": 1}, "salary", files, tmp_path / "model", resume)

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
        patch.setattr(module_states, "get_training_device", lambda: "another GPU")
        assert state() != first
    assert state() == first
    monkeypatch.setattr(module_states, "get_training_versions", lambda: {"torch": "3.0"})
    assert state() != first


def test_states_are_saved_beside_the_model_if_home_is_not_writable(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file/cache"))
    out = tmp_path / "runs/model"
    folder = prepare_states({}, "salary", [], out, resume=False)
    assert folder.parent == tmp_path / "runs/.model-gallery"
    printed = capsys.readouterr().out
    assert f"is not writable (Not a directory): the states for --resume are saved in {folder.parent}" in printed
    trained(learner(), folder / "net", resume=False)
    assert count_epochs(prepare_states({}, "salary", [], out, resume=True) / "net") == 5


def test_a_user_without_a_home_is_told_where_the_states_go(tmp_path, monkeypatch, capsys):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(module_states.Path, "home", no_home)
    assert module_states.choose_place(tmp_path / "model") == tmp_path / ".model-gallery"
    assert "the home folder is not writable (Could not determine" in capsys.readouterr().out


def test_training_goes_on_if_a_state_cannot_be_saved(tmp_path, monkeypatch, capsys):
    whole = trained(learner(), tmp_path / "whole", resume=False)
    save, calls = torch.save, []

    def full_at_the_third(content, file):
        calls.append(file)
        if len(calls) >= 3:
            file.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
        save(content, file)

    monkeypatch.setattr(torch, "save", full_at_the_third)
    assert torch.equal(trained(learner(), tmp_path / "cut", resume=False), whole)
    assert "The state after epoch 3 could not be saved" in (printed := capsys.readouterr().out)
    assert "--resume will continue after epoch 2." in printed
    assert {path.name for path in (tmp_path / "cut").iterdir()} == {"after-0002.pth", "seconds"}


def test_of_short_epochs_only_some_are_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(module_learner, "BETWEEN_SAVES", 1000.0)
    saved = []
    monkeypatch.setattr(KeepState, "save", lambda callback: saved.append(callback.epoch))
    trained(learner(), tmp_path / "net", resume=False)
    assert saved == [0, 4]


def test_the_average_of_the_weights_is_that_of_its_steps(tmp_path):
    learn, steps = learner(), []

    class Watch(Callback):
        def after_step(self):
            steps.append(torch.cat([p.detach().flatten().clone() for p in self.model.parameters()]))

    learn.add_cb(Watch())
    start = torch.cat([p.detach().flatten().clone() for p in learn.model.parameters()])
    found = trained(learn, tmp_path / "net", resume=False, average=0.9)
    expected = start
    for number, weights in enumerate(steps, 1):
        decay = min(0.9, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * weights
    assert torch.allclose(found, expected, atol=1e-6)
    assert not torch.allclose(found, steps[-1], atol=1e-4)


def test_a_resumed_run_continues_the_average(tmp_path):
    whole = trained(learner(), tmp_path / "whole", resume=False, average=0.95)
    with pytest.raises(KeyboardInterrupt):
        trained(learner(stop_in_epoch=3), tmp_path / "cut", resume=False, average=0.95)
    assert torch.equal(trained(learner(), tmp_path / "cut", resume=True, average=0.95), whole)
    assert torch.equal(trained(learner(), tmp_path / "cut", resume=True, average=0.95), whole)  # nothing left to do


def test_validation_uses_the_average_and_training_goes_on_with_the_weights(tmp_path):
    learn, seen = learner(), []
    learn.remove_cbs([cb for cb in learn.cbs if isinstance(cb, NoValidation)])

    class Watch(Callback):
        order = 100

        def before_validate(self):
            seen.append(next(self.model.parameters()).detach().clone())

        def before_train(self):
            seen.append(next(self.model.parameters()).detach().clone())

        def after_train(self):
            seen.append(next(self.model.parameters()).detach().clone())

    learn.add_cb(Watch())
    trained(learn, tmp_path / "net", resume=False, average=0.95)
    start, trained_once, averaged, again = seen[:4]
    assert torch.equal(trained_once, again)
    assert not torch.equal(averaged, trained_once)
    assert not torch.equal(averaged, start)


def test_finished_weights_are_restored_only_if_resuming(tmp_path):
    net, other = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    Run(tmp_path, 1, resume=False).keep(net, ("Trained for a test.",))
    assert Run(tmp_path, 1, resume=False).restore(other) is None
    assert Run(tmp_path / "none", 1, resume=True).restore(other) is None
    assert Run(tmp_path, 1, resume=True).restore(other) == ("Trained for a test.",)
    assert torch.equal(other.weight, net.weight)


def test_a_chosen_folder_of_states_is_for_one_run(tmp_path, capsys):
    choose = partial(prepare_states, name="salary", files=[], out=tmp_path / "model", chosen=str(tmp_path / "states"))
    folder = choose({"seed": 1, "init": "/here/weights"}, resume=False)
    assert folder == tmp_path / "states"
    assert choose({"seed": 1, "init": "/there/weights"}, resume=True) == folder
    other = {"seed": 2, "batch": 8, "init": "/here/weights"}
    with pytest.raises(
        DataError, match=r"of another run of salary \(other: seed, batch\); give the options of that run"
    ):
        choose(other, resume=True)
    with pytest.raises(DataError, match=r"of another run of salary \(other: --seed\); give"):
        choose(other, resume=True, options={"seed"})
    with pytest.raises(DataError, match=r"of another run of salary; give"):
        choose(other, name="rating", resume=True)
    assert choose({"seed": 2, "init": "/here/weights"}, resume=False) == folder  # begun anew
    assert "code has changed" not in capsys.readouterr().out


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("content", ["cat.jpg", "run.json"])
def test_a_chosen_folder_of_something_else_is_left_alone(tmp_path, content, resume):
    (tmp_path / "photos").mkdir()
    file = tmp_path / "photos" / content
    file.write_text('{"name": "of another program"}', encoding="utf-8")
    (tmp_path / "link").symlink_to("photos")
    choose = partial(prepare_states, {"seed": 1}, "salary", [], tmp_path / "model", resume)
    for name in ("photos", "link", f"photos/{content}"):
        with pytest.raises(DataError, match=f"{name} exists and is not a folder of states; choose another one"):
            choose(chosen=str(tmp_path / name))
    with pytest.raises(DataError, match="is not writable"):
        choose(chosen=str(file / "states"))
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "link", tmp_path / "photos", file]


def test_a_chosen_folder_of_states_may_be_new_or_empty_or_a_link(tmp_path):
    choose = partial(prepare_states, {"seed": 1}, "salary", [], tmp_path / "model")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("new")
    for name, place in (("empty", "empty"), ("link", "new"), ("new", "new")):
        folder = choose(resume=False, chosen=str(tmp_path / name))
        assert folder == tmp_path / place
        (folder / "net").mkdir()
        assert choose(resume=True, chosen=str(tmp_path / name)) == folder
        assert (folder / "net").is_dir()
        choose(resume=False, chosen=str(tmp_path / name))
        assert [path.name for path in folder.iterdir()] == ["run.json"]


@pytest.mark.parametrize(("chosen", "out"), [("a", "a"), ("a", "a/model"), ("a/states", "a")])
def test_states_and_model_are_not_in_one_folder(tmp_path, chosen, out):
    with pytest.raises(DataError, match="need folders of their own"):
        prepare_states({}, "salary", [], tmp_path / out, resume=False, chosen=str(tmp_path / chosen))
    assert not list(tmp_path.iterdir())


def test_only_paths_are_cut_to_their_names(tmp_path):
    choose = partial(prepare_states, name="own", files=[], out=tmp_path / "model", chosen=str(tmp_path / "states"))
    choose({"items": "/here/items.csv", "label_column": "a/b", "group": None}, resume=False)
    choose({"items": "items.csv", "label_column": "a/b", "group": None}, resume=True)
    for name, value in (("items", "other.csv"), ("label_column", "c/b"), ("group", "b")):
        changed = {"items": "/here/items.csv", "label_column": "a/b", "group": None, name: value}
        with pytest.raises(DataError, match=f"other: --{name.replace('_', '-')}"):
            choose(changed, resume=True, options=changed)


def test_states_of_other_data_are_refused(tmp_path):
    choose = partial(prepare_states, {"seed": 1}, "own", [], tmp_path / "model", chosen=str(tmp_path / "states"))
    choose(resume=False, data="aa")
    choose(resume=True, data="aa")
    with pytest.raises(DataError, match=r"The data has changed since the training in .*states began"):
        choose(resume=True, data="bb")
    choose(resume=False, data="bb")
    choose(resume=True)  # a demo, whose test does not depend on it


def test_a_damaged_state_gets_a_sentence(tmp_path):
    network = torch.nn.Linear(2, 2)
    module_states.keep_finished(tmp_path, network.state_dict(), ())
    path = tmp_path / module_states.FINISHED
    for content in (path.read_bytes()[:300], b"", b"no state"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"finished\.pth is incomplete or damaged; copy it again"):
            module_states.read_finished(tmp_path)


def test_states_of_earlier_code_are_taken(tmp_path, capsys):
    (tmp_path / "states").mkdir()
    old = {"seed": 1, "examples": False, "own": {"item_name": "book", "time": "day"}}
    module_states.write_json(tmp_path / "states/run.json", {"name": "own", "settings": old, "code": "earlier"})
    chosen = str(tmp_path / "states")
    prepare_states({"seed": 1, "time": "day"}, "own", [], tmp_path / "model", resume=True, chosen=chosen)
    assert "The code has changed" in capsys.readouterr().out
    with pytest.raises(DataError, match="other: time"):
        prepare_states({"seed": 1, "time": "hour"}, "own", [], tmp_path / "model", resume=True, chosen=chosen)


def test_the_devices_of_a_run_are_listed_once_each(tmp_path, monkeypatch):
    for device in ("a GPU", "a GPU", "2 cores"):
        monkeypatch.setattr(module_states, "get_training_device", lambda device=device: device)
        module_states.note_device(tmp_path)
    assert [part["device"] for part in module_states.read_devices(tmp_path)] == ["a GPU", "2 cores"]


@pytest.mark.parametrize(("method", "workers"), [("fork", None), ("spawn", 0), ("forkserver", 0)])
def test_data_is_loaded_in_this_process_if_workers_would_be_spawned(monkeypatch, method, workers):
    monkeypatch.setattr(module_learner.multiprocessing, "get_start_method", lambda **_: method)
    assert module_learner.choose_loader_workers() == workers
