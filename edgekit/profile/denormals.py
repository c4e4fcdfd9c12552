"""A guard against denormals: numbers below 2^-126, which many CPUs compute up to a hundred times slower.

An untrained network, or one with unsettled BatchNorm statistics, can shrink its activations that far; its
fp32 time is then no baseline, and int8 would shine for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgekit.target import Finding

SHARE = 0.01  # of a tensor's values; at 150 cycles each, 1 % more than doubles the time of an addition
GAIN = 1.25  # fp32 time over its time with denormals flushed to zero
REMEDY = "Measure with trained weights and real inputs."


def denormal_share(value: np.ndarray) -> float:
    """The share of a float tensor's values with 0 < |x| < the smallest normal number of its type."""
    if value.dtype.kind != "f" or value.size == 0:
        return 0.0
    magnitude = np.abs(value)
    return float(np.mean((magnitude > 0) & (magnitude < np.finfo(value.dtype).tiny)))


def check_values(values: Mapping[str, np.ndarray], *, share: float = SHARE) -> list[Finding]:
    """A finding for each tensor (input, weight or activation) of which more than `share` is denormal."""
    shares = {name: denormal_share(value) for name, value in values.items()}
    return [
        Finding(
            "warning",
            name,
            name,
            f"{100 * part:.0f} % of '{name}' are denormal numbers, which many CPUs compute up to a hundred "
            "times slower",
            REMEDY,
        )
        for name, part in shares.items()
        if part > share
    ]


def check_times(seconds: float, flushed: float, *, gain: float = GAIN) -> list[Finding]:
    """A finding where a model is more than `gain` times as fast once denormals are flushed to zero."""
    if seconds <= gain * flushed:
        return []
    return [
        Finding(
            "warning",
            "",
            "",
            f"the model runs {seconds / flushed:.1f} times as fast with denormals flushed to zero "
            f"({1e3 * flushed:.3g} ms instead of {1e3 * seconds:.3g} ms): its time is no baseline",
            REMEDY,
        )
    ]


def unsettled_batchnorm(model: Any) -> list[Finding]:
    """A finding for each BatchNormalization of an onnx.ModelProto whose mean is all 0 and variance all 1.

    Those are the values before training: nothing has passed through the layer in training mode.
    """
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    findings = []
    for node in model.graph.node:
        if node.op_type != "BatchNormalization" or not {node.input[3], node.input[4]} <= set(constants):
            continue
        mean, variance = (numpy_helper.to_array(constants[name]) for name in node.input[3:5])
        if np.all(mean == 0) and np.all(variance == 1):
            findings.append(
                Finding(
                    "warning",
                    node.name,
                    node.name,
                    "BatchNormalization holds the statistics it was made with (mean 0, variance 1): the "
                    "network was not trained",
                    REMEDY,
                )
            )
    return findings
