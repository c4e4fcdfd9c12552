"""Whether a broker can be reached, and whether it is the right one: TCP, then TLS."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from edgekit.broker.finding import Finding
from edgekit.wire.address import Address
from edgekit.wire.credentials import Credentials
from edgekit.wire.identity import clock

PATIENCE: Final = 10.0  # seconds
_DATE: Final = {9, 10}  # OpenSSL's codes of a certificate that is not valid yet, or no longer
_NAME: Final = {62, 64}  # and of one for another host or address


def reach(address: Address) -> Finding:
    """Whether something listens there."""
    start = time.perf_counter()
    try:
        with socket.create_connection((address.host, address.port), PATIENCE):
            took = time.perf_counter() - start
    except socket.gaierror as error:
        return _unreached(
            f"no address is known for '{address.host}' ({error.strerror})",
            "Check the spelling; on a site without a name server give the broker's address.",
        )
    except TimeoutError:
        return _unreached(
            f"no answer from {address.host}:{address.port} in {PATIENCE:.0f} s",
            f"Is the machine on, and does a firewall let port {address.port} through? Some networks pass 443 only: "
            "give the broker a websocket listener there, and use wss://.",
        )
    except OSError as error:
        return _unreached(
            f"nothing listens at {address.host}:{address.port} ({error.strerror})",
            "Start one (edgekit broker start), or check the port. Mosquitto listens on loopback only unless its "
            f"configuration says: listener {address.port} 0.0.0.0",
        )
    return Finding("network", "ok", f"{address.host}:{address.port} answers in {1e3 * took:.1f} ms")


def secure(address: Address, credentials: Credentials) -> Finding:
    """Whether what is sent stays between this machine and the right broker."""
    if not address.tls:
        return _plain(address)
    try:
        with _handshake(address, credentials.tls()) as channel:
            _hear_refusal(channel)
            shown = channel.getpeercert() or {}
            names, until = ", ".join(_names(shown)), shown.get("notAfter", "")
            return Finding("TLS", "ok", f"{channel.version()}, certificate of {names}, valid until {until}")
    except ssl.SSLCertVerificationError as error:
        return _untrusted(error, address, credentials)
    except (ssl.SSLError, OSError) as error:
        return _refused(error, credentials)


def speaks_tls(address: Address) -> bool:
    """Whether a port speaks TLS, whoever is behind it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with _handshake(address, context):
            return True
    except (ssl.SSLError, OSError):
        return False


@contextmanager
def _handshake(address: Address, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection((address.host, address.port), PATIENCE) as raw,
        context.wrap_socket(raw, server_hostname=address.host) as channel,
    ):
        yield channel


def _hear_refusal(channel: ssl.SSLSocket) -> None:
    """In TLS 1.3 a broker refuses a certificate after the handshake, where a client that only writes would miss it."""
    channel.settimeout(0.5)
    try:
        if channel.recv(1) == b"":
            raise ConnectionResetError("it closed the connection")
    except TimeoutError:
        return


def _names(shown: dict[str, Any]) -> list[str]:
    return [value for _, value in shown.get("subjectAltName", ())]


def _plain(address: Address) -> Finding:
    if address.loopback:
        return Finding("TLS", "ok", "none: what is sent stays on this machine")
    return Finding(
        "TLS",
        "warning",
        "none: anyone on the way can read and change models",
        f"Use {'wss' if address.websocket else 'mqtts'}://, with certificates from: edgekit broker certs",
    )


def _untrusted(error: ssl.SSLCertVerificationError, address: Address, credentials: Credentials) -> Finding:
    if error.verify_code in _DATE:
        seen = f"the broker's certificate is not valid at this time ({error.verify_message})"
        return _unsafe(seen, _sentence(clock()))
    if error.verify_code in _NAME:
        return _unsafe(
            f"the broker's certificate is for {_real_names(address, credentials)}, not for {address.host}",
            "Use one of these names, or make the broker another certificate: edgekit broker certs --host "
            f"{address.host}",
        )
    if credentials.ca is None:
        return _unsafe(
            f"this machine does not know who signed the broker's certificate ({error.verify_message})",
            "Join the site first (edgekit agent join), or name a folder with its ca.pem: --credentials DIR",
        )
    return _unsafe(
        f"the broker's certificate is not of the site whose authority is {credentials.ca} ({error.verify_message})",
        "Either this is another site's broker, or the site was made anew: check the URL, then join again.",
    )


def _real_names(address: Address, credentials: Credentials) -> str:
    context = credentials.tls()
    context.check_hostname = False
    try:
        with _handshake(address, context) as channel:
            return ", ".join(_names(channel.getpeercert() or {})) or "no name at all"
    except (ssl.SSLError, OSError):
        return "other names"


def _refused(error: OSError, credentials: Credentials) -> Finding:
    reason = (getattr(error, "reason", None) or error.strerror or str(error) or type(error).__name__).lower()
    if "certificate" in reason or "unknown" in reason:  # its alert says what it holds against ours
        shown = credentials.certificate
        own = f"the certificate {shown}" if shown else "a client without certificate"
        return _unsafe(
            f"the broker refuses {own} ({reason.replace('_', ' ')})",
            "It takes certificates of its own site only. Join it: edgekit broker invite, then edgekit agent join.",
        )
    return _unsafe(
        f"no TLS is spoken here ({reason.replace('_', ' ')})",
        "Give the port that does (Mosquitto: 8883), or write mqtt:// for a plain one.",
    )


def _unreached(seen: str, fix: str) -> Finding:
    return Finding("network", "failed", seen, fix)


def _unsafe(seen: str, fix: str) -> Finding:
    return Finding("TLS", "failed", seen, fix)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
