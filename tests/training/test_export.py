"""ONNX files: weights stored as float16 or int8, and which of them stay in float32."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
onnx = pytest.importorskip("onnx", reason="onnx is not installed: make test-all")

from shared.session import Session
from training import export, parity

pytestmark = pytest.mark.training


def test_large_weights_are_stored_as_half_and_amounts_are_not(tmp_path):
    class Amounts(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(600, 600)
            self.register_buffer("amounts", torch.arange(600.0) * 1000)

        def forward(self, x):
            return self.linear(x / (1 + self.amounts))

    export.write_onnx(Amounts(), tmp_path / "m.onnx", {"x": torch.randn(2, 600)}, ["y"])
    export.store(tmp_path / "m.onnx", export.store_half)
    arrays = [onnx.numpy_helper.to_array(t) for t in onnx.load(tmp_path / "m.onnx").graph.initializer]
    assert {str(a.dtype) for a in arrays if a.size == 360_000} == {"float16"}
    assert {str(a.dtype) for a in arrays if a.size == 600 and abs(a).max() > 1000} == {"float32"}


def test_large_kernels_are_stored_as_int8_with_a_scale_for_each_channel(tmp_path):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(16, 128, 3, bias=False), torch.nn.Conv2d(128, 4, 1))
    weight = module[0].weight.detach().numpy().copy()
    weight[0] = 0  # a channel without a largest number
    weight[1] *= 100
    with torch.no_grad():
        module[0].weight.copy_(torch.from_numpy(weight))
    path, pixels = tmp_path / "m.onnx", torch.randn(2, 16, 8, 8)
    export.write_onnx(module, path, {"x": pixels}, ["y"])
    export.store(path, export.store_int8)
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    (kernel,) = (name for name, values in stored.items() if values.dtype == np.int8)
    scale = stored[kernel.removesuffix(".int8") + ".scale"].astype(np.float32).reshape(-1, 1, 1, 1)
    assert stored[kernel].shape == weight.shape  # the small kernel stays as it is
    assert (np.abs(stored[kernel] * scale - weight) <= scale * 0.501).all()
    assert np.abs(stored[kernel][1:]).reshape(127, -1).max(axis=1).tolist() == [127] * 127
    assert not stored[kernel][0].any()


def test_weights_that_were_rounded_before_are_stored_as_they_are(tmp_path):
    torch.manual_seed(0)
    module = torch.nn.Conv2d(160, 160, 1, bias=False)
    export.round_to_int8(module)
    pixels = torch.randn(5, 160, 2, 2)
    export.write_onnx(torch.nn.Sequential(module), tmp_path / "m.onnx", {"x": pixels}, ["y"])
    export.store(tmp_path / "m.onnx", export.store_int8)
    (answer,) = Session(tmp_path / "m.onnx").run_once(["y"], {"x": pixels.numpy()})
    np.testing.assert_allclose(answer, module(pixels).detach().numpy(), rtol=0, atol=1e-5)


def test_a_transposed_matrix_has_a_scale_for_each_column(tmp_path):
    torch.manual_seed(0)
    module, rows = torch.nn.Linear(160, 200), torch.randn(5, 3, 160)
    with torch.no_grad():
        module.weight.mul_(torch.rand(200, 1) * 10)
    export.round_to_int8(module)
    export.write_onnx(torch.nn.Sequential(module), tmp_path / "m.onnx", {"x": rows}, ["y"])
    export.store(tmp_path / "m.onnx", export.store_int8)
    (node,) = (node for node in onnx.load(tmp_path / "m.onnx").graph.node if node.op_type == "DequantizeLinear")
    assert [attribute.i for attribute in node.attribute] == [1]
    (answer,) = Session(tmp_path / "m.onnx").run_once(["y"], {"x": rows.numpy()})
    np.testing.assert_allclose(answer, module(rows).detach().numpy(), rtol=0, atol=5e-3)


def test_a_tensor_that_is_used_and_returned_is_stored_once(tmp_path):
    path, rows = tmp_path / "model.onnx", np.array([3, 1])

    class Table(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Parameter(torch.randn(500, 8))

        def forward(self, rows):
            return self.table[rows], self.table

    module = Table()
    export.write_onnx(module, path, {"rows": torch.from_numpy(rows)}, ["some", "table"])
    export.store(path, export.store_half)
    assert path.stat().st_size < 500 * 8 * 2 + 2000
    some, table = Session(path).run(["some", "table"], {"rows": rows})
    np.testing.assert_allclose(table, module.table.detach().numpy(), atol=0.002)
    np.testing.assert_array_equal(some, table[rows])


def test_tensors_of_branches_stay_as_they_are():
    helper, table = onnx.helper, np.zeros(400, np.float32)
    branches = [
        helper.make_graph([helper.make_node("Identity", [name], [out])], out, [],
                          [helper.make_tensor_value_info(out, onnx.TensorProto.FLOAT, [400])])
        for name, out in (("first", "a"), ("second", "b"))
    ]  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node("If", ["which"], ["y"], then_branch=branches[0], else_branch=branches[1])], "g",
        [helper.make_tensor_value_info("which", onnx.TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [400])],
        [onnx.numpy_helper.from_array(table, name) for name in ("first", "second")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    export.merge_equal_tensors(model)
    assert [tensor.name for tensor in model.graph.initializer] == ["first", "second"]
    onnx.checker.check_model(model)


def test_int8_weights_are_a_quarter_of_the_size_and_nearly_the_same(tmp_path):
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 64, 3), torch.nn.ReLU(), torch.nn.Conv2d(64, 64, 3, groups=64), torch.nn.ReLU(),
        torch.nn.Conv2d(64, 128, 1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(128, 300),
    )  # fmt: skip
    x = torch.randn(4, 3, 16, 16)
    path = tmp_path / "onnx/model.onnx"
    export.write_onnx(net, path, {"x": x}, ["y"])
    parity.check_parity(net, path, [{"x": x.numpy()}], ["y"], tolerance=1e-5)
    whole = path.stat().st_size
    export.store(path, export.store_int8)
    assert path.stat().st_size < 0.35 * whole
    kinds = {onnx.numpy_helper.to_array(tensor).dtype.name for tensor in onnx.load(path).graph.initializer}
    assert {"int8", "float16"} <= kinds
    (stored,) = Session(path).run(["y"], {"x": x.numpy()})
    expected = net.eval()(x).detach().numpy()
    assert np.abs(stored - expected).max() < 0.02 * np.abs(expected).max()
    assert np.abs(stored - expected).max() > 0  # it did store something else


def test_a_network_rounded_to_int8_is_stored_without_loss(tmp_path):
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 64, 3, bias=False), torch.nn.BatchNorm2d(64), torch.nn.ReLU6(),
        torch.nn.Conv2d(64, 512, 1, bias=False), torch.nn.BatchNorm2d(512), torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
    )  # fmt: skip
    x = torch.randn(64, 3, 16, 16)
    net(x)  # statistics for BatchNorm, which the export folds into the kernels
    lost = []
    for rounded in (False, True):
        if rounded:
            export.round_to_int8(net)
        export.write_onnx(net, tmp_path / "model.onnx", {"x": x}, ["y"])
        export.store(tmp_path / "model.onnx", export.store_int8)
        (stored,) = Session(tmp_path / "model.onnx").run(["y"], {"x": x.numpy()})
        lost.append(np.abs(stored - net.eval()(x).detach().numpy()).max())
    assert lost[1] < 0.1 * lost[0]
