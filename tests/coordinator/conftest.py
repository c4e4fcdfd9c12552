"""The brokers that runs are tested on, one of each for all tests of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from edgekit.broker.embedded import Embedded
from edgekit.broker.mosquitto import Mosquitto, find_mosquitto
from edgekit.errors import BadInput


@pytest.fixture(scope="session")
def mosquitto(tmp_path_factory) -> Iterator[Mosquitto]:
    """A Mosquitto that lets everyone in."""
    try:
        find_mosquitto()
    except BadInput as error:
        pytest.skip(str(error))
    with Mosquitto(folder=tmp_path_factory.mktemp("mosquitto")) as broker:
        yield broker


@pytest.fixture(scope="session")
def embedded(tmp_path_factory) -> Iterator[Embedded]:
    """The broker in Python."""
    pytest.importorskip("amqtt")
    with Embedded(log=tmp_path_factory.mktemp("embedded") / "broker.log") as broker:
        yield broker


@pytest.fixture
def one_thread() -> None:
    """Every agent computes with one thread of its own."""
    torch.set_num_threads(1)
