"""`edgekit predict DIR|FILE.onnx ...`: latency from a table of measured kernels; `--build` measures the table."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.cli.artefacts import artefact
from edgekit.cli.console import say, say_aside, say_json, table
from edgekit.errors import BadInput, MissingDependency
from edgekit.target import find_board, find_target

if TYPE_CHECKING:
    from edgekit.predict.predict import Prediction

EXAMPLE = "edgekit predict --build --minutes 8 && edgekit predict model.onnx"
SLOWEST = 10


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words that the verb takes."""
    parser.add_argument(
        "paths",
        type=Path,
        nargs="*",
        metavar="DIR|FILE.onnx",
        help="ONNX files or output folders; with --build, their kernels are measured first",
    )
    parser.add_argument(
        "--table", type=Path, metavar="FILE", help="the table of kernels (default: this machine's)"
    )
    parser.add_argument(
        "--board",
        default="this-machine",
        metavar="NAME",
        help="the board that the table is of (default: this machine)",
    )
    parser.add_argument("--build", action="store_true", help="measure this machine's table")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="where --build writes (default: where predict looks)"
    )
    parser.add_argument(
        "--minutes", type=float, default=8.0, metavar="M", help="how long --build may measure (default: 8)"
    )
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N", help="runtime threads of --build (default: 1)"
    )
    parser.add_argument("--seed", type=int, default=0, help="which random networks give --build its kernels")
    parser.add_argument("--kernels", action="store_true", help="the slowest kernels of each file as well")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """0 where everything asked was predicted or built, 1 where a kernel is unknown to the table."""
    if not options.build and not options.paths:
        raise BadInput("predict: name an ONNX file, or build a table with --build.")
    if importlib.util.find_spec("onnx") is None:
        raise MissingDependency("onnx", "host", "reading and writing the graphs of kernels")
    return _build(options) if options.build else _predict(options)


def _build(options: argparse.Namespace) -> int:
    from edgekit.predict.build import build
    from edgekit.predict.table import default_path
    from edgekit.progress import make_progress

    if options.board != "this-machine":
        raise BadInput(
            f"predict: a table of {options.board} is built on it. Run edgekit predict --build there."
        )
    if not 0 < options.minutes < 1e4:
        raise BadInput(f"--minutes: {options.minutes:g} is no time. Give minutes above 0.")
    if options.threads < 1:
        raise BadInput(f"--threads: {options.threads} runs nothing. Give at least 1.")
    path = options.out or default_path(options.board)
    made = build(
        path,
        find_board(options.board),
        minutes=options.minutes,
        threads=options.threads,
        seed=options.seed,
        files=[artefact(file, verb="predict")[0] for file in options.paths],
        progress=make_progress(say_aside),
    )
    say(f"{path}: {len(made.samples)} kernels of {len(made.shapes)} families, {len(made.networks)} networks")
    return 0


def _predict(options: argparse.Namespace) -> int:
    from edgekit.predict.graph import read_kernels
    from edgekit.predict.predict import Predictor
    from edgekit.predict.table import check_board, default_path, load_table

    path = options.table or default_path(options.board)
    board, known = find_board(options.board), load_table(path)
    check_board(known, board, path)
    predictor, target = Predictor(known), find_target(board.target)
    files = {str(path): artefact(path, verb="predict")[0] for path in options.paths}
    found = {name: predictor.predict(read_kernels(file, target)) for name, file in files.items()}
    if options.json:
        say_json({"table": str(path), "facts": known.facts, "files": found})
    else:
        _show(found, options.kernels)
    return int(any(prediction.unknown for prediction in found.values()))


def _show(found: dict[str, Prediction], kernels: bool) -> None:
    columns = ["file", "ms", "90 % low", "90 % high", "kernels", "unknown"]
    rows = [
        (name, p.milliseconds, p.low, p.high, len(p.kernels), len(p.unknown)) for name, p in found.items()
    ]
    table(columns, rows, numbers=columns[1:])
    for name, prediction in found.items():
        for kernel in prediction.unknown:
            say(f"{name}: not counted, unknown to the table: {kernel}")
        if prediction.unknown:
            say(f"{name}: add its kernels, on the board, with: edgekit predict --build {name}")
        if kernels:
            slow = sorted(prediction.kernels, key=lambda item: -(item.microseconds or 0))[:SLOWEST]
            table(["node", "kernel", "us"], [(k.node, k.kernel, k.microseconds) for k in slow], title=name)
