"""Kernels as the runtime makes them: fused, padded to its blocks, of shapes that a run shows; and one alone."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

from edgekit.analysis.graph_cost import graph_cost
from edgekit.errors import BadInput
from edgekit.predict.bench import REFERENCE
from edgekit.predict.features import FEATURES, features_of
from edgekit.predict.graph import read_kernels
from edgekit.predict.isolate import feeds_of, isolated, named_inputs
from edgekit.predict.kernel import Kernel, Tensor
from edgekit.predict.probes import probe
from edgekit.predict.sketch import Sketch, rough_quantization
from edgekit.target import find_board, find_target

BOARD, TARGET = find_board("this-machine"), find_target("cpu")


def network(*, act: str = "Relu") -> onnx.ModelProto:
    """A first convolution, a depthwise one, a residual addition, a classifier; widths are multiples of 16."""
    sketch = Sketch((3, 24, 24))
    x = sketch.conv("input", 32, 3, stride=2, act=act)
    x = sketch.conv(x, 32, 3, groups=32, act=act)
    x = sketch.add(sketch.conv(x, 32, act=""), x)
    return sketch.model(sketch.linear(sketch.mean(x), 10, act=""))


def exported(graph: onnx.ModelProto, folder, *, int8: bool):
    quantization = rough_quantization(graph, TARGET.caps(BOARD)) if int8 else None
    return TARGET.export(graph, quantization, BOARD, folder / "model.onnx").path


def kernels_of(graph, folder, *, int8=False) -> list[Kernel]:
    return [kernel for _, kernel in read_kernels(exported(graph, folder, int8=int8), TARGET)]


@pytest.mark.parametrize("int8", [False, True])
def test_macs_of_the_kernels_are_those_of_the_graph(tmp_path, int8):
    graph = network()
    assert sum(kernel.macs for kernel in kernels_of(graph, tmp_path, int8=int8)) == graph_cost(graph).macs


def test_shapes_are_those_that_the_graph_makes(tmp_path):
    sketch = Sketch((3, 20, 17))
    x = sketch.pool(
        sketch.conv("input", 16, (5, 3), stride=(2, 1), padding=(1, 2), dilation=(1, 2)), kernel=3
    )
    graph = sketch.model(x)
    onnx.checker.check_model(graph, full_check=True)
    last = kernels_of(graph, tmp_path)[-1]
    assert last.outputs[0].shape == sketch.shapes[x]


def test_activations_are_fused_and_int8_runs_in_integers(tmp_path):
    names = {kernel.operator for kernel in kernels_of(network(), tmp_path)}
    assert "Relu" not in names
    assert TARGET.audit(exported(network(), tmp_path, int8=True)).float_compute_nodes == 0
    assert any(kernel.operator == "QLinearConv" for kernel in kernels_of(network(), tmp_path, int8=True))


def test_odd_widths_show_in_the_kernel_that_runs(tmp_path):
    """On AVX-512 the float convolution of 20 channels is one of 32; what is not padded says so in its lanes."""
    sketch = Sketch((3, 16, 16))
    graph = sketch.model(sketch.conv(sketch.conv("input", 20, 3), 20, 3))
    second = [kernel for kernel in kernels_of(graph, tmp_path) if kernel.macs][1]
    lanes = dict(zip(FEATURES, features_of(second, 1e6), strict=True))["output lanes"]
    wasted = 2**lanes - 1
    assert second.outputs[0].shape[1] * wasted == pytest.approx(32)


@pytest.mark.parametrize("seed", range(0, 8))
@pytest.mark.parametrize("int8", [False, True])
def test_every_kernel_of_a_probe_survives_json_and_runs_alone(tmp_path, seed, int8):
    for kernel in set(kernels_of(probe(seed), tmp_path, int8=int8)):
        assert Kernel.from_json(json.loads(json.dumps(kernel.to_json()))) == kernel
        assert features_of(kernel, 1e6).shape == (len(FEATURES),)
        onnx.save(isolated(kernel, 2), tmp_path / "kernel.onnx")
        runner = TARGET.runner(tmp_path / "kernel.onnx", optimization="none")
        out = runner.run(feeds_of(named_inputs(kernel)))["out"]
        assert tuple(out) == kernel.outputs[0].shape


def test_copies_have_constants_of_their_own():
    graph = isolated(REFERENCE, 3).graph
    assert len({name for node in graph.node[:3] for name in node.input}) == 1 + 3 * 2
    assert len(graph.initializer) == 6
    assert [node.op_type for node in graph.node] == ["Conv"] * 3 + ["Shape"]


def test_values_hold_no_denormals_and_scales_are_positive():
    tensors = {"x": Tensor("float32", (1, 64, 16, 16)), "s": Tensor("float32", (64,), True)}
    values = feeds_of(tensors)
    assert np.all(np.abs(values["x"]) > np.finfo(np.float32).tiny)
    assert np.all(values["s"] > 0)


def test_what_is_no_model_is_one_line(tmp_path):
    (tmp_path / "torn.onnx").write_bytes(b"\x08\x07nonsense")
    for name, words in (("absent.onnx", "there is no file"), ("torn.onnx", "no")):
        with pytest.raises(BadInput, match=words):
            read_kernels(tmp_path / name, TARGET)
