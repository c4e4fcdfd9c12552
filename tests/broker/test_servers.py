"""Brokers that edgekit starts: ready when they say so, gone when they are told, within the limits that they have."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from edgekit.broker import embedded as embedded_module
from edgekit.broker import mosquitto as mosquitto_module
from edgekit.broker.embedded import Embedded
from edgekit.broker.mosquitto import Listener, Mosquitto
from edgekit.broker.server import ServerError, free_port
from edgekit.errors import BadInput, MissingDependency
from edgekit.wire.address import Address
from edgekit.wire.mqtt import MqttTransport
from edgekit.wire.transport import LinkError, Message
from tests.broker.mosquittos import needs_mosquitto
from tests.wire.relay import Relay

KINDS = [pytest.param(Mosquitto, marks=needs_mosquitto), Embedded]


def made(kind, folder: Path):
    return kind(folder=folder) if kind is Mosquitto else kind(log=folder / "broker.log")


def listens(url: str) -> bool:
    address = Address.parse(url)
    try:
        socket.create_connection((address.host, address.port), 1).close()
    except OSError:
        return False
    return True


def carries(url: str) -> bool:
    """Whether a frame passes."""
    transport = MqttTransport(Address.parse(url), "run", "cam-1")
    transport.open(b"lost")
    transport.send(b"frame", "cam-1")
    try:
        return transport.receive(5) == Message("frame", "cam-1", "", b"frame")
    finally:
        transport.close()


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_ready_when_it_is_started_and_gone_when_it_is_stopped(kind, tmp_path):
    broker = made(kind, tmp_path)
    assert not listens(broker.url)
    with broker:
        assert listens(broker.url)
        assert carries(broker.url)
    assert not listens(broker.url)
    broker.stop()
    assert broker.log.parent == tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_it_starts_again_at_the_same_place(kind, tmp_path):
    broker = made(kind, tmp_path)
    url = broker.url
    for end in (broker.kill, broker.stop, broker.kill):
        broker.start()
        assert broker.url == url
        assert carries(url)
        end()
        assert not listens(url)


@pytest.mark.parametrize("kind", KINDS)
def test_two_do_not_meet(kind, tmp_path):
    (tmp_path / "two").mkdir()
    with made(kind, tmp_path) as one, made(kind, tmp_path / "two") as two:
        assert one.url != two.url


@pytest.mark.parametrize("kind", KINDS)
def test_a_port_that_is_taken_is_named(kind, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        broker = Mosquitto(Listener(port=port), folder=tmp_path) if kind is Mosquitto else kind(port=port)
        with pytest.raises(ServerError, match=f"127.0.0.1:{port}: another program listens there"):
            broker.start()


def test_the_embedded_broker_ends_with_its_parent(tmp_path):
    script = f"""
import os, pathlib, time
from edgekit.broker.embedded import Embedded
broker = Embedded(log=pathlib.Path({str(tmp_path / "log")!r})).start()
print(broker.url, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    url = parent.stdout.readline().strip()
    (child,) = psutil.Process(parent.pid).children()
    assert listens(url)
    parent.kill()
    parent.wait()
    assert child.wait(5) is not None or not child.is_running()
    assert not listens(url)


def test_the_embedded_broker_lets_itself_be_missed(monkeypatch):
    monkeypatch.setattr(embedded_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"pip install 'edgekit\[broker\]'"):
        Embedded()


def test_mosquitto_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(mosquitto_module.shutil, "which", lambda *_, **__: None)
    with pytest.raises(BadInput, match=r"sudo apt install mosquitto.*--embedded"):
        Mosquitto()


@needs_mosquitto
def test_a_configuration_that_it_does_not_take_is_shown(tmp_path):
    with pytest.raises(ServerError, match=r"does not start.*no_such_word"):
        Mosquitto(folder=tmp_path, more=["no_such_word 1"]).start()


@needs_mosquitto
def test_each_listener_has_its_own_rules(tmp_path):
    (tmp_path / "acl").write_text("pattern readwrite ek/1/+/to/+/%u\npattern read ek/1/+/to/%u/#\n")
    named = Listener(users={"cam-1": "one", "cäm 2": "zwei:ä"}, acl=tmp_path / "acl")
    with Mosquitto(Listener(), named, folder=tmp_path) as broker, ExitStack() as stack:
        free, closed = (listener.url for listener in broker.listeners)
        assert broker.url == free
        assert carries(free)
        assert carries(closed.replace("//", "//cam-1:one@"))
        with pytest.raises(LinkError, match="no one in without a name"):
            MqttTransport(Address.parse(closed), "run", "cam-1").open(b"")
        other = MqttTransport(
            Address.parse(closed.replace("//", "//c%C3%A4m%202:zwei%3A%C3%A4@")), "run", "cam-1"
        )
        stack.callback(other.close)
        with pytest.raises(LinkError, match="access list"):  # its name is another than its id
            other.open(b"")
    assert (tmp_path / "users-1").stat().st_mode & 0o777 == 0o600


@needs_mosquitto
@pytest.mark.parametrize(
    ("more", "kept"), [((), 1500), (("max_queued_messages 1000", "max_inflight_messages 20"), 1100)]
)
def test_more_messages_wait_for_who_is_slow_than_mosquitto_keeps_by_itself(tmp_path, more, kept):
    with Mosquitto(folder=tmp_path, more=more) as broker, ExitStack() as stack:
        between = Relay(Address.parse(broker.url).port)
        stack.callback(between.close)
        one, two = (
            MqttTransport(Address.parse(url), "run", me)
            for url, me in ((broker.url, "a"), (between.url, "b"))
        )
        for agent in (one, two):
            stack.callback(agent.close)
            agent.open(b"lost")
        two.listen(["a"])
        between.downwards.clear()
        for number in range(1500):
            one.send(number.to_bytes(2, "little"))
        one.close()  # the broker has them all
        between.downwards.set()
        heard = list(iter(lambda: two.receive(0.5), None))
        numbers = [int.from_bytes(message.payload, "little") for message in heard]
        assert numbers == sorted(numbers)
        assert (len(numbers) == kept) if not more else (len(numbers) <= kept)


@pytest.mark.parametrize("kind", KINDS)
def test_who_waits_is_told_of_its_end(kind, tmp_path):
    broker = made(kind, tmp_path).start()
    os.kill(broker.pid, signal.SIGTERM)
    broker.wait()
    assert not listens(broker.url)
    broker.stop()
    with pytest.raises(ServerError, match="not running"):
        _ = broker.pid


def test_a_free_port_is_free():
    with socket.create_server(("127.0.0.1", free_port())):
        pass
