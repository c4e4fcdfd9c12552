"""The kits: everything built in holds them, and what is broken does not pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from edgekit import subject
from edgekit.change import Change, Cost
from edgekit.errors import EdgekitError
from edgekit.job import Data
from edgekit.profile.metrics import Slot
from edgekit.registry import datasets, models, slots, transforms
from edgekit.target import find_target
from edgekit.testing import check_dataset, check_model, check_slot, check_target, check_transform
from edgekit.transforms.base import Transform

STEPS = {"prune": {"ratio": 0.5}, "finetune": {"epochs": 1}, "distil": {"epochs": 1}, "quantize": {}}
LARGE = {"resnet18": {"width": 8}, "efficientnet_lite0": {}}


def failed(rows) -> dict[str, str]:
    return {row.check: row.detail for row in rows if not row.ok}


@pytest.mark.parametrize("name", sorted(transforms._builtin))
def test_a_built_in_transform_holds(name: str):
    assert failed(check_transform(transforms.get(name)(**STEPS[name]))) == {}


@pytest.mark.parametrize("name", ["cpu", "jetson", "fpga"])
def test_a_target_of_ours_holds(name: str):
    assert failed(check_target(find_target(name))) == {}


@pytest.mark.parametrize("name", sorted(models._builtin))
def test_a_built_in_model_holds(name: str):
    options = LARGE.get(name, {})
    shape = (3, 64, 64) if name in LARGE else None
    make = lambda: subject.make_model(name, options)  # noqa: E731
    make.__doc__ = models.get(name).__doc__
    assert failed(check_model(make, example=subject.example_for(name, options, shape=shape))) == {}


@pytest.mark.parametrize("name", ["fashion-mnist", "digits"])
def test_a_built_in_data_set_holds(name: str):
    try:
        data = datasets.get(name)()
    except EdgekitError as error:
        pytest.skip(str(error))
    assert failed(check_dataset(data)) == {}


@pytest.mark.parametrize("name", slots.builtin())
def test_a_built_in_metric_slot_holds(name: str):
    assert failed(check_slot(slots.get(name))) == {}


# what is broken is found


@dataclass
class Loose(Transform):
    """Not frozen, and it does what a transform must not."""

    name: ClassVar[str] = "loose"
    notes: list = field(default_factory=list)

    def apply(self, model: Any, job: Any) -> Any:
        with torch.no_grad():
            for value in model.parameters():
                value.add_(torch.randn_like(value))
        model.register_forward_hook(lambda *values: None)
        cost = Cost(1, 1, 1)
        return nn.Sequential(model, nn.Linear(4, 5)), Change(cost, cost)


def test_a_broken_transform_is_found():
    found = failed(check_transform(Loose()))
    assert {
        "is a frozen dataclass",
        "the model still takes its input",
        "the same seed gives the same weights",
        "the plan replays on a fresh model",
        "the model is left without edgekit's classes",
    } <= set(found)
    assert "[2, 5], not [2, 4]" in found["the model still takes its input"]


class Coupled(nn.Module):
    """Its samples depend on each other, and its weights are not finite."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((4,), float("nan")))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x - x.mean(0) + self.weight.nan_to_num()


def test_a_broken_model_is_found():
    found = failed(check_model(Coupled, example={"input": torch.ones(1, 4)}))
    assert "its samples do not depend on each other" in found
    assert "its weights load into a fresh one" not in found

    def unseeded() -> nn.Module:
        torch.seed()
        return nn.Linear(4, 2)

    found = failed(check_model(unseeded, example={"input": torch.ones(1, 4)}))
    assert {"has a docstring", "the same seed gives the same weights"} <= set(found)


def test_a_broken_data_set_is_found():
    chance = np.random.default_rng(0)

    class Changing:
        def __iter__(self):
            yield chance.standard_normal((2, 3)).astype(np.float32), np.array([0, 9])

    class WithClasses(Data):
        classes = ("a", "b")

    found = failed(check_dataset(WithClasses(train=Changing())))
    assert set(found) == {
        "gives the same batches twice",
        "its labels agree with its classes",
        "has a fingerprint",
    }
    assert "labels run from 0 to 9, but there are 2 classes" in found["its labels agree with its classes"]
    broken = [(np.full((2, 3), np.nan, np.float32), np.array([0, 1]))]
    assert "its inputs are finite and of one shape" in failed(
        check_dataset(Data(train=broken, fingerprint="x"))
    )


def test_a_broken_target_is_found():
    class Doubled:
        """A target whose runner is wrong by a factor."""

        name = "cpu"

        def __init__(self) -> None:
            self.cpu = find_target("cpu")

        def __getattr__(self, name: str) -> Any:
            return getattr(self.cpu, name)

        def runner(self, path, *, threads: int = 1):
            real = self.cpu.runner(path, threads=threads)

            class Runner:
                def run(self, feeds):
                    return {name: 2 * value for name, value in real.run(feeds).items()}

            return Runner()

    assert set(failed(check_target(Doubled()))) == {"the runner agrees with the ONNX reference"}


def test_a_slot_of_ones_own_holds():
    def read(producer: str, content: Any) -> Any:
        return watts.reading(content.get("watts"), method="largest second", source="watts", reason="no meter")

    watts = Slot("peak_power", "W", "The largest mean power of any second.", "lower", "us, 2026", read)
    found = check_slot(watts, {"profile": {"watts": 3.0}})
    assert failed(found) == {}
    assert found[-1].detail == "1 values of 10 readings"


def test_a_broken_slot_is_found():
    kind: Any = Slot
    found = failed(check_slot(kind("Peak power", "", "power", "up", " ", lambda producer, content: 3.0)))
    assert found == {
        "has a name in lower_case": "'Peak power' is not such as peak_power",
        "has a unit": "unit is empty",
        "has a definition, in sentences": "'power' is no sentence",
        "says which way is better": "better is 'up', not one of lower, higher, depends",
        "has a source": "source is empty",
        "says a method with a value, a reason without": "read gave a float for compress",
    }
