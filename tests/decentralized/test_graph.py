"""Graphs: pairs and arrays alike, degrees, connection."""

from __future__ import annotations

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.decentralized.graph import Graph

PAIRS = st.integers(1, 12).flatmap(
    lambda size: st.tuples(
        st.just(size),
        st.lists(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), max_size=40),
    )
)


@settings(max_examples=150, deadline=None)
@given(PAIRS)
def test_a_directed_graph_is_networkx_s_without_loops(case):
    size, pairs = case
    graph = Graph.directed(size, pairs)
    other = networkx.DiGraph()
    other.add_nodes_from(range(size))
    other.add_edges_from((one, two) for one, two in pairs if one != two)
    assert graph.arcs == other.number_of_edges()
    assert graph.edges == other.to_undirected().number_of_edges()
    assert graph.degrees.tolist() == [other.in_degree(node) for node in range(size)]
    assert graph.out_degrees.tolist() == [other.out_degree(node) for node in range(size)]
    assert graph.connected == networkx.is_strongly_connected(other)
    assert graph.symmetric == all(other.has_edge(two, one) for one, two in other.edges)


@settings(max_examples=100, deadline=None)
@given(PAIRS)
def test_arrays_iterators_and_lists_give_the_same_arcs_in_the_same_order(case):
    size, pairs = case
    for make in (Graph.directed, Graph.undirected):
        found = [
            make(size, given) for given in (pairs, iter(pairs), np.array(pairs, np.int64).reshape(-1, 2))
        ]
        for other in found[1:]:
            assert other.source.tolist() == found[0].source.tolist()
            assert other.target.tolist() == found[0].target.tolist()
        codes = found[0].target * size + found[0].source
        assert (np.diff(codes) > 0).all()


def test_an_undirected_graph_is_two_arcs_an_edge():
    graph = Graph.undirected(4, [(0, 1), (1, 0), (2, 2), (2, 3)])
    assert (graph.arcs, graph.edges, graph.symmetric, graph.connected) == (4, 2, True, False)


@pytest.mark.parametrize("size", [0, 1, 3])
def test_no_pairs(size):
    graph = Graph.undirected(size, [])
    assert (graph.arcs, graph.edges, graph.degrees.tolist()) == (0, 0, [0] * size)
    assert graph.connected == (size <= 1)
