"""The segmentation script from drawn streets to a folder that serves."""

import json
import shutil
from argparse import Namespace

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from safetensors.torch import load_file

from shared import load_model
from shared.config import GalleryConfig
from tests.conftest import DATA, ROOT
from training import export
from training import segmentation as script
from training.learner import command

pytestmark = pytest.mark.training


def train(*options):
    return command(script.run, script.command_line(), [str(option) for option in options])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("segmentation") / "model"
    assert train("--smoke", "--out", out) == 0
    return out


def test_the_folder_serves(folder):
    model = load_model(folder)
    assert model.classes == script.CLASSES
    frame = script.drawn_streets(1, seed=5)
    answer = model.predict(Image.fromarray(frame.pictures[0].permute(1, 2, 0).numpy()))
    assert answer.mask.shape == frame.labels[0].shape
    assert sum(answer.share.values()) == pytest.approx(1)


def test_the_folder_is_complete_and_its_metrics_are_whole(folder):
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {name for name in names if not name.startswith("examples/")} == {
        "onnx/model.onnx", "gallery.json", "metrics.json", "README.md", "LICENSE.md", "model.safetensors",
        "config.json", "preprocessor_config.json",
    }  # fmt: skip
    assert sum(name.startswith("examples/") for name in names) == script.SMOKE["val"] // 2
    metrics = json.loads((folder / "metrics.json").read_text())
    drawn = {f"iou_{name}" for name in ("Sky", "Building", "Road", "Car")}  # no figure of what is nowhere
    assert {item["name"] for item in metrics["figures"]} == drawn | {
        "mean_iou", "pixel_accuracy", "mean_iou_float", "ece",
    }  # fmt: skip
    assert metrics["parity_float"]["largest_difference"] < 2e-3
    assert metrics["parity"]["of"] == "output pixels"
    size = 128 * 160 // 4  # of the output for a whole drawing
    assert metrics["parity"]["compared"] > size * script.SMOKE["test"]
    assert 0 <= metrics["parity"]["relabelled"] <= script.RELABELLED
    assert metrics["trained"]["command"] == "python -m training.segmentation --smoke"
    assert {item["data"] for item in metrics["figures"]} == {
        "drawn streets"
    }  # not CamVid, of which it has seen nothing


def test_the_embedded_model_says_of_itself_what_the_script_says():
    assert GalleryConfig.read_common(ROOT / "spaces/segmentation/model").about == script.ABOUT


def test_measuring_again_replaces_what_was_written_by_hand_and_keeps_what_needs_the_network(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "model")
    metrics = json.loads((copy / "metrics.json").read_text())
    kept = next(item for item in metrics["figures"] if item["name"] == "mean_iou_float")
    edited = json.loads(json.dumps(metrics)) | {"device": "a faster one", "headline": "the best"}
    edited["figures"][0]["value"] = 0.99
    edited["measured"]["date"] = "2026-01-01T00:00:00+00:00"
    (copy / "metrics.json").write_text(json.dumps(edited))
    contract = json.loads((copy / "gallery.json").read_text())
    contract["files"]["metrics.json"] |= export.fingerprint(copy / "metrics.json")
    (copy / "gallery.json").write_text(json.dumps(contract))
    assert train("--smoke", "--measure", copy) == 0
    again = json.loads((copy / "metrics.json").read_text())
    assert "device" not in again
    assert again["headline"] == metrics["headline"]
    dated = {"measured": "2026-01-01T00:00:00+00:00"}
    assert again["figures"] == [*(item for item in metrics["figures"] if item != kept), kept | dated]
    assert again["parity"] == metrics["parity"] | dated
    assert again["trained"] == metrics["trained"]
    assert again["measured"]["command"] == "python -m training.segmentation --smoke --measure DIR"
    assert script.command_line().parse_args(again["measured"]["command"].split()[3:]).measure == "DIR"
    assert (copy / "onnx/model.onnx").read_bytes() == (folder / "onnx/model.onnx").read_bytes()
    assert load_model(copy).metrics == again  # the hash is right
    card = (copy / "README.md").read_text()
    assert "(5), on 2026-01-01 |" in card


def test_measuring_a_folder_that_is_not_whole_is_refused_in_a_sentence(folder, tmp_path, capsys):
    copy = shutil.copytree(folder, tmp_path / "model")
    (copy / "metrics.json").write_text("{}")
    assert train("--smoke", "--measure", copy) == 2
    assert "metrics.json is damaged" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        train("--smoke", "--measure", copy, "--embed")
    assert "--measure rewrites the figures" in capsys.readouterr().err


@pytest.mark.parametrize("size", [(128, 160), (160, 128), (48, 400), (400, 32), (112, 176)])
def test_the_export_is_the_network_at_every_size_that_serves(folder, size):
    net = script.StreetNet(len(script.CLASSES), script.pretrained_network(Namespace(smoke=True)))
    net.load_state_dict(load_file(folder / "model.safetensors"))
    exported = folder.parent / "exact.onnx"
    example = {"pixel_values": torch.zeros(1, 3, 128, 160)}
    axes = {name: {2: f"{name}_height", 3: f"{name}_width"} for name in ("pixel_values", "logits")}
    export.write_onnx(net.eval(), exported, example, ["logits"], axes)
    torch.manual_seed(0)
    export.parity(net, exported, [{"pixel_values": torch.randn(1, 3, *size).numpy()}], ["logits"], 1e-3)
    assert load_model(folder).config.multiple == script.MULTIPLE


