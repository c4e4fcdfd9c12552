"""The documents of a run: what is trained, who takes part from which round on, and how each agent is.

They come from others, so that each is checked field by field before it is used; what does not fit is a BadDocument.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, TypeVar

from edgekit.coordinator.patience import Deadlines
from edgekit.errors import BadInput
from edgekit.wire.document import BadDocument
from edgekit.wire.transport import ID

SPEC, ROSTER, STOP, LINES = "spec", "roster", "stop", "lines"
FORMAT: Final = 1
MOST_AGENTS: Final = 4096
WRITERS: Final = 8192  # numbers of one epoch counter: the starter's 0, an agent's its number + 1
LARGEST: Final = sys.float_info.max  # a whole number in JSON has no end
PRESENT = frozenset({"ready", "training", "behind", "waiting"})
GONE = frozenset({"lost", "left", "failed"})
OVER = GONE | {"done"}  # nothing more is done in the run
STATUSES = PRESENT | GONE | {"joining", "done", "watching"}
T = TypeVar("T")


@dataclass(frozen=True)
class Spec:
    """The run document: everything that is the same for all agents.

    name: of the run, under which agents keep snapshots; values: the run file's, without sweeps; sources {reference:
    SHA-256}: code and weights that it names; schema: of the model; wait: seconds for `agents` to come, or for
    `min_agents` to come back.
    """

    name: str
    values: dict[str, Any]
    seed: int
    agents: int
    min_agents: int
    wait: float
    schema: int
    sources: dict[str, str] = field(default_factory=dict)
    deadlines: Deadlines = field(default_factory=Deadlines)
    snapshot_every: int = 10
    format: int = FORMAT

    def body(self) -> dict[str, Any]:
        """As a document."""
        return asdict(self)

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Spec:
        """From a document."""
        read = _Reader(SPEC, body)
        if (known := read.integer("format")) != FORMAT:
            raise BadDocument(
                f"the run document has format {known}, this edgekit reads {FORMAT}. Install the same version on all."
            )
        limits = _Reader("spec.deadlines", read.mapping("deadlines"))
        try:
            deadlines = Deadlines(**{name: limits.number(name) for name in ("k", "least", "most", "quorum")})
        except BadInput as error:
            raise BadDocument(str(error)) from error
        return cls(
            name=read.name("name"),
            values=read.mapping("values"),
            seed=read.integer("seed"),
            agents=read.integer("agents", 1, MOST_AGENTS),
            min_agents=read.integer("min_agents", 1, MOST_AGENTS),
            wait=read.number("wait"),
            schema=read.integer("schema"),
            sources={key: read.text(value) for key, value in read.mapping("sources").items()},
            deadlines=deadlines,
            snapshot_every=read.integer("snapshot_every", 1),
        )


@dataclass(frozen=True)
class Member:
    """An agent of a roster; nonce: of the process that was let in; joined: it starts from its neighbours' models."""

    number: int
    id: str
    nonce: int
    joined: bool = False


@dataclass(frozen=True)
class RosterDocument:
    """Who takes part from a round on.

    epoch: grows; resume: the round of the snapshots that all who did not join start from; facts: what topologies use,
    by the name of the fact, a list for each member.
    """

    epoch: int
    from_round: int
    members: tuple[Member, ...]
    resume: int | None = None
    facts: dict[str, list[list[float]]] = field(default_factory=dict)

    @property
    def ids(self) -> tuple[str, ...]:
        """The members' ids in the order of their numbers."""
        return tuple(member.id for member in self.members)

    def member(self, agent: str) -> Member | None:
        """The member with an id."""
        return next((member for member in self.members if member.id == agent), None)

    def body(self) -> dict[str, Any]:
        """As a document."""
        members = [[member.number, member.id, member.nonce, member.joined] for member in self.members]
        return {
            "epoch": self.epoch,
            "from_round": self.from_round,
            "members": members,
            "resume": self.resume,
            "facts": self.facts,
        }

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> RosterDocument:
        """From a document."""
        read = _Reader(ROSTER, body)
        members = tuple(_member(read, item) for item in read.sequence("members", MOST_AGENTS))
        if len({member.id for member in members}) < len(members) or len(
            {member.number for member in members}
        ) < len(members):
            raise BadDocument("roster: an agent or a number is there twice.")
        facts = {}
        for name, rows in read.mapping("facts").items():
            if not isinstance(rows, list) or len(rows) != len(members):
                raise BadDocument(f"roster: the fact {name!r} is not one for each member.")
            facts[read.text(name)] = [_numbers(row) for row in rows]
            if len({len(row) for row in rows}) > 1:
                raise BadDocument(f"roster: the fact {name!r} has not the same length for each member.")
        return cls(
            epoch=read.integer("epoch", 1, (1 << 32) - 1),
            from_round=read.integer("from_round"),
            members=members,
            resume=None if body.get("resume") is None else read.integer("resume"),
            facts=facts,
        )


