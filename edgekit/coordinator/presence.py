"""How one agent of a run is, told to the others: its state, again and again, and what is heard of its own id."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from edgekit.coordinator.documents import State
from edgekit.coordinator.members import Members
from edgekit.coordinator.writer import Writer
from edgekit.errors import BadInput, EdgekitError
from edgekit.wire.transport import STATE, Message

BEAT: Final = 1.0  # seconds between two states while nothing else changes


class Presence:
    """The state of agent `me` of a run.

    describe(State): the state with what its owner knows of number, round, epoch and snapshots; nonce: of this process;
    denied: another process has this id.
    """

    def __init__(
        self, me: str, run: str, members: Members, writer: Writer, describe: Callable[[State], State]
    ) -> None:
        self.me, self.run, self.members, self.writer = me, run, members, writer
        self._describe = describe
        self.nonce = secrets.randbits(62)
        self.status, self.reason, self.denied = "joining", "", False
        self._refuses: int | None = None
        self._told = 0.0

    def will(self) -> bytes:
        """What is left behind when the link is lost."""
        return self.writer.will(State("lost", self.nonce, reason="its link was lost").body())

    def tell(self, status: str, reason: str = "") -> None:
        """Say how this agent is."""
        self.status, self.reason, self._told = status, reason, time.monotonic()
        state = self._describe(State(status, self.nonce, reason=reason))
        state = replace(state, refuses=self._refuses)
        self.members.states[self.me] = state
        self.writer.publish(STATE, state.body())

    def beat(self) -> None:
        """Say it again where it was long ago."""
        if time.monotonic() - self._told > BEAT:
            self.tell(self.status, self.reason)

    def withdraw(self) -> None:
        """Leave nothing behind."""
        self.writer.publish(STATE, None)

    def hear_own(self, message: Message) -> None:
        """An own document: of this process, of the one before it, or of another that uses the same id."""
        if not message.payload:
            return
        trust = self.members.trust
        try:
            body = trust.open(message.payload, self.me, message.name)
        except EdgekitError as error:
            if message.name == STATE and self.status == "joining":
                self.denied = True
                raise BadInput(
                    f"id '{self.me}' is in use by another agent of run '{self.run}' ({error}). Give each agent an id "
                    "of its own: --id NAME."
                ) from error
            return
        self.writer.above(trust.newest(self.me, message.name))
        if message.name == STATE:
            self._hear_state(State.of(body))

    def _hear_state(self, state: State) -> None:
        if state.nonce == self.nonce:
            return
        if state.refuses == self.nonce:
            self.denied = True
            raise BadInput(
                f"id '{self.me}' is in use in run '{self.run}'. Give this agent an id of its own: --id NAME."
            )
        if state.status == "lost" or self.status == "joining":
            self.tell(self.status, self.reason)  # a process before this one left it behind
        elif state.status == "joining":
            self._refuses = state.nonce
            self.tell(self.status, self.reason)
