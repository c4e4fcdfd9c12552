"""Distillation: the gradients given by hooks are those of the whole loss, adapters learn, nothing is left
behind.
"""

from __future__ import annotations

import copy

import pytest
import torch
from pruning_nets import Chain, Residual, Transposed, batches, job_for, settled
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from edgekit.errors import BadInput
from edgekit.fit import cross_entropy, mean_squared_error
from edgekit.transforms.distil import Distil
from edgekit.transforms.lesson import Lesson, make_adapters, softened
from edgekit.transforms.prune import Prune


def gradients(model):
    return [parameter.grad.clone() for parameter in model.parameters()]


def both_ways(student, teacher, batch, by_hand, **settings):
    """(gradients through the hooks, gradients of the whole loss by autograd)."""
    with Lesson(student, teacher, **settings):
        cross_entropy(student(batch[0]), batch[1]).backward()
    through = gradients(student)
    student.zero_grad()
    by_hand().backward()
    return through, gradients(student)


@pytest.mark.parametrize(("temperature", "weight"), [(1.0, 0.5), (4.0, 0.9), (8.0, 1.0), (3.0, 0.0)])
def test_the_teachers_gradient_is_that_of_the_whole_loss(temperature, weight):
    student, teacher, batch = settled(Residual).double(), settled(Residual, seed=1).double(), batches(1)[0]
    batch = (batch[0].double(), batch[1])

    def whole():
        z, t = student(batch[0]), teacher(batch[0]).detach()
        kl = F.kl_div(F.log_softmax(z / temperature, 1), F.softmax(t / temperature, 1), reduction="batchmean")
        return (1 - weight) * cross_entropy(z, batch[1]) + weight * temperature**2 * kl

    # the term is computed in float32 whatever the student's precision
    through, direct = both_ways(student, teacher, batch, whole, temperature=temperature, weight=weight)
    for ours, wanted in zip(through, direct, strict=True):
        assert torch.allclose(ours, wanted, atol=1e-6, rtol=1e-5)


def test_hints_add_their_exact_gradient_and_adapters_get_theirs():
    teacher, batch = settled(Residual, seed=1), batches(1)[0]
    student = Prune(ratio=0.5).apply(settled(Residual), job_for())[0]
    pairs = {"stem": "stem", "down.0": "down.0"}
    adapters = make_adapters(student, teacher, pairs, job_for())
    assert {name: tuple(adapter.weight.shape) for name, adapter in adapters.items()} == {
        "stem": (16, 8, 1, 1),
        "down.0": (32, 16, 1, 1),
    }
    twins = {name: copy.deepcopy(adapter) for name, adapter in adapters.items()}

    def whole():
        seen, features, handles = {}, {}, []
        for name in pairs:
            handles.append(
                student.get_submodule(name).register_forward_hook(
                    lambda m, i, out, name=name: seen.setdefault(name, out.clone())
                )
            )
            handles.append(
                teacher.get_submodule(name).register_forward_hook(
                    lambda m, i, out, name=name: features.update({name: out.detach().clone()})
                )
            )
        z, t = student(batch[0]), teacher(batch[0]).detach()
        for handle in handles:
            handle.remove()
        hints = sum(F.mse_loss(twins[name](seen[name]), features[name]) for name in pairs)
        return 0.5 * cross_entropy(z, batch[1]) + 0.5 * softened(z, t, 4.0) + 0.3 * hints

    through, direct = both_ways(
        student, teacher, batch, whole, pairs=pairs, adapters=adapters, hint_weight=0.3
    )
    for ours, wanted in zip(through, direct, strict=True):
        assert torch.allclose(ours, wanted, atol=1e-6, rtol=1e-4)
    for name in pairs:
        assert torch.allclose(adapters[name].weight.grad, twins[name].weight.grad, atol=1e-6, rtol=1e-4)


