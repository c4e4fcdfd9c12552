"""The process of the hub: a broker, and the relay through which all reach it."""

from __future__ import annotations

import time
from multiprocessing.connection import Connection

import psutil

from edgekit.broker.mosquitto import Mosquitto
from tests.benchmarks.links.namespaces import enter
from tests.wire.slow_relay import SlowRelay


def hub(
    namespace: str, hosts: list[str], delay: float, more: tuple[str, ...], seed: int, orders: Connection
) -> None:
    """Serve until told to end, `more` in mosquitto.conf; first of all the relay's port comes out of `orders`."""
    enter(namespace)
    with Mosquitto(more=more) as broker:
        listener = broker.listeners[0]
        relay = SlowRelay((listener.host, listener.port), hosts, delay=delay, seed=seed)
        orders.send(relay.port)
        while (order := orders.recv())[0] != "end":
            what, *values = order
            if what == "jitter":
                relay.jitter = values[0]
            elif what == "stall":
                relay.stall(*values)
            elif what == "reset":
                relay.reset(*values)
            elif what == "spent":
                orders.send(_spent(relay, broker.pid))
        relay.close()


def _spent(relay: SlowRelay, broker: int) -> dict[str, float]:
    """Bytes that the relay passed, and CPU seconds so far."""
    times = psutil.Process(broker).cpu_times()
    return {"bytes": relay.passed, "relay": time.process_time(), "broker": times.user + times.system}
