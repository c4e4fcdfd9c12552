"""What measure.py is made of: Python 3.8 alone, readers that agree with numpy and onnx, NVIDIA's real parser."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from fake_board import BOARD, FAKES, FakeBoard, expected, old_python, save_model
from onnx import TensorProto, helper

from targets.jetson.board import measure

SOURCE = (BOARD / "measure.py").read_text(encoding="utf-8")
NEWER = {  # what came after Python 3.8
    *("removeprefix", "removesuffix", "bit_count", "is_relative_to", "readlink", "with_stem", "hardlink_to"),
    *(
        "lcm",
        "nextafter",
        "ulp",
        "randbytes",
        "cache",
        "pairwise",
        "batched",
        "aiter",
        "anext",
        "cbrt",
        "exp2",
    ),
    *(
        "waitstatus_to_exitcode",
        "file_digest",
        "walk",
        "unparse",
        "get_annotations",
        "EncodingWarning",
        "to_thread",
    ),
}


def test_its_syntax_is_python_3_8_s():
    tree = ast.parse(SOURCE, feature_version=(3, 8))
    future = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    assert [name.name for node in future for name in node.names] == ["annotations"]


def test_it_uses_nothing_newer_of_the_library():
    tree = ast.parse(SOURCE)
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert used & NEWER == set()
    zips = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "zip"]
    assert not [node.lineno for node in zips if node.keywords]


def test_it_imports_python_s_library_alone():
    tree = ast.parse(SOURCE)
    names = {item.name for node in ast.walk(tree) if isinstance(node, ast.Import) for item in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= set(sys.stdlib_module_names)


def test_it_starts_on_python_3_8():
    python = old_python()
    if python is None:
        pytest.skip("no Python 3.8 here, as JetPack 5 has")
    done = subprocess.run(
        [python, str(BOARD / "measure.py"), "--help"], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0
    assert "--precisions" in done.stdout


@pytest.mark.parametrize(
    "words", [("--seconds", "0"), ("--batch", "0"), ("--precisions", "int4"), ("--warmup", "x")]
)
def test_words_that_make_no_sense(tmp_path, words):
    done = FakeBoard(tmp_path / "out").run(*words)
    assert done.returncode == 2
    assert f"argument {words[0]}" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("count", [1, 2, 3, 10, 101])
@pytest.mark.parametrize("share", [50, 90, 95, 99])
def test_percentiles_are_numpy_s(count, share):
    values = sorted(np.random.default_rng(count).random(count).tolist())
    assert measure.percentile(values, share) == pytest.approx(np.percentile(values, share))


def test_a_spread():
    found = measure.spread([3.0, 1.0, 2.0])
    assert found == {
        "min": 1.0,
        "mean": 2.0,
        "p50": 2.0,
        "p90": 2.8,
        "p95": 2.9,
        "p99": 2.98,
        "max": 3.0,
        "n": 3,
    }


@pytest.mark.parametrize("dtype", list(measure.CODES))
def test_arrays_are_read_as_numpy_writes_them(tmp_path, dtype):
    values = np.random.default_rng(0).integers(0, 2, (2, 3, 4)).astype(dtype)
    np.savez(tmp_path / "golden.npz", **{"a/b:0": values})
    found = measure.read_npz(tmp_path / "golden.npz")["a/b:0"]
    assert found.shape == (2, 3, 4)
    assert found.rows(1, 2) == [*values[1].ravel().tolist()] * 2  # the last one again past the end
    assert measure.pack(found.code, found.rows(0, 2)) == values.tobytes()  # 0 and 1 in every type


@pytest.mark.parametrize(
    ("code", "values", "found"),
    [
        ("e", [1e6, -1e6, 0.5], [65504.0, -65504.0, 0.5]),
        ("f", [1e300, -np.inf], [np.finfo(np.float32).max, np.finfo(np.float32).min]),
        ("i", [2**40, -(2**40), 3.9], [2**31 - 1, -(2**31), 3]),
        ("B", [-1, 300], [0, 255]),
        ("?", [0.0, 7, -1], [False, True, False]),
    ],
)
def test_numbers_past_a_type_become_its_ends(code, values, found):
    assert measure.unpack(code, measure.pack(code, values)) == found


def test_a_difference():
    difference = measure.Difference()
    difference.add([1.0, 2.0, np.inf, 4.0], [1.5, 2.0, 3.0, 4.25], 2)
    assert (difference.largest, difference.finite) == (0.5, True)
    difference.add([1.0], [np.nan], 1)
    assert not difference.finite
    with pytest.raises(ValueError, match="2 values for an output of 1"):
        difference.add([1.0, 2.0], [1.0], 1)


def test_a_compressed_file_and_a_vector_are_read(tmp_path):
    np.savez_compressed(tmp_path / "golden.npz", x=np.arange(3, dtype=np.int64))
    assert measure.read_npz(tmp_path / "golden.npz")["x"].rows(0, 3) == [0, 1, 2]


@pytest.mark.parametrize("content", [b"", b"PK", b"\x93NUMPY"])
def test_broken_golden_files_are_a_reason(tmp_path, content):
    (tmp_path / "golden.npz").write_bytes(content)
    arrays, why = measure.golden_vectors(tmp_path, tmp_path / "model.onnx")
    assert arrays == {}
    assert "cannot be read" in why


def test_an_object_array_is_refused(tmp_path):
    np.savez(tmp_path / "golden.npz", x=np.array([{}], dtype=object))
    assert "kind |O" in measure.golden_vectors(tmp_path, tmp_path / "model.onnx")[1]


def test_inputs_and_outputs_are_read_as_onnx_reads_them(tmp_path):
    kinds = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "float16": TensorProto.FLOAT16}
    inputs = [
        helper.make_tensor_value_info("a/b:0", kinds["float32"], ["N", 3, 300, 1]),
        helper.make_tensor_value_info("ids", kinds["int64"], [7]),
        helper.make_tensor_value_info("w", kinds["float32"], [2]),  # an initializer that is listed too
    ]
    outputs = [helper.make_tensor_value_info("y", kinds["float16"], [1, "M"])]
    weight = helper.make_tensor("w", kinds["float32"], [2], [0.0, 1.0])
    node = helper.make_node("Whatever", ["a/b:0", "ids", "w"], ["y"])
    model = helper.make_model(helper.make_graph([node], "net", inputs, outputs, initializer=[weight]))
    onnx.save(model, tmp_path / "net.onnx")
    assert measure.onnx_io(tmp_path / "net.onnx") == {
        "inputs": [
            {"name": "a/b:0", "dtype": "float32", "shape": ["N", 3, 300, 1]},
            {"name": "ids", "dtype": "int64", "shape": [7]},
        ],
        "outputs": [{"name": "y", "dtype": "float16", "shape": [1, "N"]}],
    }


def test_pairs_are_seen_by_the_operator_s_name(tmp_path):
    assert measure.has_pairs(save_model(tmp_path / "a.onnx", pairs=True))
    assert not measure.has_pairs(save_model(tmp_path / "b.onnx"))
    (tmp_path / "c.onnx").write_bytes(b"")
    assert not measure.has_pairs(tmp_path / "c.onnx")


@pytest.mark.parametrize(
    ("number", "version"),
    [
        ("8201", "8.2.1"),
        ("8502", "8.5.2"),
        ("8601", "8.6.1"),
        ("100300", "10.3.0"),
        ("101602", "10.16.2"),
        ("110100", "11.1.0"),
    ],
)
def test_versions_that_trtexec_prints(number, version):
    assert measure.trtexec_version(f"&&&& RUNNING TensorRT.trtexec [TensorRT v{number}] # trtexec") == version


def test_the_help_s_options():
    text = "=== Build ===\n  --fp16   Enable fp16, not --int8\n  --vc, --versionCompatible  Mark\n\t--onnx=<file>\n"
    assert measure.flags_of(text) == {"--fp16", "--vc", "--onnx"}


def test_json_as_nvidia_writes_it():
    text = '[ { "name" : "a\x1einf\tb", "percentage" : -nan, "v" : [ nan, -inf, 1 ] } ]'
    row = measure.loads(text)[0]
    assert row["name"] == "a\x1einf\tb"
    assert np.isnan(row["percentage"])
    assert row["v"][1] == -np.inf


@pytest.mark.parametrize(
    ("layer", "precision"),
    [
        (
            {"Inputs": [{"Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format"}]},
            "int8",
        ),
        (
            {
                "Inputs": [{"Format/Datatype": "Row major linear FP32"}],
                "Weights": {"Type": "Int8", "Count": 9},
            },
            "int8",
        ),
        ({"Inputs": [{"Format/Datatype": "Two wide channel vectorized row major FP16 format"}]}, "fp16"),
        ({"Inputs": [{"Format/Datatype": "Half"}]}, "fp16"),
        ({"Inputs": [{"Format": "Row major linear", "Datatype": "Float"}]}, "fp32"),
        ({"Inputs": [], "Outputs": [{"DataType": "BFloat16"}]}, "bf16"),
        ({"Inputs": [{"Format/Datatype": "Row major linear UInt8 format"}]}, "uint8"),
        ({"Inputs": []}, None),
    ],
)
def test_what_a_layer_computes_in(layer, precision):
    assert measure.layer_row({"Name": "a", **layer})["precision"] == precision


def test_layers_are_joined_with_their_times():
    text = json.dumps({"Layers": ["a", {"Name": "b", "LayerType": "Reformat"}], "Bindings": []})
    rows = measure.layer_rows(text, {"b": 0.5, "c": 0.25})
    assert [(row["name"], row["type"], row["ms"]) for row in rows] == [
        ("a", None, None),
        ("b", "Reformat", 0.5),
        ("c", None, 0.25),
    ]
    assert measure.layer_rows("", {}) == []


def test_the_fakes_compute_what_the_tests_expect():
    sys.path.insert(0, str(FAKES))
    try:
        import fake_net
    finally:
        sys.path.pop(0)
    x = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
    found = fake_net.outputs({"precision": "fp32"}, x.ravel().tolist(), 4)
    np.testing.assert_allclose(found, expected(x)[0], rtol=1e-5)


REAL = """
import sys
import tensorrt_rtx_bindings as trt
from argparse import Namespace
from pathlib import Path
from targets.jetson.board import measure

