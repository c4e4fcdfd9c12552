"""What a broker carries: the size of a message, how many wait for a slow agent, and how long one takes."""

from __future__ import annotations

import secrets
import statistics
import time
from typing import Final

from edgekit.broker.finding import Finding
from edgekit.broker.probe import NO_LIMIT, NoAnswer, Probe, Welcome
from edgekit.wire.mqtt import LARGEST
from edgekit.wire.topics import Topics

LEAST: Final = 2**12  # below which a model takes too many frames
OVERHEAD: Final = 512  # bytes of topic and header
QUEUE: Final = 1000  # messages: Mosquitto's own limit
PINGS: Final = 20
SLOW: Final = 0.25  # seconds


def size(probe: Probe, welcome: Welcome, me: str) -> Finding:
    """Whether a whole chunk comes through, and what the broker says of its limit."""
    limit = "no limit announced" if welcome.largest == NO_LIMIT else f"at most {welcome.largest:,} bytes"
    tried = min(LARGEST, welcome.largest - OVERHEAD)
    fix = f"Let it take {LARGEST + OVERHEAD:,} bytes (Mosquitto: max_packet_size, message_size_limit)."
    if tried < LEAST:
        return Finding("message size", "failed", limit, fix)
    try:
        _echo(probe, me, bytes(tried))
    except NoAnswer as why:
        seen = f"{limit}, but one of {tried:,} does not come back: {why}"
        return Finding("message size", "failed", seen, fix)
    if tried < LARGEST:
        return Finding("message size", "warning", f"{limit}: models go in many small chunks", fix)
    return Finding("message size", "ok", f"{tried:,} bytes come through, {limit}")


def queue(sender: Probe, reader: Probe, me: str) -> Finding:
    """How many messages the broker keeps for an agent that does not read them yet."""
    topics = _topics(me)
    reader.subscribe(topics.out)
    posted = [sender.post(topics.out, b"%d" % number) for number in range(QUEUE)]
    sender.wait(lambda: sender.answered(posted))
    kept = _read_late(reader)
    if kept == QUEUE:
        return Finding("queue", "ok", f"{kept:,} messages are kept for a slow agent")
    return Finding(
        "queue",
        "warning",
        f"{kept:,} of {QUEUE:,} messages are kept for a slow agent, and the rest is dropped in silence",
        f"Let it keep more (Mosquitto: max_queued_messages {QUEUE}, max_queued_bytes 0).",
    )


def round_trip(probe: Probe, me: str) -> Finding:
    """How long a small message takes to the broker and back."""
    topics, took = _topics(me), []
    probe.subscribe(topics.out)
    for number in range(PINGS):
        start = time.perf_counter()
        probe.post(topics.out, b"%d" % number)
        probe.wait_for(number + 1)
        took.append(time.perf_counter() - start)
    middle, worst = statistics.median(took), max(took)
    seen = f"{1e3 * middle:.1f} ms, at worst {1e3 * worst:.1f} ms of {PINGS}"
    if middle > SLOW:
        return Finding(
            "round trip", "warning", seen, "A round cannot take less than that: use more local steps."
        )
    return Finding("round trip", "ok", seen)


def _echo(probe: Probe, me: str, payload: bytes) -> None:
    topics = _topics(me)
    probe.subscribe(topics.out)
    probe.publish(topics.out, payload)
    probe.wait_for(1)
    if len(probe.heard[-1].payload) != len(payload):
        raise NoAnswer("it comes cut off")


def _read_late(reader: Probe) -> int:
    """Read and acknowledge until nothing comes any more."""
    done = 0
    try:
        while done < QUEUE:
            reader.wait_for(done + 1, patience=1.0)
            for message in reader.heard[done:]:
                reader.acknowledge(message)
                done += 1
    except NoAnswer:
        pass
    return done


def _topics(me: str) -> Topics:
    return Topics(f"check-{secrets.token_hex(4)}", me)
