"""`edgekit broker`: what the four verbs print, what they make, and what they refuse in one line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgekit import cli
from edgekit.broker import start
from edgekit.broker.certificates import Site
from edgekit.broker.embedded import Embedded
from edgekit.broker.invite import join
from edgekit.broker.mosquitto import Mosquitto
from edgekit.broker.start import Wish, broker_for, remarks, where
from edgekit.errors import BadInput
from edgekit.wire.credentials import Credentials
from tests.broker.mosquittos import free_port, needs_mosquitto


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A machine that has joined no site, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGEKIT_SITE", str(tmp_path / "joined"))


def run(capsys, *words) -> tuple[int, str, str]:
    code = cli.main(["broker", *map(str, words)])
    seen = capsys.readouterr()
    return code, seen.out, seen.err


@contextmanager
def started(*words):
    """`edgekit broker start` in a process of its own: the process, and the URL that it printed."""
    command = [sys.executable, "-m", "edgekit", "broker", "start", *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().split()[0]
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


def make(capsys) -> Site:
    assert run(capsys, "certs", "cam-1", "cam-2", "--host", "localhost,127.0.0.1")[0] == 0
    return Site(Path("site"))


def test_certs_make_a_site(capsys, tmp_path):
    code, out, err = run(capsys, "certs", "cam-1", "--host", "broker.local, 10.0.0.5", "--host", "::1")
    assert (code, err) == (0, "")
    assert "made: site/agents/cam-1" in out
    assert "edgekit broker start --host 0.0.0.0 --tls site/broker" in out
    assert "Keep site/ca.key off all of them" in out
    code, out, _ = run(capsys, "certs", "cam-1", "cam-2", "--json")
    assert json.loads(out) == {
        "url": "mqtts://broker.local:8883",
        "broker": "site/broker",
        "made": ["site/agents/cam-2"],
    }


def test_an_invitation_is_one_line_on_standard_output(capsys, tmp_path):
    make(capsys)
    code, out, err = run(capsys, "invite", "cam-1")
    assert code == 0
    assert out.count("\n") == 1
    assert "edgekit agent join LINE" in err
    joined = join(out, tmp_path / "joined")
    assert (joined.id, joined.url) == ("cam-1", "mqtts://localhost:8883")
    seen = json.loads(run(capsys, "invite", "cam-1", "--url", "wss://127.0.0.1", "--json")[1])
    assert join(seen["line"], tmp_path / "other").url == "wss://127.0.0.1"


@needs_mosquitto
def test_from_nothing_to_a_checked_broker(capsys, tmp_path):
    site = make(capsys)
    join(run(capsys, "invite", "cam-1")[1], tmp_path / "joined")
    with started("--port", 0, "--tls", site.folder) as (_, url):
        assert url.startswith("mqtts://localhost:")
        code, out, _ = run(capsys, "check", url)
        assert code == 0
        assert [line.split()[0] for line in out.splitlines() if not line.startswith(" ")] == ["ok"] * 7
        seen = json.loads(run(capsys, "check", url, "--credentials", site.agent("cam-2"), "--json")[1])
        assert seen["broker"] == url
        assert {finding["state"] for finding in seen["findings"]} == {"ok"}
        assert "'cam-2' writes in its own name only" in str(seen)


def test_a_check_that_fails_is_1_and_says_what_to_do(capsys):
    code, out, err = run(capsys, "check", f"localhost:{free_port()}")
    assert (code, err) == (1, "")
    assert out.startswith("failed   network")
    assert "edgekit broker start" in out
    assert out.count("skipped") == 6


def test_a_check_without_a_url_takes_that_of_the_site(capsys, tmp_path):
    make(capsys)
    Credentials.read(Site(tmp_path / "site").agent("cam-1")).write(tmp_path / "joined")
    code, out, _ = run(capsys, "check")
    assert code == 1
    assert "localhost:8883" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "required"),
        (("stop",), "invalid choice: 'stop'"),
        (("start", "--host", "0.0.0.0"), "anyone who reaches this machine could read"),
        (("start", "--host", "broker.local"), "or say --insecure"),
        (("start", "--tls", "nowhere"), "ca.pem is not there. Make a site"),
        (("start", "--tls", "nowhere", "--embedded"), "has no TLS"),
        (("start", "--mosquitto", "--embedded"), "not allowed with"),
        (("start", "--port", "70000"), "a port is a number from 1 to 65535"),
        (("check",), "no broker is named"),
        (("check", "http://localhost"), "the scheme 'http' is unknown"),
        (("check", "localhost", "--credentials", "nowhere"), "there are no credentials"),
        (("certs", "cam-1"), "by which name do agents reach the broker"),
        (("certs", "--host", "localhost"), "required: ID"),
        (("certs", "a/b", "--host", "localhost"), "cannot be an id"),
        (("certs", "cam-1", "--host", "local host"), "no host name"),
        (("invite", "cam-1"), "this is no folder of a site"),
    ],
)
def test_bad_input_is_one_line(capsys, words, said):
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert said in err


@pytest.mark.parametrize("verb", ["start", "check", "certs", "invite"])
def test_help_ends_with_an_example(capsys, verb):
    with pytest.raises(SystemExit):
        run(capsys, verb, "--help")
    assert f"example:\n  edgekit broker {verb}" in capsys.readouterr().out


@needs_mosquitto
@pytest.mark.parametrize("word", ["--mosquitto", "--embedded"])
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_broker_ends_with_the_command(capsys, word, sign):
    if word == "--embedded":
        pytest.importorskip("amqtt")
    port = free_port()
    with started("--port", port, word) as (process, url):
        assert url == f"mqtt://127.0.0.1:{port}"
        assert run(capsys, "check", url)[0] == 0
        process.send_signal(sign)
        out, err = process.communicate(timeout=20)
        assert process.returncode == 0
        assert ("for trying things out" in err) == (word == "--embedded")
    code, out, _ = run(capsys, "check", url)
    assert (code, "nothing listens" in out) == (1, True)


@needs_mosquitto
def test_a_port_that_is_taken_is_said(capsys):
    port = free_port()
    with started("--port", port):
        code, _, err = run(capsys, "start", "--port", port)
    assert code == 2
    assert "another program listens there" in err
    assert err.count("\n") == 1


def test_one_broker_or_the_other(monkeypatch):
    pytest.importorskip("amqtt")

    def absent():
        raise BadInput("mosquitto is not installed. Install it")

    monkeypatch.setattr(start, "find_mosquitto", absent)
    assert isinstance(broker_for(Wish(port=0)), Embedded)
    monkeypatch.setattr(start.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(BadInput, match="mosquitto is not installed"):
        broker_for(Wish(port=0))


@needs_mosquitto
def test_mosquitto_where_it_is_installed_and_where_it_listens(capsys, tmp_path):
    assert isinstance(broker_for(Wish(port=0)), Mosquitto)
    assert isinstance(broker_for(Wish(port=0, embedded=True)), Embedded)
    broker = broker_for(Wish())
    assert where(Wish(), broker) == "mqtt://127.0.0.1:1883"
    wish = Wish(host="0.0.0.0", port=0, insecure=True)
    assert "anyone who reaches this machine can read" in remarks(wish, broker_for(wish))[0]
    site = make(capsys)
    for folder in (site.folder, site.broker):
        wish = Wish(host="0.0.0.0", site=folder)
        assert where(wish, broker_for(wish)) == "mqtts://localhost:8883"
        assert remarks(wish, broker_for(wish)) == []
    (site.broker / "key.pem").chmod(0o644)
    with pytest.raises(BadInput, match="others on this machine can read this secret"):
        broker_for(Wish(site=site.folder))