log = measure.make_log(trt)
builder = trt.Builder(log)
try:
    network, parser = measure.parse(trt, log, builder, Path(sys.argv[1]))
except measure.Stop as error:
    sys.exit(str(error))
config = measure.configure(trt, builder, network, "int8", Namespace(batch=2, workspace=64, dla=None))
measure.use_timing_cache(config, Path(sys.argv[2]))
config.num_compute_capabilities = 1
config.set_compute_capability(trt.ComputeCapability.SM86, 0)
data = builder.build_serialized_network(network, config)
if data is None:
    sys.exit(str(measure.why_failed(sys.argv[1], log.text(), what="the engine cannot be built")))
measure.write_buffer(Path(sys.argv[3]), data)
measure.keep_timing_cache(config, Path(sys.argv[2]))
print(network.num_layers)
"""


def real(tmp_path: Path, model: Path) -> subprocess.CompletedProcess[str]:
    """Build by NVIDIA's own parser and builder, TensorRT for RTX, which needs no GPU for that."""
    if importlib.util.find_spec("tensorrt_rtx_bindings") is None:
        pytest.skip(
            "tensorrt_rtx_bindings is not installed: pip install --no-deps tensorrt-rtx-cu13-libs and -bindings"
        )
    words = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        REAL,
        str(model),
        str(tmp_path / "timing"),
        str(tmp_path / "engine"),
    ]
    return subprocess.run(
        words, capture_output=True, text=True, timeout=120, check=False, cwd=BOARD.parents[2]
    )


