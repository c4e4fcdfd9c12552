"""Mosquitto: its configuration for the traffic of models, and its process."""

from __future__ import annotations

import base64
import getpass
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from edgekit.broker.server import LOOPBACK, Managed, Process, free_port, reached_at, refuse_taken
from edgekit.errors import BadInput
from edgekit.wire.private_file import write_private

QUEUED: Final = 256 << 20  # bytes that wait for one slow agent, beyond which messages are lost
ROUNDS: Final = 101  # of PBKDF2, as mosquitto_passwd has it
PLACES: Final = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")  # beside PATH, which a user's may lack


@dataclass(frozen=True)
class Tls:
    """The certificate of the broker; with `ca`, only who shows one of that authority is let in, by its name."""

    certificate: Path
    key: Path
    ca: Path | None = None

    @classmethod
    def of_site(cls, folder: Path) -> Tls:
        """What `edgekit broker certs` put into the folder `broker` of a site."""
        return cls(folder / "certificate.pem", folder / "key.pem", folder / "ca.pem")


@dataclass(frozen=True)
class Listener:
    """A port: port 0 is a free one; users: names and passwords, without which everyone is let in; acl: a file."""

    host: str = LOOPBACK
    port: int = 0
    tls: Tls | None = None
    websockets: bool = False
    users: Mapping[str, str] | None = None
    acl: Path | None = None

    @property
    def url(self) -> str:
        """Where agents on this machine find it."""
        scheme = ("ws" if self.websockets else "mqtt") + ("s" if self.tls else "")
        host = reached_at(self.host)
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"


class Mosquitto(Managed):
    """A Mosquitto that edgekit runs: `start`, `stop` and `kill` as often as wanted, always at the same ports.

    folder: for configuration and log, by default one of its own; largest: bytes of a packet, where there is a limit;
    queued: bytes that wait for one agent; more: further lines of mosquitto.conf. With websockets there must be another
    listener: Mosquitto 2.0.11 ends where it has none but such.
    """

    def __init__(
        self,
        *listeners: Listener,
        folder: Path | None = None,
        largest: int | None = None,
        queued: int = QUEUED,
        more: Sequence[str] = (),
    ) -> None:
        self._binary = find_mosquitto()
        self.folder = folder or Path(tempfile.mkdtemp(prefix="edgekit-mosquitto-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.listeners = tuple(map(_with_port, listeners or (Listener(),)))
        self.log = self.folder / "mosquitto.log"
        lines = [*_common(largest, queued), *more]
        for number, listener in enumerate(self.listeners):
            lines += self._lines(listener, number)
        self.configuration = self.folder / "mosquitto.conf"
        self.configuration.write_text("\n".join([*lines, ""]), encoding="utf-8")

    @property
    def url(self) -> str:
        """Where agents on this machine find its first listener."""
        return self.listeners[0].url

    def start(self) -> Mosquitto:
        """Start it, and wait until it listens; ServerError where it does not."""
        for listener in self.listeners:
            refuse_taken(listener.host, listener.port)
        places = [(reached_at(listener.host), listener.port) for listener in self.listeners]
        self._process = Process([self._binary, "-c", str(self.configuration)], places, self.log)
        return self

    def __enter__(self) -> Mosquitto:
        return self.start()

    def _lines(self, listener: Listener, number: int) -> list[str]:
        lines = [f"listener {listener.port} {listener.host}"]
        if listener.websockets:
            lines.append("protocol websockets")
        if listener.tls is not None:
            lines += _tls(listener.tls)
        if listener.users is not None:
            path = self.folder / f"users-{number}"
            write_private(path, "".join(_user(*pair) for pair in listener.users.items()).encode())
            lines.append(f"password_file {path}")
        by_name = listener.users is not None or (listener.tls is not None and listener.tls.ca is not None)
        lines.append(f"allow_anonymous {str(not by_name).lower()}")
        return [*lines, f"acl_file {listener.acl}"] if listener.acl else lines


def find_mosquitto() -> str:
    """The program; BadInput with how to install it where there is none."""
    found = shutil.which("mosquitto", path=os.pathsep.join([os.environ.get("PATH", ""), *PLACES]))
    if found is None:
        raise BadInput(
            "mosquitto is not installed. Install it (Debian, Ubuntu, Raspberry Pi OS: sudo apt install mosquitto; "
            "macOS: brew install mosquitto), or use the broker in Python: edgekit broker start --embedded"
        )
    return found


def _common(largest: int | None, queued: int) -> list[str]:
    """What holds for all listeners."""
    return [
        "per_listener_settings true",
        f"user {getpass.getuser()}",  # started by root it would become another, who may not read its files
        "persistence false",  # agents publish their documents again
        "set_tcp_nodelay true",
        "max_queued_messages 1000000",  # the limit is in bytes; with 0, Mosquitto 2.0.11 cuts off whom it refuses
        "max_inflight_messages 0",  # as many as fit: 20, its default, are too few for a long link
        f"max_queued_bytes {queued}",
        *([] if largest is None else [f"max_packet_size {largest}"]),
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type notice",
    ]


def _tls(tls: Tls) -> list[str]:
    lines = [f"certfile {tls.certificate}", f"keyfile {tls.key}", "tls_version tlsv1.2"]
    if tls.ca is None:
        return lines
    return [*lines, f"cafile {tls.ca}", "require_certificate true", "use_identity_as_username true"]


def _user(name: str, password: str) -> str:
    """A line of a password file."""
    if ":" in name or "\n" in name:
        raise BadInput(f"mosquitto: '{name}' cannot be a user. Leave out ':'.")
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ROUNDS, 64)
    return f"{name}:$7${ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}\n"


def _with_port(listener: Listener) -> Listener:
    return listener if listener.port else replace(listener, port=free_port(listener.host))
