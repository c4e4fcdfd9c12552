"""A site: what is made fits together, what exists is kept, what cannot work is refused before anything is written."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import datetime, timezone

import pytest
from cryptography import x509

from edgekit.broker.authority import BROKER, Authority, host_names
from edgekit.broker.certificates import Site, make_site
from edgekit.errors import BadInput
from edgekit.wire.credentials import Credentials
from edgekit.wire.identity import common_name, read_certificate


@pytest.fixture
def site(tmp_path) -> Site:
    """A site with two agents."""
    make_site(tmp_path / "site", ["cam-1", "cam-2"], hosts=["broker.local", "10.0.0.5", "127.0.0.1", "::1"])
    return Site(tmp_path / "site")


def files(site: Site) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in site.folder.rglob("*") if path.is_file()}


def test_what_a_site_is_made_of(site):
    made = {str(path.relative_to(site.folder)) for path in site.folder.rglob("*") if path.is_file()}
    of_agent = {"broker.yaml", "ca.pem", "certificate.pem", "key.pem", "site.key"}
    assert made == {
        *("ca.pem", "ca.key", "site.key", "site.yaml"),
        *(f"broker/{name}" for name in ("ca.pem", "certificate.pem", "key.pem", "acl")),
        *(f"agents/{id}/{name}" for id in ("cam-1", "cam-2") for name in of_agent),
    }
    for name in ("ca.key", "site.key", "broker/key.pem", "agents/cam-1/key.pem", "agents/cam-1/site.key"):
        assert (site.folder / name).stat().st_mode & 0o777 == 0o600
    assert site.folder.stat().st_mode & 0o777 == 0o700


def test_who_is_called_what(site):
    broker = read_certificate(site.broker / "certificate.pem")
    assert common_name(broker) == BROKER
    assert host_names(broker) == ["broker.local", "10.0.0.5", "127.0.0.1", "::1"]
    assert site.url == "mqtts://broker.local:8883"
    for id in ("cam-1", "cam-2"):
        found = Credentials.read(site.agent(id))
        assert (found.id, found.url) == (id, site.url)
        certificate = found.identity().certificate
        assert certificate is not None
        assert common_name(certificate) == id
        assert host_names(certificate) == []
    one, two = (Credentials.read(site.agent(id)) for id in ("cam-1", "cam-2"))
    assert one.secret == two.secret
    assert one.identity().public != two.identity().public


def test_certificates_outlive_devices_and_old_clocks(site):
    for path in site.folder.rglob("certificate.pem"):
        certificate = read_certificate(path)
        assert certificate.not_valid_before_utc == datetime(2020, 1, 1, tzinfo=timezone.utc)
        assert (certificate.not_valid_after_utc - datetime.now(timezone.utc)).days > 19 * 365


def test_the_authority_signs_no_other_authority(site):
    limits = read_certificate(site.ca).extensions.get_extension_for_class(x509.BasicConstraints)
    assert (limits.critical, limits.value.ca, limits.value.path_length) == (True, True, 0)
    own = read_certificate(site.agent("cam-1") / "certificate.pem")
    assert not own.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_made_again_nothing_changes(site):
    before = files(site)
    assert make_site(site.folder, ["cam-1", "cam-2"]) == []
    assert make_site(site.folder, [], hosts=["10.0.0.5"]) == []
    assert files(site) == before


def test_an_agent_joins_later(site):
    before = files(site)
    assert make_site(site.folder, ["cam-1", "cam-3"]) == [site.agent("cam-3")]
    assert before.items() <= files(site).items()
    ca = Credentials.read(site.agent("cam-1")).authority()
    certificate = Credentials.read(site.agent("cam-3")).identity().certificate
    assert certificate is not None
    assert ca is not None
    certificate.verify_directly_issued_by(ca)


def test_a_broker_that_moves_gets_another_certificate_and_agents_keep_theirs(site):
    with pytest.raises(BadInput, match=r"is for broker\.local, .* Delete"):
        make_site(site.folder, [], hosts=["moved.local"])
    (site.broker / "certificate.pem").unlink()
    with pytest.raises(BadInput, match=r"Add --host 'broker\.local'"):
        make_site(site.folder, [], hosts=["moved.local"])
    before = files(site)
    assert make_site(site.folder, [], hosts=["moved.local", "broker.local"]) == [site.broker]
    assert {path for path, content in files(site).items() if before.get(path) != content} == {
        str(site.broker / "certificate.pem"),
        str(site.broker / "key.pem"),
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"hosts": []}, "by which name do agents reach the broker"),
        ({"hosts": ["a b"]}, "'a b' is no host name"),
        ({"hosts": ["-a"]}, "no host name"),
        ({"hosts": ["a..b"]}, "no host name"),
        ({"hosts": ["*"]}, "no host name"),
        ({"hosts": ["a" * 64]}, "no host name"),
        ({"agents": ["a/b"]}, "cannot be an id"),
        ({"agents": [".."]}, "cannot be an id"),
        ({"url": "mqtts://other:8883"}, r"is for broker\.local. Add --host 'other'"),
        ({"url": "http://broker.local"}, "the scheme 'http' is unknown"),
        ({"url": "mqtt://broker.local"}, "agents of a site use TLS"),
        ({"url": "mqtts://me:hunter2@broker.local"}, r"mqtts://me@broker.local:8883: .* certificates alone"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(tmp_path, given, said):
    known = {"agents": ["cam-1"], "hosts": ["broker.local"], "url": None} | given
    with pytest.raises(BadInput, match=said):
        make_site(tmp_path / "site", known["agents"], hosts=known["hosts"], url=known["url"])
    assert not (tmp_path / "site").exists()


def test_the_url_can_be_any_name_of_the_broker(tmp_path):
    make_site(tmp_path, ["cam-1"], hosts=["broker.local", "::1"], url="wss://[::1]:443/mqtt")
    assert Credentials.read(Site(tmp_path).agent("cam-1")).url == "wss://[::1]:443/mqtt"
    with pytest.raises(BadInput, match="Change it in"):
        make_site(tmp_path, [], url="mqtts://broker.local")


def test_a_lost_or_wrong_authority_is_said(site, tmp_path):
    make_site(tmp_path / "other", [], hosts=["broker.local"])
    (site.folder / "ca.key").write_bytes((tmp_path / "other" / "ca.key").read_bytes())
    with pytest.raises(BadInput, match="not the key of"):
        make_site(site.folder, ["cam-9"])
    (site.folder / "ca.key").unlink()
    with pytest.raises(BadInput, match="nothing can be signed without it"):
        make_site(site.folder, ["cam-9"])
    assert not site.agent("cam-9").exists()


def test_a_folder_that_is_no_site_is_said(tmp_path):
    with pytest.raises(BadInput, match="this is no folder of a site"):
        _ = Site(tmp_path).url


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> str:
    """What went wrong between the two, or ""."""
    ours, theirs = socket.socketpair()
    errors: list[str] = []

    def serve() -> None:
        try:
            with server.wrap_socket(theirs, server_side=True) as channel:
                channel.recv(1)
        except OSError as error:
            errors.append(str(error))
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname=host) as channel:
            channel.send(b"x")
    except OSError as error:
        errors.append(str(error))
        ours.close()
    thread.join()
    return "; ".join(errors)


def server(folder, certificate) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=folder / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_cert_chain(certificate / "certificate.pem", certificate / "key.pem")
    return context


def test_openssl_takes_them_at_its_strictest(site):
    client = Credentials.read(site.agent("cam-1")).tls()
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    for host in ("broker.local", "10.0.0.5", "::1"):
        assert handshake(server(site.folder, site.broker), client, host) == ""
    assert "mismatch" in handshake(server(site.folder, site.broker), client, "other.local")


def test_an_agent_cannot_pass_for_the_broker_nor_the_broker_for_an_agent(site):
    agent, broker = site.agent("cam-1"), site.broker
    client = Credentials.read(site.agent("cam-2")).tls()
    client.check_hostname = False
    assert "unsuitable certificate purpose" in handshake(server(site.folder, agent), client, "broker.local")
    posing = Credentials(site.ca, broker / "certificate.pem", broker / "key.pem").tls()
    assert "unsuitable certificate purpose" in handshake(server(site.folder, broker), posing, "broker.local")


def test_another_site_s_certificates_are_worth_nothing(site, tmp_path):
    make_site(tmp_path / "other", ["cam-1"], hosts=["broker.local"])
    other = Site(tmp_path / "other")
    assert read_certificate(other.ca).subject != read_certificate(site.ca).subject
    ours, theirs = (Credentials.read(place.agent("cam-1")) for place in (site, other))
    assert "verify failed" in handshake(server(other.folder, other.broker), ours.tls(), "broker.local")
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    blind.load_cert_chain(theirs.certificate, theirs.key)
    assert "verify failed" in handshake(server(site.folder, site.broker), blind, "broker.local")


def test_a_clock_before_the_first_day_makes_no_authority(monkeypatch):
    from edgekit.broker import authority

    class Early(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(1970, 1, 1, tzinfo=tz)

    monkeypatch.setattr(authority, "datetime", Early)
    with pytest.raises(BadInput, match="clock of this machine says"):
        Authority.make()
