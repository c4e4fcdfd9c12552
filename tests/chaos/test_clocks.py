"""Clocks that are an hour apart, and one that is set back while its agent is away, change nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgekit.coordinator.worker import Post

pytestmark = pytest.mark.timeout(150)
HOUR = 3600.0


@dataclass(frozen=True)
class Clocked(Post):
    """The post of an agent whose clock is off: by `hours` in turn, each time that its process starts."""

    hours: tuple[float, ...] = ()

    def access(self, run: str, me: str) -> Any:
        """With `time.time` and `time.time_ns` of this process set; nothing else tells an agent the time of day."""
        starts = Path(self.keys, f"{me}.starts")
        count = len(starts.read_text()) if starts.exists() else 0
        starts.write_text("x" * (count + 1))
        off = HOUR * self.hours[min(count, len(self.hours) - 1)]
        true, true_ns = time.time, time.time_ns
        time.time = lambda: true() + off
        time.time_ns = lambda: true_ns() + int(off * 1e9)
        return super().access(run, me)


def test_clocks_an_hour_apart_change_nothing(stage):
    def tamper(number, post):
        hours = {0: (0.0,), 1: (1.0, -1.0), 2: (-1.0,), 3: (0.5,)}[number]
        return Clocked(**vars(post), hours=hours)

    with stage({"rounds": 400}, tamper=tamper).playing() as scene:
        scene.until_round(50)
        victim = scene.names[1]  # comes back with its clock two hours behind
        scene.kill(victim)
        outcome = scene.finish()
    outcome.assert_held()
    outcome.assert_said(f"joined: {victim}")
    assert "is older than" not in outcome.words
    assert all(outcome.lost(name) == 0 for name in outcome.rounds if name != victim)
