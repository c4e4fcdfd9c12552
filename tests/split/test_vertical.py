"""Features of each sample over several agents: the same training as in one process, and none of them leaves."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from torch import nn

from edgekit.errors import BadInput
from edgekit.runs.split_file import parse_split
from edgekit.runs.split_run import SplitPart, SplitRun
from edgekit.split.build import Split
from edgekit.split.network import Network
from edgekit.split.placement import Placement
from edgekit.split.segment import segments_of
from tests.split.networks import BATCH, batch, cross_entropy, gap, halves, inputs_of, make, train, whole

SGD = lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9)  # noqa: E731
ADAM = lambda parameters: torch.optim.Adam(parameters, lr=0.01)  # noqa: E731
PLAIN = lambda parameters: torch.optim.SGD(parameters, lr=0.05)  # noqa: E731
MODULES = ("low", "high", "head")
HOLDERS = ("west", "east")
AT_HUB = Placement(("west", "east", "hub"), HOLDERS, "hub")
SILENT = Placement(("west", "east", "hub"), HOLDERS, "teacher", labels_leave=True)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def vertical(name: str, placement: Placement) -> tuple[Split, nn.Module, tuple[int, ...]]:
    """A network whose branches are segments, an equal one that is whole, and the shape of a sample."""
    model, shape = make(name)
    network = Network(model, inputs_of(torch.zeros(1, *shape), halves(shape)))
    assignment = network.assignment_by_module(MODULES)
    return Split(network, assignment, placement, ("west",)), copy.deepcopy(model), shape


@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("name", ["two_branches", "two_attentions"])
@pytest.mark.parametrize(
    "placement",
    [
        AT_HUB,
        SILENT,
        Placement(("west", "east", "west"), HOLDERS, "west"),
        Placement(("west", "east", "hub"), HOLDERS, "east"),
        Placement(("west", "east", "hub"), HOLDERS, "east", labels_leave=True),
        Placement(("west", "hub", "hub"), HOLDERS, "hub", inputs_leave=True),
    ],
    ids=["hub", "silent labels", "head at a holder", "loss at a holder", "labels leave", "silent features"],
)
def test_one_micro_batch_gives_the_same_bits(placement, name, optimizer):
    made, model, shape = vertical(name, placement)
    assert made.check() == []
    _, losses, _ = train(made, shape, 4, optimizer, features=halves(shape))
    expected = whole(model, shape, [[0]] * 4, optimizer, features=halves(shape))
    assert losses == expected
    assert gap(made.network.model, model) == 0.0


@pytest.mark.parametrize("name", ["two_branches", "two_attentions"])
@pytest.mark.parametrize("placement", [AT_HUB, SILENT], ids=["hub", "silent labels"])
def test_micro_batches_give_the_same_to_rounding(placement, name):
    made, model, shape = vertical(name, placement)
    train(made, shape, 4, PLAIN, micro=4, features=halves(shape))
    whole(model, shape, [[0]] * 4, PLAIN, features=halves(shape))
    assert gap(made.network.model, model) < 1e-6


def test_labels_of_who_only_gives_are_those_of_the_step():
    made, _, shape = vertical("two_branches", SILENT)
    sent = []

    def see(sender, receiver, key, payload):
        if sender == "teacher":
            sent.append((receiver, key.what, payload))

    train(made, shape, 4, PLAIN, features=halves(shape), seen=see)
    assert sent == [("hub", "labels", batch(shape, 0, step)[1].numpy().tobytes()) for step in range(4)]


@pytest.mark.parametrize("name", ["two_branches", "two_attentions"])
def test_nothing_crosses_that_the_table_does_not_say_and_no_features_at_all(name):
    made, _, shape = vertical(name, AT_HUB)
    seen: dict[tuple, int] = {}
    payloads = []

    def see(sender, receiver, key, payload):
        seen[sender, receiver, key.what, key.name] = len(payload)
        payloads.append(payload)

    train(made, shape, 2, PLAIN, features=halves(shape), seen=see)
    expected = {(row.sender, row.receiver, row.what, row.name): BATCH * row.bytes for row in made.transfers()}
    assert seen == expected
    assert not {name for *_, name in seen} & {"left", "right", "labels"}
    for step in range(2):
        for features in inputs_of(batch(shape, 0, step)[0], halves(shape)).values():
            rows = features.reshape(-1, features.shape[-1])
            assert not any(row.numpy().tobytes() in payload for row in rows for payload in payloads)


def test_features_leave_only_where_that_is_permitted():
    made, _, _ = vertical("two_branches", Placement(("west", "hub", "hub"), HOLDERS, "hub"))
    with pytest.raises(BadInput, match="the input 'right' would leave east for hub"):
        made.check()


def test_an_operation_of_no_named_module_stays_with_what_it_takes_or_goes_to_who_uses_it():
    class Free(nn.Module):
        def __init__(self):
            super().__init__()
            self.low, self.high = nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 4)
            self.head = nn.Linear(8, 2)

        def forward(self, left, right):
            low, high = torch.relu(self.low(left * 2)), torch.relu(self.high(right))
            return self.head(torch.relu(torch.cat([low, high], 1))) + 1

    network = Network(Free(), {"left": torch.zeros(1, 4), "right": torch.zeros(1, 4)})
    names = [node.name for node in network.order]
    found = dict(zip(names, network.assignment_by_module(MODULES), strict=True))
    assert {name for name, segment in found.items() if segment == 0} == {"mul", "low_0", "low_1", "relu"}
    assert {name for name, segment in found.items() if segment == 1} == {"high", "relu_1"}
    inner = network.assignment_by_module(("low", "low.1", "high", "cat", "head"))
    assert dict(zip(names, inner, strict=True)) == {
        **{"mul": 0, "low_0": 0, "low_1": 1, "relu": 1, "high": 2, "relu_1": 2},
        **{"cat": 3, "relu_2": 3, "head": 4, "add": 4},
    }
    assert [segment.takes for segment in segments_of(network, inner)][3] == ("relu", "relu_1")


RUN = """
model: {vertical_net}:TwoCameras
data: {{fashion-mnist: {{train_limit: 300, test_limit: 64}}}}
steps: 4
batch: 32
optimizer: {{sgd: {{lr: 0.05, momentum: 0.9}}}}
evaluate_every: 2
split:
  inputs:
    left: {{holder: west, features: [0, 14]}}
    right: {{holder: east, features: [14, 28]}}
  segments: {{west: west, east: east, head: hub}}
  labels: hub
