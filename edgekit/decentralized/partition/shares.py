"""The shares of agents: dealt out, saved and read, counted by class."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.decentralized.graph import Ints
from edgekit.decentralized.partition.partition import Shares
from edgekit.decentralized.roster import Floats
from edgekit.errors import BadInput

_AGENT = "agent_{}"


def dealt(order: Ints, agents: int) -> Shares:
    """Consecutive parts of an order of samples; their sizes differ by one at most.

    >>> [share.tolist() for share in dealt(np.array([4, 2, 0, 3, 1]), 2)]
    [[0, 2, 4], [1, 3]]
    """
    return [np.sort(part) for part in np.array_split(order, agents)]


def united(parts: Iterable[Ints]) -> Ints:
    """One share of several parts."""
    return np.sort(np.concatenate(list(parts)))


def histograms(labels: npt.NDArray[Any], shares: Sequence[Ints], classes: int) -> Floats:
    """How many samples of each class each agent holds, [agents, classes], wider where a label is `classes` or above."""
    labels = np.asarray(labels)
    if labels.min(initial=0) < 0:
        raise BadInput(f"labels: the label {labels.min()} is negative. Number the classes from 0.")
    width = max(classes, int(labels.max(initial=-1)) + 1)
    return np.stack([np.bincount(labels[share], minlength=width) for share in shares]).astype(np.float64)


def skew(histograms: Floats) -> float:
    """How far the agents' labels are from those of all: the mean over agents of sum_c |p_i(c) - p(c)|.

    0 where every agent has the labels of all, below 2 otherwise; 2 - 2/n where n equal agents share no class.
    Bellet, Kermarrec and Lavoie, 2022, of cliques.

    >>> skew(np.eye(4))
    1.5
    """
    held = np.asarray(histograms, np.float64)
    own = held / np.maximum(held.sum(1, keepdims=True), 1)
    return float(np.abs(own - held.sum(0) / max(held.sum(), 1)).sum(1).mean())


def check(shares: Sequence[Ints], size: int, place: str) -> None:
    """Raise BadInput unless the shares are disjoint, in 0 .. size - 1, and none of them empty."""
    for agent, share in enumerate(shares):
        if not len(share):
            raise BadInput(f"{place}: agent {agent} has no sample. Give each agent one or more.")
        wrong = share[(share < 0) | (share >= size)]
        if len(wrong):
            raise BadInput(
                f"{place}: agent {agent} has the sample {wrong[0]}, but there are {size} samples, numbered from 0. Use "
                "the data that the shares were made for."
            )
    values, counts = np.unique(np.concatenate(list(shares)), return_counts=True)
    if (counts > 1).any():
        raise BadInput(
            f"{place}: the sample {values[counts > 1][0]} is given twice. Give each sample to one agent."
        )


def save(path: Path, shares: Sequence[Ints]) -> None:
    """Write shares as an .npz file of arrays agent_0, agent_1, ..., whole or not at all."""
    path = Path(path)
    beside = path.with_name(path.name + ".part")
    arrays: dict[str, Any] = {_AGENT.format(agent): share for agent, share in enumerate(shares)}
    with beside.open("wb") as file:
        np.savez_compressed(file, **arrays)
    os.replace(beside, path)


def load(path: Path) -> Shares:
    """Read what `save` wrote; BadInput where the file holds anything else."""
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"partition: there is no file '{path}' (looked in {Path.cwd()}). Check the path.")
    try:
        found = _arrays(path)
    except Exception as error:  # numpy, zipfile and zlib each raise kinds of their own for a damaged file
        raise BadInput(
            f"partition: '{path}' is no .npz file of plain arrays ({type(error).__name__}: {error}). Save the shares "
            "again."
        ) from error
    return [_share(found, agent, path) for agent in range(max(1, len(found)))]


def _arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    opened = np.load(path, allow_pickle=False)
    if not isinstance(opened, np.lib.npyio.NpzFile):
        raise ValueError("it holds a lone array")
    with opened:
        return {name: opened[name] for name in opened.files}


def _share(found: dict[str, npt.NDArray[Any]], agent: int, path: Path) -> Ints:
    name = _AGENT.format(agent)
    if name not in found:
        raise BadInput(
            f"partition: '{path}' has no array {name}. Name the arrays agent_0, agent_1, and so on."
        )
    values = found[name]
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise BadInput(
            f"partition: {name} in '{path}' is {values.dtype} {list(values.shape)}. Give indices, as whole numbers [n]."
        )
    return np.sort(values.astype(np.int64))
