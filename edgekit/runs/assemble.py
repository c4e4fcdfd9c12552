"""From a run and a seed to the engine that runs it: everything that can be refused is refused here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgekit.decentralized.algorithm import AsyncAlgorithm
from edgekit.decentralized.event_engine import EventEngine
from edgekit.decentralized.links import VirtualClock
from edgekit.decentralized.model_objective import ModelObjective, probe
from edgekit.decentralized.partition.shares import histograms, skew
from edgekit.decentralized.requirements import check_connected, check_setting
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.sampler import Sampler
from edgekit.decentralized.schedule import linear_scaling
from edgekit.decentralized.settings import Absence, Settings
from edgekit.decentralized.vector_engine import VectorEngine
from edgekit.device import find_device
from edgekit.errors import BadInput
from edgekit.registry import losses, metrics
from edgekit.runs.arrays import Arrays, load_arrays
from edgekit.runs.evaluator import Evaluator
from edgekit.runs.proxy import proxies
from edgekit.runs.run_file import RunFile

Engine = VectorEngine | EventEngine
Say = Callable[[str], None]
BATCH_NORM_SKEW = 0.1  # mean L1 distance of labels beyond which batch statistics of agents disagree


@dataclass
class Assembled:
    """A run ready to start."""

    run: RunFile
    seed: int
    engine: Engine
    evaluator: Evaluator
    objective: ModelObjective
    shares: dict[int, npt.NDArray[np.int64]]
    warnings: tuple[str, ...]
    facts: dict[str, Any]
    roster: Roster  # of all agents that ever take part

    @property
    def buffers(self) -> torch.Tensor | None:
        """The running statistics of all agents [n, Q], where the model has any."""
        if not self.objective.buffers:
            return None
        return torch.stack([self.objective.buffers[agent] for agent in self.engine.roster.ids])


def assemble(
    run: RunFile, seed: int, *, arrays: Arrays | None = None, gradients: str | None = None
) -> Assembled:
    """Data, partition, model, topology and engine of one seed; BadInput for what cannot work.

    `gradients` names the way gradients are taken, as chosen before; else it is probed where the run says auto.
    """
    arrays = arrays or load_arrays(run.data, run.data_options)
    device, dtype = find_device(run.device), getattr(torch, run.dtype)
    shares = divide(run, arrays, seed)
    model = make_model(run, arrays, seed).to(device=device, dtype=dtype)
    samples = arrays.train.to(device, dtype)
    loss = loss_of(run, arrays)
    check_setting(
        run.algorithm,
        run.topology,
        run.optimizer,
        run.codec,
        agents=run.agents,
        local_steps=run.local_steps,
        has_buffers=bool(list(model.buffers())),
    )
    facts: dict[str, Any] = {"device": device}
    if gradients is None:
        gradients, facts["probe"] = _way(run, model, loss, samples)
    facts["gradients"] = gradients
    sampler = Sampler(shares, run.batch, seed)
    objective = ModelObjective(model, loss, samples, sampler, gradients=gradients, seed=seed)
    rows = _first_rows(run, arrays, objective, model, seed)
    counts = (
        None
        if arrays.labels is None
        else histograms(arrays.labels, list(shares.values()), len(arrays.classes))
    )
    roster = _roster(run, counts, objective, rows, seed)
    check_connected(run.algorithm, run.topology, roster, seed)
    engine = _engine(run, roster.without(_absent_at_first(run)), objective, rows, seed)
    evaluator = evaluator_of(run, arrays, seed, model, loss, counts, device, dtype)
    return Assembled(run, seed, engine, evaluator, objective, shares, _warnings(model, counts), facts, roster)


def divide(run: RunFile, arrays: Arrays, seed: int) -> dict[int, npt.NDArray[np.int64]]:
    """Which samples each agent holds."""
    labels = arrays.labels
    if labels is None and not run.partition.by_label:
        labels = np.zeros(len(arrays.train), np.int64)  # only their count is looked at
    shares = run.partition.divide(labels, run.agents, seed, arrays.groups)
    return dict(enumerate(shares))


def make_model(run: RunFile, arrays: Arrays, seed: int) -> nn.Module:
    """The model with the seed's first weights, the same in every process."""
    from edgekit.zoo.source import resolve_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = resolve_model(
            run.model, weights=run.initial_weights, options=run.model_options, dataset=arrays.dataset
        )
    if isinstance(made, Path):
        raise BadInput(
            f"model: '{run.model}' is an ONNX file, which cannot be trained. Name a PyTorch model."
        )
    return made


def loss_of(run: RunFile, arrays: Arrays) -> Any:
    """The loss that is trained on: the run's own, or what fits the targets."""
    return losses.get(run.loss or ("cross_entropy" if arrays.labels is not None else "mean_squared_error"))


def _way(run: RunFile, model: nn.Module, loss: Any, samples: Any) -> tuple[str, dict[str, float] | None]:
    if isinstance(run.algorithm, AsyncAlgorithm) and run.gradients == "auto":
        return "loop", None
    if run.gradients != "auto":
        return run.gradients, None
    return probe(model, loss, samples, run.batch, run.agents)


