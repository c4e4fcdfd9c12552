"""What a check of a broker found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

State = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True)
class Finding:
    """One thing that was tried: what was seen, and what to do.

    What failed stops a run, a warning costs speed or safety, and what was skipped needs what failed before it.
    """

    name: str
    state: State
    seen: str
    fix: str = ""

    def to_json(self) -> dict[str, str]:
        """As plain JSON types."""
        return asdict(self)
