"""Pruning: families by criteria, the multiple, rankings by hand, gradients by finite differences, replay."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from pruning_nets import (
    FAMILIES,
    Chain,
    ConcatAdd,
    Dense,
    Depthwise,
    Grouped,
    Grouping,
    InputSkip,
    Residual,
    Transposed,
    batches,
    job_for,
    settled,
)
from torch import nn

from edgekit.analysis.coupling import coupled_groups
from edgekit.errors import BadInput
from edgekit.fit import cross_entropy, mean_squared_error
from edgekit.target import Caps, Grid
from edgekit.transforms.importance import CRITERIA, Context
from edgekit.transforms.prune import Prune


def family_job(make):
    image = make is Transposed
    return job_for(batches(2, image=image), loss=mean_squared_error if image else cross_entropy)


@pytest.mark.parametrize("by", list(CRITERIA))
@pytest.mark.parametrize("make", FAMILIES, ids=lambda make: make.__name__)
def test_every_family_by_every_criterion_is_narrower_runs_and_replays(make, by):
    if by == "batchnorm" and make is Transposed:
        pytest.skip("this network has no normalization")
    fresh, job = settled(make), family_job(make)
    pruned, change = Prune(ratio=0.5, by=by).apply(copy.deepcopy(fresh), job)
    assert change.after.params < 0.75 * change.before.params
    assert change.after.macs < 0.75 * change.before.macs
    again = Prune.replay(settled(make, seed=9), json.loads(json.dumps(change.plan)))
    again.load_state_dict(pruned.state_dict(), strict=True)
    x = torch.randn(3, 3, 8, 8)
    assert torch.equal(again.eval()(x), pruned.eval()(x))
    assert pruned(x).shape == fresh(x).shape
    assert {type(module).__module__.split(".")[0] for module in pruned.modules()} <= {"torch", "pruning_nets"}
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in pruned.modules())


@pytest.mark.parametrize("make", FAMILIES, ids=lambda make: make.__name__)
def test_removing_channels_that_are_zero_changes_nothing(make):
    """Units whose filters, scales and shifts are zero leave without a trace in the output."""
    if make is Grouping:
        pytest.skip("GroupNorm's statistics see removed channels even where they are zero")
    model, job = settled(make), family_job(make)
    groups = [group for group in coupled_groups(model, job.example) if not group.blocked]
    with torch.no_grad():
        for group in groups:
            units = torch.arange(group.width).reshape(group.blocks, -1)[:, ::2].flatten().tolist()
            silence(model, group, set(units))
    x = torch.randn(4, 3, 8, 8)
    wanted = model(x)
    pruned, change = Prune(ratio=0.5, by="l1").apply(copy.deepcopy(model), job)
    assert change.after.params < change.before.params
    assert torch.allclose(pruned.eval()(x), wanted, atol=1e-5)


def silence(model, group, units):
    for member in group.members:
        if member.side == "in":
            continue
        layer = model.get_submodule(member.layer)
        rows = [c for c, u in zip(member.channels.tolist(), member.units.tolist(), strict=True) if u in units]
        if isinstance(layer, nn.ConvTranspose2d):
            layer.weight[:, rows] = 0
        else:
            layer.weight[rows] = 0
        for name in ("bias", "running_mean"):
            if getattr(layer, name, None) is not None:
                getattr(layer, name)[rows] = 0


def test_the_plan_names_indices_and_the_kept_weights_are_the_old_ones():
    fresh = settled(Chain)
    pruned, change = Prune(ratio=0.5, by="l2", exclude=("conv2", "fc1")).apply(
        copy.deepcopy(fresh), job_for()
    )
    norms = fresh.conv1[0].weight.flatten(1).norm(dim=1)
    kept = sorted(norms.argsort(descending=True)[:8].tolist())
    assert change.plan["keep"] == {
        "conv1.0": {"out": kept},
        "conv1.1": {"both": kept},
        "conv2.0": {"in": kept},
    }
    assert torch.equal(pruned.conv1[0].weight, fresh.conv1[0].weight[kept])
    assert torch.equal(pruned.conv2[0].weight, fresh.conv2[0].weight[:, kept])


def test_a_flattened_channel_takes_its_whole_map_along():
    fresh = settled(Chain)
    _, change = Prune(ratio=0.5, exclude=("conv1", "fc1")).apply(copy.deepcopy(fresh), job_for())
    kept = change.plan["keep"]["conv2.0"]["out"]
    assert change.plan["keep"]["fc1"]["in"] == [
        16 * channel + place for channel in kept for place in range(16)
    ]


@pytest.mark.parametrize(("by", "norm"), [("l1", 1), ("l2", 2)])
def test_magnitudes_are_the_mean_of_the_scaled_filter_norms_of_all_tied_layers(by, norm):
    model = settled(Residual)
    group = next(group for group in coupled_groups(model, job_for().example) if "stem.0" in group.layers())
    score = CRITERIA[by](model, (group,), Context(torch.Generator()))[0]
    parts = [layer[0].weight.flatten(1).norm(p=norm, dim=1) for layer in (model.stem, model.b)]
    assert torch.allclose(score, sum(part / part.mean() for part in parts) / 2, rtol=1e-5)


def test_batchnorm_ranks_by_the_scales():
    model = settled(Residual)
    group = next(group for group in coupled_groups(model, job_for().example) if group.root == "a.0")
    score = CRITERIA["batchnorm"](model, (group,), Context(torch.Generator()))[0]
    assert score.argsort().tolist() == model.a[1].weight.abs().argsort().tolist()


@pytest.mark.parametrize("make", [Chain, Residual, Depthwise, Grouped, Dense], ids=lambda make: make.__name__)
def test_taylor_is_the_squared_derivative_by_finite_differences(make):
    model, data = settled(make).double(), [(x.double(), y) for x, y in batches(1)]
    groups = tuple(g for g in coupled_groups(model, {"x": data[0][0][:1]}) if not g.blocked)
    scores = CRITERIA["taylor"](model, groups, Context(torch.Generator(), cross_entropy, tuple(data)))
    for group, score in zip(groups, scores, strict=True):
        for unit in (0, group.width - 1):
            slope = (
                loss_with(model, group, unit, 1e-6, data[0]) - loss_with(model, group, unit, -1e-6, data[0])
            ) / 2e-6
            assert score[unit].item() == pytest.approx(slope**2, rel=1e-4, abs=1e-12)


def loss_with(model, group, unit, change, batch):
    """The loss with the unit's value scaled by 1 + change at every layer that reads it, by input hooks."""
    handles = []
    for member in group.members:
        if member.side != "in":
            continue
        channels = member.channels[member.units == unit].tolist()

        def scale(module, inputs, channels=channels):
            value = inputs[0].clone()
            value[:, channels] *= 1 + change
            return (value,)

        handles.append(model.get_submodule(member.layer).register_forward_pre_hook(scale))
    with torch.no_grad():
        value = cross_entropy(model(batch[0]), batch[1]).item()
    for handle in handles:
        handle.remove()
    return value


