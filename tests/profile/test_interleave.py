"""Interleaved timing on a clock that the test owns, with noise that the test knows."""

from __future__ import annotations

import os

import numpy as np
import pytest

from edgekit.errors import BadInput
from edgekit.profile.clock import no_garbage_collection, pinned
from edgekit.profile.interleave import Timing, interleave, ratio
from edgekit.profile.latency import batch_of, caller, measure


class FakeMachine:
    """A clock in nanoseconds that only workloads move; `load` slows everything down as the rounds go by."""

    def __init__(self, *, noise: float = 0.0, drift: float = 0.0, seed: int = 0) -> None:
        self.time, self.noise, self.drift = 0, noise, drift
        self.random, self.order = np.random.default_rng(seed), []

    def clock(self) -> int:
        return self.time

    def workload(self, name: str, nanoseconds: float):
        def call() -> None:
            self.order.append(name)
            factor = 1.0 + self.drift * self.time / 1e9 + self.noise * self.random.exponential()
            self.time += round(nanoseconds * factor)

        return call


def test_ratio_of_exact_workloads_is_exact():
    machine = FakeMachine()
    times = interleave(
        {"a": machine.workload("a", 30_000), "b": machine.workload("b", 10_000)},
        rounds=10,
        seconds=0.01,
        warmup=0.0,
        clock=machine.clock,
    )
    assert ratio(times["a"], times["b"]) == pytest.approx((3.0, 3.0, 3.0))
    assert times["a"].typical == 30_000
    assert times["b"].rounds.shape == (10,)


def test_intervals_hold_the_true_ratio_on_a_noisy_drifting_machine():
    inside, widths = [], []
    for seed in range(60):
        machine = FakeMachine(noise=0.5, drift=2.0, seed=seed)
        runs = {"slow": machine.workload("slow", 25_000), "fast": machine.workload("fast", 10_000)}
        times = interleave(runs, rounds=20, seconds=0.02, warmup=0.0, seed=seed, clock=machine.clock)
        found = ratio(times["slow"], times["fast"])
        inside.append(found.low <= 2.5 <= found.high)
        widths.append(found.high - found.low)
    assert np.mean(inside) >= 0.85
    assert np.median(widths) < 0.5


def test_turns_alternate_in_a_seeded_random_order():
    def rounds(seed):
        machine = FakeMachine()
        interleave(
            {"a": machine.workload("a", 1000), "b": machine.workload("b", 1000)},
            rounds=12,
            seconds=1e-6,
            warmup=0.0,
            seed=seed,
            clock=machine.clock,
        )
        turns = machine.order[6:]  # 3 warm-up calls each, then turns of 1 + 3 calls
        return [turns[index] for index in range(0, len(turns), 4)]

    first = rounds(0)
    assert len(first) == 24
    assert all(set(first[index : index + 2]) == {"a", "b"} for index in range(0, 24, 2))
    assert len({tuple(first[index : index + 2]) for index in range(0, 24, 2)}) == 2
    assert rounds(0) == first != rounds(1)


def test_time_is_shared_equally():
    machine = FakeMachine()
    interleave(
        {"a": machine.workload("a", 40_000), "b": machine.workload("b", 10_000)},
        rounds=10,
        seconds=0.08,
        warmup=0.0,
        clock=machine.clock,
    )
    counts = {name: machine.order.count(name) for name in "ab"}
    assert counts == {"a": 3 + 10 * 101, "b": 3 + 10 * 401}


def test_refusals():
    with pytest.raises(ValueError, match="2 rounds"):
        interleave({"a": lambda: None}, rounds=1)
    with pytest.raises(ValueError, match="one interleaved"):
        ratio(Timing(np.ones(3), np.ones((3, 1))), Timing(np.ones(4), np.ones((4, 1))))


class CountedRunner:
    def __init__(self, machine: FakeMachine) -> None:
        self.call = machine.workload("run", 2_000_000)

    def run(self, feeds):
        self.call()
        return {}


def test_latency_on_a_fake_clock():
    machine = FakeMachine()
    found = measure(
        CountedRunner(machine),
        {"x": np.zeros((4, 3))},
        seconds=0.1,
        warmup=0.02,
        least=10,
        clock=machine.clock,
    )
    assert (found.min, found.mean, found.p50, found.p99) == pytest.approx((2.0, 2.0, 2.0, 2.0))
    assert (found.n, found.batch, found.threads) == (50, 4, 1)
    assert found.throughput == pytest.approx(2000.0)
    assert machine.order.count("run") == 60
    assert set(found.to_json()) == {"min", "mean", "p50", "p90", "p99", "n", "threads", "batch"}


def test_caller_takes_the_runners_own_preparation():
    class Prepared:
        def prepare(self, feeds):
            return lambda: "bound"

    assert caller(Prepared(), {})() == "bound"


def test_an_empty_input_is_one_line():
    with pytest.raises(BadInput, match="empty"):
        batch_of({"x": np.zeros((0, 3))})
    with pytest.raises(BadInput, match="no input"):
        batch_of({})


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_pinning_restores_the_cores_after_an_error():
    before = os.sched_getaffinity(0)

    def fail():
        with pinned() as cores:
            assert os.sched_getaffinity(0) == set(cores)
            assert len(cores) == 1
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert os.sched_getaffinity(0) == before


def test_garbage_collection_comes_back():
    import gc

    with no_garbage_collection():
        assert not gc.isenabled()
    assert gc.isenabled()
