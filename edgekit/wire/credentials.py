"""What a device needs to take part in a site, and the folder that holds it.

- `ca.pem`: the certificate of the site's authority, by which broker and agents are known;
- `certificate.pem`, `key.pem`: this device's own;
- `site.key`: 32 bytes as hexadecimal digits, which all devices of the site share;
- `broker.yaml`: `url`, `id`, and `user` and `password` where the broker asks for them.

Each may be absent. What is secret has mode 0600, and is refused where others can read it.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

from cryptography import x509

from edgekit import settings
from edgekit.errors import BadInput
from edgekit.wire.address import Address
from edgekit.wire.identity import Identity, read_certificate
from edgekit.wire.private_file import read_private, write_private
from edgekit.wire.transport import check_id
from edgekit.yaml_lines import read_yaml, write_yaml

SECRET: Final = 32  # bytes


@dataclass(frozen=True)
class Access:
    """Where the broker is, and as whom to log in: the file `broker.yaml`."""

    url: str | None = None
    id: str | None = None
    user: str | None = None
    password: str | None = None

    def __post_init__(self) -> None:
        if self.id is not None:
            check_id(self.id)
        if self.url is not None:
            Address.parse(self.url)


@dataclass(frozen=True)
class Credentials:
    """What a device shows, and what it knows others by; all absent on loopback."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    secret: bytes | None = field(default=None, repr=False)  # of the site: frames are authenticated with it
    url: str | None = None  # of the broker
    id: str | None = None

    @classmethod
    def read(cls, folder: Path | None = None) -> Credentials:
        """The credentials in a folder, by default this machine's; BadInput where they are absent or not whole."""
        folder = default_folder() if folder is None else folder
        if not folder.is_dir():
            raise BadInput(
                f"{folder}: there are no credentials. Join a site: edgekit agent join LINE --to '{folder}'"
            )
        ca, certificate, key = (_there(folder / f"{name}.pem") for name in ("ca", "certificate", "key"))
        if (certificate is None) != (key is None):
            lacking = "key" if certificate else "certificate"
            raise BadInput(
                f"{folder}: {lacking}.pem is missing beside the other. Copy the whole folder, or join anew."
            )
        if key:
            read_private(key)
        secret = _there(folder / "site.key")
        access = asdict(_access(folder / "broker.yaml"))
        return cls(ca, certificate, key, secret=read_secret(secret) if secret else None, **access)

    def write(self, folder: Path) -> Credentials:
        """A folder that holds copies of all these, and the credentials read from it."""
        paths = {"ca": self.ca, "certificate": self.certificate, "key": self.key}
        pem = {name: path.read_bytes() for name, path in paths.items() if path is not None}
        return store(folder, pem, self.secret, Access(self.url, self.id, self.user, self.password))

    def identity(self, keep: Path | None = None) -> Identity:
        """Who this device is, by its certificate; BadInput without an id.

        Where it has none it is known by a key alone: that of the file `keep`, which is made where it is absent, or a
        fresh one.
        """
        if self.id is None:
            raise BadInput("the credentials name no id. Write one into broker.yaml, such as: id: cam-3")
        if self.certificate is None or self.key is None:
            return Identity.make(self.id) if keep is None else Identity.kept(self.id, keep)
        return Identity.load(self.id, self.certificate, self.key)

    def address(self, url: str | None = None) -> Address:
        """Where the broker is, `url` before the one that is known, and as whom to log in; BadInput without either."""
        if (url := url or self.url) is None:
            raise BadInput("no broker is named. Give its URL, such as mqtt://localhost, or join a site.")
        found = Address.parse(url)
        return found if found.user else replace(found, user=self.user, password=self.password)

    def authority(self) -> x509.Certificate | None:
        """The certificate that all of the site are known by; None where there is no site."""
        return None if self.ca is None else read_certificate(self.ca)

    def tls(self) -> ssl.SSLContext:
        """How to speak TLS with the broker: by the site's authority, or by those that this machine trusts."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except (ssl.SSLError, OSError) as error:
            raise BadInput(
                f"{self.ca or self.certificate}: TLS cannot use these credentials ({error})."
            ) from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


def default_folder() -> Path:
    """Where a machine keeps its credentials: $EDGEKIT_SITE, or edgekit/site among the user's settings."""
    if named := os.environ.get("EDGEKIT_SITE"):
        return Path(named)
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "edgekit" / "site"


def store(folder: Path, pem: Mapping[str, bytes], secret: bytes | None, access: Access) -> Credentials:
    """Write a folder of credentials and read it back; `pem` holds those of "ca", "certificate" and "key" there are."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    known = {name: value for name, value in asdict(access).items() if value is not None}
    write_private(folder / "broker.yaml", write_yaml(known).encode())
    if secret is not None:
        write_private(folder / "site.key", f"{secret.hex()}\n".encode())
    for name in sorted(pem, reverse=True):  # the certificate after its key: where it is, all is
        write_private(folder / f"{name}.pem", pem[name])
    return Credentials.read(folder)


def _there(path: Path) -> Path | None:
    return path if path.exists() else None


def read_secret(path: Path) -> bytes:
    """A site's secret; BadInput for anything else."""
    try:
        secret = bytes.fromhex(read_private(path).decode())
    except ValueError:
        secret = b""
    if len(secret) != SECRET:
        raise BadInput(f"{path}: a site's secret is {2 * SECRET} hexadecimal digits. Copy the file anew.")
    return secret


def _access(path: Path) -> Access:
    if not path.exists():
        return Access()
    document = read_yaml(path.read_text(encoding="utf-8"), source=str(path))
    access = settings.build(Access, document.value, document=document, path=(), name="broker")
    if access.password is not None or (access.url and Address.parse(access.url).password is not None):
        read_private(path)
    return access
