"""Fake quantization as autograd functions: straight-through gradients and learned step sizes.

torch's own fake-quantize kernels compute element by element on a CPU (40 times the four vectorised passes
here, torch 2.13) and their scale gradients hold full-size tensors; these keep one mask-free pass and two
dot products.
"""

from __future__ import annotations

import math
from typing import Any

import torch

# Forward: x [any], log-ratio t of the scale (a leaf that gets gradients) or None, scale s, limits in steps.
Steps = tuple[float, float]


def fake_values(
    x: torch.Tensor,
    scale: float | torch.Tensor,
    limits: Steps,
    *,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """s * clip(round_half_even(x / s), limits), the limits in steps from zero; into `out` if given."""
    # A scale on the device: a Python number would turn the division into a product with 1 / s on CUDA.
    if x.is_cuda and isinstance(scale, float):
        scale = torch.tensor(scale, device=x.device)
    return torch.div(x, scale, out=out).round_().clamp_(*limits).mul_(scale)


def straight_through(x: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """`fake` in forward, the gradient of `x` in backward (Bengio et al., 2013), where nothing is clipped."""
    result: torch.Tensor = _StraightThrough.apply(x, fake)  # type: ignore[no-untyped-call]
    return result


def fake_tensor(
    x: torch.Tensor, log_scale: torch.Tensor | None, scale: float, limits: Steps, *, inplace: bool = False
) -> torch.Tensor:
    """Fake-quantize a tensor [batch, ...] with one scale s = s_0 exp(t), t = `log_scale`.

    dx = g where limits[0] < x/s < limits[1], else 0. With r = round(x/s) - x/s inside and the limit
    outside, dL/ds = sum(g r), and the gradient left at t is dL/ds / (s sqrt(N Q)), N features a sample, Q
    the upper limit: a step of gradient descent on t changes s by as much as one on s with the gradient of
    Learned Step Size Quantization (Esser et al., 2020), and s stays positive.
    """
    if not torch.is_grad_enabled() or not (
        x.requires_grad or (log_scale is not None and log_scale.requires_grad)
    ):
        return fake_values(x, scale, limits, out=x if inplace else None)
    result: torch.Tensor = _FakeTensor.apply(x, log_scale, scale, limits, inplace)  # type: ignore[no-untyped-call]
    return result


def fake_channels(
    x: torch.Tensor, log_scale: torch.Tensor, scale: torch.Tensor, limits: Steps, axis: int
) -> torch.Tensor:
    """As `fake_tensor` for a weight; scales and t are [channels] along `axis`, N is a channel's size."""
    if not torch.is_grad_enabled() or not (x.requires_grad or log_scale.requires_grad):
        return fake_values(x, along(scale, x.dim(), axis), limits)
    result: torch.Tensor = _FakeChannels.apply(x, log_scale, scale, limits, axis)  # type: ignore[no-untyped-call]
    return result


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        return fake.view_as(fake)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grads[0], None


class _FakeTensor(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, log_scale: torch.Tensor | None, scale: float, limits: Steps, inplace: bool
    ) -> torch.Tensor:
        kept = x.clone() if inplace else x
        fake = fake_values(x, scale, limits, out=x if inplace else None)
        ctx.save_for_backward(kept)
        ctx.scale, ctx.limits = scale, limits
        if inplace:
            ctx.mark_dirty(x)
        if ctx.needs_input_grad[1]:
            ctx.fake, ctx.version = fake.detach(), fake._version + inplace
        return fake

    @staticmethod
    def backward(
        ctx: Any, *grads: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None, None, None, None]:
        (x,) = ctx.saved_tensors
        scale, (low, high) = ctx.scale, ctx.limits
        inside = torch.ops.aten.hardtanh_backward(grads[0], x, low * scale, high * scale)
        if not ctx.needs_input_grad[1]:
            return inside, None, None, None, None
        # A later in-place operation of the model (add, then relu_) may have overwritten the fake values.
        intact = ctx.fake._version == ctx.version
        fake = ctx.fake if intact else fake_values(x, scale, ctx.limits)
        slope = (_dot(grads[0], fake) - _dot(inside, x)) / scale
        gain = 1.0 / (scale * math.sqrt(max(1, x.numel() // max(1, x.shape[0] if x.dim() else 1)) * high))
        return inside, (slope * gain), None, None, None


class _FakeChannels(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, log_scale: torch.Tensor, scale: torch.Tensor, limits: Steps, axis: int
    ) -> torch.Tensor:
        shaped = along(scale, x.dim(), axis)
        ctx.save_for_backward(x, shaped)
        ctx.limits = limits
        return fake_values(x, shaped, limits)

    @staticmethod
    def backward(
        ctx: Any, *grads: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None, None, None, None]:
        x, scale = ctx.saved_tensors
        low, high = ctx.limits
        steps = x / scale
        inside = (steps > low) & (steps < high)
        if not ctx.needs_input_grad[1]:
            return grads[0] * inside, None, None, None, None
        slope = grads[0] * (steps.round().clamp(low, high) - torch.where(inside, steps, 0.0))
        gain = 1.0 / (scale * math.sqrt(x.numel() // scale.numel() * high))
        return grads[0] * inside, (slope.sum_to_size(scale.shape) * gain).flatten(), None, None, None


def along(values: torch.Tensor, dims: int, axis: int) -> torch.Tensor:
    """[channels] reshaped to broadcast along `axis` of a tensor with `dims` dimensions."""
    shape = [1] * dims
    shape[axis] = -1
    return values.reshape(shape)


def _dot(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    if left.is_contiguous() and right.is_contiguous():
        return torch.dot(left.view(-1), right.view(-1))
    if left.stride() == right.stride() and left.is_contiguous(memory_format=torch.channels_last):
        return torch.dot(left.permute(0, 2, 3, 1).reshape(-1), right.permute(0, 2, 3, 1).reshape(-1))
    return (left * right).sum()
