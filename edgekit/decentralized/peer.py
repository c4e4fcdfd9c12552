"""One agent's side of every exchange, without a network: what to send to whom, and what to make of what arrived.

`exchange` is a generator of phases: it yields {receiver: bytes} and is sent {sender: bytes}, as often as the exchange
has phases, and returns the reply. Whoever drives it moves the bytes: the lockstep engine through memory, a coordinator
through a broker.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import torch

from edgekit.codecs.codec import Codec, RowSpec
from edgekit.decentralized import coding
from edgekit.decentralized.coding import Residuals
from edgekit.decentralized.exchange import Edges, Group, Heard, Mix, Mixed, Publish, Reply, Request
from edgekit.decentralized.gossip import accumulate, mean_rows
from edgekit.decentralized.layout import Layout
from edgekit.decentralized.vector_exchange import Round

Rows = torch.Tensor
Outgoing = dict[int, bytes]
Incoming = dict[int, bytes]
Phases = Generator[Outgoing, Incoming, Any]


class Peer:
    """The exchanges of the agent at `position` in the roster `ids`; its rows are [1, P]."""

    def __init__(
        self, codec: Codec, layout: Layout, ids: tuple[int, ...], position: int, *, seed: int = 0
    ) -> None:
        self.codec, self.layout, self.ids, self.position, self.seed = codec, layout, ids, position, seed
        self.residuals = Residuals()
        self.public: dict[str, dict[int, Rows]] = {}
        self._phases: dict[type[Any], Callable[[Any, Round], Phases]] = {
            Mix: self._mix,
            Edges: self._edges,
            Publish: self._publish,
            Group: self._group,
            Reply: self._reply,
        }

    def exchange(self, request: Request, now: Round) -> Phases:
        """The phases of one request; returns the reply."""
        return self._phases[type(request)](request, now)

    def open(self, slot: str, rows: Rows) -> None:
        """Let the public copies of a slot start from rows [1, P] that every neighbour knows."""
        self.public[slot] = {position: rows[0].clone() for position in range(len(self.ids))}

    def _mix(self, request: Mix, now: Round) -> Phases:
        own, heard = yield from self._broadcast(request, now)
        return Mixed(self._sums(own, heard, now), own)

    def _edges(self, request: Edges, now: Round) -> Phases:
        own, heard = yield from self._broadcast(request, now)
        sources, weights = now.mixing.row(self.position)
        off = sources != self.position
        like = request.rows[0]
        make = lambda values: torch.as_tensor(np.asarray(values), device=like.device)  # noqa: E731
        values = [heard[int(source)][0] for source in sources[off]]
        return Heard(
            self._sums(own, heard, now),
            own,
            target=torch.zeros(len(values), dtype=torch.int64, device=like.device),
            source=make(sources[off]),
            weight=make(weights[off]).to(like.dtype),
            diagonal=make(weights[~off]).to(like.dtype),
            value=torch.stack(values) if values else like.new_empty(0, like.shape[1]),
        )

    def _publish(self, request: Publish, now: Round) -> Phases:
        copies = self.public[request.slot]
        delta = Mix((request.rows[0] - copies[self.position],), request.slot, request.codec)
        (own,), heard = yield from self._broadcast(delta, now)
        copies[self.position] = copies[self.position] + own[0]
        for source, (row,) in heard.items():
            copies[source] = copies[source] + row
        sources, weights = now.mixing.row(self.position)
        terms = [copies[int(source)] for source in sources]
        total = accumulate(terms, weights.tolist(), torch.empty_like(terms[0]))
        return Mixed((total.unsqueeze(0),), (copies[self.position].unsqueeze(0),))

    def _group(self, request: Group, now: Round) -> Phases:
        (rows,) = request.rows
        groups = (tuple(range(len(self.ids))),) if request.among == "all" else now.groups or ()
        mine = next((group for group in groups if self.position in group), (self.position,))
        members = [member for member in mine if now.present[member]]
        stalled = request.whole and len(members) < len(mine)
        if len(members) < 2 or self.position not in members or stalled:
            return rows.clone()
        weight = 1.0 if request.weight is None else float(request.weight[0])
        return (yield from self._average(rows[0], members, weight, request, now))

    def _average(self, row: Rows, members: list[int], weight: float, request: Group, now: Round) -> Phases:
        """Scatter: each part to its owner, with the sender's weight; gather: the means back."""
        codec, parts = request.codec or self.codec, coding.part_specs(self._spec(row), len(members))
        mine = members.index(self.position)
        outgoing = {}
        for index, (part, spec) in enumerate(parts):
            if index != mine:
                slot = f"{request.slot}/part {index} of {len(members)}"
                payload, _ = self._send(row[part], codec, spec, slot, now.number)
                head = b"" if request.weight is None else coding.weight_bytes(weight)
                outgoing[members[index]] = head + payload
        arrived = yield outgoing
        part, spec = parts[mine]
        mean = self._mean_of_part(row[part], weight, arrived, members, spec, codec, request)
        slot = f"{request.slot}/mean {mine} of {len(members)}"
        payload, seen = self._send(mean, codec, spec, slot, now.number)
        arrived = yield {member: payload for member in members if member != self.position}
        out = row.clone()
        out[part] = seen
        for index, (other, spec) in enumerate(parts):
            if index != mine and members[index] in arrived:
                out[other] = coding.as_tensor(codec.decode(arrived[members[index]], spec), row)
        return out.unsqueeze(0)

    def _mean_of_part(
        self,
        own: Rows,
        weight: float,
        arrived: Incoming,
        members: list[int],
        spec: RowSpec,
        codec: Codec,
        request: Group,
    ) -> Rows:
        rows, weights = [], []
        head = 0 if request.weight is None else coding.WEIGHT
        for member in members:
            if member == self.position:
                rows.append(own)
                weights.append(weight)
            elif member in arrived:
                message = arrived[member]
                rows.append(coding.as_tensor(codec.decode(message[head:], spec), own))
                weights.append(coding.read_weight(message) if head else 1.0)
        if sum(weights) <= 0:
            return own
        return mean_rows(rows, weights, torch.empty_like(own))

    def _reply(self, request: Reply, now: Round) -> Phases:
        codec, spec = request.codec or self.codec, self._spec(request.values)
        sources = request.heard.source.tolist()
        outgoing = {}
        for edge, source in enumerate(sources):
            payload, _ = self._send(
                request.values[edge], codec, spec, request.slot, now.number, receiver=source
            )
            outgoing[source] = payload
        arrived = yield outgoing
        result = request.values.new_zeros(request.values.shape)
        for edge, source in enumerate(sources):
            if source in arrived:
                result[edge] = coding.as_tensor(codec.decode(arrived[source], spec), result)
        return result

    def _broadcast(
        self, request: Mix, now: Round
    ) -> Generator[Outgoing, Incoming, tuple[tuple[Rows, ...], dict[int, list[Rows]]]]:
        """Send all rows to every receiver; (what is seen of the own [1, P], {sender: what is seen of its rows [P]})."""
        coded = [self._coded(rows, request) for rows in request.rows]
        made = [
            self._send(rows[0], codec, spec, request.slot, now.number)
            for rows, (codec, spec) in zip(request.rows, coded, strict=True)
        ]
        message = coding.join([payload for payload, _ in made])
        receivers = now.mixing.graph.target[now.mixing.graph.source == self.position]
        arrived = yield {int(receiver): message for receiver in receivers}
        limits = [codec.limit(spec) for codec, spec in coded]
        heard = {}
        for sender, incoming in arrived.items():
            parts = coding.split(incoming, limits)
            heard[sender] = [
                coding.as_tensor(codec.decode(part, spec), rows)
                for part, (codec, spec), rows in zip(parts, coded, request.rows, strict=True)
            ]
        own = [
            rows if codec.lossless else row.unsqueeze(0)
            for rows, (codec, _), (_, row) in zip(request.rows, coded, made, strict=True)
        ]
        return tuple(own), heard

    def _sums(self, own: tuple[Rows, ...], heard: dict[int, list[Rows]], now: Round) -> tuple[Rows, ...]:
        sources, weights = now.mixing.row(self.position)
        result = []
        for index, (row,) in enumerate(own):
            terms = [row if source == self.position else heard[int(source)][index] for source in sources]
            result.append(accumulate(terms, weights.tolist(), torch.empty_like(row)).unsqueeze(0))
        return tuple(result)

    def _send(
        self, row: Rows, codec: Codec, spec: RowSpec, slot: str, round: int, receiver: int = -1
    ) -> tuple[bytes, Rows]:
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
