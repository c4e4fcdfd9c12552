"""`edgekit init [run]`: trace a model and write a commented recipe, or a run file, that runs as it is."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgekit.cli.check import shape
from edgekit.cli.console import say
from edgekit.errors import BadInput

EXAMPLE = "edgekit init --model ./net.py:Net --weights ./net.safetensors --data ./data.py:load"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words that the verb takes."""
    parser.add_argument(
        "what",
        nargs="?",
        choices=["recipe", "run"],
        default="recipe",
        help="recipe: to compress a model (default); run: to train one over agents",
    )
    parser.add_argument(
        "--model",
        metavar="M",
        help="a zoo name, package.module:Name, ./net.py:Net, or FILE.onnx (default: resnet8, of a run: mlp)",
    )
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="trained weights (state dict or safetensors)"
    )
    parser.add_argument(
        "--data",
        metavar="NAME",
        help="a data set, package.module:Name, or ./data.py:load (default for the zoo: fashion-mnist)",
    )
    parser.add_argument(
        "--board",
        action="append",
        dest="boards",
        metavar="B",
        help="a board (may be repeated; default: this-machine)",
    )
    parser.add_argument("--input", type=shape, metavar="C,H,W", help=argparse.SUPPRESS)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="the file to write (default: recipe.yaml or run.yaml); an existing one is kept",
    )


def run(options: argparse.Namespace) -> int:
    """Write the recipe or the run file, having read it back."""
    options.out = options.out or Path(f"{options.what}.yaml")
    options.model = options.model or ("mlp" if options.what == "run" else "resnet8")
    if options.out.exists():
        raise BadInput(f"init: '{options.out}' exists and is kept. Name another file with --out.")
    if options.what == "run":
        return _run_file(options)

    from edgekit import draft
    from edgekit.recipe import check_order, parse_recipe

    found = draft.trace(options.model, data=_data(options), boards=options.boards or ["this-machine"])
    text = draft.recipe_text(found, weights=options.weights, out=options.out)
    check_order(parse_recipe(text, source=str(options.out)))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text, encoding="utf-8")
    say(f"written: {options.out}", f"run it: edgekit compress {options.out}")
    return 0


def _run_file(options: argparse.Namespace) -> int:
    from edgekit.runs.draft import run_text
    from edgekit.runs.study import parse_study

    text = run_text(options.model, _data(options), options.out)
    parse_study(text, source=str(options.out))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text, encoding="utf-8")
    say(f"written: {options.out}", f"run it: edgekit simulate {options.out}")
    return 0


def _data(options: argparse.Namespace) -> Any:
    from edgekit import subject
    from edgekit.registry import models

    if options.data:
        return options.data
    if subject.is_onnx(options.model):
        raise BadInput(
            "init: an ONNX file needs inputs for its calibration. Give --data NAME, or --data "
            "./data.py:load for your own."
        )
    if options.model in models.names() and ":" not in options.model:
        return "fashion-mnist"
    raise BadInput(
        f"init: edgekit cannot know the data of '{options.model}'. Give --data ./data.py:load, a function "
        "that returns edgekit.Data (batches of (input, target)), or a name from: edgekit datasets."
    )
