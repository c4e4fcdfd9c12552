"""What a device takes in its training rounds: a power sensor read beside them, evaluations left out."""

from __future__ import annotations

import time

from edgekit.errors import BadInput, EdgekitError
from edgekit.profile.energy import window_energy
from edgekit.profile.sampler import Sampler, Sensor
from edgekit.profile.trace import Window


class RoundEnergy:
    """Joules over the rounds between `start` and `stop`, gross; of no sensor nothing is known.

    A stretch that is too short for its sensor, or whose readings fail, counts neither joules nor rounds.
    """

    def __init__(self, sensor: Sensor | None = None) -> None:
        self._sensor = sensor
        self._sampler: Sampler | None = None
        self._began, self._rounds = 0.0, 0
        self.joules, self.rounds = 0.0, 0

    @classmethod
    def of(cls, name: str | None) -> RoundEnergy:
        """With the sensor of that name, `auto` for the one that covers most; BadInput where it cannot be read."""
        if name is None:
            return cls()
        from edgekit.profile.sensors import find_sensor, why_none

        try:
            return cls(find_sensor(None if name == "auto" else name))
        except BadInput as error:
            raise BadInput(
                f"agent.yaml: sensor '{name}': {why_none(error).rstrip('.')}. Or leave sensor out."
            ) from error

    @property
    def a_round(self) -> float | None:
        """Joules of one round, mean over those that were measured."""
        return self.joules / self.rounds if self.rounds else None

    def start(self) -> None:
        """Read from here on."""
        if self._sensor is None or self._sampler is not None:
            return
        try:
            self._sampler, self._rounds = Sampler(self._sensor), 0
        except EdgekitError:  # the sensor went away: the training goes on without
            return
        self._sampler.start()
        self._began = time.monotonic()

    def round(self) -> None:
        """A round is over; the first one starts the reading where `start` did not."""
        if self._sampler is None:
            self.start()
        else:
            self._rounds += 1

    def stop(self) -> None:
        """Read no longer, and add up what was read."""
        if self._sampler is None or self._sensor is None:
            return
        sampler, self._sampler = self._sampler, None
        window = Window(self._began, time.monotonic())
        sampler.stop()
        try:
            found = window_energy(sampler.trace(), window, period=self._sensor.period).joules
        except BadInput:  # fewer than two readings
            return
        if found is not None and self._rounds:
            self.joules, self.rounds = self.joules + found, self.rounds + self._rounds

    def facts(self) -> dict[str, float]:
        """What a snapshot keeps of it."""
        return {"joules": self.joules, "joule_rounds": self.rounds}

    def restore(self, facts: dict[str, float]) -> None:
        """Go on from what a snapshot kept."""
        self.joules, self.rounds = float(facts.get("joules", 0.0)), int(facts.get("joule_rounds", 0))
