"""Whether a broker is fit for a run: what an agent will ask of it, tried in the order in which it would fail."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Final

from edgekit.broker import limits
from edgekit.broker.finding import Finding
from edgekit.broker.login import login
from edgekit.broker.probe import NoAnswer, Probe, Welcome
from edgekit.broker.reach import reach, secure
from edgekit.broker.rights import rights
from edgekit.wire.address import Address
from edgekit.wire.credentials import Credentials
from edgekit.wire.identity import common_name, read_certificate

NAMES: Final = ("network", "TLS", "login", "rights", "message size", "queue", "round trip")


def check_broker(
    address: Address, credentials: Credentials | None = None, *, insecure: bool = False
) -> Iterator[Finding]:
    """One finding for each of NAMES, as soon as it is known; after one that failed, those that need it are skipped.

    What is published goes to runs of its own, named check-..., and nothing of it stays. `insecure` allows a password
    to be sent in the clear.
    """
    done: list[str] = []
    for finding in _findings(address, credentials or Credentials(), insecure):
        done.append(finding.name)
        yield finding
    for name in NAMES:
        if name not in done:
            yield Finding(name, "skipped", f"needs {done[-1]}")


def _findings(address: Address, credentials: Credentials, insecure: bool) -> Iterator[Finding]:
    """Up to the first that makes all others pointless."""
    yield (found := reach(address))
    if found.state == "failed":
        return
    yield (found := secure(address, credentials))
    if found.state == "failed":
        return
    probe = Probe(address, credentials)
    found, welcome = login(probe, insecure=insecure)
    probe.close()
    yield found
    if welcome is None or welcome.reason:
        return
    yield from _carried(address, credentials, welcome)


def _carried(address: Address, credentials: Credentials, welcome: Welcome) -> Iterator[Finding]:
    """What the broker does with messages, each tried on a connection of its own."""
    me = _name(address, credentials)

    def fresh(*, slow: bool = False) -> Probe:
        return Probe(address, credentials, slow=slow)

    def queue(sender: Probe) -> Finding:
        with fresh(slow=True) as reader:
            return limits.queue(sender, reader, me)

    tried: dict[str, Callable[[Probe], Finding]] = {
        "rights": lambda probe: rights(probe, me),
        "message size": lambda probe: limits.size(probe, welcome, me),
        "queue": queue,
        "round trip": lambda probe: limits.round_trip(probe, me),
    }
    for name, attempt in tried.items():
        found = _attempted(name, fresh(), attempt)
        yield found
        if name == "rights" and found.state == "failed":
            return


def _name(address: Address, credentials: Credentials) -> str:
    """The id to take part under."""
    if credentials.id is not None:
        return credentials.id
    if credentials.certificate is not None:
        return common_name(read_certificate(credentials.certificate))
    return address.user or credentials.user or f"check-{secrets.token_hex(4)}"


def _attempted(name: str, probe: Probe, attempt: Callable[[Probe], Finding]) -> Finding:
    try:
        with probe:
            return attempt(probe)
    except NoAnswer as why:
        return Finding(name, "failed", f"the broker gave no answer: {why}", "See its log.")
