"""The documents of one agent: signed, numbered, and published."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Final

from edgekit.wire.document import WILL, seal
from edgekit.wire.identity import Identity
from edgekit.wire.transport import STATE, Transport

AHEAD: Final = 60 * 10**9  # numbers, ns, that are set aside on the disk at a time


class Writer:
    """Seals and publishes what an agent says.

    Numbers grow with the clock, and above any that was seen of this agent: a clock that was set back does not matter.
    Nor does it after a kill, where the will has taken the place of what was said last, if `memory` is given: a file
    that keeps a number which none before has passed.
    """

    def __init__(
        self, transport: Transport, identity: Identity, run: str, *, memory: Path | None = None
    ) -> None:
        self._transport, self._identity, self._run = transport, identity, run
        self._memory = memory
        self._last = self._aside = _kept(memory)

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
        if self._memory is not None and self._last > self._aside:
            self._aside = self._last + AHEAD
            _keep(self._memory, self._aside)
        self._transport.publish(name, seal(self._identity, self._run, name, body, self._last))


def _kept(memory: Path | None) -> int:
    text = memory.read_text(encoding="utf-8") if memory is not None and memory.is_file() else ""
    return int(text) if text.isdecimal() else 0


def _keep(memory: Path, number: int) -> None:
    memory.parent.mkdir(parents=True, exist_ok=True)
    temporary = memory.with_suffix(".tmp")
    temporary.write_text(str(number), encoding="utf-8")
    os.replace(temporary, memory)