def caps(multiple):
    return Caps(activations=Grid(), weights=Grid(), channel_multiple=multiple)


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("make", FAMILIES, ids=lambda make: make.__name__)
def test_widths_are_multiples_of_the_boards(make, ratio):
    model, job = settled(make), family_job(make)
    job.caps = caps(4)
    pruned, _ = Prune(ratio=ratio, optional=True).apply(copy.deepcopy(model), job)
    for name, layer in pruned.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            before = model.get_submodule(name)
            now, was = (getattr(x, "out_channels", None) or x.out_features for x in (layer, before))
            assert now == was or now % 4 == 0, name


def test_an_unreachable_ratio_names_layer_channels_multiple_and_remedy():
    job = job_for()
    job.caps = caps(8)
    with pytest.raises(BadInput) as caught:
        Prune(ratio=0.97).apply(settled(Depthwise), job)
    assert str(caught.value) == (
        "prune: dw.0 (Conv2d groups=16) is tied to stem.0; ratio 0.97 would leave 0 of 16 channels, below "
        "this board's multiple of 8. Lower ratio to 0.5 or exclude 'dw.*'."
    )
    pruned, _ = Prune(ratio=0.5).apply(settled(Depthwise), job)
    assert pruned.dw[0].groups == 8


def test_a_layer_as_narrow_as_the_multiple_is_left_alone_and_nothing_removed_is_an_error():
    job = job_for()
    job.caps = caps(32)
    with pytest.raises(BadInput, match=r"nothing can be removed .*no more than the least width of 32"):
        Prune(ratio=0.5).apply(settled(Residual), job)
    _, change = Prune(ratio=0.5, optional=True).apply(settled(Residual), job)
    assert change.plan is None
    assert change.before == change.after


def test_heads_are_protected_without_being_named():
    pruned, _ = Prune(ratio=0.5).apply(settled(Transposed), family_job(Transposed))
    assert pruned.last.out_channels == 3
    assert (pruned.down.out_channels, pruned.up.in_channels, pruned.up.out_channels) == (8, 8, 8)


def test_layers_tied_to_the_model_input_are_left_alone():
    pruned, change = Prune(ratio=0.5).apply(settled(InputSkip), job_for())
    assert pruned.same.out_channels == 3
    assert pruned.grow[0].out_channels == 8
    assert pruned.last[0].in_channels == 3 + 8
    assert any("same: left at 3 channels, it is tied to a model input" in note for note in change.notes)


