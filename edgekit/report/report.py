"""The report's nouns: what was measured of one artefact, a step's record, and the whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import BadInput
from edgekit.target import Figure

if TYPE_CHECKING:
    from edgekit.change import Change, Cost
    from edgekit.metric import Score
    from edgekit.profile import OperatorTime, Profile

SCHEMA = 1
NO_REASON = "it was not asked for"


@dataclass(frozen=True)
class Measured:
    """The figures of one model or artefact; what was not measured is None, its reason in `not_measured`.

    metric {name, value, n, ci95, higher_is_better, of}; params, macs (of one sample), bytes (of the file);
    latency_ms {min, mean, p50, p90, p99, n, threads, batch}; throughput (samples a second);
    peak_memory_bytes; energy {joules_per_inference, method, scope, ci95}.
    """

    metric: dict[str, Any] | None = None
    params: int | None = None
    macs: int | None = None
    bytes: int | None = None
    latency_ms: dict[str, Any] | None = None
    throughput: float | None = None
    peak_memory_bytes: int | None = None
    energy: dict[str, Any] | None = None
    not_measured: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        *,
        score: Score | None = None,
        cost: Cost | None = None,
        profile: Profile | None = None,
        bytes: int | None = None,
        reasons: Mapping[str, str] | None = None,
    ) -> Measured:
        """From a score, a cost (its bytes unless given) and a profile; `reasons` say why a field is absent.

        A reason may be given for more fields than are absent; those of measured fields are left out.
        """
        measured = profile.to_json() if profile is not None else {}
        given = {**measured.pop("not_measured", {}), **(reasons or {})}
        values = {
            "metric": score.to_json() if score is not None else None,
            "params": cost.params if cost else None,
            "macs": cost.macs if cost else None,
            "bytes": bytes if bytes is not None else (cost.bytes if cost else None),
            **measured,
        }
        absent = [name for name in MEASURED_FIELDS if values.get(name) is None]
        return cls(**values, not_measured={name: given.get(name, NO_REASON) for name in absent})

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self)


MEASURED_FIELDS = tuple(item.name for item in fields(Measured) if item.name != "not_measured")


@dataclass(frozen=True)
class StepRecord:
    """One step of the recipe: its change (params, MACs, bytes, notes) and what was measured after it."""

    name: str
    change: Change
    metrics: Measured

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types, without the plan, which plan.json holds."""
        change = self.change.to_json()
        change.pop("plan", None)
        return {"name": self.name, "change": change, "metrics": self.metrics.to_json()}


@dataclass(frozen=True)
class Report:
    """Everything that report.json says. Optional fields are null where they do not apply.

    `ratio` {"latency": {"value", "ci95"} or None, "size": value or None}: baseline over result, > 1 a gain.
    `drop` {"value", "ci95"}: baseline minus result in the metric's unit, paired by sample.
    `on_board`: figures of the board itself that its own tools estimated or measured, away from here.
    `kept_in_float` [{"layer", "reason", "int8_us", "float_us"}]; `operators` [{"layer", "operator",
    "baseline_us", "result_us"}]; `kept_because` says why fp32 was kept; `environment` names the machine, CPU,
    cores; `measuring` says how (threads, batch, rounds, pinned, command ...); `timing` seconds a stage;
    `not_measured` the reason for each absent part.
    """

    board: str
    target: str
    model: str
    seed: int
    versions: dict[str, str]
    baseline: Measured
    result: Measured
    artefact: str
    precision: str
    audit: dict[str, Any] | None
    steps: tuple[StepRecord, ...] = ()
    objective: str = "latency"
    ratio: dict[str, Any] = field(default_factory=lambda: {"latency": None, "size": None})
    drop: dict[str, Any] | None = None
    budget: dict[str, float] = field(default_factory=dict)
    kept_because: str | None = None
    kept_in_float: tuple[dict[str, Any], ...] = ()
    findings: tuple[dict[str, Any], ...] = ()
    on_board: tuple[Figure, ...] = ()
    operators: tuple[dict[str, Any], ...] = ()
    environment: dict[str, Any] = field(default_factory=dict)
    measuring: dict[str, Any] = field(default_factory=dict)
    timing: dict[str, float] = field(default_factory=dict)
    not_measured: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The content of report.json, checked, its verdict included."""
        from edgekit.report.metrics import metrics_of_report
        from edgekit.report.schema import validate_report
        from edgekit.report.verdict import missed_budgets, verdict

        content = {item.name: getattr(self, item.name) for item in fields(self)}
        artefact, precision = content.pop("artefact"), content.pop("precision")
        content |= {
            "schema": SCHEMA,
            "baseline": self.baseline.to_json(),
            "result": {**self.result.to_json(), "artefact": artefact, "precision": precision},
            "steps": [step.to_json() for step in self.steps],
        }
        content = json.loads(json.dumps(content, default=_plain))
        content |= {
            "verdict": verdict(content),
            "missed": missed_budgets(content),
            "metrics": metrics_of_report(content),
        }
        validate_report(content)
        return content

    def save(self, folder: Path | str) -> dict[str, Any]:
        """Write report.json and report.html into `folder`; return the content."""
        return save_report(self.to_json(), Path(folder))

    def _repr_html_(self) -> str:
        from edgekit.report.html import summary_html

        return summary_html(self.to_json())

    def __str__(self) -> str:
        return self.to_json()["verdict"]


def paired_operators(
    baseline: Iterable[OperatorTime], result: Iterable[OperatorTime]
) -> list[dict[str, Any]]:
    """Microseconds by source layer before and after, slowest first; None where a side has no such layer."""
    from edgekit.profile.operators import by_layer

    before = {row.name: row for row in by_layer(baseline)}
    after = {row.name: row for row in by_layer(result)}
    rows = [
        {
            "layer": layer,
            "operator": (after.get(layer) or before[layer]).operator,
            "baseline_us": before[layer].microseconds if layer in before else None,
            "result_us": after[layer].microseconds if layer in after else None,
        }
        for layer in dict.fromkeys([*before, *after])
    ]
    return sorted(rows, key=lambda row: -max(row["baseline_us"] or 0.0, row["result_us"] or 0.0))


def save_report(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write a report's content as report.json and report.html into `folder`; return it."""
    from edgekit.report.html import write_html

    write_text(folder / "report.json", json.dumps(content, indent=1, allow_nan=False) + "\n")
    write_html(content, folder / "report.html")
    return content


def read_report(path: Path | str) -> dict[str, Any]:
    """A report.json, or the one in a folder, checked; BadInput where it is none."""
    from edgekit.report.schema import validate_report

    path = Path(path)
    path = path / "report.json" if path.is_dir() else path
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(
            f"report: '{path}' cannot be read: {error}. Give a folder that edgekit wrote."
        ) from error
    validate_report(content)
    return content


def write_text(path: Path, text: str) -> None:
    """Write a file whole: beside its place first, then moved there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def _plain(value: Any) -> Any:
    if hasattr(value, "to_json"):
        return value.to_json()
    if hasattr(value, "__dataclass_fields__"):
        return asdict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"report: a {type(value).__name__} is no plain JSON")
