"""Parity: a stored model that differs from torch is refused, and the differences that are allowed are recorded."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")

from training import export, parity

pytestmark = pytest.mark.training


def test_parity_refuses_a_model_that_differs(tmp_path):
    module = torch.nn.Linear(3, 1)
    inputs = {"x": torch.randn(4, 3)}
    export.write_onnx(module, tmp_path / "model.onnx", inputs, ["y"])
    rows = [{"x": torch.randn(count, 3).numpy()} for count in (20, 30)]
    assert parity.check_parity(module, tmp_path / "model.onnx", rows, ["y"], 1e-4).rows == 50
    with pytest.raises(parity.ParityError, match=r"more than is allowed \(in brackets\): y by nan"):
        parity.check_parity(
            module, tmp_path / "model.onnx", [*rows, {"x": np.full((2, 3), np.nan, np.float32)}], ["y"], 1e-4
        )
    with torch.no_grad():
        module.weight += 0.1
    with pytest.raises(parity.ParityError, match="differs from torch by"):
        parity.check_parity(module, tmp_path / "model.onnx", rows, ["y"], 1e-4)


def test_differences_are_allowed_in_proportion_to_large_values(tmp_path):
    module = torch.nn.Linear(3, 1, bias=False)
    with torch.no_grad():
        module.weight[:] = 1
    rows = {"x": np.full((2, 3), 50, np.float32)}
    export.write_onnx(module, tmp_path / "model.onnx", {"x": torch.ones(2, 3)}, ["y"])
    with torch.no_grad():
        module.weight *= 1.001
    found = parity.check_parity(module, tmp_path / "model.onnx", [rows], ["y"], 0.002)
    assert found.tolerance == pytest.approx(0.002 * 150.15)
    assert found.largest_difference == pytest.approx(0.15, rel=1e-3)
    with pytest.raises(parity.ParityError, match=r"differs from torch .*: y by 0\.15 \(0\.075\)"):
        parity.check_parity(module, tmp_path / "model.onnx", [rows], ["y"], 0.0005)


def probabilities(logits):
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_parity_records_typical_differences_and_changed_labels(tmp_path):
    class Logits(torch.nn.Module):
        def __init__(self, wrong_rows):
            super().__init__()
            self.wrong_rows = wrong_rows

        def forward(self, x):  # the first number says which row it is
            wrong = (x[:, 0] < self.wrong_rows).float()
            return torch.stack([x[:, 1] * 0 + 1, wrong * 2], 1)

    rows = np.stack([np.arange(4000), np.ones(4000)], 1).astype(np.float32)
    batches = [{"x": rows[:1500]}, {"x": rows[1500:]}]
    export.write_onnx(Logits(0), tmp_path / "model.onnx", {"x": torch.from_numpy(rows[:2])}, ["logits"])

    def found(wrong_rows, **allowed):
        shown = parity.Shown("probability", probabilities, "pictures", "pictures", **allowed)
        return parity.check_parity(Logits(wrong_rows), tmp_path / "model.onnx", batches, ["logits"], 1.0, shown)

    far = float(abs(probabilities(np.array([[1.0, 0.0]])) - probabilities(np.array([[1.0, 2.0]]))).max())
    few = found(3, typical=0.01, relabelled=0.001)  # fewer than one in a thousand: not typical
    assert (few.rows, few.compared, few.relabelled) == (4000, 4000, 3 / 4000)
    assert few.largest_difference == pytest.approx(far, abs=1e-6)
    assert few.typical_difference < 1e-6
    some = found(40, typical=0.7, relabelled=0.01)
    assert some.relabelled == 0.01
    assert some.typical_difference == pytest.approx(far, abs=1e-6)
    with pytest.raises(parity.ParityError, match=r"1\.00% of the pictures different labels \(allowed: 0\.90%\)"):
        found(40, typical=0.7, relabelled=0.009)
    with pytest.raises(parity.ParityError, match=r"may differ from torch by at most 0\.1; it differs by up to 0\.46"):
        found(40, typical=0.1, relabelled=0.01)


def test_parity_of_few_rows_lets_one_change_its_label():
    shown = parity.Shown("probability", np.asarray, "texts", "texts", typical=1.0, relabelled=0.001)
    one = np.arange(20) == 0
    assert parity.check_changes(shown, np.zeros(20), one)["relabelled"] == 0.05
    with pytest.raises(parity.ParityError, match="different labels"):
        parity.check_changes(shown, np.zeros(20), np.arange(20) < 2)
