"""How agents' processes of one machine are made."""

from __future__ import annotations

import os

import pytest

from edgekit.coordinator import local


@pytest.mark.parametrize("given", [{}, {"OMP_NUM_THREADS": "3"}])
def test_threads_of_agents_are_no_one_elses(monkeypatch, given):
    """Agents share the cores; whoever starts them keeps the threads that it has."""
    seen = {}
    for name in local.THREADS:
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    monkeypatch.setattr("multiprocessing.forkserver.ensure_running", lambda: seen.update(os.environ))
    local.context()
    assert dict(os.environ) == before
    assert {name: seen[name] for name in local.THREADS} == dict.fromkeys(local.THREADS, "1") | given
