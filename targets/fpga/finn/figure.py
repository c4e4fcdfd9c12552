"""A figure in three columns: what FINN's models say, what synthesis and simulation say, what the board says."""

from __future__ import annotations

from dataclasses import asdict, dataclass

Number = float | None


@dataclass(frozen=True)
class Figure:
    """One quantity as estimated, synthesised and measured; None where it was not taken."""

    estimated: Number = None
    synthesised: Number = None
    measured: Number = None

    @property
    def best(self) -> Number:
        """The value nearest to the board: measured, else synthesised, else estimated."""
        known = (self.measured, self.synthesised, self.estimated)
        return next((value for value in known if value is not None), None)

    def percent(self, whole: Number) -> Figure:
        """Each column in percent of a whole, to a tenth; all None where there is no whole."""
        if not whole:
            return Figure()
        return Figure(
            *(None if value is None else round(100.0 * value / whole, 1) for value in self.columns())
        )

    def columns(self) -> tuple[Number, Number, Number]:
        """The three values."""
        return self.estimated, self.synthesised, self.measured

    def to_json(self) -> dict[str, Number]:
        """As plain JSON types."""
        return asdict(self)
