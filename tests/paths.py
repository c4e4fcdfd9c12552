"""Where real data for tests lie beside the checkout; a test skips with a reason where they are absent."""

from __future__ import annotations

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = REPOSITORY.parent / "shared" / "data"


def shared(name: str) -> Path:
    """The path of real data, or a skip that says what is missing."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"real data absent: {path}")
    return path
