"""The pictures of a report that need the data or the graph of a run: labels over agents, who speaks with whom."""

from __future__ import annotations

from pathlib import Path

from edgekit.decentralized.facts import facts
from edgekit.decentralized.partition.shares import histograms, load, skew
from edgekit.decentralized.roster import Roster
from edgekit.report.labels import labels_svg
from edgekit.report.run_html import Picture
from edgekit.report.topology import topology_svg
from edgekit.runs.assemble import divide
from edgekit.runs.run_file import RunFile
from edgekit.runs.single import PARTITION
from edgekit.runs.study import Study
from edgekit.runs.task import cached_arrays

MOST_GRAPHS, MOST_AGENTS = 4, 200  # that a page draws


def pictures(study: Study, folder: Path) -> list[Picture]:
    """Those of the first run that lies in a study's folder."""
    return [*_labels(study, folder), *_graphs(study)]


def _graphs(study: Study) -> list[Picture]:
    """Each different topology of the cells, as far as they are few and small."""
    found: dict[str, Picture] = {}
    for cell in study.cells:
        run = cell.run
        if len(found) == MOST_GRAPHS or run.agents > MOST_AGENTS or set(run.topology.facts) - {"histograms"}:
            continue
        arrays = cached_arrays(run.data, run.data_options)
        counts = None
        if arrays.labels is not None:
            shares = list(divide(run, arrays, study.seed).values())
            counts = histograms(arrays.labels, shares, len(arrays.classes))
        roster = Roster(tuple(range(run.agents)), counts)
        svg = topology_svg(run.topology, roster, study.seed)
        found.setdefault(
            repr(run.topology),
            Picture(f"Who speaks with whom: {cell.name}", svg, _mixes(run, roster, study.seed)),
        )
    return list(found.values())


def _mixes(run: RunFile, roster: Roster, seed: int) -> str:
    seen = facts(run.topology, roster, seed, run.weights)
    needed = "never" if seen.rounds_to_consensus is None else f"{seen.rounds_to_consensus:,} rounds"
    return (
        f"{seen.edges:,.6g} edges, {seen.edge_fraction:.2%} of the complete graph's; "
        f"{seen.messages_per_round:,.6g} messages a round, {seen.message_fraction:.2%}; to consensus (1e-6): {needed}."
    )


def _labels(study: Study, folder: Path) -> list[Picture]:
    run = study.cells[0].run
    arrays = cached_arrays(run.data, run.data_options)
    place = next(iter(sorted(folder.rglob(PARTITION))), None)
    if arrays.labels is None or place is None:
        return []
    counts = histograms(arrays.labels, load(place), len(arrays.classes))
    note = f"Training samples of each class at each agent; mean L1 distance to the global labels {skew(counts):.2f}."
    return [
        Picture(
            "Labels over agents",
            labels_svg(counts, arrays.classes, [str(i) for i in range(len(counts))]),
            note,
        )
    ]
