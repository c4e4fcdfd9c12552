"""Numbers as people read them: three significant digits, a unit, no false precision."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

NOTHING = "not measured"


def significant(value: float, digits: int = 3) -> str:
    """A number rounded to `digits` significant digits, thousands separated, no exponent from 1e-4 up.

    >>> significant(0.123456), significant(1234567), significant(2.0), significant(0)
    ('0.123', '1,230,000', '2.00', '0')
    """
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    if abs(value) < 1e-4:
        return f"{value:.{digits - 1}e}"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, places)
    return f"{rounded:,.{max(places, 0)}f}"


def scaled(value: float | None, unit: str = "") -> str:
    """A count with k, M, G and its unit: parameters, MACs."""
    if value is None:
        return NOTHING
    for size, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{significant(value / size)} {prefix}{unit}".strip()
    return f"{value:,.0f} {unit}".strip()


def size(value: float | None) -> str:
    """Bytes in KiB or MiB."""
    if value is None:
        return NOTHING
    for unit, width in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if value >= width:
            return f"{significant(value / width)} {unit}"
    return f"{value:,.0f} B"


def milliseconds(value: float | None) -> str:
    """A time given in milliseconds, in us, ms or s."""
    if value is None:
        return NOTHING
    if value >= 1000:
        return f"{significant(value / 1000)} s"
    return f"{significant(value)} ms" if value >= 0.01 else f"{significant(value * 1000)} us"


def seconds(value: float) -> str:
    """A duration given in seconds."""
    if value >= 60:
        return f"{int(value // 60)} min {round(value % 60):02d} s"
    return f"{significant(value)} s" if value >= 1 else milliseconds(value * 1000)


def times(value: float | None) -> str:
    """A ratio, as 3.1x."""
    if value is None:
        return NOTHING
    return f"{value:.2f}x" if value < 2 else f"{value:.1f}x"


def is_share(metric: Mapping[str, Any]) -> bool:
    """Whether a metric is a share of samples, which is shown in percent and its drop in points."""
    name = metric["name"].lower()
    return "accuracy" in name or name in ("top1", "top5", "recall", "precision")


def score(metric: Mapping[str, Any] | None) -> str:
    """A metric's value in its unit."""
    if metric is None:
        return NOTHING
    if is_share(metric):
        return f"{100 * metric['value']:.{_places(metric)}f} %"
    return significant(metric["value"], 4)


def score_interval(metric: Mapping[str, Any] | None) -> str:
    """The 95 % interval of a metric in its unit, or nothing."""
    if metric is None or metric["ci95"] is None:
        return ""
    low, high = metric["ci95"]
    if is_share(metric):
        return f"{100 * low:.{_places(metric)}f} to {100 * high:.{_places(metric)}f} %"
    return f"{significant(low, 4)} to {significant(high, 4)}"


def points(value: float, metric: Mapping[str, Any]) -> str:
    """A difference of metrics: points for a share, else the metric's unit."""
    if is_share(metric):
        shown = f"{100 * value:.{_places(metric)}f}"
        return shown.removeprefix("-") if float(shown) == 0 else shown
    return significant(value)


def _places(metric: Mapping[str, Any]) -> int:
    """A sample of 10,000 moves a share by 0.01 points; a smaller one cannot show that digit."""
    return 2 if metric["n"] >= 10_000 else 1


def words(name: str) -> str:
    """A field's name as words."""
    return name.replace("_", " ")
