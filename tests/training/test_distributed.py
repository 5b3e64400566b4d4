"""Two processes on this machine's CPUs do what one does: the same weights, figures within noise, files written once."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
pytest.importorskip("accelerate", reason="accelerate is not installed: make test-all")
import numpy as np
from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from fastai.learner import Learner

from hub.local import Hub
from shared import load_model
from tests.conftest import ROOT, find_free_port
from training import learner, processes
from training.data import DataError
from training.distributed import Share, use_all_processes
from training.learner import RowLoader, Run, set_seed
from training.texts.tokens import TokenLoader

pytestmark = pytest.mark.training

TIMEOUT = 300  # seconds, far more than any of this takes: a process that hangs must not hang the tests
CRASH = """
import os
import runpy

from training.learner import KeepState


def crash(self):
    raise RuntimeError("the second process is ill")


if os.environ["RANK"] == "1":
    KeepState.before_epoch = crash
runpy.run_module("training.salary", run_name="__main__", alter_sys=True)
"""


def run(*command, processes=1, cwd=ROOT, **variables):
    """Run a Python command in several processes; kill all of them if it hangs."""
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(processes)]
    launch += ["--main_process_port", str(find_free_port())]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", **variables}
    started = subprocess.Popen(
        [sys.executable, *launch * (processes > 1), *command],
        cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        output, errors = started.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)
        pytest.fail(f"{command} hangs.")
    return subprocess.CompletedProcess(command, started.returncode, output, errors)


class Stop(Callback):
    """Ctrl-C in the third epoch."""

    def before_batch(self):
        if self.epoch == 2 and self.iter == 1:
            raise KeyboardInterrupt


def small_fit(state, how):
    """Train a small network for four epochs, or the remaining ones; return weights and figures."""
    learner.BETWEEN_SAVES = 0.0
    set_seed(1)
    x = torch.randn(70, 3)
    y = x @ torch.tensor([[1.0], [2.0], [3.0]])
    rows = [RowLoader(x, y, bs=16, shuffle=True, drop_last=True), RowLoader(x, y, bs=16)]
    set_seed(1 + processes.get_rank())  # whatever the others begin with, the first one's weights count
    net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    cbs = [Stop()] * (how == "stop")
    learn = Learner(DataLoaders(*rows), net, loss_func=torch.nn.functional.mse_loss, cbs=cbs)
    with learn.no_bar(), learn.no_logging():
        try:
            run = Run(state.parent, 7, resume=how == "resume")
            run.fit(learn, state.name, partial(learn.fit_one_cycle, 4, 1e-2))
        except KeyboardInterrupt:
            assert how == "stop"
        assert list(learn.dls.loaders) == rows
        found = torch.nn.utils.parameters_to_vector(net.parameters()).detach()
        figures = [row for row in learn.recorder.values if row]
        processes.end_other_processes()
        if how != "stop":
            learn.fit(1)  # as in one process: nothing waits for the others
    return found, torch.tensor(figures)


def fit_in_two(state, how):
    """Run small_fit in two processes, forks of this one, which has imported torch; write what it returns."""
    torch.multiprocessing.start_processes(fit_in_one, (find_free_port(), state, how), 2, start_method="fork")


def fit_in_one(rank, port, state, how):
    """Run small_fit in one of the two processes, with the variables that a launcher sets; see fit_in_two."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes.connect()
    torch.save(small_fit(state, how), f"{state}-result")


@pytest.fixture(scope="module")
def fits(tmp_path_factory):
    """The folder of what two processes return for a whole run, and for one that a single process has begun."""
    folder = tmp_path_factory.mktemp("fits")
    small_fit(folder / "cut", "stop")
    assert paths(folder / "cut") == {"after-0002.pth", "seconds"}
    done = run("-m", "tests.training.test_distributed", str(folder))  # here, torch may have threads, which no fork has
    assert done.returncode == 0, done.stderr
    return folder


