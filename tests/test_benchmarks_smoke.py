"""The cheapest form of every benchmark runs and prints sane JSON; the figures are judged by hand."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.broker.mosquitto import find_mosquitto
from edgekit.errors import BadInput
from tests.paths import shared

FOLDER = Path(__file__).resolve().parent / "benchmarks"
SCRIPTS = (
    "latency",
    "zoo_never_slower",
    "qat_step",
    "ptq_time",
    "energy",
    "chain",
    "decentralized",
    "wire",
    "coordinator",
)


def run(
    script: str, *options: str, code: int = 0
) -> tuple[list[dict[str, Any]], subprocess.CompletedProcess[str]]:
    """The JSON lines of a script, and the process."""
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{script}.py"), *options],
        capture_output=True,
        text=True,
        cwd=FOLDER.parent.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == code, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")], done


def check(rows: list[dict[str, Any]], script: str, count: int) -> None:
    """What every benchmark's line has; a smoke run judges nothing."""
    assert len(rows) == count
    for row in rows:
        assert row["benchmark"] == script
        assert row["met"] is None
        assert row["seed"] == 0
        assert row["asked"]
        assert len(row["load"]) == 3
        assert {"torch", "onnxruntime", "edgekit"} <= set(row["versions"])


def check_interval(figure: dict[str, Any]) -> None:
    """A positive ratio within its interval."""
    low, high = figure["ci95"]
    assert 0 < low <= figure["value"] <= high < math.inf


