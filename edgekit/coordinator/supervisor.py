"""`edgekit agent`: waits in the lobby of a broker for runs that look for agents, and takes part in them, one at a time.

It needs no torch itself: a run is a process of its own, that is started anew when it is killed.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from edgekit.coordinator.device_file import DeviceFile
from edgekit.coordinator.documents import State
from edgekit.coordinator.role import Role
from edgekit.coordinator.worker import Post, Work
from edgekit.coordinator.writer import Writer
from edgekit.errors import BadInput
from edgekit.wire.document import BadDocument
from edgekit.wire.transport import ID, STATE, Message

Say = Callable[[str], None]
LOBBY, OFFER = "lobby", "offer"
BEAT: Final = 5.0  # seconds between two states
CLAIM: Final = 0.7  # seconds in which another agent of the same id would object


@dataclass(frozen=True)
class Offer:
    """A run that is under way; open: whether it looks for agents."""

    run: str
    name: str
    agents: int
    open: bool = True
    role: str = "train"

    def body(self) -> dict[str, Any]:
        """As a document."""
        return asdict(self)

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Offer:
        """From a document; BadDocument where it is none."""
        texts = [body.get(name) for name in ("run", "name", "role")]
        if not all(isinstance(text, str) and ID.fullmatch(text) for text in texts):
            raise BadDocument("offer: run, name and role are no names.")
        agents = body.get("agents")
        if type(agents) is not int or agents < 1:
            raise BadDocument("offer: agents is no whole number from 1.")
        return cls(str(texts[0]), str(texts[1]), agents, body.get("open") is True, str(texts[2]))


class Supervisor:
    """One machine in the lobby.

    only: the names of runs that it takes part in, all where empty; once: leave after the first.
    """

    def __init__(
        self,
        me: str,
        post: Post,
        device: DeviceFile,
        folder: Path,
        roles: Mapping[str, Role],
        *,
        only: tuple[str, ...] = (),
        once: bool = False,
        say: Say = lambda line: None,
    ) -> None:
        self.me, self.post, self.device, self.folder = me, post, device, folder
        self.only, self.once, self._say = only, once, say
        self.roles = {name: role for name, role in roles.items() if not role.missing()}
        self._nonce = secrets.randbits(62)
        self._access = post.access(LOBBY, me)
        self._writer = Writer(self._access.transport, self._access.identity, LOBBY)
        self._offers: dict[str, Offer] = {}
        self._taken: set[str] = set()
        self._work: Any = None
        self._doing: Offer | None = None
        self._stated = 0.0
        self._claimed = False
        self.exit_code = 0
        for role in roles.values():
            if lack := role.missing():
                say(lack)

    def run(self) -> int:
        """Wait for runs and take part in them until told to stop; the exit status of the last run with `once`."""
        transport = self._access.transport
        info = transport.open(self._writer.will(State("lost", self._nonce).body()))
        self._say(
            f"{self.me}: in the lobby of {info.broker} at {self.post.url}; can {', '.join(self.roles) or 'nothing'}"
        )
        try:
            self._claim()
            while not (self.once and self._taken and self._work is None):
                self._hear(transport.receive(0.2))
                self._look()
                self._beat()
            return self.exit_code
        finally:
            if self._work is not None:
                self._work.kill()
            self._writer.publish(STATE, None)
            transport.close()

    def _claim(self) -> None:
        self._state("joining")
        until = time.monotonic() + CLAIM
        while time.monotonic() < until:
            self._hear(self._access.transport.receive(0.05))
        self._claimed = True
        self._state("ready")

    def _hear(self, message: Message | None) -> None:
        if message is None:
            return
        if message.what == "link":
            self._say(f"{self.me}: the link is {message.name}")
        elif message.what == "document" and message.sender == self.me and message.name == STATE:
            self._hear_own(message)
        elif message.what == "document" and message.name == OFFER:
            self._hear_offer(message)

    def _hear_offer(self, message: Message) -> None:
        if not message.payload:
            self._offers.pop(message.sender, None)
            return
        try:
            offer = Offer.of(self._access.trust.open(message.payload, message.sender, OFFER))
        except BadDocument as bad:
            self._say(str(bad))
            return
        self._offers[message.sender] = offer

    def _hear_own(self, message: Message) -> None:
        """Another process of the same id says so; the one before this one does not."""
        if not message.payload:
            return
        in_use = f"id '{self.me}' is in use in the lobby. Give this agent an id of its own: --id NAME."
        try:
            state = State.of(self._access.trust.open(message.payload, self.me, STATE))
        except BadDocument as bad:
            if not self._claimed:
                raise BadInput(f"{in_use} ({bad})") from bad
            return
        self._writer.above(self._access.trust.newest(self.me, STATE))
        if state.nonce == self._nonce:
            return
        if state.refuses == self._nonce:
            raise BadInput(in_use)
        if state.status == "joining" and self._claimed:
            self._state("ready", refuses=state.nonce)
        else:
            self._state("ready" if self._claimed else "joining")

    def _look(self) -> None:
        """Begin what is offered, and see how what was begun goes."""
        if self._work is not None:
            self._work.look()
            if self._work.pids:
                return
            self._end()
        for offer in list(self._offers.values()):
            if offer.open and offer.run not in self._taken and (not self.only or offer.name in self.only):
                self._begin(offer)
                return

    def _begin(self, offer: Offer) -> None:
        self._taken.add(offer.run)
        role = self.roles.get(offer.role)
        if role is None:
            self._say(
                f"{self.me}: run {offer.name} asks for the role '{offer.role}', which this machine lacks"
            )
            return
        self._say(f"{self.me}: takes part in {offer.name}")
        work = Work(offer.run, self.me, self.folder, self.post, self.device, tied=True)
        self._work, self._doing = role.start(work, self._say), offer
        self._state("training")

    def _end(self) -> None:
        doing, failed = self._doing, dict(self._work.failed)
        self._work.kill()
        self._work, self._doing = None, None
        if doing is not None:
            code = next(iter(failed.values()), 0)
            self.exit_code = code
            if not code:
                self._say(f"{self.me}: {doing.name} is over")
        self._state("ready")

    def _state(self, status: str, *, refuses: int | None = None) -> None:
        self._stated = time.monotonic()
        body = State(status, self._nonce, refuses=refuses).body()
        self._writer.publish(STATE, {**body, "roles": sorted(self.roles)})

    def _beat(self) -> None:
        if time.monotonic() - self._stated > BEAT:
            self._state("training" if self._work is not None else "ready")
