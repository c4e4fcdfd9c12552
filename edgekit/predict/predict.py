"""The latency of a network: the sum of its kernels' times from a table, with an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from edgekit.predict.features import cost_of, features_of
from edgekit.predict.fit import Fit
from edgekit.predict.kernel import Kernel
from edgekit.predict.table import FLOOR, Network, Table

COVERAGE: Final = 90.0  # percent


@dataclass(frozen=True)
class KernelTime:
    """A kernel's predicted microseconds and the standard deviation of their logarithm; None where it is unknown."""

    node: str
    kernel: str
    microseconds: float | None
    deviation: float | None


@dataclass(frozen=True)
class Prediction:
    """Milliseconds of a run with the ends of a 90 % interval (None: unknown), and its kernels in order.

    Where `unknown` names kernels, `milliseconds` leaves them out and the interval has no upper end.
    """

    milliseconds: float
    low: float | None
    high: float | None
    kernels: tuple[KernelTime, ...]
    unknown: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


class Predictor:
    """Predicts from one table; fits are made when a family is first asked for."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._fits: dict[str, Fit | None] = {}
        scores = [abs(math.log(n.time / n.total)) / n.deviation for n in table.networks]
        self._reach = float(np.percentile(scores, COVERAGE)) if scores else None

    def predict(self, kernels: Sequence[tuple[str, Kernel]]) -> Prediction:
        """Sum of the kernels' times and the fixed cost of a run.

        The interval reaches as many of the sum's deviations as hold 90 % of the table's networks (split conformal
        prediction, Papadopoulos et al., 2002).
        """
        network, times = self.total(kernels)
        to_ms = 1e3 * self.table.unit
        value = network.total * to_ms
        reach = None if self._reach is None else math.exp(self._reach * network.deviation)
        unknown = tuple(sorted({item.kernel for item in times if item.microseconds is None}))
        return Prediction(
            milliseconds=value,
            low=None if reach is None else value / reach,
            high=None if reach is None or unknown else value * reach,
            kernels=tuple(times),
            unknown=unknown,
        )

    def total(
        self, kernels: Sequence[tuple[str, Kernel]], measured: float = math.nan
    ) -> tuple[Network, list[KernelTime]]:
        """The sum in reference units with its deviation, and each kernel; `measured` is its time, where it is known."""
        footprint = float(sum(kernel.weight_bytes for _, kernel in kernels))
        found = [(node, kernel, self._time(kernel, footprint)) for node, kernel in kernels]
        known = [seen for _, _, seen in found if seen is not None]
        total = self.table.idle + sum(value for value, _ in known)
        spread = math.sqrt(sum((value * deviation) ** 2 for value, deviation in known)) / total
        unit = 1e6 * self.table.unit
        times = [
            KernelTime(node, str(kernel), None if seen is None else seen[0] * unit, seen and seen[1])
            for node, kernel, seen in found
        ]
        return Network(total, FLOOR + spread, measured), times

    def _time(self, kernel: Kernel, footprint: float) -> tuple[float, float] | None:
        if kernel.family not in self._fits:
            self._fits[kernel.family] = self.table.fit_of(kernel.family)
        fit = self._fits[kernel.family]
        return None if fit is None else fit.predict(features_of(kernel, footprint), cost_of(kernel))
