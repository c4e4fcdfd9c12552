"""Why there is no link to a broker, each in one line that says what to do."""

from __future__ import annotations

import socket
import ssl
from typing import Final

from paho.mqtt.client import WebsocketConnectionError
from paho.mqtt.reasoncodes import ReasonCode

from edgekit.wire.address import Address
from edgekit.wire.transport import LinkError

# reason codes of MQTT 5
OTHER_VERSION, BAD_PASSWORD, FORBIDDEN = 0x84, 0x86, 0x87
UNAVAILABLE, BUSY, TOO_LARGE = 0x88, 0x89, 0x95

WAIT: Final = 1.0  # seconds for a second look
_RIGHTS: Final = (
    "Its access list must give the user of this device the topics of its id: edgekit broker certs writes such a list, "
    "edgekit broker check tries it."
)
_LARGER: Final = "Raise its limit (Mosquitto: max_packet_size, message_size_limit), or make frames smaller."
_CLOCK, _NAME = {9, 10}, {62, 64}  # OpenSSL's: a certificate of another time, of another host


def unreached(error: OSError, address: Address) -> LinkError:
    """There is no connection."""
    host, port = address.host, address.port
    if isinstance(error, socket.gaierror):
        return _said(address, f"no address is known for '{host}' ({error.strerror})", "Check the spelling.")
    if isinstance(error, ssl.SSLCertVerificationError):
        return _untrusted(error, address)
    if isinstance(error, TimeoutError):
        return _said(
            address, "no answer in time", f"Is the machine on, and does a firewall let port {port} through?"
        )
    if isinstance(error, WebsocketConnectionError):
        return _said(address, "no MQTT within websockets here", "Check port and path, or write mqtt://.")
    if isinstance(error, ssl.SSLError) or (address.tls and isinstance(error, ConnectionResetError)):
        return _not_secured(address, str(error))
    return _said(
        address,
        f"nothing listens there ({error.strerror or error})",
        "Start a broker (edgekit broker start), or check host and port; Mosquitto listens on loopback only unless its "
        f"configuration says: listener {port} 0.0.0.0",
    )


def hung_up(address: Address, why: str, tls: ssl.SSLContext | None) -> LinkError:
    """The broker closed the connection before it answered; `why` is what the socket said."""
    why = _alert(address, tls) or why
    if "alert" in why.lower():
        return _refused_certificate(address, why)
    if not address.tls and _speaks_tls(address):
        secure = "wss" if address.websocket else "mqtts"
        return _said(address, "this port speaks TLS", f"Write {secure}://{address.host}:{address.port}.")
    return _said(
        address,
        "it closed the connection without an answer",
        f"Is it an MQTT broker that listens on port {address.port}? Its log may say more.",
    )


def refused(address: Address, reason: ReasonCode) -> LinkError:
    """The broker answered, and said no."""
    if reason.value in (BAD_PASSWORD, FORBIDDEN):
        return _not_let_in(address)
    if reason.value in (BUSY, UNAVAILABLE):
        return _said(address, f"the broker says: {reason}", "Try again later.")
    return _said(address, f"the broker refuses the connection: {reason}", "Its log may say more.")


def silent(address: Address, seconds: float) -> LinkError:
    """The broker took the connection and says nothing."""
    return _said(address, f"connected, but no answer in {seconds:.0f} s", "Is it an MQTT broker? Is it up?")


def forbidden(address: Address, me: str, what: str) -> LinkError:
    """The broker lets this agent in, but not do `what`."""
    return _said(address, f"the broker does not let '{me}' {what}", _RIGHTS)


def not_taken(address: Address, topic: str, reason: ReasonCode) -> LinkError:
    """The broker let this agent in, and does not take a message of it."""
    if reason.value == TOO_LARGE:
        return _said(address, f"the broker refuses a message to {topic}: {reason}", _LARGER)
    return _said(address, f"the broker refuses a message to {topic}: {reason}", _RIGHTS)


def too_large(address: Address, size: int) -> LinkError:
    """The broker takes no message of this size."""
    return _said(
        address,
        f"the broker takes no message of {size:,} bytes",
        _LARGER,
    )


def _refused_certificate(address: Address, why: str) -> LinkError:
    return _said(
        address,
        f"the broker refuses this device's certificate ({why})",
        "It takes those of its own site: join it (edgekit broker invite, then edgekit agent join).",
    )


def _not_let_in(address: Address) -> LinkError:
    if address.user is None:
        return _said(
            address,
            "the broker lets no one in without a name",
            f"Write {address.scheme}://USER:PASSWORD@{address.host}:{address.port}, or join its site.",
        )
    known = "the password is wrong" if address.password is not None else "a password is asked for"
    return _said(
        address,
        f"the broker does not let '{address.user}' in",
        f"Either it knows no such user, or {known} (Mosquitto: mosquitto_passwd FILE {address.user}).",
    )


def _untrusted(error: ssl.SSLCertVerificationError, address: Address) -> LinkError:
    why = error.verify_message
    if error.verify_code in _CLOCK:
        return _said(address, f"the broker's certificate is of another time ({why})", "Is this clock right?")
    if error.verify_code in _NAME:
        fix = f"Use a name that it has, or make it anew: edgekit broker certs --name {address.host}"
        return _said(address, f"the broker's certificate is for another host ({why})", fix)
    fix = "Join the broker's site (edgekit agent join), or name its ca.pem: is this the right broker?"
    return _said(address, f"no one that is trusted here signed the broker's certificate ({why})", fix)


def _not_secured(address: Address, why: str) -> LinkError:
    if "alert" in why.lower():
        return _refused_certificate(address, why)
    plain = "ws" if address.websocket else "mqtt"
    return _said(
        address,
        f"no TLS is spoken here ({why})",
        f"Give the port that does (Mosquitto: 8883), or write {plain}:// where it may be plain.",
    )


def _alert(address: Address, tls: ssl.SSLContext | None) -> str:
    """What a broker says that refuses a certificate: it does so after the handshake, and who writes may miss it."""
    if not address.tls:
        return ""
    try:
        with (
            socket.create_connection((address.host, address.port), WAIT) as raw,
            (tls or ssl.create_default_context()).wrap_socket(raw, server_hostname=address.host) as secured,
        ):
            secured.recv(1)
    except OSError as error:
        return str(error)
    return ""


def _speaks_tls(address: Address) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((address.host, address.port), WAIT) as raw,
            context.wrap_socket(raw, server_hostname=address.host),
        ):
            return True
    except ssl.SSLError as error:
        return "alert" in str(error).lower()  # it asks for a certificate
    except OSError:
        return False


def _said(address: Address, what: str, fix: str) -> LinkError:
    return LinkError(f"{address}: {what}. {fix}")
