"""Heads and coupled groups of networks whose ties are known by construction."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from edgekit.analysis.coupling import coupled_groups
from edgekit.analysis.heads import output_layers
from edgekit.analysis.layers import find_layer, matching
from edgekit.errors import BadInput

sys.path.append(str(Path(__file__).parents[1] / "transforms"))
from pruning_nets import (
    Chain,
    ConcatAdd,
    Dense,
    Depthwise,
    Grouped,
    Grouping,
    InputSkip,
    Residual,
    Split,
    Transposed,
    settled,
)

EXAMPLE = {"x": torch.randn(1, 3, 8, 8)}


def groups_of(make):
    return {group.root: group for group in coupled_groups(settled(make), EXAMPLE)}


@pytest.mark.parametrize(("make", "heads"), [(Chain, ("fc2",)), (Residual, ("fc",)), (Transposed, ("last",))])
def test_heads_are_found_from_the_graph(make, heads):
    assert output_layers(settled(make), EXAMPLE) == heads


class TwoHeads(nn.Module):
    """A soft-max of one head, a sum of two convolutions as the other, and a BatchNorm on the way."""

    def __init__(self):
        super().__init__()
        self.body, self.classes = nn.Conv2d(3, 8, 1), nn.Linear(8, 4)
        self.left, self.right, self.norm = nn.Conv2d(8, 2, 1), nn.Conv2d(8, 2, 1), nn.BatchNorm2d(2)

    def forward(self, x):
        x = torch.relu(self.body(x))
        return {
            "class": self.classes(x.mean((2, 3))).softmax(1),
            "map": [self.norm(self.left(x) + self.right(x))],
        }


def test_nested_outputs_and_preserving_operations_are_seen_through():
    model = settled(TwoHeads)
    assert output_layers(model, EXAMPLE) == ("classes", "left", "right")
    blocked = {layer for group in coupled_groups(model, EXAMPLE) if group.blocked for layer in group.layers()}
    assert {"classes", "left", "right", "norm"} <= blocked
    assert "body" not in blocked


def test_frozen_parameters_and_modes_are_as_before():
    model = settled(Residual).train()
    model.stem.requires_grad_(False)
    assert len(coupled_groups(model, EXAMPLE)) == len(groups_of(Residual))
    assert not any(parameter.requires_grad for parameter in model.stem.parameters())
    assert all(parameter.requires_grad for parameter in model.fc.parameters())
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_residual_ties_both_writers_and_all_readers():
    group = next(group for group in groups_of(Residual).values() if "stem.0" in group.layers())
    assert {(member.layer, member.side) for member in group.members} == {
        ("stem.0", "out"),
        ("stem.1", "both"),
        ("b.0", "out"),
        ("b.1", "both"),
        ("a.0", "in"),
        ("down.0", "in"),
    }
    assert group.blocks == 1


def test_a_depthwise_convolution_is_one_entry_a_channel():
    group = next(group for group in groups_of(Depthwise).values() if "stem.0" in group.layers())
    assert ("dw.0", "both") in {(member.layer, member.side) for member in group.members}


def test_concatenation_places_channels_behind_each_other():
    groups = groups_of(Dense)
    places = {
        root: next(m.channels.tolist() for m in groups[root].members if m.layer == "last.0")
        for root in ("stem.0", "a.0", "b.0")
    }
    assert places == {"stem.0": list(range(16)), "a.0": list(range(16, 24)), "b.0": list(range(24, 32))}


@pytest.mark.parametrize(
    ("make", "layer", "blocks"),
    [
        (Grouped, "stem.0", 4),
        (Grouped, "grouped.0", 4),
        (Grouping, "stem", 4),
        (ConcatAdd, "c.0", 2),
        (Split, "stem.0", 2),
    ],
)
def test_equal_parts_are_known(make, layer, blocks):
    group = next(group for group in groups_of(make).values() if layer in group.layers())
    assert group.blocks == blocks


def test_what_is_tied_to_an_input_says_so():
    groups = groups_of(InputSkip)
    assert groups["same"].blocked == "is tied to a model input"
    assert groups["grow.0"].blocked == ""
    reader = next(member for member in groups["grow.0"].members if member.layer == "last.0")
    assert reader.channels.tolist() == list(range(3, 19))


def test_layers_are_found_by_path_and_glob():
    model = settled(Residual)
    assert find_layer(model, "down.1", where="here") is model.down[1]
    with pytest.raises(BadInput, match=r"here: the model has no layer 'dwn.1'. Did you mean 'down.1'"):
        find_layer(model, "dwn.1", where="here")
    assert matching(["a", "a.0", "b.0"], ("a",), where="here") == {"a", "a.0"}
    assert matching(["a.0", "b.0"], ("*.0",), where="here") == {"a.0", "b.0"}
    with pytest.raises(BadInput, match="'c\\*' matches no layer"):
        matching(["a.0"], ("c*",), where="here")
