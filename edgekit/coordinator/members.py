"""What the documents of a run say: its spec, the newest roster, how each agent is, and whether to stop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from edgekit.coordinator.documents import GONE, LINES, ROSTER, SPEC, STOP, RosterDocument, Spec, State
from edgekit.wire.document import BadDocument, Trust
from edgekit.wire.transport import STATE, Message

Say = Callable[[str], None]


class Members:
    """Takes in documents; those that are not what they claim are counted, said once, and dropped.

    spec stays the first that came; of rosters the highest epoch holds. lines {id: lines}: the newest evaluations.
    """

    def __init__(self, trust: Trust, say: Say = lambda line: None) -> None:
        self.trust, self._say = trust, say
        self.spec: Spec | None = None
        self.starter = ""
        self.roster: RosterDocument | None = None
        self.states: dict[str, State] = {}
        self.lines: dict[str, list[dict[str, Any]]] = {}
        self.stop = ""
        self.refused: Counter[str] = Counter()
        self.changes = 0  # of spec, roster, states and stop
        self._said: set[str] = set()

    def hear(self, message: Message) -> None:
        """Take in a document; anything else is none of its business."""
        if message.what != "document":
            return
        try:
            self._hear(message)
        except BadDocument as bad:
            self.refused[message.sender] += 1
            if str(bad) not in self._said and len(self._said) < 1000:
                self._said.add(str(bad))
                self._say(str(bad))

    def is_gone(self, agent: str) -> bool:
        """Whether nothing is to be expected of an agent: lost, left or failed, or it never was there."""
        state = self.states.get(agent)
        return state is None or state.status in GONE

    def _hear(self, message: Message) -> None:
        sender, name = message.sender, message.name
        if not message.payload:  # withdrawn, as one does who has finished
            return
        body = self.trust.open(message.payload, sender, name)
        if name == STATE:
            self.states[sender] = State.of(body)
        elif name == SPEC:
            self._take_spec(sender, body)
        elif name == ROSTER:
            found = RosterDocument.of(body)
            if self.roster is None or found.epoch > self.roster.epoch:
                self.roster = found
        elif name == STOP:
            self.stop = str(body.get("reason", "stopped"))[:500]
        elif name == LINES:
            self.lines[sender] = _lines(body)
        self.changes += name != LINES

    def _take_spec(self, sender: str, body: dict[str, Any]) -> None:
        found = Spec.of(body)
        if self.spec is None:
            self.spec, self.starter = found, sender
        elif found != self.spec:
            raise BadDocument(
                f"'{sender}' gives another run document than '{self.starter}' did; the first one holds."
            )


def _lines(body: dict[str, Any]) -> list[dict[str, Any]]:
    lines = body.get("lines")
    if not isinstance(lines, list) or not all(isinstance(line, dict) for line in lines):
        raise BadDocument("lines: it holds no list of lines.")
    return lines
