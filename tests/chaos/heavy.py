"""Tests that are run by hand, and by tests/benchmarks/chaos.py: EDGEKIT_CHAOS=all pytest tests/chaos."""

from __future__ import annotations

import os

import pytest

heavy = pytest.mark.skipif("EDGEKIT_CHAOS" not in os.environ, reason="by hand: EDGEKIT_CHAOS=all")
