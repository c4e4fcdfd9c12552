"""Requests to a split network: answered in order with its outputs, by spares where a server is lost, or refused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from edgekit.coordinator.access import Access
from edgekit.coordinator.errors import LostQuorum
from edgekit.coordinator.stream import StreamClient, StreamServer
from edgekit.runs.split_file import parse_split
from edgekit.runs.split_run import SplitPart
from edgekit.wire.document import Trust
from edgekit.wire.faults import Faults, FaultyTransport
from edgekit.wire.identity import Identity
from edgekit.wire.memory import MemoryHub, MemoryTransport

TEXT = """
title: t
model: {resnet8: {norm: group, width: 8}}
data: {fashion-mnist: {train_limit: 8, test_limit: 40}}
split: {cuts: [stages.0.conv1, pool], segments: SEGMENTS, inputs: cam, labels: cam, spares: {edge: [spare]}}
"""
SEGMENTS = {
    "u-shaped": "[cam, edge, cam]",
    "pipeline": "[cam, edge, hub]",
    "all at servers": "[edge, hub, edge]",
}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def part(name: str = "pipeline", *overrides: str) -> SplitPart:
    leave = ["split.inputs_leave=true"] if name == "all at servers" else []
    text = TEXT.replace("SEGMENTS", SEGMENTS[name])
    return SplitPart(parse_split(text, overrides=[*leave, *overrides])[0])


class Site:
    """Servers in threads, on a hub in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.hub, self.said = folder, MemoryHub("t"), list[str]()
        self.servers: dict[str, StreamServer] = {}
        self._threads: list[threading.Thread] = []

    def access(self, me: str, faults: Faults | None = None) -> Access:
        transport: Any = MemoryTransport(self.hub, me)
        if faults is not None:
            transport = FaultyTransport(transport, faults, len(me))
        return Access(transport, Identity.kept(me, self.folder / f"{me}.pem"), Trust("t"), b"s" * 32)

    def serve(self, me: str, made: SplitPart, faults: Faults | None = None) -> None:
        server = StreamServer(self.access(me, faults), "t", made, 2, say=self.said.append)
        self.servers[me] = server
        thread = threading.Thread(target=server.run, kwargs={"once": True}, daemon=True)
        self._threads.append(thread)
        thread.start()

    def client(self, made: SplitPart, **options: Any) -> StreamClient:
        found = StreamClient(
            self.access("cam", options.pop("faults", None)), "t", made, 2, say=self.said.append, **options
        )
        found.open()
        return found

    def wait(self) -> None:
        for thread in self._threads:
            thread.join(20.0)
            assert not thread.is_alive()


def requests(made: SplitPart, count: int = 20) -> list[dict[str, torch.Tensor]]:
    return [{"x": made.arrays.test_x[2 * number : 2 * number + 2]} for number in range(count)]


def expected(made: SplitPart) -> list[torch.Tensor]:
    model = made.split.network.model.eval()
    with torch.no_grad():
        return [model(request["x"]) for request in requests(made)]


def ask(
    client: StreamClient, made: SplitPart, answers: list[torch.Tensor], after_5: Callable[[], None]
) -> None:
    for output in client.results(requests(made)):
        answers.append(output)
        if len(answers) == 5:
            after_5()


def assert_equal(found: list[torch.Tensor], wanted: list[torch.Tensor]) -> None:
    assert len(found) == len(wanted)
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


@pytest.mark.parametrize("name", SEGMENTS)
@pytest.mark.parametrize("window", [1, 6])
def test_answers_are_the_network_s_and_in_order(name, window, tmp_path):
    site, made = Site(tmp_path), part(name)
    for server in made.split.agents:
        if server != "cam":
            site.serve(server, part(name))
    client = site.client(made, window=window)
    found = list(client.results(requests(made)))
    client.close()
    site.wait()
    assert_equal(found, expected(made))
    assert client.moves == 0
    assert len(client.latencies) == 20


def test_a_spare_takes_over_and_nothing_is_lost_or_answered_twice(tmp_path):
    site, made = Site(tmp_path), part()
    for server in ("edge", "hub"):
        site.serve(server, part())
    client, found = site.client(made), []
    site.serve("spare", part())
    ask(client, made, found, lambda: site.hub.cut("edge"))
    client.close()
    site.hub.restore("edge")
    assert_equal(found, expected(made))
    assert client.moves >= 1
    assert site.servers["spare"].roster is not None
    assert any("spare: serves as edge" in line for line in site.said)


def test_without_a_spare_the_request_fails_with_one_line(tmp_path):
    site, made = Site(tmp_path), part()
    for server in ("edge", "hub"):
        site.serve(server, part())
    client, answers = site.client(made, wait=1.0), []
    with pytest.raises(
        LostQuorum, match=r"^request \d+: hub is not there, and no spare that holds the same weights"
    ) as error:
        ask(client, made, answers, lambda: site.hub.cut("hub"))
    client.close()
    assert "\n" not in str(error.value)
    assert_equal(answers, expected(made)[: len(answers)])


def test_a_spare_with_other_weights_is_not_taken(tmp_path):
    site, made = Site(tmp_path), part()
    for server in ("edge", "hub"):
        site.serve(server, part())
    client, answers = site.client(made, wait=1.5), []
    site.serve("spare", part("pipeline", "seed=1"))
    with pytest.raises(LostQuorum, match="edge is not there"):
        ask(client, made, answers, lambda: site.hub.cut("edge"))
    client.close()


def test_lost_frames_are_asked_anew(tmp_path, monkeypatch):
    monkeypatch.setattr("edgekit.coordinator.stream.AGAIN", 0.5)
    site, made, faults = Site(tmp_path), part(), Faults(drop=0.03, duplicate=0.1, corrupt=0.03)
    for server in ("edge", "hub"):
        site.serve(server, part(), faults)
    client = site.client(made, faults=faults)
    found = list(client.results(requests(made)))
    client.close()
    assert_equal(found, expected(made))
