"""What a study gave: every line of every run, the summary, plots and tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.errors import BadInput, MissingDependency
from edgekit.journal import read_json
from edgekit.runs.single import read_lines


@dataclass(frozen=True)
class Run:
    """One run of a history: its cell, its seed, its lines."""

    cell: str
    seed: int
    lines: list[dict[str, Any]]


@dataclass(frozen=True)
class History:
    """The runs of an output folder.

    >>> history = edgekit.simulate("run.yaml")           # doctest: +SKIP
    >>> history.frame().groupby("cell")["agent_metric.mean"].last()     # doctest: +SKIP
    """

    folder: Path
    runs: tuple[Run, ...]
    summary: dict[str, Any]

    @classmethod
    def of(cls, folder: Path | str) -> History:
        """The history of a finished study's folder; BadInput where there is none."""
        folder = Path(folder)
        if not (folder / "summary.json").is_file():
            raise BadInput(
                f"history: '{folder}' holds no summary.json. Name the output folder of a finished run."
            )
        summary = read_json(folder / "summary.json")
        runs = tuple(
            Run(cell["name"], int(seed), read_lines(folder / place))
            for cell in summary["cells"]
            for seed, place in cell["folders"].items()
        )
        return cls(folder, runs, summary)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Every line with its cell and seed, nested values flattened (`agent_metric.mean`)."""
        return [
            {"cell": run.cell, "seed": run.seed, **_flat(line)} for run in self.runs for line in run.lines
        ]

    def frame(self) -> Any:
        """The rows as a pandas DataFrame."""
        try:
            import pandas
        except ImportError as error:
            raise MissingDependency("pandas", "notebook", "history.frame()") from error
        return pandas.DataFrame(self.rows)

    def plot(self, y: str = "agent_metric.mean", x: str = "round") -> Any:
        """A matplotlib figure of one column over another, a line a cell, a band over its seeds."""
        from edgekit.report.curves import curves_figure

        return curves_figure(self, x=x, y=y)

    def _repr_html_(self) -> str:
        from edgekit.report.run_html import summary_html

        return summary_html(self)


def _flat(line: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in line.items():
        if isinstance(value, dict):
            found.update(_flat(value, f"{prefix}{key}."))
        else:
            found[prefix + key] = value
    return found