def test_two_passes_before_one_backward_keep_their_own_answers():
    student, teacher, (first, second) = settled(Residual), settled(Residual, seed=1), batches(2)
    with Lesson(student, teacher, weight=1.0, pairs={"stem": "stem"}):
        (cross_entropy(student(first[0]), first[1]) + cross_entropy(student(second[0]), second[1])).backward()
    together = gradients(student)
    student.zero_grad()
    with Lesson(student, teacher, weight=1.0, pairs={"stem": "stem"}):
        for x, y in (first, second):
            cross_entropy(student(x), y).backward()
    for one, other in zip(together, gradients(student), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_the_student_comes_to_answer_as_the_teacher_does_and_carries_nothing_home():
    data, teacher = batches(4), settled(Residual, seed=1)
    student = Prune(ratio=0.5).apply(settled(Residual), job_for())[0]
    before = sum(softened(student(x), teacher(x), 4.0).item() for x, _ in data)
    job = job_for(data, original=teacher)
    student, change = Distil(epochs=30, weight=1.0, lr=5e-3, hints=("stem", "down")).apply(student, job)
    after = sum(softened(student.eval()(x), teacher(x), 4.0).item() for x, _ in data)
    assert after < 0.3 * before
    assert change.before == change.after
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in student.modules())
    assert not any(parameter.grad is not None for parameter in teacher.parameters())


def test_adapters_learn():
    data, teacher = batches(3), settled(Residual, seed=1)
    student = Prune(ratio=0.5).apply(settled(Residual), job_for())[0]
    kept = []

    def fit(model, data, hooks):
        kept.append([parameter.detach().clone() for parameter in hooks.extra_parameters])
        from edgekit.fit import make_fit

        model = make_fit(cross_entropy)(model, data, hooks)
        kept.append([parameter.detach().clone() for parameter in hooks.extra_parameters])
        return model

    Distil(epochs=2, hints={"stem": "stem"}).apply(student, job_for(data, original=teacher, fit=fit))
    assert [value.shape for value in kept[0]] == [(16, 8, 1, 1), (16,)]
    assert all(not torch.equal(one, other) for one, other in zip(*kept, strict=True))


def test_values_match_regression_outputs():
    data, teacher = batches(3, image=True), settled(Transposed, seed=1)
    student = settled(Transposed)
    before = sum(F.mse_loss(student(x), teacher(x)).item() for x, _ in data)
    job = job_for(data, loss=mean_squared_error, original=teacher)
    student, _ = Distil(epochs=20, weight=1.0, match=r"values", lr=1e-2).apply(student, job)
    assert sum(F.mse_loss(student(x), teacher(x)).item() for x, _ in data) < 0.3 * before


def test_evaluation_asks_no_teacher():
    class Forbidden(nn.Module):
        def forward(self, x):
            raise AssertionError("asked")

    student = settled(Residual)
    with Lesson(student, Forbidden()), torch.no_grad():
        student(batches(1)[0][0])


def test_a_teacher_may_be_a_reference_with_weights(tmp_path, monkeypatch):
    teacher, data = settled(Residual, seed=1), batches(2)
    save_file(teacher.state_dict(), tmp_path / "teacher.safetensors")
    torch.save(teacher.state_dict(), tmp_path / "teacher.pt")
    from edgekit import registry

    monkeypatch.setitem(registry.models._registered, "a-net", Residual)
    results = [
        Distil(epochs=1, teacher=reference).apply(settled(Residual), job_for(data))[0](data[0][0])
        for reference in (
            teacher,
            {"model": "a-net", "weights": str(tmp_path / "teacher.safetensors")},
            {"model": "a-net", "weights": str(tmp_path / "teacher.pt")},
        )
    ]
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hints": ("stam",)}, "no layer 'stam'. Did you mean 'stem'"),
        ({"hints": {"stem": "stam"}}, r"hints \(teacher\): the model has no layer 'stam'"),
        ({"hints": {"stem": "fc"}}, "all but the channels must agree"),
        ({"weight": 1.5}, "Give a number from 0 to 1"),
        ({"temperature": 0.0}, "positive number"),
        ({"match": "features"}, "Choose logits or values"),
        ({"epochs": 0}, "epochs is 0"),
        ({"teacher": "resnet8"}, "names no trained model"),
        ({"teacher": {"model": "resnet8"}}, "both model and weights"),
        ({"teacher": {"model": "resnet8", "weights": "absent.pt"}}, "no weights file"),
    ],
)
def test_bad_settings_get_one_line(fields, message):
    with pytest.raises(BadInput, match=message):
        Distil(**{"epochs": 1, **fields}).apply(
            settled(Residual), job_for(batches(), original=settled(Residual))
        )


def test_without_an_original_or_a_backward_pass_it_says_so():
    with pytest.raises(BadInput, match=r"no original model"):
        Distil(epochs=1).apply(settled(Chain), job_for(batches()))
    with pytest.raises(BadInput, match=r"the teacher taught nothing"):
        Distil(epochs=1).apply(
            settled(Chain), job_for(batches(), original=settled(Chain), fit=lambda m, d, h: m)
        )
