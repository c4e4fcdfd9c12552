"""A torch model taken the whole way: float graph, placement, scales, faked forward, written file."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from edgekit.doctor import instruction_sets
from edgekit.export.fuse import fuse_batchnorm
from edgekit.export.to_onnx import to_onnx
from edgekit.quant.calibrate import calibrate
from edgekit.quant.fake import faked
from edgekit.quant.observers import scale_for, weight_scale
from edgekit.quant.placement import Placement, place
from edgekit.quant.quantization import Quantization
from edgekit.quant.site import Site
from edgekit.quant.writer import write_qdq
from edgekit.target import Board, Caps, find_target

VNNI = Board("vnni", "a CPU with VNNI", "cpu", {"instruction_set": "avx512-vnni", "vector_bits": 512})
ARM = Board("arm", "a CPU of Arm", "cpu", {"instruction_set": "neon-dotprod", "vector_bits": 128})
# The 16-bit sums of an x86 without VNNI saturate on 8-bit weights, whatever board the file is meant for.
SATURATES = platform.machine() in ("x86_64", "AMD64") and not any(
    "vnni" in flag for flag in instruction_sets()
)


def runnable(board: Board) -> Caps:
    """A board's capabilities, with weights that this machine's kernels compute exactly."""
    caps = find_target("cpu").caps(board)
    return replace(caps, weights=replace(caps.weights, reduced=caps.weights.reduced or SATURATES))


def settle(model: nn.Module, *, seed: int = 0) -> nn.Module:
    """Random norms, so that nothing folds to the identity."""
    generator = torch.Generator().manual_seed(seed)
    uniform = lambda tensor, low, high: tensor.data.uniform_(low, high, generator=generator)  # noqa: E731
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm)) and module.affine:
            uniform(module.weight, 0.5, 1.5)
            uniform(module.bias, -0.2, 0.2)
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            uniform(module.running_mean, -0.2, 0.2)
            uniform(module.running_var, 0.5, 1.5)
    return model.eval()


def normal(shapes: dict[str, tuple[int, ...]], count: int = 16, seed: int = 1) -> dict[str, np.ndarray]:
    """Random inputs by name, [count, *shape]."""
    chance = np.random.default_rng(seed)
    return {name: chance.normal(size=(count, *shape)).astype(np.float32) for name, shape in shapes.items()}


def quantize_graph(
    graph: onnx.ModelProto, placement: Placement, caps: Caps, feeds: dict[str, np.ndarray]
) -> Quantization:
    """Minmax scales for every site of a placement."""
    ranges = calibrate(graph, list(placement.activations), [feeds], method="minmax")
    weights = {item.name: onnx.numpy_helper.to_array(item) for item in graph.graph.initializer}
    return Quantization(
        activations={
            site: scale_for(*ranges[name], caps.activations) for name, site in placement.activations.items()
        },
        weights={
            site: weight_scale(weights[name], caps.weights, axis=axis)
            for name, (site, axis) in placement.weights.items()
        },
    )


def run(model: onnx.ModelProto, feeds: dict[str, np.ndarray], *, optimize: bool = True) -> np.ndarray:
    """The first output in onnxruntime, with its optimizer or node by node as written."""
    options = onnxruntime.SessionOptions()
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimize else levels.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)[0]


@dataclass
class Whole:
    """One model with everything made from it."""

    model: nn.Module
    shapes: dict[str, tuple[int, ...]]
    exclude: tuple[str, ...] = ()
    board: Board = VNNI
    seed: int = 1
    two_outputs: bool = False

    @cached_property
    def feeds(self) -> dict[str, np.ndarray]:
        """Calibration inputs."""
        return normal(self.shapes, seed=self.seed)

    @cached_property
    def caps(self) -> Caps:
        """The board's, as far as this machine can run them."""
        return runnable(self.board)

    @cached_property
    def fused(self) -> nn.Module:
        """The torch model with BatchNorm folded."""
        return fuse_batchnorm(self.model, self._example)[0]

    @cached_property
    def graph(self) -> onnx.ModelProto:
        """The float graph."""
        names = ["output", "features"] if self.two_outputs else None
        return to_onnx(self.fused, self._example, fuse=False, output_names=names)

    @cached_property
    def placement(self) -> Placement:
        """Its sites."""
        return place(self.graph, self.caps, exclude=self.exclude)

    @cached_property
    def quantization(self) -> Quantization:
        """Their scales."""
        return quantize_graph(self.graph, self.placement, self.caps, self.feeds)

    @cached_property
    def file(self) -> onnx.ModelProto:
        """What the writer makes of them."""
        return write_qdq(self.graph, self.quantization, self.caps)

    def with_scales(self, quantization: Quantization) -> Whole:
        """The same graph and model with other scales."""
        other = Whole(self.model, self.shapes, self.exclude, self.board, self.seed)
        other.__dict__ |= {"fused": self.fused, "graph": self.graph, "quantization": quantization}
        return other

    def anew(self, *, exclude: tuple[str, ...] = (), board: Board = VNNI) -> Whole:
        """The same graph and model placed and calibrated with other options."""
        other = Whole(self.model, self.shapes, exclude, board, self.seed)
        other.__dict__ |= {"fused": self.fused, "graph": self.graph}
        return other

    @property
    def sites(self) -> set[Site]:
        """Every site asked for."""
        return {*self.quantization.activations, *self.quantization.weights}

    def fake_run(self, feeds: dict[str, np.ndarray]) -> tuple[np.ndarray, set[Site]]:
        """(output of the faked torch model, the sites that its forward met)."""
        with faked(self.fused, self.quantization, learn="frozen", weights="frozen") as fake, torch.no_grad():
            output = self.fused(*(torch.from_numpy(value) for value in feeds.values()))
            first = output[0] if isinstance(output, tuple) else output
            return first.numpy(), set(fake.sites_seen)

    @property
    def _example(self) -> dict[str, Any]:
        return {name: torch.from_numpy(value[:1]) for name, value in normal(self.shapes, 1).items()}
