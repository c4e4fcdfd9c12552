"""Which kernels to measure next: those whose uncertainty costs the probes' predictions most."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np

from edgekit.predict.features import cost_of, features_of
from edgekit.predict.fit import rough
from edgekit.predict.kernel import Kernel, key_of
from edgekit.predict.table import Table, arrays

FEW: Final = 5  # samples of a family before anything is judged by it
LEAST: Final = 40  # kernels of a batch, or a tenth of what is measured


@dataclass(frozen=True)
class Candidate:
    """A kernel of a probe whose constants take `footprint` bytes."""

    kernel: Kernel
    key: str
    probe: int
    footprint: float


class Plan:
    """The kernels of all probes, and which of them have been handed out."""

    def __init__(self, probes: list[list[Kernel]], table: Table, *, seed: int) -> None:
        self._chance = random.Random(seed)
        self._table = table
        self._all = [
            Candidate(kernel, key_of(kernel), number, float(sum(item.weight_bytes for item in kernels)))
            for number, kernels in enumerate(probes)
            for kernel in kernels
        ]
        self._done = {key_of(sample.kernel) for sample in table.samples}

    def batch(self) -> list[Kernel]:
        """The next kernels; none where every one of the probes was measured.

        First a few of every family, then at random with weights (time x deviation / time of its probe)^2.
        """
        left = {item.key: item for item in self._all if item.key not in self._done}
        chosen = self._first(list(left.values())) or self._doubtful(list(left.values()))
        self._done |= {item.key for item in chosen}
        return [item.kernel for item in chosen]

    def _first(self, left: list[Candidate]) -> list[Candidate]:
        known = Counter({name: len(samples) for name, samples in self._table.families().items()})
        self._chance.shuffle(left)
        chosen = []
        for item in left:
            if known[item.kernel.family] < FEW:
                known[item.kernel.family] += 1
                chosen.append(item)
        return chosen

    def _doubtful(self, left: list[Candidate]) -> list[Candidate]:
        if not left:
            return []
        times, deviations = self._times()
        whole: Counter[int] = Counter()
        for item, time in zip(self._all, times, strict=True):
            whole[item.probe] += time
        doubt = {
            item.key: (time * deviation / whole[item.probe]) ** 2 + 1e-12
            for item, time, deviation in zip(self._all, times, deviations, strict=True)
        }
        weights = np.array([doubt[item.key] for item in left])
        count = min(len(left), max(LEAST, len(self._table.samples) // 10))
        picks = np.random.default_rng(self._chance.getrandbits(32)).choice(
            len(left), count, replace=False, p=weights / weights.sum()
        )
        return [left[pick] for pick in picks]

    def _times(self) -> tuple[np.ndarray, np.ndarray]:
        """The predicted time and the deviation of its logarithm, of every candidate."""
        times, deviations = np.zeros(len(self._all)), np.zeros(len(self._all))
        families = self._table.families()
        for family in {item.kernel.family for item in self._all} & set(families):
            fit = rough(*arrays(families[family]))
            for place, item in enumerate(self._all):
                if item.kernel.family == family:
                    features = features_of(item.kernel, item.footprint)
                    times[place], deviations[place] = fit.predict(features, cost_of(item.kernel))
        return times, deviations
