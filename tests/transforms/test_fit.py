"""The training loop: equal seeds give equal bits, a killed fit goes on to the same bits, bad input gets a
line.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from pruning_nets import Residual, batches, settled
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from edgekit.errors import BadInput
from edgekit.fit import Hooks, cross_entropy, make_fit, mean_squared_error
from edgekit.progress import Lines, Silent, eta, make_progress, show_progress
from edgekit.schedule import cosine_with_warmup


def loader(**settings):
    inputs, targets = (torch.cat(part) for part in zip(*batches(6), strict=True))
    return DataLoader(TensorDataset(inputs, targets), batch_size=8, shuffle=True, **settings)


class Noisy(nn.Module):
    """A network whose dropout draws random numbers in every step."""

    def __init__(self):
        super().__init__()
        self.net, self.dropout = Residual(), nn.Dropout(0.3)

    def forward(self, x):
        return self.net(self.dropout(x))


def trained(data, hooks, *, seed=0):
    return make_fit(cross_entropy)(settled(Noisy, seed=seed), data, hooks)


def same(one, other):
    return all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_equal_seeds_give_equal_bits_and_others_do_not(optimizer):
    runs = [
        trained(loader(), Hooks(epochs=2, optimizer=optimizer, seed_for_epoch=lambda e, s=seed: s + e))
        for seed in (5, 5, 6)
    ]
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])
    assert not runs[0].training


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("own_stream", [False, True])
def test_a_killed_fit_goes_on_to_the_same_bits(tmp_path, optimizer, own_stream):
    settings = {"epochs": 4, "optimizer": optimizer, "seed_for_epoch": lambda epoch: 100 + epoch}

    def data():
        return loader(generator=torch.Generator().manual_seed(3) if own_stream else None)

    whole = trained(data(), Hooks(**settings))

    def kill(epoch, model):
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(data(), Hooks(**settings, work=tmp_path, on_epoch=[kill]))
    said, epochs = [], []
    hooks = Hooks(
        **settings, work=tmp_path, say=said.append, on_epoch=[lambda epoch, model: epochs.append(epoch)]
    )
    again = trained(data(), hooks)
    assert epochs == [2, 3]
    assert said == ["train: going on at epoch 2 of 4"]
    assert same(whole, again)


def test_a_finished_fit_is_not_trained_again_and_another_start_is(tmp_path):
    first = trained(loader(), Hooks(epochs=2, work=tmp_path))
    hooks = Hooks(epochs=2, work=tmp_path)
    assert same(first, trained(loader(), hooks))
    assert hooks.first_epoch == 2
    other = Hooks(epochs=2, work=tmp_path)
    trained(loader(), other, seed=1)
    assert other.first_epoch == 0


def test_extra_parameters_survive_the_kill(tmp_path):
    def run(work, kill):
        extra = nn.Parameter(torch.ones(3))
        hooks = Hooks(epochs=3, work=work, extra_parameters=[extra])
        model = settled(Residual)

        def pull(gradient):
            extra.grad = extra.detach() * 2 + gradient.mean()

        def listen(module, inputs, output):
            output.register_hook(pull)

        def stop(epoch, model):
            if epoch == kill:
                raise KeyboardInterrupt

        model.register_forward_hook(listen)
        hooks.on_epoch.append(stop)
        try:
            make_fit(cross_entropy)(model, loader(), hooks)
        except KeyboardInterrupt:
            return None
        return extra.detach()

    whole = run(None, kill=-1)
    assert run(tmp_path, kill=1) is None
    again = run(tmp_path, kill=-1)
    assert torch.equal(whole, again)
    assert (whole < 0.99).all()


def test_the_loss_falls():
    data = batches(4, size=16)
    model = settled(Residual)
    losses = []
    for epochs in (0, 30):
        net = make_fit(cross_entropy)(copy.deepcopy(model), data, Hooks(epochs=epochs, lr=5e-3))
        losses.append(sum(cross_entropy(net.eval()(x), y).item() for x, y in data))
    assert losses[1] < 0.3 * losses[0]


def test_bfloat16_trains_and_leaves_float_weights():
    model = make_fit(cross_entropy, amp=True)(settled(Residual), batches(), Hooks(epochs=1))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not same(model, settled(Residual))


def test_a_loop_of_the_user_gets_seeds_callbacks_and_extra_steps():
    class Sampled(list):
        def set_epoch(self, epoch):
            self.epoch = epoch

    data, drawn, ended = Sampled(batches(2)), [], []
    extra = nn.Parameter(torch.ones(1))
    hooks = Hooks(
        epochs=2,
        lr=0.1,
        extra_parameters=[extra],
        seed_for_epoch=lambda epoch: 40 + epoch,
        on_epoch=[lambda epoch, model: ended.append((epoch, data.epoch))],
    )
    for _ in hooks.epochs_iter(data):
        drawn.append((torch.rand(1).item(), np.random.rand()))
        for _ in data:
            extra.grad = torch.ones(1)
            hooks.step()
    assert ended == [(0, 0), (1, 1)]
    torch.manual_seed(41)
    np.random.seed(41)
    assert drawn[1] == (torch.rand(1).item(), np.random.rand())
    assert extra.item() == pytest.approx(1 - 4 * 0.1, abs=1e-4)  # AdamW under a constant gradient: lr a step
    assert extra.grad is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "ended without a batch"),
        ([torch.randn(2, 3, 8, 8)], "no targets"),
        (
            [(torch.full((2, 3, 8, 8), torch.nan), torch.tensor([0, 1]))],
            r"epoch 0, batch 0: the loss is nan. Lower lr \(now 0.001\)",
        ),
    ],
)
def test_bad_data_gets_one_line(data, message):
    with pytest.raises(BadInput, match=message) as caught:
        make_fit(cross_entropy)(settled(Residual), data, Hooks(epochs=1))
    assert "\n" not in str(caught.value)


def test_bad_weights_and_optimizers_get_one_line():
    model = settled(Residual)
    with pytest.raises(BadInput, match=r"'rmsprop' is unknown. Choose adamw or sgd"):
        make_fit(cross_entropy)(model, batches(), Hooks(epochs=1, optimizer="rmsprop"))
    with torch.no_grad():
        model.fc.weight[0, 0] = torch.nan
    with pytest.raises(BadInput, match=r"weights 'fc.weight' hold NaN"):
        make_fit(cross_entropy)(model, batches(), Hooks(epochs=1))


def test_losses_are_their_closed_forms():
    logits, target = torch.randn(4, 5), torch.tensor([0, 4, 2, 2], dtype=torch.int32)
    by_hand = -(logits.exp() / logits.exp().sum(1, keepdim=True)).log()[torch.arange(4), target.long()].mean()
    assert cross_entropy(logits, target).item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert mean_squared_error(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0])).item() == 2.5


def test_the_schedule_rises_then_falls_to_its_floor():
    assert cosine_with_warmup(0.0) == pytest.approx(0.1)
    assert cosine_with_warmup(0.5) == pytest.approx(0.01 + 0.99 / 2)
    assert cosine_with_warmup(1.0) == pytest.approx(0.01)
    values = [cosine_with_warmup(step / 100) for step in range(5, 101)]
    assert values == sorted(values, reverse=True)


def test_progress_lines_carry_percent_eta_and_note():
    now, said = [0.0], []
    lines = Lines(said.append, period=5, clock=lambda: now[0])
    lines.start("train", 4)
    for done, at in ((0.5, 2.0), (1, 10.0), (2, 12.0), (4, 40.0)):
        now[0] = at
        lines.advance(done, "loss 1.0")
    assert said == ["train:  25%, 30 s left, loss 1.0", "train: 100%, 0 s left, loss 1.0"]
    assert [eta(0, 5), eta(0.5, 200), eta(0.1, 3600)] == ["?", "3 min 20 s", "9 h 00 min"]


def test_progress_is_what_was_asked_for():
    with show_progress("silent"):
        assert isinstance(make_progress(), Silent)
    with show_progress("lines"):
        assert isinstance(make_progress(), Lines)
    with pytest.raises(BadInput, match=r"Choose auto"), show_progress("loud"):
        pass
