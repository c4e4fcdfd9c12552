"""Quantization: int8 after training or with training, and fp16, on the board's own grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import onnx

from edgekit.change import Change, Cost
from edgekit.errors import BadInput
from edgekit.job import Job
from edgekit.quant.low_bit_widths import choices
from edgekit.quant.placement import Placement, place
from edgekit.quant.quantization import Quantization, Scale
from edgekit.quant.site import Site
from edgekit.target import Caps, Grid
from edgekit.transforms.base import Transform

METHODS = ("minmax", "percentile", "mse", "entropy")


@dataclass(frozen=True)
class Quantize(Transform):
    """Quantize weights and activations to int8 (or everything to fp16); with `epochs` it trains with fake quantizers.

    The grid is the board's. BatchNorm is folded first. Scales come from calibration on float values; training
    moves them by gradient (`learn: scales`, Esser et al., 2020), by a moving average (`averaged`) or not (`frozen`).
    A board of free bit widths (an FPGA) takes `low_bit`: {weights, activations, input: bits 1 to 8, first, last,
    layers: {glob: {...}}, per_channel, power_of_two}, else `weights` and `activations`; BatchNorm stays. Lists of
    weights, activations or input bits, [1, 2, 4], are searched for the most that fit the board's budget.
    """

    name: ClassVar[str] = "quantize"
    needs_torch: ClassVar[bool] = False  # only training needs a torch model
    reads_caps: ClassVar[bool] = True
    final: ClassVar[bool] = True

    precision: str = "int8"  # or "fp16"
    weights: int = 8
    activations: int = 8
    calibration: str = "mse"  # minmax, percentile, mse, entropy
    weight_scales: str = "minmax"  # or mse
    exclude: tuple[str, ...] = ()  # globs on layer paths that stay in float
    epochs: int = 0  # 0: after training; more: quantization-aware training
    lr: float = 1e-4
    learn: str = "scales"
    low_bit: Mapping[str, Any] = field(default_factory=dict)  # boards of free bit widths: a low-bit plan

    def __post_init__(self) -> None:
        for value, known, name in (
            (self.precision, ("int8", "fp16"), "precision"),
            (self.calibration, METHODS, "calibration"),
            (self.weight_scales, ("minmax", "mse"), "weight_scales"),
            (self.learn, ("scales", "averaged", "frozen"), "learn"),
        ):
            if value not in known:
                raise BadInput(f"quantize: {name} '{value}' is unknown. Known: {', '.join(known)}.")
        try:
            choices(self.low_bit)
        except BadInput as error:
            raise BadInput(f"quantize: low_bit: {str(error).removeprefix('plan: ')}") from error
        if self.precision == "fp16" and self.epochs:
            raise BadInput("quantize: fp16 needs no training. Drop epochs, or take precision: int8.")

    @property
    def trains(self) -> bool:  # type: ignore[override]
        """Whether the step needs labelled training data."""
        return self.epochs > 0

    def candidates(self) -> dict[str, Quantize]:
        """One step for each choice of the widths that `low_bit` lists, most bits first."""
        return {name: replace(self, low_bit=plan) for name, plan in choices(self.low_bit).items()}

    def apply(self, model: Any, job: Job) -> tuple[Any, Change]:
        """Fold BatchNorm, place and calibrate the sites, train if asked; the plan carries the quantization."""
        if job.caps is not None and job.caps.low_bit:
            from edgekit.quant.low_bit_step import LowBitStep

            return LowBitStep(self.low_bit or self._uniform(), self.epochs, self.lr).apply(model, job)
        if isinstance(model, onnx.ModelProto):
            return self._apply_file(model, job)
        from edgekit.analysis.cost import cost
        from edgekit.export.fuse import fuse_batchnorm
        from edgekit.export.to_onnx import to_onnx

        before = cost(model, job.example)
        fused, pairs = fuse_batchnorm(model, job.example)
        quantization, notes = self.describe(to_onnx(fused, job.example, fuse=False), job)
        if self.epochs:
            quantization = self._train(fused, quantization, job)
        plan = {"fused": [list(pair) for pair in pairs], "quantization": quantization.to_json()}
        return fused.eval(), Change(before, cost(fused, job.example), notes, plan)

    def describe(self, graph: onnx.ModelProto, job: Job) -> tuple[Quantization, tuple[str, ...]]:
        """The quantization of a float graph after calibration, and notes on what stayed in float."""
        if self.precision == "fp16":
            return Quantization(precision="fp16"), ("weights and arithmetic in float16",)
        caps = self._caps(job)
        placement = place(graph, caps, exclude=self.exclude)
        if not placement.weights:
            raise BadInput(
                "quantize: no layer of this model can run in integers on this board "
                f"({_reasons(placement)}). Drop the step, or choose precision: fp16."
            )
        return self._scales(graph, placement, caps, job), self._notes(placement)

    @staticmethod
    def replay(model: Any, plan: dict[str, Any]) -> Any:
        """Fold the same BatchNorms on a fresh model; the scales stay in the plan, where the writer reads them."""
        if "low_bit" in plan:
            from edgekit.quant.low_bit_step import replay

            return replay(model, plan)
        from edgekit.export.fuse import fold

        return fold(model, [(layer, norm) for layer, norm in plan["fused"]])

    def _uniform(self) -> dict[str, Any]:
        """The low-bit plan that `weights` and `activations` alone say."""
        return {"weights": self.weights, "activations": self.activations}

    def _apply_file(self, model: onnx.ModelProto, job: Job) -> tuple[Any, Change]:
        from edgekit.analysis.graph_cost import graph_cost

        quantization, notes = self.describe(model, job)
        cost: Cost = graph_cost(model)
        return model, Change(cost, cost, notes, {"fused": [], "quantization": quantization.to_json()})

    def _caps(self, job: Job) -> Caps:
        if job.caps is None:
            raise BadInput(
                "quantize: no board was named, so its grid is unknown. Add boards: [this-machine]."
            )
        for name, bits, grid in (
            ("weights", self.weights, job.caps.weights),
            ("activations", self.activations, job.caps.activations),
        ):
            if bits != grid.bits:
                raise BadInput(
                    f"quantize: {name}: {bits} bits; this board's runtime computes in {grid.bits}. Set "
                    f"{name}: {grid.bits}."
                )
        return job.caps

    def _scales(self, graph: onnx.ModelProto, placement: Placement, caps: Caps, job: Job) -> Quantization:
        from edgekit.quant.calibrate import calibrate
        from edgekit.quant.observers import scale_for

        ranges = calibrate(
            graph,
            list(placement.activations),
            job.calibration_feeds(),
            method=self.calibration,
            grid=caps.activations,
        )
        activations = {
            site: scale_for(*ranges[name], caps.activations) for name, site in placement.activations.items()
        }
        return Quantization(activations=activations, weights=self._weights(graph, placement, caps.weights))

    def _weights(self, graph: onnx.ModelProto, placement: Placement, grid: Grid) -> dict[Site, Scale]:
        from edgekit.export.graph import Graph
        from edgekit.quant.observers import weight_scale

        index = Graph(graph)
        return {
            site: weight_scale(np.asarray(index.constant(name)), grid, method=self.weight_scales, axis=axis)
            for name, (site, axis) in placement.weights.items()
        }

    def _train(self, model: Any, quantization: Quantization, job: Job) -> Quantization:
        from edgekit.fit import Hooks
        from edgekit.quant.fake import faked

        weights = "minmax" if self.weight_scales == "minmax" else "learned"
        with faked(model, quantization, learn=self.learn, weights=weights) as fake:
            extra = list(fake.parameters())
            hooks = Hooks.for_job(
                job, epochs=self.epochs, label="quantize", lr=self.lr, extra_parameters=extra
            )
            job.train(model, hooks)
            return fake.quantization()

    def _notes(self, placement: Placement) -> tuple[str, ...]:
        counts = f"{len(placement.weights)} layers and {len(placement.activations)} activations in int8"
        return (
            counts,
            *(f"{name} stays in float: {reason}" for name, reason in placement.float_nodes.items()),
        )


def _reasons(placement: Placement) -> str:
    return "; ".join(sorted(set(placement.float_nodes.values()))) or "it has no convolution or linear layer"
