"""What holds in each round for all agents: a pure function of the roster, which every agent computes for itself."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edgekit.decentralized.algorithm import Declared
from edgekit.decentralized.keys import stream
from edgekit.decentralized.mixing import Mixing
from edgekit.decentralized.requirements import check_matrix
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.settings import Settings
from edgekit.decentralized.topology import Groups, Topology


class Round(NamedTuple):
    """What holds in one round for all: its number, W, the topology's groups, and who is there [n]."""

    number: int
    mixing: Mixing
    groups: Groups | None
    present: npt.NDArray[np.bool_]


class Rounds:
    """The rounds of an algorithm on a topology, for one roster."""

    def __init__(self, algorithm: Declared, topology: Topology, roster: Roster, settings: Settings) -> None:
        self.algorithm, self.topology, self.roster, self.settings = algorithm, topology, roster, settings
        self.period = topology.period(len(roster))
        self.keep_columns = algorithm.mixing == "column"
        self._mixings: dict[int, Mixing] = {}
        self._everyone = np.ones(len(roster), bool)

    def check(self, number: int) -> None:
        """Raise BadInput where W is not what the algorithm asks for."""
        check_matrix(self.algorithm, self.mixing(number), f"topology {self.topology.name}")

    def at(self, number: int) -> Round:
        """What holds in a round."""
        settings, roster = self.settings, self.roster
        present, mixing = self._everyone, self.mixing(number)
        if settings.absence.rate:
            present = settings.absence.present(roster.ids, number, settings.seed)
            mixing = mixing.without(
                lambda source, target: ~(present[source] & present[target]), keep_columns=self.keep_columns
            )
        if settings.absence.loss:
            mixing = mixing.without(
                lambda source, target: self._lost(number, source, target), keep_columns=self.keep_columns
            )
        return Round(number, mixing, self.topology.groups(roster, number, settings.seed), present)

    def mixing(self, number: int) -> Mixing:
        """W of a round when everyone is there."""
        place = number if self.period is None else number % self.period
        if self.period is None:
            self._mixings.clear()
        if place not in self._mixings:
            rule = self.settings.weights
            if rule is None and self.keep_columns:
                rule = "column-stochastic"
            self._mixings[place] = self.topology.mixing(self.roster, number, self.settings.seed, rule)
        return self._mixings[place]

    def _lost(
        self, number: int, source: npt.NDArray[np.int64], target: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        """A link that fails in a round fails both ways, so that both ends agree that they did not mix."""
        size = len(self.roster)
        drawn = stream(self.settings.seed, "loss", number).random(size * size)
        low, high = np.minimum(source, target), np.maximum(source, target)
        return np.asarray(drawn[low * size + high] < self.settings.absence.loss)
