"""The kit of transforms."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import BadInput
from edgekit.testing.row import Row, fail, named, need, run_checks
from edgekit.testing.sample import sample_job, sample_network

if TYPE_CHECKING:
    from edgekit.transforms.base import Transform


def check_transform(step: Transform) -> list[Row]:
    """A transform with settings that do something: frozen, describable, repeatable, replayable."""
    return run_checks(
        [
            ("is a frozen dataclass", lambda: _frozen(step)),
            ("has a name and a docstring", lambda: named(type(step), step.name)),
            ("its settings are plain JSON", lambda: json.dumps(step.settings())),
            ("a recipe builds the same step", lambda: _recipe_round_trip(step)),
            ("an unknown setting is refused in one line", lambda: _unknown_setting(step)),
            ("the model still takes its input", lambda: _applies(step)),
            ("the same seed gives the same weights", lambda: _repeats(step)),
            ("the plan replays on a fresh model", lambda: _replays(step)),
            ("the model is left without edgekit's classes", lambda: _plain_modules(step)),
        ]
    )


def _frozen(step: Any) -> str:
    parameters = getattr(type(step), "__dataclass_params__", None)
    need(parameters is not None and parameters.frozen, "decorate the class with @dataclass(frozen=True)")
    return type(step).__name__


def _recipe_round_trip(step: Any) -> str:
    from edgekit.recipe import Recipe, parse_recipe

    text = Recipe(model="resnet8", steps=(step,)).to_yaml()
    again = parse_recipe(text).steps[0]
    need(again == step, f"{again} is not {step}")
    return str(step.settings())


def _unknown_setting(step: Any) -> str:
    from edgekit.recipe import Recipe, parse_recipe, step_name

    name = step_name(step)
    text = Recipe(model="resnet8", steps=(step,)).to_yaml()
    try:
        parse_recipe(text, overrides=[f"steps.0={{{json.dumps(name)}: {{no_such_setting: 1}}}}"])
    except BadInput as error:
        return str(error)
    return fail("no_such_setting was accepted")


def _applies(step: Any) -> str:
    import torch

    model, change = _applied(step)
    with torch.no_grad():
        output = model.eval()(torch.zeros(2, 3, 16, 16))
    need(tuple(output.shape) == (2, 4), f"the output became {list(output.shape)}, not [2, 4]")
    return f"{change.before.params} -> {change.after.params} parameters"


def _repeats(step: Any) -> str:
    import torch

    one, two = (_applied(step)[0].state_dict() for _ in range(2))
    need(list(one) == list(two), "the two models have other tensors")
    different = [name for name in one if not torch.equal(one[name], two[name])]
    need(not different, f"{', '.join(different[:3])} differ; take randomness from job.generator(purpose)")
    return f"{len(one)} tensors"


def _replays(step: Any) -> str:
    import torch

    model, change = _applied(step)
    plan = json.loads(json.dumps(change.plan))
    fresh = sample_network()
    fresh = type(step).replay(fresh, plan) if plan is not None else fresh
    fresh.load_state_dict(model.state_dict())
    inputs = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        gap = (fresh.eval()(inputs) - model.eval()(inputs)).abs().max().item()
    need(gap == 0.0, f"the replayed model differs by {gap:.2g}")
    return "weights only" if plan is None else "structure and weights"


def _plain_modules(step: Any) -> str:
    model, _ = _applied(step)
    kinds = {type(module) for module in model.modules()}
    foreign = {
        kind.__name__
        for kind in kinds
        if kind.__module__.startswith("edgekit.") and kind.__module__ != sample_network.__module__
    }
    hooked = [
        name for name, module in model.named_modules() if module._forward_hooks or module._backward_hooks
    ]
    need(not foreign, f"{', '.join(sorted(foreign))} stayed in the model")
    need(not hooked, f"hooks stayed on {', '.join(hooked[:3]) or 'the model'}")
    return "no foreign class, no hook"


def _applied(step: Transform) -> tuple[Any, Any]:
    with tempfile.TemporaryDirectory(prefix="edgekit-conformance-") as folder:
        return step.apply(sample_network(), sample_job(Path(folder)))
