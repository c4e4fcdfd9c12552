"""On a real Mosquitto: who is let in, what each may do, and which documents are believed."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, replace

import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from edgekit.broker.certificates import Site, make_site
from edgekit.broker.mosquitto import Listener, Mosquitto, Tls
from edgekit.broker.probe import DENIED, REFUSED, NoAnswer, Probe
from edgekit.wire.address import Address
from edgekit.wire.credentials import Credentials
from edgekit.wire.document import LARGEST, WILL, BadDocument, Trust, seal
from edgekit.wire.identity import Identity
from edgekit.wire.mqtt import MqttTransport
from tests.broker.mosquittos import mosquitto, needs_mosquitto, secured

pytestmark = needs_mosquitto
RUN = "ek/1/demo"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    make_site(folder, ["cam-1", "cam-2", "cam-3"], hosts=["localhost"])
    return Site(folder)


@pytest.fixture(scope="module", params=["by hand", "by edgekit"])
def address(request, site, tmp_path_factory):
    """A broker of the site, configured as the guide says, and as `edgekit broker start` does."""
    folder = tmp_path_factory.mktemp("broker")
    if request.param == "by hand":
        with mosquitto(folder, secured(site), scheme="mqtts") as running:
            yield running.address
    else:
        listener = Listener("127.0.0.1", tls=Tls.of_site(site.broker), acl=site.broker / "acl")
        with Mosquitto(listener, folder=folder) as broker:
            yield replace(Address.parse(broker.url), host="localhost")


@dataclass(frozen=True)
class Blind(Credentials):
    """Credentials of someone who does not care who the broker is."""

    def tls(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key)
        return context


def of(site: Site, id: str) -> Credentials:
    return Credentials.read(site.agent(id))


def heard(probe: Probe) -> list[str]:
    """The topics of what came until now, and a little later."""
    probe.hears("nothing", patience=0.15)
    return [message.topic for message in probe.heard]


def test_without_a_certificate_of_the_site_no_one_is_let_in(site, address, tmp_path):
    make_site(tmp_path, ["cam-1"], hosts=["localhost"])
    other, broker = of(Site(tmp_path), "cam-1"), site.broker
    for credentials in (
        Blind(),
        Blind(certificate=other.certificate, key=other.key),
        Blind(certificate=broker / "certificate.pem", key=broker / "key.pem"),
        Blind(user="cam-1", password="hunter2"),
    ):
        with pytest.raises(NoAnswer):
            Probe(address, credentials).open()
    with pytest.raises(NoAnswer):
        Probe(replace(address, scheme="mqtt"), Credentials()).open()
    assert Probe(address, of(site, "cam-1")).open().reason == 0


@pytest.mark.parametrize(
    "topic",
    [
        f"{RUN}/p/cam-1/out",
        f"{RUN}/p/cam-1/line",
        f"{RUN}/p/cam-1/doc/state",
        f"{RUN}/to/cam-3/cam-1",
        f"{RUN}/to/cam-2/cam-1",
        f"{RUN}/p/cam-22/out",
        f"{RUN}/p/cam/out",
        "ek/1/p/cam-2/out",
        "ek/2/demo/p/cam-2/out",
        "$SYS/broker/version",
        "anything",
    ],
)
def test_an_agent_writes_in_its_own_name_only(site, address, topic):
    with Probe(address, of(site, "cam-1")) as victim, Probe(address, of(site, "cam-2")) as agent:
        victim.subscribe(f"{RUN}/p/#", f"{RUN}/to/cam-1/#")
        assert agent.publish(topic, b"forged", retain=True) == DENIED
        assert heard(victim) == []
    with Probe(address, of(site, "cam-3")) as later:
        later.subscribe(f"{RUN}/p/#", f"{RUN}/to/cam-3/#")
        assert heard(later) == []


def test_an_agent_may_do_what_it_needs(site, address):
    with Probe(address, of(site, "cam-1")) as one, Probe(address, of(site, "cam-2")) as two:
        one.subscribe(f"{RUN}/p/#", f"{RUN}/to/cam-1/+")
        sent = [f"{RUN}/p/cam-2/{name}" for name in ("out", "line", "doc/state")] + [f"{RUN}/to/cam-1/cam-2"]
        assert max(two.publish(topic, b"mine") for topic in sent) < REFUSED
        one.wait_for(4)
        assert heard(one) == sent


WISHES = ["#", "ek/#", f"{RUN}/to/#", f"{RUN}/to/cam-1/#", f"{RUN}/to/cam-1/cam-3", "+/+/+/to/+/+"]


@pytest.mark.parametrize("wish", WISHES)
def test_an_agent_reads_what_is_for_it_only(site, address, wish):
    with Probe(address, of(site, "cam-2")) as agent, Probe(address, of(site, "cam-3")) as sender:
        agent.subscribe(wish, f"{RUN}/p/cam-3/line")
        sender.publish(f"{RUN}/to/cam-1/cam-3", b"for cam-1")
        sender.publish(f"{RUN}/p/cam-3/line", b"for all")
        assert set(heard(agent)) == {f"{RUN}/p/cam-3/line"}


def test_a_user_name_beside_the_certificate_changes_nothing(site, address):
    for id, reason in (("cam-2", {0, 16}), ("cam-1", {DENIED})):  # 16: no one listens
        with Probe(replace(address, user="cam-1", password="x"), of(site, "cam-2")) as agent:
            assert agent.publish(f"{RUN}/p/{id}/out", b"here") in reason


def test_a_will_in_another_s_name_is_not_published(site, address):
    with Probe(address, of(site, "cam-1")) as victim:
        victim.subscribe(f"{RUN}/p/#")
        for id in ("cam-1", "cam-2"):
            _die(address, of(site, "cam-2"), f"{RUN}/p/{id}/doc/state")
        victim.wait_for(1)
        assert heard(victim) == [f"{RUN}/p/cam-2/doc/state"]


def _die(address: Address, credentials: Credentials, topic: str) -> None:
    """Connect with a will, and vanish."""
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.tls_set_context(credentials.tls())
    client.will_set(topic, b"lost", qos=1)
    client.connect(address.host, address.port)
    for _ in range(100):
        client.loop(0.05)
        if client.is_connected():
            break
    assert client.is_connected()
    client.socket().close()


def test_an_agent_that_was_stolen_is_shut_out(site, tmp_path):
    acl = tmp_path / "acl"
    acl.write_text((site.broker / "acl").read_text())
    lines = secured(site).replace(str(site.broker / "acl"), str(acl))
    with (
        mosquitto(tmp_path, lines, scheme="mqtts") as running,
        running.probe(of(site, "cam-2")) as thief,
        running.probe(of(site, "cam-1")) as victim,
    ):
        victim.subscribe(f"{RUN}/p/#")
        thief.subscribe(f"{RUN}/p/#", f"{RUN}/to/cam-2/#")
        assert thief.publish(f"{RUN}/p/cam-2/out", b"mine") == 0
        thief.wait_for(1)
        acl.write_text(f"{acl.read_text()}\nuser cam-2\ntopic deny #\n")
        running.reload()
        assert thief.publish(f"{RUN}/p/cam-2/out", b"again") == DENIED
        assert victim.publish(f"{RUN}/p/cam-1/out", b"fine") == 0
        assert victim.publish(f"{RUN}/to/cam-2/cam-1", b"fine") < REFUSED
        victim.wait_for(2)
        assert heard(thief) == [f"{RUN}/p/cam-2/out"]


def test_two_agents_of_a_site_over_the_transport(site, address):
    """What the pieces are for: TLS, rights and signatures together."""
    one, two = of(site, "cam-1"), of(site, "cam-2")
    trust = Trust("demo2", one.authority())
    ends = [MqttTransport(address, "demo2", id, tls=it.tls()) for id, it in (("cam-1", one), ("cam-2", two))]
    try:
        for end in ends:
            end.open(b"")
        ends[0].listen(["cam-2"])
        ends[1].publish("state", seal(two.identity(), "demo2", "state", {"state": "online"}, 1))
        ends[1].send(b"frame", "cam-1")
        seen = {}
        while len(seen) < 2:
            message = ends[0].receive(5)
            assert message is not None
            if message.what in ("document", "frame") and message.sender == "cam-2":
                seen[message.what] = message.payload
        assert trust.open(seen["document"], "cam-2", "state") == {"state": "online"}
        assert seen["frame"] == b"frame"
    finally:
        for end in ends:
            end.close()


@pytest.fixture(scope="module")
def careless(tmp_path_factory):
    """A broker that holds no one to anything: what comes over it may be from anyone."""
    with mosquitto(tmp_path_factory.mktemp("careless"), "allow_anonymous true") as running:
        yield running.address


def test_what_a_careless_broker_lets_through_is_refused_for_the_right_reason(site, careless, tmp_path):
    make_site(tmp_path, ["cam-1"], hosts=["localhost"])
    own, other = of(site, "cam-1").identity(), of(site, "cam-2").identity()
    foreign = of(Site(tmp_path), "cam-1").identity()

    def sealed(identity=own, run="demo", name="state", number=2, **body) -> bytes:
        return seal(identity, run, name, body or {"round": number}, number)

    attacks = [
        (sealed(number=1), "older than 2"),  # replayed
        (sealed(other, number=3), "another sender"),
        (sealed(Identity("cam-1", other.key, other.certificate), number=3), "the certificate of 'cam-2'"),
        (sealed(Identity("cam-1", other.key, own.certificate), number=3), "signature is wrong"),
        (sealed(foreign, number=3), "no certificate of this site"),
        (sealed(Identity.make("cam-1"), number=3), "no certificate of this site"),
        (sealed(run="other", number=3), "another run"),
        (sealed(name="spec", number=3), "another name"),
        (sealed(number=3).replace(b'"number":3', b'"number":4'), "signature is wrong"),
        (sealed(number=3)[:-1], "not canonical JSON"),
        (b"[" * (LARGEST + 1), "at most 1,048,576"),
        (b"", "not canonical JSON"),
        (b"\x80\x04\x95pickled", "not canonical JSON"),
    ]
    with Probe(careless, Credentials()) as reader, Probe(careless, Credentials()) as attacker:
        topic = f"{RUN}/p/cam-1/doc/state"
        reader.subscribe(topic)
        for payload in (sealed(), *(attack for attack, _ in attacks), sealed(number=WILL, state="lost")):
            attacker.publish(topic, payload)
        reader.wait_for(len(attacks) + 2)
    trust = Trust("demo", of(site, "cam-3").authority())
    first, *forged, will = (message.payload for message in reader.heard)
    assert trust.open(first, "cam-1", "state") == {"round": 2}
    for payload, (_, said) in zip(forged, attacks, strict=True):
        with pytest.raises(BadDocument, match=said):
            trust.open(payload, "cam-1", "state")
    assert trust.open(will, "cam-1", "state") == {"state": "lost"}
    assert trust.newest("cam-1", "state") == 2
