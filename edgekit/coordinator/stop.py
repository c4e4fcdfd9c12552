"""`train --stop`: any agent of a site may stop a run that is in the lobby of its broker."""

from __future__ import annotations

import time
from typing import Final

from edgekit.coordinator.documents import STOP
from edgekit.coordinator.supervisor import LOBBY, OFFER, Offer
from edgekit.coordinator.worker import Post
from edgekit.coordinator.writer import Writer
from edgekit.errors import BadInput, did_you_mean
from edgekit.wire.document import BadDocument

LISTEN: Final = 1.5  # seconds in which the lobby is heard


def offers(post: Post, me: str) -> dict[str, Offer]:
    """The runs under way on a broker, by name."""
    access = post.access(LOBBY, me)
    access.transport.open(b"")
    found: dict[str, Offer] = {}
    until = time.monotonic() + LISTEN
    try:
        while time.monotonic() < until:
            message = access.transport.receive(0.1)
            if message is None or message.name != OFFER or not message.payload:
                continue
            try:
                offer = Offer.of(access.trust.open(message.payload, message.sender, OFFER))
            except BadDocument:
                continue
            found[offer.name] = offer
    finally:
        access.transport.close()
    return found


def stop_run(post: Post, me: str, name: str) -> str:
    """Stop a run: its agents keep a snapshot and leave; what it is called on the broker. BadInput for no such run."""
    known = offers(post, me)
    if name not in known:
        raise BadInput(f"--stop: no run '{name}' is under way on {post.url}. {did_you_mean(name, known)}")
    run = known[name].run
    access = post.access(run, me)
    access.transport.open(b"")
    Writer(access.transport, access.identity, run).publish(STOP, {"reason": f"by {me}"})
    time.sleep(LISTEN)  # retained, but withdrawn by nobody: agents hear it now
    access.transport.publish(STOP, None)
    access.transport.close()
    return run
