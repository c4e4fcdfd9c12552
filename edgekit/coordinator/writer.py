"""The documents of one agent: signed, numbered, and published."""

from __future__ import annotations

import time
from typing import Any

from edgekit.wire.document import WILL, seal
from edgekit.wire.identity import Identity
from edgekit.wire.transport import STATE, Transport


class Writer:
    """Seals and publishes what an agent says.

    Numbers grow with the clock, and above any that was seen of this agent: a clock that was set back does not matter.
    """

    def __init__(self, transport: Transport, identity: Identity, run: str) -> None:
        self._transport, self._identity, self._run = transport, identity, run
        self._last = 0

    def will(self, body: dict[str, Any]) -> bytes:
        """The state that is left behind when this agent is lost."""
        return seal(self._identity, self._run, STATE, body, WILL)

    def above(self, number: int) -> None:
        """Let the next number be above one that was seen."""
        self._last = max(self._last, number)

    def publish(self, name: str, body: dict[str, Any] | None) -> None:
        """Publish a document, or withdraw it."""
        if body is None:
            self._transport.publish(name, None)
            return
        self._last = max(self._last + 1, time.time_ns())
        self._transport.publish(name, seal(self._identity, self._run, name, body, self._last))