"""


@pytest.fixture
def text(request):
    net = request.config.rootpath / "examples" / "split" / "vertical_net.py"
    return RUN.format(vertical_net=net)


def test_a_run_file_trains_what_one_process_trains(text, tmp_path):
    run, document = parse_split(text)
    found = SplitRun(run, document, tmp_path)
    reference = SplitPart(run)
    model, arrays = reference.split.network.model, reference.arrays
    summary = found.finish()
    optimizer = SGD(model.parameters())
    for step in range(run.steps):
        x, y = arrays.train.take(reference.sampler.indices([0], [step])[0])
        cross_entropy(model(x[..., :14].contiguous(), x[..., 14:].contiguous()), y).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert gap(found.split.network.model, model) == 0.0
    model.eval()
    with torch.no_grad():
        x, y = arrays.test_x, arrays.test_y
        right = model(x[..., :14].contiguous(), x[..., 14:].contiguous()).argmax(1) == y
    assert summary["last"]["metric"] == pytest.approx(float(right.float().mean()))
    assert len(summary["last"]["distance_correlation"]) == 2  # of either holder its own
    assert {(row["from"], row["to"], row["what"]) for row in summary["leaves"]} == {
        ("west", "hub", "value"),
        ("east", "hub", "value"),
        ("hub", "west", "gradient"),
        ("hub", "east", "gradient"),
    }


@pytest.mark.parametrize(
    ("line", "becomes", "says"),
    [
        (
            "right: .*",
            "rigth: {holder: east, features: [14, 28]}",
            "11: inputs: the model takes no 'rigth'. Did",
        ),
        (
            "right: .*",
            "right: {holder: east, features: [13, 28]}",
            "11: inputs: 'right' and 'left' both have",
        ),
        (
            "right: .*",
            "right: {holder: east, features: [14, 29]}",
            "11: .* ends after the 28 features of axis",
        ),
        ("right: .*", "right: {holder: east, features: [14, 14]}", "11: .*features: .14, 14. has none"),
        ("right: .*", "right: east", "11: inputs.right is 'east', but its settings must be a mapping"),
        (
            "right: .*",
            "right: {holder: client, features: [14, 28]}",
            "9: .*'client' and clients have no place",
        ),
        ("    right: .*\n", "", "9: inputs: nobody holds the model's 'right'"),
        ("labels: hub", "labels: hub\n  axis: 3", "14: axis: a sample 1x28x28 has no axis 3. Give -3 to 2"),
        ("labels: hub", "labels: hub\n  clients: [one, two]", "9: .*'client' and clients have no place"),
        ("labels: hub", "labels: hub\n  cuts: [west]", "14: .*segments are named by their modules"),
        (
            "segments: .*",
            "segments: {west: west, eest: east, head: hub}",
            "12: .*no module 'eest'. Did you mean",
        ),
        ("segments: .*", "segments: {head: hub, west: west, east: east}", "12: .*'head' makes the result"),
        (
            "segments: .*",
            "segments: {west: west, west.layers: hub, head: hub}",
            "12: .*all operations of 'west'",
        ),
        ("inputs:\n.*\n.*", "inputs: hub", "9: inputs: the model takes 2 .left, right., one holder"),
        ("inputs:\n.*\n.*", "inputs: hub\n  axis: 1", "10: .*axis: one agent holds the inputs whole"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(text, line, becomes, says):
    with pytest.raises(BadInput, match=rf"^split.yaml:{says}"):
        SplitPart(parse_split(re.sub(line, becomes, text, count=1))[0])


def test_no_other_axis_than_the_last_is_needed_for_rows(text):
    run, _ = parse_split(text.replace("labels: hub", "labels: hub\n  axis: 1"))
    values = SplitPart(run).split.network.values
    assert values["left"].shape == values["right"].shape == (1, 14, 28)
