"""A line of the matrix: what was done to a run, what was said of it, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.chaos.outcome import Outcome


def row(acts: Sequence[tuple[float, str]], found: Outcome) -> dict[str, Any]:
    """As plain values; lost: rounds that each agent took no part in; peak: of an agent's resident memory."""
    return {
        "acts": [f"{seconds:.1f} s: {what}" for seconds, what in acts],
        "reasons": found.reasons,
        "rounds": found.total,
        "lost": {name: found.lost(name) for name in sorted(found.rounds)},
        "longest_wait": round(found.longest(), 2),
        "missed": found.count("missed"),
        "late": found.count("late"),
        "asked_again": found.count("asked"),
        "metric": round(found.metric, 4),
        "undisturbed": round(found.undisturbed, 4),
        "peak_megabytes": round(max(found.peaks.values()) / 1e6) if found.peaks else None,
        "seconds": round(found.seconds, 1),
    }
