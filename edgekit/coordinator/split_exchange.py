"""What one agent of a split network sends and waits for, as messages over a transport.

Nothing may be missing: what does not come is asked for again (WANT), until it comes or the epoch is over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct
from struct import error as StructError
from time import monotonic
from typing import Final

import numpy as np
import torch

from edgekit.codecs.codec import Payload
from edgekit.coordinator.mail import Letter, Mail
from edgekit.split.catalog import Catalog
from edgekit.split.message import Receive, Send
from edgekit.split.post import Post
from edgekit.wire.frame import Head, Kind
from edgekit.wire.transport import Message

ASK: Final = 1.0  # seconds until what is missing is asked for, doubled each time
LONGEST: Final = 8.0
LOOK: Final = 0.1  # seconds between two looks at how the others are
AHEAD: Final = 64  # steps that a sender may be ahead: of several clients not all are needed in every step
_WANTED = Struct("<HB")
Place = tuple[int, int, int]  # step, stream, micro-batch


class SplitExchange:
    """Messages of agent `me`.

    other: what becomes of documents and changes of the link; look(): called while waiting; it raises where waiting is
    in vain.
    """

    def __init__(
        self,
        me: str,
        mail: Mail,
        post: Post,
        catalog: Catalog,
        *,
        schema: int,
        other: Callable[[Message], None],
        look: Callable[[], None],
    ) -> None:
        self.mail, self.post, self._catalog, self._schema = mail, post, catalog, schema
        self._me, self._other, self._look = me, other, look
        self._numbers: dict[str, int] = {}
        self._epoch = self._asked = 0
        self._step = self._sent_in = -1
        self._box: dict[tuple[Place, str], Payload] = {}
        self._ahead: list[Letter] = []
        self._sent: dict[tuple[Place, str], list[bytes]] = {}

    def enter(self, epoch: int, numbers: Mapping[int, str], step: int) -> None:
        """Go on in a new epoch, in which these agents have these numbers."""
        self.mail.numbers = numbers
        self._numbers = {name: number for number, name in numbers.items()}
        self._epoch, self._step = epoch, step
        self._box, self._sent, self._sent_in = {}, {}, -1
        early, self._ahead = self._ahead, []
        for letter in early:
            self._take(letter)

    def send(self, item: Send, step: int) -> None:
        """Send a tensor."""
        self._turn(step)
        if step != self._sent_in:  # what the step before sent may still be asked for
            self._sent = {known: kept for known, kept in self._sent.items() if known[0][0] >= self._sent_in}
            self._sent_in = step
        stream, micro = self._catalog.number(item.key)
        frames = self.mail.frames(self._head(step, micro, stream), self.post.pack(item.key, item.tensor))
        if item.key.test:  # a piece is answered before the next but one
            self._sent = {
                known: kept
                for known, kept in self._sent.items()
                if not known[0][1] % 2 or known[0][2] >= micro - 1
            }
        self._sent[(step, stream, micro), item.to] = frames
        self.mail.send(frames, item.to)

    def receive(self, item: Receive, step: int) -> torch.Tensor:
        """Wait for a tensor; BadPayload where what came cannot be one."""
        self._turn(step)
        stream, micro = self._catalog.number(item.key)
        key = ((step, stream, micro), item.sender)
        patience, asked = ASK, monotonic()
        while key not in self._box:
            if not self._take(self.mail.receive(LOOK)):
                self._look()
            if monotonic() - asked > patience:
                self._ask(key)
                asked, patience = monotonic(), min(2 * patience, LONGEST)
        return self.post.unpack(item.key, self._box.pop(key), item.shape, item.dtype)

    def listen(self, timeout: float) -> None:
        """Take in what comes within so long, and give others what they ask for."""
        self._take(self.mail.receive(timeout))

    def _turn(self, step: int) -> None:
        """Forget what steps before this one have heard."""
        if step == self._step:
            return
        self._step = step
        self._box = {known: kept for known, kept in self._box.items() if known[0][0] >= step}
        self.mail.forget(self._epoch, step)

    def _head(self, step: int, micro: int, stream: int, kind: Kind = Kind.SPLIT) -> Head:
        me = self._numbers[self._me]
        return Head(kind, 0, self.mail.run, self._epoch, step, micro, stream, me, self._schema)

    def _take(self, item: Letter | Message | None) -> bool:
        if item is None:
            return False
        if isinstance(item, Message):
            self._other(item)
            self._look()
        elif item.head.schema != self._schema:
            self.mail.counts["another model"] += 1
        elif item.head.epoch != self._epoch:
            self._keep_ahead(item)
        elif item.head.kind is Kind.WANT:
            self._serve(item)
        elif item.head.kind is Kind.SPLIT:
            self._sort(item)
        else:
            self.mail.counts["of another kind of run"] += 1
        return True

    def _keep_ahead(self, letter: Letter) -> None:
        """Others may have heard of the next epoch first; the rest of what they sent is asked for."""
        if letter.head.epoch > self._epoch and len(self._ahead) < 2 * len(self._numbers) + 2:
            self._ahead.append(letter)
        else:
            self.mail.counts["another epoch"] += 1

    def _sort(self, letter: Letter) -> None:
        head = letter.head
        if not self._step <= head.round <= self._step + AHEAD:
            self.mail.counts["of another step"] += 1
            return
        self._box[(head.round, head.stream, head.phase), letter.sender] = letter.payload

    def _ask(self, key: tuple[Place, str]) -> None:
        (step, stream, micro), sender = key
        there = self._head(step, micro, stream)._replace(sender=self._numbers[sender])
        chunks = np.array(self.mail.missing(there), "<u2").tobytes()
        self._asked = (self._asked + 1) % (1 << 16)  # each is another message
        want = self._head(step, 0, self._asked, Kind.WANT)
        self.mail.send(self.mail.frames(want, _WANTED.pack(stream, micro) + chunks), sender)

    def _serve(self, letter: Letter) -> None:
        """Send again what another asks for, where it was sent."""
        try:
            stream, micro = _WANTED.unpack_from(letter.payload)
            chunks = np.frombuffer(letter.payload[_WANTED.size :], "<u2").tolist()
        except (StructError, ValueError):
            self.mail.counts["malformed"] += 1
            return
        frames = self._sent.get(((letter.head.round, stream, micro), letter.sender), [])
        wanted = [frames[chunk] for chunk in chunks if chunk < len(frames)] if chunks else frames
        self.mail.send(wanted, letter.sender)
