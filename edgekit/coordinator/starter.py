"""Who starts a run: it publishes the run document and the first roster, and gathers what the agents report.

It owns no model. When it dies, the agents go on by themselves; the same command finds them again.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Final

from edgekit.coordinator import convene
from edgekit.coordinator.access import Access
from edgekit.coordinator.documents import OVER, ROSTER, SPEC, STOP, RosterDocument, Spec, State
from edgekit.coordinator.errors import LostQuorum, Stopped
from edgekit.coordinator.mail import Letter, Mail
from edgekit.coordinator.members import Members
from edgekit.coordinator.merge import Merge
from edgekit.coordinator.observer import Observer
from edgekit.coordinator.writer import Writer
from edgekit.errors import BadInput
from edgekit.wire.frame import Kind, frame_key
from edgekit.wire.transport import STATE, LinkInfo, Message

Say = Callable[[str], None]
LOST_FOR: Final = 20.0  # seconds after which a run without any live agent is over
STOPPING: Final = 15.0  # seconds that agents have to keep their snapshots


class Starter:
    """One run as its starter sees it.

    step() is called again and again; it is over when `over` says why. on_line(sender, text): what watchers see.
    """

    def __init__(
        self,
        access: Access,
        run: str,
        spec: Spec,
        merge: Merge,
        *,
        say: Say = lambda line: None,
        on_watch: Callable[[str, str], None] = lambda sender, text: None,
        observer: Observer | None = None,
    ) -> None:
        self.access, self.run, self.spec, self.merge = access, run, spec, merge
        self.members = Members(access.trust, say)
        self.writer = Writer(access.transport, access.identity, run, memory=merge.folder / "numbers")
        self.observer = observer
        self.mail = Mail(
            access.transport, run, None if access.secret is None else frame_key(access.secret, run)
        )
        if observer is not None:
            self.mail.bound(observer.longest, spec.agents)
        self.nonce = secrets.randbits(62)
        self.over, self._say, self._on_watch = "", say, on_watch
        self._began = time.monotonic()
        self._silent: float | None = None
        self._epoch = 0
        self._closed = False
        self._failed: set[str] = set()

    def open(self, *, lines: bool = True) -> LinkInfo:
        """Connect, and publish what is to be trained."""
        transport = self.access.transport
        info = self.mail.open(self.writer.will(State("lost", self.nonce).body()))
        transport.listen((), lines=lines)
        self.writer.publish(STATE, State("watching", self.nonce).body())
        self.writer.publish(SPEC, self.spec.body())
        self._began = time.monotonic()
        return info

    def find(self, seconds: float) -> set[str]:
        """Agents that are in this run already, as where another starter died and they went on."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            item = self.mail.receive(0.1)
            if item is not None:
                self._hear(item)
        return {name for name in self.members.states if self._is_live(name)}

    def step(self, timeout: float) -> None:
        """Take in what comes for at most so long, and do what is due."""
        item = self.mail.receive(timeout)
        while item is not None:
            self._hear(item)
            item = self.mail.receive(0.0)
        self._convene()
        self._gather()
        self._watch_over()

    def stop(self, reason: str) -> None:
        """Stop the run: agents keep a snapshot and leave."""
        self.writer.publish(STOP, {"reason": reason})
        until = time.monotonic() + STOPPING
        while time.monotonic() < until and any(self._is_live(name) for name in self._names()):
            item = self.mail.receive(0.1)
            if item is not None:
                self._hear(item)
        self.merge.look_again()  # whoever stops it may have interrupted a line
        self._gather(whole=True)

    def close(self) -> None:
        """Say that everything was received, withdraw the documents, and leave; may be called twice."""
        if self._closed:
            return
        self._closed = True
        self.writer.publish(STATE, State("done", self.nonce).body())
        for name in (SPEC, ROSTER, STOP):
            self.writer.publish(name, None)
        self.access.transport.close()

    def waiting_for(self) -> str:
        """What the run waits for, in words; "" where it is under way."""
        if self.members.roster is not None:
            return ""
        ready = sum(state.status == "ready" for state in self.members.states.values())
        return f"{ready} of {self.spec.agents} agents are ready"

    def _hear(self, message: Message | Letter) -> None:
        if isinstance(message, Letter):
            if self.observer is not None and message.head.kind is Kind.REPORT:
                self.observer.take(message.head.round, message.head.sender, message.payload)
        elif message.what == "line":
            self._on_watch(message.sender, message.payload.decode("utf-8", "replace"))
        elif message.what == "link":
            self._say(f"the link to the broker is {message.name}")
        elif message.sender == self.access.transport.me:
            if message.name == ROSTER:  # of the starter before this one, or an echo
                self.members.hear(message)
            self.writer.above(self.access.trust.newest(message.sender, message.name))
        else:
            self.members.hear(message)
            state = self.members.states.get(message.sender)
            if state is not None and state.status == "failed" and message.sender not in self._failed:
                self._failed.add(message.sender)
                self._say(f"{message.sender} failed: {state.reason}")

    def _convene(self) -> None:
        """Write the first roster as soon as there can be one."""
        if self.members.roster is not None:
            if self.members.roster.epoch != self._epoch:
                self._epoch = self.members.roster.epoch
                self._say(self._described(self.members.roster))
                if self.members.roster.resume is not None:
                    self.merge.back_to(self.members.roster.resume)
            return
        waited = time.monotonic() - self._began
        found = convene.first_roster(self.spec, self.members.states, waited=waited > self.spec.wait)
        if found is not None:
            self.members.roster, self._epoch = found, found.epoch
            if found.resume is not None:
                self.merge.back_to(found.resume)
            else:
                self.merge.back_to(-1)
            self.writer.publish(ROSTER, found.body())
            self._say(self._described(found))
        elif waited > self.spec.wait:
            self._refuse_few(waited)

    def _refuse_few(self, waited: float) -> None:
        states = self.members.states
        other = [
            name
            for name, state in states.items()
            if state.status == "ready" and state.schema != self.spec.schema
        ]
        if other:
            raise BadInput(
                f"run '{self.spec.name}': the model of {', '.join(sorted(other))} differs from the run document's. Use "
                "the same edgekit, data shape and model on all machines."
            )
        ready = sorted(name for name, state in states.items() if state.status == "ready")
        raise LostQuorum(
            f"run '{self.spec.name}': {len(ready)} of {self.spec.agents} agents were ready after {waited:.0f} s "
            f"({', '.join(ready) or 'none'}); at least {self.spec.min_agents} are needed. Start the others (edgekit "
            "agent), use --local N, or lower --min-agents."
        )

    def _described(self, roster: RosterDocument) -> str:
        joined = [member.id for member in roster.members if member.joined]
        text = f"epoch {roster.epoch}: {len(roster.members)} agents from round {roster.from_round}"
        if roster.resume is not None:
            text += f", from the snapshots of round {roster.resume}"
        return text + (f"; joined: {', '.join(joined)}" if joined else "")

    def _gather(self, *, last: bool = False, whole: bool = False) -> None:
        """Write the lines that are due; whole: only rounds of all members, as the others come again on a resume."""
        for lines in self.members.lines.values():
            self.merge.add(lines)
        roster = self.members.roster
        if roster is None:
            return
        self.mail.numbers = {member.number: member.id for member in roster.members}
        expected = [
            member.number for member in roster.members if whole or not self.members.is_gone(member.id)
        ]
        self.merge.write(expected, last=last)

    def _watch_over(self) -> None:
        roster = self.members.roster
        if roster is None:
            return
        states = [self.members.states.get(name) for name in self._names()]
        live = [name for name in self._names() if self._is_live(name)]
        done = [state for state in states if state is not None and state.status == "done"]
        if live:
            self._silent = None
            return
        if done:
            self._gather(last=True)
            self.over = "done"
            return
        if self.members.stop:
            self._gather(last=True)
            raise Stopped(
                f"run '{self.spec.name}' was stopped ({self.members.stop}); its snapshots are kept. Run the same "
                "command to resume."
            )
        now = time.monotonic()
        self._silent = self._silent or now
        if now - self._silent > LOST_FOR:
            reasons = sorted({state.reason for state in states if state is not None and state.reason})
            raise LostQuorum(
                f"run '{self.spec.name}' has no live agent any more ({'; '.join(reasons) or 'all were lost'}). Their "
                "snapshots are kept; run the same command to resume."
            )

    def _names(self) -> list[str]:
        roster = self.members.roster
        known = set() if roster is None else {member.id for member in roster.members}
        return sorted(
            {*known, *(name for name, state in self.members.states.items() if state.status == "ready")}
        )

    def _is_live(self, name: str) -> bool:
        state = self.members.states.get(name)
        return state is not None and state.status not in OVER and state.status != "watching"
