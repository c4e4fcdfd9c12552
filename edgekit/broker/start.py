"""Which broker is started for given wishes, and where agents find it."""

from __future__ import annotations

import importlib.util
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgekit.broker.authority import host_names
from edgekit.broker.embedded import Embedded
from edgekit.broker.mosquitto import Listener, Mosquitto, Tls, find_mosquitto
from edgekit.broker.server import LOOPBACK
from edgekit.errors import BadInput
from edgekit.wire.address import PORTS, Address
from edgekit.wire.identity import read_certificate
from edgekit.wire.private_file import read_private

INSTALL: Final = "For more than a few agents install Mosquitto: sudo apt install mosquitto"


@dataclass(frozen=True)
class Wish:
    """What is asked for: where to listen, the site whose agents are let in, and of the two brokers at most one.

    port: None is the usual one, 0 a free one. `insecure` allows other machines in without TLS.
    """

    host: str = LOOPBACK
    port: int | None = None
    site: Path | None = None
    mosquitto: bool = False
    embedded: bool = False
    insecure: bool = False


def broker_for(wish: Wish) -> Mosquitto | Embedded:
    """The broker, not started yet; BadInput where the wishes do not go together or would let anyone in unasked."""
    if wish.port is not None and not 0 <= wish.port <= 65535:
        raise BadInput(f"--port {wish.port}: a port is a number from 1 to 65535, or 0 for a free one.")
    if wish.site is not None:
        return Mosquitto(_of_site(wish, wish.site))
    _refuse_open(wish)
    port = PORTS["mqtt"] if wish.port is None else wish.port
    if wish.embedded or not (wish.mosquitto or _installed()):
        return Embedded(host=wish.host, port=port)
    return Mosquitto(Listener(wish.host, port))


def where(wish: Wish, broker: Mosquitto | Embedded) -> str:
    """The URL for agents: by the first name of the certificate, and on other machines by this one's name."""
    address = Address.parse(broker.url)
    if wish.site is not None:
        name = host_names(read_certificate(_folder(wish.site) / "certificate.pem"))[0]
    else:
        name = socket.gethostname() if wish.host in ("0.0.0.0", "::") else address.host
    return f"{address.scheme}://{f'[{name}]' if ':' in name else name}:{address.port}"


def remarks(wish: Wish, broker: Mosquitto | Embedded) -> list[str]:
    """What whoever starts it should know."""
    said = []
    if wish.site is None and wish.insecure and not _stays_here(wish.host):
        said.append(
            "Not encrypted, no names: anyone who reaches this machine can read and change models, and start runs."
        )
    if isinstance(broker, Embedded):
        said.append(f"The broker in Python is for trying things out. {INSTALL}")
    return said


def _of_site(wish: Wish, site: Path) -> Listener:
    if wish.embedded:
        raise BadInput(
            "--embedded: the broker in Python has no TLS. Install Mosquitto, and leave --embedded out."
        )
    find_mosquitto()
    folder = _folder(site).resolve()
    for name in ("ca.pem", "certificate.pem", "acl"):
        if not (folder / name).is_file():
            raise BadInput(
                f"--tls {site}: {name} is not there. Make a site: edgekit broker certs ID --host NAME --out {site}"
            )
    read_private(folder / "key.pem")
    port = PORTS["mqtts"] if wish.port is None else wish.port
    return Listener(wish.host, port, tls=Tls.of_site(folder), acl=folder / "acl")


def _folder(site: Path) -> Path:
    """The broker's folder, of a whole site or by itself."""
    return site / "broker" if (site / "broker").is_dir() else site


def _refuse_open(wish: Wish) -> None:
    if _stays_here(wish.host) or wish.insecure:
        return
    raise BadInput(
        f"--host {wish.host}: without TLS anyone who reaches this machine could read and change models, and start "
        "runs. Give --tls FOLDER (made by: edgekit broker certs), or say --insecure."
    )


def _stays_here(host: str) -> bool:
    return Address("mqtt", host, 0).loopback


def _installed() -> bool:
    """Whether Mosquitto is to be had; if neither is, its absence is the one to report."""
    try:
        find_mosquitto()
    except BadInput:
        if importlib.util.find_spec("amqtt") is None:
            raise
        return False
    return True
