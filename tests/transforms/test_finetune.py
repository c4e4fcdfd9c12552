"""Fine-tuning: it trains, through any loop, with or without a teacher, and one batch is enough for its dry
run.
"""

from __future__ import annotations

import copy

import pytest
import torch
from pruning_nets import Residual, batches, job_for, settled

from edgekit.errors import BadInput
from edgekit.fit import cross_entropy
from edgekit.transforms.distil import Distil
from edgekit.transforms.finetune import Finetune


def loss_of(model, data):
    return sum(cross_entropy(model.eval()(x), y).item() for x, y in data)


def test_the_loss_falls_and_the_structure_stays():
    data, model = batches(4), settled(Residual)
    before = loss_of(model, data)
    model, change = Finetune(epochs=20, lr=5e-3).apply(model, job_for(data))
    assert loss_of(model, data) < 0.5 * before
    assert change.before == change.after
    assert change.plan is None


def test_it_may_run_in_the_users_own_loop():
    seen = []

    def fit(model, data, hooks):
        optimizer = torch.optim.SGD(model.parameters(), lr=hooks.lr)
        for epoch in hooks.epochs_iter(data):
            for x, y in data:
                optimizer.zero_grad()
                cross_entropy(model(x), y).backward()
                optimizer.step()
                hooks.step()
            seen.append(epoch)
        return model

    data, model = batches(2), settled(Residual).train()
    before = copy.deepcopy(model.state_dict())
    model, _ = Finetune(epochs=3, lr=0.01).apply(model, job_for(data, fit=fit))
    assert seen == [0, 1, 2]
    assert not torch.equal(before["fc.weight"], model.fc.weight)


def test_a_loop_that_forgets_the_step_is_told():
    def fit(model, data, hooks):
        for _ in hooks.epochs_iter(data):
            pass
        return model

    with pytest.raises(BadInput, match=r"does not call hooks\.step\(\)"):
        Finetune(epochs=1).apply(settled(Residual), job_for(batches(), fit=fit))


def test_the_dry_run_is_one_epoch_of_one_batch():
    steps = []
    job = job_for(batches(5)).rehearsal()
    inner = job.fit
    job.fit = lambda model, data, hooks: (
        hooks.after_step.append(lambda: steps.append(1)),
        inner(model, data, hooks),
    )[1]
    Finetune(epochs=50).apply(settled(Residual), job)
    assert len(steps) == 1


def test_with_a_teacher_it_is_distillation():
    data, teacher = batches(3), settled(Residual, seed=7)
    results = [
        step.apply(settled(Residual), job_for(data, original=teacher))[0]
        for step in (
            Finetune(epochs=2, teacher="original", weight=0.7),
            Distil(epochs=2, weight=0.7),
            Distil(epochs=2, weight=0.2),
        )
    ]
    outputs = [model(data[0][0]) for model in results]
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_without_data_or_epochs_it_is_refused():
    with pytest.raises(BadInput, match="there is no training data"):
        Finetune(epochs=1).apply(settled(Residual), job_for())
    with pytest.raises(BadInput, match="epochs is 0"):
        Finetune(epochs=0).apply(settled(Residual), job_for(batches()))


def test_its_settings_are_plain_json():
    import json

    step = Finetune(epochs=1, teacher=settled(Residual))
    assert json.loads(json.dumps(step.settings()))["teacher"].startswith("weights ")
