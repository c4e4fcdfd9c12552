"""The transport in memory passes the kit, is broken as tests ask, and serves many threads."""

from __future__ import annotations

import doctest
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from edgekit.errors import BadInput
from edgekit.testing.transport import check_transport
from edgekit.wire import memory
from edgekit.wire.memory import MemoryHub, MemoryTransport
from edgekit.wire.transport import WATCHERS, LinkError, Message, Transport

WILL = b"lost"


def failed(rows) -> dict[str, str]:
    return {row.check: row.detail for row in rows if not row.ok}


def opened(hub: MemoryHub, *ids: str) -> list[MemoryTransport]:
    agents = [MemoryTransport(hub, me) for me in ids]
    for agent in agents:
        agent.open(WILL)
    return agents


def heard(agent: Transport) -> list[Message]:
    return list(iter(lambda: agent.receive(0), None))


def document(sender: str, name: str, payload: bytes) -> Message:
    return Message("document", sender, name, payload)


UP, DOWN = Message("link", name="up"), Message("link", name="down")


def test_it_passes_the_kit():
    hub = MemoryHub()

    def restart() -> None:
        hub.stop()
        hub.start()

    rows = check_transport(lambda me: MemoryTransport(hub, me), cut=hub.cut, restart=restart)
    assert failed(rows) == {}
    assert [row.detail for row in rows if "skipped" in row.detail] == []


def test_its_example_runs():
    assert doctest.testmod(memory) == (0, 6)


def test_there_is_no_link_to_a_hub_that_is_stopped():
    hub = MemoryHub()
    hub.stop()
    with pytest.raises(LinkError, match="broker is stopped"):
        MemoryTransport(hub, "one").open(WILL)


@pytest.mark.parametrize("me", ["", "#", "a/b", "a b", "é", "-a", "a" * 65])
def test_what_cannot_be_an_id_is_refused(me):
    with pytest.raises(BadInput, match="cannot be an id"):
        MemoryTransport(MemoryHub(), me)


def test_only_who_is_open_can_be_cut():
    hub = MemoryHub()
    with pytest.raises(BadInput, match="no agent 'one' is open"):
        hub.cut("one")


def test_who_is_cut_neither_sends_nor_hears():
    hub = MemoryHub()
    one, two = opened(hub, "one", "two")
    one.listen(["two"])
    two.listen(["one"])
    hub.cut("one")
    assert not one.send(b"unheard")
    assert not one.send(b"unheard", "two")
    assert two.send(b"missed")
    assert heard(one) == [DOWN]
    assert heard(two) == [document("one", "state", WILL)]
    hub.restore("one")
    assert one.send(b"again")
    assert heard(one) == [UP, document("one", "state", WILL)]
    assert heard(two) == [Message("frame", "one", payload=b"again")]


def test_who_comes_back_sets_its_documents_again_as_they_are_now():
    hub = MemoryHub()
    one, two = opened(hub, "one", "two")
    one.publish("state", b"here")
    one.publish("old", b"1")
    hub.cut("one")
    one.publish("old", None)
    one.publish("new", b"2")
    heard(two)
    hub.restore("one")
    assert heard(two) == [
        document("one", "state", b"here"),
        document("one", "old", b""),
        document("one", "new", b"2"),
    ]
    (late,) = opened(hub, "late")
    assert heard(late) == [document("one", "state", b"here"), document("one", "new", b"2")]


def test_what_was_withdrawn_is_not_withdrawn_again():
    hub = MemoryHub()
    one, two = opened(hub, "one", "two")
    one.publish("old", b"1")
    one.publish("old", None)
    hub.cut("one")
    heard(two)
    hub.restore("one")
    assert heard(two) == []


def test_who_is_cut_stays_so_when_the_broker_comes_back():
    hub = MemoryHub()
    one, two = opened(hub, "one", "two")
    hub.cut("one")
    hub.cut("one")
    hub.stop()
    hub.start()
    assert heard(one) == [DOWN]
    assert heard(two) == [document("one", "state", WILL), DOWN, UP]
    hub.stop()
    hub.restore("one")
    assert heard(one) == []
    hub.start()
    assert heard(one) == [UP]


def test_an_agent_hears_of_a_second_one_of_its_id():
    hub = MemoryHub()
    one, other = opened(hub, "one", "one")
    other.publish("hello", b"from another")
    assert heard(one) == [document("one", "hello", b"from another")]


def test_what_was_never_read_is_counted():
    hub = MemoryHub()
    sender, two = opened(hub, "one", "two")[0], MemoryTransport(hub, "two", inbox=10_000)
    two.open(WILL)
    for number in range(30):
        sender.send(bytes([number]) * 1000, "two")
    assert [message.payload[0] for message in heard(two)] == [24, 25, 26, 27, 28, 29]
    assert two.lost == 24


def test_a_frame_is_not_copied_and_a_view_is():
    one, two = opened(MemoryHub(), "one", "two")
    payload = bytes(100)
    one.send(payload, "two")
    one.send(memoryview(payload), "two")
    first, second = heard(two)
    assert first.payload is payload
    assert second.payload == payload
    assert isinstance(second.payload, bytes)


def test_lines_and_frames_to_the_unknown_are_lost():
    (one,) = opened(MemoryHub(), "one")
    assert one.send(b"frame", "nobody")
    assert one.send(b"line", WATCHERS)
    assert heard(one) == []


def test_many_agents_in_as_many_threads_lose_nothing():
    agents, frames = 24, 200
    hub = MemoryHub()
    ids = [f"agent-{number}" for number in range(agents)]
    start = Barrier(agents)

    def take_part(number: int) -> list[Message]:
        one = MemoryTransport(hub, ids[number])
        one.open(WILL)
        one.listen([ids[number - 1]])
        start.wait(10)
        for count in range(frames):
            assert one.send(count.to_bytes(2, "little"))
            assert one.send(count.to_bytes(2, "little"), ids[(number + 2) % agents])
            if count % 50 == 0:
                one.publish("count", bytes([count]))
        messages: list[Message] = []
        while len(messages) < 2 * frames and (message := one.receive(10)) is not None:
            messages += [message] if message.what == "frame" else []
        start.wait(10)
        one.close()
        return messages

    with ThreadPoolExecutor(agents) as pool:
        results = list(pool.map(take_part, range(agents)))
    for number, messages in enumerate(results):
        for sender in (ids[number - 1], ids[number - 2]):
            counts = [
                int.from_bytes(message.payload, "little") for message in messages if message.sender == sender
            ]
            assert counts == list(range(frames))


def test_who_waits_is_woken():
    hub = MemoryHub()
    one, two = opened(hub, "one", "two")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(two.receive, 10)
        one.send(b"now", "two")
        assert waiting.result(2) == Message("frame", "one", payload=b"now")
