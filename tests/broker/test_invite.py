"""Invitations: one line carries all, and a damaged one is never taken for another."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.broker.certificates import Site, make_site
from edgekit.broker.invite import PREFIX, invite, join
from edgekit.errors import BadInput
from edgekit.wire.credentials import Credentials


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Site:
    """A site with two agents."""
    folder = tmp_path_factory.mktemp("site")
    make_site(folder, ["cam-1", "cam-2"], hosts=["broker.local", "10.0.0.5"])
    return Site(folder)


def same(one: Credentials, two: Credentials) -> bool:
    return all(
        getattr(one, name).read_bytes() == getattr(two, name).read_bytes()
        for name in ("ca", "certificate", "key")
    ) and (one.secret, one.url, one.id, one.user) == (two.secret, two.url, two.id, two.user)


def test_one_line_makes_a_device_what_its_folder_would(site, tmp_path):
    line = invite(site.folder, "cam-1")
    assert line.startswith(PREFIX)
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 3000
    joined = join(line, tmp_path / "device")
    assert same(joined, Credentials.read(site.agent("cam-1")))
    assert (tmp_path / "device" / "key.pem").stat().st_mode & 0o777 == 0o600


def test_terminals_may_break_the_line(site, tmp_path):
    line = invite(site.folder, "cam-1")
    broken = "\n  ".join(line[at : at + 70] for at in range(0, len(line), 70)) + "\r\n"
    assert same(join(broken, tmp_path / "device"), Credentials.read(site.agent("cam-1")))


def test_another_url_for_a_device_on_another_network(site, tmp_path):
    assert join(invite(site.folder, "cam-2", url="wss://10.0.0.5"), tmp_path / "d").url == "wss://10.0.0.5"


def test_joining_again_is_fine_but_not_as_another(site, tmp_path):
    join(invite(site.folder, "cam-1"), tmp_path / "device")
    join(invite(site.folder, "cam-1"), tmp_path / "device")
    with pytest.raises(BadInput, match="here are the credentials of 'cam-1' already"):
        join(invite(site.folder, "cam-2"), tmp_path / "device")
    assert Credentials.read(tmp_path / "device").id == "cam-1"


def test_who_has_no_certificate_is_not_invited(site, tmp_path):
    with pytest.raises(BadInput, match=r"'cam-9' has no certificate yet. Run: edgekit broker certs cam-9"):
        invite(site.folder, "cam-9")
    with pytest.raises(BadInput, match="no folder of a site"):
        invite(tmp_path, "cam-1")
    with pytest.raises(BadInput, match="cannot be an id"):
        invite(site.folder, "../../etc")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda line: "", "begins with 'ek1:', and this with ''"),
        (lambda line: "mqtt://broker", "begins with 'ek1:'"),
        (lambda line: line[:100], "was cut short: 96 characters of"),
        (lambda line: line[:-1], "was cut short"),
        (lambda line: line + "A", "has more behind it"),
        (lambda line: line[:-30] + ("B" if line[-30] == "A" else "A") + line[-29:], "its checksum is wrong"),
        (lambda line: line[:50] + "!" + line[51:], "holds what no invitation has"),
        (lambda line: line[:50] + "é" + line[51:], "holds what no invitation has"),
        (lambda line: PREFIX + "_" + line[5:], "is of version 25[0-9]"),
        (lambda line: PREFIX, "holds what no invitation has"),
    ],
)
def test_a_damaged_line_says_in_what(site, tmp_path, harm, said):
    with pytest.raises(BadInput, match=said):
        join(harm(invite(site.folder, "cam-1")), tmp_path / "device")
    assert not (tmp_path / "device").exists()


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from("ABCDEFGabcdefg0189-_"), max_size=60))
def test_noise_is_refused_in_one_line(tmp_path_factory, digits):
    with pytest.raises(BadInput):
        join(PREFIX + digits, tmp_path_factory.getbasetemp() / "never")


def test_a_line_put_together_from_two_sites_is_refused(site, tmp_path):
    from edgekit.broker.invite import _line, _parts

    make_site(tmp_path / "other", ["cam-1"], hosts=["broker.local"])
    ours, theirs = _parts(invite(site.folder, "cam-1")), _parts(invite(tmp_path / "other", "cam-1"))
    for place, part in ((0, theirs[0]), (2, b"junk"), (3, b"short"), (4, b"http://x"), (5, b""), (5, b"a/b")):
        with pytest.raises(BadInput, match="does not fit itself"):
            join(_line([*ours[:place], part, *ours[place + 1 :]]), tmp_path / "device")
    with pytest.raises(BadInput, match="not of the form that this edgekit knows"):
        join(_line(ours[:7]), tmp_path / "device")
    key_of_another = [*ours[:2], theirs[2], *ours[3:]]
    with pytest.raises(BadInput, match="the invitation: this certificate is for another key"):
        join(_line(key_of_another), tmp_path / "device")
    renamed = [*ours[:5], b"cam-2", *ours[6:]]
    with pytest.raises(BadInput, match="is of 'cam-1', not of 'cam-2'"):
        join(_line(renamed), tmp_path / "device")
    assert not (tmp_path / "device").exists()
