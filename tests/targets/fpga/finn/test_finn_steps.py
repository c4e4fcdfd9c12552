"""Which of FINN's steps a graph needs."""

from __future__ import annotations

import pytest
from finn_rig import dense
from onnx import helper

from targets.fpga.finn.steps import build_steps, estimate_steps, kind_of


def test_a_sum_of_two_computed_tensors_is_residual_and_a_bias_is_not():
    assert kind_of(dense(add=True).graph) == "residual"
    biased = dense()
    biased.graph.node[-1].CopyFrom(helper.make_node("Add", ["m", "step"], ["y"], "bias"))
    assert kind_of(biased.graph) == "chain"


@pytest.mark.parametrize("operator", ["GlobalAveragePool", "AveragePool", "Trunc"])
def test_an_average_is_residual(operator):
    pooled = dense()
    pooled.graph.node[-1].CopyFrom(helper.make_node(operator, ["m"], ["y"], "pool"))
    assert kind_of(pooled.graph) == "residual"


def test_an_estimate_has_finns_eleven_steps_and_verifies_twice():
    assert len(estimate_steps("chain")) == 11
    residual = estimate_steps("residual")
    place = residual.index("verify_streamlined")
    assert residual[place - 1].endswith("step_resnet_streamline")
    assert [name for name in residual if name not in build_steps("residual")] == ["verify_streamlined"]
