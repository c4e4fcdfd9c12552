"""`edgekit topologies [show NAME --agents N]`: the graphs that agents can speak over, and the facts of one."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgekit import registry
from edgekit.cli.console import say, say_json, table
from edgekit.cli.listing import entries
from edgekit.errors import BadInput

EXAMPLE = "edgekit topologies show d-cliques --agents 100 --settings '{size: 10}' --plot cliques.svg"
STAND_IN = "There is no data set here, so agent i stands for one of class i mod 10, with a proxy to match."


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words that the verb takes."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    verbs = parser.add_subparsers(dest="action", metavar="show NAME --agents N")
    show = verbs.add_parser("show", help="the facts of one topology", allow_abbrev=False)
    show.add_argument("name", help="a topology, package.module:Name, or ./file.py:Name")
    show.add_argument("--agents", type=int, required=True, metavar="N", help="how many agents")
    show.add_argument(
        "--settings", default="{}", metavar="YAML", help="settings of the topology, such as '{degree: 6}'"
    )
    show.add_argument("--seed", type=int, default=0, metavar="S", help="of what is drawn at random (0)")
    show.add_argument("--weights", metavar="RULE", help="mixing weights; the topology's own by default")
    show.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
    show.add_argument("--plot", type=Path, metavar="FILE", help="draw the graph as SVG or PNG")


def run(options: argparse.Namespace) -> int:
    """Print the list, or the facts of one topology."""
    if options.action == "show":
        return _show(options)
    rows = list(entries(registry.topologies))
    if options.json:
        say_json(rows)
        return 0
    table(
        ["topology", "what it is", "settings"],
        [(row["name"], row["summary"], _joined(row["settings"])) for row in rows],
    )
    return 0


def _show(options: argparse.Namespace) -> int:
    from edgekit.decentralized.facts import facts, stand_in
    from edgekit.decentralized.mixing import rule

    if options.agents < 1:
        raise BadInput(f"--agents: {options.agents} is too few. Give 1 or more.")
    if options.weights is not None:
        rule(options.weights)
    topology, given = _topology(options)
    roster = stand_in(options.agents)
    found = asdict(facts(topology, roster, options.seed, options.weights))
    note = STAND_IN if topology.facts else None
    if options.plot is not None:
        from edgekit.report.topology import draw

        draw(topology, roster, options.seed, options.plot)
    if options.json:
        head = {"topology": options.name, "settings": given, "seed": options.seed, "weights": options.weights}
        say_json({**head, "stand_in": note, **found})
        return 0
    title = f"{options.name}, {options.agents} agents, seed {options.seed}"
    table(["fact", "value"], list(_rows(found).items()), title=title)
    say(*filter(None, (note, f"drawn: {options.plot}" if options.plot else None)))
    return 0


def _topology(options: argparse.Namespace) -> tuple[Any, Any]:
    """(the topology, the settings it was given)."""
    from edgekit.decentralized.topology import Topology
    from edgekit.runs.named import make
    from edgekit.yaml_lines import Document, parse_value

    registry.topologies.get(options.name)  # an unknown name is not the fault of --settings
    given = parse_value(options.settings, source="--settings")
    made = make(
        registry.topologies,
        {options.name: given},
        document=Document("--settings"),
        path=("topology",),
        base=Topology,
    )
    return made, given or {}


def _rows(found: dict[str, Any]) -> dict[str, str]:
    degree, speed, rounds = found["degree"], found["second_eigenvalue"], found["rounds_to_consensus"]
    unknown = "not computed for so many agents"
    return {
        "edges": f"{_number(found['edges'])} ({found['edge_fraction']:.3%} of a complete graph)",
        "degree": f"{degree['min']} to {degree['max']}, mean {degree['mean']:.4g}",
        "messages a round": f"{_number(found['messages_per_round'])} "
        f"({found['message_fraction']:.3%} of a complete graph)",
        "left of the distance to the mean after a round, ||W - J||": unknown
        if speed is None
        else f"{speed:.5g}",
        "rounds to consensus (1e-6 left)": f"{rounds:,}" if rounds else unknown if speed is None else "never",
        "W": ", ".join(_matrix(found)),
        "connected": "yes" if found["connected"] else "NO",
        "counted over": _span(found),
    }


def _matrix(found: dict[str, Any]) -> list[str]:
    return [
        "symmetric" if found["symmetric"] else "not symmetric",
        "doubly stochastic" if found["doubly_stochastic"] else "not doubly stochastic",
    ]


def _span(found: dict[str, Any]) -> str:
    if found["period"] is None:
        return f"{found['rounds']} rounds, each drawn anew: mean edges and messages, extreme degrees"
    if found["period"] == 1:
        return "the graph, which stays"
    return f"the {found['period']} rounds of a period: edges and degrees of all together, messages of one"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.4g}"


def _joined(pairs: dict[str, str]) -> str:
    return ", ".join(f"{key}: {text}" for key, text in pairs.items()) or "-"
