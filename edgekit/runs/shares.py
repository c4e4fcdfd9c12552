"""The shares of a run's agents: who holds which samples, shown, drawn, and written out for the devices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.decentralized.partition.shares import histograms, skew
from edgekit.errors import BadInput
from edgekit.runs.arrays import Arrays, load_arrays
from edgekit.runs.assemble import divide
from edgekit.runs.run_file import RunFile
from edgekit.yaml_lines import write_yaml


@dataclass(frozen=True)
class Shared:
    """The samples of a run, divided."""

    run: RunFile
    arrays: Arrays
    shares: dict[int, npt.NDArray[np.int64]]

    @property
    def counts(self) -> npt.NDArray[np.floating] | None:
        """Samples of each class [agents, classes]; None where there are no classes."""
        if self.arrays.labels is None:
            return None
        return histograms(self.arrays.labels, list(self.shares.values()), len(self.arrays.classes))

    def describe(self) -> dict[str, Any]:
        """Title, classes, skew and every agent's samples and labels as plain JSON types."""
        counts = self.counts
        return {
            "title": f"{self.run.data}, {type(self.run.partition).__name__.lower()}, {len(self.shares)} agents",
            "classes": list(self.arrays.classes) if counts is not None else None,
            "skew": None if counts is None else skew(counts),
            "agents": [
                {
                    "agent": agent,
                    "samples": len(share),
                    "labels": None if counts is None else counts[agent].astype(int).tolist(),
                }
                for agent, share in self.shares.items()
            ],
        }

    def picture(self, *, page: bool) -> str:
        """The labels over agents: an SVG, or a page of its own."""
        from edgekit.report.html import _render
        from edgekit.report.labels import labels_svg

        counts = self.counts
        if counts is None:
            raise BadInput("data: these have no class labels to draw. Look at the table instead.")
        svg = labels_svg(counts, self.arrays.classes)
        return _render("picture.html.j2", {"title": self.describe()["title"], "svg": svg, "page": page})

    def write(self, folder: Path) -> list[Path]:
        """`agent-N.npz` with each agent's training samples and the test samples, and `data.yaml`, which reads them."""
        folder.mkdir(parents=True, exist_ok=True)
        test = {"test_x": self.arrays.raw_test, "test_y": self.arrays.test_y.numpy()}
        if self.arrays.classes:
            test["classes"] = np.array(self.arrays.classes)
        written = []
        for agent, share in self.shares.items():
            path = folder / f"agent-{agent}.npz"
            part = {
                "train_x": self.arrays.train.x[share].numpy(),
                "train_y": self.arrays.train.y[share].numpy(),
            }
            np.savez_compressed(path, **part, **test)  # type: ignore[arg-type]
            written.append(path)
        (folder / "data.yaml").write_text(write_yaml({"data": {"npz": self._options()}}), encoding="utf-8")
        return written

    def _options(self) -> dict[str, Any]:
        """The options under which the data set `npz` reads a share back as it is here."""
        options: dict[str, Any] = {"root": "./agent-0.npz"}
        if self.arrays.dataset is not None:
            how = self.arrays.dataset.preprocessing
            options |= {
                "scale": how.scale,
                "mean": list(how.mean),
                "std": list(how.std),
                "layout": how.layout,
            }
        return options


def share_out(run: RunFile, seed: int) -> Shared:
    """Load and divide the data of a run."""
    arrays = load_arrays(run.data, run.data_options)
    return Shared(run, arrays, divide(run, arrays, seed))
