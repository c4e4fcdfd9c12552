"""Widths by a table: a board of steps keeps channels that cost nothing, a smooth one keeps what the ratio says."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from edgekit.errors import BadInput
from edgekit.fit import cross_entropy, make_fit
from edgekit.job import Data, Job
from edgekit.predict.bench import Sample
from edgekit.predict.graph import read_kernels
from edgekit.predict.kernel import Kernel
from edgekit.predict.sketch import Sketch, rough_quantization
from edgekit.predict.table import Table, facts_of
from edgekit.signature import Signature, TensorSpec
from edgekit.target import find_board, find_target
from edgekit.transforms.prune import Prune

BOARD, TARGET = find_board("this-machine"), find_target("cpu")
CAPS = TARGET.caps(BOARD)
WIDTHS = (4, 8, 11, 12, 14, 15, 16, 17, 18, 20, 24, 28, 31, 32, 33, 36, 40, 44, 48)


class Net(nn.Module):
    """Two convolutions of 3x3 with 48 filters on 8x8, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 48, 3, padding=1), nn.Conv2d(48, 48, 3, padding=1)
        self.head = nn.Linear(48, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.second(torch.relu(self.first(x))))
        return self.head(x.mean((2, 3)))


def job() -> Job:
    batch = (torch.randn(4, 3, 8, 8), torch.arange(4))
    return Job(
        signature=Signature((TensorSpec("input", "float32", ("N", 3, 8, 8)),), ()),
        example={"input": batch[0][:1]},
        data=Data(train=[batch]),
        loss=cross_entropy,
        fit=make_fit(cross_entropy),
        caps=CAPS,
        step="0-prune",
    )


def resized(kernel: Kernel, inputs: int, outputs: int) -> Kernel:
    """The same convolution (channels last) or product between other widths."""

    def last(tensor, size):
        return tensor._replace(shape=(*tensor.shape[:-1], size))

    operands = list(kernel.inputs)
    operands[0] = last(operands[0], inputs)
    operands[3] = operands[3]._replace(shape=(outputs, inputs, *operands[3].shape[2:]))
    if kernel.operator == "QGemm":
        operands[3] = operands[3]._replace(shape=(inputs, outputs))
    return replace(kernel, inputs=tuple(operands), outputs=(last(kernel.outputs[0], outputs),))


def table_of(folder: Path, time: Callable[[Kernel, int, int], float]) -> str:
    """A table of every int8 layer of the net at many widths, each of the time that the test says."""
    sketch = Sketch((3, 8, 8))
    x = sketch.conv(sketch.conv("input", 48, 3), 48, 3)
    graph = sketch.model(sketch.linear(sketch.mean(x), 5))
    path = TARGET.export(graph, rough_quantization(graph, CAPS), BOARD, folder / "net.onnx").path
    first, second, head = [kernel for _, kernel in read_kernels(path, TARGET) if kernel.macs]
    pairs = [(first, 3, out) for out in WIDTHS]
    pairs += [(second, inputs, out) for inputs in WIDTHS for out in WIDTHS]
    pairs += [(head, inputs, 5) for inputs in WIDTHS]
    samples = [Sample(resized(k, a, b), 1, 0, time(k, a, b)) for k, a, b in pairs]
    facts = {**facts_of(BOARD, threads=1, seed=0), "idle": 0.01, "reference_seconds": 2e-4}
    table = Table(facts, samples)
    table.fit()
    table.save(folder / "table.json")
    return str(folder / "table.json")


def steps(kernel: Kernel, inputs: int, outputs: int) -> float:
    """A board whose registers hold 16 channels: what they are not filled with costs as much."""
    return 1e-3 * math.ceil(inputs / 16) * math.ceil(outputs / 16)


def smooth(kernel: Kernel, inputs: int, outputs: int) -> float:
    """A board that takes one channel at a time."""
    return 1e-5 * inputs * outputs


@pytest.mark.parametrize("ratio", [0.4, 0.6, 0.7])
def test_a_board_of_steps_keeps_full_registers(ratio, tmp_path):
    pruned, _ = Prune(ratio=ratio, table=table_of(tmp_path, steps)).apply(Net(), job())
    wanted = 16 * math.ceil((1 - ratio) * 48 / 16)
    assert (pruned.first.out_channels, pruned.second.out_channels) == (wanted, wanted)


def test_a_smooth_board_keeps_what_the_ratio_says(tmp_path):
    pruned, _ = Prune(ratio=0.625, table=table_of(tmp_path, smooth)).apply(Net(), job())
    assert (pruned.first.out_channels, pruned.second.out_channels) == (18, 18)
    by_multiple, _ = Prune(ratio=0.625).apply(Net(), job())
    assert by_multiple.first.out_channels % CAPS.channel_multiple == 0


def test_rounds_end_at_the_widths_of_the_table(tmp_path):
    pruned, change = Prune(ratio=0.7, rounds=3, table=table_of(tmp_path, steps)).apply(Net(), job())
    assert pruned.second.out_channels == 16
    assert {"first: 48 -> 16 channels", "second: 48 -> 16 channels"} <= set(change.notes)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"table": "absent.json"}, "no file 'absent.json'"),
        ({"table": "t.json", "multiple": 8}, "table and multiple"),
        ({"table": "t.json", "global_ranking": True}, "table and global_ranking"),
        ({"precision": "int9"}, "Did you mean 'int8'"),
    ],
)
def test_what_cannot_work_is_one_line(settings, words):
    with pytest.raises(BadInput, match=words):
        Prune(ratio=0.5, **settings).apply(Net(), job())


def test_a_table_that_lacks_a_kernel_is_refused_by_name(tmp_path):
    path = table_of(tmp_path, smooth)
    with pytest.raises(BadInput, match=r"does not know .*float32"):
        Prune(ratio=0.5, table=path, precision="fp32").apply(Net(), job())