def test_frames_are_judged_as_they_are_served(folder):
    model = load_model(folder)
    frames = script.drawn_streets(2, seed=3)
    judged = script.Judged.on(model.session, frames)
    for index, label in enumerate(frames.labels.numpy()):
        mask = model.predict(Image.fromarray(frames.pictures[index].permute(1, 2, 0).numpy())).mask
        assert np.trace(judged.tables[index]) == (mask == label).sum()


def test_to_choose_by_val_it_neither_trains_on_val_nor_judges_on_the_test(tmp_path, monkeypatch):
    trained_on = []
    monkeypatch.setattr(
        script, "train_net", lambda *args, train_net=script.train_net: trained_on.append(args[1]) or train_net(*args)
    )
    assert train("--smoke", "--official-val", "--out", tmp_path / "model") == 0
    assert len(trained_on[0]) == script.SMOKE["train"]
    metrics = json.loads((tmp_path / "model/metrics.json").read_text())
    assert {(item["split"], item["count"]) for item in metrics["figures"]} == {("val", script.SMOKE["val"])}
    assert script.WITH_VALIDATION not in metrics["trained"]["notes"]


def test_in_the_end_most_of_val_is_trained_on_and_its_last_frames_are_not():
    frames = {split: script.drawn_streets(count, seed=count) for split, count in script.SMOKE.items()}
    trained, valid = script.with_validation(frames)
    assert len(trained) == script.SMOKE["train"] + script.SMOKE["val"] // 2
    assert valid.names == frames["val"].names[-2:]
    assert torch.equal(trained.labels[-1], frames["val"].labels[1])
    assert len(trained.pictures) == len(trained)


def test_the_books_recipe_says_how_its_data_differ(tmp_path, capsys):
    (tmp_path / "camvid-tiny").mkdir()
    assert train("--smoke", "--recipe", "book", "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "the book's CAMVID_TINY has 100 frames" in printed
    assert "the book's: 0.818" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["camvid-tiny"]  # somebody's own: left alone


def test_int8_that_costs_too_much_is_refused():
    good, worse = (
        script.Judged(np.array([[[90, 10], [10, 90]]]) + np.array([[[-lost, lost], [0, 0]]]), np.zeros((1, 2)))
        for lost in (0, 1)
    )
    script.check_cost(worse, good)
    with pytest.raises(RuntimeError, match="mean IoU on validation frames from 0"):
        script.check_cost(good, worse)


def test_a_data_set_of_other_classes_is_refused(tmp_path, capsys):
    (tmp_path / "codes.txt").write_text("Animal\nArchway\nBicyclist\n")
    assert train("--data", tmp_path, "--out", tmp_path / "out") == 2
    assert "must name Sky, Building, Pole" in capsys.readouterr().err


def test_calibration_error_of_known_gaps():
    tables = np.array([[[6, 2], [0, 2]], [[5, 0], [5, 0]]])
    judged = script.Judged(tables, np.array([[1.0, -0.5], [-1.0, 0.0]]))
    assert judged.calibration_error(np.array([0])) == pytest.approx(1.5 / 10)
    assert judged.calibration_error(np.array([0, 1])) == pytest.approx(0.5 / 20)


def test_iou_and_accuracy_of_a_known_table():
    table = np.array([[6, 2], [0, 4]])
    assert script.ious(table).tolist() == pytest.approx([6 / 8, 4 / 6])
    assert script.pixel_accuracy(table) == pytest.approx(10 / 12)
    assert np.isnan(script.ious(np.array([[1, 0], [0, 0]]))[1])


def test_lovasz_of_a_hard_answer_is_one_minus_the_mean_iou():
    torch.manual_seed(0)
    labels, answers = torch.randint(0, 3, (2, 8, 8)), torch.randint(0, 3, (2, 8, 8))
    hard = torch.nn.functional.one_hot(answers, 3).permute(0, 3, 1, 2).float()
    table = np.bincount((labels * 3 + answers).flatten().numpy(), minlength=9).reshape(3, 3)
    assert float(script.lovasz_softmax(hard, labels)) == pytest.approx(1 - script.ious(table).mean(), abs=1e-5)
    assert float(script.lovasz_softmax(hard, torch.full_like(labels, script.VOID))) == 0


def test_void_changes_neither_loss_nor_error():
    logits = torch.randn(1, len(script.CLASSES), 8, 8)
    labels = torch.randint(0, len(script.CLASSES), (1, 32, 32))
    labels[:, :16] = script.VOID
    other = logits.clone()
    other[:, :, :3] = torch.randn(1, len(script.CLASSES), 3, 8)
    losses = []
    for answer in (logits, other):
        torch.manual_seed(0)  # which of four labels stands for a coarser pixel is drawn
        losses.append(float(script.segmentation_loss(answer, labels)))
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert float(script.pixel_error(logits, labels)) == float(script.pixel_error(other, labels))


@pytest.mark.data
def test_camvid_is_read_with_its_official_split():
    frames = script.read_frames(DATA / "camvid", "val")
    assert len(frames) == 101
    assert frames.pictures.shape == (101, 3, 360, 480)
    assert int(frames.labels.max()) == script.VOID
    assert 0.25 < float((frames.labels == script.CLASSES.index("Road")).float().mean()) < 0.32


def test_a_folder_without_frames_is_refused_in_a_sentence(tmp_path, capsys):
    assert train("--data", tmp_path, "--out", tmp_path / "out") == 2
    assert "train/images" in capsys.readouterr().err
