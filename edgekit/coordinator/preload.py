"""What every agent's process needs, loaded once in the process that they are forked from."""

from __future__ import annotations

import gc
from importlib import import_module
from typing import Final

NEEDED: Final = (
    "torch",
    "edgekit.coordinator.session",
    "edgekit.coordinator.worker",
    "edgekit.runs.one_agent",
    "edgekit.runs.run_file",
    "edgekit.runs.task",
    "edgekit.zoo.source",
)

# nothing that is loaded is garbage: looking for it takes a seventh of the time, and later unshares the memory of forks
gc.disable()
for name in NEEDED:
    import_module(name)
gc.freeze()
gc.enable()