def test_side_by_side_layers_lose_equal_parts():
    pruned, _ = Prune(ratio=0.5).apply(settled(ConcatAdd), job_for())
    assert (pruned.a[0].out_channels, pruned.b[0].out_channels, pruned.c[0].out_channels) == (4, 4, 8)


def test_rounds_reach_the_ratio_of_the_original_width_and_train_between():
    calls = []

    def fit(model, data, hooks):
        calls.append((hooks.epochs, model.stem[0].out_channels))
        return model

    pruned, change = Prune(ratio=0.5, rounds=4, epochs_each=2).apply(
        settled(Residual), job_for(batches(), fit=fit)
    )
    assert calls == [(2, 14), (2, 12), (2, 10), (2, 8)]
    again = Prune.replay(settled(Residual, seed=3), change.plan)
    again.load_state_dict(pruned.state_dict(), strict=True)
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(again.eval()(x), pruned.eval()(x))


def test_rounds_without_training_keep_the_original_weights_where_the_plan_says():
    fresh = settled(Residual)
    pruned, change = Prune(ratio=0.5, rounds=3).apply(copy.deepcopy(fresh), job_for())
    again = Prune.replay(copy.deepcopy(fresh), change.plan)
    assert all(
        torch.equal(a, b)
        for a, b in zip(again.state_dict().values(), pruned.state_dict().values(), strict=True)
    )


def test_global_ranking_removes_the_ratio_over_all_groups_and_spares_what_matters():
    model = settled(Residual)
    with torch.no_grad():
        model.a[1].weight[:12] = 1e-6
    pruned, _ = Prune(ratio=0.25, by="batchnorm", global_ranking=True).apply(model, job_for())
    removed = (
        (16 - pruned.stem[0].out_channels)
        + (16 - pruned.a[0].out_channels)
        + (32 - pruned.down[0].out_channels)
    )
    assert removed == 16
    assert pruned.a[0].out_channels <= 4


def test_random_is_seeded_by_the_job():
    plans = [
        Prune(ratio=0.5, by="random").apply(settled(Residual), job_for(seed=seed))[1].plan
        for seed in (1, 1, 2)
    ]
    assert plans[0] == plans[1] != plans[2]


def test_taylor_without_training_data_is_refused():
    with pytest.raises(BadInput, match="no training data"):
        Prune(ratio=0.5, by="taylor").apply(settled(Chain), job_for())
    with pytest.raises(BadInput, match="needs targets"):
        Prune(ratio=0.5, by="taylor").apply(settled(Chain), job_for([torch.randn(2, 3, 8, 8)]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ratio": 1.0}, "between 0 and 1"),
        ({"ratio": 0.5, "by": "l3"}, "'l3' is unknown. Known: .*l1, l2"),
        ({"ratio": 0.5, "rounds": 0}, "rounds is 0"),
        ({"ratio": 0.5, "exclude": ("con1",)}, "Did you mean 'conv1"),
    ],
)
def test_bad_settings_get_one_line(fields, message):
    with pytest.raises(BadInput, match=message):
        Prune(**fields).apply(settled(Chain), job_for(batches()))


class Hardcoded(nn.Module):
    """A width written into the forward pass, which no tracer sees."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.fc = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 1), nn.Linear(16, 5)

    def forward(self, x):
        x = self.second(self.first(x))
        return self.fc(x.mean((2, 3)) * torch.ones(16))


def test_a_model_that_does_not_run_after_the_cut_names_the_group_and_stays_whole():
    model = settled(Hardcoded)
    with pytest.raises(
        BadInput, match=r"without 8 of 16 channels of second the model does not run .*Exclude 'second'"
    ):
        Prune(ratio=0.5).apply(model, job_for())
    assert model.second.out_channels == 16
    pruned, _ = Prune(ratio=0.5, exclude=("second",)).apply(model, job_for())
    assert pruned.first.out_channels == 8


def test_no_parameter_changes_its_requires_grad():
    model = settled(Residual)
    model.stem.requires_grad_(False)
    pruned, _ = Prune(ratio=0.5).apply(model, job_for())
    assert not any(parameter.requires_grad for parameter in pruned.stem.parameters())
    assert all(parameter.requires_grad for parameter in pruned.fc.parameters())


def test_groups_are_balanced_in_grouped_convolution_and_group_norm():
    pruned, _ = Prune(ratio=0.5).apply(settled(Grouped), job_for())
    assert (pruned.grouped[0].in_channels, pruned.grouped[0].out_channels, pruned.grouped[0].groups) == (
        8,
        16,
        4,
    )
    pruned, _ = Prune(ratio=0.5).apply(settled(Grouping), job_for())
    assert (pruned.norm1.num_channels, pruned.norm1.num_groups, pruned.norm2.num_groups) == (8, 4, 2)
