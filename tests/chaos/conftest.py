"""The scenes of a test; what came of them is among the test's properties, for tests/benchmarks/chaos.py."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgekit.broker.mosquitto import PLACES
from tests.chaos.scene import Scene

Stage = Callable[..., Scene]


@pytest.fixture(autouse=True)
def _mosquitto() -> None:
    if shutil.which("mosquitto", path=":".join((*PLACES, "/usr/bin", "/usr/local/bin"))) is None:
        pytest.skip("Mosquitto is not installed")


@pytest.fixture
def stage(tmp_path: Path, record_property: Callable[[str, object], None]) -> Iterator[Stage]:
    """Makes scenes, each in a folder of its own."""
    scenes: list[Scene] = []

    def made(*settings: Any, **more: Any) -> Scene:
        scenes.append(Scene(tmp_path / f"{len(scenes)}", *settings, **more))
        return scenes[-1]

    yield made
    for scene in scenes:
        if scene.outcome is not None:
            record_property("chaos", json.dumps(row(scene)))


def row(scene: Scene) -> dict[str, Any]:
    """A line of the matrix."""
    found = scene.outcome
    assert found is not None
    return {
        "acts": [f"{seconds:.1f} s: {what}" for seconds, what in scene.acts],
        "reasons": found.reasons,
        "rounds": found.total,
        "lost": {name: found.lost(name) for name in sorted(found.rounds)},
        "longest_wait": round(found.longest(), 2),
        "asked": found.count("asked"),
        "missed": found.count("missed"),
        "metric": found.metric,
        "undisturbed": found.undisturbed,
        "peak_megabytes": round(max(found.peaks.values(), default=0) / 1e6),
        "seconds": round(found.seconds, 1),
    }
