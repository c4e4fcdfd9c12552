"""The start of an epoch: who joins gets its neighbours' models, and public copies are made equal.

Both are exchanges like those of a round, as generators of phases.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping
from typing import Any

import numpy as np
import torch

from edgekit.codecs.codec import BadPayload, Payload, RowSpec
from edgekit.decentralized.async_solo import AsyncSolo
from edgekit.decentralized.coding import RAW, as_array, as_tensor, join, message_size, split
from edgekit.decentralized.gossip import mean_rows
from edgekit.decentralized.graph import Graph
from edgekit.decentralized.peer import Incoming, Phase
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.rounds import Rounds
from edgekit.decentralized.solo import Solo
from edgekit.decentralized.sponsors import sponsors

Rows = torch.Tensor
Opening = Generator[Phase, Incoming, Rows | None]
MODELS, COPIES = -2, -1  # phases before the first of a round
_NO_RANDOM: Any = np.random.default_rng(0)  # a raw row is not drawn


def graph_of(solo: Solo | AsyncSolo, roster: Roster) -> Graph:
    """Who sends to whom in the first round among these agents."""
    number = solo.number if isinstance(solo, Solo) else 0
    return Rounds(solo.algorithm, solo.topology, roster, solo.settings).mixing(number).graph


def first_model(solo: Solo | AsyncSolo, graph: Graph, position: int, joined: Collection[int]) -> Opening:
    """The own model [1, P]; where this agent joined, the mean of its sponsors', with their running statistics.

    None where no sponsor answered: a model that is not of this run must not be averaged into it.
    """
    asked: Mapping[int, tuple[int, ...]] = sponsors(graph, frozenset(joined))
    buffers = solo.objective.buffers.get(solo.agent)
    parts = [solo.model[0]] if buffers is None else [solo.model[0], buffers]
    specs = [RowSpec(part.numel(), str(part.dtype).removeprefix("torch.")) for part in parts]
    message = join(
        [RAW.encode(as_array(part), spec, _NO_RANDOM) for part, spec in zip(parts, specs, strict=True)]
    )
    outgoing = {joiner: message for joiner, givers in asked.items() if position in givers}
    givers = asked.get(position, ())
    limits = [RAW.size(spec) for spec in specs]
    arrived = yield Phase(MODELS, outgoing, givers, message_size(limits), RAW.number)
    given = [rows for giver in givers if (rows := _rows(arrived.get(giver), specs, limits)) is not None]
    if not given:
        return None if givers else solo.model
    means = [_mean([as_tensor(rows[index], part) for rows in given]) for index, part in enumerate(parts)]
    if buffers is not None:
        buffers.copy_(means[1])
    return means[0].unsqueeze(0)


def first_copies(model: Rows, graph: Graph, position: int) -> Generator[Phase, Incoming, dict[int, Rows]]:
    """The models [P] that the neighbours start from, by position."""
    spec = RowSpec(model.shape[1], str(model.dtype).removeprefix("torch."))
    message = RAW.encode(as_array(model[0]), spec, _NO_RANDOM)
    outgoing = dict.fromkeys(graph.receivers(position), message)
    arrived = yield Phase(COPIES, outgoing, graph.senders(position), RAW.size(spec), RAW.number)
    found = {}
    for sender, payload in arrived.items():
        rows = _rows(payload, [spec], [RAW.size(spec)])
        if rows is not None:
            found[sender] = as_tensor(rows[0], model)
    return found


def _rows(message: Payload | None, specs: list[RowSpec], limits: list[int]) -> list[Any] | None:
    if message is None:
        return None
    try:
        parts = split(message, limits)
        return [RAW.decode(part, spec) for part, spec in zip(parts, specs, strict=True)]
    except BadPayload:
        return None


def _mean(rows: list[Rows]) -> Rows:
    return mean_rows(rows, [1.0] * len(rows), torch.empty_like(rows[0]))
