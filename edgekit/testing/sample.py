"""What the kits work on: a small residual network, a job that it can learn, its ONNX graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.job import Data, Job
from edgekit.signature import Signature, TensorSpec

if TYPE_CHECKING:
    from torch import nn


def sample_network() -> nn.Module:
    """A residual network for [n, 3, 16, 16] with 4 outputs and 32 channels, seeded, its BatchNorm settled."""
    import torch
    from torch import nn

    class Residual(nn.Module):
        """A stem, a residual branch, a head."""

        def __init__(self) -> None:
            super().__init__()
            first = nn.Conv2d(3, 32, 3, padding=1, bias=False)
            second, third = (nn.Conv2d(32, 32, 3, padding=1) for _ in range(2))
            self.stem = nn.Sequential(first, nn.BatchNorm2d(32), nn.ReLU())
            self.branch = nn.Sequential(second, nn.ReLU(), third)
            self.head = nn.Linear(32, 4)

        def forward(self, x: Any) -> Any:
            x = self.stem(x)
            return self.head(torch.relu(x + self.branch(x)).mean((2, 3)))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Residual()
        for _ in range(20):
            model(torch.randn(16, 3, 16, 16))
    return model.eval()


def sample_job(work: Path) -> Job:
    """A job for `sample_network`: 4 classes told by the mean, so that there is something to learn."""
    import torch
    from torch.nn.functional import cross_entropy

    from edgekit.fit import make_fit
    from edgekit.metric import accuracy
    from edgekit.target import find_board, find_target

    chance = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 4
    inputs = torch.randn(64, 3, 16, 16, generator=chance) + labels.reshape(-1, 1, 1, 1) / 2
    batches = [(inputs[start : start + 16], labels[start : start + 16]) for start in range(0, 64, 16)]
    board = find_board("this-machine")
    signature = Signature(
        (TensorSpec("input", "float32", ("N", 3, 16, 16)),), (TensorSpec("output", "float32", ("N", 4)),)
    )
    data = Data(batches, batches, [pair[0] for pair in batches], "sample", "0")
    return Job(
        signature=signature,
        example={"input": inputs[:1]},
        metric=accuracy,
        loss=cross_entropy,
        fit=make_fit(cross_entropy),
        data=data,
        work=work,
        caps=find_target(board.target).caps(board),
        original=sample_network(),
        step="0 conformance",
    )


def sample_graph() -> Any:
    """`sample_network` as a fused fp32 onnx.ModelProto."""
    import torch

    from edgekit.export.to_onnx import to_onnx

    return to_onnx(sample_network(), {"input": torch.zeros(1, 3, 16, 16)})
