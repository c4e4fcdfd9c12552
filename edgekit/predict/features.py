"""What the time of a kernel depends on: the logarithms of its sizes, and what a cost model multiplies by rates."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from edgekit.predict.kernel import WEIGHTS, Kernel

LANES: Final = 16  # channels that a vector register of 512 bits holds in float32
ODD: Final = 7.0  # log2(1 + 7) = 3: how far widths with a kernel of their own are from those without
FEATURES: Final = (
    "macs",
    "activation bytes",
    "weight bytes",
    "input channels",
    "output channels",
    "positions",
    "row",
    "window",
    "stride",
    "input lanes",
    "output lanes",
    "odd input",
    "odd output",
    "operands",
    "footprint",
)
COSTS: Final = (
    "once",
    "macs",
    "macs of full registers",
    "patches",
    "results",
    "groups",
    "groups at positions",
    "activation bytes",
    "weight bytes",
)


def features_of(kernel: Kernel, footprint: float) -> np.ndarray:
    """log2(1 + x) of `FEATURES`; `footprint` is the bytes of constants of the whole network.

    Lanes are channels rounded up to a full register over channels: what an odd width wastes. Inputs are odd where
    they are no multiple of 4, outputs where they are none of 16; operands are activations that are read.
    """
    channels_in, channels_out, positions, row = _geometry(kernel)
    values = [
        kernel.macs,
        kernel.activation_bytes,
        kernel.weight_bytes,
        channels_in,
        channels_out,
        positions,
        row,
        math.prod(kernel.attribute("kernel_shape", [1])),
        math.prod(kernel.attribute("strides", [1])),
        _filled(channels_in),
        _filled(channels_out),
        ODD * bool(channels_in % 4),
        ODD * bool(channels_out % LANES),
        sum(tensor is not None and not tensor.constant for tensor in kernel.inputs),
        min(max(footprint, 2.0**16), 2.0**25),  # below and above, the caches hold all or nothing
    ]
    return np.log2(1.0 + np.asarray(values, np.float64))


def cost_of(kernel: Kernel) -> np.ndarray:
    """`COSTS`: patches are the elements that a convolution as a matrix product copies together beforehand."""
    channels_in, channels_out, positions, _ = _geometry(kernel)
    groups = kernel.attribute("group", 1)
    values = [
        1,
        kernel.macs,
        kernel.macs * _filled(channels_in) * _filled(channels_out),
        kernel.macs / channels_out,
        kernel.outputs[0].elements,
        groups,
        groups * positions,
        kernel.activation_bytes,
        kernel.weight_bytes,
    ]
    return np.asarray(values, np.float64)


def _filled(channels: int) -> float:
    return math.ceil(channels / LANES) * LANES / max(channels, 1)


def _geometry(kernel: Kernel) -> tuple[int, int, int, int]:
    """Input channels of a group, output channels, positions of the output, and a row of it."""
    out, data = kernel.outputs[0].shape or (1,), kernel.data.shape or (1,)
    last = kernel.attribute("channels_last", 0) or len(out) < 4
    axis = len(out) - 1 if last else 1
    spatial = [size for index, size in enumerate(out) if index != axis]
    channels_in = data[-1 if len(data) < 4 or kernel.attribute("channels_last", 0) else 1]
    if "Conv" in kernel.operator:
        channels_in = kernel.shape_of(WEIGHTS[kernel.operator])[1]
    return channels_in, out[axis], math.prod(spatial), spatial[-1] if spatial else 1
