"""Every run file of the examples states its claim and source, and each of its cells runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edgekit.runs.assemble import assemble
from edgekit.runs.study import load_study
from edgekit.runs.task import cached_arrays

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CLAIMS = sorted((EXAMPLES / "claims").glob("*.yaml"))
SMALL = ("evaluate={agents: 2, samples: 20}", "rounds=2")


def test_every_claim_asked_for_is_there():
    wanted = ("ngc", "d_cliques", "dacfl", "batch_norm", "clumping", "ngo", "moshpit", "d_psgd")
    assert {path.stem for path in CLAIMS} >= set(wanted)


@pytest.mark.parametrize("path", CLAIMS, ids=lambda path: path.stem)
def test_a_claim_says_what_is_claimed_by_whom_and_its_cells_run(path):
    study = load_study(path, overrides=SMALL)
    assert study.claim
    assert study.source
    assert study.seeds >= 3
    for cell in study.cells:
        arrays = cached_arrays(cell.run.data, cell.run.data_options)
        made = assemble(cell.run, 0, arrays=arrays, gradients="loop")
        for _ in range(2):
            made.engine.round()
        assert torch.isfinite(made.engine.models).all(), cell.name
