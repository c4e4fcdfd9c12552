"""Prune: remove the channels that matter least, with everything that is coupled to them."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from edgekit.analysis.cost import cost
from edgekit.analysis.coupling import Group, coupled_groups
from edgekit.analysis.layers import example_on, in_evaluation, matching
from edgekit.change import Change
from edgekit.errors import BadInput, did_you_mean
from edgekit.fit import Hooks
from edgekit.job import call
from edgekit.transforms.base import Transform
from edgekit.transforms.channels import Kept, keep_channels
from edgekit.transforms.importance import CRITERIA, Context, labelled
from edgekit.transforms.widths import Width, uniform_widths, widths_by_rank

if TYPE_CHECKING:
    from edgekit.job import Job


@dataclass(frozen=True)
class Prune(Transform):
    """Remove `ratio` of the channels of every coupled group (or of the whole net where `global_ranking`).

    The ratio is relative to the width before this step; `rounds` reach it in equal parts with `epochs_each`
    of training after each. `by` is l1, l2, batchnorm, taylor or random. Widths become multiples of
    `multiple` (the board's, where None), at least one; layers that are narrower, that make an output, or
    that match a glob of `exclude` are left alone. Raises BadInput where nothing can be removed, unless
    `optional`.

    `table` is a file of measured kernels (edgekit predict --build): then the board's multiple does not count, and
    the ratio's widths are raised as far as the table predicts no slower network, in `precision` fp32 or int8.
    """

    ratio: float
    by: str = "l2"
    rounds: int = 1
    epochs_each: int = 0
    lr: float | None = None
    exclude: tuple[str, ...] = ()
    global_ranking: bool = False
    optional: bool = False
    multiple: int | None = None
    batches: int = 8  # of training data, for the gradients of taylor
    table: str | None = None
    precision: str = "int8"

    name: ClassVar[str] = "prune"
    reads_caps: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise BadInput(
                f"prune: ratio is {self.ratio}, the part of the channels to remove. Give a number between "
                "0 and 1."
            )
        if self.by not in CRITERIA:
            raise BadInput(f"prune: by '{self.by}' is unknown. {did_you_mean(self.by, CRITERIA)}")
        for field, least in (("rounds", 1), ("epochs_each", 0), ("batches", 1)):
            if getattr(self, field) < least:
                raise BadInput(f"prune: {field} is {getattr(self, field)}. Give at least {least}.")
        if self.multiple is not None and self.multiple < 1:
            raise BadInput(f"prune: multiple is {self.multiple}. Give at least 1, or leave it to the board.")
        if self.precision not in ("fp32", "int8"):
            raise BadInput(
                f"prune: precision '{self.precision}' is unknown. {did_you_mean(self.precision, ('fp32', 'int8'))}"
            )
        if self.table is not None and (self.global_ranking or self.multiple is not None):
            other = "multiple" if self.multiple is not None else "global_ranking"
            raise BadInput(f"prune: table and {other} both decide the widths. Give one of them.")

    def apply(self, model: nn.Module, job: Job) -> tuple[nn.Module, Change]:
        """The narrower model and what was removed; `Change.plan` holds the kept indices."""
        before, kept, widths = cost(model, job.example), {}, {}  # type: tuple[Any, Kept, dict[str, Width]]
        for number in range(1, self.rounds + 1):
            model, cut, widths = self._round(model, job, number, widths)
            kept = compose(kept, cut)
            if cut and self.epochs_each:
                model = job.train(
                    model,
                    Hooks.for_job(
                        job,
                        epochs=self.epochs_each,
                        lr=self.lr,
                        label=f"prune, round {number} of {self.rounds}",
                    ),
                )
        if not kept and not self.optional:
            raise BadInput(
                f"prune: nothing can be removed ({self._reason(widths)}). Raise ratio, lower multiple, "
                "exclude less, or set optional: true."
            )
        notes = tuple(str(width) for width in widths.values())
        return model, Change(before, cost(model, job.example), notes, {"keep": kept} if kept else None)

    @staticmethod
    def replay(model: nn.Module, plan: dict[str, Any]) -> nn.Module:
        """Cut a fresh model to the shapes of the pruned one; needs no tracing and no Torch-Pruning."""
        return keep_channels(model, plan["keep"])

    def _round(
        self, model: nn.Module, job: Job, number: int, widths: dict[str, Width]
    ) -> tuple[nn.Module, Kept, dict[str, Width]]:
        groups = coupled_groups(model, job.example)
        widths = widths or self._open_widths(model, groups, job)
        free = tuple(group for group in groups if group.root in widths and not widths[group.root].left_alone)
        scores = self._scores(model, free, job)
        ranked = [(group, score) for group, score in zip(free, scores, strict=True) if score is not None]
        for group, score in zip(free, scores, strict=True):
            if score is None:
                widths[group.root].left_alone = f"has nothing that '{self.by}' reads"
        part = number / self.rounds
        if self.global_ranking:
            widths_by_rank(widths, ranked, ratio=self.ratio * part, raw=self.by == "taylor")
        else:
            uniform_widths(model, widths, [group for group, _ in ranked], ratio=self.ratio, part=part)
        cuts = [(group, _removed(group, score, widths[group.root].now)) for group, score in ranked]
        cuts = [(group, removed) for group, removed in cuts if removed]
        return _cut_and_run(model, job, cuts), _kept(cuts), widths

    def _open_widths(self, model: nn.Module, groups: tuple[Group, ...], job: Job) -> dict[str, Width]:
        multiple = self.multiple or (job.caps.channel_multiple if job.caps and not self.table else 1)
        layers = [name for name, _ in model.named_modules() if name]
        excluded = matching(layers, self.exclude, where="prune: exclude")
        widths = {group.root: Width.of(group, multiple=multiple, excluded=excluded) for group in groups}
        if self.table is not None:
            self._ask_table(model, groups, job, {r: w for r, w in widths.items() if not w.left_alone})
        return widths

    def _ask_table(
        self, model: nn.Module, groups: tuple[Group, ...], job: Job, widths: dict[str, Width]
    ) -> None:
        from edgekit.transforms.worth import Worth  # its readers of graphs are not needed otherwise

        worth = Worth(model, groups, job, table=Path(str(self.table)), precision=self.precision)
        asked = {root: width.at(self.ratio) for root, width in widths.items()}
        for root, found in worth.widest(asked, {root: width.step for root, width in widths.items()}).items():
            widths[root].final = found

    def _scores(self, model: nn.Module, groups: tuple[Group, ...], job: Job) -> list[torch.Tensor | None]:
        taylor = self.by == "taylor" and job.data.train is not None
        batches = labelled(job.data.train or (), self.batches) if taylor else ()
        context = Context(job.generator("prune"), job.loss if batches else None, batches)
        return CRITERIA[self.by](model, groups, context)

    def _reason(self, widths: dict[str, Width]) -> str:
        reasons = [f"{root} {width.left_alone}" for root, width in widths.items() if width.left_alone]
        return "; ".join(reasons[:3]) or f"ratio {self.ratio} rounds to no channel anywhere"


def compose(first: Kept, second: Kept) -> Kept:
    """The kept indices of two cuts in a row, in the numbering before both."""
    result = {layer: dict(sides) for layer, sides in first.items()}
    for layer, sides in second.items():
        own = result.setdefault(layer, {})
        for side, indices in sides.items():
            own[side] = [own[side][index] for index in indices] if side in own else list(indices)
    return result


def _removed(group: Group, score: torch.Tensor, width: int) -> list[int]:
    """The least important units that leave `width`, the same number from each block; ties: the later unit
    goes.
    """
    size, keep = group.width // group.blocks, width // group.blocks
    order = score.reshape(group.blocks, size).argsort(dim=1, descending=True, stable=True)
    offsets = torch.arange(group.blocks).unsqueeze(1) * size
    return sorted((order[:, keep:] + offsets).flatten().tolist())


def _kept(cuts: Iterable[tuple[Group, list[int]]]) -> Kept:
    """Kept channels of every side that loses some; several groups may share a side (concatenation)."""
    gone: dict[tuple[str, str], set[int]] = {}
    width: dict[tuple[str, str], int] = {}
    for group, removed in cuts:
        leaving = set(removed)
        for member in group.members:
            key = member.layer, member.side
            width[key] = member.width
            pairs = zip(member.channels.tolist(), member.units.tolist(), strict=True)
            gone.setdefault(key, set()).update(channel for channel, unit in pairs if unit in leaving)
    kept: Kept = {}
    for (layer, side), channels in gone.items():
        if channels:
            kept.setdefault(layer, {})[side] = [
                index for index in range(width[layer, side]) if index not in channels
            ]
    return kept


def _cut_and_run(model: nn.Module, job: Job, cuts: list[tuple[Group, list[int]]]) -> nn.Module:
    """The cut model if it runs on the example; else BadInput naming the group, and `model` is as it was."""
    if not cuts:
        return model
    candidate = keep_channels(copy.deepcopy(model), _kept(cuts))
    if _fault(candidate, job) is None:
        return candidate
    for group, removed in cuts:
        fault = _fault(keep_channels(copy.deepcopy(model), _kept([(group, removed)])), job)
        if fault is not None:
            raise BadInput(
                f"prune: without {len(removed)} of {group.width} channels of {group.root} the model does "
                f"not run ({fault}); tied to it: "
                f"{', '.join(sorted(group.layers() - {group.root})) or 'nothing'}. Nothing was removed. "
                f"Exclude '{group.root}'."
            )
    roots = ", ".join(group.root for group, _ in cuts)
    raise BadInput(
        f"prune: the model does not run once {roots} are cut together ({_fault(candidate, job)}). Nothing "
        "was removed. Exclude some of them."
    )


def _fault(model: nn.Module, job: Job) -> str | None:
    """Why the model does not run on the example; None if it does."""
    try:
        with in_evaluation(model), torch.no_grad():
            call(model, example_on(model, job.example))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        return str(error).splitlines()[0]
    return None
