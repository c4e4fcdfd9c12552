"""Brevitas quantizers by bit width: which grid and which scale a weight or an activation of 1 to 8 bits gets.

- 1 bit is bipolar. Weights are {-s, +s} with s = mean |w| (Rastegari et al., 2016), activations {-1, +1}
  with a gradient of 1 where |x| <= 1 (Hubara et al., 2016).
- Weights of 2 to 8 bits are narrow, -2^(b-1)+1 to 2^(b-1)-1, so that -q is always on the grid. Up to `LEARNED`
  bits the scale starts where the squared error is least and is learned (Esser et al., 2020); above, it follows
  the largest |w|.
- Activations of 2 to 8 bits: the scale is calibrated to cover all but a few values, then learned; unsigned,
  0 to 2^b-1, after a ReLU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.errors import MissingDependency
from edgekit.quant.observers import weight_scale
from edgekit.target import Grid

if TYPE_CHECKING:
    import torch
    from torch import nn

LEARNED = 4
PERCENTILES = {2: 99.0, 3: 99.9, 4: 99.99}  # of |x|, by bits; with more bits the largest values fit too
PERCENTILE = 99.999


def brevitas_nn() -> Any:
    """The package brevitas.nn, or MissingDependency with the install command."""
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of kernels that large language models use
            import brevitas.nn
    except ImportError as error:
        raise MissingDependency("brevitas", "fpga", "training at low bit widths") from error
    return brevitas.nn


def weight_options(
    weight: torch.Tensor, bits: int, *, per_channel: bool, power_of_two: bool
) -> dict[str, Any]:
    """Keyword arguments of a brevitas layer that quantize `weight` [outputs, ...]; the bias stays in float."""
    options: dict[str, Any] = {"weight_bit_width": bits, "bias_quant": None}
    if bits == 1:
        return {
            **options,
            "weight_quant": _bipolar_weight(power_of_two),
            "weight_scaling_per_output_channel": per_channel,
        }
    place = _quant().fixed_point if power_of_two else _quant().scaled_int
    name = f"Int8WeightPer{'Channel' if per_channel else 'Tensor'}{'FixedPoint' if power_of_two else 'Float'}"
    options["weight_quant"] = getattr(place, name)
    if bits <= LEARNED:
        options["weight_scaling_impl_type"] = "parameter"
        options["weight_scaling_init"] = _threshold(weight, bits, per_channel, power_of_two)
    return options


def relu(bits: int, *, power_of_two: bool, ceiling: float | None = None) -> nn.Module:
    """ReLU and its quantizer; `ceiling` (6 for ReLU6) is where the range starts, learned from there."""
    if bits == 1:
        return identity(1, signed=True, power_of_two=power_of_two)
    if ceiling is None:
        return _module(
            "QuantReLU", _name(False, power_of_two), bit_width=bits, high_percentile_q=percentile(bits)
        )
    return _module("QuantReLU", f"{_name(False, power_of_two)}MaxInit", bit_width=bits, max_val=ceiling)


def identity(bits: int, *, signed: bool, power_of_two: bool) -> nn.Module:
    """A quantizer of a tensor that no activation function limits."""
    if bits == 1:
        return _module("QuantIdentity", "SignedBinaryActPerTensorConst")
    return _module(
        "QuantIdentity", _name(signed, power_of_two), bit_width=bits, high_percentile_q=percentile(bits)
    )


def hardtanh(bits: int, low: float, high: float, *, power_of_two: bool) -> nn.Module:
    """A quantizer whose range starts at [low, high] and is learned from there."""
    if low >= 0 or bits == 1:
        return relu(bits, power_of_two=power_of_two, ceiling=high)
    kind = f"{_name(True, power_of_two)}MinMaxInit"
    return _module("QuantHardTanh", kind, bit_width=bits, min_val=low, max_val=high)


def percentile(bits: int) -> float:
    """The share of |x| in percent that a calibrated range covers."""
    return PERCENTILES.get(bits, PERCENTILE)


def _module(name: str, quantizer: str, **options: Any) -> nn.Module:
    quant = _quant()
    place = next(
        part for part in (quant.scaled_int, quant.fixed_point, quant.binary) if hasattr(part, quantizer)
    )
    module: nn.Module = getattr(brevitas_nn(), name)(act_quant=getattr(place, quantizer), **options)
    return module


def _name(signed: bool, power_of_two: bool) -> str:
    return f"{'Int8' if signed else 'Uint8'}ActPerTensor{'FixedPoint' if power_of_two else 'Float'}"


def _quant() -> Any:
    brevitas_nn()
    import brevitas.quant.binary
    import brevitas.quant.fixed_point
    import brevitas.quant.scaled_int

    return brevitas.quant


def _threshold(weight: torch.Tensor, bits: int, per_channel: bool, power_of_two: bool) -> torch.Tensor:
    """What brevitas divides by the grid's end to get the scale: [] or [outputs, 1, ...]."""
    import torch

    grid = Grid(bits, per_channel=per_channel)
    scale = weight_scale(weight.detach().cpu().numpy(), grid, "mse").scale
    found = scale * grid.highest
    if power_of_two:  # brevitas divides by 2^(b-1) then, and rounds the exponent up
        found = 2.0 ** np.rint(np.log2(scale)) * 2 ** (bits - 1)
    shape = (-1, *[1] * (weight.ndim - 1)) if per_channel else ()
    return torch.as_tensor(found, dtype=weight.dtype, device=weight.device).reshape(shape)


def _bipolar_weight(power_of_two: bool) -> Any:
    from brevitas.inject import ExtendedInjector
    from brevitas.quant.solver import WeightQuantSolver

    class BipolarWeight(ExtendedInjector):  # type: ignore[misc]
        """{-s, +s}, s = mean |w|."""

        quant_type = "binary"
        bit_width_impl_type = "const"
        float_to_int_impl_type = "round"
        scaling_impl_type = "stats"
        scaling_stats_op = "ave"
        restrict_scaling_type = "power_of_two" if power_of_two else "fp"
        scaling_min_val = 1e-10
        narrow_range = True
        signed = True

    class Quantizer(BipolarWeight, WeightQuantSolver):  # type: ignore[misc]
        """The above, resolved by brevitas."""

    return Quantizer
