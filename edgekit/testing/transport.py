"""The kit of transports."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil

from edgekit.testing.row import Row, fail, need, run_checks
from edgekit.testing.transport_agents import WILL, Kit, documents_of, frames_of, quiet
from edgekit.wire.chunks import Assembler
from edgekit.wire.frame import Head, Kind, pack, unpack
from edgekit.wire.transport import STATE, WATCHERS, LinkInfo, Message, Transport

SIZES = (0, 1, 2, 3, 47, 48, 49, 255, 256, 65_535, 65_536)  # bytes of frames, beside 300 that are drawn
LARGE = 16 << 20  # bytes; a link that carries more is not asked to
SMALLEST = 1024  # bytes that any link must carry in one piece
WHOLE = 4_000_000  # bytes of a message in chunks
FLOOD = 256 << 20  # bytes sent to who does not read
ROOM = 96 << 20  # bytes that who made room for them has kept


def check_transport(
    make: Callable[[str], Transport],
    *,
    cut: Callable[[str], None] | None = None,
    restart: Callable[[], None] | None = None,
    patience: float = 5.0,
) -> list[Row]:
    """A transport: frames whole, in order and to those meant; documents that last; links that heal; memory bounded.

    `make(id)` makes an unopened transport, all of one run that no one else is in. `cut(id)` loses that agent without
    warning, `restart()` the broker and all it kept; without them the checks that need them are skipped. `patience`:
    seconds within which what was sent must come.
    """
    kit = Kit(make, patience)
    return run_checks(
        [
            ("opens, and says what it can carry", lambda: _opens(kit)),
            ("a frame to all reaches those who listen, and no one else", lambda: _broadcast(kit)),
            ("a frame to one reaches that one alone", lambda: _direct(kit)),
            ("frames of a sender come in order, unchanged", lambda: _order(kit)),
            ("a frame above the largest is refused", lambda: _too_large(kit)),
            ("changing whom it listens to changes what it hears", lambda: _listens(kit)),
            ("lines reach those who watch", lambda: _lines(kit)),
            ("who opens later hears the newest documents", lambda: _newest(kit)),
            ("withdrawn documents are gone", lambda: _withdrawn(kit)),
            ("an agent hears its own documents", lambda: _own(kit)),
            ("a lost agent leaves its will", lambda: _will(kit, cut)),
            ("closing leaves no will, and may be repeated", lambda: _closes(kit)),
            ("waits as long as it is told, no longer", lambda: _timeout(kit)),
            ("a message in chunks arrives whole", lambda: _chunks(kit)),
            ("who does not read loses its oldest frames, never documents", lambda: _slow(kit)),
            ("who made room loses nothing of so much", lambda: _room(kit)),
            ("heals after the broker was restarted", lambda: _restart(kit, restart)),
        ]
    )


def _opens(kit: Kit) -> str:
    transport = kit.make("kit-open")
    need(transport.me == "kit-open", f"me is '{transport.me}', not the id it was made with")
    info = transport.open(WILL)
    transport.close()
    need(isinstance(info, LinkInfo), f"open gave a {type(info).__name__}, not a LinkInfo")
    need(info.largest >= SMALLEST, f"it carries {info.largest} bytes; {SMALLEST} are the least of use")
    need(bool(info.broker), "it does not say what is at the other end")
    return f"{info.broker}: frames up to {info.largest:,} bytes"


def _broadcast(kit: Kit) -> str:
    with kit.agents(5) as (sender, one, two, other, deaf):
        one.listen([sender.me])
        two.listen([other.me, sender.me])
        deaf.listen([other.me])
        for agent in (one, two):
            kit.meet(sender, agent)
        kit.meet(other, deaf)
        need(sender.send(b"to all"), "send gave False on an open link")
        for agent in (one, two):
            kit.until_frame(agent, b"to all", "a frame to all")
        sender.send(b"end", deaf.me)
        heard = kit.until_frame(deaf, b"end", "a frame to one") + quiet(deaf)
        need(frames_of(heard, sender) == [b"end"], "who listens to another hears it too")
        need(frames_of(quiet(sender), sender) == [], "the sender hears it, but does not listen to itself")
    return "2 of 5 agents"


def _direct(kit: Kit) -> str:
    with kit.agents(3) as (sender, meant, listener):
        listener.listen([sender.me])
        kit.meet(sender, listener)
        sender.send(b"to one", meant.me)
        sender.send(b"end")
        got = kit.until_frame(meant, b"to one", "a frame to one who listens to no one")
        heard = kit.until_frame(listener, b"end", "a frame to all") + quiet(listener)
        need(frames_of(heard, sender) == [b"end"], "who listens to the sender hears what is for another")
        need(
            frames_of(got + quiet(meant), sender) == [b"to one"], "who does not listen hears what is for all"
        )
    return "1 of 3 agents"


def _order(kit: Kit) -> str:
    with kit.agents(2) as (sender, receiver):
        receiver.listen([sender.me])
        kit.meet(sender, receiver)
        sent = _various(min(kit.info.largest, LARGE))
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(_send_all, sender, sent, receiver.me)
            heard = frames_of(kit.until_frame(receiver, sent[-1], "the last of many frames"), sender)
            sending.result()
        need(set(heard) <= set(sent), "a frame came that was not sent")
        need(len(heard) == len(sent), f"{len(sent) - len(heard)} of {len(sent)} frames are missing")
        need(heard == sent, "frames came in another order")
    return f"{len(sent)} frames of 0 to {max(map(len, sent)):,} bytes"


def _various(largest: int) -> list[bytes]:
    """Frames of many sizes, no two the same."""
    chance = np.random.default_rng(1)
    sizes = [min(size, largest) for size in SIZES] + [largest] + chance.integers(8, 1024, 300).tolist()
    return list(dict.fromkeys(chance.bytes(size) for size in sizes))


def _send_all(sender: Transport, frames: list[bytes], to: str) -> None:
    """To all, and every fifth to one: the order holds for both."""
    for number, frame in enumerate(frames):
        need(sender.send(frame, None if number % 5 else to), "send gave False on an open link")


def _too_large(kit: Kit) -> str:
    with kit.agents(2) as (sender, receiver):
        try:
            sender.send(bytes(kit.info.largest + 1), receiver.me)
        except ValueError:
            sender.send(b"end", receiver.me)
            kit.until_frame(receiver, b"end", "a frame after one that was refused")
            return f"{kit.info.largest + 1:,} bytes"
    return fail(f"send took {kit.info.largest + 1:,} bytes; raise ValueError")


def _listens(kit: Kit) -> str:
    with kit.agents(3) as (first, second, listener):
        listener.listen([first.me])
        kit.meet(first, listener)
        listener.listen([second.me])
        kit.meet(second, listener)
        quiet(listener)
        first.send(b"old")
        second.send(b"new")
        heard = kit.until_frame(listener, b"new", "a frame of who is listened to now") + quiet(listener)
        need(frames_of(heard, first) == [], "who is no longer listened to is still heard")
    return "from one to another"


def _lines(kit: Kit) -> str:
    with kit.agents(3) as (sender, watcher, listener):
        watcher.listen([], lines=True)
        listener.listen([sender.me])
        kit.meet(sender, listener)
        wanted, deadline = Message("line", sender.me, "", b"line"), time.monotonic() + kit.patience
        while watcher.receive(0.02) != wanted:  # a line may be lost
            need(time.monotonic() < deadline, f"no line came within {kit.patience:g} s to who watches")
            sender.send(b"line", WATCHERS)
        sender.send(b"frame")
        heard = kit.until_frame(listener, b"frame", "a frame to all") + quiet(listener)
        need(wanted not in heard, "who does not watch hears lines")
        need(frames_of(quiet(watcher), sender) == [], "who watches hears frames to all, without listening")
    return "1 of 3 agents"


def _newest(kit: Kit) -> str:
    with kit.agents(2) as (sender, present):
        for document in (b"1", b"2", b"3"):
            sender.publish("count", document)
        sender.publish("other", b"\x00" * 1000)
        kit.until_document(present, sender, "count", b"3")
        kit.until_document(present, sender, "other", b"\x00" * 1000)
        with kit.agents(1) as (late,):
            heard = documents_of(_quiet_after(kit, late, sender), sender)
    wanted = [("count", b"3"), ("other", b"\x00" * 1000)]
    need(sorted(heard) == wanted, f"who opens later hears {len(heard)} documents, not the newest of 2 names")
    return "2 names, one of 3 versions"


def _quiet_after(kit: Kit, late: Transport, sender: Transport) -> list[Message]:
    """What a late comer hears, from the first document of a sender until it is quiet."""
    wanted = lambda message: (message.what, message.sender) == ("document", sender.me)  # noqa: E731
    return kit.until(late, wanted, "a document to who opens later") + quiet(late)


def _withdrawn(kit: Kit) -> str:
    with kit.agents(2) as (sender, present):
        sender.publish("stays", b"here")
        sender.publish("goes", b"here")
        kit.until_document(present, sender, "goes", b"here")
        sender.publish("goes", None)
        kit.until_document(present, sender, "goes", b"")
        with kit.agents(1) as (late,):
            heard = documents_of(_quiet_after(kit, late, sender), sender)
    need(heard == [("stays", b"here")], "who opens later hears of a document that was withdrawn")
    return "b'' to who is there, nothing to who comes"


def _own(kit: Kit) -> str:
    with kit.agents(1) as (agent,):
        agent.publish(STATE, b"mine")
        kit.until_document(agent, agent, STATE, b"mine")
    return "its state"


def _will(kit: Kit, cut: Callable[[str], None] | None) -> str:
    if cut is None:
        return "skipped: give cut=..."
    with kit.agents(2) as (agent, present):
        agent.publish(STATE, b"here")
        kit.until_document(present, agent, STATE, b"here")
        cut(agent.me)
        kit.until_document(present, agent, STATE, WILL)
        with kit.agents(1) as (late,):
            heard = documents_of(_quiet_after(kit, late, agent), agent)
        back = agent.send(b"")  # some come back by themselves, and say so
        need((STATE, WILL) in heard or back, "who opens later does not hear of the will")
    return "to who is there, and to who comes"


def _closes(kit: Kit) -> str:
    with kit.agents(2) as (agent, present):
        agent.publish(STATE, b"here")
        kit.until_document(present, agent, STATE, b"here")
        agent.close()
        agent.close()
        heard = quiet(present) + quiet(present)
        need((STATE, WILL) not in documents_of(heard, agent), "the will became the state of who has closed")
        with kit.agents(1) as (late,):
            heard = _quiet_after(kit, late, agent)
        need(documents_of(heard, agent) == [(STATE, b"here")], "its document is gone")
    return "closed twice, its document stays"


def _timeout(kit: Kit) -> str:
    with kit.agents(1) as (agent,):
        quiet(agent)
        begin = time.monotonic()
        need(agent.receive(0.2) is None, "something came that no one sent")
        seconds = time.monotonic() - begin
        need(0.15 <= seconds <= 1, f"receive(0.2) took {seconds:.2f} s")
        begin = time.monotonic()
        agent.receive(0)
        need(time.monotonic() - begin < 0.15, "receive(0) waits")
    return f"receive(0.2) took {seconds:.2f} s"


def _chunks(kit: Kit) -> str:
    with kit.agents(2) as (sender, receiver):
        payload = np.random.default_rng(2).bytes(WHOLE)
        frames = pack(Head(Kind.DATA), payload, largest=min(kit.info.largest, WHOLE // 4), key=None)
        assembler, got = Assembler(WHOLE, 2 * WHOLE), None
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(lambda: [sender.send(frame, receiver.me) for frame in frames])
            while got is None:
                message = receiver.receive(kit.patience)
                need(message is not None, f"a message of {WHOLE:,} bytes did not come whole")
                if message is not None and message.what == "frame":
                    got = assembler.add(unpack(message.payload, None))
            need(all(sending.result()), "send gave False on an open link")
        need(got == payload, f"{WHOLE:,} bytes came changed")
    return f"{WHOLE:,} bytes in {len(frames)} frames"


def _slow(kit: Kit) -> str:
    with kit.agents(2) as (sender, sleeper):
        sleeper.listen([sender.me])
        kit.meet(sender, sleeper)
        size = min(kit.info.largest, 1 << 20)
        count, process = FLOOD // size, psutil.Process()
        before = process.memory_info().rss
        _flood(sender, count, size)
        grown = process.memory_info().rss - before
        need(grown < FLOOD // 2, f"{FLOOD >> 20} MiB that no one read took {grown >> 20} MiB of memory")
        newest = _stamp(count - 1)
        heard = kit.until(sleeper, lambda message: message.payload[:8] == newest, "the newest frame")
        heard += quiet(sleeper)
        numbers = [int.from_bytes(frame[:8], "little") for frame in frames_of(heard, sender)]
        need(numbers == sorted(numbers), "frames came in another order")
        missing = 20 - len(documents_of(heard, sender))
        need(missing == 0, f"{missing} of 20 documents are missing")
    return f"the newest {len(numbers)} of {count} frames of {size:,} bytes, all of 20 documents"


def _room(kit: Kit) -> str:
    with kit.agents(2) as (sender, sleeper):
        sleeper.make_room(2 * ROOM)  # what a message takes beside its payload, too
        sleeper.listen([sender.me])
        kit.meet(sender, sleeper)
        size = min(kit.info.largest, 1 << 20)
        count = ROOM // size
        _flood(sender, count, size)
        newest = _stamp(count - 1)
        heard = kit.until(sleeper, lambda message: message.payload[:8] == newest, "the newest frame")
        numbers = [int.from_bytes(frame[:8], "little") for frame in frames_of(heard, sender)]
        need(numbers == list(range(count)), f"{count - len(numbers)} of {count} frames are missing")
    return f"all of {count} frames of {size:,} bytes"


def _flood(sender: Transport, count: int, size: int) -> None:
    """So many frames, with 20 documents among them."""
    rest = bytes(size - 8)
    for number in range(count):
        if number * 20 // count != (number - 1) * 20 // count:
            sender.publish(f"document-{number * 20 // count}", b"here")
        need(sender.send(_stamp(number) + rest), "send gave False on an open link")


def _stamp(number: int) -> bytes:
    return number.to_bytes(8, "little")


def _restart(kit: Kit, restart: Callable[[], None] | None) -> str:
    if restart is None:
        return "skipped: give restart=..."
    with kit.agents(2) as (sender, listener):
        listener.listen([sender.me])
        kit.meet(sender, listener)
        sender.publish(STATE, b"here")
        kit.until_document(listener, sender, STATE, b"here")
        begin = time.monotonic()
        restart()
        for agent in (sender, listener):
            kit.until_link(agent, "down")
            kit.until_link(agent, "up")
        kit.until_document(listener, sender, STATE, b"here")
        kit.meet(sender, listener)
        seconds = time.monotonic() - begin
        with kit.agents(1) as (late,):
            kit.until_document(late, sender, STATE, b"here")
    return f"links, documents and frames are there again after {seconds:.1f} s"
