"""measured.json read back: the figures as edgekit's own, and everything that is refused, in one line."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json

import pytest

from edgekit.errors import BadInput
from edgekit.report.report import Measured
from edgekit.target import Board
from targets.jetson.figures import figures
from targets.jetson.reading import LARGEST, read_results

BOARD = Board("jetson-orin-nano", "Orin Nano", "jetson", {"compute_capability": "8.7"})


def spread(p50: float) -> dict:
    return {
        "min": p50 / 2,
        "mean": p50,
        "p50": p50,
        "p90": 2 * p50,
        "p95": 3 * p50,
        "p99": 4 * p50,
        "max": 5 * p50,
        "n": 100,
    }


def engine(model: bytes, name: str, p50: float) -> dict:
    return {
        "onnx": name,
        "sha256": hashlib.sha256(model).hexdigest(),
        "engine": "engines/x.engine",
        "bytes": 1000,
        "build_seconds": 12.5,
        "cached": False,
        "rebuilt_because": None,
        "latency_ms": spread(p50),
        "h2d_ms": spread(0.1),
        "compute_ms": spread(p50 - 0.2),
        "d2h_ms": spread(0.1),
        "throughput": 1000 / p50,
        "load_seconds": 0.5,
        "device_memory_bytes": 4096,
        "layers": [
            {
                "name": "a",
                "type": "CaskConvolution",
                "precision": "int8",
                "ms": 0.3,
                "nodes": ["conv", "relu"],
            },
            {"name": "b", "type": None, "precision": None, "ms": 0.1, "nodes": []},
            {"name": "c", "type": "NoOp", "precision": "int8", "ms": None, "nodes": []},
        ],
        "golden": {"max_abs": 0.01, "n": 4, "top1": 1.0, "finite": True},
        "dla": None,
    }


@pytest.fixture
def content(tmp_path):
    for name in ("model.onnx", "model_float.onnx"):
        (tmp_path / name).write_bytes(name.encode())
    return {
        "schema": 1,
        "board": "jetson-orin-nano",
        "device": {"gpu": "Orin", "compute_capability": "8.7"},
        "versions": {"tensorrt": "8.6.2"},
        "measuring": {"tool": "tensorrt", "batch": 2},
        "engines": {
            "fp16": engine(b"model_float.onnx", "model_float.onnx", 2.0),
            "int8": engine(b"model.onnx", "model.onnx", 1.0),
        },
        "kept": "int8",
        "kept_because": "its median latency is 1.0 ms, that of fp16 is 2.0 ms",
        "not_measured": {"energy": "measure.py reads no power sensor"},
    }


@pytest.fixture
def read(tmp_path):
    def write_and_read(content, **words):
        (tmp_path / "measured.json").write_text(json.dumps(content))
        return read_results(tmp_path, **words)

    return write_and_read


def test_round_trip(content, read, tmp_path):
    results = read(content, board=BOARD)
    assert results.to_json() == content
    assert read_results(tmp_path / "measured.json") == results
    assert results.best is results.engines["int8"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        results.kept = "fp16"


def test_unknown_fields_are_left_out(content, read):
    more = copy.deepcopy(content)
    more["later"], more["engines"]["int8"]["later"] = 1, 2
    assert read(more).to_json() == content


def test_figures_are_edgekit_s_own(content, read):
    results = read(content)
    profile = results.profile()
    assert profile.latency.to_json() == {
        "min": 0.5,
        "mean": 1.0,
        "p50": 1.0,
        "p90": 2.0,
        "p99": 4.0,
        "n": 100,
        "threads": 1,
        "batch": 2,
    }
    assert profile.throughput == 1000
    assert profile.load_seconds == 0.5
    assert [
        (row.name, row.layer, row.operator, row.microseconds, row.share) for row in profile.operators
    ] == [
        ("a", "conv", "CaskConvolution", pytest.approx(300), pytest.approx(0.75)),
        ("b", "", "", pytest.approx(100), pytest.approx(0.25)),
    ]
    assert results.profile("fp16").latency.p50 == 2.0
    measured = Measured.of(profile=profile, bytes=results.best.bytes)
    assert measured.latency_ms == profile.latency.to_json()
    assert measured.peak_memory_bytes is None
    assert "activations" in measured.not_measured["peak_memory_bytes"]
    assert measured.not_measured["energy"] == "measure.py reads no power sensor"


def change(path, value):
    def changed(content):
        *parents, last = path.split(".")
        place = content
        for name in parents:
            place = place[int(name)] if isinstance(place, list) else place[name]
        if value is KeyError:
            del place[last]
        else:
            place[last] = value

    return changed


@pytest.mark.parametrize(
    ("path", "value", "match"),
    [
        ("schema", 2, "its schema is 2, not 1"),
        ("schema", KeyError, "its schema is None"),
        ("board", 3, "board is 3, not a name"),
        ("device", [], "device is"),
        ("versions", {"tensorrt": 8}, "versions is"),
        ("measuring", {"batch": 0}, "measuring is .* a batch of 1 or more"),
        ("engines", [], "engines is"),
        ("engines", {}, "kept is 'int8', not one of no engines"),
        ("engines", {"int4": {}}, "engines by precision"),
        ("kept", "fp32", "kept is 'fp32', not one of fp16, int8"),
        ("kept", None, "kept is None"),
        ("kept", ["int8"], "kept is"),
        ("kept_because", None, "kept_because is None"),
        ("not_measured", {"a": None}, "not_measured is"),
        ("engines.int8", None, "engines.int8.latency_ms is None"),
        ("engines.int8.onnx", "../model.onnx", "engines.int8.onnx is '../model.onnx', not a file's name"),
        ("engines.int8.onnx", "..", "not a file's name"),
        ("engines.int8.sha256", "abc", "64 hexadecimal digits"),
        ("engines.int8.bytes", -1, "engines.int8.bytes is -1"),
        ("engines.int8.bytes", True, "engines.int8.bytes is True"),
        ("engines.int8.cached", "yes", "engines.int8.cached"),
        ("engines.int8.build_seconds", "fast", "build_seconds is 'fast'"),
        ("engines.int8.throughput", -3.0, "throughput is -3.0"),
        ("engines.int8.latency_ms", {}, "engines.int8.latency_ms.p90|engines.int8.latency_ms.min"),
        ("engines.int8.latency_ms.p50", -1, "engines.int8.latency_ms.p50 is -1"),
        ("engines.int8.latency_ms.p50", None, "engines.int8.latency_ms.p50 is None"),
        ("engines.int8.latency_ms.n", 0, "engines.int8.latency_ms.n is 0"),
        ("engines.int8.d2h_ms.max", "1", "engines.int8.d2h_ms.max is '1'"),
        ("engines.int8.layers", {}, "a list of at most"),
        ("engines.int8.layers", [{"name": "a"}] * 50_001, "a list of at most"),
        ("engines.int8.layers", [{"name": 1}], "a list of at most"),
        ("engines.int8.layers", [{"name": "a", "ms": "1"}], "a list of at most"),
        ("engines.int8.layers", [{"name": "a", "nodes": [1]}], "a list of at most"),
        ("engines.int8.golden", {"max_abs": 1}, "max_abs, n, top1 and finite"),
        ("engines.int8.golden", KeyError, None),
        ("engines.int8.rebuilt_because", "x" * 9000, "not a reason"),
        ("engines.fp16.onnx", "gone.onnx", "gone.onnx, which is not beside it"),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_one_line(content, read, path, value, match):
    change(path, value)(content)
    if match is None:
        assert read(content).best.golden is None
        return
    with pytest.raises(BadInput, match=match) as error:
        read(content)
    assert "measured.json" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "it is no measured.json"),
        ("{", "it is no measured.json"),
        ("[]", "its schema is None"),
        ('{"schema": NaN}', "NaN is no number of JSON"),
        ("[" * 100_000, "it is no measured.json"),
        (b"\xff\xfe".decode("latin-1"), "it is no measured.json"),
    ],
)
def test_what_is_no_json(tmp_path, text, match):
    (tmp_path / "measured.json").write_text(text, encoding="latin-1")
    with pytest.raises(BadInput, match=match):
        read_results(tmp_path)


def test_a_file_that_is_absent_or_too_large(tmp_path):
    with pytest.raises(BadInput, match=r"cannot be read: No such file.* Run measure.py on the board"):
        read_results(tmp_path)
    with (tmp_path / "measured.json").open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(BadInput, match=r"more than measure\.py writes"):
        read_results(tmp_path)


def test_another_model_is_refused(content, read, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"another")
    with pytest.raises(BadInput, match=r"it was measured of another model.onnx \(\w{12}, here \w{12}\)"):
        read(content)


def test_another_board_is_refused(content, read):
    other = dataclasses.replace(BOARD, name="jetson-thor", facts={"compute_capability": "11.0"})
    with pytest.raises(BadInput, match="on jetson-orin-nano, not on jetson-thor"):
        read(content, board=other)
    content["board"] = None
    with pytest.raises(BadInput, match=r"compute capability 8.7 \(Orin\), jetson-thor has 11.0"):
        read(content, board=other)
    assert read(content, board=BOARD).board is None
    content["device"]["compute_capability"] = None
    assert read(content, board=other).kept == "int8"


def without_finite(content, *names):
    for name in names:
        content["engines"][name]["golden"] = {"max_abs": None, "n": 4, "top1": 0.0, "finite": False}
    content["kept"], content["kept_because"] = None, "every engine gives results that are not finite."
    return content


def test_where_no_engine_is_finite_nothing_is_measured_and_each_says_why(content, read, tmp_path):
    results = read(without_finite(content, "int8", "fp16"), board=BOARD)
    assert results.to_json() == content
    assert results.best is None
    assert results.latency() is None
    assert results.why_none.startswith("every engine gave non-finite outputs (")
    assert results.why_none.count("4 golden samples") == 2
    profile = results.profile()
    assert profile.latency is None
    assert profile.not_measured["latency_ms"] == profile.not_measured["throughput"] == results.why_none
    assert results.profile("fp16").latency.p50 == 2.0
    shown = figures(tmp_path, BOARD)
    assert {figure.name for figure in shown} == {"latency, int8", "latency, fp16"}
    assert {(figure.value, figure.how, figure.by) for figure in shown} == {
        (None, "not measured", results.why_none)
    }


def test_one_engine_that_is_not_finite_and_one_that_failed(content, read):
    del content["engines"]["fp16"]
    content["not_measured"]["fp16"] = "model_float.onnx: the fp16 engine cannot be built: out of memory"
    why = read(without_finite(content, "int8")).why_none
    assert "non-finite outputs, or failed" in why
    assert "out of memory" in why
    assert "energy" not in why


def test_where_every_engine_failed_each_says_why(content, read):
    content |= {"engines": {}, "kept": None, "kept_because": "no engine was built and run"}
    content["not_measured"] |= {"fp16": "out of memory", "int8": "this GPU has no fast INT8"}
    results = read(content)
    assert results.to_json() == content
    assert results.why_none == "no engine was measured (fp16: out of memory; int8: this GPU has no fast INT8)"


def test_none_kept_beside_a_sound_engine_is_refused(content, read):
    with pytest.raises(BadInput, match="kept is None, not one of fp16, int8"):
        read(without_finite(content, "int8"))
