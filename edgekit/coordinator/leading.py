"""Writing rosters, where that is for this agent to do: after losses and arrivals have settled."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from edgekit.coordinator import convene
from edgekit.coordinator.documents import ROSTER, RosterDocument, Spec
from edgekit.coordinator.members import Members
from edgekit.coordinator.writer import Writer

Say = Callable[[str], None]
SETTLE: Final = 1.0  # seconds that losses and arrivals are gathered before a roster is written
REVIVAL: Final = 10.0  # seconds that the others have to come back when all were lost at once


class Leading:
    """The rosters that one agent writes; every agent has one, and at most one of them writes at a time."""

    def __init__(self, me: str, members: Members, writer: Writer, say: Say) -> None:
        self.me, self.members, self.writer, self._say = me, members, writer, say
        self._since: float | None = None

    @property
    def waits(self) -> bool:
        """Whether something is settling, so that it must be looked at again."""
        return self._since is not None

    def lead(self, spec: Spec, from_round: int) -> bool:
        """Write the next roster where this agent leads and one is due; whether it did."""
        roster, states = self.members.roster, self.members.states
        member = None if roster is None else roster.member(self.me)
        if roster is None or member is None or convene.next_writer(roster, states) != self.me:
            self._since = None
            return False
        found = convene.next_roster(spec, roster, states, writer=member.number, from_round=from_round)
        if found is None:
            self._since = None
            return False
        if self._waited() < SETTLE:
            return False
        lost = [name for name in convene.gone(roster, states) if found.member(name) is None]
        joined = [one.id for one in found.members if one.joined]
        self._write(
            found,
            f"epoch {found.epoch} from round {found.from_round}: {len(found.members)} agents"
            + (f"; lost: {', '.join(lost)}" if lost else "")
            + (f"; joined: {', '.join(joined)}" if joined else ""),
        )
        return True

    def revive(self, spec: Spec, roster: RosterDocument, number: int) -> None:
        """Write the roster after all were lost at once, where that is for this agent, which has or wants `number`."""
        states = self.members.states
        if convene.reviver(spec, roster, states) != self.me:
            self._since = None
            return
        waited = self._waited()
        if waited < SETTLE:
            return
        found = convene.revived_roster(spec, roster, states, writer=number, waited=waited > REVIVAL)
        if found is not None:
            start = "the beginning" if found.resume is None else f"the snapshots of round {found.resume}"
            self._write(found, f"all were lost: {len(found.members)} agents go on from {start}")

    def _waited(self) -> float:
        now = time.monotonic()
        if self._since is None:
            self._since = now
        return now - self._since

    def _write(self, found: RosterDocument, why: str) -> None:
        self._since = None
        self._say(f"{self.me}: {why}")
        self.members.roster = found
        self.writer.publish(ROSTER, found.body())
