"""`edgekit compress RECIPE`: run a recipe."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgekit.cli.console import say, say_aside, say_json, say_nothing
from edgekit.cli.outputs import prepare
from edgekit.errors import BadInput
from edgekit.progress import show_progress
from edgekit.recipe import check_order, load_recipe

EXAMPLE = "edgekit compress recipe.yaml --set steps.prune.ratio=0.3 --out runs/narrow"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words that the verb takes."""
    parser.add_argument("recipe", type=Path, help="a YAML file (write one with: edgekit init)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="change one value of the recipe, such as steps.prune.ratio=0.3 (may be repeated)",
    )
    parser.add_argument(
        "--budget",
        metavar="KEY=VALUE,...",
        help="the recipe's budget, such as max_drop=0.01, or of an FPGA fps=10000,lut=40000",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="the output folder (default: runs/NAME-N)")
    parser.add_argument("--force", action="store_true", help="delete the run that the output folder holds")
    parser.add_argument(
        "--decisions",
        type=Path,
        metavar="FILE",
        help="replay the measured choices of an earlier run (its decisions.json)",
    )
    parser.add_argument(
        "--energy",
        action="store_true",
        help="measure the energy of baseline and result by a power sensor (edgekit power list)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="with --energy: windows of 2 s, not max(10 s, 100 sensor periods)",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--quiet", action="store_true", help="print no progress")


def run(options: argparse.Namespace) -> int:
    """0 where every budget was met, 1 where one was missed and the best was kept."""
    budget = [f"budget.{word.strip()}" for word in (options.budget or "").split(",") if word.strip()]
    recipe = load_recipe(options.recipe, overrides=[*options.overrides, *budget])
    check_order(recipe)
    if options.decisions is not None and not options.decisions.is_file():
        raise BadInput(
            f"--decisions: there is no file '{options.decisions}'. Name the decisions.json of a run."
        )
    if options.quick and not options.energy:
        raise BadInput("compress: --quick is of the windows of --energy. Add --energy, or drop --quick.")
    folder = prepare(recipe, options.out, name=_name(options.recipe), force=options.force)

    from edgekit.pipeline import compress_recipe
    from edgekit.profile.energy_run import EnergyPlan

    tell = say_nothing if options.quiet else say_aside
    tell(f"output: {folder}")
    with show_progress("silent" if options.quiet else "auto"):
        result = compress_recipe(
            recipe,
            out=folder,
            force=options.force,
            decisions=options.decisions,
            progress=tell,
            energy=EnergyPlan(quick=options.quick) if options.energy else None,
        )
    _show(result, as_json=options.json)
    return 0 if result.met else 1


def _name(recipe: Path) -> str:
    path = recipe.resolve()
    return path.name if path.is_dir() else path.parent.name if path.name == "recipe.yaml" else path.stem


def _show(result: Any, *, as_json: bool) -> None:
    if as_json:
        say_json(result.report)
        return
    from rich.console import Console

    from edgekit.report import print_boards, print_table

    for part in result.boards.values() or [result]:
        print_table(part.report, Console())
        say(f"report: {part.folder / 'report.html'}", f"artefact: {part.artefact}")
    if len(result.boards) > 1:
        print_boards([part.report for part in result.boards.values()], Console())
        say(f"side by side: {result.folder / 'compare.html'}")
