"""Calls of known operations inside a torch model's forward, each with its site, handed to a visitor.

Module hooks keep the path of the module whose forward is running; a `TorchFunctionMode`, entered by the
root's first hook and left by its last, sees every call of `torch.*`, `torch.nn.functional.*` and
`Tensor.*`. The mode is off while it handles a call, so a function that calls others (F.max_pool2d,
torch.max_pool2d) counts once.

Not seen: calls made outside the root's forward (gradient checkpointing repeats them in backward) and inside
functions that are one call to torch (multi_head_attention_forward).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from edgekit.quant.site import Site

Function = Callable[..., Any]

# One row an operation, in the word for its ONNX operator; its spellings reach torch as different objects.
_SPELLINGS: dict[str, tuple[str, ...]] = {
    "conv": ("torch.conv1d", "torch.conv2d", "torch.conv3d", "torch.convolution"),
    "conv_transpose": ("torch.conv_transpose1d", "torch.conv_transpose2d", "torch.conv_transpose3d"),
    "linear": ("F.linear", "F.bilinear", "torch.addmm", "Tensor.addmm"),
    "matmul": (
        "torch.matmul",
        "torch.mm",
        "torch.bmm",
        "Tensor.matmul",
        "Tensor.mm",
        "Tensor.bmm",
        "Tensor.__matmul__",
        "Tensor.__rmatmul__",
    ),
    "add": ("torch.add", "Tensor.add", "Tensor.add_", "Tensor.__add__", "Tensor.__iadd__", "Tensor.__radd__"),
    "sub": (
        "torch.sub",
        "torch.subtract",
        "torch.rsub",
        "Tensor.sub",
        "Tensor.sub_",
        "Tensor.__sub__",
        "Tensor.__isub__",
        "Tensor.__rsub__",
        "Tensor.subtract",
        "Tensor.subtract_",
    ),
    "mul": (
        "torch.mul",
        "torch.multiply",
        "Tensor.mul",
        "Tensor.mul_",
        "Tensor.__mul__",
        "Tensor.__imul__",
        "Tensor.__rmul__",
        "Tensor.multiply",
        "Tensor.multiply_",
    ),
    "div": (
        "torch.div",
        "torch.true_divide",
        "Tensor.div",
        "Tensor.div_",
        "Tensor.__truediv__",
        "Tensor.__itruediv__",
        "Tensor.__rtruediv__",
    ),
    "cat": ("torch.cat", "torch.concat", "torch.concatenate", "torch.stack"),
    "relu": ("F.relu", "F.relu_", "torch.relu", "torch.relu_", "Tensor.relu", "Tensor.relu_"),
    "clip": (
        "F.relu6",
        "F.hardtanh",
        "F.hardtanh_",
        "torch.clamp",
        "torch.clamp_",
        "torch.clip",
        "torch.clip_",
        "torch.clamp_min",
        "torch.clamp_max",
        "Tensor.clamp",
        "Tensor.clamp_",
        "Tensor.clip",
        "Tensor.clip_",
        "Tensor.clamp_min",
        "Tensor.clamp_min_",
        "Tensor.clamp_max",
        "Tensor.clamp_max_",
    ),
    "sigmoid": (
        "F.sigmoid",
        "torch.sigmoid",
        "torch.sigmoid_",
        "torch.special.expit",
        "Tensor.sigmoid",
        "Tensor.sigmoid_",
    ),
    "tanh": ("F.tanh", "torch.tanh", "torch.tanh_", "Tensor.tanh", "Tensor.tanh_"),
    "hardsigmoid": ("F.hardsigmoid",),
    "hardswish": ("F.hardswish",),
    "leaky_relu": ("F.leaky_relu", "F.leaky_relu_"),
    "prelu": ("torch.prelu", "F.prelu", "Tensor.prelu"),
    "elu": ("F.elu", "F.elu_"),
    "gelu": ("F.gelu",),
    "softmax": ("F.softmax", "torch.softmax", "Tensor.softmax"),
    "max_pool": (
        "F.max_pool1d",
        "F.max_pool2d",
        "F.max_pool3d",
        "torch.max_pool1d",
        "torch.max_pool2d",
        "torch.max_pool3d",
    ),
    "avg_pool": ("F.avg_pool1d", "F.avg_pool2d", "F.avg_pool3d", "torch.avg_pool1d"),
    "mean": ("torch.mean", "Tensor.mean"),
    "resize": ("F.interpolate", "F.upsample", "F.upsample_nearest", "F.upsample_bilinear"),
    "batch_norm": ("F.batch_norm", "torch.batch_norm"),
    "group_norm": ("F.group_norm", "torch.group_norm"),
    "layer_norm": ("F.layer_norm", "torch.layer_norm"),
}
_ADAPTIVE = (
    "F.adaptive_avg_pool1d",
    "F.adaptive_avg_pool2d",
    "F.adaptive_avg_pool3d",
    "torch.adaptive_avg_pool1d",
)
_ROOTS: dict[str, Any] = {"torch": torch, "F": F, "Tensor": torch.Tensor}


def _resolve(spelling: str) -> Function | None:
    root, *names = spelling.split(".")
    found: Function | None = _ROOTS[root]
    for name in names:
        found = getattr(found, name, None)
    return found


def _table() -> dict[Function, str]:
    rows = {**_SPELLINGS, "adaptive_avg_pool": _ADAPTIVE, "silu": ("F.silu",)}
    return {
        function: operation
        for operation, spellings in rows.items()
        for function in map(_resolve, spellings)
        if function is not None
    }


def _mutates(name: str) -> bool:
    return name.startswith("__i") or (name.endswith("_") and not name.endswith("__"))


_OPERATIONS = _table()
_MUTATING = frozenset(function for function in _OPERATIONS if _mutates(getattr(function, "__name__", "")))


class Visitor(Protocol):
    """What `Intercept` tells: a forward's start, each known call, its end if it did not fail."""

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The model's inputs, to be returned as they are or replaced."""
        ...

    def call(self, site: Site, function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Make the call `function(*args, **kwargs)` (or another) and return its result."""
        ...

    def end(self) -> None:
        """The forward is over."""
        ...


class Intercept(TorchFunctionMode):
    """Hands a visitor each call of a known operation in `model`'s forward, with its site.

    Usage: `intercept = Intercept(model, visitor)`, call the model as often as wanted, `intercept.remove()`.
    A deep copy of the model taken meanwhile keeps its hooks, which do nothing after `remove()`; `strip(copy)`
    takes them off. SiLU is two sites, sigmoid and mul, as runtimes have it.
    """

    def __init__(self, model: nn.Module, visitor: Visitor) -> None:
        super().__init__()
        self.visitor = visitor
        self.active = True
        self._path: list[str] = []
        self._counts: dict[tuple[str, str], int] = {}
        self._handles = [
            handle
            for name, module in model.named_modules()
            for handle in (
                module.register_forward_pre_hook(_Enter(self, name), with_kwargs=True),
                module.register_forward_hook(_Leave(self, name), with_kwargs=True, always_call=True),
            )
        ]

    def remove(self) -> None:
        """Take every hook off the model."""
        self.active = False
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def enter(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A module's forward starts; the first one starts the root's."""
        root = not self._path
        self._path.append(name)
        if not root or name:
            return None
        self._counts.clear()
        self.__enter__()  # type: ignore[no-untyped-call]
        return self.visitor.begin(args, kwargs)

    def leave(self, name: str, failed: bool) -> None:
        """A module's forward ended, by its result or by an exception."""
        if self._path and self._path[-1] == name:
            self._path.pop()
        if self._path or name:
            return
        self.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        if not failed:
            self.visitor.end()

    def __torch_function__(
        self, function: Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        operation = _OPERATIONS.get(function)
        if operation is None or _is_bookkeeping(function, args):
            return function(*args, **kwargs)
        if operation == "silu":
            return self._silu(*args, **kwargs)
        if operation == "adaptive_avg_pool":
            operation = "mean" if _is_global(args, kwargs) else "avg_pool"
        return self.visitor.call(self._site(operation), function, args, kwargs)

    def _silu(self, input: torch.Tensor, inplace: bool = False) -> torch.Tensor:
        gate = self.visitor.call(self._site("sigmoid"), torch.sigmoid, (input,), {})
        left = input.clone() if inplace else input  # backward needs the value that copy_ overwrites
        result: torch.Tensor = self.visitor.call(self._site("mul"), torch.mul, (left, gate), {})
        return input.copy_(result) if inplace else result

    def _site(self, operation: str) -> Site:
        key = (self._path[-1], operation)
        count = self._counts.get(key, 0)
        self._counts[key] = count + 1
        return Site(key[0], operation, count, "output")


def is_inplace(function: Function, kwargs: Mapping[str, Any]) -> bool:
    """Whether the call changes its first argument."""
    return function in _MUTATING or bool(kwargs.get("inplace"))


def strip(model: nn.Module) -> nn.Module:
    """Take hooks of `Intercept` off a model that was deep-copied while they were on."""
    for module in model.modules():
        for hooks in (module._forward_pre_hooks, module._forward_hooks):
            for key in [key for key, hook in hooks.items() if isinstance(hook, _Hook)]:
                del hooks[key]
                for also in (
                    module._forward_pre_hooks_with_kwargs,
                    module._forward_hooks_with_kwargs,
                    module._forward_hooks_always_called,
                ):
                    also.pop(key, None)
    return model


def trace(model: nn.Module, *args: Any, **kwargs: Any) -> list[Site]:
    """The sites of one forward, in execution order."""
    recorder = _Recorder()
    intercept = Intercept(model, recorder)
    try:
        with torch.no_grad():
            model(*args, **kwargs)
    finally:
        intercept.remove()
    return recorder.sites


class _Recorder:
    def __init__(self) -> None:
        self.sites: list[Site] = []

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, kwargs

    def call(self, site: Site, function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        self.sites.append(site)
        return function(*args, **kwargs)

    def end(self) -> None:
        pass


class _Hook:
    """A hook that survives a deep copy of its module without copying what it points to."""

    def __init__(self, intercept: Intercept, name: str) -> None:
        self.intercept, self.name = intercept, name

    def __deepcopy__(self, memo: dict[int, Any]) -> _Hook:
        return self


class _Enter(_Hook):
    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.intercept.enter(self.name, args, kwargs) if self.intercept.active else None


class _Leave(_Hook):
    def __call__(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if self.intercept.active:
            self.intercept.leave(self.name, output is None)


def _is_bookkeeping(function: Function, args: tuple[Any, ...]) -> bool:
    """An integer counted up in place, as BatchNorm does in training: no part of the graph."""
    return function in _MUTATING and isinstance(args[0], torch.Tensor) and not args[0].is_floating_point()


def _is_global(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    size = args[1] if len(args) > 1 else kwargs.get("output_size")
    return all(part == 1 for part in (size if isinstance(size, (tuple, list)) else (size,)))
