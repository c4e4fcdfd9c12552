"""The conformance kits: what every transform, target, model and data set must hold, edgekit's and yours.

Each kit returns rows (check, ok, detail). In a test of your own:

    from edgekit.testing import check_transform
    assert all(row.ok for row in check_transform(MyTransform(strength=0.5)))
"""

from __future__ import annotations

from edgekit.testing.dataset import check_dataset
from edgekit.testing.model import check_model
from edgekit.testing.row import Row
from edgekit.testing.sample import sample_graph, sample_job, sample_network
from edgekit.testing.target import check_target
from edgekit.testing.transform import check_transform

__all__ = [
    "Row",
    "check_dataset",
    "check_model",
    "check_target",
    "check_transform",
    "sample_graph",
    "sample_job",
    "sample_network",
]
