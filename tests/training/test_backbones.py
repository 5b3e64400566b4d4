"""Image classification that begins with each backbone: its maps, how it is stored, and which are refused."""

import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
import onnx
from transformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    ConvNextConfig,
    ConvNextForImageClassification,
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
)

from shared import load_model
from shared.images import load_image
from shared.session import Session
from training import command
from training.cat_dog import CatDogSettings
from training.description import read_description
from training.export import round_to_int8, store, store_int8, write_onnx
from training.networks.backbones import BACKBONES, IMAGENET_MEAN, IMAGENET_STD
from training.networks.image_classification import (
    ClassifierNet,
    DistributionScore,
    ExportWrapper,
    Pooled,
    group_parameters,
    interpolate_weights,
)
from training.pictures import unrelated_pictures
from training.pictures.batches import INPUT
from training.recipe import start_run
from training.recipes.image_classification import ImageClassification, describe_start, name_start
from training.record import record
from training.torch_weights import add_weights

pytestmark = pytest.mark.training

LEAST = 1000  # smaller tensors are not stored in int8 here
SMALL = {"hidden_sizes": [16, 32, 64, 128], "depths": [1, 1, 2, 1], "num_labels": 1000}
MADE = {
    "mobilenet-v2": lambda: MobileNetV2ForImageClassification(
        MobileNetV2Config(depth_multiplier=0.35, num_labels=1000)
    ),
    "resnet-18": lambda: ResNetForImageClassification(ResNetConfig(layer_type="basic", embedding_size=16, **SMALL)),
    "resnet-50": lambda: ResNetForImageClassification(ResNetConfig(embedding_size=16, **SMALL)),
    "convnext-tiny": lambda: ConvNextForImageClassification(ConvNextConfig(layer_scale_init_value=0.5, **SMALL)),
}


def make_network(kind):
    """Return a small random network with ImageNet's 1,000 classes, whose BatchNorm has the statistics of noise."""
    torch.manual_seed(0)
    network = MADE[kind]().train()
    with torch.no_grad():
        for _ in range(8):
            network(torch.randn(8, 3, 64, 64))
        for module in network.modules():
            if isinstance(module, torch.nn.LayerNorm):  # otherwise its weights are 1 and its biases 0
                module.weight.normal_(1, 0.2)
                module.bias.normal_(0, 0.2)
    return network.eval()


def make_net(kind):
    """Return a net of three labels, whose last layer is random, too."""
    net = ClassifierNet("abc", 3, make_network(kind)).eval()
    torch.nn.init.normal_(net.head.weight)
    torch.nn.init.normal_(net.head.bias)
    return net


def make_wrapper(net, pixels):
    with torch.no_grad():
        (features,) = Pooled(net)(pixels)
        return ExportWrapper(net, DistributionScore(net.imagenet, [3, 5], features)).eval()


@pytest.fixture(params=MADE)
def kind(request):
    return request.param


@pytest.fixture
def small(tmp_path):
    """Save a small network of a kind into a folder."""

    def save(kind):
        make_network(kind).save_pretrained(tmp_path / kind)
        return tmp_path / kind

    return save


def test_every_backbone_has_a_small_network_here():
    assert set(MADE) == set(BACKBONES)


def test_a_map_averages_to_the_logit_of_transformers(kind):
    net, pixels = make_net(kind), torch.randn(4, 3, 96, 64)
    with torch.no_grad():
        logits, _, maps = make_wrapper(net, pixels)(pixels)
        theirs = net.classifier(pixels).logits
        given, kinds, imagenet = net(pixels)
    assert maps.shape == (4, 3, 3, 2)
    assert float(theirs.std(0).min()) > 0.01  # it tells pictures apart
    assert torch.allclose(maps.mean((2, 3)), theirs, atol=1e-4)
    assert torch.allclose(logits, theirs, atol=1e-4)
    assert torch.allclose(given, theirs, atol=1e-4)
    assert (kinds.shape, imagenet.shape) == ((4, 3), (4, 1000))


