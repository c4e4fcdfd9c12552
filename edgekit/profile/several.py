"""Several artefacts measured together: each by itself, then in turns, then their layers and their energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from edgekit.errors import BadInput
from edgekit.profile.clock import pinned
from edgekit.profile.energy_fields import Energies
from edgekit.profile.energy_run import EnergyPlan, Say
from edgekit.profile.energy_session import EnergySession, sensed, unsensed
from edgekit.profile.interleave import Ratio, interleave, ratio
from edgekit.profile.item import Item
from edgekit.profile.profile import Profile, profile
from edgekit.profile.sampler import Sensor


@dataclass
class Several:
    """What was measured of the items by name; Ctrl-C keeps what was finished, and `stopped` says when it came."""

    items: Sequence[Item]
    threads: int = 1
    seconds: float = 3.0
    profiles: dict[str, Profile] = field(default_factory=dict)
    ratios: dict[str, Ratio] = field(default_factory=dict)
    layers: dict[str, dict[str, Any]] = field(default_factory=dict)
    no_layers: dict[str, str] = field(default_factory=dict)
    energy: EnergySession | None = None
    stopped: str = ""

    def measure(self, *, layers: bool = False) -> None:
        """Latency, load time and memory of each; ratios of time over the first; time by layer where asked."""
        doing = ""
        try:
            for item in self.items:
                doing = f"the latency of {item.name}"
                self.profiles[item.name] = self._alone(item)
            if len(self.items) > 1:
                doing = "the files in turns"
                self.ratios = self._in_turns()
            for item in self.items if layers else ():
                doing = f"the layers of {item.name}"
                self._layers(item)
        except KeyboardInterrupt:
            if not self.profiles:
                raise
            self.stopped = f"stopped by Ctrl-C while measuring {doing}"
            missing = [item.name for item in self.items if layers and item.name not in self.layers]
            self.no_layers.update(dict.fromkeys(missing, self.stopped))

    def measure_energy(
        self, plan: EnergyPlan, sensor: Sensor | None, *, say: Say | None = None
    ) -> EnergySession | None:
        """Energy by a sensor, or without one windows for a bench meter; nothing where Ctrl-C came before."""
        if self.stopped:
            return None
        try:
            if sensor is None:
                self.energy = unsensed(self.items, plan, threads=self.threads, say=say)
            else:
                self.energy = sensed(self.items, plan, sensor, threads=self.threads, say=say)
        except BadInput as error:  # a file that fails after minutes loses nothing of what was measured
            reasons = dict.fromkeys([item.name for item in self.items], str(error))
            self.energy = EnergySession((), Energies(reasons=reasons))
        self.stopped = self.energy.stopped
        return self.energy

    def _alone(self, item: Item) -> Profile:
        return profile(
            item.path,
            item.feeds,
            target=item.target,
            threads=self.threads,
            seconds=self.seconds,
            operators=False,
        )

    def _in_turns(self) -> dict[str, Ratio]:
        with pinned(self.threads):
            runs = {item.name: item.call(self.threads) for item in self.items}
            timings = interleave(runs, seconds=self.seconds * len(runs))
        first = timings[self.items[0].name]
        return {name: ratio(first, timing) for name, timing in timings.items()}

    def _layers(self, item: Item) -> None:
        from edgekit.profile.layers import layer_report

        try:
            self.layers[item.name] = layer_report(
                item.path, item.feeds, target=item.target, threads=self.threads, seconds=self.seconds
            ).to_json()
        except BadInput as error:
            self.no_layers[item.name] = str(error)
