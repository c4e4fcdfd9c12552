"""A split run by agents that meet: the bits of the simulator, whatever the link loses; who differs is refused."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from edgekit.coordinator.access import Access
from edgekit.coordinator.split_session import SplitSession
from edgekit.errors import BadInput
from edgekit.runs.split_file import parse_split
from edgekit.runs.split_run import SplitPart
from edgekit.split.simulate import Simulator
from edgekit.wire.document import Trust
from edgekit.wire.faults import Faults, FaultyTransport
from edgekit.wire.identity import Identity
from edgekit.wire.memory import MemoryHub, MemoryTransport

TEXT = """
title: t
model: {resnet8: {norm: group, width: 8}}
data: {fashion-mnist: {train_limit: 64, test_limit: 20}}
steps: 4
batch: 8
evaluate_every: 2
optimizer: {sgd: {lr: 0.05, momentum: 0.9}}
split:
"""
PLACES = {
    "vanilla": "cuts: [stages.0], segments: [cam, edge], inputs: cam, labels: cam, labels_leave: true",
    "u-shaped": "cuts: [stages.0, stages.1], segments: [cam, edge, cam], inputs: cam, labels: cam, values: uint8",
    "multi-hop": "cuts: [stages.0, stages.1, pool], segments: [cam, edge, hub, edge], inputs: cam, labels: clerk, "
    "micro_batches: 2",
    "silent-labels": "cuts: [stages.0], segments: [cam, edge], inputs: cam, labels: clerk, labels_leave: true",
    "sequential": "cuts: [stages.0], segments: [client, edge], inputs: client, labels: client, labels_leave: true, "
    "clients: [one, two]",
    "splitfed-v1": "cuts: [stages.0], segments: [client, edge], inputs: client, labels: client, labels_leave: true, "
    "clients: [one, two], mode: splitfed-v1, every: 2",
    "splitfed-v2": "cuts: [stages.0], segments: [client, edge], inputs: client, labels: client, labels_leave: true, "
    "clients: [one, two], mode: splitfed-v2, averager: hub",
    "top-k": "cuts: [stages.0], segments: [cam, edge], inputs: cam, labels: edge, gradients: {top-k: {ratio: 0.1}}",
}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def part(place: str, *overrides: str) -> SplitPart:
    return SplitPart(parse_split(TEXT + "  {" + PLACES[place] + "}\n", overrides=overrides)[0])


class Site:
    """Agents of one run in threads, on a hub in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.hub, self.said = folder, MemoryHub("t"), list[str]()
        self.ended: dict[str, Any] = {}
        self._threads: dict[str, threading.Thread] = {}

    def join(self, me: str, made: SplitPart, *, faults: Faults | None = None, **options: Any) -> SplitSession:
        transport: Any = MemoryTransport(self.hub, me)
        if faults is not None:
            transport = FaultyTransport(transport, faults, len(self._threads))
        identity = Identity.kept(me, self.folder / f"{me}.pem")
        access = Access(transport, identity, Trust("t"), b"s" * 32)
        folder = self.folder / me
        folder.mkdir(exist_ok=True)
        session = SplitSession(access, "t", made, folder, say=self.said.append, **{"wait": 20.0, **options})

        def be() -> None:
            try:
                self.ended[me] = session.run()
            except BaseException as error:
                self.ended[me] = error

        self._threads[me] = threading.Thread(target=be, daemon=True)
        self._threads[me].start()
        return session

    def wait(self) -> dict[str, Any]:
        for thread in self._threads.values():
            thread.join(60.0)
            assert not thread.is_alive(), self.said[-10:]
        return self.ended


def simulated(place: str) -> tuple[dict[str, Any], dict[str, int]]:
    """The programs after all steps in the simulator, and what each agent sent."""
    made = part(place)
    programs = made.programs()
    simulator = Simulator({name: made.post() for name in programs})
    for _ in simulator.run({name: program.run() for name, program in programs.items()}):
        pass
    return programs, simulator.bytes


def weights(program: Any) -> dict[str, torch.Tensor]:
    return {
        f"{chain}.{segment.index}.{name}": value.clone()
        for chain, worker in program.workers.items()
        for segment in worker.own
        for name, value in segment.state_dict().items()
    }


def assert_same(found: Any, expected: Any) -> None:
    one, other = weights(found), weights(expected)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("place", PLACES)
def test_agents_that_meet_compute_the_bits_of_the_simulator(place, tmp_path):
    programs, sent = simulated(place)
    site = Site(tmp_path)
    sessions = {name: site.join(name, part(place)) for name in programs}
    ended = site.wait()
    for name, session in sessions.items():
        assert isinstance(ended[name], dict), ended[name]
        assert_same(session.program, programs[name])
        assert ended[name]["bytes_sent"]["total"] == sent.get(name, 0)
        assert ended[name]["frame_bytes"] >= sent.get(name, 0)
    tested = [line for line in ended.values() if line["metric"] is not None]
    assert len(tested) == 1
    assert tested[0]["step"] == 4


def test_what_a_link_loses_repeats_or_damages_is_sent_again(tmp_path):
    programs, _ = simulated("u-shaped")
    site, faults = Site(tmp_path), Faults(drop=0.15, duplicate=0.1, corrupt=0.1)
    sessions = {name: site.join(name, part("u-shaped"), faults=faults) for name in programs}
    ended = site.wait()
    for name, session in sessions.items():
        assert isinstance(ended[name], dict), ended[name]
        assert_same(session.program, programs[name])
    assert sum(sum(session.mail.dropped().values()) for session in sessions.values()) > 0


def test_a_link_that_was_down_takes_all_back_to_a_common_step(tmp_path):
    programs, _ = simulated("u-shaped")
    site = Site(tmp_path)
    sessions = {name: site.join(name, part("u-shaped"), snapshot_every=1) for name in programs}
    while sessions["edge"].program.step < 2:
        assert not site.ended, site.ended
    site.hub.cut("edge")
    while not any("edge is lost" in line for line in site.said):
        assert not site.ended, site.ended
    site.hub.restore("edge")
    site.wait()
    for name, session in sessions.items():
        assert_same(session.program, programs[name])


@pytest.mark.parametrize("other", ["steps=5", "seed=1", "split.cuts=[stages.1]", "optimizer.sgd.lr=0.1"])
def test_who_has_another_run_is_refused_before_the_start(other, tmp_path):
    site = Site(tmp_path)
    site.join("cam", part("vanilla"))
    site.join("edge", part("vanilla", other))
    ended = site.wait()
    refused = [error for error in ended.values() if isinstance(error, BadInput)]
    assert refused
    assert "Use the same run file" in str(refused[0])


def test_who_waits_in_vain_says_for_whom(tmp_path):
    site = Site(tmp_path)
    site.join("cam", part("vanilla"), wait=1.0)
    assert "edge did not come within 1 s" in str(site.wait()["cam"])
