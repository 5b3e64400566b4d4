"""A model is one file, the one whose hash is checked, and answers with finite numbers."""

import gradio as gr
import numpy as np
import pytest

from shared.errors import CheckpointError
from shared.session import BATCH, Session
from shared.ui.errors import show_errors

onnx = pytest.importorskip("onnx", reason="onnx is not installed: make test-all")


def write_model(path, location=None):
    """A model that returns 16 bytes, which are in another file if `location` names it."""
    weights = onnx.TensorProto(name="w", data_type=onnx.TensorProto.UINT8, dims=[16])
    if location is None:
        weights.raw_data = b"IN THE MODEL    "
    else:
        weights.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", "16")):
            weights.external_data.add(key=key, value=value)
    answer = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.UINT8, [16])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["w"], ["y"])], "g", [], [answer], [weights])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(model.SerializeToString())


def test_a_model_with_all_weights_in_its_file_is_run(tmp_path):
    write_model(tmp_path / "onnx/model.onnx")
    assert bytes(Session(tmp_path / "onnx/model.onnx").run_once(["y"])[0]) == b"IN THE MODEL    "


@pytest.mark.parametrize(
    "location", ["near.bin", "./near.bin", "sub/near.bin", "../far.bin", "link.bin", "/etc/passwd"]
)
def test_weights_in_another_file_are_not_read(tmp_path, monkeypatch, location):
    """gallery.json has the hash of the model alone."""
    model = tmp_path / "onnx/model.onnx"
    write_model(model, location)
    (tmp_path / "onnx/sub").mkdir()
    for name in ("onnx/near.bin", "onnx/sub/near.bin", "far.bin", "near.bin"):
        (tmp_path / name).write_bytes(b"NOT IN ANY LIST ")
    (tmp_path / "onnx/link.bin").symlink_to(tmp_path / "far.bin")
    for path, here in ((model, tmp_path), ("onnx/model.onnx", tmp_path), ("model.onnx", tmp_path / "onnx")):
        monkeypatch.chdir(here)
        with pytest.raises(CheckpointError, match=r"model\.onnx refers to weights in another file, which is not read"):
            Session(path).open()


@pytest.fixture
def logarithm(tmp_path):
    """A model that returns the logarithms of numbers, (n,)."""
    given, answer = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n"]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Log", ["x"], ["y"])], "g", [given], [answer])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    return Session(tmp_path / "model.onnx")


@pytest.mark.parametrize("number", [-1, 0])  # NaN and -inf
def test_numbers_that_are_not_finite_are_no_answer(logarithm, number, caplog):
    numbers = np.ones(BATCH + 2, np.float32)
    assert logarithm.run(["y"], {"x": numbers})[0].tolist() == [0] * (BATCH + 2)
    numbers[-1] = number
    with pytest.raises(CheckpointError, match=r"^The output 'y' of .*model\.onnx has numbers that are not finite"):
        logarithm.run(["y"], {"x": numbers})
    with pytest.raises(gr.Error, match="the reason in its log"):
        show_errors(logarithm.run)(["y"], {"x": numbers})
    assert "The output 'y' of" in caplog.text
