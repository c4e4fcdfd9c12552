"""A site: what the broker's machine, and each device, needs so that they know each other.

    site/ca.pem, ca.key    the authority; ca.key signs new agents, and is needed nowhere else
    site/site.key          the secret that all devices of the site share
    site/site.yaml         where the broker is
    site/broker/           for the broker's machine: ca.pem, certificate.pem, key.pem, acl
    site/agents/ID/        for the device ID: what `Credentials.read` takes

What exists is never made anew: delete a file to have it replaced.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from edgekit import settings
from edgekit.broker.authority import Authority, host_names, pem
from edgekit.errors import BadInput
from edgekit.wire.address import Address
from edgekit.wire.credentials import SECRET, Access, read_secret, store
from edgekit.wire.identity import key_pem, read_certificate
from edgekit.wire.private_file import write_private
from edgekit.wire.transport import check_id
from edgekit.yaml_lines import read_yaml, write_yaml

PORT: Final = 8883  # of MQTT over TLS

ACL: Final = """\
# Who may do what, in Mosquitto's form. %u is the user name, which is the common name of the certificate.
# An agent writes in its own name only, and reads what is for all and what is for it.
pattern write ek/1/+/p/%u/#
pattern write ek/1/+/to/+/%u
pattern read ek/1/+/p/#
pattern read ek/1/+/to/%u/#
# What the broker is.
pattern read $SYS/broker/version
"""

_HOST = re.compile(
    r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?)*"
)


@dataclass(frozen=True)
class Site:
    """The files of a site."""

    folder: Path

    @property
    def ca(self) -> Path:
        """The authority's certificate."""
        return self.folder / "ca.pem"

    @property
    def ca_key(self) -> Path:
        """What new agents are signed with."""
        return self.folder / "ca.key"

    @property
    def secret(self) -> Path:
        """The secret of the site's devices."""
        return self.folder / "site.key"

    @property
    def where(self) -> Path:
        """The file that holds the broker's URL."""
        return self.folder / "site.yaml"

    @property
    def broker(self) -> Path:
        """The folder that the broker's machine needs."""
        return self.folder / "broker"

    def agent(self, id: str) -> Path:
        """The folder that the device `id` needs."""
        return self.folder / "agents" / check_id(id)

    @property
    def url(self) -> str:
        """Where agents find the broker; BadInput where this folder is no site."""
        if not self.where.is_file():
            raise BadInput(
                f"{self.folder}: this is no folder of a site. Make one: edgekit broker certs ID --host BROKERHOST "
                f"--out '{self.folder}'"
            )
        document = read_yaml(self.where.read_text(encoding="utf-8"), source=str(self.where))
        return settings.build(_Where, document.value, document=document, path=(), name="site").url


@dataclass(frozen=True)
class _Where:
    """The file `site.yaml`."""

    url: str


def make_site(
    folder: Path, agents: Sequence[str], *, hosts: Sequence[str] = (), url: str | None = None
) -> list[Path]:
    """Make what a site, and what these agents, lack; what was made. BadInput before anything is written.

    `hosts` are the names and addresses of the broker; `url`, by default mqtts, the first name and port 8883, is
    where agents find it.
    """
    site = Site(folder)
    lacking = [id for id in dict.fromkeys(agents) if not (site.agent(id) / "certificate.pem").exists()]
    known = _hosts(site, hosts)
    url = _url(site, known, url)
    authority, made = _authority(site)
    made += _broker(site, authority, known)
    if not site.where.exists():
        site.where.write_text(write_yaml({"url": url}), encoding="utf-8")
    return made + [_agent(site, authority, id, url) for id in lacking]


def _hosts(site: Site, names: Sequence[str]) -> list[str]:
    """What the broker is called: by its certificate, or as asked for."""
    asked, path = [_host(name) for name in names], site.broker / "certificate.pem"
    known = host_names(read_certificate(path)) if path.exists() else asked
    if not known:
        raise BadInput(
            "broker certs: by which name do agents reach the broker? Give --host HOST, or its address."
        )
    if lacking := [name for name in asked if name not in known]:
        raise BadInput(
            f"--host {lacking[0]}: the broker's certificate is for {', '.join(known)}. Delete '{path}' and give all "
            "names again; what agents have stays good."
        )
    return known


def _host(name: str) -> str:
    """A host name or address in its usual spelling."""
    try:
        return str(ip_address(name))
    except ValueError:
        if _HOST.fullmatch(name.lower()):
            return name.lower()
    raise BadInput(
        f"--host: '{name}' is no host name and no address. Give one such as broker.local or 10.0.0.5."
    )


def _url(site: Site, hosts: list[str], asked: str | None) -> str:
    """Where agents find the broker: as it was, or as asked for, if the certificate fits."""
    known = site.url if site.where.exists() else None
    if asked and known and asked != known:
        raise BadInput(f"--url {asked}: this site's is {known}. Change it in '{site.where}'.")
    first = f"[{hosts[0]}]" if ":" in hosts[0] else hosts[0]
    url = asked or known or f"mqtts://{first}:{PORT}"
    address = Address.parse(url)
    if not address.tls or address.user:
        raise BadInput(
            f"--url {address}: agents of a site use TLS, and log in with their certificates alone. Write it as "
            f"mqtts://{first}:{PORT} or wss://{first}."
        )
    if address.host not in hosts:
        raise BadInput(
            f"--url {address}: the broker's certificate is for {', '.join(hosts)}. Add --host '{address.host}'."
        )
    return url


def _authority(site: Site) -> tuple[Authority, list[Path]]:
    if site.ca.exists():
        return Authority.read(site.ca, site.ca_key), []
    site.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = Authority.make()
    write_private(site.secret, f"{secrets.token_hex(SECRET)}\n".encode())
    write_private(site.ca_key, key_pem(made.key))
    site.ca.write_bytes(pem(made.certificate))
    return made, [site.ca]


def _broker(site: Site, authority: Authority, hosts: list[str]) -> list[Path]:
    site.broker.mkdir(exist_ok=True)
    if not (site.broker / "acl").exists():
        (site.broker / "acl").write_text(ACL, encoding="utf-8")
    (site.broker / "ca.pem").write_bytes(site.ca.read_bytes())
    path = site.broker / "certificate.pem"
    if path.exists():
        return []
    certificate, key = authority.broker(hosts)
    write_private(site.broker / "key.pem", key)
    path.write_bytes(certificate)
    return [site.broker]


def _agent(site: Site, authority: Authority, id: str, url: str) -> Path:
    certificate, key = authority.agent(id)
    parts = {"ca": site.ca.read_bytes(), "certificate": certificate, "key": key}
    store(site.agent(id), parts, read_secret(site.secret), Access(url=url, id=id))
    return site.agent(id)
