"""Time by operator: which layer of a network takes how long."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class OperatorTime:
    """A node of the graph that the runtime runs: its time in one run, and its share of all nodes' time."""

    name: str
    layer: str
    operator: str
    microseconds: float
    share: float

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self)


def operator_times(rows: Iterable[tuple[str, str, str, float]]) -> list[OperatorTime]:
    """Rows (name, layer, operator, microseconds) with shares that sum to 1, in the order given."""
    listed = list(rows)
    total = sum(row[3] for row in listed) or 1.0
    return [OperatorTime(*row, share=row[3] / total) for row in listed]


def by_layer(times: Iterable[OperatorTime]) -> list[OperatorTime]:
    """One row a source layer: the sum of its nodes, its operators joined by '+', slowest first."""
    groups: dict[str, list[OperatorTime]] = {}
    for row in times:
        groups.setdefault(row.layer or row.name, []).append(row)
    merged = [
        OperatorTime(
            name=layer,
            layer=layer,
            operator="+".join(dict.fromkeys(r.operator for r in rows)),
            microseconds=sum(r.microseconds for r in rows),
            share=sum(r.share for r in rows),
        )
        for layer, rows in groups.items()
    ]
    return sorted(merged, key=lambda row: -row.microseconds)
