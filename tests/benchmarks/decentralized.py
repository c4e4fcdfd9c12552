"""A round of decentralized training against a loop over agents: CPU seconds, 1 thread, batch 32, plain SGD.

Run by hand: python tests/benchmarks/decentralized.py [--cases mlp-1000 cnn-8]

The loop is what one would write by hand: for every agent the same batch, autograd, an update in place; the models then
averaged row by row. Both sides are timed in turns in one process. Asked: 1000 agents, MLP 784-64-10, ring: at most
0.40 CPU seconds a round, and the gradients with their update at least 1.8 times as fast as the loop's; 100 agents at
least 1.8 times; convolutional networks never slower than the loop; a round of 8 agents with a CNN within 1.1 times of
its gradients; D-Cliques of 1000 agents built in under 5 s.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from common import Cases, as_pair, parser

from edgekit.decentralized.algorithms.d_psgd import DPSGD
from edgekit.decentralized.facts import stand_in
from edgekit.decentralized.optimizers import Sgd
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.settings import Settings
from edgekit.decentralized.topologies.d_cliques import DCliques
from edgekit.decentralized.topologies.ring import Ring
from edgekit.profile.statistics import Interval, trimmed_interval

BATCH, RATE = 32, 0.05


@dataclass(frozen=True)
class Case:
    """A model over agents, and what is asked of it."""

    name: str
    model: str
    options: dict[str, Any]
    shape: tuple[int, ...]
    agents: int
    faster: float = 0.0  # gradients and update over the loop's
    round_seconds: float = float("inf")
    overhead: float = float("inf")  # a round over its gradients


CASES = (
    Case("mlp-1000", "mlp", {"width": 64, "depth": 1}, (1, 28, 28), 1000, faster=1.8, round_seconds=0.40),
    Case("mlp-100", "mlp", {"width": 64, "depth": 1}, (1, 28, 28), 100, faster=1.8),
    Case(
        "cnn-8",
        "gn_lenet",
        {"in_channels": 1, "image_size": 28, "width": 8},
        (1, 28, 28),
        8,
        0.95,
        overhead=1.1,
    ),
    Case(
        "cnn-64",
        "gn_lenet",
        {"in_channels": 1, "image_size": 28, "width": 8},
        (1, 28, 28),
        64,
        0.95,
        overhead=1.1,
    ),
    Case("resnet8-8", "resnet8", {"norm": "group", "in_channels": 1}, (1, 28, 28), 8, 0.95, overhead=1.1),
)


class Side:
    """One case: the engine with the way that its probe chose, and the loop over the same samples."""

    def __init__(self, case: Case, seed: int) -> None:
        import torch
        from torch import nn

        from edgekit.decentralized.model_objective import ModelObjective, probe
        from edgekit.decentralized.sampler import Sampler
        from edgekit.decentralized.samples import Samples
        from edgekit.decentralized.vector_engine import VectorEngine
        from edgekit.fit import cross_entropy
        from edgekit.registry import models

        torch.manual_seed(seed)
        self.case, self.torch = case, torch
        self.model: nn.Module = models.get(case.model)(**case.options)
        count = 60 * case.agents
        x = torch.randint(0, 256, (count, *case.shape), dtype=torch.uint8)
        self.samples = Samples(x, torch.randint(0, 10, (count,)), torch.tensor(1 / 90), torch.tensor(-0.8))
        shares = {agent: np.arange(60 * agent, 60 * agent + 60) for agent in range(case.agents)}
        self.sampler = Sampler(shares, BATCH, seed)
        self.way, self.probed = probe(self.model, cross_entropy, self.samples, BATCH, case.agents)
        objective = ModelObjective(
            self.model, cross_entropy, self.samples, self.sampler, gradients=self.way, seed=seed
        )
        row = objective.layout.pack(dict(self.model.named_parameters())).detach()
        self.rows = row.repeat(case.agents, 1)
        self.engine = VectorEngine(
            DPSGD(order="adapt-then-combine"),
            Ring(),
            objective,
            self.rows,
            Settings(optimizer=Sgd(lr=RATE), rounds=10_000, seed=seed),
        )
        self.objective, self.loss, self.draw = objective, cross_entropy, 0
        self.alone = [models.get(case.model)(**case.options) for _ in range(case.agents)]
        self.out = torch.empty_like(self.rows)

    def round(self) -> None:
        """A round of the engine."""
        self.engine.round()

    def gradients(self) -> None:
        """What of a round is gradients and update."""
        context = self.engine.context
        context.local(self.engine.state["x"])
        context.advance()

    def loop(self) -> None:
        """Every agent by itself: batch, autograd, update in place."""
        torch = self.torch
        for agent, model in enumerate(self.alone):
            inputs, targets = self.samples.take(self.sampler.indices([agent], [self.draw])[0])
            parameters = list(model.parameters())
            found = torch.autograd.grad(self.loss(model(inputs), targets), parameters)
            with torch.no_grad():
                for parameter, gradient in zip(parameters, found, strict=True):
                    parameter.sub_(gradient, alpha=RATE)
        self.draw += 1

    def whole_loop(self) -> None:
        """The loop, and the models averaged row by row."""
        self.loop()
        count = len(self.rows)
        for agent in range(count):
            out = self.torch.mul(self.rows[agent - 1], 1 / 3, out=self.out[agent])
            out.add_(self.rows[agent], alpha=1 / 3).add_(self.rows[(agent + 1) % count], alpha=1 / 3)


def in_turns(calls: dict[str, Callable[[], None]], rounds: int) -> dict[str, np.ndarray]:
    """CPU seconds of every call, [rounds] each, taken in turns after one round of warm-up."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for index in range(rounds + 1):
        for name, call in calls.items():
            start = time.process_time()
            call()
            if index:
                found[name].append(time.process_time() - start)
    return {name: np.array(values) for name, values in found.items()}


