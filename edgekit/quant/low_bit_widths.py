"""Widths left open: a low-bit plan with lists, and the plans it stands for, the most accurate first.

    {"weights": [1, 2, 4], "activations": [2, 4]}    stands for    W4A4, W2A4, W4A2, W2A2, W1A4, W1A2

Accuracy grows with the bit operations of a product, weights times activations bits. Of equal ones the more even come
first, then those with more bits in activations, which a network misses sooner (Zhou et al., 2016, DoReFa-Net).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from edgekit.errors import BadInput
from edgekit.quant.low_bit_plan import LowBitPlan

OPEN = {"weights": "W", "activations": "A", "input": "I"}


def choices(plan: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{name: plan} of every choice of the widths that a plan (JSON) lists; empty where it lists none.

    BadInput for an empty list, for a width given twice and, lists or not, for what no plan can hold.
    """
    lists = {key: _distinct(key, plan[key]) for key in OPEN if isinstance(plan.get(key), (list, tuple))}
    made = [
        {**plan, **dict(zip(lists, widths, strict=True))} for widths in itertools.product(*lists.values())
    ]
    whole = [(LowBitPlan.from_json(choice), choice) for choice in made]
    whole.sort(key=lambda item: _accuracy(item[0]), reverse=True)
    return {_name(plan, lists): choice for plan, choice in whole} if lists else {}


def _distinct(key: str, widths: Any) -> list[Any]:
    if not widths or any(width in widths[:index] for index, width in enumerate(widths)):
        raise BadInput(f"plan: {key} is {list(widths)}. Give one width, or a list of different ones.")
    return list(widths)


def _accuracy(plan: LowBitPlan) -> tuple[int, ...]:
    """Greater where more accuracy is to be expected."""
    widths = plan.weights, plan.activations
    return plan.weights * plan.activations, min(widths), plan.activations, plan.input


def _name(plan: LowBitPlan, lists: Mapping[str, Any]) -> str:
    """W2A4, and I8 where the input's width is open too."""
    told = ["weights", "activations", *(["input"] if "input" in lists else [])]
    return "".join(f"{OPEN[key]}{getattr(plan, key)}" for key in told)
