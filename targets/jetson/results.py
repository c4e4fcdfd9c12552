"""What board/measure.py measured on a board: the content of measured.json of an output folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from edgekit.profile.latency import Latency
from edgekit.profile.operators import operator_times
from edgekit.profile.profile import Profile

FILE = "measured.json"
SCHEMA = 1
PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class Spread:
    """Milliseconds over `n` runs; a percentile that an older trtexec does not print is None."""

    min: float
    mean: float
    p50: float
    p90: float | None
    p95: float | None
    p99: float | None
    max: float
    n: int


@dataclass(frozen=True)
class Layer:
    """A layer of an engine: what it computes in, its milliseconds a run, and the ONNX nodes it came from."""

    name: str
    type: str | None = None
    precision: str | None = None
    ms: float | None = None
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Golden:
    """How far results on the board are from the golden vectors; `max_abs` is None where they are not finite.

    `top1` is the share of samples whose largest output is the same, None for an output of one value.
    """

    max_abs: float | None
    n: int
    top1: float | None = None
    finite: bool = True


@dataclass(frozen=True)
class Placed:
    """Where an engine for DLA runs: the core, how many pieces it took, and the layers that fell back to the GPU."""

    core: int
    on_dla: int
    fell_back: tuple[str, ...]


@dataclass(frozen=True)
class Engine:
    """One engine: its ONNX file and hash, how it was built, and its figures; `dla` is None where the GPU runs all."""

    onnx: str
    sha256: str
    engine: str
    bytes: int
    build_seconds: float
    cached: bool
    rebuilt_because: str | None
    latency_ms: Spread
    h2d_ms: Spread
    compute_ms: Spread
    d2h_ms: Spread
    throughput: float | None
    load_seconds: float | None
    device_memory_bytes: int | None
    layers: tuple[Layer, ...]
    golden: Golden | None
    dla: Placed | None = None

    def layer_times(self) -> list[tuple[str, str, str, float]]:
        """(name, first ONNX node, type, microseconds) of the layers that were timed."""
        return [
            (layer.name, layer.nodes[0] if layer.nodes else "", layer.type or "", 1e3 * layer.ms)
            for layer in self.layers
            if layer.ms is not None
        ]


@dataclass(frozen=True)
class Results:
    """The content of measured.json: the board, its versions, how it measured, and each engine by precision.

    `kept` is None where no engine can be deployed, because none was built or none gives finite results.
    """

    board: str | None
    device: Mapping[str, Any]
    versions: Mapping[str, str]
    measuring: Mapping[str, Any]
    engines: Mapping[str, Engine]
    kept: str | None
    kept_because: str
    not_measured: Mapping[str, str] = field(default_factory=dict)

    @property
    def best(self) -> Engine | None:
        """The engine that was kept."""
        return None if self.kept is None else self.engines[self.kept]

    @property
    def why_none(self) -> str:
        """Why no engine was kept, with the reason of each."""
        refused = {
            name: f"it gave results that are not finite on the {engine.golden.n} golden samples"
            for name, engine in self.engines.items()
            if engine.golden is not None and not engine.golden.finite
        }
        failed = {name: reason for name, reason in self.not_measured.items() if name in PRECISIONS}
        what = "no engine was measured"
        if refused:
            what = "every engine gave non-finite outputs" + (", or failed" if failed else "")
        reasons = "; ".join(f"{name}: {reason}" for name, reason in {**refused, **failed}.items())
        return f"{what} ({reasons or self.kept_because})"

    def to_json(self) -> dict[str, Any]:
        """The content of measured.json, as plain JSON types."""
        content: dict[str, Any] = json.loads(json.dumps({"schema": SCHEMA, **asdict(self)}))
        return content

    def latency(self, precision: str | None = None) -> Latency | None:
        """Copying in, computing and copying out of an engine (the one kept); one stream counts as one thread.

        None where none was kept, or an older trtexec printed no 90th or 99th percentile.
        """
        engine = self._engine(precision)
        spread = None if engine is None else engine.latency_ms
        if spread is None or spread.p90 is None or spread.p99 is None:
            return None
        return Latency(
            min=spread.min,
            mean=spread.mean,
            p50=spread.p50,
            p90=spread.p90,
            p99=spread.p99,
            n=spread.n,
            threads=1,
            batch=int(self.measuring["batch"]),
        )

    def profile(self, precision: str | None = None) -> Profile:
        """An engine's figures (the one kept) as edgekit's own, its layers as operators."""
        engine = self._engine(precision)
        if engine is None:
            return Profile(
                not_measured=dict.fromkeys(
                    ("latency_ms", "throughput", "peak_memory_bytes", "energy"), self.why_none
                )
            )
        latency = self.latency(precision)
        reasons = {
            "energy": self.not_measured.get("energy", "measure.py reads no power sensor"),
            "peak_memory_bytes": "TensorRT tells the memory of an engine's activations alone",
        }
        if engine.throughput is None:
            reasons["throughput"] = "trtexec did not print it"
        if latency is None:
            reasons["latency_ms"] = "trtexec printed no 90th or 99th percentile"
        return Profile(
            latency=latency,
            throughput=engine.throughput,
            load_seconds=engine.load_seconds,
            operators=tuple(operator_times(engine.layer_times())),
            not_measured=reasons,
        )

    def _engine(self, precision: str | None) -> Engine | None:
        return self.best if precision is None else self.engines[precision]
