"""A matrix or edges of one's own, from lists and from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topologies.custom import Custom
from edgekit.errors import BadInput

W = np.array([[0.5, 0.5, 0.0], [0.25, 0.5, 0.25], [0.0, 0.5, 0.5]])


def lists(matrix) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, np.asarray(matrix, float).tolist()))


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    np.save(tmp_path / "w.npy", W)
    np.savetxt(tmp_path / "w.csv", W, delimiter=",")
    np.savetxt(tmp_path / "edges.csv", [[0, 1], [1, 2]], delimiter=",", fmt="%d")
    return {path.name: path for path in tmp_path.iterdir()}


def test_lists_and_files_give_the_same_matrix(files):
    for given in (lists(W), files["w.npy"], files["w.csv"]):
        topology = Custom(matrix=given)
        assert np.array_equal(topology.mixing(Roster.of(3), 0, 0).matrix(), W)
        assert topology.graph(Roster.of(3), 0, 0).edges == 2
        assert (topology.directed, topology.rule) == (False, "uniform")


def test_edges_work_both_ways(files):
    for given in (((0, 1), (1, 2)), files["edges.csv"]):
        graph = Custom(edges=given).graph(Roster.of(3), 0, 0)
        assert graph.symmetric
        assert graph.edges == 2
    assert Custom(edges=()).graph(Roster.of(2), 0, 0).edges == 0


def test_the_matrix_says_what_it_is():
    one_way = np.array([[0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0, 0.5]])
    assert Custom(matrix=lists(one_way)).directed
    assert Custom(matrix=lists(W.T)).rule == "column-stochastic"
    assert Custom(matrix=lists((W + W.T) / 2 + np.diag(1 - ((W + W.T) / 2).sum(1)))).rule == "metropolis"


def test_another_rule_uses_only_who_speaks_with_whom():
    topology, roster = Custom(matrix=lists(W)), Roster.of(3)
    assert topology.mixing(roster, 0, 0, "metropolis").symmetric
    pushed = topology.mixing(roster, 0, 0, "column-stochastic")
    assert pushed.column_stochastic
    own = Custom(matrix=lists(W.T)).mixing(roster, 0, 0, "column-stochastic")
    assert np.array_equal(own.matrix(), W.T)  # it is what push-sum needs already


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        ([[1.0, 0.0]], r"shape \[1, 2\]"),
        ([[0.5, 0.5], [0.5, float("nan")]], "NaN or infinity"),
        ([[1.5, -0.5], [-0.5, 1.5]], "-0.5 in row 0, column 1"),
        ([[0.5, 0.4], [0.4, 0.5]], r"sum to 1 \(row 0: 0.9\)"),
    ],
)
def test_a_matrix_that_cannot_average_is_refused(matrix, words):
    with pytest.raises(BadInput, match=words):
        Custom(matrix=lists(matrix)).graph(Roster.of(2), 0, 0)


def test_it_needs_one_of_the_two_and_as_many_agents():
    for given in ({}, {"matrix": lists(W), "edges": ((0, 1),)}):
        with pytest.raises(BadInput, match="either matrix or edges"):
            Custom(**given)
    with pytest.raises(BadInput, match="is for 3 agents, but there are 5"):
        Custom(matrix=lists(W)).graph(Roster.of(5), 0, 0)
    with pytest.raises(BadInput, match="name the agent 3, but 3 agents"):
        Custom(edges=((0, 1), (1, 3))).graph(Roster.of(3), 0, 0)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent.csv", None, "finds no file"),
        ("words.csv", b"a,b\nc,d\n", "no table of numbers"),
        ("ragged.csv", b"1,0\n1\n", "no table of numbers"),
        ("empty.csv", b"", r"shape \[0, 0\]"),
        ("binary.csv", bytes(range(256)), "no table of numbers"),
        ("broken.npy", b"not an array", "no table of numbers"),
    ],
)
def test_files_that_hold_no_matrix_are_refused(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=words):
        Custom(matrix=tmp_path / name).graph(Roster.of(2), 0, 0)


def test_a_pickle_is_never_loaded(tmp_path):
    np.save(tmp_path / "evil.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    with pytest.raises(BadInput, match="no table of numbers"):
        Custom(matrix=tmp_path / "evil.npy").graph(Roster.of(1), 0, 0)


def test_edges_that_are_no_pairs_are_refused(tmp_path):
    (tmp_path / "edges.csv").write_text("0,1,2\n1,2,0\n")
    with pytest.raises(BadInput, match="pairs of agents"):
        Custom(edges=tmp_path / "edges.csv").graph(Roster.of(3), 0, 0)
