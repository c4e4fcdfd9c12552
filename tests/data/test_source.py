"""What a recipe may say about data, and what it gets for a wrong word."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgekit.data.dataset import Dataset
from edgekit.data.source import resolve_data
from edgekit.errors import BadInput
from edgekit.job import Data
from edgekit.signature import Signature, TensorSpec

USER = """
import torch
from edgekit.data.dataset import Dataset
from edgekit.job import Data
import numpy as np
BATCH = [(torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64))]
def as_data(): return Data(train=BATCH, validation=BATCH)
def as_dict(): return {"train": BATCH, "calibration": [torch.zeros(2, 3)]}
def as_tuple(): return BATCH, BATCH
def as_dataset(*, rows=8):
    x = np.zeros((rows, 3), np.float32)
    return Dataset("mine", x, np.zeros(rows, np.int64), x, np.zeros(rows, np.int64))
def told(batch, seed, extra=0):
    return {"train": [(torch.full((batch, 1), float(seed)), torch.full((1,), extra))]}
def generator(): return {"train": (batch for batch in BATCH)}
def empty(): return {"train": BATCH, "validation": []}
def lazy_empty():
    class Nothing:
        def __iter__(self): return iter(())
    return {"train": Nothing()}
def nothing(): return {}
def number(): return 3
def bad_part(): return {"trian": BATCH}
def not_iterable(): return {"train": 5}
def breaks(): raise OSError("disk gone")
ready = {"validation": BATCH}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "data.py"
    path.write_text(USER)
    return str(path)


def hint(*shape: int) -> Signature:
    return Signature((TensorSpec("x", "float32", ("N", *shape)),), (TensorSpec("y", "float32", ("N", 2)),))


def test_a_name_and_its_options():
    data, dataset = resolve_data("fashion-mnist", batch=32, seed=1)
    assert (dataset.name, data.train.batch, data.train.seed) == ("fashion-mnist-sample", 32, 1)
    data, _ = resolve_data({"fashion-mnist": {"train_limit": 100, "test_limit": 50, "calibration": 8}})
    assert (len(data.train.x), len(data.validation.x), len(data.calibration.x)) == (100, 50, 8)


@pytest.mark.parametrize("name", ["as_data", "as_dict", "as_tuple", "ready"])
def test_every_form_of_the_users_own(file, name):
    data, dataset = resolve_data(f"{file}:{name}")
    assert dataset is None
    assert isinstance(data, Data)
    part = data.train or data.validation
    assert next(iter(part))[0].shape == (2, 3)


def test_the_users_dataset_takes_builder_and_loader_options(file):
    data, dataset = resolve_data({f"{file}:as_dataset": {"rows": 12, "train_limit": 5}}, batch=4)
    assert (len(dataset.train_x), len(data.train.x), data.train.batch) == (12, 5, 4)


def test_batch_and_seed_are_given_to_who_names_them(file):
    data, _ = resolve_data({f"{file}:told": {"extra": 9}}, batch=3, seed=7)
    x, y = data.train[0]
    assert (x.shape, x[0].item(), y.item()) == ((3, 1), 7.0, 9)


def test_objects_pass_through():
    batches = [(torch.zeros(2, 3), torch.zeros(2))]
    assert resolve_data({"train": batches})[0].train is batches
    assert resolve_data((batches, batches))[0].validation is batches
    made = Data(train=batches)
    assert resolve_data(made)[0] is made
    x, y = np.zeros((4, 3), np.float32), np.zeros(4, np.int64)
    dataset = Dataset("d", x, y, x, y)
    assert resolve_data(dataset)[1] is dataset


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("generator", "train part is a generator, used up after one pass"),
        ("empty", "validation part is empty"),
        ("nothing", "no train, validation or calibration part"),
        ("number", "gives int, which is no data"),
        ("bad_part", "no part 'trian'. Did you mean 'train'"),
        ("not_iterable", "int, which cannot be iterated"),
        ("breaks", "OSError: disk gone"),
        ("as_dat", "Did you mean 'as_data'"),
    ],
)
def test_what_is_no_data_is_one_line(file, name, message):
    with pytest.raises(BadInput) as caught:
        resolve_data(f"{file}:{name}")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_iterable_without_a_length_is_looked_into_with_a_signature(file):
    with pytest.raises(BadInput, match="train part is empty"):
        resolve_data(f"{file}:lazy_empty", signature_hint=hint(3))
    with pytest.raises(BadInput, match="train part is empty"):
        resolve_data(f"{file}:lazy_empty")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("fashion-mnst", "Did you mean 'fashion-mnist'"),
        ({"fashion-mnist": {"ful": True}}, "Did you mean 'full'"),
        ({"fashion-mnist": {"train_limt": 3}}, "Did you mean 'train_limit'"),
        ({"fashion-mnist": 3}, "its options are 3"),
        ({"mnist": {}, "digits": {}}, "neither a name nor one name"),
        (7, "gives int"),
        ([], "gives list"),
    ],
)
def test_a_wrong_spec_is_one_line(spec, message):
    with pytest.raises(BadInput, match=message):
        resolve_data(spec)


def test_loader_options_need_a_dataset(file):
    with pytest.raises(BadInput, match="train_limit need a Dataset"):
        resolve_data({f"{file}:as_data": {"train_limit": 3}})


def test_the_signature_is_held_against_the_first_batch(file):
    resolve_data(f"{file}:as_data", signature_hint=hint(3))
    with pytest.raises(BadInput, match=r"train part: input 'x': the shape \[2, 3\] does not fit"):
        resolve_data(f"{file}:as_data", signature_hint=hint(4))
    with pytest.raises(BadInput, match="the shape"):
        resolve_data("fashion-mnist", signature_hint=hint(3, 32, 32))