def test_imagenets_classifier_gets_the_features_that_it_was_trained_on(kind):
    network, pixels = make_network(kind), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before = network(pixels).logits
        _, _, imagenet = ClassifierNet("ab", 2, network).eval()(pixels)
    assert torch.allclose(imagenet, before, atol=1e-4)


def test_what_is_trained_is_in_one_group_each_from_the_first_layers_to_the_last(kind):
    net = make_net(kind)
    groups = [[id(parameter) for parameter in group] for group in group_parameters(net)]
    grouped = [parameter for group in groups for parameter in group]
    order = {id(p): index for index, (name, p) in enumerate(net.named_parameters()) if not name.startswith("imagenet.")}
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == set(order)
    assert max(order[p] for p in groups[0]) < min(order[p] for p in groups[1])
    assert min(len(group) for group in groups) > 3


def test_alpha_interpolates_every_number_of_the_backbone(kind):
    net, before = make_net(kind), make_network(kind)
    tuned = {name: value.clone() + 1 for name, value in net.backbone.state_dict().items() if value.is_floating_point()}
    net.backbone.load_state_dict(tuned, strict=False)
    interpolate_weights(net, before, alpha=0.25)
    old = before.base_model.state_dict()
    for name, value in net.backbone.state_dict().items():
        if value.is_floating_point():
            assert torch.allclose(value, old[name] + 0.25, atol=1e-5)


@torch.no_grad()
def test_rounded_weights_are_stored_as_they_are(kind, tmp_path):
    net, pixels, path = make_net(kind), torch.randn(8, 3, 64, 64), tmp_path / "model.onnx"
    outputs, lost = ["logits", "score", "maps"], []
    for is_rounded in (False, True):
        if is_rounded:
            round_to_int8(net.backbone, LEAST)
        wrapper = make_wrapper(net, pixels)
        if is_rounded:
            round_to_int8(wrapper.score, LEAST)
        write_onnx(wrapper, path, {INPUT: pixels[:2]}, outputs)
        store(path, lambda model: store_int8(model, LEAST))
        pairs = zip(Session(path).run(outputs, {INPUT: pixels.numpy()}), wrapper(pixels), strict=True)
        lost.append([np.abs(stored - expected.numpy()).max() for stored, expected in pairs])
    assert all(after < 0.3 * before for before, after in zip(*lost, strict=True))  # biases lose as float16
    kinds = [tensor.data_type for tensor in onnx.load(path).graph.initializer]
    large = [p for p in net.backbone.parameters() if p.ndim > 1 and p.numel() >= LEAST]
    assert kinds.count(onnx.TensorProto.INT8) >= len(large)


