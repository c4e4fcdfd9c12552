"""Placement on graphs written by hand: where pairs go, where not, and why a node stays in float."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from whole_way import VNNI, runnable

from edgekit.export.graph import Graph
from edgekit.export.to_onnx import finish
from edgekit.quant.placement import fused_activation, place, weight_axis

CAPS = runnable(VNNI)


def model(
    rows: list[tuple], outputs: list[str], shape: tuple[int, ...] = (3, 8, 8), **constants
) -> onnx.ModelProto:
    """Rows of (operator, inputs, output, attributes); weights named w<out>x<in>x<kernel> are made here."""
    chance, made = np.random.default_rng(0), {name: np.asarray(value) for name, value in constants.items()}
    for _, inputs, *_ in rows:
        for name in inputs:
            if name.startswith("w") and name[1].isdigit():
                sizes = [int(size) for size in name[1:].split("_")[0].split("x")]
                made[name] = chance.normal(size=sizes).astype(np.float32)
    nodes = [
        helper.make_node(kind, inputs, [output], name=f"n_{output}", **(rest[0] if rest else {}))
        for kind, inputs, output, *rest in rows
    ]
    value = lambda name, dims: helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)  # noqa: E731
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", ["N", *shape])],
        [value(name, None) for name in outputs],
        [numpy_helper.from_array(item, name) for name, item in made.items()],
    )
    return finish(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


def tensors(made: onnx.ModelProto, *exclude: str) -> list[str]:
    return sorted(place(made, CAPS, exclude=exclude).activations)


CONV = ("Conv", ["x", "w8x3x1x1"], "a")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([CONV, ("Relu", ["a"], "y")], ["x", "y"]),  # Relu is fused
        ([CONV, ("Clip", ["a", "zero", "six"], "y")], ["x", "y"]),
        ([CONV, ("Clip", ["a", "six"], "y")], ["a", "x"]),  # a Clip from 6 up is not
        ([CONV, ("LeakyRelu", ["a"], "y")], ["a", "x", "y"]),
        ([CONV, ("Sigmoid", ["a"], "y")], ["a", "x"]),  # leaves the model in float
        ([CONV, ("Tanh", ["a"], "y")], ["a", "x"]),  # no kernel
        ([("Tanh", ["x"], "y")], []),
        ([CONV, ("Add", ["a", "six"], "y")], ["a", "x"]),  # an operand is a constant
        (
            [CONV, ("Relu", ["a"], "b"), ("Add", ["a", "b"], "y")],
            ["a", "b", "x", "y"],
        ),  # two readers: not fused
        (
            [CONV, ("MaxPool", ["a"], "b", {"kernel_shape": [2, 2]}), ("Conv", ["b", "w4x8x1x1"], "y")],
            ["a", "x", "y"],
        ),
        ([("MaxPool", ["x"], "b", {"kernel_shape": [2, 2]}), ("Conv", ["b", "w4x3x1x1"], "y")], ["x", "y"]),
        (
            [
                ("Tanh", ["x"], "t"),
                ("Transpose", ["t"], "b", {"perm": [0, 1, 3, 2]}),
                ("Conv", ["b", "w4x3x1x1"], "y"),
            ],
            ["t", "y"],
        ),
        ([("Flatten", ["x"], "f"), ("Gemm", ["f", "w4x192"], "y", {"transB": 1})], ["x"]),  # Gemm gives float
        (
            [("Flatten", ["x"], "f"), ("Gemm", ["f", "w4x192"], "g", {"transB": 1}), ("Relu", ["g"], "y")],
            ["x", "y"],
        ),
        ([("MatMul", ["x", "w8x8"], "m"), ("Add", ["m", "eight"], "b"), ("Tanh", ["b"], "y")], ["x"]),
        (
            [("MatMul", ["x", "w8x8"], "m"), ("Add", ["m", "eight"], "b"), ("MatMul", ["b", "w8x8_b"], "y")],
            ["b", "x"],
        ),
    ],
)
def test_tensors_that_get_a_pair(rows, expected):
    made = model(rows, ["y"], zero=np.float32(0), six=np.float32(6), eight=np.ones(8, np.float32))
    assert tensors(made) == expected


def test_tensors_of_an_excluded_layer():
    rows = [
        CONV,
        ("Relu", ["a"], "b"),
        ("Conv", ["b", "w8x8x1x1"], "c"),
        ("Relu", ["c"], "d"),
        ("Conv", ["d", "w8x8x1x1_b"], "y"),
    ]
    made = model(rows, ["y"])
    assert tensors(made) == ["b", "d", "x", "y"]
    assert tensors(made, "n_a") == ["b", "d", "y"]
    assert tensors(made, "n_y") == ["b", "d", "x"]
    assert tensors(made, "n_?") == []
    placement = place(made, CAPS, exclude=("n_c",))
    assert placement.float_nodes == {"n_c": "excluded"}
    assert sorted(placement.weights) == ["w8x3x1x1", "w8x8x1x1_b"]


def test_reasons_name_what_stays_in_float():
    made = model(
        [("Tanh", ["x"], "t"), ("Add", ["t", "t"], "s"), ("ConvTranspose", ["s", "w3x4x2x2"], "y")], ["y"]
    )
    assert place(made, CAPS).float_nodes == {"n_s": "its inputs are float"}
    made = model([("MatMul", ["x", "x"], "y")], ["y"])
    assert place(made, CAPS).float_nodes == {"n_y": "its weight is not a constant"}


def test_weight_axes_are_those_of_the_outputs():
    made = model(
        [
            CONV,
            ("Flatten", ["a"], "f"),
            ("Gemm", ["f", "w512x6"], "g"),
            ("Gemm", ["g", "w5x6"], "h", {"transB": 1}),
            ("MatMul", ["h", "w5x4"], "y"),
        ],
        ["y"],
    )
    shapes = {item.name: tuple(item.dims) for item in made.graph.initializer}
    placed = place(made, CAPS).weights
    assert {name: shapes[name][axis] for name, (_, axis) in placed.items()} == {
        "w8x3x1x1": 8,
        "w512x6": 6,
        "w5x6": 5,
        "w5x4": 4,
    }
    graph = Graph(made)
    assert [weight_axis(node) for node in graph.nodes if node.op_type == "Gemm"] == [1, 0]
    assert fused_activation(graph, graph.nodes[0]) is None


def test_a_shared_weight_has_one_site():
    made = model([CONV, ("Conv", ["a", "w8x8x1x1"], "b"), ("Conv", ["b", "w8x8x1x1"], "y")], ["y"])
    site, _ = place(made, CAPS).weights["w8x8x1x1"]
    assert str(site) == "n_b/conv#0:weight"


def test_an_output_that_is_moved_and_read_again_follows_its_source():
    made = model([CONV, ("Flatten", ["a"], "f"), ("Gemm", ["f", "w4x512"], "y", {"transB": 1})], ["y", "f"])
    assert tensors(made) == ["a", "x"]
