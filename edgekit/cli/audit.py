"""`edgekit audit FILE.onnx|DIR`: what really runs in integers."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from edgekit.cli.artefacts import artefact
from edgekit.cli.console import findings_table, say, say_json, table
from edgekit.inspection import audit
from edgekit.target import Audit, find_board, target_of

EXAMPLE = "edgekit audit model.onnx"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words that the verb takes."""
    parser.add_argument(
        "path", type=Path, metavar="FILE.onnx|DIR", help="any tool's ONNX file, or an output folder"
    )
    parser.add_argument(
        "--board",
        metavar="NAME",
        help="as this board's runtime would run it (default: this machine's, or the folder's)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """0 whatever was found: an audit that could be made is the asked-for result."""
    file, target = artefact(options.path, verb="audit")
    if options.board is not None:
        target = target_of(find_board(options.board)).name
    seen = audit(file, target=target)
    if options.json:
        say_json(seen.to_json())
        return 0
    say(f"{file}: {verdict(seen)}")
    table(["node that runs", "count"], Counter(seen.nodes).most_common(), numbers=["count"])
    places = Counter(seen.placement.values())
    table(["nodes of the file that run", "count"], places.most_common(), numbers=["count"])
    findings_table(seen.findings)
    return 0


def verdict(seen: Audit) -> str:
    """The audit in a sentence."""
    total = seen.integer_compute_nodes + seen.float_compute_nodes
    if not seen.integer_compute_nodes:
        return f"all {total} compute nodes run in float."
    if not seen.float_compute_nodes:
        stray = f", but {seen.stray_qdq} stray Q/DQ nodes run between them" if seen.stray_qdq else ""
        return f"all {total} compute nodes run in integers{stray}."
    return (
        f"{seen.integer_compute_nodes} of {total} compute nodes run in integers, "
        f"{seen.float_compute_nodes} in float, with {seen.stray_qdq} stray Q/DQ nodes."
    )
