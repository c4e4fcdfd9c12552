"""Shares that are saved, read back, given again; what is broken is one line."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.decentralized.partition.dirichlet import Dirichlet
from edgekit.decentralized.partition.given import Given
from edgekit.decentralized.partition.shares import check, histograms, load, save
from edgekit.errors import BadInput

LABELS = np.arange(400) % 10


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "shares.npz"
    save(path, Dirichlet(0.5).divide(LABELS, 12, 0))
    return path


def test_shares_come_back_as_they_were(file):
    made = Dirichlet(0.5).divide(LABELS, 12, 0)
    for found in (load(file), Given(file).divide(LABELS, 12, 99)):
        assert all(map(np.array_equal, found, made))
        assert all(share.dtype == np.int64 for share in found)


def test_a_file_of_shares_is_the_same_bytes_again_and_leaves_nothing_beside(file, tmp_path):
    save(tmp_path / "again.npz", load(file))
    assert (tmp_path / "again.npz").read_bytes() == file.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"shares.npz", "again.npz"}


def test_indices_of_any_whole_type_in_any_order_are_taken(tmp_path):
    np.savez(tmp_path / "own.npz", agent_1=np.array([5, 2], np.uint8), agent_0=np.array([7], np.int32))
    assert [share.tolist() for share in load(tmp_path / "own.npz")] == [[7], [2, 5]]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"agent_0": np.array([0.5])}, r"agent_0 in .* is float64 \[1\]"),
        ({"agent_0": np.array([[1]])}, r"int64 \[1, 1\]"),
        ({"agent_0": np.array([1]), "agent_2": np.array([2])}, "has no array agent_1"),
        ({"shares": np.array([1])}, "has no array agent_0"),
        ({}, "has no array agent_0"),
        ({"agent_0": np.array([{"a": 1}], dtype=object)}, "of plain arrays"),
    ],
)
def test_what_is_no_share_is_one_line(tmp_path, arrays, message):
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(BadInput, match=message) as caught:
        load(tmp_path / "own.npz")
    assert "\n" not in str(caught.value)


def test_an_absent_file_is_one_line(tmp_path):
    with pytest.raises(BadInput, match="there is no file"):
        load(tmp_path / "none.npz")


def test_a_lone_array_is_refused(tmp_path):
    np.save(tmp_path / "own.npy", np.arange(3))
    with pytest.raises(BadInput, match="a lone array"):
        load(tmp_path / "own.npy")


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "shares.npz"
    save(path, [np.arange(4), np.arange(4, 9)])
    raw = bytearray(path.read_bytes())
    cut = data.draw(st.integers(0, len(raw)))
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=4)):
        raw[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(raw if data.draw(st.booleans()) else raw[:cut]))
    with contextlib.suppress(BadInput):
        load(path)


@pytest.mark.parametrize(
    ("labels", "agents", "message"),
    [
        (LABELS, 3, "shares of 12 agents, but the run has 3. Use 12 agents"),
        (LABELS[:100], 12, "but there are 100 samples"),
        (LABELS[:5], 12, "5 samples for 12 agents"),
    ],
)
def test_shares_of_another_run_are_refused(file, labels, agents, message):
    with pytest.raises(BadInput, match=message):
        Given(file).divide(labels, agents, 0)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ([[0, 1], [1, 2]], "here: the sample 1 is given twice"),
        ([[0, 0], [2]], "the sample 0 is given twice"),
        ([[0], []], "agent 1 has no sample"),
        ([[-1], [2]], "agent 0 has the sample -1, but there are 3 samples"),
        ([[0], [3]], "agent 1 has the sample 3"),
    ],
)
def test_shares_that_cannot_be_are_refused(shares, message):
    with pytest.raises(BadInput, match=message):
        check([np.array(share, np.int64) for share in shares], 3, "here")


def test_histograms_count_classes():
    shares = [np.array([0, 1, 2]), np.array([3])]
    assert histograms(np.array([0, 2, 2, 1]), shares, 4).tolist() == [[1, 0, 2, 0], [0, 1, 0, 0]]
    assert histograms(np.array([0, 2, 2, 1]), shares, 0).shape == (2, 3)
    with pytest.raises(BadInput, match="the label -1 is negative"):
        histograms(np.array([0, -1, 2, 1]), shares, 4)
