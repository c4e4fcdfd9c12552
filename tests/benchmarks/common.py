"""What every benchmark shares: options, environment, one JSON line a case, the table at the end."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from edgekit.choose import restricted  # noqa: E402
from edgekit.job import Data, Job  # noqa: E402
from edgekit.journal import environment  # noqa: E402
from edgekit.profile.statistics import Interval  # noqa: E402
from edgekit.quant.quantization import Quantization  # noqa: E402
from edgekit.signature import Signature, TensorSpec  # noqa: E402
from edgekit.target import find_board, find_target  # noqa: E402


def parser(description: str | None, *, smoke: str) -> argparse.ArgumentParser:
    """The options that every benchmark has; `smoke` says what the cheapest form is."""
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--seed", type=int, default=0)
    options.add_argument(
        "--smoke", action="store_true", help=f"the cheapest form, judged by nothing: {smoke}"
    )
    return options


@dataclass
class Cases:
    """The cases of one run: each is printed as a JSON line when it is done, all as a table at the end."""

    benchmark: str
    seed: int
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, case: str, *, met: bool | None, asked: str, **figures: Any) -> None:
        """Print one case; `met` None where nothing was judged."""
        row = {
            "benchmark": self.benchmark,
            "case": case,
            "met": met,
            "asked": asked,
            **figures,
            "seed": self.seed,
            "load": [round(value, 2) for value in os.getloadavg()],
            "versions": environment(),
        }
        self.rows.append(row)
        print(json.dumps(row), flush=True)

    def finish(self, columns: Sequence[str]) -> int:
        """Print the table and where it was measured; 1 where something asked was missed, else 0."""
        titles = ("case", *columns, "asked", "met")
        lines = [titles, *(tuple(_show(row.get(title)) for title in titles) for row in self.rows)]
        widths = [max(len(line[index]) for line in lines) for index in range(len(titles))]
        print()
        for line in lines:
            print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
        versions = ", ".join(f"{name} {value}" for name, value in environment().items())
        print(f"\n{find_board('this-machine').title}; seed {self.seed}; {versions}")
        return int(any(row["met"] is False for row in self.rows))


def as_pair(interval: Interval, digits: int = 3) -> dict[str, Any]:
    """An estimate with its 95 % interval as JSON."""
    value, low, high = (round(number, digits) for number in interval)
    return {"value": value, "ci95": [low, high]}


def settle(model: Any, shape: Sequence[int], *, seed: int, batches: int = 4, batch: int = 8) -> Any:
    """The model in evaluation mode, its BatchNorm statistics those of random inputs of `shape`.

    An untrained BatchNorm passes its input on as it is, so values shrink from layer to layer, down to
    denormals.
    """
    import torch

    chance = torch.Generator().manual_seed(seed)
    norms = [layer for layer in model.modules() if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm)]
    kept = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = None  # the plain average over the batches
    with torch.no_grad():
        for _ in range(batches if norms else 0):
            model.train()(torch.randn(batch, *shape, generator=chance))
    for layer, momentum in zip(norms, kept, strict=True):
        layer.momentum = momentum
    return model.eval()


def random_batches(shape: Sequence[int], *, seed: int, count: int, batch: int) -> list[np.ndarray]:
    """Standard normal inputs, float32 [batch, *shape]."""
    chance = np.random.default_rng(seed)
    return [chance.standard_normal((batch, *shape)).astype(np.float32) for _ in range(count)]


def to_graph(model: Any, shape: Sequence[int], *, fuse: bool = True) -> Any:
    """The float graph of a torch module with one input `input` [1, *shape]."""
    import torch

    from edgekit.export.to_onnx import to_onnx

    return to_onnx(model, {"input": torch.zeros(1, *shape)}, fuse=fuse)


def calibrated(graph: Any, batches: list[np.ndarray]) -> Quantization:
    """What `quantize` with its default settings makes of a graph on this machine."""
    from edgekit.transforms.quantize import Quantize

    signature = Signature((TensorSpec("input", "float32", ("N", *batches[0].shape[1:])),), ())
    caps = find_target("cpu").caps(find_board("this-machine"))
    job = Job(
        signature=signature,
        example={},
        data=Data(calibration=batches),
        loss=None,  # type: ignore[arg-type]
        fit=None,
        caps=caps,
        step="benchmark",
    )  # type: ignore[arg-type]
    return Quantize().describe(graph, job)[0]


def _show(value: Any) -> str:
    if isinstance(value, dict) and "ci95" in value:
        low, high = value["ci95"]
        return f"{value['value']:.2f} [{low:.2f}, {high:.2f}]"
    return (
        {True: "yes", False: "NO", None: "-"}[value]
        if value is None or isinstance(value, bool)
        else str(value)
    )


def decided(graph: Any, quantization: Quantization, decision: dict[str, Any]) -> Quantization | None:
    """What the pipeline would export after the decision; None for fp32."""
    if decision["precision"] == "fp32":
        return None
    caps = find_target("cpu").caps(find_board("this-machine"))
    return restricted(graph, quantization, caps, tuple(decision["float_layers"])) or quantization