@pytest.mark.parametrize("pairs", [True, False])
@pytest.mark.parametrize("batch", [1, "N"])
def test_the_real_builder_builds(tmp_path, pairs, batch):
    done = real(tmp_path, save_model(tmp_path / "net.onnx", pairs=pairs, batch=batch))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "engine").stat().st_size > 1000
    assert (tmp_path / "timing").exists()


def test_the_real_parser_s_reason_is_told(tmp_path):
    node = helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"], name="dq")
    graph = helper.make_graph(
        [node],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [1, 4])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "net.onnx")
    done = real(tmp_path, tmp_path / "net.onnx")
    assert done.returncode == 1
    assert "refuses node 0 'dq' (DynamicQuantizeLinear): UNSUPPORTED_NODE" in done.stderr


def test_the_real_parser_on_a_file_that_is_none(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"hello")
    done = real(tmp_path, tmp_path / "net.onnx")
    assert done.returncode == 1
    assert "net.onnx" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


SAME_NAMES = """
import tensorrt as fake
import tensorrt_rtx_bindings as real

classes = "Builder IBuilderConfig IOptimizationProfile INetworkDefinition ITensor OnnxParser ParserError Runtime"
classes += " ICudaEngine IExecutionContext EngineInspector ITimingCache BuilderFlag NetworkDefinitionCreationFlag"
classes += " DataType ProfilingVerbosity LayerInformationFormat MemoryPoolType TensorIOMode"
for name in classes.split():
    missing = {word for word in dir(getattr(fake, name)) if word[0] != "_"} - set(dir(getattr(real, name)))
    print(name, *sorted(missing))
"""


def test_the_fake_of_11_has_no_name_that_nvidia_s_bindings_lack():
    if importlib.util.find_spec("tensorrt_rtx_bindings") is None:
        pytest.skip("tensorrt_rtx_bindings is not installed: pip install --no-deps its -libs and -bindings")
    environment = {"PYTHONPATH": str(FAKES), "FAKE_TENSORRT": "11.1.0.106", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SAME_NAMES],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert [line for line in done.stdout.splitlines() if " " in line] == []
