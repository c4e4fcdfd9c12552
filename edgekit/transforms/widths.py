"""Widths: how many channels each group keeps, given a ratio, the board's multiple and the group's own
blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from edgekit.analysis.coupling import Group
from edgekit.errors import BadInput


@dataclass
class Width:
    """A group's width over the rounds: `original` before the step, `now`, and the `step` it moves in.

    `step` is the least common multiple of the board's multiple and of the group's equal blocks. `left_alone`
    is the reason why the group keeps its width, or "". `final` is the width that a board's table chose, if any.
    """

    root: str
    original: int
    now: int
    step: int
    multiple: int
    blocks: int
    left_alone: str = ""
    final: int | None = None

    @classmethod
    def of(cls, group: Group, *, multiple: int, excluded: set[str]) -> Width:
        """A group's width at the start."""
        step = math.lcm(group.blocks, multiple * group.shares)
        width = cls(group.root, group.width, group.width, step, multiple, group.blocks, group.blocked)
        hit = sorted(group.layers() & excluded)
        if hit:
            width.left_alone = f"is excluded with {hit[0]}"
        elif not width.left_alone and group.width <= step:
            width.left_alone = f"has {group.width} channels, no more than the least width of {step}"
        return width

    def nearest(self, channels: float) -> int:
        """The nearest multiple of the step, halves up, at most the original width; may be 0."""
        return min(self.original, math.floor(channels / self.step + 0.5) * self.step)

    def at(self, ratio: float) -> int:
        """The width after `ratio` of the channels has left."""
        return self.final if self.final is not None else self.nearest((1 - ratio) * self.original)

    def __str__(self) -> str:
        if self.left_alone:
            return f"{self.root}: left at {self.original} channels, it {self.left_alone}"
        return f"{self.root}: {self.original} -> {self.now} channels"


def uniform_widths(
    model: nn.Module, widths: dict[str, Width], groups: list[Group], *, ratio: float, part: float
) -> None:
    """Set every width to original - part (original - final), final as `Width.at` says.

    Raises BadInput naming the layer whose final width would be 0 steps.
    """
    finals = {group.root: widths[group.root].at(ratio) for group in groups}
    missed = [group for group in groups if finals[group.root] == 0]
    if missed:
        tightest = min(missed, key=lambda group: widths[group.root].original / widths[group.root].step)
        raise BadInput(_unreachable(model, tightest, widths[tightest.root], ratio))
    for group in groups:
        width = widths[group.root]
        exact = width.original - part * (width.original - finals[group.root])
        width.now = min(width.now, math.ceil(exact / width.blocks) * width.blocks)


def widths_by_rank(
    widths: dict[str, Width], ranked: list[tuple[Group, torch.Tensor]], *, ratio: float, raw: bool
) -> None:
    """Set the widths that remove `ratio` of all original channels by one ranking over all groups.

    Scores are divided by their group's mean, but for `raw` ones, which are losses and comparable as they are.
    Every group keeps one step. Raises BadInput where that makes the ratio unreachable.
    """
    total = sum(widths[group.root].original for group, _ in ranked)
    spare = sum(widths[group.root].original - widths[group.root].step for group, _ in ranked)
    if round(ratio * total) > spare:
        raise BadInput(
            f"prune: ratio {ratio:g} of {total} channels is {round(ratio * total)}, and only {spare} can "
            f"leave with one step of width kept in each group. Lower ratio to {_floor(spare / total):g}."
        )
    scaled = [score if raw else score / score.mean().clamp_min(1e-12) for _, score in ranked]
    leave = round(ratio * total) - sum(widths[group.root].original - group.width for group, _ in ranked)
    threshold = (
        torch.cat(scaled).sort().values[leave - 1] if scaled and leave > 0 else torch.tensor(-math.inf)
    )
    for (group, _), score in zip(ranked, scaled, strict=True):
        width = widths[group.root]
        width.now = min(width.now, max(width.step, width.nearest(int((score > threshold).sum()))))


def _unreachable(model: nn.Module, group: Group, width: Width, ratio: float) -> str:
    layer = model.get_submodule(group.root)
    groups = getattr(layer, "groups", 1)
    title = f"{group.root} ({type(layer).__name__}{f' groups={groups}' if groups > 1 else ''})"
    tied = sorted(
        name
        for name in group.layers() - {group.root}
        if isinstance(model.get_submodule(name), (nn.modules.conv._ConvNd, nn.Linear))
    )
    least = (
        f"this board's multiple of {width.step}"
        if width.step == width.multiple
        else f"{width.step}, the least that the multiple of {width.multiple} and its {width.blocks} equal "
        f"parts allow"
    )
    top = group.root.split(".")[0]
    return (
        f"prune: {title}{f' is tied to {tied[0]};' if tied else ':'} ratio {ratio:g} would leave "
        f"{round((1 - ratio) * width.original)} of {width.original} channels, below {least}. Lower ratio "
        f"to {_floor(1 - width.step / width.original):g} or exclude "
        f"'{top + '.*' if top != group.root else top}'."
    )


def _floor(ratio: float) -> float:
    return math.floor(ratio * 100 + 1e-9) / 100
