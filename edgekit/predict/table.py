"""The table of a board: its measured kernels, what was fitted to them, and networks that say how far to trust it."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgekit.data.download import cache_folder
from edgekit.errors import BadInput
from edgekit.journal import environment, read_json, write_json
from edgekit.predict.bench import Sample
from edgekit.predict.features import COSTS, FEATURES, cost_of, features_of
from edgekit.predict.fit import Fit, Shape, choose
from edgekit.predict.kernel import Kernel
from edgekit.target import Board

SCHEMA: Final = 1
FLOOR: Final = 0.02  # of log time: no sum is known better
MOST: Final = 600  # samples of a family that a fit holds


@dataclass(frozen=True)
class Network:
    """A network measured whole: the sum of its kernels' predicted times, that sum's deviation, and its time."""

    total: float
    deviation: float
    time: float


@dataclass
class Table:
    """Times in units of the reference kernel; `facts` say of which board, runtime, threads, and when."""

    facts: dict[str, Any]
    samples: list[Sample] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    networks: list[Network] = field(default_factory=list)

    @property
    def unit(self) -> float:
        """Seconds of the reference kernel."""
        return float(self.facts["reference_seconds"])

    @property
    def idle(self) -> float:
        """What a run costs beside its kernels, in reference units."""
        return float(self.facts["idle"])

    def places(self) -> dict[str, list[int]]:
        """Where in `samples` those of each family are."""
        found: dict[str, list[int]] = defaultdict(list)
        for place, sample in enumerate(self.samples):
            found[sample.kernel.family].append(place)
        return dict(found)

    def families(self) -> dict[str, list[Sample]]:
        """The samples by family."""
        return {name: [self.samples[place] for place in places] for name, places in self.places().items()}

    def fit(self) -> None:
        """Choose the form of every family's fit."""
        self.shapes = {name: choose(*arrays(samples)) for name, samples in self.families().items()}

    def fit_of(self, family: str) -> Fit | None:
        """The fit of a family, or None where nothing of it was measured."""
        if family not in self.shapes:
            return None
        samples = [sample for sample in self.samples if sample.kernel.family == family]
        return Fit(self.shapes[family], *arrays(samples[:MOST]))

    def save(self, path: Path) -> None:
        """One JSON file, whole or absent."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(
            path,
            {
                "schema": SCHEMA,
                "kind": "edgekit latency table",
                "facts": self.facts,
                "samples": [[s.kernel.to_json(), s.copies, s.footprint, s.time] for s in self.samples],
                "fits": {name: shape.to_json() for name, shape in self.shapes.items()},
                "networks": [[n.total, n.deviation, n.time] for n in self.networks],
            },
        )


def load_table(path: Path) -> Table:
    """Read a table; BadInput where the file is absent, torn, of another kind, or holds values that cannot be."""
    if not path.is_file():
        raise BadInput(
            f"table: there is no file '{path}'. Make one on the board with: edgekit predict --build"
        )
    value = read_json(path)
    if not isinstance(value, dict) or value.get("kind") != "edgekit latency table":
        raise BadInput(
            f"table: '{path}' is no table of kernels. Name one that edgekit predict --build wrote."
        )
    if value.get("schema") != SCHEMA:
        raise BadInput(
            f"table: '{path}' has schema {value.get('schema')}, this edgekit reads {SCHEMA}. Build it again."
        )
    try:
        table = Table(
            dict(value["facts"]),
            [
                Sample(Kernel.from_json(row[0]), int(row[1]), int(row[2]), float(row[3]))
                for row in value["samples"]
            ],
            {str(name): Shape.from_json(shape) for name, shape in value["fits"].items()},
            [Network(*map(float, row)) for row in value["networks"]],
        )
        _check(table)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(
            f"table: '{path}' is damaged ({type(error).__name__}: {error}). Build it again, or get it again."
        ) from error
    return table


def facts_of(board: Board, *, threads: int, seed: int) -> dict[str, Any]:
    """What a table is of: board, instruction set, runtime, threads, seed."""
    return {
        "board": board.name,
        "title": board.title,
        "target": board.target,
        "instruction_set": board.facts.get("instruction_set"),
        "cpu": board.facts.get("cpu"),
        "runtime": f"onnxruntime {environment()['onnxruntime']}",
        "threads": threads,
        "seed": seed,
        "versions": environment(),
    }


def check_board(table: Table, board: Board, path: Path) -> None:
    """BadInput where a table is of another instruction set than the board, or of another runtime than here."""
    own, other = table.facts.get("instruction_set"), board.facts.get("instruction_set")
    if own != other:
        raise BadInput(
            f"table: '{path}' is of {own} ({table.facts.get('title')}), and {board.name} has {other}. Name the board "
            "that it is of with --board, or build one here with: edgekit predict --build"
        )
    here = f"onnxruntime {environment()['onnxruntime']}"
    if board.name == "this-machine" and table.facts.get("runtime") != here:
        raise BadInput(
            f"table: '{path}' is of {table.facts.get('runtime')}, and this machine runs {here}, whose kernels may "
            "differ. Build it again with: edgekit predict --build"
        )


def default_path(board: str) -> Path:
    """Where the table of a board lies: ~/.cache/edgekit/tables/BOARD.json."""
    return cache_folder("tables") / f"{board}.json"


def arrays(samples: list[Sample]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features [n, features], costs [n, costs] and times [n]."""
    features = np.array([features_of(sample.kernel, sample.footprint) for sample in samples])
    costs = np.array([cost_of(sample.kernel) for sample in samples])
    return features, costs, np.array([sample.time for sample in samples])


def _check(table: Table) -> None:
    """ValueError naming what cannot be."""
    times = [sample.time for sample in table.samples] + [network.time for network in table.networks]
    if not all(math.isfinite(time) and time > 0 for time in [*times, table.unit]):
        raise ValueError("a time is not above 0")
    if not math.isfinite(table.idle):
        raise ValueError("idle is no number")
    if any(len(s.lengths) != len(FEATURES) or len(s.rates) != len(COSTS) for s in table.shapes.values()):
        raise ValueError("a fit is of other sizes than this edgekit's")
    if unknown := set(table.shapes) - set(table.families()):
        raise ValueError(f"a fit without samples: {min(unknown)}")