@pytest.mark.parametrize("script", [*SCRIPTS, "efficientnet"])
def test_a_benchmark_is_imported_without_running(script, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location(f"benchmark_{script}", FOLDER / f"{script}.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    assert callable(module.main)
    assert f"python tests/benchmarks/{script}.py" in module.__doc__


def test_wire():
    rows, _ = run("wire", "--smoke", "--broker", "embedded")
    check(rows, "wire", 1)
    check_interval(rows[0]["wall_over_paho"])
    check_interval(rows[0]["cpu_over_paho"])
    assert rows[0]["link"].startswith("aMQTT")


def test_latency():
    rows, _ = run("latency", "--smoke")
    check(rows, "latency", 1)
    for file in ("int8", "chosen", "ort_s8s8", "ort_u8s8"):
        check_interval(rows[0][file])
    assert rows[0]["integer_convolutions"] == "27 of 27"
    assert rows[0]["audit"]["int8"]["float"] == rows[0]["audit"]["int8"]["stray_qdq"] == 0
    assert set(rows[0]["milliseconds"]) == {"fp32", "int8", "chosen", "ort_s8s8", "ort_u8s8"}


def test_efficientnet():
    shared("imagenet-sample/imagenet-sample-500-224q90.zip")
    rows, _ = run("efficientnet", "--smoke", "--draws", "2")
    check(rows[2:], "efficientnet", 1)
    assert [row["draw"] for row in rows[:2]] == [0, 1]
    check_interval(rows[2]["speed_up"])
    assert min(rows[2]["agreement"].values()) > 0.5
    assert rows[2]["drop_points"]["value"] == pytest.approx(np.mean(rows[2]["drops"]), abs=5)


def test_zoo_never_slower():
    rows, done = run("zoo_never_slower", "--smoke")
    check(rows, "zoo_never_slower", 2)
    assert [row["case"] for row in rows] == ["ds_cnn", "mlp"]
    for row in rows:
        check_interval(row["final"])
        check_interval(row["int8"])
        assert row["same_bytes_as_fp32"] == (row["chosen"] == "fp32")
        taken = [entry["ci95"][0] for name, entry in row["measured"].items() if name != "fp32"]
        assert row["chosen"] == "fp32" or max(taken) >= 0.98
    assert "asked" in done.stdout.splitlines()[len(rows) + 1]


def test_qat_step():
    rows, _ = run("qat_step", "--smoke")
    check(rows, "qat_step", 3)
    assert [row["learn"] for row in rows] == ["scales", "averaged", "frozen"]
    for row in rows:
        check_interval(row["slowdown"])
        faked, of, sites = row["sites_faked"].split()
        assert (faked, of) == (sites, "of")
        assert int(sites) > 20
        assert row["qat_ms"] > 0


def test_ptq_time():
    rows, _ = run("ptq_time", "--smoke")
    check(rows, "ptq_time", 1)
    assert set(rows[0]["stages"]) == {"import", "data and model", "ptq", "export", "audit", "profile"}
    assert 0 < sum(rows[0]["stages"].values()) <= rows[0]["seconds"]


def test_energy(tmp_path):
    rate, watts = 1000, np.full(30_001, 40.0, "<f4")
    base = tmp_path / "NUCLEO_made_trace1"
    data = b"\xf1" + np.float32(rate).tobytes() + watts.tobytes()
    base.with_name(f"{base.name}-energy.bin").write_bytes(data)
    base.with_name(f"{base.name}-timestamps.json").write_text("[0.5, 1.0, 11.0, 12.0, 23.0]")
    printed = "".join(f"00001.0 ulp-ml:   Energy       :   {value:.3f} uJ\n" for value in (4e5, 4.4e5))
    (tmp_path / "NUCLEO_made_results.txt").write_text(printed)
    rows, _ = run("energy", "--smoke", "--traces", str(tmp_path))
    check(rows, "energy", len(rows))
    by_case = {row["case"]: row for row in rows}
    assert by_case["NUCLEO_made_trace1"]["errors"] == pytest.approx([0, 0], abs=1e-6)
    assert abs(by_case["sound: ramp"]["bias"]) < 0.01
    assert by_case["faulty: gap"]["flagged"] == 1.0
    assert by_case["difference: AR(1) 4 %"]["found"]["found"] >= 0.7
    assert 0 < by_case["sampler: AGX Orin"]["share"] < 0.1
    assert "NVIDIA card" in by_case
    assert {name.partition(":")[0] for name in by_case} >= {
        "sound",
        "faulty",
        "interval",
        "difference",
        "sampler",
    }


def test_decentralized():
    rows, _ = run("decentralized", "--smoke")
    check(rows, "decentralized", 2)
    for name in ("gradients_over_loop", "round_over_loop", "round_over_gradients"):
        check_interval(rows[0][name])
    assert rows[0]["way"] in ("loop", "vmap", "stacked")
    assert rows[1]["edges"] == 4 * 45 + 6


def test_chain_runs_and_keeps_its_plan(tmp_path):
    options = ("--smoke", "--width", "16", "--out", str(tmp_path / "chain"))
    rows, first = run("chain", *options)
    check(rows, "chain", 1)
    row = rows[0]
    check_interval(row["speed_up"])
    assert (
        -100 <= row["drop_points"]["ci95"][0] <= row["drop_points"]["value"] <= row["drop_points"]["ci95"][1]
    )
    gap = 100 * (row["top1"]["baseline"] - row["top1"]["result"])
    assert row["drop_points"]["value"] == pytest.approx(gap, abs=1e-2)
    assert row["drop_points"]["value"] == pytest.approx(100 * row["report_drop"]["value"], abs=1e-2)
    assert "estimated" in first.stderr
    assert len(row["sha256"]) == 64
    assert row["starts"] == 1
    _, other = run("chain", *options, "--width", "32", code=2)
    assert other.stderr.count("\n") == 1
    assert "holds another plan" in other.stderr


def test_coordinator():
    try:
        find_mosquitto()
    except BadInput as absent:
        pytest.skip(str(absent))
    rows, _ = run("coordinator", "--smoke")
    check(rows, "coordinator", 2)
    assert [row["case"] for row in rows] == ["raw", "start"]
    assert rows[0]["payload_bytes"] == 2 * 4 * 28_938
    assert rows[0]["edgekit_ms"] > 0 < rows[0]["paho_ms"]
    assert 0 < rows[1]["seconds"] < 60
