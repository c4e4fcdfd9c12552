"""`edgekit data show|create RUN.yaml`: how the data of a run lie over its agents."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgekit.cli.console import say, say_json, table
from edgekit.errors import BadInput

EXAMPLE = "edgekit data show run.yaml --plot labels.html"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words that the verb takes."""
    parser.add_argument(
        "what",
        choices=["show", "create"],
        help="show: samples of each class; create: write each agent's share",
    )
    parser.add_argument("run", type=Path, help="a run file")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="change one value"
    )
    parser.add_argument("--seed", type=int, metavar="S", help="the seed (default: the run file's)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="show: draw the labels, to .html or .svg")
    parser.add_argument("--out", type=Path, metavar="DIR", help="create: the folder to write into")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Print or write the shares of the first cell of the run file."""
    from edgekit.runs.shares import share_out
    from edgekit.runs.study import load_study

    study = load_study(options.run, overrides=options.overrides)
    shared = share_out(study.cells[0].run, study.seed if options.seed is None else options.seed)
    if options.what == "create":
        return _create(shared, options)
    return _show(shared, options)


def _show(shared: Any, options: argparse.Namespace) -> int:
    if options.plot is not None:
        options.plot.write_text(_picture(shared, options.plot), encoding="utf-8")
    if options.json:
        say_json(shared.describe())
        return 0
    seen = shared.describe()
    names = seen["classes"] or []
    rows = [(row["agent"], row["samples"], *(row["labels"] or [])) for row in seen["agents"][:40]]
    table(["agent", "samples", *names], rows, title=seen["title"], numbers=["samples", *names])
    if len(seen["agents"]) > 40:
        say(f"... and {len(seen['agents']) - 40} more agents (--json lists all)")
    if seen["skew"] is not None:
        say(f"mean L1 distance of an agent's labels to those of all: {seen['skew']:.3f} (0 iid, below 2)")
    if options.plot is not None:
        say(f"plot: {options.plot}")
    return 0


def _create(shared: Any, options: argparse.Namespace) -> int:
    if options.out is None:
        raise BadInput("data create: it needs a folder to write into. Give --out DIR.")
    if options.out.exists() and any(options.out.iterdir()):
        raise BadInput(f"--out: '{options.out}' is not empty, and its files are kept. Name a new folder.")
    written = shared.write(options.out)
    _write_device_files(options.out, list(shared.shares))
    if options.json:
        say_json([str(path) for path in written])
    else:
        say(
            f"{len(written)} files in {options.out}, one an agent: copy each to its device, with the .yaml of its name"
        )
    return 0


def _write_device_files(folder: Path, agents: list[int]) -> None:
    """`agent-N.yaml` beside each share: what edgekit agent --config takes on the device that holds it."""
    from edgekit.yaml_lines import read_yaml, write_yaml

    text = (folder / "data.yaml").read_text(encoding="utf-8")
    how = read_yaml(text, source="data.yaml").value["data"]["npz"]
    for agent in agents:
        own = {"data": {"npz": {**how, "root": f"./agent-{agent}.npz"}}, "partition": agent}
        (folder / f"agent-{agent}.yaml").write_text(write_yaml(own), encoding="utf-8")


def _picture(shared: Any, path: Path) -> str:
    if path.suffix.lower() not in (".html", ".svg"):
        raise BadInput(f"--plot: '{path}' is neither HTML nor SVG. Name a file that ends in .html or .svg.")
    return str(shared.picture(page=path.suffix.lower() == ".html"))
