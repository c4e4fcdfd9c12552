"""`edgekit profile DIR|FILE.onnx ...`: latency, throughput, load time and memory; several are interleaved."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.board_figures import is_away, read_back
from edgekit.cli.artefacts import artefact
from edgekit.cli.console import findings_table, kib, say, say_json, table
from edgekit.errors import BadInput
from edgekit.profile import Profile, Ratio, interleave, profile, ratio
from edgekit.profile.clock import pinned
from edgekit.profile.latency import caller
from edgekit.profile.operators import by_layer
from edgekit.signature import Signature, TensorSpec
from edgekit.target import find_target

EXAMPLE = "edgekit profile float.onnx runs/recipe-1 --threads 1 --seconds 5"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words that the verb takes."""
    parser.add_argument(
        "paths",
        type=Path,
        nargs="+",
        metavar="DIR|FILE.onnx",
        help="ONNX files or output folders; ratios are over the first",
    )
    parser.add_argument(
        "--threads", type=_at_least_one, default=1, metavar="N", help="runtime threads (default: 1)"
    )
    parser.add_argument(
        "--batch", type=_at_least_one, default=1, metavar="B", help="samples a call (default: 1)"
    )
    parser.add_argument(
        "--seconds", type=_seconds, default=3.0, metavar="S", help="time for each measurement (default: 3)"
    )
    parser.add_argument("--operators", action="store_true", help="time by source layer as well")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Measure each file by itself, then all of them in turns; of a folder for a board elsewhere, read it back."""
    away = [path for path in options.paths if is_away(path)]
    if away:
        return _read_back(away, options)
    files = [artefact(path, verb="profile") for path in options.paths]
    profiles = [_profile(file, target, options) for file, target in files]
    ratios = _ratios(files, options) if len(files) > 1 else []
    if options.json:
        say_json(
            [
                _row(path, seen, ratios[index] if ratios else None)
                for index, (path, seen) in enumerate(zip(options.paths, profiles, strict=True))
            ]
        )
        return 0
    _print(options, profiles, ratios)
    return 0


def _read_back(folders: list[Path], options: argparse.Namespace) -> int:
    """What boards that are not this machine estimated and measured, into their reports."""
    if len(folders) < len(options.paths):
        raise BadInput(
            f"profile: '{folders[0]}' is of a board that is not this machine, so it cannot take turns with the others. "
            "Profile it alone, or set them side by side with: edgekit compare"
        )
    reports = [read_back(folder) for folder in folders]
    if options.json:
        say_json(
            [
                {"path": str(path), "on_board": report["on_board"]}
                for path, report in zip(folders, reports, strict=True)
            ]
        )
        return 0
    from rich.console import Console

    from edgekit.report import print_figures

    for folder, report in zip(folders, reports, strict=True):
        print_figures(report, Console())
        say(f"report: {folder / 'report.html'}")
    return 0


def random_feeds(signature: Signature, *, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Standard normal values for floating inputs, 0 and 1 for others.

    Raises BadInput where the file fixes another batch.
    """
    chance = np.random.default_rng(seed)
    return {spec.name: _random(spec, batch, chance) for spec in signature.inputs}


def _random(spec: TensorSpec, batch: int, chance: np.random.Generator) -> np.ndarray:
    if spec.shape and isinstance(spec.shape[0], int) and spec.shape[0] != batch:
        raise BadInput(
            f"profile: the input '{spec.name}' has the fixed shape {list(spec.shape)}, not batch {batch}. "
            f"Give --batch {spec.shape[0]}, or export with a free batch."
        )
    shape = tuple(
        batch if index == 0 and isinstance(size, str) else 1 if isinstance(size, str) else size
        for index, size in enumerate(spec.shape)
    )
    if spec.dtype.startswith("float"):
        return chance.standard_normal(shape).astype(spec.dtype)
    return chance.integers(0, 2, shape).astype(spec.dtype)


def _profile(file: Path, target: str, options: argparse.Namespace) -> Profile:
    signature = find_target(target).runner(file, threads=options.threads).signature  # type: ignore[attr-defined]
    return profile(
        file,
        random_feeds(signature, batch=options.batch),
        target=target,
        threads=options.threads,
        seconds=options.seconds,
        operators=options.operators,
    )


def _ratios(files: list[tuple[Path, str]], options: argparse.Namespace) -> list[Ratio]:
    with pinned(options.threads):
        runs = {}
        for index, (file, target) in enumerate(files):
            runner = find_target(target).runner(file, threads=options.threads)
            feeds = random_feeds(runner.signature, batch=options.batch)  # type: ignore[attr-defined]
            runs[str(index)] = caller(runner, feeds)
        timings = interleave(runs, seconds=options.seconds * len(files))
    return [ratio(timings["0"], timings[name]) for name in runs]


def _row(path: Path, seen: Profile, speed_up: Ratio | None) -> dict[str, Any]:
    pair = None if speed_up is None else {"value": speed_up.value, "ci95": [speed_up.low, speed_up.high]}
    return {
        "path": str(path),
        **seen.to_json(),
        "load_seconds": seen.load_seconds,
        "speed_up_over_first": pair,
        "operators": [item.to_json() for item in seen.operators],
        "findings": [vars(finding) for finding in seen.findings],
    }


def _print(options: argparse.Namespace, profiles: list[Profile], ratios: list[Ratio]) -> None:
    columns = [
        "file",
        "min ms",
        "mean",
        "p50",
        "p90",
        "p99",
        "calls",
        "per second",
        "load s",
        "peak memory",
        "speed-up over the first [95 %]",
    ]
    rows = [
        (
            path,
            *_times(seen),
            seen.throughput,
            seen.load_seconds,
            kib(seen.peak_memory_bytes),
            str(ratios[index]) if ratios and index else "-",
        )
        for index, (path, seen) in enumerate(zip(options.paths, profiles, strict=True))
    ]
    table(columns, rows, title=f"{options.threads} thread(s), batch {options.batch}", numbers=columns[1:])
    for path, seen in zip(options.paths, profiles, strict=True):
        if options.operators:
            _print_layers(path, seen)
        findings_table(seen.findings, title=str(path))
    for name, reason in profiles[0].not_measured.items():
        say(f"{name}: not measured, {reason}")


def _print_layers(path: Path, seen: Profile) -> None:
    rows = [
        (item.layer, item.operator, item.microseconds, f"{item.share:.1%}")
        for item in by_layer(seen.operators)
    ]
    table(
        ["layer", "operators", "microseconds", "share"],
        rows,
        title=str(path),
        numbers=["microseconds", "share"],
    )


def _times(seen: Profile) -> tuple[Any, ...]:
    if seen.latency is None:
        return (None,) * 6
    return tuple(getattr(seen.latency, name) for name in ("min", "mean", "p50", "p90", "p99", "n"))


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' must be a whole number from 1")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"'{text}' must be a number of seconds above 0")
    return value
