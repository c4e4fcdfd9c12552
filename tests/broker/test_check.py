"""The check of a broker: it says ok where a run would work, and else what is wrong and what to do."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest

from edgekit.broker import limits, reach
from edgekit.broker.certificates import Site, make_site
from edgekit.broker.check import NAMES, check_broker
from edgekit.broker.embedded import Embedded
from edgekit.broker.finding import Finding
from edgekit.wire.address import Address
from edgekit.wire.credentials import Credentials
from tests.broker.mosquittos import free_port, mosquitto, needs_mosquitto, secured


def checked(url: str | Address, credentials: Credentials | None = None, **settings) -> dict[str, Finding]:
    address = Address.parse(url) if isinstance(url, str) else url
    found = list(check_broker(address, credentials, **settings))
    assert tuple(finding.name for finding in found) == NAMES
    assert all(finding.fix for finding in found if finding.state in ("warning", "failed"))
    return {finding.name: finding for finding in found}


def states(found: dict[str, Finding]) -> list[str]:
    return [finding.state for finding in found.values()]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    make_site(folder, ["cam-1", "cam-2"], hosts=["localhost"])
    return Site(folder)


@pytest.fixture(scope="module")
def cam(site) -> Credentials:
    return Credentials.read(site.agent("cam-1"))


@pytest.fixture(scope="module")
def strict(site, tmp_path_factory):
    """A broker of the site."""
    with mosquitto(tmp_path_factory.mktemp("strict"), secured(site), scheme="mqtts") as running:
        yield running


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A broker that lets everyone do anything."""
    with mosquitto(tmp_path_factory.mktemp("plain"), "allow_anonymous true") as running:
        yield running


