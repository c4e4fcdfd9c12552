"""Distance correlation against what is known of it."""

from __future__ import annotations

import torch

from edgekit.split.message import Key
from edgekit.split.post import Post
from edgekit.split.privacy import distance_correlation, noisy, nopeek


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_it_is_one_for_what_only_turns_moves_and_scales():
    x = draw(200, 6)
    turn, _ = torch.linalg.qr(draw(6, 6, seed=1))
    assert float(distance_correlation(x, 3 * x @ turn + 1)) > 0.9999


def test_it_is_small_for_independent_samples_and_grows_with_what_they_share():
    x, other = draw(400, 2), draw(400, 2, seed=1)
    found = [
        float(distance_correlation(x, share * x + (1 - share) * other)) for share in (0.0, 0.3, 0.7, 1.0)
    ]
    assert found[0] < 0.2
    assert found == sorted(found)


def test_it_sees_what_is_not_linear():
    x = draw(400, 1)
    assert abs(float(torch.corrcoef(torch.cat([x, x.square()], 1).T)[0, 1])) < 0.25
    assert float(distance_correlation(x, x.square())) > 0.4


def test_the_penalty_pushes_it_down():
    x = draw(64, 8).float()
    weight = torch.nn.Parameter(draw(8, 8, seed=2).float())
    optimizer = torch.optim.Adam([weight], lr=0.05)
    first = float(distance_correlation(x, torch.relu(x @ weight)).detach())
    for _ in range(60):
        loss = nopeek(1.0, {"x": x}, {"y": torch.relu(x @ weight)})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(distance_correlation(x, torch.relu(x @ weight)).detach()) < first - 0.05


def test_noise_is_the_same_for_the_same_key_and_as_large_as_asked():
    value = draw(4000)
    one = noisy(value, 0.5, "cam", 3)
    assert torch.equal(one, noisy(value, 0.5, "cam", 3))
    assert not torch.equal(one, noisy(value, 0.5, "cam", 4))
    assert abs(float((one - value).std() / value.std()) - 0.5) < 0.05


def test_only_what_is_computed_from_the_data_gets_noise():
    post = Post(noise=0.5, noisy={"first"})
    value = draw(1000).float()
    kept = post.unpack(Key("value", "later"), post.pack(Key("value", "later"), value), (1000,), torch.float32)
    gradient = post.pack(Key("gradient", "first"), value)
    noised = post.unpack(
        Key("value", "first"), post.pack(Key("value", "first"), value), (1000,), torch.float32
    )
    assert torch.equal(kept, value)
    assert gradient == value.numpy().tobytes()
    assert 0.4 < float((noised - value).std() / value.std()) < 0.6
