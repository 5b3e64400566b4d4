"""The networks for tables: bins, amounts with an embedding of their own, and the calibrated ensemble."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: make test-all")

from training.networks.tabular import LARGEST_LOGIT, Ensemble, ExactValue, PiecewiseLinear, find_bin_edges, member_loss

pytestmark = pytest.mark.training


def test_amounts_between_two_that_were_seen_are_embedded_in_between():
    embed = ExactValue(np.array([0.0, 3103.0, 99999.0]), 4).eval()
    zero, gain, most = embed.embedding
    x = torch.tensor([0.0, 3103.0, 99999.0, 3103.0 / 4])
    torch.testing.assert_close(embed(x), torch.stack([zero, gain, most, 0.75 * zero + 0.25 * gain]))
    torch.testing.assert_close(embed(x[:3]), embed.embedding, rtol=0, atol=0)


def test_numbers_are_encoded_by_how_far_they_have_passed_through_each_bin():
    encode = PiecewiseLinear([np.array([0.0, 10.0, 30.0]), np.array([0.0, 1.0])], 2)
    with torch.no_grad():
        encode.weight[0] = torch.eye(2)
        encode.weight[1] = torch.tensor([[3.0, 99.0], [0.0, 99.0]])  # the second bin is padding
        encode.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 1.0]))
    found = encode(torch.tensor([[-5.0, 0.0], [5.0, 0.5], [15.0, 1.0], [99.0, 3e38]]))
    assert found.tolist() == [[0, 0, 0, 1], [0.5, 0, 1.5, 1], [1, 0.25, 3, 1], [1, 1, 3, 1]]


def test_columns_are_initialised_like_layers_of_their_own():
    edges = [np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0])]
    torch.manual_seed(0)
    layers = [torch.nn.Linear(2, 3), torch.nn.Linear(1, 3)]
    torch.manual_seed(0)
    encode = PiecewiseLinear(edges, 3)
    assert torch.equal(encode.weight[0], layers[0].weight)
    assert torch.equal(encode.weight[1, :, :1], layers[1].weight)
    assert torch.equal(encode.bias, torch.cat([layer.bias for layer in layers]))


@pytest.mark.parametrize(
    ("values", "edges"),
    [
        (np.arange(25.0), np.arange(25.0)),
        ([0.0] * 6 + [10.0, 20.0, 30.0], np.r_[0, np.linspace(10, 30, 100)]),  # mostly 0: quantiles of the rest
        ([5.0, 5.0, 5.0], [5.0, 6.0]),
        ([0.0, 0.0, 0.0], [0.0, 1.0]),
        ([0.0, 0.0, 0.0, -3.0], None),  # mostly 0, with nothing above it
        (1e9 + np.arange(129.0), [1e9, 1e9 + 64, 1e9 + 128]),  # that differ in float32
        ([1e9] * 3, [1e9, 1e9 + 64]),
    ],
)
def test_bins_have_edges_whatever_the_column(values, edges):
    found = find_bin_edges(np.array(values))
    assert len(found) >= 2
    assert (np.diff(found) > 0).all()
    if edges is None:
        assert (found[0], found[-1]) == (-3.0, 0.0)
    else:
        np.testing.assert_allclose(found, edges)


class Constant(torch.nn.Module):
    """A network whose members always have these logits."""

    def __init__(self, *logits):
        super().__init__()
        self.logits = torch.tensor([logits])

    def forward(self, categories, _numbers):
        return self.logits.expand(len(categories), -1)


def test_the_ensemble_averages_probabilities_and_then_calibrates():
    rows = torch.zeros(3, 1)
    networks = [Constant(0.0, 2.0), Constant(-1.0, 4.0)]
    p = torch.sigmoid(torch.tensor([0.0, 2.0, -1.0, 4.0])).mean()
    torch.testing.assert_close(Ensemble(networks)(rows, rows), torch.logit(p).expand(3))
    torch.testing.assert_close(Ensemble(networks, 2.0, 0.5)(rows, rows), (torch.logit(p) / 2 + 0.5).expand(3))
    assert Ensemble([Constant(90.0)])(rows, rows).tolist() == pytest.approx([LARGEST_LOGIT] * 3)


def test_each_member_has_a_loss_of_its_own():
    logits, target = torch.tensor([[0.0, 1.0], [2.0, -1.0]]), torch.tensor([1.0, 0.0])
    each = [torch.nn.functional.binary_cross_entropy_with_logits(logits[:, i], target) for i in range(2)]
    torch.testing.assert_close(member_loss(logits, target), sum(each) / 2)