def over(first: np.ndarray, second: np.ndarray) -> Interval:
    """The ratio of CPU times round by round, with its interval."""
    return trimmed_interval(first / second)


def measure(case: Case, cases: Cases, *, rounds: int, smoke: bool) -> None:
    """Time one case."""
    import torch

    torch.set_num_threads(1)
    side = Side(case, cases.seed)
    seen = in_turns(
        {"round": side.round, "gradients": side.gradients, "loop": side.loop, "whole loop": side.whole_loop},
        rounds,
    )
    faster, whole = over(seen["loop"], seen["gradients"]), over(seen["whole loop"], seen["round"])
    overhead, seconds = over(seen["round"], seen["gradients"]), float(np.median(seen["round"]))
    met = faster.value >= case.faster and seconds <= case.round_seconds and overhead.value <= case.overhead
    asked = [f"gradients >= {case.faster:g}x"]
    asked += [f"round <= {case.round_seconds:g} s"] if case.round_seconds < 1e9 else []
    asked += [f"round <= {case.overhead:g} gradients"] if case.overhead < 1e9 else []
    cases.add(
        case.name,
        met=None if smoke else bool(met),
        asked=", ".join(asked),
        parameters=side.objective.layout.size,
        way=side.way,
        cpu_seconds_a_round=round(seconds, 5),
        gradients_over_loop=as_pair(faster),
        round_over_loop=as_pair(whole),
        round_over_gradients=as_pair(overhead),
        loop_seconds=round(float(np.median(seen["loop"])), 5),
    )


def build_cliques(cases: Cases, *, agents: int, smoke: bool) -> None:
    """The time that D-Cliques takes to build."""
    roster = stand_in(agents)
    start = time.perf_counter()
    topology = DCliques(size=10, swaps=1000)
    graph = topology.graph(Roster(roster.ids, roster.histograms), 0, cases.seed)
    topology.mixing(roster, 0, cases.seed)
    seconds = time.perf_counter() - start
    cases.add(
        f"d-cliques-{agents}",
        met=None if smoke else seconds < 5,
        asked="built in < 5 s",
        parameters=0,
        way="-",
        cpu_seconds_a_round=round(seconds, 3),
        edges=graph.edges,
    )


def main() -> int:
    """Run the cases; 1 where one misses what is asked."""
    options = parser(__doc__, smoke="8 agents with an MLP, and D-Cliques of 40")
    names = [case.name for case in CASES]
    options.add_argument("--cases", nargs="+", default=[*names, "d-cliques"], choices=[*names, "d-cliques"])
    options.add_argument("--rounds", type=int, default=15)
    chosen = options.parse_args()
    cases = Cases("decentralized", chosen.seed)
    if chosen.smoke:
        measure(
            Case("mlp-8", *[getattr(CASES[0], key) for key in ("model", "options", "shape")], 8),
            cases,
            rounds=3,
            smoke=True,
        )
        build_cliques(cases, agents=40, smoke=True)
    else:
        for case in CASES:
            if case.name in chosen.cases:
                measure(case, cases, rounds=chosen.rounds, smoke=False)
        if "d-cliques" in chosen.cases:
            build_cliques(cases, agents=1000, smoke=False)
    columns = ["way", "cpu_seconds_a_round", "gradients_over_loop", "round_over_loop", "round_over_gradients"]
    return cases.finish(columns)


if __name__ == "__main__":
    sys.exit(main())
