"""Calibration: ranges equal those of the tensors themselves, however the data are cut; bad data are named."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.errors import BadInput
from edgekit.quant.calibrate import calibrate
from edgekit.quant.observers import METHODS, observer
from edgekit.target import Grid

GRID = Grid(8, signed=False, symmetric=False)


def graph(batch: int | str = "N") -> onnx.ModelProto:
    """x -> Conv -> Relu -> Conv -> y."""
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.normal(size=(4, channels, 3, 3)).astype(np.float32), name)
        for name, channels in (("w1", 2), ("w2", 4))
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], name="act"),
        helper.make_node("Conv", ["b", "w2"], ["y"], name="second"),
    ]
    value = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)  # noqa: E731
    made = helper.make_graph(
        nodes, "net", [value("x", [batch, 2, 8, 8])], [value("y", [batch, 4, 6, 6])], weights
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(12, 2, 8, 8)).astype(np.float32)


def tensors(model: onnx.ModelProto, images: np.ndarray) -> dict[str, np.ndarray]:
    """Every tensor's values by onnx's own evaluator, an image at a time where the batch is fixed."""
    from onnx.reference import ReferenceEvaluator

    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in ("a", "b"))
    y, a, b = ReferenceEvaluator(probe).run(None, {"x": images})
    return {"x": images, "a": a, "b": b, "y": y}


@pytest.mark.parametrize("method", METHODS)
def test_ranges_are_those_of_the_tensors(images, method):
    found = calibrate(
        graph(), ["x", "a", "b", "y"], [{"x": part} for part in np.split(images, 3)], method=method
    )
    for name, values in tensors(graph(), images).items():
        one = observer(method, GRID)
        one.update(values)
        assert np.allclose(found[name], one.range(), rtol=1e-3, atol=1e-3), name


@pytest.mark.parametrize("memory", [1, 3000, 10_000, 1 << 30])
@pytest.mark.parametrize("size", ["N", 4])
def test_cutting_for_memory_changes_nothing(images, memory, size):
    feeds = [{"x": part} for part in np.split(images, 3)]
    whole = calibrate(graph(), ["x", "a", "b", "y"], feeds, method="mse")
    cut = calibrate(graph(size), ["x", "a", "b", "y"], iter(feeds), method="mse", memory=memory)
    assert cut.keys() == whole.keys()
    assert all(np.allclose(cut[name], whole[name], rtol=1e-5) for name in whole)


def test_a_grid_of_its_own_for_a_tensor_and_progress(images):
    told: list[int] = []
    signed = Grid(4, signed=True, symmetric=True)
    found = calibrate(
        graph(),
        ["a", "y"],
        [{"x": images[:5]}, {"x": images[5:]}],
        method="mse",
        grid={"a": signed},
        on_batch=told.append,
    )
    for name, grid in (("a", signed), ("y", GRID)):
        one = observer("mse", grid)
        one.update(tensors(graph(), images)[name])
        assert np.allclose(found[name], one.range(), rtol=1e-3)
    assert told == [5, 12]


def test_the_model_is_left_as_it_was(images):
    model = graph()
    before = model.SerializeToString(deterministic=True)
    calibrate(model, ["a"], [{"x": images}])
    assert model.SerializeToString(deterministic=True) == before


def test_bad_data_are_named(images):
    bad = images.copy()
    bad[3, 0, 0, 0] = np.nan
    with pytest.raises(BadInput, match="input 'x' holds NaN"):
        calibrate(graph(), ["x"], [{"x": bad}])
    with pytest.raises(BadInput, match=r"'b' of layer 'stem.act' holds NaN"):
        calibrate(graph(), ["b"], [{"x": images}, {"x": bad}], layers={"b": "stem.act"})
    bad[3, 0, 0, 0] = 3e38
    with pytest.raises(BadInput, match=r"'y' of node 'second' \(Conv\) holds (infinity|NaN)"):
        calibrate(graph(), ["y"], [{"x": bad * np.float32(1.1)}])
    for empty in ([], [{}], [{"x": images[:0]}]):
        with pytest.raises(BadInput, match="calibration data is empty"):
            calibrate(graph(), ["a"], empty)
    with pytest.raises(BadInput, match="no tensor 'c'"):
        calibrate(graph(), ["c"], [{"x": images}])
    with pytest.raises(BadInput, match="no calibration 'max'"):
        calibrate(graph(), ["a"], [{"x": images}], method="max")
