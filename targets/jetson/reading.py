"""Reading measured.json: what board/measure.py wrote on a board, checked before anything of it is believed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from edgekit.errors import BadInput
from edgekit.target import Board
from targets.jetson.results import FILE, PRECISIONS, SCHEMA, Engine, Golden, Layer, Placed, Results, Spread

LARGEST = 64 * 2**20
LONGEST = 8192
MOST_LAYERS = 50_000
AGAIN = "Run measure.py on the board again."


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
        kept=take(content, "", "kept", _kept_of(engines), f"one of {', '.join(engines) or 'no engines'}"),
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
    dla = take(value, where, "dla", _or_none(_placed), "null, or core, on_dla and fell_back")
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
        dla=None if dla is None else Placed(dla["core"], dla["on_dla"], tuple(dla["fell_back"])),
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
    return isinstance(value, dict) and set(value) <= set(PRECISIONS)


def _kept_of(engines: Mapping[str, Any]) -> Check:
    """One of the engines; None where none gives finite results."""

    def check(name: Any) -> bool:
        return (
            _word(name) and name in engines if name is not None else not any(map(_finite, engines.values()))
        )

    return check


def _finite(engine: Any) -> bool:
    return not (isinstance(engine, dict) and isinstance(engine.get("golden"), dict)
                and engine["golden"].get("finite") is False)  # fmt: skip


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


def _placed(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all(_count(value.get(name)) for name in ("core", "on_dla"))
        and isinstance(value.get("fell_back"), list)
        and len(value["fell_back"]) <= MOST_LAYERS
        and all(map(_word, value["fell_back"]))
    )
