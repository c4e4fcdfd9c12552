"""Probes whose work is counted by hand, and ceilings that agree with each other."""

from __future__ import annotations

import math

import pytest

from edgekit.analysis.graph_cost import graph_cost
from edgekit.errors import BadInput
from edgekit.profile import ceilings, probes
from edgekit.profile.ceilings import cache_sizes, measure_ceilings
from edgekit.target import find_target


def caches(folder, *levels):
    for index, (kind, size) in enumerate(levels):
        place = folder / f"index{index}"
        place.mkdir()
        (place / "type").write_text(f"{kind}\n")
        (place / "size").write_text(f"{size}\n")
    return folder


def test_caches_as_linux_lists_them(tmp_path):
    tree = caches(
        tmp_path,
        ("Data", "32K"),
        ("Instruction", "64K"),
        ("Unified", "1024K"),
        ("Unified", "2M"),
        ("Data", "?"),
    )
    (tmp_path / "index9").mkdir()
    assert cache_sizes(tree) == [2**15, 2**20, 2**21]
    assert cache_sizes(tmp_path / "absent") == []


def test_the_work_of_a_probe_is_what_its_graph_costs():
    for made in probes.compute_probes().values():
        assert [probe.work for probe in made] == [graph_cost(probe.model).macs for probe in made]


@pytest.mark.parametrize("size", [2**16, 2**20])
def test_traffic_is_near_the_size_asked_for_each_link(size):
    for probe in probes.traffic_probes(size):
        links = len(probe.model.graph.node)
        assert probe.work / links == pytest.approx(size, rel=0.01)


def test_probes_run_and_their_chains_compute_what_they_say(tmp_path):
    _, long = probes.dispatch_probes()
    path = tmp_path / "chain.onnx"
    path.write_bytes(long.model.SerializeToString())
    (value,) = find_target("cpu").runner(path).run(long.feeds).values()
    assert value == pytest.approx((1 + long.work) * long.feeds["x"], rel=1e-4)


def test_measured_ceilings_are_of_a_machine(monkeypatch):
    seen = measure_ceilings(seconds=0.2)
    peaks = seen.multiply_adds_per_second
    assert set(peaks) == {"float32", "int8"}
    assert all(1e8 < rate < 1e13 for rate in peaks.values())
    assert 1e8 < seen.bytes_per_second <= seen.cache_bytes_per_second < 1e13
    assert 0.01 < seen.overhead_us < 50
    assert seen.to_json()["threads"] == 1
    assert all(math.isfinite(value) for value in peaks.values())


def test_the_overhead_is_the_slope_of_the_chains(monkeypatch):
    """A machine where a call takes 5 us, a node 2 us, and an operation or a byte 1 ns."""

    def shortest(made, target, threads, seconds):
        works = [0, 0, *(probe.work for probe in made[2:])]
        return [5e-6 + 2e-6 * probe.nodes + 1e-9 * work for probe, work in zip(made, works, strict=True)]

    monkeypatch.setattr(ceilings, "_shortest", shortest)
    monkeypatch.setattr(ceilings, "cache_sizes", lambda: [2**15, 2**20])
    seen = measure_ceilings()
    assert (seen.overhead_us, seen.call_us) == pytest.approx((2.0, 5.0))
    assert seen.multiply_adds_per_second == pytest.approx({"float32": 1e9, "int8": 1e9})
    assert (seen.bytes_per_second, seen.cache_bytes_per_second) == pytest.approx((1e9, 1e9))
    assert seen.last_level_cache_bytes == 2**20


def test_an_unknown_target_is_one_line():
    with pytest.raises(BadInput, match="cpuu"):
        measure_ceilings("cpuu", seconds=0.1)
