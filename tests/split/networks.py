"""Networks that are split in these tests, batches for them, and the same training in one process."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import nn

from edgekit.registry import models
from edgekit.split.build import Split
from edgekit.split.network import Network
from edgekit.split.placement import Placement, Slice
from edgekit.split.post import Post
from edgekit.split.program import Rhythm
from edgekit.split.simulate import Simulator
from edgekit.split.worker import parts

BATCH, CLASSES = 8, 10
cross_entropy = nn.functional.cross_entropy


class Transformer(nn.Module):
    """Two pre-norm blocks of single-head attention over 8 tokens of 16 values."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(1))


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(16), nn.LayerNorm(16)
        self.query, self.key, self.value = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 16)
        self.mlp = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))

    def forward(self, x):
        y = self.norm1(x)
        weights = torch.softmax(self.query(y) @ self.key(y).transpose(1, 2) / 4, -1)
        x = x + weights @ self.value(y)
        return x + self.mlp(self.norm2(x))


class Branch(nn.Module):
    """Two convolutions with GroupNorm over pictures of 6 x 6, to 8 features."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4)
        self.second, self.out = nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.Linear(36, 8)

    def forward(self, x):
        return self.out(torch.relu(self.second(torch.relu(self.norm(self.first(x))))).flatten(1))


class TwoBranches(nn.Module):
    """Convolutions for either half of a picture, and a head on both."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = Branch(), Branch()
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(16, CLASSES))

    def forward(self, left, right):
        return self.head(torch.cat([self.low(left), self.high(right)], 1))


class TwoAttentions(nn.Module):
    """A block for either half of each token; the second also hears what the first makes."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high, self.head = Block(), Block(), nn.Linear(32, CLASSES)

    def forward(self, left, right):
        low = self.low(left * 0.5)
        high = self.high(right + low)
        return self.head(torch.cat([low, high], 2).mean(1))


def make(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """A model with fixed weights, and the shape of a sample."""
    torch.manual_seed(3)
    if name == "two_branches":
        return TwoBranches(), (1, 6, 12)
    if name == "two_attentions":
        return TwoAttentions(), (8, 32)
    if name == "transformer":
        return Transformer(), (8, 16)
    if name == "ds_cnn":
        return models.get("ds_cnn")(norm="group", num_classes=CLASSES, width=16), (1, 49, 10)
    return models.get("resnet8")(norm="group", width=8), (3, 32, 32)


def batch(shape: tuple[int, ...], chain: int, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What a chain trains on in a step."""
    chance = torch.Generator().manual_seed(1000 * chain + step)
    x = torch.randn(BATCH, *shape, generator=chance)
    return x, torch.randint(0, CLASSES, (BATCH,), generator=chance)


def halves(shape: tuple[int, ...], holders: tuple[str, str] = ("west", "east")) -> dict[str, Slice]:
    """The first and the second half of the last axis."""
    half = shape[-1] // 2
    return {"left": Slice(holders[0], (0, half)), "right": Slice(holders[1], (half, 2 * half))}


def inputs_of(x: torch.Tensor, features: Mapping[str, Slice] | None) -> dict[str, torch.Tensor]:
    """The inputs of a model: samples as they are, or each slice of them."""
    return {name: part.take(x, -1) for name, part in features.items()} if features else {"x": x}


def split(
    name: str,
    cuts: tuple[str, ...],
    placement: Placement,
    *,
    clients: tuple[str, ...] = ("cam",),
    mode: str = "sequential",
    averager: str | None = None,
) -> tuple[Split, nn.Module, tuple[int, ...]]:
    """A network that is cut and placed, an equal one that is whole, and the shape of a sample."""
    model, shape = make(name)
    network = Network(model, torch.zeros(1, *shape))
    assignment = network.assignment(tuple(network.cut(cut) for cut in cuts))
    return Split(network, assignment, placement, clients, mode, averager), copy.deepcopy(model), shape


def train(
    made: Split,
    shape: tuple[int, ...],
    steps: int,
    optimizer: Callable,
    *,
    micro: int = 1,
    every: int = 1,
    posts: dict[str, Post] | None = None,
    features: Mapping[str, Slice] | None = None,
    **options,
) -> tuple[dict, list[float], Simulator]:
    """Run a split network in the simulator: its programs, the losses in order, the simulator."""

    def batches(agent):
        def held(chain, step):
            placed, sizes = made.placed(chain), parts(BATCH, micro)
            x, y = batch(shape, chain, step)
            inputs = [
                {name: x for name, x in given.items() if placed.holder(made.network, name) == agent}
                for given in (inputs_of(part, features) for part in x.split(sizes))
            ]
            return inputs, list(y.split(sizes)) if placed.labels == agent else []

        return held

    programs = made.programs(cross_entropy, optimizer, Rhythm(steps, BATCH, micro, every), batches)
    simulator = Simulator(posts or {agent: Post() for agent in made.agents}, **options)
    losses = [
        done.loss
        for _, done in simulator.run({name: one.run() for name, one in programs.items()})
        if done.loss is not None
    ]
    return programs, losses, simulator


def whole(
    model: nn.Module,
    shape: tuple[int, ...],
    order: list[list[int]],
    optimizer: Callable,
    *,
    features: Mapping[str, Slice] | None = None,
) -> list[float]:
    """The same network in one process: in each step the batches of some chains as one; their losses."""
    steps, losses = optimizer(model.parameters()), []
    for step, chains in enumerate(order):
        x, y = (torch.cat(tensors) for tensors in zip(*(batch(shape, c, step) for c in chains), strict=True))
        loss = cross_entropy(model(*inputs_of(x, features).values()), y)
        loss.backward()
        steps.step()
        steps.zero_grad()
        losses.append(float(loss.detach()))
    return losses


def gap(one: nn.Module, other: nn.Module) -> float:
    """The largest difference of any parameter."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)
