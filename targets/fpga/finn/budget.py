"""A budget for an accelerator: at least so many frames per second, at most so much of the board."""

from __future__ import annotations

from dataclasses import dataclass, fields

from edgekit.errors import BadInput, did_you_mean
from edgekit.target import Board
from targets.fpga.finn.report import FinnReport

RESOURCES = ("lut", "bram18", "dsp")


@dataclass(frozen=True)
class Budget:
    """At least `fps` frames per second with at most these resources; None is no limit."""

    fps: float | None = None
    lut: float | None = None
    bram18: float | None = None
    dsp: float | None = None

    @classmethod
    def parse(cls, text: str) -> Budget:
        """From `fps=10000,lut=40000`; BadInput naming the word that is none."""
        known = [field.name for field in fields(cls)]
        values: dict[str, float] = {}
        for word in text.split(","):
            name, _, number = word.strip().partition("=")
            if name not in known:
                raise BadInput(f"budget: '{name}' is unknown. {did_you_mean(name, known)}")
            try:
                values[name] = float(number)
            except ValueError as error:
                raise BadInput(f"budget: {name}={number} is no number. Write {name}=10000.") from error
        return cls(**values)

    def excess(self, report: FinnReport) -> dict[str, str]:
        """What of a report is outside the budget, by name, as `39,000 of 40,000`."""
        found = {}
        fps = report.fps.estimated or 0.0
        if self.fps is not None and fps < self.fps:
            slowest = report.bottleneck
            found["fps"] = f"{fps:,.0f} of {self.fps:,.0f} (slowest: {slowest.name} {slowest.source})"
        for name in RESOURCES:
            limit, used = getattr(self, name), report.resources[name].estimated or 0.0
            if limit is not None and used > limit:
                found[name] = f"{used:,.0f} of {limit:,.0f}"
        return found

    def within(self, board: Board) -> Budget:
        """The same, with the board's own resources where it names none."""
        named = {name: getattr(self, name) for name in RESOURCES}
        return Budget(
            self.fps, **{name: board.facts.get(name) if own is None else own for name, own in named.items()}
        )
