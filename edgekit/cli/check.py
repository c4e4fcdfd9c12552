"""`edgekit check MODEL|FILE.onnx`: what a model costs and what each board cannot run, before training."""

from __future__ import annotations

import argparse
from typing import Any

from edgekit.cli.console import count, findings_table, kib, say, say_json, table
from edgekit.target import board_names

EXAMPLE = "edgekit check resnet8 --all"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words that the verb takes."""
    parser.add_argument(
        "model",
        metavar="MODEL|FILE.onnx",
        help="a zoo name, package.module:Name, ./net.py:Net, or an ONNX file",
    )
    parser.add_argument(
        "--board",
        action="append",
        dest="boards",
        metavar="B",
        help="a board (may be repeated; default: this-machine)",
    )
    parser.add_argument("--all", action="store_true", help="every board")
    parser.add_argument(
        "--data", metavar="NAME", help="take the input shape and the classes from this data set"
    )
    parser.add_argument(
        "--input", type=shape, metavar="C,H,W", help="the shape of one sample, without the batch"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """0 whatever was found."""
    from edgekit.inspection import as_onnx, check

    seen = check(as_onnx(*model_and_example(options)), boards=chosen_boards(options))
    if options.json:
        say_json(seen.to_json())
        return 0
    _print(options.model, seen)
    return 0


def model_and_example(options: argparse.Namespace) -> tuple[Any, Any]:
    """The model that the words name, and an example input; (FILE.onnx, None) for a file."""
    from edgekit import subject

    if subject.is_onnx(options.model):
        return options.model, None
    samples = subject.find_samples(options.data) if options.data else None
    given = {"in_channels": options.input[0]} if _zoo_channels(options) else {}
    model = subject.make_model(options.model, given, samples=samples)
    return model, subject.example_for(options.model, given, samples=samples, shape=options.input)


def chosen_boards(options: argparse.Namespace) -> list[str]:
    """The boards that the words name."""
    return board_names() if options.all else list(dict.fromkeys(options.boards or ["this-machine"]))


def shape(text: str) -> tuple[int, ...]:
    """`3,32,32` as numbers."""
    parts = text.lower().replace("x", ",").split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"'{text}' is no shape; write sizes such as 3,32,32")
    return tuple(int(part) for part in parts)


def _zoo_channels(options: argparse.Namespace) -> bool:
    """Whether `--input` should also set the zoo network's number of input channels."""
    import inspect

    from edgekit.registry import models

    if options.input is None or len(options.input) != 3 or options.data or ":" in options.model:
        return False
    made = models.get(options.model)
    return callable(made) and "in_channels" in inspect.signature(made).parameters


def _print(name: str, seen: Any) -> None:
    say(
        f"{name}: {count(seen.params)} parameters, {count(seen.macs)} MACs a sample, {kib(seen.bytes)} of "
        f"weights in float, {kib(seen.peak_activation_bytes)} of activations at the peak"
    )
    table(["operator", "count"], seen.operators.items(), numbers=["count"])
    table(
        ["board", "what it is", "runs it", "findings", "what to expect"],
        [
            (item.board, item.title, "yes" if item.runs else "no", len(item.findings), item.expects)
            for item in seen.boards
        ],
    )
    shown: dict[Any, list[str]] = {}
    for item in seen.boards:
        shown.setdefault(item.findings, []).append(item.board)
    for findings, boards in shown.items():
        findings_table(findings, title=", ".join(boards))
