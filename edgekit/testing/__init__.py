"""The conformance kits: what everything of a kind must hold, edgekit's own and yours.

Each kit returns rows (check, ok, detail). In a test of your own:

    from edgekit.testing import check_transform
    assert all(row.ok for row in check_transform(MyTransform(strength=0.5)))
"""

from __future__ import annotations

from edgekit.testing.algorithm import check_algorithm
from edgekit.testing.codec import check_codec
from edgekit.testing.dataset import check_dataset
from edgekit.testing.model import check_model
from edgekit.testing.partition import check_partition
from edgekit.testing.row import Row
from edgekit.testing.sample import sample_graph, sample_job, sample_network
from edgekit.testing.slot import check_slot
from edgekit.testing.target import check_target
from edgekit.testing.topology import check_topology
from edgekit.testing.transform import check_transform

__all__ = [
    "Row",
    "check_algorithm",
    "check_codec",
    "check_dataset",
    "check_model",
    "check_partition",
    "check_slot",
    "check_target",
    "check_topology",
    "check_transform",
    "sample_graph",
    "sample_job",
    "sample_network",
]
