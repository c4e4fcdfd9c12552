"""What board/measure.py measured on a board, read back and checked: measured.json of an output folder."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from edgekit.errors import BadInput
from edgekit.profile.latency import Latency
from edgekit.profile.operators import operator_times
from edgekit.profile.profile import Profile
from edgekit.target import Board

FILE = "measured.json"
SCHEMA = 1
PRECISIONS = ("fp32", "fp16", "int8")
LARGEST = 64 * 2**20
LONGEST = 8192
MOST_LAYERS = 50_000
AGAIN = "Run measure.py on the board again."


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
class Engine:
    """One engine: its ONNX file and hash, how it was built, and its figures."""

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


@dataclass(frozen=True)
class Results:
    """The content of measured.json: the board, its versions, how it measured, and each engine by precision."""

    board: str | None
    device: Mapping[str, Any]
    versions: Mapping[str, str]
    measuring: Mapping[str, Any]
    engines: Mapping[str, Engine]
    kept: str
    kept_because: str
    not_measured: Mapping[str, str] = field(default_factory=dict)

    @property
    def best(self) -> Engine:
        """The engine that was kept."""
        return self.engines[self.kept]

    def to_json(self) -> dict[str, Any]:
        """The content of measured.json, as plain JSON types."""
        content: dict[str, Any] = json.loads(json.dumps({"schema": SCHEMA, **asdict(self)}))
        return content

    def latency(self, precision: str | None = None) -> Latency | None:
        """Copying in, computing and copying out of an engine (the one kept); one stream counts as one thread.

        None where an older trtexec printed no 90th or 99th percentile.
        """
        spread = self.engines[precision or self.kept].latency_ms
        if spread.p90 is None or spread.p99 is None:
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
        engine = self.engines[precision or self.kept]
        rows = [
            (layer.name, layer.nodes[0] if layer.nodes else "", layer.type or "", 1e3 * layer.ms)
            for layer in engine.layers
            if layer.ms is not None
        ]
        reasons = {
            "energy": self.not_measured.get("energy", "measure.py reads no power sensor"),
            "peak_memory_bytes": "TensorRT tells the memory of an engine's activations alone",
        }
        if engine.throughput is None:
            reasons["throughput"] = "trtexec did not print it"
        latency = self.latency(precision)
        if latency is None:
            reasons["latency_ms"] = "trtexec printed no 90th or 99th percentile"
        return Profile(
            latency=latency,
            throughput=engine.throughput,
            load_seconds=engine.load_seconds,
            operators=tuple(operator_times(rows)),
            not_measured=reasons,
        )


def read_results(path: Path | str, *, board: Board | None = None) -> Results:
    """measured.json, or the one in a folder, checked against the ONNX files beside it.

    BadInput where it is broken, measured of another model, or on another board than `board`.
    """
    path = Path(path)
    path = path / FILE if path.is_dir() else path
    results = _results(path, _content(path))
    for engine in results.engines.values():
        _same_model(path, engine)
    if board is not None:
        _same_board(path, results, board)
    return results


def _content(path: Path) -> dict[str, Any]:
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise BadInput(f"{path}: it has {size} bytes, more than measure.py writes. {AGAIN}")
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except OSError as error:
        raise BadInput(
            f"{path}: it cannot be read: {error.strerror}. Run measure.py on the board and copy measured.json here."
        ) from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: it is no measured.json: {error}. {AGAIN}") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        given = content.get("schema") if isinstance(content, dict) else None
        raise BadInput(
            f"{path}: its schema is {given!r}, not {SCHEMA}. Run this edgekit's measure.py on the board."
        )
    return content


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON")


def _same_model(path: Path, engine: Engine) -> None:
    model = path.parent / engine.onnx
    if not model.is_file():
        raise BadInput(
            f"{path}: it was measured of {engine.onnx}, which is not beside it. Put it back into the folder that was "
            "copied to the board."
        )
    found = hashlib.sha256(model.read_bytes()).hexdigest()
    if found != engine.sha256:
        raise BadInput(
            f"{path}: it was measured of another {engine.onnx} ({engine.sha256[:12]}, here {found[:12]}). Copy this "
            "folder to the board and run measure.py there."
        )


def _same_board(path: Path, results: Results, board: Board) -> None:
    wanted, found = board.facts.get("compute_capability"), results.device.get("compute_capability")
    if results.board is not None and results.board != board.name:
        raise BadInput(
            f"{path}: it was measured on {results.board}, not on {board.name}. Run measure.py on a {board.name}."
        )
    if wanted and found and str(wanted) != str(found):
        raise BadInput(
            f"{path}: it was measured on a GPU of compute capability {found} ({results.device.get('gpu')}), "
            f"{board.name} has {wanted}. Run measure.py on a {board.name}."
        )


Check = Callable[[Any], bool]


def _results(path: Path, content: Mapping[str, Any]) -> Results:
    """The nouns of a parsed file; the first thing wrong is named."""

    def take(holder: Any, where: str, name: str, check: Check, wanted: str) -> Any:
        value = holder.get(name) if isinstance(holder, dict) else None
        if not check(value):
            shown = repr(value)[:60]
            raise BadInput(f"{path}: {where}{name} is {shown}, not {wanted}. {AGAIN}")
        return value

    engines = take(content, "", "engines", _engines, f"engines by precision ({', '.join(PRECISIONS)})")
    return Results(
        board=take(content, "", "board", _or_none(_word), "a name"),
        device=take(content, "", "device", _is_object, "an object"),
        versions=take(content, "", "versions", _words, "words by name"),
        measuring=take(content, "", "measuring", _measuring, "an object with a batch of 1 or more"),
        engines={name: _engine(take, engines[name], f"engines.{name}.") for name in engines},
        kept=take(
            content, "", "kept", lambda name: _word(name) and name in engines, f"one of {', '.join(engines)}"
        ),
        kept_because=take(content, "", "kept_because", _word, "a sentence"),
        not_measured=take(content, "", "not_measured", _words, "reasons by name"),
    )


def _engine(take: Callable[..., Any], value: Any, where: str) -> Engine:
    spreads = {
        name: _spread(take, take(value, where, name, _is_object, "an object"), f"{where}{name}.")
        for name in ("latency_ms", "h2d_ms", "compute_ms", "d2h_ms")
    }
    layers = take(value, where, "layers", _layers, f"a list of at most {MOST_LAYERS} layers")
    golden = take(value, where, "golden", _or_none(_golden), "null, or max_abs, n, top1 and finite")
    return Engine(
        onnx=take(value, where, "onnx", _file_name, "a file's name"),
        sha256=take(value, where, "sha256", _hash, "64 hexadecimal digits"),
        engine=take(value, where, "engine", _word, "a file's name"),
        bytes=take(value, where, "bytes", _count, "a count"),
        build_seconds=take(value, where, "build_seconds", _number, "seconds"),
        cached=take(value, where, "cached", lambda flag: isinstance(flag, bool), "true or false"),
        rebuilt_because=take(value, where, "rebuilt_because", _or_none(_word), "a reason"),
        throughput=take(value, where, "throughput", _or_none(_number), "samples a second"),
        load_seconds=take(value, where, "load_seconds", _or_none(_number), "seconds"),
        device_memory_bytes=take(value, where, "device_memory_bytes", _or_none(_count), "a count"),
        layers=tuple(_layer(row) for row in layers),
        golden=None if golden is None else Golden(**{name: golden.get(name) for name in _names(Golden)}),
        **spreads,
    )


def _spread(take: Callable[..., Any], value: Any, where: str) -> Spread:
    loose = {
        name: take(value, where, name, _or_none(_number), "milliseconds") for name in ("p90", "p95", "p99")
    }
    firm = {name: take(value, where, name, _number, "milliseconds") for name in ("min", "mean", "p50", "max")}
    return Spread(
        **firm, **loose, n=take(value, where, "n", lambda n: _count(n) and n > 0, "a count of runs")
    )


def _layer(row: Mapping[str, Any]) -> Layer:
    return Layer(
        row["name"], row.get("type"), row.get("precision"), row.get("ms"), tuple(row.get("nodes") or ())
    )


def _names(noun: type) -> list[str]:
    return [item.name for item in fields(noun)]


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _word(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST


def _words(value: Any) -> bool:
    return isinstance(value, dict) and len(value) <= 1000 and all(_word(text) for text in value.values())


def _file_name(value: Any) -> bool:
    return _word(value) and Path(value).name == value and value not in ("", ".", "..")


def _hash(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def _number(value: Any) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and value >= 0
        and math.isfinite(value)
    )


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _measuring(value: Any) -> bool:
    return isinstance(value, dict) and _count(value.get("batch")) and value["batch"] > 0


def _engines(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and set(value) <= set(PRECISIONS)


def _layers(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= MOST_LAYERS and all(_is_layer(row) for row in value)


def _is_layer(row: Any) -> bool:
    nodes = row.get("nodes") if isinstance(row, dict) else 0
    return (
        isinstance(row, dict)
        and isinstance(row.get("name"), str)
        and all(_or_none(_word)(row.get(name)) for name in ("type", "precision"))
        and _or_none(_number)(row.get("ms"))
        and (nodes is None or (isinstance(nodes, list) and all(isinstance(node, str) for node in nodes)))
    )


def _golden(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all(_or_none(_number)(value.get(name)) for name in ("max_abs", "top1"))
        and _count(value.get("n"))
        and isinstance(value.get("finite"), bool)
    )