def _first_rows(
    run: RunFile, arrays: Arrays, objective: ModelObjective, model: nn.Module, seed: int
) -> torch.Tensor:
    """Models [n, P] and buffers before the first round: the same for all, or each its own."""
    row = objective.layout.pack(dict(model.named_parameters())).detach().clone()
    buffers = (
        objective.buffer_layout.pack(dict(model.named_buffers())) if objective.buffer_layout.size else None
    )
    if buffers is not None:
        objective.buffers = {agent: buffers.clone() for agent in range(run.agents)}
    if run.initial == "same":
        return row.repeat(run.agents, 1)
    return torch.stack([own_row(run, arrays, objective, seed, agent).to(row) for agent in range(run.agents)])


def own_row(run: RunFile, arrays: Arrays, objective: ModelObjective, seed: int, agent: int) -> torch.Tensor:
    """The first model [P] of an agent, where each starts from its own."""
    model = make_model(run, arrays, seed * 1_000_003 + agent + 1)
    return objective.layout.pack(dict(model.named_parameters())).detach()


def _roster(
    run: RunFile,
    counts: npt.NDArray[np.floating] | None,
    objective: ModelObjective,
    rows: torch.Tensor,
    seed: int,
) -> Roster:
    speeds = None
    if run.links is not None:
        speeds = np.array([run.links.speed_of(agent, seed) for agent in range(run.agents)])
    needed = run.topology.facts
    if "histograms" in needed and counts is None:
        raise BadInput(
            f"topology: {run.topology.name} groups agents by their labels, but the data have none."
        )
    found = proxies(objective, rows, range(run.agents)) if "proxies" in needed else None
    return Roster(tuple(range(run.agents)), counts, found, speeds)


def _absent_at_first(run: RunFile) -> frozenset[int]:
    """Agents whose first event is that they join."""
    first: dict[int, str] = {}
    for event in sorted(run.membership, key=lambda item: item.round):
        for agent in event.leave:
            first.setdefault(agent, "leave")
        for agent in event.join:
            first.setdefault(agent, "join")
    return frozenset(agent for agent, what in first.items() if what == "join")


def settings_of(run: RunFile, seed: int) -> Settings:
    """How the run trains, with its learning rate scaled where it asks for that."""
    optimizer = run.optimizer
    if run.linear_scaling is not None:
        total = run.batch * run.accumulate
        optimizer = replace(optimizer, lr=linear_scaling(optimizer.lr, total, reference=run.linear_scaling))
    return Settings(
        codec=run.codec,
        optimizer=optimizer,
        schedule=run.schedule,
        rounds=run.rounds,
        local_steps=run.local_steps,
        accumulate=run.accumulate,
        weights=run.weights,
        seed=seed,
        strict=run.strict,
        absence=run.absence or Absence(),
        buffers=run.buffers,
    )


def _engine(run: RunFile, roster: Roster, objective: ModelObjective, rows: torch.Tensor, seed: int) -> Engine:
    settings, rows = settings_of(run, seed), rows[list(roster.ids)]
    if isinstance(run.algorithm, AsyncAlgorithm):
        if run.membership:
            raise BadInput(
                f"membership: {run.algorithm.name} runs with a fixed roster here. Drop membership."
            )
        return EventEngine(
            run.algorithm, run.topology, objective, rows, settings, roster=roster, links=run.links
        )
    clock = None
    if run.links is not None:
        clock = VirtualClock(run.links, roster.speeds if roster.speeds is not None else np.ones(len(roster)))
    return VectorEngine(run.algorithm, run.topology, objective, rows, settings, roster=roster, clock=clock)


def evaluator_of(
    run: RunFile,
    arrays: Arrays,
    seed: int,
    model: nn.Module,
    loss: Any,
    counts: npt.NDArray[np.floating] | None,
    device: str,
    dtype: torch.dtype,
) -> Evaluator:
    """What scores models on the test samples; counts: the labels that each agent to be scored holds."""
    import copy

    y = arrays.test_y.to(device, dtype) if arrays.test_y.is_floating_point() else arrays.test_y.to(device)
    return Evaluator(
        copy.deepcopy(model),
        loss,
        metrics.get(run.metric or ("accuracy" if arrays.labels is not None else "mean_squared_error")),
        arrays.test_x.to(device, dtype),
        y,
        histograms=counts,
        agents=run.evaluate.agents,
        samples=run.evaluate.samples,
        seed=seed,
    )


def _warnings(model: nn.Module, counts: npt.NDArray[np.floating] | None) -> tuple[str, ...]:
    batch_norm = any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in model.modules())
    if batch_norm and counts is not None and skew(counts) > BATCH_NORM_SKEW:
        return (
            "model: it has BatchNorm and the agents' labels are skewed, so that their batch statistics disagree; "
            "such runs often fail (Hsieh et al., 2020). Choose norm: group.",
        )
    return ()
