"""Quantization for boards of free bit widths: swap, calibrate, train; the plan replays the swap on a fresh model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from edgekit.change import Change, Cost
from edgekit.errors import BadInput

if TYPE_CHECKING:
    from torch import nn

    from edgekit.job import Job


@dataclass(frozen=True)
class LowBitStep:
    """A low-bit plan (JSON), and how long the swapped network is trained."""

    plan: Mapping[str, Any]
    epochs: int
    lr: float

    def apply(self, model: Any, job: Job) -> tuple[nn.Module, Change]:
        """The low-bit network, calibrated and trained; BadInput where the model is a file."""
        if isinstance(model, onnx.ModelProto):
            raise BadInput(
                "quantize: this board is trained at few bits, so it needs the torch model, not an ONNX file. Name the "
                "model it was made from."
            )
        from edgekit.analysis.cost import cost
        from edgekit.fit import Hooks
        from edgekit.quant.brevitas_layers import calibrate, resolve, swap

        before = cost(model, job.example)
        resolved = resolve(model, job.example, self.plan)
        swapped = swap(model, job.example, resolved)
        _check_signs(swapped, resolved, job)
        calibrate(swapped, job.calibration_feeds())
        if self.epochs:
            job.train(swapped, Hooks.for_job(job, epochs=self.epochs, label="quantize", lr=self.lr))
        plan = {
            "low_bit": resolved,
            "inputs": {name: list(value.shape) for name, value in job.example.items()},
        }
        return swapped.eval(), Change(before, _stored(before, model, resolved), _notes(resolved), plan)


def replay(model: nn.Module, plan: Mapping[str, Any]) -> nn.Module:
    """The same swap on a fresh model, whose scales the saved weights bring."""
    import torch

    from edgekit.quant.brevitas_layers import swap

    example = {name: torch.zeros(shape) for name, shape in plan["inputs"].items()}
    swapped = swap(model, example, plan["low_bit"]).eval()
    for module in swapped.modules():
        steps = getattr(module, "collect_stats_steps", None)
        if isinstance(steps, int):  # brevitas keeps a scale back until its statistics are complete
            module.counter = steps + 1  # type: ignore[assignment]
    return swapped


def _check_signs(swapped: Any, plan: Mapping[str, Any], job: Job) -> None:
    """A bipolar input keeps the sign alone, which says nothing where all its values have the same."""
    places = [node.name for node in swapped.graph.nodes if node.op == "placeholder"]
    for index, (name, place) in enumerate(zip(job.example, places, strict=True)):
        rule = plan["layers"].get(f"{place}_quantizer", {})
        if rule.get("activations", plan["input"]) > 1:
            continue
        values = (list(feeds.values())[index] for feeds in job.calibration_feeds())
        if len({bool(sign) for value in values for sign in np.unique(value >= 0)}) < 2:
            raise BadInput(
                f"quantize: low_bit: input: 1 bit keeps the sign of '{name}', but all its values have the same. "
                "Subtract the mean in the data, or give the input 2 bits or more."
            )


def _stored(before: Cost, model: nn.Module, plan: Mapping[str, Any]) -> Cost:
    """Bytes with each weight in its bits; what has no bits of its own stays in float32."""
    bits = 32 * before.params
    for path, module in model.named_modules():
        rule = plan["layers"].get(path)
        weight = getattr(module, "weight", None)
        if rule is not None and weight is not None and "weights" in rule and weight.dim() > 1:
            bits -= (32 - rule["weights"]) * weight.numel()
    return replace(before, bytes=-(-bits // 8))


def _notes(plan: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"weights of {plan['weights']} bits, activations of {plan['activations']}, input of {plan['input']}",
        *(f"{name} layer: {dict(plan[name])}" for name in ("first", "last") if plan[name]),
    )
