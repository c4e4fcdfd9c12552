"""The brokers that the tests of the transport run on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edgekit.broker.embedded import Embedded
from edgekit.broker.mosquitto import Mosquitto, find_mosquitto
from edgekit.errors import BadInput


@pytest.fixture(scope="session")
def has_mosquitto() -> None:
    """Skips where Mosquitto is not installed."""
    try:
        find_mosquitto()
    except BadInput as error:
        pytest.skip(str(error))


@pytest.fixture
def mosquitto(has_mosquitto, tmp_path) -> Iterator[Mosquitto]:
    """A Mosquitto at a port of its own, that lets everyone in."""
    with Mosquitto(folder=tmp_path / "mosquitto") as broker:
        yield broker


@pytest.fixture
def embedded(tmp_path) -> Iterator[Embedded]:
    """The broker in Python, at a port of its own."""
    pytest.importorskip("amqtt")
    with Embedded(log=tmp_path / "broker.log") as broker:
        yield broker
