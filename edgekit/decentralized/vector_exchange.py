"""Exchanges between rows of one process: what every agent would see, and what it would have sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from edgekit.codecs.codec import Codec, RowSpec
from edgekit.decentralized import coding
from edgekit.decentralized.buffers import Buffers
from edgekit.decentralized.coding import Residuals
from edgekit.decentralized.exchange import Edges, Group, Heard, Mix, Mixed, Publish, Reply, Request
from edgekit.decentralized.gossip import Gossip, mean_rows
from edgekit.decentralized.layout import Layout
from edgekit.decentralized.ledger import Ledger
from edgekit.decentralized.mixing import Mixing
from edgekit.decentralized.rounds import Round

Rows = torch.Tensor


class VectorExchange:
    """Serves the requests of an algorithm whose rows are all here.

    `strict` makes real bytes of every row; without it the codec's lossy part alone is run, and a payload whose length
    does not depend on the values is counted by that length.
    """

    def __init__(
        self,
        codec: Codec,
        layout: Layout,
        ids: tuple[int, ...],
        ledger: Ledger,
        buffers: Buffers,
        *,
        seed: int = 0,
        strict: bool = False,
    ) -> None:
        self.codec, self.layout, self.ids = codec, layout, ids
        self.ledger, self.buffers, self.seed, self.strict = ledger, buffers, seed, strict
        self.residuals = Residuals()
        self.public: dict[str, Rows] = {}
        self._known_arcs: set[tuple[int, int]] = set()
        self._stale: set[tuple[int, int]] = set()
        self._gossip: tuple[Mixing, Gossip] | None = None
        self._served: dict[type[Any], Callable[[Any, Round], Any]] = {
            Mix: self._mix,
            Edges: self._edges,
            Publish: self._publish,
            Group: self._group,
            Reply: self._reply,
        }

    def serve(self, request: Request, now: Round) -> Any:
        """The reply to one request."""
        return self._served[type(request)](request, now)

    def _mix(self, request: Mix, now: Round) -> Mixed:
        own, sizes = zip(*(self._seen(rows, request, now) for rows in request.rows), strict=True)
        self._count(now.mixing, [list(each) for each in zip(*sizes, strict=True)])
        return Mixed(tuple(self._apply(now.mixing, rows) for rows in own), own)

    def _edges(self, request: Edges, now: Round) -> Heard:
        mixed = self._mix(request, now)
        graph, mixing = now.mixing.graph, now.mixing
        off = mixing.sources != mixing.targets
        make = lambda values: torch.as_tensor(values, device=mixed.sum.device)  # noqa: E731
        source = make(graph.source)
        return Heard(
            mixed.sums,
            mixed.own,
            target=make(graph.target),
            source=source,
            weight=make(mixing.weights[off]).to(mixed.sum.dtype),
            diagonal=make(mixing.weights[~off]).to(mixed.sum.dtype),
            value=torch.index_select(mixed.own[0], 0, source),
        )

    def _publish(self, request: Publish, now: Round) -> Mixed:
        (rows,) = request.rows
        public = self.public.get(request.slot)
        if public is None:
            raise RuntimeError(f"publish: the slot '{request.slot}' was not opened")
        delta = Mix((torch.sub(rows, public, out=self.buffers.lend(rows)),), request.slot, request.codec)
        seen, sizes = self._seen(delta.rows[0], delta, now)
        there = torch.as_tensor(now.present, device=rows.device).unsqueeze(1)
        public.add_(seen if now.present.all() else seen * there)
        self._count(now.mixing, [[size] for size in sizes])
        self._bring_up_to_date(now)
        return Mixed((self._apply(now.mixing, public),), (public,))

    def open(self, slot: str, rows: Rows) -> None:
        """Let the public copies of a slot start from rows that every neighbour knows."""
        self.public[slot] = rows.clone()

    def arcs(self) -> dict[str, list[list[int]]]:
        """Over which arcs public copies were brought up to date, and over which they were not, as plain lists."""
        return {"known": sorted(map(list, self._known_arcs)), "stale": sorted(map(list, self._stale))}

    def set_arcs(self, facts: dict[str, Any]) -> None:
        """What `arcs` gave."""
        self._known_arcs = {(source, target) for source, target in facts["known"]}
        self._stale = {(source, target) for source, target in facts["stale"]}

    def _bring_up_to_date(self, now: Round) -> None:
        """Who missed a difference is sent the whole public copy, uncoded, as soon as the arc is there again."""
        graph = now.mixing.graph
        arcs = set(zip(graph.source.tolist(), graph.target.tolist(), strict=True))
        back = sorted(self._stale & arcs)
        if back:
            source, target = np.array(back, np.int64).T
            self.ledger.send(source, target, coding.RAW.size(self._spec(next(iter(self.public.values())))))
        self._stale = (self._stale | self._known_arcs) - arcs
        self._known_arcs |= arcs

    def _group(self, request: Group, now: Round) -> Rows:
        (rows,) = request.rows
        out = self.buffers.lend(rows).copy_(rows)
        groups = (tuple(range(len(rows))),) if request.among == "all" else now.groups or ()
        for group in groups:
            members = [member for member in group if now.present[member]]
            weights = [1.0 if request.weight is None else float(request.weight[member]) for member in members]
            stalled = request.whole and len(members) < len(group)
            if len(members) > 1 and sum(weights) > 0 and not stalled:
                self._average(rows, out, members, weights, request, now)
        return out

    def _average(
        self, rows: Rows, out: Rows, members: list[int], weights: list[float], request: Group, now: Round
    ) -> None:
        codec = request.codec or self.codec
        if codec.lossless and not self.strict:
            mean_rows([rows[member] for member in members], weights, out[members[0]])
            for member in members[1:]:
                out[member].copy_(out[members[0]])
            self._count_group(members, codec, self._spec(rows), head=_head(request))
            return
        for index, (part, spec) in enumerate(coding.part_specs(self._spec(rows), len(members))):
            self._average_part(rows, out, members, weights, index, part, spec, request, now)

    def _average_part(
        self,
        rows: Rows,
        out: Rows,
        members: list[int],
        weights: list[float],
        index: int,
        part: slice,
        spec: RowSpec,
        request: Group,
        now: Round,
    ) -> None:
        """The part that `members[index]` owns: it hears the others' part, averages, and sends the mean to all."""
        owner, codec = members[index], request.codec or self.codec
        others = [member for member in members if member != owner]
        seen, source, size = {owner: rows[owner, part]}, [], []
        for member in others:
            slot = f"{request.slot}/part {index} of {len(members)}"
            row, length = self._code(rows[member, part], codec, spec, member, slot, now.number)
            seen[member] = row
            source.append(member)
            size.append(length + _head(request))
        mean = mean_rows([seen[member] for member in members], weights, torch.empty_like(rows[owner, part]))
        slot = f"{request.slot}/mean {index} of {len(members)}"
        row, length = self._code(mean, codec, spec, owner, slot, now.number)
        for member in members:
            out[member, part] = row
        self.ledger.send(np.array(source), np.full(len(others), owner), np.array(size))
        self.ledger.send(np.full(len(others), owner), np.array(others), length, shared=True)

    def _count_group(self, members: list[int], codec: Codec, spec: RowSpec, *, head: int) -> None:
        count = len(members)
        sizes = [codec.size(part) or 0 for _, part in coding.part_specs(spec, count)]
        every = np.array(members, np.int64)
        source, owner = np.repeat(every, count), np.tile(every, count)
        off, size = source != owner, np.tile(np.array(sizes, np.int64), count)
        self.ledger.send(source[off], owner[off], size[off] + head)  # each its part to the owner of that part
        self.ledger.send(owner[off], source[off], size[off], shared=True)  # and the mean of the part back

    def _reply(self, request: Reply, now: Round) -> Rows:
        codec, spec = request.codec or self.codec, self._spec(request.values)
        target, source = request.heard.target.cpu().numpy(), request.heard.source.cpu().numpy()
        if not now.mixing.graph.symmetric:
            raise RuntimeError("reply: the graph must work both ways")
        order = np.lexsort((target, source))  # the edge (source -> target) of every edge (target -> source)
        returned, sizes = self.buffers.lend(request.values), np.zeros(len(target), np.int64)
        for edge in range(len(target)):
            back, size = self._code(
                request.values[edge],
                codec,
                spec,
                int(target[edge]),
                request.slot,
                now.number,
                receiver=int(source[edge]),
            )
            returned[order[edge]] = back
            sizes[edge] = size
        self.ledger.send(target, source, sizes)
        return returned

    def _seen(self, rows: Rows, request: Mix, now: Round) -> tuple[Rows, list[int]]:
        """(what everyone sees of each row, the length of each payload)."""
        codec = coding.codec_for(rows.shape[1], self.layout.size, request.codec or self.codec)
        spec = self._spec(rows)
        if codec.lossless and not self.strict:
            return rows, [codec.size(spec) or 0] * len(rows)
        out, sizes = self.buffers.lend(rows), []
        for position, row in enumerate(rows.unbind(0)):
            if not now.present[position]:
                out[position] = row
                sizes.append(0)
                continue
            seen, size = self._code(row, codec, spec, position, request.slot, now.number)
            out[position] = seen
            sizes.append(size)
        return rows if codec.lossless else out, sizes

    def _code(
        self,
        row: Rows,
        codec: Codec,
        spec: RowSpec,
        position: int,
        slot: str,
        round: int,
        receiver: int = -1,
    ) -> tuple[Rows, int]:
        agent = self.ids[position]
        other = self.ids[receiver] if receiver >= 0 else -1
        residual = self.residuals.of(codec, spec, slot, agent, other)
        random = coding.draw(self.seed, agent, round, slot, other)
        size = codec.size(spec)
        if size is None or self.strict:
            payload, seen = codec.transmit(coding.as_array(row), spec, random, residual)
            size = len(payload)
        else:
            seen = codec.see(coding.as_array(row), spec, random, residual)
        return coding.as_tensor(seen, row), size

    def _spec(self, rows: Rows) -> RowSpec:
        if rows.shape[1] == self.layout.size:
            return self.layout.spec(rows.dtype)
        return RowSpec(rows.shape[1], str(rows.dtype).removeprefix("torch."))

    def _apply(self, mixing: Mixing, rows: Rows) -> Rows:
        if self._gossip is None or self._gossip[0] is not mixing:
            self._gossip = (mixing, Gossip(mixing))
        return self._gossip[1].apply(rows, self.buffers.lend(rows))

    def _count(self, mixing: Mixing, parts: list[list[int]]) -> None:
        sizes = np.array([coding.message_size(each) for each in parts], np.int64)
        graph = mixing.graph
        self.ledger.send(graph.source, graph.target, sizes[graph.source], shared=True)


def _head(request: Group) -> int:
    """Bytes of the sender's weight before its part."""
    return 0 if request.weight is None else coding.WEIGHT