@dataclass(frozen=True)
class State:
    """How an agent is: its status, its process (nonce), the number it has or wants, its round, its snapshots.

    refuses: the nonce of a second process that uses this id.
    """

    status: str
    nonce: int
    number: int | None = None
    round: int = 0
    epoch: int = 0
    snapshots: tuple[int, ...] = ()
    schema: int = 0
    facts: dict[str, list[float]] = field(default_factory=dict)
    reason: str = ""
    refuses: int | None = None

    def body(self) -> dict[str, Any]:
        """As a document."""
        return asdict(self)

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> State:
        """From a document."""
        read = _Reader("state", body)
        status = read.text(body.get("status"))
        if status not in STATUSES:
            raise BadDocument(f"state: the status {status[:20]!r} is unknown.")
        return cls(
            status=status,
            nonce=read.integer("nonce"),
            number=None if body.get("number") is None else read.integer("number", 0, MOST_AGENTS),
            round=read.integer("round"),
            epoch=read.integer("epoch"),
            snapshots=tuple(read.whole(item) for item in read.sequence("snapshots", 16)),
            schema=read.integer("schema"),
            facts={read.text(name): _numbers(row) for name, row in read.mapping("facts").items()},
            reason=read.text(body.get("reason"))[:500],
            refuses=None if body.get("refuses") is None else read.integer("refuses"),
        )


class _Reader:
    """Fields of a document by type; BadDocument names the one that does not fit."""

    def __init__(self, document: str, body: Mapping[str, Any]) -> None:
        self.document, self.body = document, body

    def integer(self, name: str, least: int = 0, most: int = (1 << 63) - 1) -> int:
        value = self.body.get(name)
        if type(value) is not int or not least <= value <= most:
            raise BadDocument(f"{self.document}: {name} is no whole number from {least} to {most}.")
        return value

    def whole(self, value: object) -> int:
        if type(value) is not int or value < 0:
            raise BadDocument(f"{self.document}: {str(value)[:20]!r} is no whole number.")
        return value

    def number(self, name: str) -> float:
        value = self.body.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= LARGEST:
            raise BadDocument(f"{self.document}: {name} is no number from 0.")
        return float(value)

    def text(self, value: object) -> str:
        if not isinstance(value, str):
            raise BadDocument(f"{self.document}: {str(value)[:20]!r} is no text.")
        return value

    def name(self, name: str) -> str:
        value = self.text(self.body.get(name))
        if not ID.fullmatch(value):
            raise BadDocument(f"{self.document}: {name} cannot be a name.")
        return value

    def mapping(self, name: str) -> dict[str, Any]:
        value = self.body.get(name)
        if not isinstance(value, dict):
            raise BadDocument(f"{self.document}: {name} is no mapping.")
        return value

    def sequence(self, name: str, most: int) -> list[Any]:
        value = self.body.get(name)
        if not isinstance(value, list) or len(value) > most:
            raise BadDocument(f"{self.document}: {name} is no list of at most {most}.")
        return value


def _member(read: _Reader, item: object) -> Member:
    if not isinstance(item, list) or len(item) != 4 or type(item[3]) is not bool:
        raise BadDocument("roster: a member is not [number, id, nonce, joined].")
    if not ID.fullmatch(read.text(item[1])):
        raise BadDocument("roster: a member's id cannot be one.")
    return Member(read.whole(item[0]), item[1], read.whole(item[2]), item[3])


def _numbers(row: object) -> list[float]:
    if not isinstance(row, list) or not all(
        type(value) in (int, float) and abs(value) <= LARGEST for value in row
    ):
        raise BadDocument("a fact is no list of numbers.")
    return [float(value) for value in row]
