"""Times of a network on a device, kept in a file: what is read is what was written, and only for that network."""

from __future__ import annotations

import json

import pytest
import torch

from edgekit.errors import BadInput
from edgekit.split.network import Network
from edgekit.split.plan import measure
from edgekit.split.times import Times, read_times, signature
from tests.split.networks import make


def network(name="resnet8"):
    model, shape = make(name)
    return Network(model, torch.zeros(1, *shape))


@pytest.fixture(scope="module")
def known():
    return network()


@pytest.fixture
def times(known):
    return Times(signature(known), 1, "a board", tuple(measure(known, repeats=1)))


def test_what_is_written_is_read(known, times, tmp_path):
    times.write(tmp_path / "cam.json")
    found = read_times(tmp_path / "cam.json")
    assert found == times
    assert found.fit(known, 1, "cam") == times.seconds
    assert len(times.seconds) == len(known.order)


def test_the_signature_is_that_of_the_work_and_not_of_the_weights(known):
    assert signature(known) == signature(network())
    with torch.no_grad():
        for parameter in (other := network()).model.parameters():
            parameter.add_(1.0)
    assert signature(other) == signature(known)
    layers = [torch.nn.Sequential(torch.nn.Conv2d(1, 4, size, padding=size // 2)) for size in (3, 5)]
    three, five = (signature(Network(layer, torch.zeros(1, 1, 8, 8))) for layer in layers)
    assert three != five  # the same activations, another kernel


def test_times_of_another_network_or_batch_are_refused(known, times):
    with pytest.raises(BadInput, match="another network"):
        times.fit(network("ds_cnn"), 1, "cam")
    with pytest.raises(BadInput, match="--batch 1"):
        times.fit(known, 8, "cam")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seconds": [0.1, -1]}, "-1"),
        ({"seconds": ["1"]}, "'1'"),
        ({"seconds": [float("nan")]}, "nan"),
        ({"seconds": 3.0, "batch": True}, "batch is True"),
        ({"batch": 0}, "batch is 0"),
        ({"secnds": []}, "Did you mean 'seconds'"),
    ],
)
def test_a_file_that_holds_no_times_is_refused(times, tmp_path, change, said):
    path = tmp_path / "cam.json"
    times.write(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(BadInput, match=said) as caught:
        read_times(path)
    assert str(path) in str(caught.value)
    assert "--times-out" in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "\udcff"])
def test_text_that_is_no_json_object_is_refused(tmp_path, text):
    path = tmp_path / "cam.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(BadInput, match="--times-out"):
        read_times(path)
