"""Order, normalization, augmentation and split of the loaders, against independent computations."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from edgekit.data.dataset import Dataset, subset
from edgekit.data.loader import ArrayLoader, flip_crop, normalize
from edgekit.errors import BadInput
from edgekit.signature import Preprocessing

RGB = Preprocessing(layout="NCHW", scale=1 / 255, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))


def make(train: int = 40, test: int = 12, **changes) -> Dataset:
    generator = np.random.default_rng(0)
    values = {
        "name": "tiny",
        "train_x": generator.integers(0, 256, (train, 3, 8, 8), np.uint8),
        "train_y": np.arange(train) % 4,
        "test_x": generator.integers(0, 256, (test, 3, 8, 8), np.uint8),
        "test_y": np.arange(test) % 4,
        "classes": tuple("abcd"),
        "preprocessing": RGB,
        **changes,
    }
    return Dataset(**values)


def ids(loader: ArrayLoader) -> list[int]:
    return [int(value) for batch in loader for value in batch.flatten()]


def counting(count: int, **options) -> ArrayLoader:
    return ArrayLoader(np.arange(count, dtype=np.float32)[:, None], **options)


def test_normalization_is_the_signatures_formula_per_channel():
    x = make().train_x
    expected = np.stack([(x[:, c] / 255 - RGB.mean[c]) / RGB.std[c] for c in range(3)], axis=1)
    np.testing.assert_allclose(normalize(x, RGB), expected, atol=1e-6)
    assert normalize(x, RGB).dtype == np.float32


def test_batches_are_float_inputs_and_int64_targets():
    data = make().loaders(batch=16)
    x, y = next(iter(data.validation))
    assert (x.dtype, y.dtype, x.shape) == (torch.float32, torch.int64, (12, 3, 8, 8))
    np.testing.assert_array_equal(x.numpy(), normalize(make().test_x, RGB))


def test_an_epoch_is_a_permutation_that_depends_on_seed_and_epoch_alone():
    loader, other = counting(50, batch=8, shuffle=True, seed=3), counting(50, batch=8, shuffle=True, seed=3)
    loader.set_epoch(2)
    first = ids(loader)
    assert ids(loader) == first
    loader.set_epoch(0)
    assert ids(loader) != first
    other.set_epoch(2)
    assert ids(other) == first
    assert sorted(first) == list(range(50))
    assert ids(counting(50, batch=8, shuffle=True, seed=4)) != ids(
        counting(50, batch=8, shuffle=True, seed=3)
    )


@pytest.mark.parametrize(
    ("count", "batch", "shuffle", "seen"),
    [(10, 4, False, 10), (9, 4, False, 9), (9, 4, True, 8), (10, 4, True, 10), (1, 4, True, 1)],
)
def test_length_is_the_number_of_batches(count, batch, shuffle, seen):
    loader = counting(count, batch=batch, shuffle=shuffle)
    batches = list(loader)
    assert len(batches) == len(loader)
    assert sum(len(values) for values in batches) == seen


def test_calibration_is_of_training_inputs_only_and_seeded():
    dataset = make(train=40)
    known = {row.tobytes() for row in normalize(dataset.train_x, RGB)}
    rows = [row.numpy() for batch in dataset.loaders(calibration=16).calibration for row in batch]
    assert len(rows) == 16
    assert all(row.tobytes() in known for row in rows)
    again = [row.numpy() for batch in dataset.loaders(calibration=16).calibration for row in batch]
    other = [row.numpy() for batch in dataset.loaders(calibration=16, seed=1).calibration for row in batch]
    assert all((a == b).all() for a, b in zip(rows, again, strict=True))
    assert not all((a == b).all() for a, b in zip(rows, other, strict=True))


def test_with_a_train_limit_calibration_stays_inside_the_subset():
    dataset = make(train=40)
    data = dataset.loaders(train_limit=8, calibration=512)
    known = {row.tobytes() for batch, _ in data.train for row in batch.numpy()}
    rows = {row.tobytes() for batch in data.calibration for row in batch.numpy()}
    assert rows == known
    assert len(rows) == 8


def test_the_fingerprint_follows_bytes_and_settings():
    base = make().loaders().fingerprint
    assert make().loaders().fingerprint == base
    assert len(base) == len(hashlib.sha256().hexdigest())
    assert make().loaders(seed=1).fingerprint != base
    assert make().loaders(train_limit=10).fingerprint != base
    assert make(test_y=np.zeros(12, np.int64)).loaders().fingerprint != base
    changed = make()
    changed.train_x[3, 1, 2, 2] ^= 1
    assert changed.loaders().fingerprint != base


def test_flip_crop_gives_shifted_mirrored_windows():
    images = np.random.default_rng(1).integers(1, 256, (64, 2, 8, 8), np.uint8)
    result = flip_crop(images, np.random.default_rng(5))
    assert (result.shape, result.dtype) == (images.shape, images.dtype)
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    kinds = set()
    for before, after in zip(padded, result, strict=True):
        found = [
            (top, left, step)
            for top in range(3)
            for left in range(3)
            for step in (1, -1)
            if (before[:, top : top + 8, left : left + 8][..., ::step] == after).all()
        ]
        assert len(found) == 1
        kinds.add(found[0])
    assert {kind[2] for kind in kinds} == {1, -1}
    assert {kind[0] for kind in kinds} == {kind[1] for kind in kinds} == {0, 1, 2}


def test_augmentation_repeats_with_the_epoch_and_spares_validation():
    data, plain = make().loaders(augment="flip-crop"), make().loaders()
    first = torch.cat([x for x, _ in data.train])
    assert torch.equal(first, torch.cat([x for x, _ in data.train]))
    assert not torch.equal(first, torch.cat([x for x, _ in plain.train]))
    assert torch.equal(next(iter(data.validation))[0], next(iter(plain.validation))[0])


def test_unlabelled_data_give_inputs_alone():
    data = make(train_y=None, test_y=None).loaders(batch=16)
    assert isinstance(next(iter(data.train)), torch.Tensor)
    assert isinstance(next(iter(data.validation)), torch.Tensor)


def test_float_targets_stay_float():
    loader = ArrayLoader(np.zeros((4, 3), np.float32), np.ones((4, 3), np.float64), batch=4)
    assert next(iter(loader))[1].dtype == torch.float32


@pytest.mark.parametrize("limit", [1, 5, 10, 11, None])
def test_a_subset_is_distinct_and_ascending(limit):
    index = subset(10, limit, seed=0, purpose="x")
    assert len(index) == min(10, limit or 10)
    assert (np.diff(index) > 0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": 0}, "the train part is empty"),
        ({"test_y": np.zeros(3, np.int64)}, "12 test samples have 3 labels"),
        ({"classes": ("a", "b")}, "labels run from 0 to 3, but there are 2 classes"),
        ({"test_x": np.zeros((12, 3, 9, 9), np.uint8)}, "Bring both to one shape"),
    ],
)
def test_a_data_set_that_does_not_fit_together_is_refused(changes, message):
    with pytest.raises(BadInput, match=message):
        make(**changes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "batch: 0"),
        ({"train_limit": 0}, "train_limit: 0"),
        ({"augment": "flip"}, "augment: 'flip'"),
    ],
)
def test_settings_that_cannot_work_are_refused(options, message):
    with pytest.raises(BadInput, match=message):
        make().loaders(**options)


def test_augmentation_of_vectors_is_refused():
    with pytest.raises(BadInput, match="needs images"):
        counting(4, augment="flip-crop")


def test_describe_is_plain():
    facts = make(groups=np.array(["x", "y"] * 20)).describe()
    assert facts == {
        "name": "tiny",
        "train": 40,
        "test": 12,
        "shape": [3, 8, 8],
        "dtype": "uint8",
        "classes": list("abcd"),
        "licence": "",
        "groups": ["x", "y"],
    }
