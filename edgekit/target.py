"""Targets and boards: what a runtime accepts, how an artefact is made for it, audited and run.

A target lives in its own package and is found by the entry-point group `edgekit.targets`; a board names its
target, and the board's facts make the capabilities (`Caps`) that quantization and pruning obey.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from edgekit.errors import BadInput, did_you_mean
from edgekit.registry import targets

if TYPE_CHECKING:
    from edgekit.quant.quantization import Quantization


@dataclass(frozen=True)
class Grid:
    """The integers a tensor may take: bits, sign, symmetric or affine, per tensor or per output channel.

    `reduced` leaves one bit unused (weights on x86 without VNNI, whose 16-bit sums saturate).
    """

    bits: int = 8
    signed: bool = True
    symmetric: bool = True
    per_channel: bool = False
    reduced: bool = False

    @property
    def lowest(self) -> int:
        """The smallest integer; symmetric signed grids leave out -2^(b-1), so that -q is always on the grid."""
        if not self.signed:
            return 0
        bits = self.bits - self.reduced
        return -(2 ** (bits - 1)) + (1 if self.symmetric else 0)

    @property
    def highest(self) -> int:
        """The largest integer."""
        bits = self.bits - self.reduced
        return 2 ** (bits - 1) - 1 if self.signed else 2**bits - 1


@dataclass(frozen=True)
class Caps:
    """What a board's runtime runs in integers, and how. `operators` are ONNX names that have an integer kernel."""

    activations: Grid
    weights: Grid
    bias: str = "int32"  # or "float"
    operators: frozenset[str] = frozenset()
    precisions: tuple[str, ...] = ("fp32", "fp16", "int8")
    channel_multiple: int = 1
    opset: int = 21
    fuse_batchnorm: bool = True
    low_bit: bool = False  # every layer may have bits of its own, 1 to 8, and is trained with brevitas
    fuse_addition: bool = False  # a convolution adds the other branch before it rounds
    expects: str = ""  # a sentence: what gain to expect on this board

    def key(self) -> dict[str, Any]:
        """The facts that decide a step's result, as plain JSON, for its hash."""
        return {**asdict(self), "operators": sorted(self.operators)}


NO_TARGET = "none"  # what the file of a board names that no target writes for yet
UNSERVED = "edgekit exports no artefact for this board yet"


@dataclass(frozen=True)
class Board:
    """A device: its target and its facts (each with a source in its file)."""

    name: str
    title: str
    target: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """One thing an audit or a lint found: what, at which node and source layer, why, and the remedy."""

    severity: str  # "error" cannot run, "warning" costs speed or accuracy, "note"
    node: str
    layer: str
    what: str
    remedy: str


@dataclass(frozen=True)
class Artefact:
    """A file made for a board."""

    path: Path
    target: str
    board: str
    precision: str  # "fp32", "fp16", "int8", or "int8+fp32" where layers stayed in float


Say = Callable[[str], None]
How = Literal["measured", "synthesised", "estimated", "not measured"]


@dataclass(frozen=True)
class Figure:
    """What is known of an artefact on its board: a value with its unit, how it came about, and by what, or why not."""

    name: str
    value: float | None
    unit: str
    how: How
    by: str


@dataclass(frozen=True)
class Audit:
    """What the runtime really runs after its own optimizer.

    `nodes` counts operators by name; `placement` maps each source node name to "integer", "float" or "moved away".
    """

    float_compute_nodes: int
    stray_qdq: int
    integer_compute_nodes: int
    nodes: dict[str, int]
    placement: dict[str, str]
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """The report's `audit` field."""
        return asdict(self)


class Runner(Protocol):
    """A loaded artefact; needs no torch."""

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name."""
        ...


class Target(Protocol):
    """Everything edgekit asks of a runtime."""

    name: str

    def caps(self, board: Board) -> Caps:
        """The capabilities that the board's facts make."""
        ...

    def lint(self, model: Any, caps: Caps) -> list[Finding]:
        """What of an onnx.ModelProto the board cannot run, or runs badly; before anything is trained."""
        ...

    def export(self, model: Any, quantization: Quantization | None, board: Board, path: Path) -> Artefact:
        """Write a fused fp32 onnx.ModelProto as this target's artefact, quantized as described."""
        ...

    def audit(self, path: Path) -> Audit:
        """What the runtime really runs."""
        ...

    def runner(self, path: Path, *, threads: int = 1) -> Runner:
        """The artefact, loaded."""
        ...


@dataclass(frozen=True)
class Aims:
    """What a board's own tools are asked for: frames a second, or a file that fixes how layers are folded.

    limits: of resources, such as {"lut": 40000}.
    """

    fps: float | None = None
    folding: Path | None = None
    limits: Mapping[str, float] = field(default_factory=dict)


class RemoteTarget(Target, Protocol):
    """A target whose boards measure for themselves, away from here."""

    on_board: str  # how a board is measured, as an order

    def graph(self, model: Any, example: Mapping[str, Any], outputs: list[str]) -> Any:
        """The onnx.ModelProto of a torch module in this target's own form; optional."""
        ...

    def accompany(
        self, folder: Path, graph: Any, golden: Mapping[str, np.ndarray], board: Board, aims: Aims, say: Say
    ) -> None:
        """Write what the board's own tools need into an output folder; `graph` is what was exported."""
        ...

    def check(self, board: Board, aims: Aims, graph: Any) -> None:
        """BadInput where the aims or the graph cannot be those of this board, before anything is trained; optional."""
        ...

    def choose(
        self, folder: Path, networks: Mapping[str, Callable[[], Any]], board: Board, aims: Aims, say: Say
    ) -> dict[str, Any]:
        """The first of several networks that the board's own tools find within the aims; optional.

        networks: {name: what gives its onnx.ModelProto, untrained}, the most accurate first. Returns plain JSON:
        {"chosen": name, "missed": what the aims lack there or "", "tried": {name: {"figures": {name: value},
        "rejected": why or ""}}}.
        """
        ...

    def is_here(self, board: Board) -> bool:
        """Whether this machine is that board, so that its runner measures; optional."""
        ...

    def figures(self, folder: Path, board: Board) -> tuple[Figure, ...]:
        """What an output folder holds of its board: estimates, and what was read back from it."""
        ...


class Boards(Protocol):
    """A provider of boards, found by the entry-point group `edgekit.boards`."""

    def names(self) -> list[str]:
        """Every board this provider knows."""
        ...

    def load(self, name: str) -> Board:
        """One board by name."""
        ...


def board_names() -> list[str]:
    """Every board that an installed provider knows."""
    return sorted(name for provider in _providers() for name in provider.names())


def find_board(name: str) -> Board:
    """A board by name; BadInput with the nearest name where there is none."""
    for provider in _providers():
        if name in provider.names():
            return provider.load(name)
    raise BadInput(f"boards: '{name}' is unknown. {did_you_mean(name, board_names())}")


def find_target(name: str) -> Target:
    """A target by name, made ready."""
    return targets.get(name)()


def target_of(board: Board) -> Target:
    """The target that a board names; BadInput, with what works there instead, where it names none."""
    if board.target == NO_TARGET:
        raise BadInput(f"boards: {board.name}: {UNSERVED}. {board.facts.get('instead', '')}".rstrip())
    return find_target(board.target)


def _providers() -> list[Boards]:
    return [entry.load()() for entry in entry_points(group="edgekit.boards")]
