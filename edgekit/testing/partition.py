"""The kit of partitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgekit.decentralized.partition.partition import Partition, Shares
from edgekit.decentralized.partition.shares import check, histograms, skew
from edgekit.errors import BadInput
from edgekit.testing.row import Row, fail, named, need, run_checks

AGENTS = 12
SAMPLES = 1200
CLASSES = 6


def check_partition(partition: Partition) -> list[Row]:
    """A partition: disjoint shares for every agent, the same for the same seed, refused in one line or made."""
    return run_checks(
        [
            ("is a frozen dataclass", lambda: _frozen(partition)),
            ("has a name, a source and a docstring", lambda: _named(partition)),
            ("gives each agent ascending indices", lambda: _indices(partition)),
            ("its shares are disjoint, in range and not empty", lambda: _disjoint(partition)),
            ("every sample has an owner where it says so", lambda: _complete(partition)),
            ("the same seed gives the same shares", lambda: _repeats(partition)),
            ("another seed gives others where it says so", lambda: _drawn(partition)),
            ("refuses what cannot work, as bad input", lambda: _refuses(partition)),
        ]
    )


def sample_population() -> tuple[Any, Any]:
    """What the kit divides over 12 agents: labels [1200] of 6 unequal classes, and groups [1200] of 12 owners."""
    places = np.arange(SAMPLES) * 7 % SAMPLES
    labels = np.searchsorted([100, 250, 450, 700, 950], places, side="right")
    return labels, np.array([f"owner-{place % AGENTS:02}" for place in places])


def _divided(partition: Partition, seed: int = 0) -> Shares:
    labels, groups = sample_population()
    return partition.divide(labels, AGENTS, seed, groups)


def _frozen(partition: Any) -> str:
    parameters = getattr(type(partition), "__dataclass_params__", None)
    need(parameters is not None and parameters.frozen, "decorate the class with @dataclass(frozen=True)")
    return type(partition).__name__


def _named(partition: Any) -> str:
    need(bool(partition.source), "the class attribute 'source' is empty: author, year, or 'own'")
    return named(type(partition), partition.name)


def _indices(partition: Partition) -> str:
    shares = _divided(partition)
    need(len(shares) == AGENTS, f"there are {len(shares)} shares for {AGENTS} agents")
    for agent, share in enumerate(shares):
        kind = getattr(share, "dtype", type(share).__name__)
        need(kind == np.int64 and share.ndim == 1, f"the share of agent {agent} is {kind}, not int64 [n]")
        need(bool((np.diff(share) >= 0).all()), f"the share of agent {agent} is not ascending")
    sizes = [len(share) for share in shares]
    return f"{min(sizes)} to {max(sizes)} samples"


def _disjoint(partition: Partition) -> str:
    check(_divided(partition), SAMPLES, "shares")
    return f"{AGENTS} agents"


def _complete(partition: Partition) -> str:
    held = sum(len(set(share.tolist())) for share in _divided(partition))
    need(
        held == SAMPLES or not partition.complete,
        f"{SAMPLES - held} of {SAMPLES} samples have no owner; or declare complete = False",
    )
    return f"{held} of {SAMPLES} samples"


def _repeats(partition: Partition) -> str:
    need(
        _same(_divided(partition), _divided(partition)),
        "two divisions differ; take randomness from self.chance(seed)",
    )
    labels, _ = sample_population()
    return f"mean L1 distance of labels {skew(histograms(labels, _divided(partition), CLASSES)):.2f}"


def _drawn(partition: Partition) -> str:
    same = _same(_divided(partition, 0), _divided(partition, 1))
    need(not (same and partition.drawn), "seeds 0 and 1 give the same; or declare drawn = False")
    return "the same" if same else "others"


def _refuses(partition: Partition) -> str:
    labels, groups = sample_population()
    cases: dict[str, Callable[[], Any]] = {
        "no agents": lambda: partition.divide(labels, 0, 0, groups),
        "more agents than samples": lambda: partition.divide(labels[:3], AGENTS, 0, groups[:3]),
        "neither labels nor groups": lambda: partition.divide(None, AGENTS, 0, None),
    }
    if partition.by_label:
        cases["no labels"] = lambda: partition.divide(None, AGENTS, 0, groups)
        cases["labels that are no classes"] = lambda: partition.divide(labels + 0.5, AGENTS, 0, groups)
    return "; ".join(_refused(what, case) for what, case in cases.items())


def _refused(what: str, case: Callable[[], Any]) -> str:
    try:
        case()
    except BadInput:
        return what
    except Exception as error:
        return fail(f"{what}: {type(error).__name__}, not BadInput")
    return fail(f"{what}: it is not refused; raise BadInput")


def _same(one: Shares, two: Shares) -> bool:
    return len(one) == len(two) and all(map(np.array_equal, one, two))