def test_two_processes_end_with_the_weights_and_the_figures_of_one(fits, tmp_path):
    shared = torch.load(fits / "two-result", weights_only=True)
    for of_two, of_one in zip(shared, small_fit(tmp_path / "one", "whole"), strict=True):
        assert torch.allclose(of_two, of_one, atol=1e-5)
    assert paths(fits / "two") == paths(tmp_path / "one") == {"after-0004.pth", "seconds"}


def test_a_run_of_one_process_resumes_in_two(fits, tmp_path):
    """The other way needs no test: two processes write the same states, as the test above says."""
    weights, figures = torch.load(fits / "cut-result", weights_only=True)
    whole, all_figures = small_fit(tmp_path / "whole", "whole")
    assert torch.allclose(weights, whole, atol=1e-5)
    assert torch.allclose(figures[:, 1], all_figures[2:, 1], atol=1e-5)  # on validation; the other is a running mean


@pytest.mark.parametrize("rows", [64, 70, 81])
@pytest.mark.parametrize("count", [2, 3])
def test_shares_of_a_batch_make_up_the_batch(rows, count):
    whole = RowLoader(torch.arange(rows), bs=16, drop_last=True)
    shares = [Share(whole, rank, count) for rank in range(count)]
    assert [len(share) for share in shares] == [len(whole)] * count
    for batch, *parts in zip(whole, *shares, strict=True):
        assert sorted(torch.cat([part[0] for part in parts]).tolist()) == batch[0].tolist()


def test_texts_of_similar_length_stay_in_one_batch():
    ids = [np.ones(length, np.int64) for length in np.random.default_rng(0).integers(5, 100, 320)]
    whole = TokenLoader(ids, np.zeros(320, np.int64), bs=16, shuffle=True, drop_last=True)
    lengths = []
    for rank in range(2):
        whole.rng.seed(1)
        lengths.append([batch[0].shape[1] for batch in Share(whole, rank, 2)])
    assert np.abs(np.subtract(*lengths)).max() <= 5
    assert max(lengths[0]) - min(lengths[0]) > 50


def paths(folder):
    return {path.name for path in folder.iterdir()}


def files_of(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_first_process_alone_prints_writes_and_publishes(tmp_path):
    with Hub() as hub:
        hub_is = hub.environment(tmp_path / "hub")
        command = ("-m", "training.salary", "--smoke", "--out", "model", "--push-to-hub", "me/shared")
        done = run(*command, processes=2, cwd=tmp_path, XDG_CACHE_HOME=str(tmp_path / "cache"), **hub_is)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("Wrote model") == done.stdout.count("Published and checked") == 1
        assert len([asked for asked in hub.log if asked.method == "POST" and "/commit/" in asked.path]) == 1
        assert set(files_of(tmp_path / "model")) <= set(hub.files("me/shared"))
    assert paths(tmp_path) == {"cache", "model", "salary-made-up"}
    assert not list((tmp_path / "cache").glob("model-gallery/*"))  # the states, now that the model is written
    model = load_model(tmp_path / "model")
    assert model.predict(model.example()).label in model.config.labels


def test_a_crash_of_one_process_ends_the_other(tmp_path):
    (tmp_path / "crash.py").write_text(CRASH)
    command = (str(tmp_path / "crash.py"), "--smoke", "--out", "model")
    done = run(*command, processes=2, cwd=tmp_path, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert done.returncode != 0
    assert "the second process is ill" in done.stderr
    assert not (tmp_path / "model").exists()


def test_more_processes_than_rows_in_a_batch_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "5")
    rows = RowLoader(torch.zeros(8, 1), bs=4)
    learn = Learner(DataLoaders(rows, rows), torch.nn.Linear(1, 1), loss_func=torch.nn.functional.mse_loss)
    with pytest.raises(DataError, match="5 processes cannot share batches of 4"), use_all_processes(learn):
        pass


if __name__ == "__main__":  # for the fixture fits
    fit_in_two(Path(sys.argv[1]) / "two", "whole")
    fit_in_two(Path(sys.argv[1]) / "cut", "resume")
