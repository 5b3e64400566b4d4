"""Image segmentation: the network, its loss, its figures, and data of one's own."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="torch is not installed: make test-all")
pytest.importorskip("fastai", reason="fastai is not installed: make test-all")

from shared import load_model
from tests.conftest import DATA
from training import command
from training import segmentation as demo
from training.data import DataError, TestSet
from training.description import describe, read_description
from training.evaluate import make_figure
from training.export import write_onnx
from training.learner import Run, set_seed
from training.made_up import draw_streets
from training.networks.image_segmentation import (
    IGNORED,
    SegmentationNet,
    lovasz_softmax,
    pixel_error,
    segmentation_loss,
)
from training.own_data.mask_classes import read_classes
from training.parity import check_parity
from training.pictures import camvid as data
from training.pictures import confusion as matrices
from training.pictures.confusion import ConfusionMatrix
from training.pictures.frames import RepeatedLoader, make_augmentation, read_frames
from training.recipe import Answered, Splits
from training.recipes import image_segmentation as recipe
from training.storing import check_cost

pytestmark = pytest.mark.training
SMOKE = demo.StreetSettings.smoke()


def train(kind, *options) -> int:
    return command.main(kind(), [str(option) for option in options])


@pytest.fixture(scope="module")
def streets(tmp_path_factory):
    """A folder of drawings."""
    return recipe.ImageSegmentation().make_up(tmp_path_factory.mktemp("streets") / "drawn", 1)


@pytest.fixture
def camvid(streets, tmp_path):
    """The same drawings in the layout of CamVid."""
    splits = recipe.ImageSegmentation().load_own(streets, SMOKE)
    frames = {"train": splits.train, "val": splits.train.take([0, 1, 2, 3]), "test": splits.train.take([4, 5, 6, 7])}
    for part, some in frames.items():
        for name in ("images", "labels"):
            (tmp_path / part / name).mkdir(parents=True)
        for name, picture, label in zip(some.names, some.as_test("", "").inputs, some.labels.numpy(), strict=True):
            picture.save(tmp_path / part / "images" / f"{name}.png")
            Image.fromarray(label).save(tmp_path / part / "labels" / f"{name}.png")
    return tmp_path


@pytest.mark.parametrize("size", [(128, 160), (160, 128), (48, 400), (400, 32), (112, 176)])
def test_the_export_is_the_network_at_every_size_that_serves(size, tmp_path):
    set_seed(0)
    net = SegmentationNet(3, recipe.load_backbone(SMOKE)).eval()
    axes = {name: {2: f"{name}_height", 3: f"{name}_width"} for name in ("pixel_values", "logits")}
    write_onnx(net, tmp_path / "net.onnx", {"pixel_values": torch.zeros(1, 3, 128, 160)}, ["logits"], axes)
    check_parity(net, tmp_path / "net.onnx", [{"pixel_values": torch.randn(1, 3, *size).numpy()}], ["logits"], 1e-3)
    assert size[0] % recipe.MULTIPLE == size[1] % recipe.MULTIPLE == 0


def test_own_classes_are_trained_and_served(streets, tmp_path):
    assert train(recipe.ImageSegmentation, "--smoke", "--data", streets, "--out", tmp_path / "model") == 0
    model = load_model(tmp_path / "model")
    picture = next(iter(sorted((tmp_path / streets / "images").iterdir())))
    found = model.predict(picture)
    assert tuple(found.share) == model.config.labels
    assert sum(found.share.values()) == pytest.approx(1)
    assert not (tmp_path / "model/examples").exists()  # one's own pictures go with the model only if that is asked for
    table = ConfusionMatrix.from_prediction(found, np.zeros_like(found.mask), IGNORED).tables[0]
    assert table[0].sum() == found.mask.size
    assert table[0].tolist() == [int((found.mask == index).sum()) for index in range(len(model.config.labels))]


def test_official_val_neither_trains_on_val_nor_measures_on_the_test(camvid):
    chosen = demo.StreetSettings.smoke()
    final = demo.Streets().load(str(camvid), chosen)
    assert len(final.train) == len(data.read_part(camvid, "train", chosen.size)) + 2
    assert final.valid.names == data.read_part(camvid, "val", chosen.size).names[-2:]
    assert (final.tests[0].split, len(final.tests[0])) == ("official test", 4)
    by_val = demo.Streets().load(str(camvid), replace(chosen, official_val=True))
    assert len(by_val.train) == len(final.train) - 2
    assert [test.split for test in by_val.tests] == ["official val"]
    assert by_val.tests[0].names == by_val.valid.names


def test_a_data_set_of_other_classes_is_refused(tmp_path, capsys):
    (tmp_path / "codes.txt").write_text("Animal\nArchway\nBicyclist\n")
    assert train(demo.Streets, "--smoke", "--data", tmp_path, "--out", tmp_path / "out") == 2
    assert "must list Sky, Building, Pole" in capsys.readouterr().err


def test_a_folder_without_frames_is_refused_with_a_message(tmp_path, capsys):
    assert train(demo.Streets, "--smoke", "--data", tmp_path, "--out", tmp_path / "out") == 2
    assert f"{tmp_path} must have train/images and train/labels" in capsys.readouterr().err
    assert train(recipe.ImageSegmentation, "--smoke", "--data", tmp_path, "--out", tmp_path / "out") == 2
    assert "must have the folders images/ and masks/ (or labels/)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "classes"),
    [(b"traffic light\nroad\n", ("traffic light", "road")), (b"\xef\xbb\xbf a \r\n\r\nb", ("a", "b"))],
)
def test_each_line_of_codes_txt_is_a_class(content, classes, tmp_path):
    (tmp_path / "codes.txt").write_bytes(content)
    assert read_classes(tmp_path / "codes.txt").names == classes


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "must list 2 to 255 different classes"),
        (b"leaf\n", "must list 2 to 255 different classes"),
        (b"leaf\nsoil\nleaf\n", "must list 2 to 255 different classes"),
        ("\n".join(map(str, range(256))).encode(), "must list 2 to 255 different classes"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
    ],
)
def test_a_codes_txt_without_classes_is_refused(content, why, tmp_path):
    (tmp_path / "codes.txt").write_bytes(content)
    with pytest.raises(DataError, match=why):
        read_classes(tmp_path / "codes.txt")


def test_an_index_beyond_the_classes_is_ignored(tmp_path):
    folder = draw_streets(tmp_path / "mine", 0, count=4)
    label = Image.fromarray(np.array([[0, 1], [4, 255]], dtype=np.uint8))
    for path in (folder / "labels").iterdir():
        label.save(path)
    frames = read_frames(folder / "images", folder / "labels", (2, 2), 4)
    assert frames.labels[0].tolist() == [[0, 1], [IGNORED, IGNORED]]


def test_masks_of_black_and_white_are_refused(tmp_path, capsys):
    """255 is not a class: white pixels would be ignored, and the others have one class."""
    folder = draw_streets(tmp_path / "mine", 0)
    for path in (folder / "labels").iterdir():
        Image.open(path).point(lambda index: 255 if index else 0).save(path)
    assert train(recipe.ImageSegmentation, "--smoke", "--data", folder, "--out", tmp_path / "out") == 2
    assert "have fewer than two classes" in capsys.readouterr().err


def test_a_label_that_cannot_be_used_and_one_that_is_missing_are_refused(tmp_path, capsys):
    folder = draw_streets(tmp_path / "mine", 0)
    label = next((folder / "labels").iterdir())
    label.write_bytes(b"a text")
    assert train(recipe.ImageSegmentation, "--smoke", "--data", folder, "--out", tmp_path / "out") == 2
    assert "cannot be read as a picture" in capsys.readouterr().err
    label.unlink()
    assert train(recipe.ImageSegmentation, "--smoke", "--data", folder, "--out", tmp_path / "out") == 2
    assert f"It has no mask labels/{label.name}" in capsys.readouterr().err


def test_the_drive_that_was_not_trained_on_has_figures_of_its_own():
    names = ["0001TP_1", "Seq05VD_1", "Seq05VD_2"]
    tables = np.array([[[9, 0], [1, 0]], [[4, 1], [0, 5]], [[2, 3], [0, 5]]])
    answers = [ConfusionMatrix(table[None], np.zeros((1, 15)), np.zeros((1, 3, 10)), ("a", "b")) for table in tables]
    test = TestSet("CamVid", "official test", names, names, names)
    splits = Splits(None, None, (test,), read_description("segmentation"))
    measured = demo.Streets().measure(Answered(None, splits, [answers], SMOKE, Run(None, 0, False)))
    split = "official test, the drive of which no frame was trained on"
    found = [(item.name, item.split, item.count, item.value) for item in measured["figures"][:4]]
    assert found == [
        ("mean_iou", "official test", 3, pytest.approx((15 / 20 + 10 / 15) / 2, abs=1e-6)),
        ("pixel_accuracy", "official test", 3, pytest.approx(25 / 30, abs=1e-6)),
        ("mean_iou", split, 2, pytest.approx((6 / 10 + 10 / 14) / 2, abs=1e-6)),
        ("pixel_accuracy", split, 2, pytest.approx(16 / 20, abs=1e-6)),
    ]
    assert split not in {item.split for item in measured["figures"][4:]}


def test_the_card_says_that_val_was_trained_on_only_where_it_was(camvid):
    net = SegmentationNet(len(data.CLASSES), recipe.load_backbone(SMOKE)).eval()
    splits = demo.Streets().load(str(camvid), SMOKE)
    assert demo.WITH_VALIDATION in demo.Streets().export(net, splits, SMOKE).notes
    own = replace(splits, description=describe("mine", "A leaf.", ("None.",)))
    for other, settings in ((own, SMOKE), (splits, replace(SMOKE, official_val=True))):
        assert demo.WITH_VALIDATION not in demo.Streets().export(net, other, settings).notes


def test_storing_the_weights_may_cost_little_of_the_mean_iou():
    """Few frames, too: the allowance of one answer does not apply to a mean over pixels."""
    streets = demo.Streets
    before, just, more = (
        make_figure("validation", value, None, data="CamVid", split="validation", count=20, label="mean IoU")
        for value in (0.67, 0.6681, 0.6679)
    )
    check_cost((before, just), streets.max_accuracy_drop, streets.max_answers_lost)
    with pytest.raises(RuntimeError, match=r"from 0\.6700 to 0\.6679"):
        check_cost((before, more), streets.max_accuracy_drop, streets.max_answers_lost)


def test_calibration_error_of_known_gaps():
    tables = np.array([[[6, 2], [0, 2]], [[5, 0], [5, 0]]])
    found = ConfusionMatrix(tables, np.array([[1.0, -0.5], [-1.0, 0.0]]), np.zeros((2, 3, 10)), ("a", "b"))
    assert found.compute_calibration_error(np.array([0])) == pytest.approx(1.5 / 10)
    assert found.compute_calibration_error(np.array([0, 1])) == pytest.approx(0.5 / 20)


def test_iou_and_accuracy_of_a_known_table():
    table = np.array([[6, 2], [0, 4]])
    assert matrices.ious(table).tolist() == pytest.approx([6 / 8, 4 / 6])
    assert matrices.pixel_accuracy(table) == pytest.approx(10 / 12)
    assert np.isnan(matrices.ious(np.array([[1, 0], [0, 0]]))[1])


def test_lovasz_of_a_hard_answer_is_one_minus_the_mean_iou():
    torch.manual_seed(0)
    labels, answers = torch.randint(0, 3, (2, 8, 8)), torch.randint(0, 3, (2, 8, 8))
    hard = torch.nn.functional.one_hot(answers, 3).permute(0, 3, 1, 2).float()
    table = np.bincount((labels * 3 + answers).flatten().numpy(), minlength=9).reshape(3, 3)
    assert float(lovasz_softmax(hard, labels)) == pytest.approx(1 - matrices.ious(table).mean(), abs=1e-5)
    assert float(lovasz_softmax(hard, torch.full_like(labels, IGNORED))) == 0


def test_ignored_pixels_change_neither_loss_nor_error():
    logits = torch.randn(1, 11, 8, 8)
    labels = torch.randint(0, 11, (1, 32, 32))
    labels[:, :16] = IGNORED
    other = logits.clone()
    other[:, :, :3] = torch.randn(1, 11, 3, 8)
    losses = []
    for answer in (logits, other):
        torch.manual_seed(0)  # which of four labels stands for a coarser pixel is drawn
        losses.append(float(segmentation_loss(answer, labels)))
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert float(pixel_error(logits, labels)) == float(pixel_error(other, labels))


def test_pictures_masks_and_the_teachers_answers_are_warped_alike():
    bright = torch.zeros(8, 3, 64, 96)
    bright[:, :, 16:48, 24:72] = 1
    masks = bright[:, 0].to(torch.uint8)
    masks[:, :4] = IGNORED
    half = masks[:, ::2, ::2] == 1
    soft = torch.stack([~half, half], 1).to(torch.uint8) * 255
    torch.manual_seed(0)
    pictures, labels, answers = make_augmentation((48, 80))(bright, masks, soft)
    assert (pictures.shape, labels.shape, answers.shape) == ((8, 3, 48, 80), (8, 48, 80), (8, 2, 24, 40))
    assert labels.dtype == torch.uint8
    assert set(labels.unique().tolist()) <= {0, 1, IGNORED}
    assert not torch.equal(labels[0], labels[1])
    counted = labels != IGNORED
    assert (((pictures[:, 0] > 0.5) == (labels == 1))[counted]).float().mean() > 0.95
    assert ((answers[:, 1] > 0.5) == (labels[:, ::2, ::2] == 1))[counted[:, ::2, ::2]].float().mean() > 0.95
    assert torch.allclose(answers.sum(1), torch.ones(8, 24, 40), atol=1e-5)


def test_an_epoch_of_several_passes_shows_each_picture_as_often():
    pictures = torch.zeros(6, 3, 8, 8, dtype=torch.uint8)
    half = (0.5, 0.5, 0.5)
    loader = RepeatedLoader(pictures, torch.arange(6), passes=3, bs=4, mean=half, std=half, shuffle=True)
    shown = torch.cat([rows for _, rows in loader])
    assert len(loader) == 5
    assert torch.bincount(shown).tolist() == [3] * 6


def test_serving_enlarges_frames_that_are_measured_as_they_are(camvid):
    settings = replace(SMOKE, area=4 * 160 * 128)
    splits = demo.Streets().load(str(camvid), settings)
    net = SegmentationNet(len(data.CLASSES), recipe.load_backbone(SMOKE)).eval()
    exported = demo.Streets().export(net, splits, settings)
    assert exported.fields["area"] == 4 * 160 * 128
    assert exported.batches[0]["pixel_values"].shape == (1, 3, 256, 320)
    assert splits.tests[0].inputs[0].size == (160, 128)


@pytest.mark.parametrize("size", [(600, 450), (600, 120), (600, 12), (12, 600), (601, 13), (8, 8)])
def test_crops_of_any_picture_can_be_served(size):
    crops = recipe.crop_shapes(Image.new("RGB", size))
    assert len(crops) == 4
    for crop in crops:
        assert recipe.prepare_picture(crop, 160 * 128).shape[:2] == (1, 3)
        assert all(a <= b for a, b in zip(crop.size, size, strict=True))


def test_crops_of_a_usual_picture_have_a_half_and_a_twelfth_of_it():
    crops = recipe.crop_shapes(Image.new("RGB", (600, 450)))
    assert [crop.size for crop in crops] == [(300, 450), (600, 225), (600, 37), (50, 450)]


def test_two_pictures_are_enough_to_train_on(streets, tmp_path):
    settings = replace(recipe.ImageSegmentationSettings.smoke(), epochs=1)
    splits = recipe.ImageSegmentation().load_own(streets, settings)
    splits = replace(splits, train=splits.train.take([0, 1]))
    recipe.ImageSegmentation().fit(splits, settings, Run(tmp_path, 0, resume=False))


def test_the_card_names_the_network_that_training_begins_with(streets, tmp_path):
    def describe_with(init):
        settings = replace(recipe.ImageSegmentationSettings.smoke(), init=init)
        found = recipe.ImageSegmentation().load_own(streets, settings).description
        return found.about.base_model, found.notice

    recipe.load_backbone(SMOKE).save_pretrained(tmp_path / "deeplab")
    for init in (None, recipe.HUB_INIT, str(tmp_path / "deeplab")):
        hub, notice = describe_with(init)
        assert hub == recipe.HUB_INIT
        assert recipe.TERMS in notice
    hub, notice = describe_with("someone/leaves")
    assert hub == "someone/leaves"
    assert "It began as someone/leaves, and is also under the terms of that network." in notice
    assert "DeepLabV3" not in notice
    (tmp_path / "other").mkdir()
    (tmp_path / "other/config.json").write_text('{"model_type": "mobilenet_v2"}', encoding="utf-8")
    hub, notice = describe_with(str(tmp_path / "other"))
    assert hub is None
    assert "It began as a pretrained MobileNetV2, and is also under the terms of that network." in notice
    assert str(tmp_path) not in notice
    with pytest.raises(DataError, match="could not be loaded as MobileNetV2ForSemanticSegmentation"):
        describe_with(str(tmp_path))


def test_teachers_are_trained_before_the_network_and_named_on_the_card(streets, tmp_path, monkeypatch, capsys):
    """With half of each batch at a time, as for larger batches on a CPU."""
    monkeypatch.setattr(recipe, "AT_ONCE", 4)
    out = tmp_path / "model"
    assert train(recipe.ImageSegmentation, "--smoke", "--data", streets, "--teachers", 2, "--out", out) == 0
    printed = capsys.readouterr().out
    assert printed.index("Training teacher 1 of 2.") < printed.index("Training teacher 2 of 2.")
    assert "the mean answers of 2 networks of its kind" in (out / "README.md").read_text(encoding="utf-8")


def test_what_teachers_answer_has_half_the_size_of_the_pictures():
    nets = [SegmentationNet(3, recipe.load_backbone(SMOKE)) for _ in range(2)]
    pictures = torch.randint(0, 256, (9, 3, 96, 128), dtype=torch.uint8)
    found = recipe.ask_teachers(nets, pictures)
    assert (found.dtype, found.shape) == (torch.uint8, (9, 3, 48, 64))
    assert (found.sum(1, dtype=torch.long) - 255).abs().max() <= 2


def test_finished_weights_are_not_trained_again(streets, tmp_path):
    settings = recipe.ImageSegmentationSettings.smoke()
    splits = recipe.ImageSegmentation().load_own(streets, settings)
    trained = recipe.make_network(splits, settings, 1)
    Run(tmp_path, 0, resume=False).keep(trained)
    found = recipe.ImageSegmentation().fit(splits, settings, Run(tmp_path, 0, resume=True))
    assert not found.training
    assert torch.equal(found.classify.weight, trained.classify.weight)


@pytest.mark.data
def test_camvid_is_read_with_its_official_split():
    frames = data.read_part(DATA / "camvid", "val", demo.StreetSettings().size)
    assert len(frames) == 101
    assert frames.pictures.shape == (101, 3, 360, 480)
    assert int(frames.labels.max()) == IGNORED
    assert 0.25 < float((frames.labels == data.CLASSES.index("Road")).float().mean()) < 0.32
