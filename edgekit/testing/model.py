"""The kit of models."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.testing.row import Row, documented, need, run_checks

if TYPE_CHECKING:
    from torch import nn


def check_model(factory: Callable[..., Any], *, example: dict[str, Any]) -> list[Row]:
    """A model: seeded, finite, with weights that load back, and an ONNX export that agrees with it."""
    return run_checks(
        [
            ("has a docstring", lambda: documented(factory)),
            ("makes a torch module", lambda: _module(factory)),
            ("the same seed gives the same weights", lambda: _seeded(factory)),
            ("its outputs are finite", lambda: _finite(factory, example)),
            ("its samples do not depend on each other", lambda: _independent(factory, example)),
            ("its weights load into a fresh one", lambda: _reloads(factory)),
            ("its gradients are finite", lambda: _trains(factory, example)),
            ("the ONNX export agrees with it", lambda: _exports(factory, example)),
        ]
    )


def _made(factory: Callable[..., Any]) -> Any:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return factory()


def _module(factory: Callable[..., Any]) -> str:
    from torch import nn

    model = _made(factory)
    need(isinstance(model, nn.Module), f"it made a {type(model).__name__}")
    return f"{sum(value.numel() for value in model.parameters()):,} parameters"


def _seeded(factory: Callable[..., Any]) -> str:
    import torch

    one, two = (_made(factory).state_dict() for _ in range(2))
    different = [name for name in one if not torch.equal(one[name], two[name])]
    need(not different, f"{', '.join(different[:3])} differ")
    return f"{len(one)} tensors"


def _output(model: nn.Module, values: Any) -> Any:
    import torch

    with torch.no_grad():
        output = model.eval()(*values)
    return output[0] if isinstance(output, (tuple, list)) else output


def _finite(factory: Callable[..., Any], example: dict[str, Any]) -> str:
    output = _output(_made(factory), example.values())
    need(bool(output.isfinite().all()), "an output is NaN or infinite")
    return f"output {list(output.shape)}"


def _independent(factory: Callable[..., Any], example: dict[str, Any]) -> str:
    import torch

    model = _made(factory)
    pair = [torch.cat([value, torch.zeros_like(value)]) for value in example.values()]
    gap = (_output(model, pair)[:1] - _output(model, example.values())).abs().max().item()
    need(gap < 1e-4, f"a neighbour in the batch moves a sample's output by {gap:.2g}")
    return f"largest difference {gap:.1g}"


def _reloads(factory: Callable[..., Any]) -> str:
    model = _made(factory)
    _made(factory).load_state_dict(model.state_dict(), strict=True)
    return f"{len(model.state_dict())} tensors"


def _trains(factory: Callable[..., Any], example: dict[str, Any]) -> str:
    import torch

    model = _made(factory).train()
    outputs = model(*(torch.cat([value, value + 1]) for value in example.values()))
    (outputs[0] if isinstance(outputs, (tuple, list)) else outputs).float().square().mean().backward()
    broken = [
        name
        for name, value in model.named_parameters()
        if value.grad is not None and not value.grad.isfinite().all()
    ]
    need(not broken, f"the gradient of {', '.join(broken[:3])} is not finite")
    return f"{sum(value.grad is not None for value in model.parameters())} parameters with a gradient"


def _exports(factory: Callable[..., Any], example: dict[str, Any]) -> str:
    from onnx.reference import ReferenceEvaluator

    from edgekit.export.to_onnx import to_onnx

    model = _made(factory)
    graph = to_onnx(model, example)
    feeds = {name: value.numpy() for name, value in example.items()}
    outputs: Any = ReferenceEvaluator(graph).run(None, feeds)
    got, want = outputs[0], _output(model, example.values()).numpy()
    gap = float(np.abs(got - want).max())
    need(gap <= 1e-3 * max(1.0, float(np.abs(want).max())), f"outputs differ by {gap:.2g}")
    return f"{len(graph.graph.node)} nodes, largest difference {gap:.1g}"
