"""The writer: integers and scales as described, names kept, shared weights once, errors named."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from test_placement import CAPS, CONV, model
from whole_way import normal, quantize_graph, run

from edgekit.errors import BadInput
from edgekit.quant.placement import place
from edgekit.quant.quantization import Quantization, Scale, quantization_of
from edgekit.quant.site import Site
from edgekit.quant.writer import write_qdq
from edgekit.target import Grid

ROWS = [
    ("Conv", ["x", "w8x3x1x1", "bias"], "a"),
    ("Relu", ["a"], "b"),
    ("Conv", ["b", "w8x8x1x1"], "c"),
    ("Add", ["b", "c"], "y"),
]
FEEDS = normal({"x": (3, 8, 8)})


def written(rows=ROWS, outputs=("y",), *, exclude=(), **constants):
    made = model(rows, list(outputs), bias=np.linspace(-1, 1, 8, dtype=np.float32), **constants)
    quantization = quantize_graph(made, place(made, CAPS, exclude=exclude), CAPS, FEEDS)
    return made, quantization, write_qdq(made, quantization, CAPS)


def values(file: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {item.name: numpy_helper.to_array(item) for item in file.graph.initializer}


def test_weights_are_the_integers_of_their_scale_and_the_bias_is_in_product_steps():
    made, quantization, file = written()
    found, real = values(file), values(made)
    scale = quantization.weights[Site.parse("n_a/conv#0:weight")]
    given = quantization.activations[Site.parse("/input#0:input:x")]
    assert found["w8x3x1x1_quantized"].dtype == np.int8
    assert np.array_equal(found["w8x3x1x1_quantized"], scale.quantize(real["w8x3x1x1"]))
    assert np.array_equal(found["w8x3x1x1_scale"], scale.scale)
    steps = given.scale[0].astype(np.float64) * scale.scale
    assert found["bias_quantized"].dtype == np.int32
    assert np.abs(found["bias_quantized"] * steps - real["bias"]).max() <= 0.5001 * steps.max()
    assert "w8x3x1x1" not in found
    assert "bias" not in found
    assert (
        next(node for node in file.graph.node if node.name == "w8x3x1x1_DequantizeLinear").attribute[0].i == 0
    )


def test_the_float_graph_is_left_as_it_was_and_names_stay():
    made, quantization, file = written()
    again = model(ROWS, ["y"], bias=np.linspace(-1, 1, 8, dtype=np.float32))
    assert made == again
    assert [value.name for value in file.graph.output] == ["y"]
    assert [value.name for value in file.graph.input] == ["x"]
    assert {node.name for node in made.graph.node} < {node.name for node in file.graph.node}
    assert len({node.name for node in file.graph.node}) == len(file.graph.node)
    assert sum(node.op_type == "QuantizeLinear" for node in file.graph.node) == len(quantization.activations)
    assert write_qdq(made, quantization, CAPS) == file


def test_writing_what_was_read_from_json_is_the_same_file():
    made, quantization, file = written()
    again = Quantization.from_json(quantization.to_json())
    assert again.to_json() == quantization.to_json()
    for site, scale in {**quantization.activations, **quantization.weights}.items():
        other = {**again.activations, **again.weights}[site]
        assert other.grid == scale.grid
        assert other.scale.dtype == np.float32
        assert other.scale.tobytes() == scale.scale.tobytes()
        assert np.array_equal(other.zero_point, scale.zero_point)
    assert write_qdq(made, again, CAPS) == file


def test_the_last_entry_with_a_plan_has_the_quantization():
    one, two = Quantization(), Quantization("fp16")
    entries = [
        {"plan": {"quantization": one.to_json()}},
        {"plan": {"quantization": two.to_json()}},
        {"plan": None},
        {},
    ]
    assert quantization_of(entries).precision == "fp16"
    assert quantization_of([{"plan": None}, {}]) is None


def test_scales_in_closed_form():
    """real = s (q - z); the step is s; what is outside is clipped; ties go to the even integer."""
    scale = Scale(Grid(8, signed=False, symmetric=False), np.float32([0.5]), np.int64([10]))
    x = np.float32([-100, -5, -0.25, 0, 0.25, 0.75, 1, 122.5, 1000])
    assert scale.quantize(x).tolist() == [0, 0, 10, 10, 10, 12, 12, 255, 255]
    assert scale.dequantize(scale.quantize(x)).tolist() == [-5, -5, 0, 0, 0, 1, 1, 122.5, 122.5]
    channels = Scale(Grid(8, per_channel=True), np.float32([1, 2, 4]), np.zeros(3, np.int64))
    value = np.full((2, 3), 300, np.float32)
    assert channels.quantize(value, 1).tolist() == [[127, 127, 75]] * 2
    assert channels.dequantize(channels.quantize(value, 1), 1).tolist() == [[127, 254, 300]] * 2
    assert channels.quantize(np.full((3, 1), -9, np.float32)).ravel().tolist() == [-9, -4, -2]
    inside = np.linspace(-5, 122.5, 1001).astype(np.float32)
    assert np.abs(scale.dequantize(scale.quantize(inside)) - inside).max() <= 0.25


def test_an_excluded_layer_keeps_its_float_weight_and_the_file_runs():
    made, _, file = written(exclude=("n_c",))
    found = values(file)
    assert found["w8x8x1x1"].dtype == np.float32
    assert "w8x8x1x1_quantized" not in found
    assert "w8x3x1x1_quantized" in found
    real, result = run(made, FEEDS), run(file, FEEDS)
    assert 0 < np.abs(result - real).max() < 0.05 * np.abs(real).max()


SHARED = [
    ("Conv", ["x", "w8x3x1x1"], "a"),
    ("Conv", ["a", "w8x8x1x1", "bias"], "b"),
    ("Relu", ["b"], "c"),
    ("Conv", ["c", "w8x8x1x1", "bias"], "y"),
]


def test_a_shared_weight_is_stored_once_and_a_shared_bias_for_every_input():
    made, quantization, file = written(SHARED)
    found = values(file)
    assert [name for name, value in found.items() if value.dtype == np.int8] == [
        "w8x3x1x1_quantized",
        "w8x3x1x1_zero_point",
        "w8x8x1x1_quantized",
        "w8x8x1x1_zero_point",
    ]
    scale = quantization.weights[Site.parse("n_b/conv#0:weight")]
    for node, site in (("n_b", "n_a/conv#0:output"), ("n_y", "n_c/relu#0:output")):
        steps = scale.scale * quantization.activations[Site.parse(site)].scale
        assert np.allclose(
            found[f"bias_{node}_quantized"] * steps, np.linspace(-1, 1, 8), atol=float(steps.max())
        )
    assert "w8x8x1x1" not in found
    for optimize in (True, False):
        assert np.square(run(file, FEEDS, optimize=optimize) - run(made, FEEDS)).mean() < 0.001 * np.var(
            run(made, FEEDS)
        )


@pytest.mark.parametrize("site", ["n_b/conv#0:weight", "n_y/conv#0:weight"])
def test_a_shared_weight_is_found_by_the_site_of_any_call(site):
    made, quantization, file = written(SHARED)
    weights = {
        Site.parse(site) if key.module == "n_b" else key: scale for key, scale in quantization.weights.items()
    }
    again = write_qdq(made, Quantization("int8", quantization.activations, weights), CAPS)
    assert np.array_equal(run(again, FEEDS), run(file, FEEDS))


@pytest.mark.parametrize(
    ("rows", "outputs"),
    [
        ([CONV], ["a"]),
        (ROWS, ["y"]),
        (ROWS, ["y", "c"]),
        (ROWS, ["y", "b"]),
        ([CONV, ("Flatten", ["a"], "f"), ("Gemm", ["f", "w4x512"], "y", {"transB": 1})], ["y", "f"]),
    ],
)
def test_outputs_keep_their_names_whatever_reads_them_besides(rows, outputs):
    made, _, file = written(rows, outputs)
    onnx.checker.check_model(file, full_check=True)
    import onnxruntime

    one, two = (
        dict(
            zip(
                outputs,
                onnxruntime.InferenceSession(item.SerializeToString()).run(outputs, FEEDS),
                strict=True,
            )
        )
        for item in (made, file)
    )
    for name in outputs:
        assert np.square(one[name] - two[name]).mean() < 0.001 * np.var(one[name])


def test_a_site_the_graph_lacks_is_named_and_old_opsets_are_refused():
    made, quantization, _ = written()
    other = {
        **quantization.activations,
        Site("gone", "conv", 0, "output"): next(iter(quantization.activations.values())),
    }
    with pytest.raises(BadInput, match=r"no site gone/conv#0:output"):
        write_qdq(made, Quantization("int8", other, quantization.weights), CAPS)
    made.opset_import[0].version = 12
    with pytest.raises(BadInput, match="opset 12"):
        write_qdq(made, quantization, CAPS)


def test_gemm_with_alpha_keeps_a_float_bias_and_its_value():
    rows = [("Flatten", ["x"], "f"), ("Gemm", ["f", "w192x8", "bias"], "y", {"alpha": 0.5, "beta": 2.0})]
    made, _, file = written(rows)
    assert "bias_quantized" not in values(file)
    assert np.square(run(file, FEEDS) - run(made, FEEDS)).mean() < 0.001 * np.var(run(made, FEEDS))
