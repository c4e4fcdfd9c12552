"""A report with figures such as a pruned, distilled and quantized ResNet-8 has; made up."""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import Any

from edgekit.change import Change, Cost
from edgekit.metric import Score
from edgekit.report import Measured, Report, StepRecord

LAYERS = [
    ("stem.conv", "Conv", 31.2, 9.1),
    ("stages.0.conv1", "Conv", 58.9, 15.3),
    ("stages.0.conv2", "Conv", 59.4, 15.2),
    ("stages.0.add", "Add", 4.1, 2.2),
    ("stages.1.shortcut", "Conv", 9.7, 4.0),
    ("stages.1.conv1", "Conv", 33.1, 9.8),
    ("stages.1.conv2", "Conv", 62.0, 16.7),
    ("stages.1.add", "Add", 2.2, 1.3),
    ("stages.2.conv1", "Conv", 30.6, 10.9),
    ("stages.2.conv2", "Conv", 58.2, 19.9),
    ("stages.2.shortcut", "Conv", 6.0, 3.1),
    ("pool", "GlobalAveragePool", 3.3, 3.4),
    ("head", "Gemm", 1.6, 1.6),
    ("stages.2.add", "Add", 1.4, None),
]


def latency(p50: float) -> dict[str, Any]:
    return {
        "min": 0.95 * p50,
        "mean": 1.03 * p50,
        "p50": p50,
        "p90": 1.08 * p50,
        "p99": 1.31 * p50,
        "n": 3000,
        "threads": 1,
        "batch": 1,
    }


def measured(
    value: float,
    p50: float,
    size: int,
    cost: Cost,
    *,
    of: str = "artefact",
    memory: int | None = 9 * 2**20,
    half: float = 0.006,
    **reasons: str,
) -> Measured:
    score = Score("accuracy", value, 10_000, (value - half, value + half), True, of)
    whole = Measured.of(score=score, cost=cost, bytes=size, reasons=reasons)
    absent = {
        name: why
        for name, why in whole.not_measured.items()
        if name not in ("latency_ms", "throughput", "peak_memory_bytes")
    }
    absent |= {} if memory else {"peak_memory_bytes": "taken of the exported artefacts only"}
    return Measured(
        whole.metric,
        whole.params,
        whole.macs,
        whole.bytes,
        latency(p50),
        1000 / (1.03 * p50),
        memory,
        None,
        {**absent, "energy": "this machine has no power sensor that edgekit reads"},
    )


def report(**changes: Any) -> Report:
    full, thin = Cost(78_666, 12_501_632, 314_664), Cost(41_230, 6_420_480, 164_920)
    values: dict[str, Any] = {
        "board": "this-machine",
        "target": "cpu",
        "model": "resnet8",
        "seed": 0,
        "versions": {
            "edgekit": "0.1.0",
            "python": "3.11.7",
            "torch": "2.13.0",
            "onnx": "1.23.0",
            "onnxruntime": "1.32.0",
        },
        "baseline": measured(0.9214, 0.372, 322_110, full),
        "result": measured(0.9187, 0.0871, 58_402, thin, memory=4 * 2**20),
        "artefact": "model.onnx",
        "precision": "int8",
        "audit": {
            "float_compute_nodes": 1,
            "stray_qdq": 2,
            "integer_compute_nodes": 12,
            "nodes": {
                "QLinearConv": 9,
                "QLinearAdd": 3,
                "QuantizeLinear": 1,
                "DequantizeLinear": 1,
                "GlobalAveragePool": 1,
            },
            "placement": {"node_conv": "integer", "node_mean": "float"},
            "findings": [
                {
                    "severity": "warning",
                    "node": "node_mean",
                    "layer": "pool",
                    "what": "the average runs in float: its output is not quantized",
                    "remedy": "quantize the pool's output",
                }
            ],
        },
        "steps": (
            StepRecord(
                "prune",
                Change(full, thin, ("38 % of the channels removed, 12 groups, multiple of 8",)),
                measured(0.8911, 0.214, 170_002, thin, of="torch", memory=None),
            ),
            StepRecord(
                "distil",
                Change(thin, thin, ("5 epochs, temperature 4, teacher: original",)),
                measured(0.9202, 0.2145, 170_002, thin, of="torch", memory=None),
            ),
            StepRecord(
                "quantize",
                Change(thin, Cost(41_230, 6_420_480, 41_230), ("41 sites, percentile",)),
                measured(0.9187, 0.0871, 58_402, thin, memory=4 * 2**20),
            ),
        ),
        "ratio": {"latency": {"value": 4.27, "ci95": [4.21, 4.33]}, "size": 5.52},
        "drop": {"value": 0.0027, "ci95": [0.0004, 0.0050]},
        "budget": {"latency_ms": 0.15, "max_drop": 0.01},
        "kept_in_float": (
            {"layer": "head", "reason": "int8 is slower here: 10 outputs", "int8_us": 2.4, "float_us": 1.6},
        ),
        "operators": tuple(
            {"layer": layer, "operator": operator, "baseline_us": before, "result_us": after}
            for layer, operator, before, after in sorted(LAYERS, key=lambda row: -row[2])
        ),
        "environment": {
            "machine": "x86-64 avx512-vnni",
            "cpu": "AMD EPYC",
            "cores": 2,
            "system": "Linux 6.1",
        },
        "measuring": {
            "threads": 1,
            "batch": 1,
            "pinned": True,
            "spinning": False,
            "rounds": 30,
            "warm_up": "0.2 s",
            "command": "edgekit compress recipe.yaml --out runs/resnet8-1",
        },
        "timing": {
            "prune": 12.1,
            "distil": 95.3,
            "quantize": 4.2,
            "export and audit": 2.9,
            "profile": 7.7,
            "total": 122.2,
        },
    }
    return Report(**{**values, **changes})


@lru_cache(maxsize=1)
def _content() -> dict[str, Any]:
    return report().to_json()


def content() -> dict[str, Any]:
    """A fresh copy of the sample's report.json."""
    return copy.deepcopy(_content())
