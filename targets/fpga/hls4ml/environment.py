"""hls4ml's own Python environment; the compiler, g++, comes from the system."""

from __future__ import annotations

from pathlib import Path

from targets.fpga.tool import Tool

HLS4ML = Tool(
    name="hls4ml",
    package="hls4ml",
    word="hls4ml",
    home=Path(__file__).parent,
    size="0.3 GB",
    download="62 MB",
    pythons=((3, 11), (3, 14)),
    programs=(("g++", "g++"),),
)
