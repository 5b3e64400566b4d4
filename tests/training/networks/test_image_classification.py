"""The network of image classification: its loss, its maps, and the score for what is in distribution."""

import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from training.networks.image_classification import (
    ClassifierNet,
    DistributionScore,
    ExportWrapper,
    classification_loss,
    compare_out_of_fold,
    group_parameters,
    interpolate_weights,
    measure_conflict,
)
from training.recipes.image_classification import ImageClassificationSettings, load_backbone

pytestmark = pytest.mark.training


def small_net(labels):
    torch.manual_seed(0)
    return ClassifierNet("abc"[:labels], labels, load_backbone(ImageClassificationSettings.smoke()))


@pytest.fixture
def scored():
    """Return ImageNet's classifier, the features of training pictures in two groups, and the score fitted to them."""
    torch.manual_seed(0)
    imagenet = torch.nn.Linear(64, 12)
    features = torch.randn(200, 64) + 3
    features[::2, :32] -= 6
    return imagenet, features, DistributionScore(imagenet, inside=[2, 3], features=features, rank=12)


def test_one_part_of_the_score_is_the_log_odds_of_the_classes_inside(scored):
    imagenet, features, score = scored
    p = imagenet(features).softmax(1)[:, [2, 3]].sum(1)
    assert torch.allclose(score.compute_odds(features), (p / (1 - p)).log(), atol=1e-4)


def test_the_other_part_is_the_similarity_to_the_nearest_centroid(scored):
    _, features, score = scored
    assert score.centroids.shape == (64, 4)  # one for 50 pictures
    directions = torch.nn.functional.normalize(features, dim=1)
    nearest = (directions[:, None] * score.centroids.T[None]).sum(2).amax(1)
    odds = score.compute_odds(features)
    expected = (odds - score.mean[0]) / score.spread[0] + (nearest - score.mean[1]) / score.spread[1]
    assert torch.allclose(score(features), expected, atol=1e-4)
    with torch.no_grad():
        assert float(score(-features).max()) < float(score(features).min())


def test_training_pictures_are_compared_with_centroids_of_others(scored):
    _, features, score = scored
    assert score.of_training.mean().item() == pytest.approx(0, abs=1e-4)
    assert score(features).mean().item() > 0.1  # each belongs to a centroid here
    again = (score.compute_odds(features) - score.mean[0]) / score.spread[0]
    again += (compare_out_of_fold(features, 4) - score.mean[1]) / score.spread[1]
    assert torch.allclose(score.of_training, again, atol=1e-4)


def test_few_pictures_have_a_centroid_for_each_label():
    features = torch.randn(9, 64)
    score = DistributionScore(torch.nn.Linear(64, 12), [0], features, labels=3)
    assert score.centroids.shape == (64, 3)
    assert bool(torch.isfinite(score.of_training).all())


def test_the_conflict_is_how_far_the_second_label_leads_where_it_leads_most():
    maps = torch.zeros(4, 3, 6, 6)
    maps[0, 0, :, :3], maps[0, 1, :, 3:] = 5, 2  # side by side
    maps[1, 0, :3], maps[1, 2, 3:] = 4, 9  # one above the other
    maps[2, 1] = 3  # one label everywhere
    maps[3, 0], maps[3, 1, 4, 4] = 5, 9  # a single place is not a window
    # In the last picture every window has 1/9 of what is in one place: 5 - 1 of the first label, and none of others.
    assert measure_conflict(maps).tolist() == pytest.approx([2, 4, -3, -4], abs=1e-5)


def test_maps_of_any_shape_have_a_conflict():
    maps = torch.zeros(2, 2, 1, 1)
    maps[:, 1] = 3
    assert measure_conflict(maps).tolist() == [-3, -3]
    wide = torch.zeros(1, 2, 2, 7)
    wide[0, 0, :, :4], wide[0, 1, :, 4:] = 2, 6
    assert measure_conflict(wide).tolist() == pytest.approx([2])


def test_equal_pictures_have_scores_of_ordinary_size():
    torch.manual_seed(0)
    features = torch.rand(64).repeat(10, 1)
    features[:5] += 1e-4
    score = DistributionScore(torch.nn.Linear(64, 12), [0], features)
    assert score.spread[1].item() == pytest.approx(0.01)
    assert float(score(features).detach().abs().max()) < 10
    two = DistributionScore(torch.nn.Linear(64, 12), [0], torch.rand(2, 64))
    assert bool(torch.isfinite(two.of_training).all())


def test_a_conflict_divides_logits_and_maps_alike():
    net = small_net(3)
    torch.nn.init.normal_(net.classifier.classifier.weight)
    wrapper = ExportWrapper(net, DistributionScore(net.imagenet, [0], torch.randn(50, 1280), 4)).eval()
    pixels = torch.randn(6, 3, 128, 128)
    with torch.inference_mode():
        before, _, maps = wrapper(pixels)
        conflict = measure_conflict(maps)
        wrapper.conflict.slope.fill_(0.5)
        wrapper.conflict.start.fill_(float(conflict.min()) - 1)
        after, _, divided = wrapper(pixels)
    factor = before / after
    assert torch.allclose(factor, factor[:, :1].expand(-1, 3), atol=1e-3)
    assert torch.allclose(factor[:, 0], 1.5 + 0.5 * (conflict - conflict.min()), atol=1e-3)
    assert torch.allclose(divided.mean((2, 3)), after, atol=1e-4)


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
