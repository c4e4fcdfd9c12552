"""Clocks, statistics and measurements of a runner: latency, throughput, load time, memory; needs no torch."""

from __future__ import annotations

from edgekit.profile.interleave import Ratio, Timing, interleave, ratio
from edgekit.profile.latency import Latency, measure
from edgekit.profile.operators import OperatorTime
from edgekit.profile.profile import Profile, profile

__all__ = [
    "Latency",
    "OperatorTime",
    "Profile",
    "Ratio",
    "Timing",
    "interleave",
    "measure",
    "profile",
    "ratio",
]
