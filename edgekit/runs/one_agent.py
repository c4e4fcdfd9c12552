"""One agent of a run on the machine that holds its data: what `assemble` makes for all, for one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from edgekit.decentralized.algorithm import AsyncAlgorithm
from edgekit.decentralized.async_solo import AsyncSolo
from edgekit.decentralized.layout import Layout
from edgekit.decentralized.model_objective import ModelObjective
from edgekit.decentralized.partition.shares import histograms
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.sampler import Sampler
from edgekit.decentralized.settings import Settings
from edgekit.decentralized.solo import Solo
from edgekit.device import find_device
from edgekit.errors import BadInput
from edgekit.runs.arrays import Arrays
from edgekit.runs.assemble import divide, evaluator_of, loss_of, make_model, own_row, settings_of
from edgekit.runs.evaluator import Evaluator
from edgekit.runs.proxy import proxies
from edgekit.runs.run_file import RunFile

Ints = npt.NDArray[np.int64]


@dataclass
class OneAgent:
    """The agent `number` of a run, ready to train.

    row [1, P]: its first model; counts [classes]: the labels that it holds, None where there are none.
    """

    run: RunFile
    number: int
    settings: Settings
    objective: ModelObjective
    row: torch.Tensor
    evaluator: Evaluator
    counts: npt.NDArray[np.floating] | None

    def facts(self) -> dict[str, list[float]]:
        """What the topology asks to know of this agent; BadInput where it does not exist."""
        found, needed = {}, self.run.topology.facts
        if "histograms" in needed:
            if self.counts is None:
                raise BadInput(
                    f"topology: {self.run.topology.name} groups agents by their labels, but the data have none."
                )
            found["histograms"] = [float(count) for count in self.counts]
        if "proxies" in needed:
            found["proxies"] = proxies(self.objective, self.row, [self.number])[0].tolist()
        return found

    def solo(self, roster: Roster) -> Solo | AsyncSolo:
        """The agent among others, before its first round."""
        run, own = self.run, self.row.clone()
        if isinstance(run.algorithm, AsyncAlgorithm):
            return AsyncSolo(
                run.algorithm, run.topology, self.objective, own, self.settings, roster, self.number
            )
        return Solo(run.algorithm, run.topology, self.objective, own, self.settings, roster, self.number)


def assemble_one(
    run: RunFile, seed: int, number: int, arrays: Arrays, *, own_data: bool, device: str | None = None
) -> OneAgent:
    """Data, model and objective of one agent; BadInput for what cannot work.

    own_data: all samples of `arrays` are this agent's; else it takes its share of the run's partition.
    """
    place, dtype = find_device(device or run.device), getattr(torch, run.dtype)
    share: Ints = np.arange(len(arrays.train)) if own_data else divide(run, arrays, seed)[number]
    model = make_model(run, arrays, seed).to(device=place, dtype=dtype)
    loss = loss_of(run, arrays)
    counts = None
    if arrays.labels is not None:
        counts = histograms(arrays.labels, [share], len(arrays.classes))
    evaluator = evaluator_of(run, arrays, seed, model, loss, counts, place, dtype)
    objective = ModelObjective(
        model, loss, arrays.train.to(place, dtype), Sampler({number: share}, run.batch, seed), seed=seed
    )
    if objective.buffer_layout.size:
        objective.buffers = {number: objective.buffer_layout.pack(dict(model.named_buffers())).clone()}
    row = objective.layout.pack(dict(model.named_parameters())).detach().clone()
    if run.initial == "different":
        row = own_row(run, arrays, objective, seed, number).to(row)
    settings = settings_of(run, seed)
    first = None if counts is None else counts[0]
    return OneAgent(run, number, settings, objective, row.unsqueeze(0), evaluator, first)


def schema_of(layout: Layout, buffers: Layout, dtype: str) -> int:
    """32 bits of a hash of every tensor's name and shape: agents with another model do not take each other's rows."""
    parts = [[item.name, list(item.shape)] for item in (*layout.slices, *buffers.slices)]
    text = json.dumps([dtype, parts], separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
