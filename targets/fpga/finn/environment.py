"""FINN's own Python environment: finn-plus and what its estimates need."""

from __future__ import annotations

from pathlib import Path

from targets.fpga.tool import Tool

FINN = Tool(
    name="FINN",
    package="finn-plus",
    word="fpga",
    home=Path(__file__).parent,
    size="0.7 GB",
    download="130 MB",
    pythons=((3, 11), (3, 14)),
)
