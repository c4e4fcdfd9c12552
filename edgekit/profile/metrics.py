"""Metrics as named slots: what each is, and what a result says of it, or why it says nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from edgekit import registry
from edgekit.errors import BadInput, EdgekitError

Better = Literal["lower", "higher", "depends"]
Producer = Literal["compress", "profile", "simulate", "train", "split"]
PRODUCERS: tuple[Producer, ...] = get_args(Producer)


@dataclass(frozen=True)
class Slot:
    """A metric that a result can have: its name, its unit, what exactly it is, which way is better, who named it.

    read(producer, content) fills a slot of your own: content is what `producer` wrote (a report.json, a file's part of
    a profile, a cell of a run's summary.json), the answer a Reading, or None where that says nothing. What edgekit
    fills itself has no `read`.
    """

    name: str
    unit: str
    definition: str
    better: Better
    source: str
    read: Callable[[str, Mapping[str, Any]], Reading | None] | None = None

    def reading(
        self,
        value: float | None,
        *,
        method: str,
        source: str,
        reason: str,
        ci95: Iterable[float] | None = None,
        **other: Any,
    ) -> Reading:
        """The value with how and whence, or the reason where it is None; `other` are `unit` and `better`."""
        if value is None:
            return self.unknown(reason)
        ends = None if ci95 is None else tuple(float(end) for end in ci95)
        return Reading(self, float(value), method=method, source=source, ci95=ends, **other)  # type: ignore[arg-type]

    def unknown(self, reason: str) -> Reading:
        """That nothing is known of it, and why."""
        return Reading(self, None, reason=reason)


@dataclass(frozen=True)
class Reading:
    """What a result says of a slot: a value, how it was taken and from which field, or None and the reason.

    ci95: the ends of its 95 % interval; unit and better, where they differ from the slot's. BadInput for a value
    without a method, and for none without a reason.
    """

    slot: Slot
    value: float | None
    method: str | None = None
    source: str | None = None
    reason: str | None = None
    ci95: tuple[float, float] | None = None
    unit: str | None = None
    better: Better | None = None

    def __post_init__(self) -> None:
        name, known = self.slot.name, self.value is not None
        if known != bool(self.method and self.source) or known == bool(self.reason):
            raise BadInput(
                f"metrics: {name} needs a value with method and source, or no value with a reason."
            )

    def to_json(self) -> dict[str, Any]:
        """As a row of `metrics` in report.json, profile.json and summary.json."""
        return {
            "name": self.slot.name,
            "value": self.value,
            "unit": self.unit or self.slot.unit,
            "better": self.better or self.slot.better,
            "ci95": None if self.ci95 is None else list(self.ci95),
            "method": self.method,
            "reason": self.reason,
            "source": self.source,
        }


def slots() -> list[Slot]:
    """All that are registered: edgekit's own in their order, then others by name. BadInput for what is no slot."""
    own = list(registry.slots.builtin())
    return [slot_of(name) for name in [*own, *(name for name in registry.slots.names() if name not in own)]]


def slot_of(name: str) -> Slot:
    """A slot by its name; BadInput for one that is unknown, or is none."""
    found = registry.slots.get(name)
    if not isinstance(found, Slot):
        raise BadInput(
            f"metrics: '{name}' is of type {type(found).__name__}. Make it an edgekit.profile.metrics.Slot."
        )
    return found if found.name == name or ":" in name else replace(found, name=name)


def rows(
    producer: Producer, content: Mapping[str, Any], found: Iterable[Reading], *, absent: str
) -> list[dict[str, Any]]:
    """A row for every registered slot: as found, as the slot reads it itself, or null with the reason `absent`."""
    known = {reading.slot.name: reading for reading in found}
    names = dict.fromkeys([*registry.slots.builtin(), *known, *registry.slots.names()])
    return [(known.get(name) or _read(name, producer, content, absent)).to_json() for name in names]


def _read(name: str, producer: Producer, content: Mapping[str, Any], absent: str) -> Reading:
    """A slot that its producer does not fill; one that fails must not cost the run that it tells of."""
    try:
        slot = slot_of(name)
    except (EdgekitError, ImportError) as error:
        return Slot(name, "", "", "depends", "").unknown(f"it cannot be loaded: {error}")
    if slot.read is None:
        return slot.unknown(absent)
    try:
        return slot.read(producer, content) or slot.unknown(absent)
    except Exception as error:
        return slot.unknown(f"its read failed: {type(error).__name__}: {error}")
