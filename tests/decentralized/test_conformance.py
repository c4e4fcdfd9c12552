"""Every built-in algorithm passes the kit; broken ones do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from edgekit.decentralized.algorithm import Algorithm
from edgekit.decentralized.exchange import Mix
from edgekit.registry import algorithms
from edgekit.testing.algorithm import check_algorithm


def failed(algorithm) -> dict[str, str]:
    return {row.check: row.detail for row in check_algorithm(algorithm) if not row.ok}


@pytest.mark.parametrize("name", sorted(algorithms._builtin))
def test_a_built_in_algorithm_holds(name):
    assert failed(algorithms.get(name)()) == {}


@dataclass(frozen=True)
class Sound(Algorithm):
    """Averages after local steps."""

    name: ClassVar[str] = "sound"
    source: ClassVar[str] = "own"

    def round(self, state, context):
        x = context.local(state["x"])
        state["x"] = (yield Mix((x,))).pull(x)


def test_the_example_of_the_guide_holds():
    assert failed(Sound()) == {}


class Drifts(Sound):
    """Adds a little to every model."""

    def round(self, state, context):
        yield from super().round(state, context)
        state["x"] = state["x"] + 1e-3


class Forgets(Sound):
    """Keeps what decides the next round outside the state."""

    counts: ClassVar[list] = [0]

    def round(self, state, context):
        self.counts[0] += 1
        yield from super().round(state, context)
        state["x"] = state["x"] * (1 + 1e-3 * (self.counts[0] % 3))


class Hides(Sound):
    """Sends twice what it declares."""

    def round(self, state, context):
        yield from super().round(state, context)
        yield Mix((state["x"],), slot="again")


class Rolls(Sound):
    """Takes numbers from a stream that all rows share."""

    def round(self, state, context):
        yield from super().round(state, context)
        state["x"] = state["x"] + 1e-4 * torch.randn(state["x"].shape)


class Peeks(Sound):
    """Uses the rows of others without an exchange."""

    def round(self, state, context):
        x = context.local(state["x"])
        x = x + 0.1 * (x.mean(0) - x)
        state["x"] = (yield Mix((x,))).pull(x)


class Stands(Sound):
    """Never learns."""

    def round(self, state, context):
        state["x"] = (yield Mix((state["x"],))).pull(state["x"])


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (Drifts, "keeps the mean"),
        (Forgets, "goes on from a snapshot"),
        (Hides, "sends what it declares"),
        (Rolls, "the same seed"),
        (Peeks, "rows apart"),
        (Stands, "learns"),
    ],
)
def test_what_is_broken_is_found(broken, check):
    found = failed(dataclass(frozen=True)(type(broken.__name__, (broken,), {"__doc__": broken.__doc__}))())
    assert any(name.startswith(check) for name in found), found
