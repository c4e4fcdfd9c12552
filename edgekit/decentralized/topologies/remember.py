"""Results of pure functions of (topology, roster, seed), kept: engines ask for the groups of every round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, wraps
from typing import Any, TypeVar

from edgekit.decentralized.roster import Floats, Roster

T = TypeVar("T")
V = TypeVar("V")
KEPT = 16


@dataclass(frozen=True)
class _Seen:
    """A roster that is compared by all its facts; rosters themselves compare by their ids."""

    roster: Roster = field(compare=False)
    ids: tuple[int, ...]
    facts: tuple[bytes, ...]

    @classmethod
    def of(cls, roster: Roster) -> _Seen:
        facts = (roster.histograms, roster.proxies, roster.speeds)
        return cls(roster, roster.ids, tuple(map(_bytes, facts)))


def remember(make: Callable[[T, Roster, int], V]) -> Callable[[T, Roster, int], V]:
    """Keep the last results of a pure function of (topology, roster, seed)."""

    @lru_cache(maxsize=KEPT)
    def kept(topology: Any, seen: _Seen, seed: int) -> V:
        return make(topology, seen.roster, seed)

    @wraps(make)
    def remembered(topology: T, roster: Roster, seed: int) -> V:
        return kept(topology, _Seen.of(roster), seed)

    return remembered


def _bytes(facts: Floats | None) -> bytes:
    return b"" if facts is None else repr((facts.dtype, facts.shape)).encode() + facts.tobytes()
