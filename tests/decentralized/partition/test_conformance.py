"""Every built-in partition passes the kit; broken ones do not."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import ClassVar

import numpy as np
import pytest

from edgekit.decentralized.keys import stream
from edgekit.decentralized.partition.labels import required, samples
from edgekit.decentralized.partition.partition import Partition
from edgekit.decentralized.partition.shares import dealt, save
from edgekit.registry import partitions
from edgekit.testing import check_partition
from edgekit.testing.partition import AGENTS, SAMPLES

FIRST = {
    "iid": None,
    "sorted_fraction": "fraction",
    "shards": "per_agent",
    "classes_per_agent": "classes",
    "dirichlet": "alpha",
    "resource_correlated": "alpha",
    "natural": None,
    "given": "path",
}


def failed(partition) -> dict[str, str]:
    return {row.check: row.detail for row in check_partition(partition) if not row.ok}


@pytest.mark.parametrize("name", sorted(partitions._builtin))
def test_a_built_in_partition_holds(name, tmp_path):
    options = {}
    if name == "given":
        options["path"] = tmp_path / "shares.npz"
        save(options["path"], np.array_split(np.arange(SAMPLES - 5), AGENTS))
    assert failed(partitions.get(name)(**options)) == {}


@pytest.mark.parametrize("name", sorted(partitions._builtin))
def test_a_lone_value_sets_the_field_that_says_how_much(name):
    kind = partitions.get(name)
    assert is_dataclass(kind)
    assert next((item.name for item in fields(kind)), None) == FIRST[name]
    assert kind.name == name


@dataclass(frozen=True)
class Sound(Partition):
    """All samples in random order, dealt out."""

    name: ClassVar[str] = "sound"
    source: ClassVar[str] = "own"

    def divide(self, labels, agents, seed, groups=None):
        return dealt(self.chance(seed).permutation(samples(labels, groups, agents, self.name)), agents)


def test_a_sound_one_holds():
    assert failed(Sound()) == {}


class Loses(Sound):
    """Gives one sample to nobody."""

    def divide(self, labels, agents, seed, groups=None):
        first, *rest = super().divide(labels, agents, seed, groups)
        return [first[1:], *rest]


class Doubles(Sound):
    """Gives one sample to two."""

    def divide(self, labels, agents, seed, groups=None):
        first, second, *rest = super().divide(labels, agents, seed, groups)
        return [first, np.sort(np.append(second, first[0])), *rest]


class Starves(Sound):
    """Gives the last agent nothing."""

    def divide(self, labels, agents, seed, groups=None):
        shares = super().divide(labels, agents, seed, groups)
        return [*shares[:-2], np.sort(np.concatenate(shares[-2:])), np.zeros(0, np.int64)]


class Scrambles(Sound):
    """Gives indices in no order."""

    def divide(self, labels, agents, seed, groups=None):
        return [share[::-1] for share in super().divide(labels, agents, seed, groups)]


class Narrow(Sound):
    """Gives 32-bit indices."""

    def divide(self, labels, agents, seed, groups=None):
        return [share.astype(np.int32) for share in super().divide(labels, agents, seed, groups)]


class Rolls(Sound):
    """Draws from a stream of its own."""

    chances: ClassVar = stream("shared")

    def divide(self, labels, agents, seed, groups=None):
        return dealt(self.chances.permutation(samples(labels, groups, agents, self.name)), agents)


class Fixed(Sound):
    """Takes no notice of the seed."""

    def divide(self, labels, agents, seed, groups=None):
        return super().divide(labels, agents, 0, groups)


class Crashes(Sound):
    """Needs labels and does not say so in words."""

    by_label: ClassVar[bool] = True

    def divide(self, labels, agents, seed, groups=None):
        return super().divide(labels.astype(np.int64), agents, seed, groups)


class Tolerates(Sound):
    """Needs labels, and takes any."""

    by_label: ClassVar[bool] = True


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (Loses, "every sample has an owner"),
        (Doubles, "its shares are disjoint"),
        (Starves, "its shares are disjoint"),
        (Scrambles, "gives each agent ascending"),
        (Narrow, "gives each agent ascending"),
        (Rolls, "the same seed"),
        (Fixed, "another seed"),
        (Crashes, "refuses what cannot work"),
        (Tolerates, "refuses what cannot work"),
    ],
)
def test_what_is_broken_is_found(broken, check):
    found = failed(dataclass(frozen=True)(type(broken.__name__, (broken,), {"__doc__": broken.__doc__}))())
    assert any(name.startswith(check) for name in found), found


def test_labels_of_the_guide_are_checked():
    assert required(np.array([True, False]), 2, "mine").dtype == np.int64
