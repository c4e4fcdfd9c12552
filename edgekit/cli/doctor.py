"""`edgekit doctor`: what is installed, what this machine can do, what is missing; `--install` makes what pip cannot."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from edgekit.cli.console import say, say_json, table

EXAMPLE = "edgekit doctor --install jetson-check"
INSTALLS = ("fpga", "hls4ml", "jetson-check")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words that the verb takes."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--install",
        choices=INSTALLS,
        help="fpga: FINN; hls4ml: a second proof of FPGA files, both in environments of their own; "
        "jetson-check: NVIDIA's parser, which needs no GPU",
    )


def run(options: argparse.Namespace) -> int:
    """0: an absent extra is no fault of the machine."""
    from edgekit import doctor

    if options.install:
        _installer(options.install)(say)
        return 0
    facts, extras, boards = doctor.machine(), doctor.extras(), _board_tools()
    if options.json:
        say_json({"machine": facts, "extras": [extra.to_json() for extra in extras], "board_tools": boards})
        return 0
    table(["machine", ""], facts.items())
    table(["extra", "state", "packages"], [(extra.name, extra.state, extra.packages()) for extra in extras])
    table(["tools of boards", ""], boards.items())
    for extra in extras:
        if extra.missing:
            say(f"{extra.name}: pip install 'edgekit[{extra.name}]'")
    return 0


def _installer(name: str) -> Callable[[Callable[[str], None]], object]:
    if name == "fpga":
        from targets.fpga.finn.environment import FINN

        return FINN.install
    if name == "hls4ml":
        from targets.fpga.hls4ml.environment import HLS4ML

        return HLS4ML.install
    from targets.jetson.install import install as install_parser

    return install_parser


def _board_tools() -> dict[str, str]:
    from targets.fpga.finn.environment import FINN
    from targets.fpga.hls4ml.environment import HLS4ML
    from targets.jetson.install import state

    made = {"jetson": state()}
    for tool in (FINN, HLS4ML):
        found = tool.find()
        told = (
            f"{tool.package} {found.release} in {found.folder}"
            if found
            else f"{tool.probe()}: {tool.command}"
        )
        made[tool.word] = told
    return made
