"""Two sites, each with its Mosquitto, bridged as examples/brokers.md says: agents of both meet as on one broker."""

from __future__ import annotations

import time
from pathlib import Path

from edgekit.broker.certificates import Site, make_site
from edgekit.broker.probe import DENIED, Probe
from edgekit.wire.address import Address
from edgekit.wire.credentials import Credentials
from tests.broker.mosquittos import Running, mosquitto, needs_mosquitto, secured

FRAMES = 50
RUN = "ek/1/demo"


def bridge(site: Site, far: Running) -> str:
    """The lines that the near broker has beside its own."""
    own = site.agent("bridge")
    return f"""
connection south
address localhost:{far.address.port}
bridge_cafile {own}/ca.pem
bridge_certfile {own}/certificate.pem
bridge_keyfile {own}/key.pem
topic ek/1/# both 1
notifications false
cleansession true
restart_timeout 1
"""


def published(*probes: Probe) -> list[str]:
    """Everyone publishes to all and to the other, and reads until nothing comes any more."""
    for me, other, probe in (("cam-1", "cam-2", probes[0]), ("cam-2", "cam-1", probes[1])):
        numbers = [probe.post(f"{RUN}/p/{me}/out", b"%d" % number) for number in range(FRAMES)]
        numbers += [probe.post(f"{RUN}/to/{other}/{me}", b"%d" % number) for number in range(FRAMES)]
        probe.wait(lambda probe=probe, numbers=numbers: probe.answered(numbers))
    for probe in probes:
        probe.wait_for(3 * FRAMES)
        probe.hears("what comes twice", patience=0.3)
    return [message.topic for probe in probes for message in probe.heard]


def kept(running: Running, credentials: Credentials) -> list[bytes]:
    """What a newcomer receives."""
    with running.probe(credentials) as probe:
        probe.subscribe(f"{RUN}/p/+/doc/+")
        probe.hears("anything", patience=0.3)
        return [message.payload for message in probe.heard if message.retain]


@needs_mosquitto
def test_agents_of_two_bridged_brokers_meet_and_nothing_comes_twice(tmp_path):
    make_site(tmp_path / "site", ["cam-1", "cam-2", "bridge"], hosts=["localhost"])
    site = Site(tmp_path / "site")
    one, two = (Credentials.read(site.agent(id)) for id in ("cam-1", "cam-2"))
    far_acl = tmp_path / "acl"
    far_acl.write_text((site.broker / "acl").read_text() + "\nuser bridge\ntopic readwrite ek/1/#\n")
    far_lines = secured(site).replace(str(site.broker / "acl"), str(far_acl))
    with (
        mosquitto(tmp_path, far_lines, scheme="mqtts") as far,
        mosquitto(tmp_path, secured(site) + bridge(site, far), scheme="mqtts") as near,
    ):
        with near.probe(one) as north, far.probe(two) as south:
            _await_bridge(north, south)
            for id, probe in (("cam-1", north), ("cam-2", south)):
                probe.subscribe(f"{RUN}/p/+/out", f"{RUN}/to/{id}/#")
            topics = published(north, south)
            assert {topic: topics.count(topic) for topic in topics} == {
                f"{RUN}/p/cam-1/out": 2 * FRAMES,
                f"{RUN}/p/cam-2/out": 2 * FRAMES,
                f"{RUN}/to/cam-1/cam-2": FRAMES,
                f"{RUN}/to/cam-2/cam-1": FRAMES,
            }
            assert south.publish(f"{RUN}/p/cam-1/out", b"forged") == DENIED
            assert north.publish(f"{RUN}/p/cam-1/doc/state", b"here", retain=True) < DENIED
            time.sleep(0.2)
        assert kept(near, one) == kept(far, two) == [b"here"]
        with near.probe(one) as north:
            north.publish(f"{RUN}/p/cam-1/doc/state", b"", retain=True)
            time.sleep(0.2)
        assert kept(near, one) == kept(far, two) == []


def _await_bridge(north: Probe, south: Probe) -> None:
    topic = "ek/1/hello/p/cam-1/line"
    south.subscribe(topic)
    for _ in range(50):
        north.publish(topic, b"hello")
        if south.hears(topic, patience=0.1):
            break
    south.hears("more", patience=0.3)
    south.heard.clear()


def test_the_guide_has_the_lines_that_are_tested_here():
    guide = (
        (Path(__file__).resolve().parents[2] / "examples" / "brokers.md")
        .read_text(encoding="utf-8")
        .splitlines()
    )
    site = Site(Path("/etc/mosquitto/site"))
    far = Running(None, Address.parse("mqtts://localhost"))  # type: ignore[arg-type]
    lines = f"{secured(site)}\n{bridge(site, far)}\nuser bridge\ntopic readwrite ek/1/#"
    elsewhere = ("", "address localhost:8883", "restart_timeout 1")
    assert [line for line in lines.splitlines() if line not in guide and line not in elsewhere] == []
