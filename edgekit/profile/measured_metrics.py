"""What a measured artefact says of the metrics: `edgekit profile` and `edgekit compress` alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edgekit.profile import metric_slots as slots
from edgekit.profile.metrics import Reading, rows

NO_TRAINING: Final = "no training ran: only an artefact was measured"
NO_REASON: Final = "it was not measured"


def metrics_of_profile(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of one artefact's profile: its latency_ms, throughput, peak_memory_bytes, energy, not_measured.

    bytes, the size of its file, and metric may be there or not.
    """
    return rows("profile", content, measured(content), absent=NO_TRAINING)


def measured(content: Mapping[str, Any], place: str = "") -> list[Reading]:
    """Readings of what one artefact's figures can tell; `place` is where they lie, such as `result.`."""
    reasons = content.get("not_measured") or {}
    why = lambda name: str(reasons.get(name) or NO_REASON)  # noqa: E731
    latency = content.get("latency_ms") or {}
    timed = _timed(latency)
    return [
        _task_metric(content.get("metric"), f"{place}metric.value", why("metric")),
        slots.LATENCY.reading(
            latency.get("p50"), method=timed, source=f"{place}latency_ms.p50", reason=why("latency_ms")
        ),
        slots.THROUGHPUT.reading(
            content.get("throughput"), method=timed, source=f"{place}throughput", reason=why("throughput")
        ),
        _energy(content.get("energy") or {}, f"{place}energy", why("energy")),
        slots.MEMORY_FOOTPRINT.reading(
            content.get("peak_memory_bytes"),
            method="resident memory of a fresh process, over that of Python and the runtime",
            source=f"{place}peak_memory_bytes",
            reason=why("peak_memory_bytes"),
        ),
        slots.MODEL_SIZE.reading(
            content.get("bytes"), method="counted", source=f"{place}bytes", reason=why("bytes")
        ),
        slots.RESOURCE_UTILIZATION.unknown("the processor's load was not sampled"),
    ]


def _timed(latency: Mapping[str, Any]) -> str:
    """How a latency was taken."""
    parts = {"n": "{:,} calls", "batch": "batch {}", "threads": "{} thread(s)"}
    told = [text.format(latency[name]) for name, text in parts.items() if latency.get(name) is not None]
    return ", ".join(["timed on the device", *told])


def _task_metric(metric: Mapping[str, Any] | None, source: str, reason: str) -> Reading:
    if metric is None:
        return slots.TASK_METRIC.unknown(reason)
    return slots.TASK_METRIC.reading(
        metric["value"],
        method=f"{metric['n']:,} samples, of the {metric['of']}",
        source=source,
        reason=reason,
        ci95=metric["ci95"],
        unit=metric["name"],
        better="higher" if metric["higher_is_better"] else "lower",
    )


def _energy(energy: Mapping[str, Any], source: str, reason: str) -> Reading:
    method = ", scope ".join(str(energy[name]) for name in ("method", "scope") if energy.get(name))
    return slots.ENERGY.reading(
        energy.get("joules_per_inference"),
        method=method or "measured",
        source=f"{source}.joules_per_inference",
        reason=reason,
        ci95=energy.get("ci95"),
    )
