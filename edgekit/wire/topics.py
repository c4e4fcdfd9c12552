"""What is published where; the sender of a message is the agent that its topic names, whatever the payload says.

    ek/1/RUN/p/ID/out         frames of the agent ID for all who listen
    ek/1/RUN/p/ID/line        lines for watchers
    ek/1/RUN/p/ID/doc/NAME    documents, retained
    ek/1/RUN/to/ID/FROM       frames for ID

So a broker can hold every agent to its name: it writes ek/1/+/p/ME/# and ek/1/+/to/+/ME only, and reads ek/1/+/p/#
and ek/1/+/to/ME/#.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from edgekit.wire.transport import ID, check_id

Kind = Literal["out", "line", "doc", "to"]


class Place(NamedTuple):
    """What a topic says: the kind, who sends, and the name of a document."""

    kind: Kind
    sender: str
    name: str = ""


@dataclass(frozen=True)
class Topics:
    """The topics of one agent in one run.

    >>> topics = Topics("leaves", "cam-1")
    >>> topics.to("cam-2")
    'ek/1/leaves/to/cam-2/cam-1'
    >>> topics.read("ek/1/leaves/to/cam-1/cam-2")
    Place(kind='to', sender='cam-2', name='')
    """

    run: str
    me: str

    def __post_init__(self) -> None:
        check_id(self.run, "run")
        check_id(self.me)

    @cached_property
    def out(self) -> str:
        """Where frames for all go."""
        return f"{self._agents}{self.me}/out"

    @cached_property
    def line(self) -> str:
        """Where lines go."""
        return f"{self._agents}{self.me}/line"

    def document(self, name: str) -> str:
        """Where a document goes."""
        return f"{self._agents}{self.me}/doc/{check_id(name, 'document')}"

    def to(self, agent: str) -> str:
        """Where frames for one agent go."""
        return f"ek/1/{self.run}/to/{check_id(agent)}/{self.me}"

    @cached_property
    def always(self) -> tuple[str, ...]:
        """What every agent hears: all documents, and frames for it."""
        return f"{self._agents}+/doc/+", f"{self._mine}+"

    def listen(self, senders: Collection[str], *, lines: bool) -> frozenset[str]:
        """What is heard of these senders, and of all where lines are."""
        heard = {f"{self._agents}{check_id(sender)}/out" for sender in senders}
        return frozenset({*heard, f"{self._agents}+/line"} if lines else heard)

    def read(self, topic: str) -> Place | None:
        """What a topic of this run says; None for a topic that no agent of it uses towards this one."""
        if topic.startswith(self._agents):
            sender, _, rest = topic[len(self._agents) :].partition("/")
            if not ID.fullmatch(sender):
                return None
            if rest == "out":
                return Place("out", sender)
            if rest == "line":
                return Place("line", sender)
            kind, _, name = rest.partition("/")
            return Place("doc", sender, name) if kind == "doc" and ID.fullmatch(name) else None
        sender = topic[len(self._mine) :]
        return Place("to", sender) if topic.startswith(self._mine) and ID.fullmatch(sender) else None

    @cached_property
    def _agents(self) -> str:
        return f"ek/1/{self.run}/p/"

    @cached_property
    def _mine(self) -> str:
        return f"ek/1/{self.run}/to/{self.me}/"
