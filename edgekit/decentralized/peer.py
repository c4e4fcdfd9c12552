"""One agent's side of every exchange, without a network: what to send to whom, and what to make of what arrived.

`exchange` is a generator of phases: it yields a `Phase` and is sent {sender: bytes}, as often as the exchange has
phases, and returns the reply. Whoever drives it moves the bytes: the lockstep engine through memory, a coordinator
through a broker.

What is expected may be missing. Then the average goes on without it, and what is owed is made up for when it arrives
after all (`late`), so that the sum over agents is what it would have been:

- Mix and Edges: the missing neighbour's weight goes to the agent itself; later w (q_j - q_i) of that round is added.
  Where the columns of W are what sums to 1 (push-sum), the mass w q_j is under way, and is added later; if it is
  given up, w q_i takes its place, so that no mass is lost.
- Publish: the public copy lacks a difference d; later it gets it, and the sum gets w d for each round that lacked it.
- Group: the mean is over those who are there; a part that does not come back keeps its value.
- Reply: the own answer to that neighbour stands in for its answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from edgekit.codecs.codec import BadPayload, Codec, Payload, RowSpec
from edgekit.decentralized import coding
from edgekit.decentralized.coding import Residuals
from edgekit.decentralized.exchange import Edges, Group, Heard, Mix, Mixed, Publish, Reply, Request
from edgekit.decentralized.gossip import accumulate, mean_rows, squared_distance
from edgekit.decentralized.layout import Layout
from edgekit.decentralized.mixing import Mixing
from edgekit.decentralized.rounds import Round

Rows = torch.Tensor
Outgoing = dict[int, bytes]
Incoming = dict[int, Payload]
Coded = list[tuple[Codec, RowSpec]]
_NO_RANDOM: Any = np.random.default_rng(0)  # for codecs that draw nothing
PHASES = 2  # at most, of one exchange
KEPT = 8  # rounds after which what was missed is given up


class Phase(NamedTuple):
    """One step of an exchange, the same step at every agent that takes part in it.

    key: its place in the round; outgoing: the message to each receiver; expected: who sends one here; limit: the
    longest message that can be right; codec: its number; whole: nothing can be made of some without the others.
    """

    key: int
    outgoing: Outgoing
    expected: tuple[int, ...]
    limit: int
    codec: int
    whole: bool = False


Phases = Generator[Phase, Incoming, Any]


@dataclass
class Missed:
    """A message that was not there in time: what it will be worth when it comes."""

    slot: str
    weight: float
    own: tuple[Rows, ...]  # what stood in for it
    coded: Coded
    published: bool


class Peer:
    """The exchanges of the agent at `position` in the roster `ids`; its rows are [1, P].

    missed: what is still to come, by (round, phase, sender); refused: payloads that could not be decoded, by sender;
    stale: whose public copies lack something for good; spread: mean over the neighbours heard of |q_j - q_i|^2, in the
    last exchange of models.
    """

    def __init__(
        self,
        codec: Codec,
        layout: Layout,
        ids: tuple[int, ...],
        position: int,
        *,
        seed: int = 0,
        keep_columns: bool = False,
    ) -> None:
        self.codec, self.layout, self.ids, self.position, self.seed = codec, layout, ids, position, seed
        self.keep_columns = keep_columns
        self.residuals = Residuals()
        self.public: dict[str, dict[int, Rows]] = {}
        self.missed: dict[tuple[int, int, int], Missed] = {}
        self.owed: dict[str, dict[int, Rows]] = {}
        self.refused: Counter[int] = Counter()
        self.stale: set[int] = set()
        self.spread: float | None = None
        self._phases: dict[type[Any], Callable[[Any, Round, int], Phases]] = {
            Mix: self._mix,
            Edges: self._edges,
            Publish: self._publish,
            Group: self._group,
            Reply: self._reply,
        }

    def exchange(self, request: Request, now: Round, index: int = 0) -> Phases:
        """The phases of one request, the `index`-th of its round; returns the reply."""
        return self._phases[type(request)](request, now, PHASES * index)

    def open(self, slot: str, copies: dict[int, Rows]) -> None:
        """Let the public copies of a slot start from rows [P] by position, this agent's own among them."""
        self.public[slot] = {position: row.clone() for position, row in copies.items()}

    def late(self, round: int, key: int, sender: int, message: Payload) -> bool:
        """Take in a message that was missed; False where it is none of those, or makes no sense."""
        missed = self.missed.get((round, key, sender))
        if missed is None:
            return False
        rows = self._decoded(sender, message, missed.coded)
        if rows is None:
            return False
        del self.missed[round, key, sender]
        if missed.published:
            copies = self.public[missed.slot]
            copies[sender] = copies[sender] + rows[0]
        for index, row in enumerate(rows):
            whole = missed.published or self.keep_columns
            self._owe(missed.slot, index, (row if whole else row - missed.own[index]) * missed.weight)
        return True

    def forgive(self, before: int) -> None:
        """Give up what was missed in rounds before this one."""
        for name in [name for name in self.missed if name[0] < before]:
            missed = self.missed.pop(name)
            if missed.published:
                self.stale.add(name[2])
            elif self.keep_columns:
                for index, row in enumerate(missed.own):
                    self._owe(missed.slot, index, row * missed.weight)

    def _mix(self, request: Mix, now: Round, key: int) -> Phases:
        own, heard = yield from self._broadcast(request, now, key)
        return Mixed(self._sums(request.slot, own, heard, now), own)

    def _edges(self, request: Edges, now: Round, key: int) -> Phases:
        own, heard = yield from self._broadcast(request, now, key)
        sources, weights = _there(now.mixing, self.position, heard, keep_columns=self.keep_columns)
        off = [index for index, source in enumerate(sources) if source != self.position]
        like = request.rows[0]
        values = [heard[sources[index]][0] for index in off]
        return Heard(
            self._sums(request.slot, own, heard, now),
            own,
            target=torch.zeros(len(values), dtype=torch.int64, device=like.device),
            source=torch.tensor([sources[index] for index in off], dtype=torch.int64, device=like.device),
            weight=like.new_tensor([weights[index] for index in off]),
            diagonal=like.new_tensor([weights[sources.index(self.position)]]),
            value=torch.stack(values) if values else like.new_empty(0, like.shape[1]),
        )

    def _publish(self, request: Publish, now: Round, key: int) -> Phases:
        copies = self.public[request.slot]
        delta = Mix((request.rows[0] - copies[self.position],), request.slot, request.codec)
        (own,), heard = yield from self._broadcast(delta, now, key, published=True)
        copies[self.position] = copies[self.position] + own[0]
        for source, (row,) in heard.items():
            copies[source] = copies[source] + row
        sources, weights = now.mixing.row(self.position)
        for (number, _, sender), missed in self.missed.items():
            if missed.published and missed.slot == request.slot and number < now.number:
                missed.weight += sum(weights[sources == sender].tolist())
        terms = [copies[int(source)] for source in sources]
        total = accumulate(terms, weights.tolist(), torch.empty_like(terms[0]))
        self._measure(copies[self.position], [copies[source] for source in heard])
        self._settle(request.slot, 0, total)
        return Mixed((total.unsqueeze(0),), (copies[self.position].unsqueeze(0),))

    def _group(self, request: Group, now: Round, key: int) -> Phases:
        (rows,) = request.rows
        groups = (tuple(range(len(self.ids))),) if request.among == "all" else now.groups or ()
        mine = next((group for group in groups if self.position in group), (self.position,))
        members = [member for member in mine if now.present[member]]
        stalled = request.whole and len(members) < len(mine)
        if len(members) < 2 or self.position not in members or stalled:
            return rows.clone()
        weight = 1.0 if request.weight is None else float(request.weight[0])
        return (yield from self._average(rows[0], members, weight, request, now, key))

    def _average(
        self, row: Rows, members: list[int], weight: float, request: Group, now: Round, key: int
    ) -> Phases:
        """Scatter: each part to its owner, with the sender's weight; gather: the means back."""
        codec, parts = request.codec or self.codec, coding.part_specs(self._spec(row), len(members))
        mine, others = members.index(self.position), tuple(set(members) - {self.position})
        head = 0 if request.weight is None else coding.WEIGHT
        outgoing = {}
        for index, (part, spec) in enumerate(parts):
            if index != mine:
                slot = f"{request.slot}/part {index} of {len(members)}"
                payload, _ = self._send(row[part], codec, spec, slot, now.number)
                outgoing[members[index]] = (coding.weight_bytes(weight) if head else b"") + payload
        part, spec = parts[mine]
        limit = codec.limit(spec) + head
        arrived = yield Phase(key, outgoing, others, limit, codec.number, request.whole)
        heard = self._members(arrived, spec, codec, head)
        if request.whole and len(heard) < len(others):
            yield Phase(key + 1, {}, (), limit, codec.number)
            return row.clone().unsqueeze(0)
        heard[self.position] = (row[part], weight)
        mean = _mean([heard[member] for member in members if member in heard], row[part])
        payload, seen = self._send(
            mean, codec, spec, f"{request.slot}/mean {mine} of {len(members)}", now.number
        )
        limit = max(codec.limit(spec) for _, spec in parts)
        back = dict.fromkeys(others, payload)
        arrived = yield Phase(key + 1, back, others, limit, codec.number, request.whole)
        if request.whole and len(arrived) < len(others):
            return row.clone().unsqueeze(0)
        return self._assembled(row, seen, parts, members, arrived, codec).unsqueeze(0)

    def _members(
        self, arrived: Incoming, spec: RowSpec, codec: Codec, head: int
    ) -> dict[int, tuple[Rows, float]]:
        """(row, weight) of every member whose part makes sense."""
        found = {}
        for sender, message in arrived.items():
            try:
                row = torch.from_numpy(codec.decode(message[head:], spec))
                found[sender] = (row, coding.read_weight(message) if head else 1.0)
            except BadPayload:
                self.refused[sender] += 1
        return found

    def _assembled(
        self,
        row: Rows,
        seen: Rows,
        parts: list[tuple[slice, RowSpec]],
        members: list[int],
        arrived: Incoming,
        codec: Codec,
    ) -> Rows:
        """The row of all means; a part whose mean did not come keeps its value."""
        out = row.clone()
        for owner, (part, spec) in zip(members, parts, strict=True):
            if owner == self.position:
                out[part] = seen
            elif owner in arrived:
                try:
                    out[part] = coding.as_tensor(codec.decode(arrived[owner], spec), row)
                except BadPayload:
                    self.refused[owner] += 1
        return out

    def _reply(self, request: Reply, now: Round, key: int) -> Phases:
        codec, spec = request.codec or self.codec, self._spec(request.values)
        sources = request.heard.source.tolist()
        outgoing = {}
        for edge, source in enumerate(sources):
            outgoing[source], _ = self._send(
                request.values[edge], codec, spec, request.slot, now.number, receiver=source
            )
        arrived = yield Phase(key, outgoing, tuple(sources), codec.limit(spec), codec.number)
        result = request.values.clone()
        for edge, source in enumerate(sources):
            rows = self._decoded(source, arrived[source], [(codec, spec)]) if source in arrived else None
            if rows is not None:
                result[edge] = rows[0].to(result)
        return result

    def _broadcast(
        self, request: Mix, now: Round, key: int, *, published: bool = False
    ) -> Generator[Phase, Incoming, tuple[tuple[Rows, ...], dict[int, list[Rows]]]]:
        """Send all rows to every receiver; (what is seen of the own [1, P], {sender: what is seen of its rows [P]})."""
        coded: Coded = [self._coded(rows, request) for rows in request.rows]
        made = [
            self._send(rows[0], codec, spec, request.slot, now.number)
            for rows, (codec, spec) in zip(request.rows, coded, strict=True)
        ]
        message = coding.join([payload for payload, _ in made])
        limit = coding.message_size([codec.limit(spec) for codec, spec in coded])
        receivers, senders = (
            now.mixing.graph.receivers(self.position),
            now.mixing.graph.senders(self.position),
        )
        arrived = yield Phase(key, dict.fromkeys(receivers, message), senders, limit, coded[0][0].number)
        own = tuple(
            rows if codec.lossless else row.unsqueeze(0)
            for rows, (codec, _), (_, row) in zip(request.rows, coded, made, strict=True)
        )
        heard = {}
        for sender in senders:
            rows = self._decoded(sender, arrived[sender], coded) if sender in arrived else None
            if rows is None:
                own_rows = () if published else tuple(row[0].clone() for row in own)
                self.missed[now.number, key, sender] = Missed(
                    request.slot, now.mixing.weight(self.position, sender), own_rows, coded, published
                )
            else:
                heard[sender] = [row.to(like) for row, like in zip(rows, request.rows, strict=True)]
        return own, heard

    def _sums(
        self, slot: str, own: tuple[Rows, ...], heard: dict[int, list[Rows]], now: Round
    ) -> tuple[Rows, ...]:
        sources, weights = _there(now.mixing, self.position, heard, keep_columns=self.keep_columns)
        result = []
        for index, rows in enumerate(own):
            row = rows[0]
            terms = [row if source == self.position else heard[source][index] for source in sources]
            total = accumulate(terms, weights, torch.empty_like(row))
            self._settle(slot, index, total)
            result.append(total.unsqueeze(0))
        if own[0].shape[1] == self.layout.size:
            self._measure(own[0][0], [seen[0] for seen in heard.values()])
        return tuple(result)

    def _owe(self, slot: str, index: int, row: Rows) -> None:
        owed = self.owed.setdefault(slot, {})
        owed[index] = owed[index] + row if index in owed else row

    def _settle(self, slot: str, index: int, total: Rows) -> None:
        """Add what is owed to a sum."""
        owed = self.owed.get(slot)
        if owed and index in owed:
            total.add_(owed.pop(index).to(total))

    def _measure(self, own: Rows, rows: list[Rows]) -> None:
        if rows:
            self.spread = sum(squared_distance(row, own) for row in rows) / len(rows)

    def _decoded(self, sender: int, message: Payload, coded: Coded) -> list[Rows] | None:
        """The rows of a message; None where it makes no sense, which is counted."""
        try:
            parts = coding.split(message, [codec.limit(spec) for codec, spec in coded])
            return [
                torch.from_numpy(codec.decode(part, spec))
                for part, (codec, spec) in zip(parts, coded, strict=True)
            ]
        except BadPayload:
            self.refused[sender] += 1
            return None

    def _send(
        self, row: Rows, codec: Codec, spec: RowSpec, slot: str, round: int, receiver: int = -1
    ) -> tuple[bytes, Rows]:
        if codec.lossless:  # what is seen is the row itself, and nothing is drawn
            return codec.encode(coding.as_array(row), spec, _NO_RANDOM), row
        agent = self.ids[self.position]
        other = self.ids[receiver] if receiver >= 0 else -1
        residual = self.residuals.of(codec, spec, slot, agent, other)
        random = coding.draw(self.seed, agent, round, slot, other)
        payload, seen = codec.transmit(coding.as_array(row), spec, random, residual)
        return payload, coding.as_tensor(seen, row)

    def _coded(self, rows: Rows, request: Mix) -> tuple[Codec, RowSpec]:
        codec = coding.codec_for(rows.shape[1], self.layout.size, request.codec or self.codec)
        return codec, self._spec(rows)

    def _spec(self, rows: Rows) -> RowSpec:
        width = rows.shape[-1]
        if width == self.layout.size:
            return self.layout.spec(rows.dtype)
        return RowSpec(width, str(rows.dtype).removeprefix("torch."))


def _there(
    mixing: Mixing, position: int, heard: Collection[int], *, keep_columns: bool
) -> tuple[list[int], list[float]]:
    """Row `position` of W over who was heard; the weight of the others goes to the agent itself.

    With `keep_columns` it goes nowhere: that mass is still under way.
    """
    sources, weights = mixing.row(position)
    if len(heard) + 1 == len(sources):
        return sources.tolist(), weights.tolist()
    here = np.isin(sources, [position, *heard])
    kept = weights[here].copy()
    if not keep_columns:
        kept[sources[here] == position] += weights[~here].sum()
    return sources[here].tolist(), kept.tolist()


def _mean(members: list[tuple[Rows, float]], own: Rows) -> Rows:
    weights = [weight for _, weight in members]
    if sum(weights) <= 0:
        return own
    return mean_rows([row.to(own) for row, _ in members], weights, torch.empty_like(own))
