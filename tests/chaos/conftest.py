"""Scenes and commands of a test; what came of them is among its properties, for tests/benchmarks/chaos.py."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgekit.broker.mosquitto import PLACES, Mosquitto
from tests.chaos.command import Command
from tests.chaos.row import row
from tests.chaos.scene import Scene

Record = Callable[[str, object], None]


@pytest.fixture(autouse=True)
def _mosquitto() -> None:
    if shutil.which("mosquitto", path=os.pathsep.join([os.environ.get("PATH", ""), *PLACES])) is None:
        pytest.skip("Mosquitto is not installed")


@pytest.fixture
def stage(tmp_path: Path, record_property: Record) -> Iterator[Callable[..., Scene]]:
    """Makes scenes, each in a folder of its own."""
    scenes: list[Scene] = []

    def make(*settings: Any, **more: Any) -> Scene:
        scenes.append(Scene(tmp_path / f"{len(scenes)}", *settings, **more))
        return scenes[-1]

    yield make
    _record(scenes, record_property)


@pytest.fixture
def command(tmp_path: Path, record_property: Record) -> Iterator[Callable[[int], Command]]:
    """Makes the command that trains for so many rounds, over a broker of its own."""
    made: list[Command] = []
    with Mosquitto() as broker:

        def make(rounds: int) -> Command:
            made.append(Command(tmp_path / f"{len(made)}", broker.url, rounds))
            return made[-1]

        yield make
        for one in made:
            one.close()
    _record(made, record_property)


def _record(played: list[Any], record_property: Record) -> None:
    for one in played:
        if one.outcome is not None:
            record_property("chaos", json.dumps(row(one.acts, one.outcome)))
