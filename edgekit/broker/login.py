"""Whether a broker lets this machine in."""

from __future__ import annotations

from typing import Final

from edgekit.broker.finding import Finding
from edgekit.broker.probe import NoAnswer, Probe, Welcome
from edgekit.broker.reach import speaks_tls
from edgekit.wire.address import Address
from edgekit.wire.credentials import Credentials

BUSY: Final = {136, 137, 151, 159}  # unavailable, busy, quota exceeded, too many connections
NAMELESS: Final = 133  # "client identifier not valid"


def login(probe: Probe, *, insecure: bool) -> tuple[Finding, Welcome | None]:
    """Log in, and say how it went; what the broker said, where it did."""
    address, credentials = probe.address, probe.credentials
    if _open_password(address, credentials) and not insecure:
        return _failed(
            "not tried: the password could be read by anyone on the way",
            f"Use {'wss' if address.websocket else 'mqtts'}://, or say --insecure.",
        ), None
    try:
        welcome = probe.open()
    except NoAnswer as why:
        return _unanswered(address, why), None
    if welcome.reason:
        return _refused(welcome, address, credentials), welcome
    user = address.user or credentials.user or credentials.id
    note = "" if welcome.version == "5" else ", which does not say why a message is refused"
    seen = f"as {user or 'anyone'}, in MQTT {welcome.version}{note}"
    return Finding("login", "ok", seen), welcome


def _open_password(address: Address, credentials: Credentials) -> bool:
    return not address.tls and not address.loopback and bool(address.password or credentials.password)


def _unanswered(address: Address, why: NoAnswer) -> Finding:
    if not address.tls and speaks_tls(address):
        secure = "wss" if address.websocket else "mqtts"
        return _failed("this port speaks TLS", f"Write {secure}://{address.host}:{address.port}.")
    if address.websocket:
        return _failed(
            f"no MQTT is spoken here ({why})",
            f"Is '{address.path}' the path of its websocket listener? EMQX has /mqtt, Mosquitto takes any.",
        )
    return _failed(
        f"no MQTT is spoken here ({why})",
        "Is this the port of the broker? For a websocket listener write ws:// or wss://.",
    )


def _refused(welcome: Welcome, address: Address, credentials: Credentials) -> Finding:
    said = f"the broker refuses: {welcome.said.lower()}"
    if welcome.reason in BUSY:
        return _failed(said, "Raise its limit of connections (Mosquitto: max_connections), or try later.")
    if welcome.reason == NAMELESS:
        return _failed(said, "Let it take client ids of 22 letters and digits.")
    user = address.user or credentials.user
    if user is None and credentials.certificate is None:
        return _failed(
            said,
            "It asks who one is. Join its site (edgekit broker invite, then edgekit agent join), or give a user: "
            "mqtts://USER:PASSWORD@HOST.",
        )
    if user is None:
        return _failed(
            said,
            "It does not take the name from the certificate. Mosquitto needs: require_certificate true and "
            "use_identity_as_username true.",
        )
    return _failed(said, f"Check the password of '{user}', and whether the broker lets it in.")


def _failed(seen: str, fix: str) -> Finding:
    return Finding("login", "failed", seen, fix)
