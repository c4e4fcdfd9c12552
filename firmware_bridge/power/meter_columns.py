"""What a meter's column holds, by its heading: 'Timestamp(ms)', 'current [uA]', 'power_mW', 'time' or 'uA'."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

PREFIXES: Final = {"": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
# kind -> its unit, and the words that name it
KINDS: Final = {
    "time": ("s", ("time", "timestamp", "t", "seconds", "elapsed")),
    "power": ("w", ("power", "p", "watts")),
    "voltage": ("v", ("voltage", "volt", "volts", "v", "bus voltage")),
    "current": ("a", ("current", "i", "amps", "amperes")),
    "energy": ("j", ("energy", "e", "joules")),
}
HEADING: Final = re.compile(r"([a-z ]+?) *(?:[(\[] *([a-z]+) *[)\]]|_([a-z]+))?")
FORM: Final = "Write a first line such as time (s),power (W)."


@dataclass(frozen=True)
class Column:
    """Where a quantity stands in a line, and its unit in SI units."""

    kind: str
    index: int
    unit: float


def columns_of(header: Sequence[str]) -> dict[str, Column]:
    """The first column of each kind, by kind; {} for words that name none."""
    found: dict[str, Column] = {}
    for index, word in enumerate(header):
        kind, unit = quantity(word)
        if kind and kind not in found:
            found[kind] = Column(kind, index, unit)
    return found


def quantity(word: str) -> tuple[str, float]:
    """The kind of a heading and its unit in SI units; ("", 0) for any other word.

    >>> quantity("current [uA]"), quantity("mW")
    (('current', 1e-06), ('power', 0.001))
    """
    lower = word.strip().lower().replace("µ", "u").replace("μ", "u")
    parts = HEADING.fullmatch(lower)
    if not parts:
        return "", 0.0
    said = parts[2] or parts[3] or ""
    for kind, (base, names) in KINDS.items():
        if parts[1] in names and (not said or said[-1] == base):
            return (kind, PREFIXES[said[:-1]]) if said[:-1] in PREFIXES else ("", 0.0)
    return unit_of(lower)


def unit_of(word: str) -> tuple[str, float]:
    """The kind that a bare unit such as 'mA' measures, and the unit in SI units; ("", 0) for any other word."""
    lower = word.strip().lower().replace("µ", "u").replace("μ", "u")
    for kind, (base, _) in KINDS.items():
        if lower.endswith(base) and lower[:-1] in PREFIXES:
            return kind, PREFIXES[lower[:-1]]
    return "", 0.0


def to_number(word: str) -> float:
    """A number, or the seconds since 1970 of a date and time; ValueError for anything else."""
    try:
        return float(word)
    except ValueError:
        return datetime.fromisoformat(word.strip().replace("Z", "+00:00")).timestamp()
