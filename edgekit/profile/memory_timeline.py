"""The activations that are alive at each node of an execution; initializers are counted apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgekit.profile.executed import Execution


@dataclass(frozen=True)
class Moment:
    """A node, and the bytes of the activations that it finds, makes, or that a later node still needs."""

    node: str
    layer: str
    live_bytes: int

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self)


def memory_timeline(execution: Execution) -> list[Moment]:
    """Live bytes at each node in the order they ran: L_i = sum of sizes of tensors with first <= i <= last.

    A tensor lives from the node that makes it to its last reader; a graph input from the start, an output to
    the end. A view shares its input's memory. An output never takes over an input's memory here, so that a
    runtime that works in place needs less.
    """
    owner = _owners(execution)
    first, last = _lifetimes(execution, owner)
    return [
        Moment(
            node.name,
            node.layer,
            sum(
                execution.sizes.get(name, 0)
                for name, start in first.items()
                if start <= index <= last.get(name, start)
            ),
        )
        for index, node in enumerate(execution.nodes)
    ]


def peak(timeline: Sequence[Moment]) -> Moment | None:
    """The first moment with the most live bytes; None where nothing ran."""
    return max(timeline, key=lambda moment: moment.live_bytes, default=None)


def _owners(execution: Execution) -> dict[str, str]:
    """Each activation with the tensor whose memory it uses."""
    owner = {name: name for name in execution.inputs}
    for node in execution.nodes:
        for name in node.writes:
            owner[name] = owner.get(node.reads[0], name) if node.view and node.reads else name
    return owner


def _lifetimes(execution: Execution, owner: dict[str, str]) -> tuple[dict[str, int], dict[str, int]]:
    """The first and the last node, by index, that need each tensor's memory."""
    first = dict.fromkeys(execution.inputs, 0)
    last = dict.fromkeys(execution.inputs, 0)
    for index, node in enumerate(execution.nodes):
        for name in (*node.reads, *node.writes):
            if name in owner:
                first.setdefault(owner[name], index)
                last[owner[name]] = index
    for name in execution.outputs:
        if name in owner:
            last[owner[name]] = len(execution.nodes)
    return first, last
