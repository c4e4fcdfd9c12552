"""The graph of a network along its operations, with the bytes at every cut and the segments of a plan."""

from __future__ import annotations

from typing import Any

from edgekit.report.curves import COLORS
from edgekit.report.plots import MUTED, _figure, _svg

NAMED = 30  # cuts whose names fit


def cuts_svg(network: Any, seconds: list[float], plan: Any) -> str:
    """Bars: kB a sample that cross each cut; shaded: which agent computes what; marked: where the plan cuts."""
    cuts = network.cuts
    with _figure(8.4, 3.8, "cuts") as (figure, axes):
        agents = list(dict.fromkeys(plan.agents))
        for stage in plan.stages:
            color = COLORS[agents.index(stage.agent) % len(COLORS)]
            label = f"{stage.agent}: {1000 * stage.seconds:.2f} ms"
            axes.axvspan(
                stage.start - 0.5, stage.stop - 0.5, color=color, alpha=0.15, linewidth=0, label=label
            )
        chosen = set(plan.cuts)
        axes.bar(
            [cut.position for cut in cuts],
            [cut.bytes / 1000 for cut in cuts],
            color=["#D55E00" if cut.name in chosen else "#8A8F98" for cut in cuts],
            width=0.6,
        )
        if len(cuts) <= NAMED:
            axes.set_xticks(
                [cut.position for cut in cuts], [cut.name for cut in cuts], rotation=90, fontsize=7
            )
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda value, _: "")
        axes.set_xlim(-0.5, len(network.order) - 0.5)
        axes.set_ylabel("kB a sample at the cut")
        axes.set_xlabel("cut after", color=MUTED)
        axes.legend(frameon=False, fontsize=8.5)
        figure.tight_layout()
        return _svg(figure, "bytes at every cut, and the plan's segments")
