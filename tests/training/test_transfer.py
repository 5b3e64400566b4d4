"""Inputs and finished weights that are carried to another machine and back."""

import random

import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")

from training.data import DataError
from training.learner import Run
from training.transfer import LISTED, main, pack, unpack

pytestmark = pytest.mark.training


@pytest.fixture
def pets(tmp_path):
    folder = tmp_path / "data/pets"
    folder.mkdir(parents=True)
    (folder / "cat.jpg").write_bytes(bytes(range(256)) * 400)
    (folder / "list.txt").write_text("cat\n", encoding="utf-8")
    return folder


def test_parts_are_small_and_come_back_as_they_were(pets, tmp_path, capsys):
    assert main(["pack", str(pets), "--out", str(tmp_path / "parts"), "--part-mb", "0.03"]) == 0
    parts = sorted(path for path in (tmp_path / "parts").iterdir() if path.name != LISTED)
    assert len(parts) == 4
    assert max(path.stat().st_size for path in parts) <= 0.03 * 2**20
    assert main(["unpack", str(tmp_path / "parts"), "--out", str(tmp_path / "inputs")]) == 0
    assert (tmp_path / "inputs/pets/cat.jpg").read_bytes() == (pets / "cat.jpg").read_bytes()
    assert (tmp_path / "inputs/pets/list.txt").read_text(encoding="utf-8") == "cat\n"
    assert "Wrote 4 parts and parts.json" in capsys.readouterr().out


def test_what_links_lead_to_is_carried(pets, tmp_path):
    """As in the cache of the Hub, whose files are links."""
    (tmp_path / "linked").symlink_to(pets)
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot/cat.jpg").symlink_to(pets / "cat.jpg")
    pack([tmp_path / "snapshot"], tmp_path / "parts")
    unpack(tmp_path / "parts", tmp_path / "inputs")
    pack([tmp_path / "linked"], tmp_path / "parts")
    unpack(tmp_path / "parts", tmp_path / "inputs")
    for name in ("snapshot/cat.jpg", "pets/cat.jpg"):
        assert (tmp_path / "inputs" / name).read_bytes() == (pets / "cat.jpg").read_bytes()


def test_parts_are_not_packed_again(pets, capsys):
    assert main(["pack", str(pets), "--out", str(pets / "parts")]) == 2
    assert "would be packed with" in capsys.readouterr().err
    assert not (pets / "parts").exists()


def test_an_incomplete_list_of_parts_gets_a_sentence(pets, tmp_path, capsys):
    pack([pets], tmp_path / "parts")
    listed = tmp_path / "parts" / LISTED
    listed.write_text(listed.read_text(encoding="utf-8")[:20], encoding="utf-8")
    assert main(["unpack", str(tmp_path / "parts"), "--out", str(tmp_path / "inputs")]) == 2
    assert "parts.json is incomplete or damaged; send it again." in capsys.readouterr().err
    listed.write_text("[]", encoding="utf-8")
    assert main(["unpack", str(tmp_path / "parts"), "--out", str(tmp_path / "inputs")]) == 2
    assert "parts.json is incomplete or damaged; send it again." in capsys.readouterr().err


def test_more_than_a_thousand_parts_come_back_in_order(tmp_path):
    content = random.Random(0).randbytes(400_000)
    (tmp_path / "weights").write_bytes(content)
    assert len(pack([tmp_path / "weights"], tmp_path / "parts", part_mb=0.00025)) > 1_500
    unpack(tmp_path / "parts", tmp_path / "inputs")
    assert (tmp_path / "inputs/weights").read_bytes() == content


@pytest.mark.parametrize("size", ["0", "-1", "nan", "inf", "1e-9"])
def test_a_part_has_some_bytes(pets, tmp_path, capsys, size):
    assert main(["pack", str(pets), "--out", str(tmp_path / "parts"), f"--part-mb={size}"]) == 2
    assert capsys.readouterr().err == f"error: --part-mb must be a size above 0, not {float(size):g}.\n"
    assert not (tmp_path / "parts").exists()


def test_a_part_that_is_missing_or_damaged_is_named(pets, tmp_path, capsys):
    parts = pack([pets], tmp_path / "parts", part_mb=0.03)
    content = parts[1].read_bytes()
    parts[1].write_bytes(b"x" + content[1:])
    with pytest.raises(DataError, match=r"part-001 is not the part that was packed; send it again\."):
        unpack(tmp_path / "parts", tmp_path / "inputs")
    parts[1].unlink()
    with pytest.raises(DataError, match=r"part-001 is missing\."):
        unpack(tmp_path / "parts", tmp_path / "inputs")
    assert main(["unpack", str(pets), "--out", str(tmp_path / "inputs")]) == 2
    assert "There is no parts.json" in capsys.readouterr().err
    assert not (tmp_path / "inputs").exists()


@pytest.mark.parametrize("name", ["absent", "other/pets"])
def test_paths_that_cannot_be_packed_are_refused(pets, tmp_path, name):
    (tmp_path / "other/pets").mkdir(parents=True)
    with pytest.raises(DataError, match=r"does not exist|have the same name"):
        pack([pets, tmp_path / name], tmp_path / "parts")


def test_of_a_run_only_the_finished_weights_come_back(tmp_path):
    states = tmp_path / "states/net"
    net, other = torch.nn.BatchNorm1d(3), torch.nn.BatchNorm1d(3)
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), net)
    net(torch.rand(4, 3))
    with pytest.raises(DataError, match="has not finished"):
        pack([tmp_path], tmp_path / "parts", finished=True)
    Run(states, 1, resume=False).keep(net, ("Trained for a test.",))
    (states / "body").mkdir()
    (states / "body/after-0003.pth").write_bytes(b"large")
    (states / "body/seconds").write_text("12.5", encoding="utf-8")
    pack([states], tmp_path / "parts", finished=True)
    unpack(tmp_path / "parts", tmp_path / "back")
    assert sorted(path.name for path in (tmp_path / "back/net").rglob("*")) == ["body", "finished.pth", "seconds"]
    other = torch.nn.Sequential(torch.nn.Linear(3, 3), other)
    assert Run(tmp_path / "back/net", 1, resume=True).restore(other) == ("Trained for a test.",)
    assert torch.equal(other[0].weight, net[0].weight.half().float())
    assert torch.equal(other[1].running_mean, net[1].running_mean)
    assert other[1].num_batches_tracked == 1
