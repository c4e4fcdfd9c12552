"""A model as an fx graph of modules: every call of an activation or a pooling is a module of its own.

Functions become modules under their fx name (`relu`, `relu_1`), a module called again becomes a copy of its own
(`layer1.0.relu`, `layer1.0.relu_1`), so that each call can have its own quantizer. Weights stay under their paths.
A maximum pooling right before an activation moves behind it, where it can compare integers; the result is the same.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from edgekit.errors import BadInput

Maker = Callable[..., nn.Module]


def _relu(inplace: bool = False) -> nn.Module:
    return nn.ReLU()


def _hardtanh(min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> nn.Module:
    return nn.Hardtanh(min_val, max_val)


def _relu6(inplace: bool = False) -> nn.Module:
    return nn.ReLU6()


def _dropout(p: float = 0.5, training: bool = True, inplace: bool = False) -> nn.Module:
    return nn.Dropout(p)


def _max_pool(*args: Any, **kwargs: Any) -> nn.Module:
    return nn.MaxPool2d(*args, **kwargs)


FUNCTIONS: Mapping[Any, Maker] = {
    F.relu: _relu,
    torch.relu: _relu,
    torch.relu_: _relu,
    F.relu6: _relu6,
    F.hardtanh: _hardtanh,
    F.dropout: _dropout,
    F.max_pool2d: _max_pool,
    torch.max_pool2d: _max_pool,
    F.avg_pool2d: nn.AvgPool2d,
    F.adaptive_avg_pool2d: nn.AdaptiveAvgPool2d,
    "relu": _relu,
    "relu_": _relu,
}
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.Hardtanh)
OWN = (*ACTIVATIONS, nn.AvgPool2d, nn.AdaptiveAvgPool2d)


def trace(model: nn.Module, *, where: str) -> fx.GraphModule:
    """A traced copy of a model, its weights copied; BadInput where its Python depends on data."""
    training = model.training
    copied = copy.deepcopy(model).eval()
    try:
        traced = fx.symbolic_trace(copied)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BadInput(
            f"{where}: torch.fx cannot trace the model: {type(error).__name__}: {reason[:200]}. Take "
            "data-dependent Python control flow out of forward."
        ) from error
    for node in list(traced.graph.nodes):
        _as_module(traced, node, where)
    _separate(traced)
    _pool_after_activation(traced)
    traced.graph.eliminate_dead_code()
    traced.graph.lint()
    traced.recompile()
    traced.delete_all_unused_submodules()
    return traced.train(training)


def module_at(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """The module that a node calls, or None."""
    return traced.get_submodule(str(node.target)) if node.op == "call_module" else None


def free_path(traced: fx.GraphModule, path: str) -> str:
    """`path`, or the first of path_1, path_2 ... that no attribute of the model has."""
    parent, _, name = path.rpartition(".")
    owner: Any = traced.get_submodule(parent)
    names = [name, *(f"{name}_{index}" for index in range(1, 10_000))]
    found = next(option for option in names if not hasattr(owner, option))
    return f"{parent}.{found}" if parent else found


def insert_module(traced: fx.GraphModule, source: fx.Node, path: str, module: nn.Module) -> fx.Node:
    """A call of `module`, put at `path`, of what `source` gives, right behind it."""
    traced.add_submodule(path, module)
    return insert_call(traced, source, path)


def insert_call(traced: fx.GraphModule, source: fx.Node, path: str) -> fx.Node:
    """A call of the module at `path` of what `source` gives, right behind it."""
    with traced.graph.inserting_after(source):
        return traced.graph.call_module(path, (source,))


def _as_module(traced: fx.GraphModule, node: fx.Node, where: str) -> None:
    """A function that has a module twin becomes it; the mean over height and width becomes a pooling."""
    if node.op not in ("call_function", "call_method"):
        return
    if node.target in ("mean", torch.mean):
        _mean_as_pooling(traced, node)
        return
    maker = FUNCTIONS.get(node.target)
    if maker is None:
        return
    options = dict(node.kwargs)
    given: list[Any] = [*node.args] or [options.pop("input")]
    data, rest = given[0], given[1:]
    try:
        module = maker(*rest, **options)
    except TypeError as error:
        raise BadInput(
            f"{where}: the call '{node.name}' cannot be a module: {error}. Use a module."
        ) from error
    _call_instead(traced, node, data, module)


def _call_instead(traced: fx.GraphModule, node: fx.Node, data: Any, module: nn.Module) -> fx.Node:
    path = free_path(traced, node.name)
    traced.add_submodule(path, module)
    with traced.graph.inserting_before(node):
        call = traced.graph.call_module(path, (data,))
    node.replace_all_uses_with(call)
    traced.graph.erase_node(node)
    return call


def _mean_as_pooling(traced: fx.GraphModule, node: fx.Node) -> None:
    """mean(x [n, c, h, w], (2, 3)) is a pooling to 1x1, flattened unless keepdim."""
    arguments = dict(zip(("input", "dim", "keepdim"), node.args, strict=False)) | dict(node.kwargs)
    dims = arguments.get("dim")
    if not isinstance(dims, (tuple, list)) or {int(dim) % 4 for dim in dims} != {2, 3}:  # type: ignore[arg-type]
        return
    call = _call_instead(traced, node, arguments["input"], nn.AdaptiveAvgPool2d(1))
    if not arguments.get("keepdim", False):
        with traced.graph.inserting_after(call):
            flat = traced.graph.call_function(torch.flatten, (call, 1))
        call.replace_all_uses_with(flat, delete_user_cb=lambda user: user is not flat)


def _separate(traced: fx.GraphModule) -> None:
    """From its second call on, an activation or pooling is a copy under a path of its own."""
    seen: set[str] = set()
    for node in traced.graph.nodes:
        module = module_at(traced, node)
        if not isinstance(module, OWN):
            continue
        if str(node.target) in seen:
            path = free_path(traced, str(node.target))
            traced.add_submodule(path, copy.deepcopy(module))
            node.target = path
        seen.add(str(node.target))


def _pool_after_activation(traced: fx.GraphModule) -> None:
    """act(pool(x)) becomes pool(act(x)), which is equal, since these activations never fall."""
    for node in list(traced.graph.nodes):
        pool = node.args[0] if node.args else None
        if not isinstance(module_at(traced, node), ACTIVATIONS) or not isinstance(pool, fx.Node):
            continue
        if not isinstance(module_at(traced, pool), nn.MaxPool2d) or len(pool.users) > 1:
            continue
        source = pool.args[0]
        assert isinstance(source, fx.Node), "a pooling reads one tensor"
        pool.args = (insert_call(traced, source, str(node.target)),)
        node.replace_all_uses_with(pool)
        traced.graph.erase_node(node)
