"""The last layer of a picture classifier: what it is fitted to, and on what it is calibrated."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from training.evaluate import expected_calibration_error
from training.pictures import head

pytestmark = pytest.mark.training


@pytest.mark.parametrize("labels", [2, 3])
def test_it_fits_the_features_with_equal_weight_for_every_label(labels):
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(labels), [900, 90, 90][:labels])
    features = rng.normal(size=(len(y), 1280)).astype(np.float32)
    features[:, 0] += 2 * (y == 0)  # overlapping, so that weighing by frequency would favour the first
    layer = torch.nn.Linear(1280, labels)
    head.fit_head(layer, torch.from_numpy(features), y, None)
    with torch.inference_mode():
        p = layer(torch.from_numpy(features)).softmax(1).numpy()
    assert (p.argmax(1) == y).mean() > 0.8
    weights = 1 / np.bincount(y)[y]
    assert np.average(p[:, 0], weights=weights) == pytest.approx(1 / labels, abs=0.02)


def test_it_fits_imagenets_predictions_if_the_classes_are_known():
    rng = np.random.default_rng(0)
    y = np.arange(3000) % 2
    features = torch.from_numpy(rng.normal(size=(len(y), 1280)).astype(np.float32))
    sign = torch.from_numpy(2.0 * y - 1).float()
    features[:, 0] += sign  # what ImageNet's classifier goes by
    features[:, 1] += 3 * sign  # a coincidence of the training pictures, clearer than that
    imagenet = torch.nn.Linear(1280, 1001)  # with a class 0 for the background
    with torch.no_grad():
        imagenet.weight.zero_()
        imagenet.weight[1:6, 0], imagenet.weight[6:124, 0] = -1, 1
    agreement = {}
    for classes in (None, (range(0, 5), range(5, 123))):
        layer = torch.nn.Linear(1280, 2)
        with torch.no_grad():
            targets = head.make_targets(imagenet, imagenet(features), y, classes)
        head.fit_head(layer, features, y, targets)
        weight = layer.weight.detach()
        agreement[classes] = float((weight[1, 0] / weight[1, 1]).abs())
    assert agreement[range(0, 5), range(5, 123)] > 3 * agreement[None]


def test_a_teachers_answers_are_averaged_with_imagenets():
    rng = np.random.default_rng(0)
    y = np.arange(400) % 2
    logits = torch.from_numpy(rng.normal(size=(400, 1000)).astype(np.float32))
    logits[:, 0] += torch.from_numpy(3.0 * (1 - y))
    imagenet, classes = torch.nn.Linear(4, 1000), (range(1), range(1, 2))
    taught = torch.from_numpy(np.eye(2)[1 - y] * 40).float()  # wrong, and sure of it
    alone, both = (head.make_targets(imagenet, logits, y, classes, more) for more in (None, taught))
    only = head.make_targets(imagenet, logits, y, None, taught)
    assert (alone.argmax(1) == y).mean() > 0.8
    assert (both.argmax(1) == y).mean() < 0.1
    assert (only.argmax(1) == y).mean() == 0
    assert head.make_targets(imagenet, logits, y, None) is None
    assert np.allclose(both.sum(1), 1)


def test_a_layer_fitted_to_labels_is_calibrated_out_of_fold():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 15)
    features = rng.normal(0, 1, (45, 400)).astype(np.float32)  # noise: nothing can be learned
    fitted = head.make_label_head().fit(features, y)
    assert fitted.score(features, y) == 1
    assert (head.predict_out_of_fold(features, y).argmax(1) == y).mean() < 0.6
    assert head.predict_out_of_fold(features[:30], y[:30]).shape == (30, 2)


def test_a_layer_fitted_to_labels_that_cannot_be_learned_is_made_less_confident():
    rng = np.random.default_rng(0)
    y = np.arange(400) % 2
    features = torch.from_numpy(rng.normal(size=(400, 1280)).astype(np.float32))
    layer = torch.nn.Linear(1280, 2)
    head.fit_head(layer, features[:300], y[:300], None)
    temperature = head.calibrate(layer, features[:300], features[300:], y, has_targets=False)
    with torch.inference_mode():
        p = layer(features[:300]).softmax(1).max(1).values.mean()
    assert temperature > 1
    assert p < 0.75  # although it is right on nearly all that it was fitted to


def test_calibration_divides_the_layer_by_its_temperature():
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.normal(size=(4000, 2)).astype(np.float32))
    layer = torch.nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
        layer.bias.zero_()
        truth = layer(features).softmax(1)[:, 1].numpy()
        layer.weight *= 3  # three times as confident as it may be
    y = (rng.random(len(truth)) < truth).astype(np.int64)
    temperature = head.calibrate(layer, features[:3000], features[3000:], y, has_targets=True)
    assert temperature == pytest.approx(3, abs=0.3)
    assert layer.weight[1, 0].item() == pytest.approx(3 / temperature)
    with torch.no_grad():
        assert expected_calibration_error(layer(features).softmax(1).numpy(), y) < 0.03


def test_the_training_classes_are_those_of_the_labels_or_those_predicted():
    imagenet = torch.nn.Linear(4, 1001)
    with torch.no_grad():
        imagenet.weight.zero_()
        imagenet.bias.zero_()
        imagenet.weight[7, 0] = imagenet.weight[9, 1] = 30
    features = torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0]])
    assert head.find_training_classes(imagenet, features, None) == [7, 9]
    # ImageNet's indices follow the background class.
    assert head.find_training_classes(imagenet, features, [range(3, 5), [1]]) == [2, 4, 5]
    assert head.find_training_classes(torch.nn.Linear(4, 1000), features, [range(3, 5), [1]]) == [1, 3, 4]