@pytest.mark.parametrize("kind", ["resnet-18", "convnext-tiny"])
def test_a_network_in_a_folder_is_fine_tuned_and_stored(kind, small, tmp_path, monkeypatch):
    monkeypatch.setattr(
        ImageClassification, "find_unrelated", lambda *_: {"noise": unrelated_pictures.draw_noise(5, 0)}
    )
    given = ["--smoke", "--init", str(small(kind)), "--epochs", "1", "--out", str(tmp_path / "model")]
    assert command.main(ImageClassification(), given) == 0
    model, picture = load_model(tmp_path / "model"), next((tmp_path / "image_classification-made-up").glob("*/*.png"))
    assert (model.config.mean, model.config.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert model.explain(picture).evidence.shape == (2, 2)
    assert model.config.about.base_model is None
    name = BACKBONES[kind].architecture.name
    assert f"It began as a {name} trained on ImageNet" in (tmp_path / "model/LICENSE.md").read_text(encoding="utf-8")
    image = load_image(picture).resize((64, 64))
    pixels = AutoImageProcessor.from_pretrained(tmp_path / "model")(image, return_tensors="pt")
    with torch.no_grad():
        logits = AutoModelForImageClassification.from_pretrained(tmp_path / "model").eval()(**pixels).logits
    answer = model.predict(picture).probabilities
    assert logits.softmax(1)[0].tolist() == pytest.approx(list(answer.values()), abs=0.01)
    (tmp_path / "model/model.safetensors").unlink()
    with pytest.raises(RuntimeError, match=f"The weights of a {name.lower()} cannot be converted"):
        add_weights(tmp_path / "model")


def read(*options):
    return ImageClassification().read_settings(command.make_parser(ImageClassification()).parse_args(list(options)))


def test_backbone_is_short_for_the_hub_name_of_init():
    for option, backbone in BACKBONES.items():
        settings = read("--backbone", option)
        assert settings.init == backbone.hub
        assert describe_start(settings) is backbone
        assert describe_start(read("--init", backbone.hub)) is backbone
    assert describe_start(read()) is describe_start(read("--smoke")) is BACKBONES["mobilenet-v2"]


def test_naming_the_default_does_not_change_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    states = []
    for more in ([], ["--backbone", "mobilenet-v2"], ["--backbone", "resnet-18"]):
        options = command.make_parser(ImageClassification()).parse_args(["--data", str(tmp_path / "none"), *more])
        states.append(start_run(ImageClassification(), options, ImageClassification().read_settings(options)).state)
    assert states[0] == states[1] != states[2]


def refuse(tmp_path, capsys, monkeypatch, *options):
    monkeypatch.setattr(ImageClassification, "check_layout", lambda *_: None)
    monkeypatch.setattr(ImageClassification, "load_own", lambda *_: pytest.fail("the data were read"))
    given = ["--data", str(tmp_path), "--out", str(tmp_path / "model"), *map(str, options)]
    assert command.main(ImageClassification(), given) == 2
    return capsys.readouterr().err


def test_another_network_than_the_backbone_is_refused(small, tmp_path, capsys, monkeypatch):
    folder = small("convnext-tiny")
    error = refuse(tmp_path, capsys, monkeypatch, "--backbone", "resnet-18", "--init", folder)
    assert f"{folder} is a ConvNeXt, but --backbone resnet-18 asks for a ResNet-18; leave out --backbone" in error
    ImageClassification().check_start(read("--backbone", "convnext-tiny", "--init", str(folder)))
    shutil.copytree(small("resnet-50"), tmp_path / "microsoft/resnet-50")
    monkeypatch.chdir(tmp_path)
    error = refuse(tmp_path, capsys, monkeypatch, "--backbone", "resnet-18", "--init", "microsoft/resnet-50")
    assert "microsoft/resnet-50 is a ResNet-50, but --backbone resnet-18 asks for a ResNet-18" in error


def test_the_accepted_architectures_are_named(tmp_path, capsys, monkeypatch):
    ViTConfig().save_pretrained(tmp_path / "vit")
    error = refuse(tmp_path, capsys, monkeypatch, "--init", tmp_path / "vit")
    for name in ("MobileNetV2ForImageClassification", "ResNetForImageClassification or ConvNextForImageClassification"):
        assert name in error
    assert "(it is a vit); name a local folder or another model with --init." in error


def test_the_card_of_a_demo_names_the_network_that_it_began_with(small, tmp_path):
    usual = read_description("cat_dog")
    assert name_start(usual, CatDogSettings()) == usual
    other = name_start(usual, CatDogSettings(init="microsoft/resnet-18", backbone="resnet-18"))
    assert other.about.base_model == "microsoft/resnet-18"
    assert "It began as ResNet-18 trained on ImageNet, microsoft/resnet-18 on the Hub" in other.notice
    assert "MobileNetV2" not in other.notice
    folder = small("resnet-50")
    assert name_start(usual, CatDogSettings(init=str(folder))).about.base_model is None
    named = name_start(usual, CatDogSettings(init=str(folder), backbone="resnet-50"))
    assert named.about.base_model == "microsoft/resnet-50"


def test_a_folder_named_like_a_backbone_is_not_recorded(tmp_path, monkeypatch):
    (tmp_path / "resnet-18").mkdir()
    monkeypatch.chdir(tmp_path)
    parser = command.make_parser(ImageClassification())
    recorded = record(parser, parser.parse_args(["--backbone", "resnet-18"]))
    assert recorded.command == "python -m training.recipes.image_classification --backbone resnet-18"
    assert not recorded.inputs
