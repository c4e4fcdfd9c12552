"""The transport over MQTT: the kit on two brokers, links that break in every way, and errors that say what to do."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from edgekit.broker.authority import Authority
from edgekit.broker.mosquitto import Listener, Mosquitto, Tls
from edgekit.broker.server import free_port
from edgekit.errors import BadInput
from edgekit.testing.transport import check_transport
from edgekit.wire import opening
from edgekit.wire.address import Address
from edgekit.wire.credentials import Credentials
from edgekit.wire.mqtt import MqttTransport
from edgekit.wire.transport import STATE, WATCHERS, LinkError, Message
from tests.wire.relay import Relay

WILL = b"lost"
UP, DOWN = Message("link", name="up"), Message("link", name="down")


@pytest.fixture
def stack():
    """Closes what a test opens."""
    with ExitStack() as opened:
        yield opened


def agent(stack: ExitStack, url: str, me: str, **options) -> MqttTransport:
    """An open one."""
    made = MqttTransport(Address.parse(url), "run", me, **options)
    stack.callback(made.close)
    made.open(WILL)
    return made


def relay(stack: ExitStack, broker, **options) -> Relay:
    made = Relay(Address.parse(broker.url).port, **options)
    stack.callback(made.close)
    return made


def until(receiver: MqttTransport, wanted: Message, seconds: float = 5.0) -> list[Message]:
    """All up to a message."""
    heard, end = [], time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        message = receiver.receive(left)
        if message is not None:
            heard.append(message)
        if message == wanted:
            return heard
    raise AssertionError(f"{wanted} did not come, but {heard}; trouble: {receiver.trouble}")


def frame(sender: str, payload: bytes) -> Message:
    return Message("frame", sender, "", payload)


def one_line(text: str) -> bool:
    return "\n" not in text and len(text) < 400


def passes_the_kit(stack: ExitStack, broker) -> None:
    relays: dict[str, Relay] = {}

    def make(me: str) -> MqttTransport:
        relays[me] = relay(stack, broker)
        return MqttTransport(Address.parse(relays[me].url), "kit", me)

    def restart() -> None:
        broker.kill()
        broker.start()

    rows = check_transport(make, cut=lambda me: relays[me].cut(), restart=restart, patience=10)
    assert {row.check: row.detail for row in rows if not row.ok} == {}
    assert [row.detail for row in rows if "skipped" in row.detail] == []


def test_it_passes_the_kit_on_mosquitto(mosquitto, stack):
    passes_the_kit(stack, mosquitto)


def test_it_passes_the_kit_on_the_embedded_broker(embedded, stack):
    passes_the_kit(stack, embedded)


# what the broker is, and what it carries


def test_it_says_what_the_broker_is(mosquitto, embedded, stack):
    for broker, version in ((mosquitto, "MQTT 5"), (embedded, "MQTT 3.1.1")):
        transport = MqttTransport(Address.parse(broker.url), "run", "cam-1")
        stack.callback(transport.close)
        info = transport.open(WILL)
        assert info.broker.endswith(version)
        assert info.broker.lower().startswith(("mosquitto 2", "amqtt 0"))
        assert info.largest == 256 << 10


def test_a_smaller_limit_of_the_broker_is_kept(has_mosquitto, tmp_path, stack):
    with Mosquitto(folder=tmp_path, largest=10_000) as broker:
        one, two = agent(stack, broker.url, "cam-1"), agent(stack, broker.url, "cam-2")
        largest = MqttTransport(Address.parse(broker.url), "run", "cam-3").open(WILL).largest
        assert 9_000 < largest < 10_000
        one.send(bytes(largest), "cam-2")
        assert until(two, frame("cam-1", bytes(largest)))
        with pytest.raises(ValueError, match="do not fit"):
            one.send(bytes(largest + 1))


def test_a_limit_that_the_broker_does_not_name_is_found(has_mosquitto, tmp_path):
    with (
        Mosquitto(folder=tmp_path, more=["message_size_limit 100000"]) as broker,
        pytest.raises(LinkError, match=r"no message of 262,144 bytes.*message_size_limit") as caught,
    ):
        MqttTransport(Address.parse(broker.url), "run", "cam-1").open(WILL)
    assert one_line(str(caught.value))


def test_a_broker_that_is_silent_to_mqtt_5_is_spoken_to_in_the_older(mosquitto, stack, monkeypatch):
    monkeypatch.setattr(opening, "BRIEF", 0.2)
    old = relay(stack, mosquitto, admits=lambda begin: b"MQTT\x04" in begin)
    transport = MqttTransport(Address.parse(old.url), "run", "cam-1")
    stack.callback(transport.close)
    assert transport.open(WILL).broker.endswith("MQTT 3.1.1")


# links that break


def test_after_the_broker_was_killed_all_is_as_before(mosquitto, stack):
    one, two = agent(stack, mosquitto.url, "cam-1"), agent(stack, mosquitto.url, "cam-2")
    two.listen(["cam-1"], lines=True)
    one.publish(STATE, b"here")
    until(two, Message("document", "cam-1", STATE, b"here"))
    mosquitto.kill()
    until(one, DOWN)
    until(two, DOWN)
    assert one.send(b"lost") is False
    assert "127.0.0.1" in one.trouble
    time.sleep(1)
    mosquitto.start()
    until(one, UP, 15)
    until(two, UP, 15)
    until(two, Message("document", "cam-1", STATE, b"here"))
    assert one.trouble == ""
    one.send(b"again")
    until(two, frame("cam-1", b"again"))
    one.send(b"line", WATCHERS)
    until(two, Message("line", "cam-1", "", b"line"))


def test_documents_of_a_time_without_a_link_are_sent_later(mosquitto, stack):
    one, two = agent(stack, mosquitto.url, "cam-1"), agent(stack, mosquitto.url, "cam-2")
    one.publish("plan", b"1")
    until(two, Message("document", "cam-1", "plan", b"1"))
    mosquitto.kill()
    until(one, DOWN)
    one.publish("plan", b"2")
    one.publish("gone", None)
    two.listen(["cam-1"])  # also this is remembered
    mosquitto.start()
    until(two, UP, 15)
    until(two, Message("document", "cam-1", "plan", b"2"))
    one.send(b"heard")
    until(two, frame("cam-1", b"heard"))


def test_a_link_without_a_sign_of_life_is_given_up(mosquitto, stack):
    between = relay(stack, mosquitto)
    one = agent(stack, between.url, "cam-1", keepalive=1)
    between.stall()
    begin = time.monotonic()
    until(one, DOWN, 10)
    assert 1 < time.monotonic() - begin < 6
    between.cut()
    until(one, UP, 10)


def test_who_sends_waits_while_the_window_is_full(mosquitto, stack):
    between = relay(stack, mosquitto)
    one = agent(stack, between.url, "cam-1", window=1 << 20)
    between.stall()
    sent: list[bool] = []
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(lambda: [sent.append(one.send(bytes(1 << 18))) for _ in range(64)])
        time.sleep(0.5)
        assert len(sent) == 4  # 4 of 256 KiB fill a window of 1 MiB
        between.upwards.set()
        between.downwards.set()
        sending.result(20)
    assert sent == [True] * 64


def test_who_waits_for_the_window_is_told_of_a_loss(mosquitto, stack):
    between = relay(stack, mosquitto)
    one = agent(stack, between.url, "cam-1", window=1 << 18)
    between.stall()
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(lambda: [one.send(bytes(1 << 18)) for _ in range(2)])
        time.sleep(0.3)
        assert not sending.done()
        between.cut()
        assert sending.result(5) == [True, False]


def test_what_was_under_way_at_a_loss_is_not_sent_again(mosquitto, stack):
    between = relay(stack, mosquitto)
    one, two = agent(stack, between.url, "cam-1"), agent(stack, mosquitto.url, "cam-2")
    between.downwards.clear()  # the broker's acknowledgements do not arrive
    one.send(b"once", "cam-2")
    until(two, frame("cam-1", b"once"))
    between.cut()
    until(one, UP)
    one.send(b"end", "cam-2")
    assert frame("cam-1", b"once") not in until(two, frame("cam-1", b"end"))


def test_frames_that_come_twice_and_what_is_none(mosquitto, stack):
    one = agent(stack, mosquitto.url, "cam-1")
    one.listen(["cam-2"])
    other = Client(CallbackAPIVersion.VERSION2, "other")
    address = Address.parse(mosquitto.url)
    other.connect(address.host, address.port)
    other.loop_start()
    stack.callback(other.loop_stop)
    for topic, payload, retain in (
        ("ek/1/run/p/no id!/doc/x", b"1", False),
        ("ek/1/run/p/cam-2/out", b"old", True),
        ("ek/1/run/p/cam-2/out", b"twice", False),
        ("ek/1/run/p/cam-2/out", b"twice", False),
    ):
        other.publish(topic, payload, 1, retain)
    heard = until(one, frame("cam-2", b"twice")) + until(one, frame("cam-2", b"twice"))
    assert [message.payload for message in heard] == [b"old", b"twice", b"twice"]
    two = agent(stack, mosquitto.url, "cam-3")
    two.listen(["cam-2"])
    assert two.receive(0.3) is None  # a retained frame is of another time


def test_it_ends_within_seconds_and_sends_what_waits(mosquitto, stack):
    one, two = agent(stack, mosquitto.url, "cam-1"), agent(stack, mosquitto.url, "cam-2")
    threads = threading.active_count()
    for number in range(20):
        one.send(bytes([number]), "cam-2")
    one.publish(STATE, b"leaving")
    begin = time.monotonic()
    one.close()
    assert time.monotonic() - begin < 1
    assert threading.active_count() == threads - 1
    heard = until(two, Message("document", "cam-1", STATE, b"leaving"))
    assert [message.payload[0] for message in heard if message.what == "frame"] == list(range(20))
    assert one.send(b"after") is False


def test_it_can_be_closed_without_a_broker(mosquitto, stack):
    one = agent(stack, mosquitto.url, "cam-1")
    mosquitto.kill()
    until(one, DOWN)
    begin = time.monotonic()
    one.close()
    assert time.monotonic() - begin < 4


def test_an_open_that_failed_may_be_repeated(has_mosquitto, tmp_path, stack):
    broker = Mosquitto(folder=tmp_path)
    one = MqttTransport(Address.parse(broker.url), "run", "cam-1")
    stack.callback(one.close)
    with pytest.raises(LinkError, match="nothing listens"):
        one.open(WILL)
    with broker:
        assert one.open(WILL).broker.startswith("mosquitto")
        assert one.send(b"1", "cam-1")
        until(one, frame("cam-1", b"1"))


# TLS and websockets


@pytest.fixture
def site(tmp_path):
    """Files of an authority, and of a broker and an agent that it signed; paths by name."""
    authority = Authority.make()
    parts = {"broker": authority.broker(["localhost", "127.0.0.1"]), "agent": authority.agent("cam-1")}
    parts["other"] = authority.broker(["elsewhere"])
    paths = {"ca": tmp_path / "ca.pem"}
    paths["ca"].write_bytes(_pem(authority))
    for name, (certificate, key) in parts.items():
        for what, content in (("certificate", certificate), ("key", key)):
            paths[f"{name}-{what}"] = tmp_path / f"{name}-{what}.pem"
            paths[f"{name}-{what}"].write_bytes(content)
            paths[f"{name}-{what}"].chmod(0o600)
    return paths


def _pem(authority: Authority) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return authority.certificate.public_bytes(Encoding.PEM)


def tls_listener(site, name: str = "broker", **options) -> Listener:
    return Listener(tls=Tls(site[f"{name}-certificate"], site[f"{name}-key"], **options))


def test_it_speaks_tls_with_certificates_on_both_sides(has_mosquitto, site, tmp_path, stack):
    with Mosquitto(tls_listener(site, ca=site["ca"]), folder=tmp_path / "m") as broker:
        tls = Credentials(site["ca"], site["agent-certificate"], site["agent-key"]).tls()
        one = agent(stack, broker.url, "cam-1", tls=tls)
        big = bytes(range(256)) * 1024
        for _ in range(40):
            assert one.send(big, "cam-1")
        for _ in range(40):
            assert until(one, frame("cam-1", big))
        with pytest.raises(LinkError, match=r"refuses this device's certificate.*join") as caught:
            MqttTransport(Address.parse(broker.url), "run", "cam-2", tls=Credentials(site["ca"]).tls()).open(
                WILL
            )
        assert one_line(str(caught.value))


@pytest.mark.parametrize("secure", [False, True])
def test_it_speaks_through_websockets(has_mosquitto, site, tmp_path, stack, secure):
    tls = Tls(site["broker-certificate"], site["broker-key"]) if secure else None
    with Mosquitto(Listener(), Listener(websockets=True, tls=tls), folder=tmp_path / "m") as broker:
        one = agent(stack, broker.listeners[1].url, "cam-1", tls=Credentials(site["ca"]).tls(), largest=6000)
        for size in (0, 1000, 6000):  # Debian's Mosquitto sends 4 KiB every 100 ms through websockets
            one.send(bytes(size), "cam-1")
            until(one, frame("cam-1", bytes(size)))


def refused(url: str, **options) -> str:
    """Why there is no link, in one line."""
    with pytest.raises(LinkError) as caught:
        MqttTransport(Address.parse(url), "run", "cam-1", **options).open(WILL)
    assert one_line(str(caught.value))
    return str(caught.value)


def test_certificates_that_are_not_trusted(has_mosquitto, site, tmp_path):
    with Mosquitto(tls_listener(site), tls_listener(site, "other"), folder=tmp_path / "m") as broker:
        right, wrong = (listener.url for listener in broker.listeners)
        assert "no one that is trusted here signed" in refused(right)
        tls = Credentials(site["ca"]).tls()
        assert "for another host" in refused(wrong, tls=tls)
        MqttTransport(Address.parse(right), "run", "cam-1", tls=tls).open(WILL)


def test_tls_to_a_plain_port_and_the_reverse(has_mosquitto, site, tmp_path):
    with Mosquitto(Listener(), tls_listener(site), folder=tmp_path / "m") as broker:
        plain, secure = (listener.url for listener in broker.listeners)
        said = refused(plain.replace("mqtt:", "mqtts:"), tls=Credentials(site["ca"]).tls())
        assert "no TLS is spoken here" in said
        assert "mqtt://" in said
        assert "this port speaks TLS. Write mqtts://" in refused(secure.replace("mqtts:", "mqtt:"))


# no link


def test_no_one_listens():
    assert "nothing listens there" in refused(f"mqtt://127.0.0.1:{free_port()}")


def test_an_unknown_host():
    assert "no address is known for 'broker.invalid'" in refused("mqtt://broker.invalid", insecure=True)


def test_a_server_that_says_nothing(monkeypatch):
    monkeypatch.setattr(opening, "BRIEF", 0.2)
    monkeypatch.setattr(opening, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert "no answer" in refused(f"mqtt://127.0.0.1:{server.getsockname()[1]}")


def test_a_server_of_something_else(stack):
    server = socket.create_server(("127.0.0.1", 0))
    stack.callback(server.close)

    def answer() -> None:
        for _ in range(3):
            connection, _ = server.accept()
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.close()

    threading.Thread(target=answer, daemon=True).start()
    assert "Is it an MQTT broker" in refused(f"mqtt://127.0.0.1:{server.getsockname()[1]}")


def test_passwords(has_mosquitto, tmp_path):
    with Mosquitto(Listener(users={"cam-1": "right"}), folder=tmp_path) as broker:
        named = broker.url.replace("mqtt://", "mqtt://cam-1:{}@")
        MqttTransport(Address.parse(named.format("right")), "run", "cam-1").open(WILL)
        assert "the password is wrong" in refused(named.format("wrong"))
        assert "no one in without a name" in refused(broker.url)
        assert "a password is asked for" in refused(named.replace(":{}", ""))


def limited(tmp_path, rights: str) -> Listener:
    """A listener with an access list."""
    (tmp_path / "acl").write_text(rights)
    return Listener(acl=tmp_path / "acl")


def test_an_agent_that_may_not_send(has_mosquitto, tmp_path):
    with Mosquitto(limited(tmp_path, "topic read ek/#\n"), folder=tmp_path) as broker:
        assert "refuses a message to ek/1/run/to/cam-1/cam-1: Not authorized" in refused(broker.url)


def test_an_agent_that_may_not_hear(has_mosquitto, tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "PATIENCE", 0.5)
    with Mosquitto(limited(tmp_path, "topic write ek/#\n"), folder=tmp_path) as broker:
        assert "does not let 'cam-1' send and hear ek/1/run/to/cam-1/cam-1" in refused(broker.url)


def test_a_message_that_is_not_taken_is_reported_once(has_mosquitto, tmp_path, stack):
    rights = "topic readwrite ek/1/+/to/#\ntopic read ek/#\n"
    with Mosquitto(limited(tmp_path, rights), folder=tmp_path) as broker:
        one = agent(stack, broker.url, "cam-1")
        assert one.send(b"to all")
        time.sleep(0.3)
        with pytest.raises(LinkError, match=r"ek/1/run/p/cam-1/out: Not authorized.*access list"):
            one.send(b"to all")
        assert one.send(b"to one", "cam-1")


def test_topics_that_are_denied_are_named(embedded, stack, monkeypatch):
    one = agent(stack, embedded.url, "cam-1")
    link_subscribe = one._loop._ask  # amqtt grants all: its refusal is made up

    def deny(link):
        link_subscribe(link)
        link.denied = frozenset({"ek/1/run/p/cam-2/out"})

    monkeypatch.setattr(one._loop, "_ask", deny)
    with pytest.raises(LinkError, match="does not let 'cam-1' hear ek/1/run/p/cam-2/out"):
        one.listen(["cam-2"])


def test_models_do_not_leave_this_machine_in_the_clear():
    with pytest.raises(BadInput, match="not encrypted"):
        MqttTransport(Address.parse("mqtt://10.0.0.5"), "run", "cam-1")
    MqttTransport(Address.parse("mqtt://10.0.0.5"), "run", "cam-1", insecure=True)
