"""One agent of a split run, from the first document to the last step.

All agents are needed, and each knows from the run file who they are. They meet, and the first of them writes a roster
when all are there: it names the newest step of which all hold a snapshot. When one is lost or started anew, all meet
again and go back to such a step, so that no step counts twice.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from edgekit.coordinator.access import Access
from edgekit.coordinator.documents import GONE, PRESENT, ROSTER, Member, RosterDocument, State
from edgekit.coordinator.errors import LostQuorum
from edgekit.coordinator.keeper import Keeper
from edgekit.coordinator.mail import Letter, Mail
from edgekit.coordinator.members import Members
from edgekit.coordinator.presence import Presence
from edgekit.coordinator.split_exchange import SplitExchange
from edgekit.coordinator.writer import Writer
from edgekit.decentralized.snapshot import Snapshot
from edgekit.errors import BadInput, EdgekitError
from edgekit.runs.split_run import LINES, SplitLines, SplitPart, sum_of
from edgekit.split.catalog import Catalog
from edgekit.split.message import Done, Receive, Send
from edgekit.wire.frame import frame_key
from edgekit.wire.transport import LinkInfo, Message

Say = Callable[[str], None]
CLAIM: Final = 0.5  # seconds in which another process of the same id would object
LINGER: Final = 30.0  # seconds that a finished agent still answers those who are not
NUMBERS: Final = "numbers"


class Broken(Exception):
    """An epoch is over: the message says why."""


class SplitSession:
    """Agent `access.transport.me` of the run `name`; everything it keeps is in `folder`.

    wait: seconds for the others to come, or to come back; on_step: hears how many steps are done.
    """

    def __init__(
        self,
        access: Access,
        name: str,
        part: SplitPart,
        folder: Path,
        *,
        wait: float = 60.0,
        snapshot_every: int = 10,
        say: Say = lambda line: None,
        on_step: Callable[[int], None] = lambda step: None,
    ) -> None:
        self.access, self.name, self.me = access, name, access.transport.me
        self.part, self.folder, self._wait, self._every = part, folder, wait, snapshot_every
        self._say, self._on_step = say, on_step
        self.agents = part.split.agents
        self.program, self.post = part.programs([self.me])[self.me], part.post()
        self._schema = part.schema
        self.members = Members(access.trust, say)
        self.writer = Writer(access.transport, access.identity, name, memory=folder / NUMBERS)
        self.presence = Presence(self.me, name, self.members, self.writer, self._described)
        key = None if access.secret is None else frame_key(access.secret, name)
        self.mail = Mail(access.transport, name, key)
        self.exchange = SplitExchange(
            self.me,
            self.mail,
            self.post,
            Catalog(part.split),
            schema=self._schema,
            other=self._hear,
            look=self._look,
        )
        self.keeper = Keeper(folder)
        self.roster: RosterDocument | None = None
        self.last: dict[str, Any] = {}
        self.lines = SplitLines(part.metric_name, {self.me})
        self._began = self._snapshot()
        self._up, self._complete = True, set[str]()

    def run(self) -> dict[str, Any]:
        """Take part until all steps are done; this agent's last line."""
        try:
            self._open()
            while True:
                self._meet()
                try:
                    self._train()
                    self._linger()
                    break
                except Broken as why:
                    self._say(f"{self.me}: {why}; back to the newest step that all have kept")
            self.presence.tell("done")
            return self._result()
        except KeyboardInterrupt:
            self.presence.tell("left", "stopped at the agent")
            raise
        except EdgekitError as error:
            self._fail(str(error))
            raise
        finally:
            self.access.transport.close()
            self.keeper.close()

    # meeting

    def _open(self) -> None:
        info: LinkInfo = self.mail.open(self.presence.will())
        self.mail.bound(self.part.longest(self.post), len(self.agents))
        self._say(f"{self.me}: connected to {info.broker}")
        self.presence.tell("joining")
        until = time.monotonic() + CLAIM
        while time.monotonic() < until:
            self._poll(0.05)

    def _meet(self) -> None:
        """Wait until a roster holds all agents as they are now, and go to the step that it names."""
        self.presence.tell("ready")
        until, told = time.monotonic() + self._wait, time.monotonic()
        while not self._entered():
            self._refuse_others()
            self._lead()
            if time.monotonic() - told > 10.0:
                told = time.monotonic()
                self._say(f"{self.me}: waits for {self._missing()}")
            if time.monotonic() > until:
                raise LostQuorum(
                    f"run '{self.name}': {self._missing()} did not come within {self._wait:g} s. Start the same "
                    "command there, then here again: it goes on from the newest step that all have kept."
                )
            self._poll(0.1)
            self.presence.beat()

    def _missing(self) -> str:
        states = self.members.states
        found = [
            name for name in self.agents if (state := states.get(name)) is None or state.status != "ready"
        ]
        said = [
            f"{name} ({states[name].reason})" if name in states and states[name].reason else name
            for name in found
        ]
        return ", ".join(said) or "the roster"

    def _refuse_others(self) -> None:
        """A run file or model that differs cannot train together."""
        for name in self.agents:
            state = self.members.states.get(name)
            if state is not None and state.status in PRESENT and state.schema != self._schema:
                raise BadInput(
                    f"split: the run file or model of '{name}' differs from that of '{self.me}' (schema "
                    f"{state.schema:08x}, here {self._schema:08x}). Use the same run file, edgekit and torch on all."
                )

    def _lead(self) -> None:
        """Write the roster when all are there, where this agent is the first of them."""
        states = self.members.states
        if self.me != self.agents[0] or self._missing() != "the roster":
            return
        held = [set(states[name].snapshots) for name in self.agents]
        common = set.intersection(*held)
        before = 0 if self.members.roster is None else self.members.roster.epoch
        members = tuple(Member(number, name, states[name].nonce) for number, name in enumerate(self.agents))
        resume = max(common, default=None)
        found = RosterDocument(before + 1, resume or 0, members, resume)
        self.members.roster = found
        self.writer.publish(ROSTER, found.body())

    def _entered(self) -> bool:
        """Go over to the newest roster, where it holds this process and a snapshot that is here."""
        found = self.members.roster
        if found is None or found is self.roster or (self.roster and found.epoch <= self.roster.epoch):
            return False
        member = found.member(self.me)
        if member is None or member.nonce != self.presence.nonce or set(found.ids) != set(self.agents):
            return False
        self.roster = found
        if found.resume is not None and found.resume not in self.keeper.snapshots():
            self.presence.tell("ready")  # it was written for what is gone: say again what is there
            return False
        self._restore(found.resume)
        numbers = {item.number: item.id for item in found.members}
        self.exchange.enter(found.epoch, numbers, self.program.step)
        self._say(f"{self.me}: {len(numbers)} agents, epoch {found.epoch}, from step {self.program.step}")
        self.presence.tell("training")
        return True

    def _restore(self, step: int | None) -> None:
        found = self._began if step is None else self.keeper.load(step)
        self.program.restore(found)
        self.post.restore(found)
        for later in self.keeper.snapshots():
            if later > self.program.step:
                self.keeper.drop(later)
        self.lines = SplitLines(self.part.metric_name, {self.me}, found.facts["losses"])
        path = self.folder / LINES
        text = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        kept = [] if step is None else [line for line in text if _step_of(line) <= step]
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        os.replace(temporary, path)

    # training

    def _train(self) -> None:
        """All steps that are left; Broken where another agent is lost."""
        steps, value = self.program.run(), None
        while True:
            try:
                item = steps.send(value)
            except StopIteration:
                return
            value = None
            if isinstance(item, Send):
                self.exchange.send(item, self.program.step)
            elif isinstance(item, Receive):
                value = self.exchange.receive(item, self.program.step)
            else:
                self._done(item)

    def _done(self, item: Done) -> None:
        for line in self.lines.add(self.me, item):
            self.last = {**line, **self._costs()}
            with open(self.folder / LINES, "a", encoding="utf-8") as file:
                file.write(json.dumps(self.last) + "\n")
        step, last = item.step, self.part.run.steps
        if step and (step % self._every == 0 or step == last):
            self.keeper.save(self._snapshot(), step)
        self.presence.beat()
        self._on_step(step)

    def _costs(self) -> dict[str, Any]:
        return {
            "bytes_sent": sum_of([self.post.sent]),
            "frame_bytes": self.mail.sent,
            "epoch": self.roster.epoch if self.roster else 0,
        }

    def _result(self) -> dict[str, Any]:
        """The last line; without figures where another agent has them."""
        return {**self.lines.line(self.program.step, {}), **self.last, **self._costs()}

    def _snapshot(self) -> Snapshot:
        found = Snapshot()
        self.program.snapshot(found)
        self.post.snapshot(found)
        found.facts["losses"] = self.lines.losses
        return found

    def _look(self) -> None:
        """Broken where this epoch is over."""
        self.presence.beat()
        roster, newest = self.roster, self.members.roster
        if roster is None or self.presence.status == "ready":
            return
        if newest is not None and newest.epoch > roster.epoch and newest.member(self.me) is not None:
            raise Broken("the others have met anew")
        if not self._up:
            raise Broken("the link to the broker is down")
        for member in roster.members:
            state = self.members.states.get(member.id)
            if member.id == self.me or state is None or member.id in self._complete:
                continue
            if state.nonce == member.nonce and state.status == "done":
                self._complete.add(member.id)
            elif state.status in GONE:
                raise Broken(f"{member.id} is {state.status}")
            elif state.nonce != member.nonce:
                raise Broken(f"{member.id} was started anew")
            elif state.status == "ready" and state.epoch == roster.epoch:
                raise Broken(f"{member.id} has left this epoch")

    def _linger(self) -> None:
        """Answer those who are not done yet."""
        self.presence.tell("done")
        self._say(f"{self.me}: done, {self.program.step} steps")
        until = time.monotonic() + LINGER
        others = set(self.agents) - {self.me}
        while time.monotonic() < until and not others <= self._complete:
            self.exchange.listen(0.05)
            self._look()

    # what comes

    def _poll(self, timeout: float) -> None:
        """Take in what comes before there is an epoch; frames are asked for later."""
        if self.roster is not None:
            self.exchange.listen(timeout)
            return
        item = self.mail.receive(timeout)
        if item is not None and not isinstance(item, Letter):
            self._hear(item)

    def _hear(self, message: Message) -> None:
        if message.what == "link":
            self._up = message.name == "up"
            self._say(f"{self.me}: the link is {message.name}")
            if self._up:
                self.presence.tell(self.presence.status, self.presence.reason)
        elif message.what == "document" and message.sender == self.me:
            self.presence.hear_own(message)
        else:
            self.members.hear(message)

    def _described(self, state: State) -> State:
        return State(
            state.status,
            state.nonce,
            round=self.program.step,
            epoch=self.roster.epoch if self.roster else 0,
            snapshots=self.keeper.snapshots(),
            schema=self._schema,
            reason=state.reason,
        )

    def _fail(self, reason: str) -> None:
        if self.presence.denied:
            self.presence.withdraw()  # whoever has this id keeps it
        else:
            self.presence.tell("failed", reason)


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return 1 << 62  # torn when the machine stopped
