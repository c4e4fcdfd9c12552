"""One agent in one run, from the first document to the last line.

The agent says that it is there, receives the run document, makes its model and data ready, waits for a roster that
holds it, trains round after round, and follows every later roster. The lowest live number leads: it writes the next
roster when agents are lost, come back, or fall behind. Whoever is lost costs the others at most its own round.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgekit.coordinator.access import Access
from edgekit.coordinator.account import Account
from edgekit.coordinator.async_engine import AsyncEngine
from edgekit.coordinator.device_file import DeviceFile
from edgekit.coordinator.documents import LINES, OVER, Member, RosterDocument, Spec, State
from edgekit.coordinator.errors import LostQuorum, Stopped
from edgekit.coordinator.keeper import Keeper
from edgekit.coordinator.leading import Leading
from edgekit.coordinator.mail import Letter, Mail
from edgekit.coordinator.members import Members
from edgekit.coordinator.peer_engine import PeerEngine
from edgekit.coordinator.presence import Presence
from edgekit.coordinator.round_energy import RoundEnergy
from edgekit.coordinator.writer import Writer
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.solo import Solo
from edgekit.errors import BadInput, EdgekitError
from edgekit.wire.frame import frame_key
from edgekit.wire.transport import LinkInfo, Message

Say = Callable[[str], None]
Engine = PeerEngine | AsyncEngine
CLAIM: Final = 0.5  # seconds in which another process of the same id would object
AHEAD: Final = 3  # rounds, at least, between a roster and the round it holds from
LINGER: Final = 30.0  # seconds that a finished agent still answers those who are not
NUMBERS: Final = "numbers"  # the file of the numbers of documents
VECTORS: Final = 4  # rows of a model that one message holds, at most


class Session:
    """Agent `access.transport.me` in the run `name`; everything it keeps is in `folder`.

    make(spec, number): the agent's side of the run, `OneAgent`.
    """

    def __init__(
        self,
        access: Access,
        name: str,
        folder: Path,
        make: Callable[[Spec, int | None], Any],
        *,
        device: DeviceFile | None = None,
        patience: float = 60.0,
        say: Say = lambda line: None,
    ) -> None:
        self.access, self.name, self.me = access, name, access.transport.me
        self.device, self._make, self._patience = device or DeviceFile(), make, patience
        self.folder, self._say = folder, say
        self.members = Members(access.trust, self.say)
        self.writer = Writer(access.transport, access.identity, name, memory=folder / self.me / NUMBERS)
        key = None if access.secret is None else frame_key(access.secret, name)
        self.mail = Mail(access.transport, name, key)
        self.presence = Presence(self.me, name, self.members, self.writer, self._described)
        self.leading = Leading(self.me, self.members, self.writer, self.say)
        self.opened = False
        self.engine: Engine | None = None
        self.one: Any = None
        self.keeper: Keeper | None = None
        self.current: RosterDocument | None = None
        self.account: Account | None = None
        self._facts: dict[str, list[float]] = {}
        self._snapshots: tuple[int, ...] = ()
        self._schema = 0
        self._wish: int | None = None
        self._claimed = 0.0  # until when another process of this id may object
        self._up, self._down_since = True, 0.0
        self._in_round = False
        self._seen_changes = -1

    def say(self, line: str) -> None:
        """Tell the log and whoever listens here."""
        self._say(line)
        if self.keeper is not None:
            self.keeper.journal.note("say", line=line)

    def run(self) -> str:
        """Take part until the run is over; "done", or "over" where it ended without this agent."""
        try:
            self._open()
            spec = self._await_spec()
            self._prepare(spec)
            self.presence.tell("ready")
            if not self._await_roster(spec):
                self._leave("left", "the run ended while this agent was away")
                return "over"
            if not self._train(spec):
                self._leave("left", "the run ended while this agent was behind")
                return "over"
            self._finish(spec)
            return "done"
        except Stopped as error:
            self._save_whole()
            self._leave("left", str(error))
            raise
        except LostQuorum as error:
            self._save_whole()
            self._leave("failed", str(error))
            raise
        except EdgekitError as error:
            self._leave("failed", str(error))
            raise
        except KeyboardInterrupt:
            self._save_whole()
            self._leave("left", "stopped at the agent")
            raise
        finally:
            self.access.transport.close()
            if self.account is not None:
                self.account.energy.stop()
            if self.keeper is not None:
                self.keeper.close()

    # getting there

    def _open(self) -> None:
        info: LinkInfo = self.mail.open(self.presence.will())
        self.opened = True
        self.say(f"{self.me}: connected to {info.broker}")
        self.presence.tell("joining")
        self._claimed = time.monotonic() + CLAIM

    def _claim(self) -> None:
        """Hear what another process of the same id may have to say; BadInput where there is one."""
        while self._poll(max(0.0, self._claimed - time.monotonic())) or time.monotonic() < self._claimed:
            pass

    def _await_spec(self) -> Spec:
        until = time.monotonic() + self._patience
        while self.members.spec is None:
            if time.monotonic() > until:
                raise BadInput(
                    f"run '{self.name}': no run document came within {self._patience:g} s. Start the run with edgekit "
                    "train on this broker, or check its name."
                )
            self._poll(0.2)
        return self.members.spec

    def _prepare(self, spec: Spec) -> None:
        folder = self.folder / spec.name / self.me
        number = self._known_number(folder)
        try:
            self.one = self._make(spec, number)
        finally:
            self._claim()  # before anything is said of this id, or written to its folder
        self.keeper = Keeper(folder)
        energy = RoundEnergy.of(self.device.sensor)
        self.account = Account(self.me, self.mail, self.writer, self.keeper, energy)
        self._schema = spec.schema
        self._snapshots = self.keeper.snapshots()
        self._wish = number
        self._facts = self._permitted_facts()

    def _permitted_facts(self) -> dict[str, list[float]]:
        topology = self.one.run.topology
        for fact in set(topology.facts) - {"speeds"}:
            if fact not in self.device.share:
                raise BadInput(
                    f"topology: {topology.name} needs the {fact} of this agent's data, which agent.yaml does not let "
                    "it tell. Permit it there (share), or choose another topology."
                )
        facts: dict[str, list[float]] = self.one.facts()
        return facts

    def _known_number(self, folder: Path) -> int | None:
        if self.device.partition is not None:
            return self.device.partition
        path = folder / "number"
        text = path.read_text() if path.is_file() else ""
        return int(text) if text.isdecimal() else None  # torn when the machine stopped

    def _await_roster(self, spec: Spec) -> bool:
        """Wait until a roster holds this process; False where the run ended without it."""
        until = time.monotonic() + max(spec.wait, self._patience)
        while True:
            roster = self.members.roster
            member = None if roster is None else roster.member(self.me)
            if roster is not None and member is not None and member.nonce == self.presence.nonce:
                self._enter(roster, member, first=True)
                return True
            if self.members.stop:
                raise Stopped(f"the run was stopped: {self.members.stop}")
            if roster is not None:
                if self._is_over(roster):
                    return False
                self.leading.revive(spec, roster, self._wish or 0)
            if time.monotonic() > until:
                raise LostQuorum(
                    f"run '{self.name}': no roster took this agent in within {spec.wait:g} s; {self._who()}. Start the "
                    "missing agents, or lower --min-agents."
                )
            self._poll(0.2)
            self.presence.beat()

    def _is_over(self, roster: RosterDocument) -> bool:
        others = [member.id for member in roster.members if member.id != self.me]
        states = [self.members.states.get(name) for name in others]
        over = [state is None or state.status in OVER for state in states]
        return all(over) and any(state is not None and state.status == "done" for state in states)

    def _who(self) -> str:
        ready = [name for name, state in self.members.states.items() if state.status == "ready"]
        return f"ready: {', '.join(sorted(ready)) or 'none'}"

    # training

    def _train(self, spec: Spec) -> bool:
        """All rounds that are left; False where the run ended before this agent caught up."""
        engine, one = self._engine, self.one
        every, last = one.run.evaluate_every, one.run.rounds
        if engine.number == 0:
            self._evaluate()
        while engine.number < last:
            if not self._between(spec):
                return False
            engine, self._in_round = self._engine, True
            report = engine.round()
            self._in_round = False
            self._account.round(report, engine.epoch, engine.payload_bytes)
            number = engine.number
            if number % every == 0 or number == last:
                self._evaluate()
            if number % spec.snapshot_every == 0 or number == last:
                self._save()
        return True

    @property
    def _engine(self) -> Engine:
        if self.engine is None:
            raise RuntimeError("no roster yet")
        return self.engine

    def _between(self, spec: Spec) -> bool:
        """What must be looked at before a round, almost always nothing; False where the run is over for this agent."""
        members = self.members
        if members.changes != self._seen_changes or self.leading.waits or self._overtaken():
            self._seen_changes = members.changes
            self._follow()
            self._keep_quorum(spec)
            self._lead(spec)
        if members.stop:
            raise Stopped(f"the run was stopped: {members.stop}")
        if (self._engine.behind or self._expelled()) and self.presence.status != "behind":
            why = "the others went on without it" if self._expelled() else self._engine.behind
            self.say(f"{self.me}: {why}: it waits to be taken in again")
            self.presence.tell("behind")
            if not self._await_again(spec):
                return False
        self.presence.beat()
        return True

    def _follow(self) -> None:
        """Go over to the newest roster where its round has come."""
        roster = self.members.roster
        if roster is None or self.current is None or roster.epoch <= self.current.epoch:
            return
        member = roster.member(self.me)
        if member is None or member.nonce != self.presence.nonce:
            return
        if member.joined or self._has_come(roster):
            self._enter(roster, member)

    def _has_come(self, roster: RosterDocument) -> bool:
        """Whether this agent is where a roster begins: at its round, or anywhere where each has its own pace."""
        return not self._engine.in_step or self._engine.number >= roster.from_round

    def _overtaken(self) -> bool:
        """Whether a newer roster is without this agent, or holds from a round that it has reached."""
        self._refuse_long_cut()
        newer, current, engine = self.members.roster, self.current, self.engine
        if newer is current or newer is None or current is None or engine is None:
            return False
        return newer.epoch > current.epoch and (self._expelled() or self._has_come(newer))

    def _refuse_long_cut(self) -> None:
        """A round waits while the link is down, but not for ever."""
        if self._up:
            return
        wait = self._spec.wait
        if time.monotonic() - self._down_since > wait:
            raise self._lost_quorum(f"the link was down for {wait:g} s")

    def _lost_quorum(self, why: str) -> LostQuorum:
        kept = self._kept
        self._save_whole()
        last = max(kept.snapshots(), default=None)
        where = "It kept no snapshot" if last is None else f"Its snapshot of round {last} is in {kept.folder}"
        return LostQuorum(
            f"run '{self.name}' lost its quorum: {why}. {where}; start the same command again when they are back, or "
            "lower --min-agents."
        )

    def _expelled(self) -> bool:
        """Whether the newest roster is without this process, as after a partition of the network."""
        newer = self.members.roster
        if newer is self.current or newer is None:
            return False
        member = newer.member(self.me)
        return member is None or member.nonce != self.presence.nonce

    def _is_away(self, agent: str) -> bool:
        """Whether an agent sends nothing in this epoch: gone, another process now, or done or behind without it."""
        state, current = self.members.states.get(agent), self.current
        if state is None or current is None or self.members.is_gone(agent):
            return True
        member = current.member(agent)
        if member is not None and member.nonce != state.nonce:
            return True
        behind = state.status == "behind" and state.epoch >= current.epoch
        return behind or (state.status == "done" and state.epoch < current.epoch)

    def _await_again(self, spec: Spec) -> bool:
        """Wait until a roster takes this agent in anew; False where the run ended before."""
        until, epoch = time.monotonic() + spec.wait, self.current.epoch if self.current else 0
        while self.current is None or self.current.epoch == epoch:
            self._lead(spec)
            self.presence.beat()
            if self.members.stop:
                raise Stopped(f"the run was stopped: {self.members.stop}")
            if time.monotonic() > until:
                raise LostQuorum(f"{self.me}: nobody took it in again within {spec.wait:g} s; {self._who()}")
            if self.current is not None and self._is_over(self.current):
                return False
            self._engine.listen(0.1)
            self._follow()
        return True

    def _keep_quorum(self, spec: Spec) -> None:
        """Wait while too few agents are there; LostQuorum after the run's wait."""
        began = None
        while (here := self._here()) < spec.min_agents or not self._up:
            if began is None:
                began = time.monotonic()
                why = "the link is down" if not self._up else f"{here} of {spec.min_agents} agents are here"
                self.say(f"{self.me}: waits: {why}")
                self.presence.tell("waiting")
            if time.monotonic() - began > spec.wait:
                raise self._lost_quorum(
                    f"{here} of at least {spec.min_agents} agents were here for {spec.wait:g} s"
                )
            self._engine.listen(0.1)
            if self.members.stop:
                raise Stopped(f"the run was stopped: {self.members.stop}")
            self._follow()
            self._lead(spec)
            self.presence.beat()
        if began is not None:
            self.say(f"{self.me}: goes on after {time.monotonic() - began:.1f} s")
            self.presence.tell("training")

    @property
    def _account(self) -> Account:
        if self.account is None:
            raise RuntimeError("no run document yet")
        return self.account

    @property
    def _kept(self) -> Keeper:
        if self.keeper is None:
            raise RuntimeError("no run document yet")
        return self.keeper

    def _here(self) -> int:
        """Members that are there or done, and those about to be taken in again."""
        states = self.members.states.values()
        return sum(state.status in ("ready", "training", "waiting", "behind", "done") for state in states)

    def _lead(self, spec: Spec) -> None:
        """Write the next roster where that is for this agent, and follow it."""
        if self.engine is not None and self.leading.lead(spec, self._next_round()):
            self._follow()

    def _next_round(self) -> int:
        """From which round on a roster can hold: soon, but after all have heard of it."""
        engine, count = self._engine, len(self.members.roster.members) if self.members.roster else 0
        pace = self._account.seconds / max(1, engine.number)
        margin = max(AHEAD, -(-count // 2), int(0.3 / pace) if pace else 0)
        if self.presence.status == "behind":  # as all are: it goes on where it is
            margin = 0
        return min(engine.number + margin, max(engine.number, self.one.run.rounds - 1))

    def _enter(self, roster: RosterDocument, member: Member, *, first: bool = False) -> None:
        """Go on among the agents of a roster."""
        kept = self._kept
        if member.number != self._wish or self.one is None or self.one.number != member.number:
            self.one = self._make(self._spec, member.number)
        (kept.folder / "number").write_text(str(member.number))
        self._wish, self.current = member.number, roster
        numbers = {item.number: item.id for item in roster.members}
        whole = _roster_of(roster)
        if self.engine is None or self.engine.solo.agent != member.number:
            self.engine = self._new_engine(whole)
        engine = self.engine
        row = self.one.row.nbytes + sum(rows.nbytes for rows in self.one.objective.buffers.values())
        self.mail.bound(VECTORS * row + 4096, len(roster.members))
        first_start = first and roster.resume is None and not any(item.joined for item in roster.members)
        if first and roster.resume is not None and not member.joined:
            engine.epoch, engine.ids = roster.epoch, roster.ids
            self._resume(engine, roster, whole, numbers)
        else:
            if first or member.joined or (engine.in_step and engine.number > roster.from_round):
                engine.number = roster.from_round
                kept.back_to(roster.from_round)
            joined = [place for place, item in enumerate(roster.members) if item.joined]
            fresh = first_start and self.one.run.initial == "same"
            engine.enter(roster.epoch, whole, roster.ids, numbers, joined=joined, exchange=not fresh)
        self.say(
            f"{self.me}: number {member.number}, epoch {roster.epoch}, {len(roster.members)} agents, round "
            f"{engine.number}" + (", joined" if member.joined else "")
        )
        self.presence.tell("training")

    def _resume(self, engine: Engine, roster: RosterDocument, whole: Roster, numbers: dict[int, str]) -> None:
        """Go on from the snapshot that the roster names, with the bits that it had."""
        kept = self._kept
        found = kept.load(roster.resume or 0)
        kept.back_to(roster.resume or 0)
        self._account.restore(found.facts)
        engine.number = roster.resume or 0
        joined = [place for place, item in enumerate(roster.members) if item.joined]
        same = tuple(found.facts["ids"]) == whole.ids and not joined
        if not same:
            engine.restore(found)
        engine.enter(roster.epoch, whole, roster.ids, numbers, joined=joined, exchange=not same)
        if same:
            engine.restore(found)
        self._account.publish()

    def _new_engine(self, roster: Roster) -> Engine:
        solo = self.one.solo(roster)
        how: dict[str, Any] = {
            "gone": self._is_away,
            "overtaken": self._overtaken,
            "other": self._hear,
            "schema": self._spec.schema,
        }
        if isinstance(solo, Solo):
            return PeerEngine(solo, self.mail, self._spec.deadlines, **how)
        return AsyncEngine(solo, self.mail, self._spec.deadlines, **how)

    @property
    def _spec(self) -> Spec:
        if self.members.spec is None:
            raise RuntimeError("no run document yet")
        return self.members.spec

    # what is told and kept

    def _evaluate(self) -> None:
        self._account.evaluate(self._engine, self.one, self.members.starter, self._spec.schema)

    def _save_whole(self) -> None:
        """Save at the end; within a round the state is neither that before nor after it: the last snapshot holds."""
        if not self._in_round:
            self._save()

    def _save(self) -> None:
        if self.engine is None or self.keeper is None or self.current is None:
            return
        found = self.engine.snapshot()
        found.facts |= self._account.facts()
        self.keeper.save(found, self.engine.number)
        self._snapshots = self.keeper.snapshots()

    def _described(self, state: State) -> State:
        return replace(
            state,
            number=self._wish,
            round=self.engine.number if self.engine else 0,
            epoch=self.current.epoch if self.current else 0,
            snapshots=self._snapshots,
            schema=self._schema,
            facts=self._facts,
        )

    def _poll(self, timeout: float) -> bool:
        """Take in what comes, and whether something did; frames have no place yet and are asked for later."""
        if self.engine is not None:
            return self.engine.listen(timeout)
        item = self.mail.receive(timeout)
        if item is not None and not isinstance(item, Letter):
            self._hear(item)
        return item is not None

    def _hear(self, message: Message) -> None:
        if message.what == "link":
            self._up, self._down_since = message.name == "up", time.monotonic()
            self.members.changes += 1
            self.say(f"{self.me}: the link is {message.name}")
        elif message.what == "document" and message.sender == self.me:
            self.presence.hear_own(message)
        else:
            self.members.hear(message)

    # the end

    def _finish(self, spec: Spec) -> None:
        """Answer those who are not done yet, then go."""
        self.presence.tell("done")
        self.say(
            f"{self.me}: done, {self._engine.number} rounds in {self._account.seconds:.2f} s of training"
        )
        until = time.monotonic() + LINGER
        while time.monotonic() < until and not self._all_done():
            self._engine.listen(0.05)
            self.presence.beat()
        self.writer.publish(LINES, None)
        self._leave("done", "")

    def _all_done(self) -> bool:
        """Whether every member is done or gone, and the starter has what it waits for, or is gone itself."""
        roster, states = self.current, self.members.states
        if roster is None:
            return True
        starter = states.get(self.members.starter)
        if starter is not None and starter.status == "watching":
            return False
        if isinstance(self.engine, AsyncEngine) and not self.engine.idle:
            return False
        return all(
            (state := states.get(member.id)) is None or state.status in OVER for member in roster.members
        )

    def _leave(self, status: str, reason: str) -> None:
        if self.presence.denied or self.members.spec is None:
            self.presence.withdraw()  # whoever has this id keeps it; without a run nothing is left behind
            return
        if reason:
            self.say(f"{self.me}: {status}: {reason}")
        self.presence.tell(status, reason)


def _roster_of(document: RosterDocument) -> Roster:
    facts = {name: np.array(rows, np.float64) for name, rows in document.facts.items()}
    return Roster(
        tuple(member.number for member in document.members),
        facts.get("histograms"),
        facts.get("proxies"),
    )
