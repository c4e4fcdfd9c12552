"""The export: QONNX that gives what torch gives, the same bytes every time, with the layers' names."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from low_bit_nets import GREY, batch_of, built, example, images

from edgekit.errors import BadInput, MissingDependency

pytest.importorskip("brevitas", reason="QONNX is exported by brevitas (edgekit[fpga])")

from edgekit.quant.brevitas_layers import calibrate, swap
from targets.fpga.qonnx_file import LAYER, to_qonnx
from targets.fpga.runtime import QonnxRunner

NOISE = [torch.randn(8, *GREY, generator=torch.Generator().manual_seed(seed)) for seed in range(2)]


def swapped(name: str, **plan):
    low = swap(built(name), example(), plan)
    calibrate(low, NOISE)
    return low.eval()


def layers(model: onnx.ModelProto) -> list[tuple[str, str]]:
    return [(node.op_type, entry.value) for node in model.graph.node for entry in node.metadata_props]


@pytest.mark.parametrize("name", ["tfc", "cnv", "forms"])
@pytest.mark.parametrize(
    "plan", [{"weights": 1, "activations": 2}, {}, {"per_channel": True, "power_of_two": True}]
)
def test_the_file_gives_what_torch_gives_on_real_images(name, plan, tmp_path):
    data = images()
    low = swap(built(name), example(), plan)
    calibrate(low, data.calibration)
    path = tmp_path / "model.onnx"
    onnx.save(to_qonnx(low, example()), path)
    x = batch_of(data, 100)
    with torch.no_grad():
        want = low.eval()(torch.from_numpy(x)).numpy()
    got = QonnxRunner(path).run({"input": x})["output"]
    far = np.abs(got - want).max(axis=1) > 1e-4
    assert far.mean() < 0.1  # where a value lies at a threshold, the order of a sum decides
    assert (got.argmax(1) == want.argmax(1)).mean() > 0.97


def test_quantizers_batchnorms_and_one_opset():
    model = to_qonnx(swapped("cnv"), example())
    kinds = [node.op_type for node in model.graph.node]
    assert {item.domain: item.version for item in model.opset_import} == {
        "": 13,
        "qonnx.custom_op.general": 2,
    }
    assert (kinds.count("BatchNormalization"), kinds.count("Conv"), kinds.count("MatMul")) == (8, 6, 2)
    assert kinds.count("Gemm") == 1  # the head, which has a bias
    assert kinds.count("Quant") == 9 + 8 + 1  # weights, activations, input
    assert [item.name for item in model.graph.input] == ["input"]
    assert [item.name for item in model.graph.output] == ["output"]
    onnx.checker.check_model(model)


def test_1_bit_is_bipolar():
    model = to_qonnx(swapped("tfc", weights=1, activations=1, input=1), example())
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("BipolarQuant") == 4 + 3 + 1
    assert "Quant" not in kinds


def test_nodes_carry_their_layers():
    found = layers(to_qonnx(swapped("forms"), example()))
    assert ("Conv", "stem.1") in found
    assert ("Quant", "stem.3") in found
    assert ("BatchNormalization", "branch.1") in found
    assert found.count(("Quant", "add_quantizer")) == 2
    assert ("Trunc", "pool") in found
    assert ("Gemm", "head") in found
    assert {"Conv", "Gemm", "BatchNormalization", "Relu", "MaxPool"} <= {kind for kind, _ in found}


def test_padding_in_front_of_a_convolution_becomes_its_own():
    model = to_qonnx(swapped("forms"), example())
    assert "Pad" not in [node.op_type for node in model.graph.node]
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    assert next(list(item.ints) for item in first.attribute if item.name == "pads") == [0, 0, 1, 1]


def test_the_model_is_left_as_it_was():
    low = swapped("cnv").train()
    state = {key: value.clone() for key, value in low.state_dict().items()}
    to_qonnx(low, example())
    assert low.training
    assert all(torch.equal(value, state[key]) for key, value in low.state_dict().items())
    low(NOISE[0]).sum().backward()


def test_equal_models_give_equal_bytes_in_another_process():
    code = (
        f"import sys, hashlib; sys.path[:0] = [{str(Path(__file__).parent)!r}]\n"
        "from test_fpga_qonnx_file import swapped, to_qonnx, example\n"
        "print(hashlib.sha256(to_qonnx(swapped('forms'), example()).SerializeToString()).hexdigest())"
    )
    here = hashlib.sha256(to_qonnx(swapped("forms"), example()).SerializeToString()).hexdigest()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout.strip().splitlines()[-1] == here


def test_a_model_that_cannot_be_exported_is_one_line():
    class Odd(torch.nn.Module):
        def forward(self, x):
            return torch.linalg.svd(x)[0]

    with pytest.raises(BadInput, match="fpga: the model cannot be exported as QONNX"):
        to_qonnx(Odd(), example())


def test_an_absent_library_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "qonnx.util.cleanup", None)
    with pytest.raises(MissingDependency, match=r"exporting QONNX needs .*edgekit\[fpga\]"):
        to_qonnx(swapped("tfc"), example())


def test_layer_key_is_the_one_the_reader_of_a_graph_knows():
    from targets.cpu.nodes import Graph

    graph = Graph(to_qonnx(swapped("tfc"), example()))
    assert LAYER == "edgekit.layer"
    assert {node.layer for node in graph.nodes if node.operator == "Gemm"} | {
        node.layer for node in graph.nodes if node.operator == "MatMul"
    } == {"hidden.0", "hidden.3", "hidden.6", "fc"}
