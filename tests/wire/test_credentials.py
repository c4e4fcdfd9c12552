"""The folder that a device joins a site with: read whole, or refused with what is wrong."""

from __future__ import annotations

import pytest

from edgekit.broker.certificates import make_site
from edgekit.errors import BadInput
from edgekit.wire.credentials import Access, Credentials, default_folder, store
from edgekit.wire.identity import common_name


@pytest.fixture
def folder(tmp_path):
    """The credentials of cam-1."""
    make_site(tmp_path / "site", ["cam-1"], hosts=["10.0.0.5"])
    return tmp_path / "site" / "agents" / "cam-1"


def test_a_folder_reads_back(folder):
    found = Credentials.read(folder)
    assert (found.url, found.id, found.user, found.password) == ("mqtts://10.0.0.5:8883", "cam-1", None, None)
    assert found.secret is not None
    assert len(found.secret) == 32
    identity, authority = found.identity(), found.authority()
    assert identity.certificate is not None
    assert authority is not None
    identity.certificate.verify_directly_issued_by(authority)
    assert common_name(identity.certificate) == "cam-1"
    assert found.tls().check_hostname


def test_what_is_secret_is_so_on_the_disk_and_in_print(folder):
    for name in ("key.pem", "site.key", "broker.yaml", "certificate.pem"):
        assert (folder / name).stat().st_mode & 0o777 == 0o600
    found = Credentials.read(folder)
    assert found.secret is not None
    assert str(found.secret)[2:-1] not in repr(found)
    assert "hunter2" not in repr(Credentials(password="hunter2"))


def test_a_copy_is_the_same(folder, tmp_path):
    first = Credentials.read(folder)
    second = first.write(tmp_path / "copy")
    assert second == Credentials.read(tmp_path / "copy")
    assert second.identity().public == first.identity().public
    assert (second.secret, second.url, second.id) == (first.secret, first.url, first.id)


def test_a_user_and_password_will_do(tmp_path):
    access = Access("mqtts://broker:8883", "cam-1", "me", "hunter2")
    found = store(tmp_path / "new", {}, None, access)
    assert (found.user, found.password, found.ca, found.authority()) == ("me", "hunter2", None, None)
    assert found.identity(tmp_path / "key.pem").public == found.identity(tmp_path / "key.pem").public
    assert found.identity().certificate is None


def test_where_the_broker_is_and_as_whom():
    known = Credentials(url="mqtts://broker", user="me", password="hunter2")
    assert (known.address().host, known.address().user, known.address().password) == (
        "broker",
        "me",
        "hunter2",
    )
    assert (known.address("mqtt://other").host, known.address("mqtt://other").user) == ("other", "me")
    other = known.address("mqtt://you:too@other")
    assert (other.user, other.password) == ("you", "too")
    with pytest.raises(BadInput, match="no broker is named"):
        Credentials().address()


def test_the_folder_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("EDGEKIT_SITE", raising=False)
    assert default_folder() == tmp_path / "edgekit" / "site"
    with pytest.raises(BadInput, match=r"there are no credentials\. Join a site: edgekit agent join LINE"):
        Credentials.read()
    monkeypatch.setenv("EDGEKIT_SITE", str(tmp_path / "mine"))
    assert default_folder() == tmp_path / "mine"
    store(default_folder(), {}, None, Access(id="cam-3"))
    assert Credentials.read().id == "cam-3"
    monkeypatch.delenv("EDGEKIT_SITE")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert str(default_folder()).endswith("/.config/edgekit/site")


def test_a_file_that_is_missing_is_named(folder):
    (folder / "key.pem").unlink()
    with pytest.raises(BadInput, match=r"key\.pem is missing beside the other"):
        Credentials.read(folder)


@pytest.mark.parametrize("name", ["key.pem", "site.key"])
def test_a_secret_that_others_can_read_is_refused(folder, name):
    (folder / name).chmod(0o644)
    with pytest.raises(BadInput, match=r"others on this machine can read this secret \(mode 644\)"):
        Credentials.read(folder)


@pytest.mark.parametrize("content", ["user: me\npassword: hunter2\n", "url: mqtt://me:hunter2@localhost\n"])
def test_a_password_that_others_can_read_is_refused(tmp_path, content):
    (tmp_path / "broker.yaml").write_text(content)
    (tmp_path / "broker.yaml").chmod(0o644)
    with pytest.raises(BadInput, match="chmod 600") as error:
        Credentials.read(tmp_path)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("usr: me\n", r"broker\.yaml:1: broker has no setting 'usr'. Did you mean 'user'\?"),
        ("id: a b\n", "cannot be an id"),
        ("id: [1]\n", "must be text"),
        ("url: http://x\n", r"broker\.yaml:1: broker: .* the scheme 'http' is unknown"),
    ],
)
def test_a_broker_file_is_read_strictly(tmp_path, content, said):
    (tmp_path / "broker.yaml").write_text(content)
    with pytest.raises(BadInput, match=said):
        Credentials.read(tmp_path)


def test_a_damaged_secret_is_refused(folder):
    (folder / "site.key").write_text("abc")
    with pytest.raises(BadInput, match="64 hexadecimal digits"):
        Credentials.read(folder)


def test_credentials_without_an_id_are_no_one(tmp_path):
    with pytest.raises(BadInput, match="name no id"):
        Credentials().identity()


def test_tls_with_what_is_no_certificate_is_refused(tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(BadInput, match="TLS cannot use these credentials"):
        Credentials(ca=tmp_path / "ca.pem").tls()
