"""Where a broker is, as one writes it: mqtt://user:password@host:port."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from edgekit.errors import BadInput, did_you_mean

PORTS: Final = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
PATH: Final = "/mqtt"  # of a websocket, where none is given


@dataclass(frozen=True)
class Address:
    """Where a broker is. mqtt and ws are plain, mqtts and wss use TLS; ws and wss pass through web proxies.

    >>> Address.parse("mqtts://cam-3:secret@broker.local")
    Address(scheme='mqtts', host='broker.local', port=8883, path='', user='cam-3')
    >>> str(Address.parse("10.0.0.5"))
    'mqtt://10.0.0.5:1883'
    """

    scheme: str
    host: str
    port: int
    path: str = ""
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> Address:
        """The address that a text names, mqtt where it names no scheme; BadInput where it is none."""
        whole = text.strip() if "://" in text else f"mqtt://{text.strip()}"
        scheme, _, rest = whole.partition("://")
        if scheme not in PORTS:
            raise BadInput(
                f"broker {_open(whole)}: the scheme '{scheme}' is unknown. {did_you_mean(scheme, PORTS)}"
            )
        if set("?#") & set(rest):
            raise _bad(whole, "'?' and '#' mean nothing here; in a password write %3F and %23")
        try:
            parts = urlsplit(whole)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise _bad(
                whole, "the port is a number from 1 to 65535, and an IPv6 address stands in brackets"
            ) from None
        if not host or port == 0:
            raise _bad(whole, "the host is missing" if not host else "0 is no port")
        if parts.path not in ("", "/") and scheme not in ("ws", "wss"):
            raise _bad(whole, "only ws:// and wss:// have a path; in a password write %2F for '/'")
        path = (PATH if parts.path in ("", "/") else parts.path) if scheme in ("ws", "wss") else ""
        user, password = (
            None if part is None else unquote(part) for part in (parts.username, parts.password)
        )
        return cls(scheme, host, PORTS[scheme] if port is None else port, path, user or None, password)

    @property
    def tls(self) -> bool:
        """Whether what is sent can be read by the broker alone."""
        return self.scheme in ("mqtts", "wss")

    @property
    def websocket(self) -> bool:
        """Whether MQTT travels within HTTP."""
        return self.scheme in ("ws", "wss")

    @property
    def loopback(self) -> bool:
        """Whether the host is this machine for certain: localhost, 127.0.0.0/8 or ::1, without asking a name server."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        """As one writes it, without the password."""
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{user}{host}:{self.port}{self.path}"


def refuse_plain(address: Address, insecure: bool) -> None:
    """BadInput where models would leave this machine in the clear and no one said that they may."""
    if address.tls or address.loopback or insecure:
        return
    also = ", and the password read" if address.password is not None else ""
    secure = "wss" if address.websocket else "mqtts"
    raise BadInput(
        f"{address}: this is not encrypted: models and their updates could be read and changed by anyone on the "
        f"way{also}. Use {secure}://{address.host} with certificates (edgekit broker certs), or say --insecure."
    )


def _bad(whole: str, why: str) -> BadInput:
    return BadInput(
        f"broker {_open(whole)}: {why}. Write it as mqtt://host:1883 or mqtts://user:password@host:8883."
    )


def _open(whole: str) -> str:
    """What can be shown: all but what is before the last '@', where a password may be."""
    scheme, _, rest = whole.partition("://")
    return f"{scheme}://***@{rest.rpartition('@')[2]}" if "@" in rest else whole
