"""How much memory a run will take, said before it starts."""

from __future__ import annotations

from dataclasses import dataclass

import psutil
import torch

from edgekit.errors import BadInput
from edgekit.runs.assemble import Assembled

MARGIN = 0.9  # of what is free


@dataclass(frozen=True)
class Need:
    """rows [agents, size] times copies, and the data, in bytes."""

    agents: int
    size: int
    itemsize: int
    copies: int
    data: int

    @property
    def bytes(self) -> int:
        """All of it."""
        return self.agents * self.size * self.itemsize * self.copies + self.data

    def __str__(self) -> str:
        rows = self.agents * self.size * self.itemsize * self.copies
        return (
            f"{_size(rows)} for rows ({self.agents:,} agents x {self.size:,} values x {self.itemsize} bytes x "
            f"{self.copies} copies) and {_size(self.data)} for data"
        )


def need(made: Assembled) -> Need:
    """Counted from the state that the algorithm has made: models, momentum, exchange buffers, replicas, residuals."""
    engine, run = made.engine, made.run
    size = made.objective.layout.size
    wide = sum(value.shape[-1] == size for value in engine.state.values())
    kept = len(run.optimizer.memory)
    exchange = 1 + round(run.algorithm.vectors + run.algorithm.grouped)
    extra = int(run.codec.remembers) + (0 if run.codec.lossless else 1)
    data = sum(tensor.nbytes for tensor in (made.objective.samples.x, made.evaluator.x))
    models = engine.models
    return Need(len(models), size, models.element_size(), wide + kept + exchange + extra, data)


def refuse_too_large(found: Need, *, jobs: int = 1, device: str = "cpu") -> None:
    """Raise BadInput where `jobs` such runs do not fit into the memory that is free."""
    free = torch.cuda.mem_get_info()[0] if device == "cuda" else psutil.virtual_memory().available
    wanted = found.bytes * jobs
    if wanted > MARGIN * free:
        raise BadInput(
            f"memory: {jobs} run(s) at a time need {_size(wanted)} ({found}), but {_size(free)} are free. Use fewer "
            "agents, a smaller model, or --jobs 1."
        )


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
