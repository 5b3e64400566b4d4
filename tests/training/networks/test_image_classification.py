"""The network of image classification: its loss, its maps, and the score for what is in distribution."""

import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from training.networks.image_classification import (
    ClassifierNet,
    DistributionScore,
    ExportWrapper,
    classification_loss,
    group_parameters,
    interpolate_weights,
)
from training.recipes.image_classification import ImageClassificationSettings, load_backbone

pytestmark = pytest.mark.training


def small_net(labels):
    torch.manual_seed(0)
    return ClassifierNet("abc"[:labels], labels, load_backbone(ImageClassificationSettings.smoke()))


def test_the_score_is_the_log_odds_of_the_classes_inside():
    torch.manual_seed(0)
    imagenet = torch.nn.Linear(64, 12)
    features = torch.randn(200, 64) + 3
    score = DistributionScore(imagenet, inside=[2, 3], features=features, rank=12)
    p = imagenet(features).softmax(1)[:, [2, 3]].sum(1)
    assert torch.allclose(score(features), (p / (1 - p)).log(), atol=1e-4)


def test_forgetting_imagenet_costs():
    y, logits, kinds = torch.tensor([0, 1]), torch.zeros(2, 2), torch.zeros(2, 2)
    before = torch.randn(2, 5)
    retained, forgotten = (float(classification_loss((logits, kinds, now), y, y, before)) for now in (before, -before))
    # Even logits of two labels and of two kinds, the latter at half the weight, cost ln 2 each.
    assert retained == pytest.approx(1.5 * 0.693147, abs=1e-5)
    assert forgotten > retained


def test_a_map_averages_to_its_logit():
    net = small_net(3)
    torch.nn.init.normal_(net.classifier.classifier.weight)
    wrapper = ExportWrapper(net, DistributionScore(net.imagenet, [0], torch.randn(50, 1280), 4)).eval()
    with torch.inference_mode():
        logits, _, maps = wrapper(torch.randn(2, 3, 64, 64))
    assert torch.allclose(maps.mean((2, 3)), logits, atol=1e-4)


def test_interpolated_weights_lie_between_the_pretrained_and_the_fine_tuned():
    net, before = small_net(2), load_backbone(ImageClassificationSettings.smoke())
    name, tuned = next(iter(net.classifier.mobilenet_v2.named_parameters()))
    old, new = before.mobilenet_v2.get_parameter(name), tuned.detach().clone()
    assert not torch.equal(old, new)
    interpolate_weights(net, before, alpha=0.25)
    assert torch.allclose(tuned, old + 0.25 * (new - old), atol=1e-6)


def test_what_is_trained_is_in_one_group_each_but_for_imagenets_classifier():
    net = small_net(2)
    groups = group_parameters(net)
    grouped = [id(parameter) for group in groups for parameter in group]
    trained = {id(p) for name, p in net.named_parameters() if not name.startswith("imagenet.")}
    assert len(groups) == 3
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == trained
    assert not any(parameter.requires_grad for parameter in net.imagenet.parameters())
