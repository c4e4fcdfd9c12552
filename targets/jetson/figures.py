"""What an output folder holds of its Jetson: what board/measure.py measured there, or that it has not run."""

from __future__ import annotations

from pathlib import Path

from edgekit.target import Board, Figure
from targets.jetson.reading import read_results
from targets.jetson.results import FILE, Engine, Results

ABSENT = "run board/measure.py on the board, and copy measured.json back into this folder"
TRANSFERS = (("to the GPU", "h2d_ms"), ("compute", "compute_ms"), ("from the GPU", "d2h_ms"))


def figures(folder: Path, board: Board) -> tuple[Figure, ...]:
    """Median latency and throughput of each engine, the kept one's parts; BadInput where the file is broken."""
    if not (folder / FILE).is_file():
        return _none(("int8", "fp16"), ABSENT)
    results = read_results(folder, board=board)
    if results.best is None:
        return _none(tuple(results.engines) or ("int8", "fp16"), results.why_none)
    found = [figure for name, engine in results.engines.items() for figure in _engine(results, name, engine)]
    kept = [Figure(f"{what} ({results.kept})", getattr(results.best, part).p50, "ms", "measured", _by(results))
            for what, part in TRANSFERS]  # fmt: skip
    return (*found, *kept)


def _none(names: tuple[str, ...], why: str) -> tuple[Figure, ...]:
    return tuple(Figure(f"latency, {name}", None, "", "not measured", why) for name in names)


def _engine(results: Results, name: str, engine: Engine) -> list[Figure]:
    note = f", kept: {results.kept_because}" if name == results.kept else ""
    found = [Figure(f"latency, {name}", engine.latency_ms.p50, "ms", "measured", _by(results) + note)]
    if engine.throughput is not None:
        found.append(Figure(f"throughput, {name}", engine.throughput, "/s", "measured", _by(results)))
    if engine.golden is not None and engine.golden.max_abs is not None:
        what = f"largest difference to here, {name}"
        found.append(Figure(what, engine.golden.max_abs, "", "measured", f"{engine.golden.n} golden samples"))
    if engine.dla is not None:
        fell = ", ".join(engine.dla.fell_back) or "nothing"
        by = f"core {engine.dla.core}; fell back to the GPU: {fell}"
        found.append(Figure(f"pieces on DLA, {name}", engine.dla.on_dla, "", "measured", by))
    return found


def _by(results: Results) -> str:
    return f"TensorRT {results.versions.get('tensorrt', 'of unknown version')}, median"
