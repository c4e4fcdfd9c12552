"""Figures of an artefact on this machine, with a reason for everything that was not measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgekit.change import Cost
from edgekit.errors import BadInput
from edgekit.job import Job, as_feeds, split_batch
from edgekit.metric import Score
from edgekit.profile import measure as measure_latency
from edgekit.profile import profile
from edgekit.profile.energy_fields import Energies
from edgekit.profile.energy_run import EnergyPlan
from edgekit.profile.energy_session import sensed
from edgekit.profile.interleave import Ratio
from edgekit.profile.item import Item
from edgekit.profile.profile import NO_ENERGY, Profile
from edgekit.profile.sampler import Sensor
from edgekit.profile.sensors import find_sensor, why_none
from edgekit.report.report import Measured
from edgekit.target import Board, Target

HERE = "this-machine"


@dataclass(frozen=True)
class Bench:
    """Where artefacts of one job are measured: a board, its target, the threads that run them.

    energy: how energy is measured, None where it was not asked for.
    """

    job: Job
    board: Board
    target: Target
    threads: int = 1
    energy: EnergyPlan | None = None

    @property
    def here(self) -> bool:
        """Whether the board is the machine that measures: by its name, or because its target finds itself on it."""
        found = getattr(self.target, "is_here", None)
        return self.board.name == HERE or (found is not None and bool(found(self.board)))

    @property
    def low_bit(self) -> bool:
        """Whether each layer of this board may have bits of its own."""
        return self.target.caps(self.board).low_bit

    def figures(self, path: Path, cost: Cost, *, quick: bool = False) -> tuple[Measured, Score | None]:
        """The metric of the artefact in its runtime, its size and cost, its latency; memory unless `quick`."""
        reasons: dict[str, str] = {}
        score = self._score(path, reasons)
        found = self._profile(path, quick=quick, reasons=reasons)
        # a low-bit file holds floats, so that its weights count at their bits
        size = None if self.low_bit else path.stat().st_size
        return Measured.of(score=score, cost=cost, profile=found, bytes=size, reasons=reasons), score

    def sensor(self) -> Sensor:
        """The power sensor that sees artefacts run; BadInput with the reasons where there is none."""
        if not self.here:
            raise BadInput(self._away())
        plan = self.energy or EnergyPlan()
        try:
            return find_sensor(plan.sensor, plan.root)
        except BadInput as error:
            raise BadInput(why_none(error)) from error

    def energies(self, files: Mapping[str, Path]) -> Energies:
        """The energy of artefacts that take turns; reasons where it was not asked for, or nothing reads it."""
        if self.energy is None:
            return Energies(reasons=dict.fromkeys(files, NO_ENERGY if self.here else self._away()))
        try:
            sensor = self.sensor()
        except BadInput as error:
            return Energies(reasons=dict.fromkeys(files, str(error)))
        feeds = self.feeds()
        items = [Item(name, path, self.target.name, feeds) for name, path in files.items()]
        session = sensed(items, self.energy, sensor, threads=self.threads)
        if session.stopped:
            raise KeyboardInterrupt(session.stopped)
        return session.energies

    def energy_ratios(self, files: Mapping[str, Path]) -> dict[str, Ratio]:
        """Joules of the first artefact over those of each; BadInput where the sensor saw too little."""
        found = self.energies(files)
        first, *others = files
        if found.reasons or len(found.gains) < len(others):
            why = next(iter(found.reasons.values()), "windows were lost")
            raise BadInput(
                f"objective: energy: the files could not be compared ({why}). Run the same command again, or with "
                "--set objective=latency."
            )
        gains = {name: Ratio(gain["value"], *gain["ci95"]) for name, gain in found.gains.items()}
        return {first: Ratio(1.0, 1.0, 1.0), **gains}

    def feeds(self, samples: int = 1) -> dict[str, np.ndarray]:
        """Up to so many real samples by input name; a fixed random one where the job has no data."""
        for part in (self.job.data.validation, self.job.data.calibration, self.job.data.train):
            if part is not None:
                batch = as_feeds(split_batch(next(iter(part)), self.job.signature)[0], self.job.signature)
                return {name: np.ascontiguousarray(value[:samples]) for name, value in batch.items()}
        chance = np.random.default_rng(0)
        return {
            spec.name: chance.standard_normal(spec.concrete()).astype(spec.dtype)
            for spec in self.job.signature.inputs
        }

    def _score(self, path: Path, reasons: dict[str, str]) -> Score | None:
        runner = self.target.runner(path, threads=2)

        def predict(feeds: Mapping[str, np.ndarray]) -> np.ndarray:
            return next(iter(runner.run(feeds).values()))

        score = self.job.evaluate(predict, of=getattr(runner, "of", "artefact"))
        if score is None:
            reasons["metric"] = (
                "no metric was given"
                if self.job.metric is None
                else "the data has no labelled validation part"
            )
        return score

    def _away(self) -> str:
        return f"{self.board.name} is not the machine that ran this; {self._on_board()}"

    def _on_board(self) -> str:
        return getattr(self.target, "on_board", "run edgekit profile on it")

    def _profile(self, path: Path, *, quick: bool, reasons: dict[str, str]) -> Profile | None:
        if not self.here:
            figures = ("latency_ms", "throughput", "peak_memory_bytes", "energy")
            reasons.update(dict.fromkeys(figures, self._away()))
            return None
        if not quick:
            return profile(
                path,
                self.feeds(),
                target=self.target.name,
                threads=self.threads,
                guard=False,
                operators=False,
            )
        latency = measure_latency(
            self.target.runner(path, threads=self.threads), self.feeds(), seconds=0.3, threads=self.threads
        )
        return Profile(
            latency=latency,
            throughput=latency.throughput,
            not_measured={"energy": NO_ENERGY, "peak_memory_bytes": "measured of the final artefact only"},
        )


def with_energy(measured: Measured, energies: Energies, name: str) -> Measured:
    """The figures with the energy that was measured of `name`, or with the reason why there is none."""
    found = energies.fields.get(name)
    reasons = {field: why for field, why in measured.not_measured.items() if field != "energy"}
    if found is None:
        reasons["energy"] = energies.reasons[name]
    return replace(measured, energy=found, not_measured=reasons)