@contextmanager
def answering(answer: bytes):
    """Something that is no broker: it says `answer` and hangs up; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    channel, _ = server.accept()
                except OSError:
                    return
                with channel:
                    channel.recv(1000)
                    channel.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


@needs_mosquitto
def test_a_plain_broker_on_this_machine_will_do(plain):
    found = checked(plain.address)
    assert states(found) == ["ok"] * len(NAMES), found
    assert found["TLS"].seen == "none: what is sent stays on this machine"
    assert found["login"].seen == "as anyone, in MQTT 5"
    assert "anyone on this machine may do anything" in found["rights"].seen


def test_the_broker_in_python_will_do():
    pytest.importorskip("amqtt")
    with Embedded() as broker:
        found = checked(broker.url)
    assert states(found) == ["ok"] * len(NAMES), found
    assert "in MQTT 3.1.1" in found["login"].seen


@needs_mosquitto
def test_a_broker_of_a_site_is_as_it_should_be(strict, cam):
    found = checked(strict.address, cam)
    assert states(found) == ["ok"] * len(NAMES), found
    assert "certificate of localhost" in found["TLS"].seen
    assert found["rights"].seen == "'cam-1' writes in its own name only, and reads what is for it"


@needs_mosquitto
def test_nothing_of_a_check_stays(plain):
    checked(plain.address)
    with plain.probe() as probe:
        probe.subscribe("ek/#")
        assert not probe.hears("anything", patience=0.3)
        assert probe.heard == []


def test_no_broker_and_no_host():
    found = checked(f"mqtt://127.0.0.1:{free_port()}")
    assert states(found) == ["failed"] + ["skipped"] * 6
    assert "nothing listens" in found["network"].seen
    assert "edgekit broker start" in found["network"].fix
    assert found["TLS"].seen == "needs network"
    assert "no address is known" in checked("mqtt://no-such-host.invalid")["network"].seen


def test_a_port_that_says_nothing(monkeypatch):
    monkeypatch.setattr(reach, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(("127.0.0.1", port))
            found = checked(f"mqtt://127.0.0.1:{port}")
    assert states(found)[0] == "failed"
    assert "firewall" in found["network"].fix


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\x02\x00\x00" * 9])
def test_what_is_no_broker(answer):
    with answering(answer) as port:
        found = checked(f"mqtt://127.0.0.1:{port}")
    if found["login"].state == "failed":
        assert "no MQTT is spoken here" in found["login"].seen
        assert states(found)[3:] == ["skipped"] * 4
    else:  # it let us in, and then said nothing that fits
        assert found["rights"].state == "failed"


def test_a_web_server_where_a_websocket_was_hoped_for():
    with answering(b"HTTP/1.1 404 Not Found\r\n\r\n") as port:
        found = checked(f"ws://127.0.0.1:{port}/mqtt")
    assert "path of its websocket listener" in found["login"].fix


@needs_mosquitto
def test_tls_where_there_is_none_and_none_where_there_is(plain, strict, cam):
    found = checked(replace(plain.address, scheme="mqtts"), cam)
    assert "no TLS is spoken here" in found["TLS"].seen
    found = checked(replace(strict.address, scheme="mqtt"))
    assert found["login"].seen == "this port speaks TLS"
    assert found["login"].fix == f"Write mqtts://localhost:{strict.address.port}."


@needs_mosquitto
def test_credentials_that_the_broker_does_not_know(strict, cam, tmp_path):
    found = checked(strict.address)
    assert "does not know who signed" in found["TLS"].seen
    found = checked(strict.address, Credentials(ca=cam.ca))
    assert "refuses a client without certificate" in found["TLS"].seen
    make_site(tmp_path, ["cam-1"], hosts=["localhost"])
    other = Credentials.read(Site(tmp_path).agent("cam-1"))
    assert "not of the site whose authority is" in checked(strict.address, other)["TLS"].seen
    found = checked(strict.address, replace(other, ca=cam.ca))
    assert "the broker refuses the certificate" in found["TLS"].seen
    assert "edgekit broker invite" in found["TLS"].fix


@needs_mosquitto
def test_a_name_that_is_not_in_the_certificate(strict, cam):
    found = checked(replace(strict.address, host="127.0.0.1"), cam)
    assert found["TLS"].seen == "the broker's certificate is for localhost, not for 127.0.0.1"
    assert "edgekit broker certs --host 127.0.0.1" in found["TLS"].fix


@needs_mosquitto
def test_without_an_id_the_certificate_says_who_it_is(strict, cam):
    found = checked(strict.address, replace(cam, id=None))
    assert states(found) == ["ok"] * len(NAMES), found


@needs_mosquitto
def test_an_id_that_is_not_the_certificate_s_may_write_nothing(strict, cam, monkeypatch):
    monkeypatch.setattr("edgekit.broker.rights.PATIENCE", 0.5)
    found = checked(strict.address, replace(cam, id="cam-2"))
    assert found["rights"].state == "failed"
    assert states(found)[4:] == ["skipped"] * 3


@needs_mosquitto
def test_users_and_passwords(tmp_path):
    (tmp_path / "passwords").touch()
    lines = f"allow_anonymous false\npassword_file {tmp_path}/passwords"
    with mosquitto(tmp_path, lines) as running:
        found = checked(running.address)
        assert "not authorized" in found["login"].seen
        assert "It asks who one is" in found["login"].fix
        found = checked(replace(running.address, user="me", password="hunter2"))
        assert "Check the password of 'me'" in found["login"].fix
        assert "hunter2" not in str(found)


def test_a_password_is_not_sent_in_the_clear_unless_asked_to(monkeypatch):
    address = Address.parse("mqtt://me:hunter2@192.0.2.7")
    monkeypatch.setattr("edgekit.broker.check.reach", lambda _: Finding("network", "ok", "as if"))
    found = checked(address)
    assert found["TLS"].state == "warning"
    assert found["login"].seen == "not tried: the password could be read by anyone on the way"
    assert found["login"].fix == "Use mqtts://, or say --insecure."
    tried = []
    monkeypatch.setattr("edgekit.broker.probe.Client.connect", lambda *_, **__: tried.append(1) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        checked(address, insecure=True)
    assert tried


@needs_mosquitto
def test_tls_alone_lets_everyone_do_anything(site, cam, tmp_path):
    lines = secured(site).replace(f"acl_file {site.broker}/acl", "")
    with mosquitto(tmp_path, lines, scheme="mqtts") as running:
        found = checked(running.address, cam)
    assert found["rights"].state == "warning"
    assert found["rights"].seen.endswith("can write in another's name and read what is for another")


@needs_mosquitto
@pytest.mark.parametrize(
    ("left_out", "said"),
    [
        ("pattern write ek/1/+/p/%u/#", "keep documents"),
        ("pattern write ek/1/+/to/+/%u", "send to one agent"),
        ("pattern read ek/1/+/to/%u/#", "send to one agent"),
        ("pattern read ek/1/+/p/#", "keep documents"),
    ],
)
def test_an_access_list_with_a_gap(site, cam, tmp_path, monkeypatch, left_out, said):
    monkeypatch.setattr("edgekit.broker.rights.PATIENCE", 0.5)
    (tmp_path / "acl").write_text((site.broker / "acl").read_text().replace(left_out, ""))
    with mosquitto(
        tmp_path, secured(site).replace(f"{site.broker}/acl", f"{tmp_path}/acl"), scheme="mqtts"
    ) as it:
        found = checked(it.address, cam)
    assert found["rights"].state == "failed"
    assert f"'cam-1' may not {said}" in found["rights"].seen


@needs_mosquitto
@pytest.mark.parametrize(
    ("line", "state", "said"),
    [
        ("max_packet_size 100000", "warning", "at most 100,000 bytes: models go in many small chunks"),
        ("max_packet_size 2000", "failed", "at most 2,000 bytes"),
        ("message_size_limit 100000", "failed", "one of 262,144 does not come back"),
    ],
)
def test_a_limit_of_the_message_size(tmp_path, line, state, said):
    with mosquitto(tmp_path, f"allow_anonymous true\n{line}") as running:
        found = checked(running.address)
    assert found["message size"].state == state
    assert said in found["message size"].seen
    assert "max_packet_size" in found["message size"].fix
    assert found["round trip"].state == "ok"


@needs_mosquitto
def test_a_queue_that_is_short(tmp_path):
    with mosquitto(tmp_path, "allow_anonymous true\nmax_queued_messages 100") as running:
        found = checked(running.address)
    assert found["queue"].state == "warning"
    assert found["queue"].seen.startswith("120 of 1,000 messages are kept")  # with the 20 that are under way
    assert "max_queued_messages" in found["queue"].fix


@needs_mosquitto
def test_a_way_that_is_long_is_said(plain, monkeypatch):
    monkeypatch.setattr(limits, "SLOW", 0.0)
    assert checked(plain.address)["round trip"].state == "warning"


@needs_mosquitto
def test_websockets(tmp_path, site, cam):
    try:
        with mosquitto(tmp_path, f"protocol websockets\n{secured(site)}", scheme="wss") as running:
            found = checked(replace(running.address, path="/mqtt"), cam)
    except (AssertionError, TimeoutError):
        pytest.skip("this Mosquitto serves no websockets")
    assert states(found) == ["ok"] * len(NAMES), found


def test_a_finding_is_plain_json():
    assert Finding("a", "ok", "b").to_json() == {"name": "a", "state": "ok", "seen": "b", "fix": ""}
