"""The brevitas twin of a float layer: the same shape and weights, and a quantizer where `options` say so."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn

from edgekit.errors import BadInput
from edgekit.quant.brevitas_quantizers import brevitas_nn

WHERE = "low bits"


def twin(path: str, old: nn.Conv2d | nn.Linear, options: dict[str, Any]) -> nn.Module:
    """QuantConv2d or QuantLinear with the float layer's weight and bias."""
    new = _conv(path, old, options) if isinstance(old, nn.Conv2d) else _linear(old, options)
    with torch.no_grad():
        new.weight.copy_(old.weight)
        if old.bias is not None:
            new.bias.copy_(old.bias)
    return new  # type: ignore[no-any-return]


def _conv(path: str, old: nn.Conv2d, options: dict[str, Any]) -> Any:
    if old.padding_mode != "zeros":
        raise BadInput(
            f"{WHERE}: '{path}' pads by '{old.padding_mode}'; FINN pads zeros. Use padding_mode='zeros'."
        )
    if old.groups > 1 and (old.in_channels != old.groups or old.out_channels != old.groups):
        raise BadInput(
            f"{WHERE}: '{path}' has {old.groups} groups of {old.in_channels} inputs and {old.out_channels} outputs; "
            "FINN has dense and depthwise convolutions, one output a channel. Use groups=1, or depthwise and 1x1."
        )
    return brevitas_nn().QuantConv2d(
        old.in_channels,
        old.out_channels,
        old.kernel_size,
        stride=old.stride,
        padding=padding_of(old),
        dilation=old.dilation,
        groups=old.groups,
        bias=old.bias is not None,
        **options,
    )


def padding_of(old: nn.Conv2d) -> tuple[int, ...]:
    """The padding of each axis in pixels; 'same' is that of an odd kernel at stride 1."""
    if old.padding == "valid":
        return (0, 0)
    if isinstance(old.padding, str):
        pairs = zip(old.dilation, old.kernel_size, strict=True)
        return tuple(dilation * (kernel - 1) // 2 for dilation, kernel in pairs)
    return tuple(old.padding)


def _linear(old: nn.Linear, options: dict[str, Any]) -> Any:
    return brevitas_nn().QuantLinear(old.in_features, old.out_features, bias=old.bias is not None, **options)


def averaging(kernel: int, stride: int, bits: int) -> nn.Module:
    """TruncAvgPool2d that floors to `bits`; it reads a QuantTensor and gives a plain one."""
    from brevitas.quant.scaled_int import TruncTo8bit

    module: nn.Module = brevitas_nn().TruncAvgPool2d(
        kernel,
        stride,
        trunc_quant=TruncTo8bit,
        bit_width=bits,
        float_to_int_impl_type="floor",
        return_quant_tensor=False,
    )
    return module


def window(node: fx.Node, module: nn.AvgPool2d | nn.AdaptiveAvgPool2d) -> tuple[int, int] | None:
    """(kernel, stride) of a square average; None for one over the whole of a map that is not square."""
    shape = node.args[0].meta["tensor_meta"].shape  # type: ignore[union-attr]
    if isinstance(module, nn.AdaptiveAvgPool2d):
        if _pair(module.output_size) != (1, 1):
            raise BadInput(
                f"{WHERE}: '{node.target}' pools to {module.output_size}; FINN has windows of one size. Pool to 1."
            )
        return (int(shape[2]), int(shape[2])) if shape[2] == shape[3] else None
    kernel, stride, padding = map(_pair, (module.kernel_size, module.stride, module.padding))
    if kernel[0] != kernel[1] or stride[0] != stride[1] or any(padding) or module.ceil_mode:
        raise BadInput(
            f"{WHERE}: '{node.target}' averages windows of {kernel} by {stride}, padding {padding}; FINN averages "
            "square windows without padding. Use one, or a convolution with stride 2."
        )
    return kernel[0], stride[0]


def _pair(value: Any) -> tuple[Any, Any]:
    return (value[0], value[-1]) if isinstance(value, (tuple, list)) else (value, value)
