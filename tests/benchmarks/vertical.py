"""Vertical split learning: frequency bands of spoken digits over several agents, beside one network on all of them.

Run by hand: python tests/benchmarks/vertical.py [--agents 2 4] [--seeds 5] [--steps 800] [--jobs 2]

The 40 log-mel bands of FSDD (official split, 300 test recordings) are divided over the agents; each has a branch of
convolutions, a hub has the labels and the head. Beside it, on the same batches: the same network in one process, one
branch over all bands with more parameters (the joined data), and each agent's branch with a head of its own. Pairs by
seed, differences in points with 95 % intervals. Asked: the same bits as in one process, and on average at most 1 point
below the joined data.
"""

from __future__ import annotations

import copy
import multiprocessing
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent))

from common import Cases, as_pair, parser

from edgekit.profile.statistics import mean_interval
from edgekit.runs.split_file import parse_split
from edgekit.runs.split_run import SplitPart, SplitRun
from edgekit.yaml_lines import write_yaml
from tests.paths import SHARED

BANDS, BATCH, BELOW = 40, 32, 1.0  # BELOW: points
NAMES = ("first", "second", "third", "fourth")
WIDTHS = {1: 12, 2: 8, 4: 4}  # channels of a branch's first layer, by how many branches there are


class Branch(nn.Module):
    """Three convolutions over bands [n, 1, 49, b], averaged over 6 pieces of time and b / 10 of frequency."""

    def __init__(self, width: int, bands: int) -> None:
        super().__init__()
        places = 6 * (bands // 10)
        self.layers = nn.Sequential(
            *self._layer(1, width, 2),
            *self._layer(width, 2 * width, 2),
            *self._layer(2 * width, 2 * width, 1),
            nn.AdaptiveAvgPool2d((6, bands // 10)),
            nn.Flatten(),
            nn.Linear(2 * width * places, 32),
            nn.ReLU(),
        )

    @staticmethod
    def _layer(given: int, width: int, stride: int) -> list[nn.Module]:
        return [nn.Conv2d(given, width, 3, stride, padding=1), nn.GroupNorm(4, width), nn.ReLU()]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class One(nn.Module):
    """A branch and its head."""

    def __init__(self, width: int, bands: int) -> None:
        super().__init__()
        self.first, self.head = Branch(width, bands), nn.Linear(32, 10)

    def forward(self, first: torch.Tensor) -> torch.Tensor:
        return self.head(self.first(first))


class Two(nn.Module):
    """A branch for each of two agents, and a head on both."""

    def __init__(self) -> None:
        super().__init__()
        self.branch_first, self.branch_second = (Branch(WIDTHS[2], BANDS // 2) for _ in range(2))
        self.head = nn.Linear(64, 10)

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat([self.branch_first(first), self.branch_second(second)], 1))


class Four(nn.Module):
    """A branch for each of four agents, and a head on all."""

    def __init__(self) -> None:
        super().__init__()
        self.branch_first, self.branch_second, self.branch_third, self.branch_fourth = (
            Branch(WIDTHS[4], BANDS // 4) for _ in range(4)
        )
        self.head = nn.Linear(128, 10)

    def forward(
        self, first: torch.Tensor, second: torch.Tensor, third: torch.Tensor, fourth: torch.Tensor
    ) -> torch.Tensor:
        made = [self.branch_first(first), self.branch_second(second)]
        return self.head(torch.cat([*made, self.branch_third(third), self.branch_fourth(fourth)], 1))


def run_file(agents: int, seed: int, steps: int, rate: float, root: str) -> str:
    """The vertical run."""
    width, names = BANDS // agents, NAMES[:agents]
    return write_yaml(
        {
            "model": f"{Path(__file__).resolve()}:{'Two' if agents == 2 else 'Four'}",
            "data": {"fsdd": {"root": root, "features": "log-mel"}},
            "seed": seed,
            "steps": steps,
            "batch": BATCH,
            "optimizer": {"adam": {"lr": rate}},
            "evaluate_every": steps,
            "split": {
                "inputs": {
                    name: {"holder": name, "features": [width * index, width * (index + 1)]}
                    for index, name in enumerate(names)
                },
                "segments": {**{f"branch_{name}": name for name in names}, "head": "hub"},
                "labels": "hub",
            },
        }
    )


def one_seed(agents: int, steps: int, rate: float, root: str, seed: int) -> dict[str, Any]:
    """Accuracies of all sides, the largest difference to the same network in one process, and kB a step."""
    torch.set_num_threads(1)
    run, document = parse_split(run_file(agents, seed, steps, rate, root))
    with tempfile.TemporaryDirectory() as folder:
        vertical = SplitRun(run, document, Path(folder))
        model = copy.deepcopy(vertical.split.network.model)
        last = vertical.finish()["last"]
    width = BANDS // agents
    bands = [(width * index, width * (index + 1)) for index in range(agents)]
    whole = train(vertical.part, model, bands, steps)
    pairs = zip(vertical.split.network.model.parameters(), model.parameters(), strict=True)
    sent = last["bytes_sent"]
    return {
        "vertical": last["metric"],
        "whole": whole,
        "joined": alone(vertical.part, 1, [(0, BANDS)], steps),
        "alone": [alone(vertical.part, agents, [part], steps) for part in bands],
        "gap": max(float((a - b).detach().abs().max()) for a, b in pairs),
        "kb_a_step": (sent["value"] + sent["gradient"]) / steps / 1000,
        "parameters": count(model),
    }


def alone(part: SplitPart, agents: int, bands: list[tuple[int, int]], steps: int) -> float:
    """The accuracy of one branch, as wide as each of so many, on these bands."""
    torch.manual_seed(part.run.seed)
    return train(part, One(WIDTHS[agents], bands[0][1] - bands[0][0]), bands, steps)


def train(part: SplitPart, model: nn.Module, bands: list[tuple[int, int]], steps: int) -> float:
    """The accuracy of a network after the batches of the vertical run, in this process."""
    inputs = lambda x: [x[..., start:stop].contiguous() for start, stop in bands]  # noqa: E731
    optimizer = part.run.optimizer.make(model.parameters())
    arrays = part.arrays
    if arrays is None:
        raise ValueError("the data must be here")
    for step in range(steps):
        x, y = arrays.train.take(part.sampler.indices([0], [step])[0])
        part.loss(model(*inputs(x)), y).backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        right = model(*inputs(arrays.test_x)).argmax(1) == arrays.test_y
    return float(right.float().mean())


def count(model: nn.Module) -> int:
    """Parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def compare(agents: int, found: list[dict[str, Any]], cases: Cases, *, smoke: bool) -> None:
    """Add what all seeds gave as one case."""
    pick = lambda side: 100 * np.array([one[side] for one in found])  # noqa: E731
    vertical, joined, apart = pick("vertical"), pick("joined"), pick("alone")
    best = apart[:, apart.mean(0).argmax()]
    gap = max(one["gap"] for one in found)
    below = mean_interval(vertical - joined)
    cases.add(
        f"{agents} agents",
        met=None if smoke else bool(below.value >= -BELOW and gap == 0.0),
        asked=f"the same bits, >= -{BELOW:g} point to joined",
        vertical=as_pair(mean_interval(vertical), 2),
        whole=as_pair(mean_interval(pick("whole")), 2),
        joined=as_pair(mean_interval(joined), 2),
        best_alone=as_pair(mean_interval(best), 2),
        to_joined=as_pair(below, 2),
        to_best_alone=as_pair(mean_interval(vertical - best), 2),
        largest_gap_to_one_process=gap,
        alone=[round(float(value), 2) for value in apart.mean(0)],
        by_seed={side: [round(float(value), 2) for value in pick(side)] for side in ("vertical", "joined")},
        parameters=found[0]["parameters"],
        parameters_joined=count(One(WIDTHS[1], BANDS)),
        kb_a_step=round(found[0]["kb_a_step"], 1),
    )


def main() -> int:
    """Run the cases; 1 where one misses what is asked, 2 without the data."""
    options = parser(__doc__, smoke="two agents, two seeds, three steps")
    options.add_argument("--agents", type=int, nargs="+", default=[2, 4], choices=[2, 4])
    options.add_argument("--seeds", type=int, default=5, help="from --seed on; at least 2")
    options.add_argument("--steps", type=int, default=800)
    options.add_argument("--rate", type=float, default=0.002, help="of Adam")
    options.add_argument("--jobs", type=int, default=2, help="seeds at a time")
    options.add_argument("--root", type=Path, default=SHARED / "fsdd", help="the folder of fsdd*.npz")
    chosen = options.parse_args()
    if chosen.smoke:
        chosen.agents, chosen.seeds, chosen.steps, chosen.jobs = [2], 2, 3, 1
    if not chosen.root.exists():
        print(
            f"vertical: there is no '{chosen.root}'. Give --root, the folder of fsdd*.npz.", file=sys.stderr
        )
        return 2
    cases, seeds = Cases("vertical", chosen.seed), range(chosen.seed, chosen.seed + chosen.seeds)
    for agents in chosen.agents:
        work = partial(one_seed, agents, chosen.steps, chosen.rate, str(chosen.root))
        if chosen.jobs == 1:
            found = [work(seed) for seed in seeds]
        else:
            with ProcessPoolExecutor(chosen.jobs, multiprocessing.get_context("spawn")) as pool:
                found = list(pool.map(work, seeds))
        compare(agents, found, cases, smoke=chosen.smoke)
    return cases.finish(["vertical", "joined", "best_alone", "to_joined", "to_best_alone"])


if __name__ == "__main__":
    sys.exit(main())
