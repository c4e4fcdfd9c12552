"""What a broker lets an agent do: all that it needs, and nothing in the name of another."""

from __future__ import annotations

import contextlib
import secrets
from typing import Final

from edgekit.broker.finding import Finding
from edgekit.broker.probe import PATIENCE, REFUSED, NoAnswer, Probe
from edgekit.wire.topics import Topics

FORM: Final = (
    "ek/1/+/p/ME/# and ek/1/+/to/+/ME are written, ek/1/+/p/# and ek/1/+/to/ME/# are read, where ME is the id. "
    "Mosquitto takes the file `acl` that edgekit broker certs writes; examples/brokers.md has others."
)


def rights(probe: Probe, me: str) -> Finding:
    """Do what an agent does, then what none should be able to."""
    run = f"check-{secrets.token_hex(4)}"
    mine, other = Topics(run, me), Topics(run, f"other-{secrets.token_hex(4)}")
    try:
        if lacking := _needs(probe, mine):
            return Finding("rights", "failed", f"'{me}' may not {lacking}", f"What it needs: {FORM}")
        open_ = _others(probe, mine, other)
    except NoAnswer as why:
        return Finding("rights", "failed", f"the broker ends it: {why}", f"What '{me}' needs: {FORM}")
    if not open_:
        return Finding("rights", "ok", f"'{me}' writes in its own name only, and reads what is for it")
    if probe.address.loopback and not probe.address.tls:
        return Finding("rights", "ok", "anyone on this machine may do anything")
    return Finding(
        "rights",
        "warning",
        f"who may log in can {' and '.join(open_)}",
        f"Give the broker an access list: {FORM}",
    )


def _needs(probe: Probe, mine: Topics) -> str:
    """The first thing that an agent needs and is not let do, or ""."""
    document = mine.document("check")
    probe.publish(document, b"kept", retain=True)
    reasons = probe.subscribe(*mine.always, *mine.listen([mine.me], lines=True))
    if max(reasons) >= REFUSED:
        return "read what is for it"
    probe.publish(mine.to(mine.me), b"to me")
    probe.publish(mine.out, b"to all")
    for topic, what in (
        (document, "keep documents (retained messages)"),
        (mine.to(mine.me), "send to one agent"),
        (mine.out, "send to all"),
    ):
        if not probe.hears(topic, PATIENCE):
            return what
    probe.publish(document, b"", retain=True)
    return ""


def _others(probe: Probe, mine: Topics, other: Topics) -> list[str]:
    """What is possible that should not be: heard before a last message of one's own, since a broker keeps the order."""
    secret = mine.to(other.me)
    probe.subscribe(f"ek/1/{mine.run}/to/{other.me}/+", other.out)
    probe.publish(secret, b"for another")
    with contextlib.suppress(NoAnswer):  # some brokers end the connection over a forbidden topic
        probe.publish(other.out, b"forged")
        probe.publish(mine.line, b"last")
        probe.hears(mine.line, PATIENCE)
    found = {"write in another's name": other.out, "read what is for another": secret}
    return [what for what, topic in found.items() if probe.hears(topic)]
