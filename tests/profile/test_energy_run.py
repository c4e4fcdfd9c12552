"""Windows of idling and of loads, and what a sensor whose truth is known says of them."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest

from edgekit.errors import BadInput
from edgekit.profile.energy_fields import energies, log_ratios
from edgekit.profile.energy_run import EnergyPlan, run_windows, seconds_needed
from edgekit.profile.energy_session import EnergySession, sensed, unsensed
from edgekit.profile.trace import Trace, Window
from tests.profile.rails import Bare, Short

FEEDS = {"x": np.zeros((2, 1), np.float32)}  # a batch of 2


class Board:
    """A board that takes 1 W at rest, and more while a load runs; it can fail from some reading on."""

    name, scope, period, wrap, note = "bench", "board", 0.01, None, ""

    def __init__(self, *, counts: bool = False, fails_after: int | None = None, rest: float = 1.0) -> None:
        self.counts, self.fails_after, self.rest, self.power = counts, fails_after, rest, rest
        self.reads, self.until, self.last, self.total = 0, 0.0, time.monotonic(), 0.0
        self.lock = threading.Lock()  # the load and the sampler both settle

    def load(self, watts: float):
        """A call of 1 ms that takes so many watts more."""

        def call() -> None:
            self._settle()
            self.power = self.rest + watts
            self.until = time.monotonic() + 0.02  # a load that does not call again is over
            time.sleep(0.001)

        return call

    def read(self) -> Reading:
        self.reads += 1
        if self.fails_after is not None and self.reads > self.fails_after:
            raise BadInput("bench: the cable is out")
        now = self._settle()
        return Reading(
            round(now * 1e9), None if self.counts else self.power, self.total if self.counts else None
        )

    def _settle(self) -> float:
        with self.lock:
            now = time.monotonic()
            over = min(max(self.until, self.last), now)  # however late it is asked
            self.total += self.power * (over - self.last) + self.rest * (now - over)
            self.last = now
            if now > self.until:
                self.power = self.rest
            return now


@dataclass(frozen=True)
class Reading:
    time_ns: int
    watts: float | None
    joules: float | None


def items(board: Board, *watts: float) -> list[Bare]:
    return [
        Bare(f"net {index}", None, "cpu", FEEDS, board.load(value))  # type: ignore[arg-type]
        for index, value in enumerate(watts)
    ]


def per_inference(session: EnergySession, name: str, watts: float) -> float:
    """watts x time / inferences over the windows of one load."""
    own = [item for item in session.windows if item.label == name]
    return float(np.mean([watts * item.seconds / (item.inferences or 0) for item in own]))


def test_every_round_runs_each_load_once_between_two_rests():
    calls = {"a": 0, "b": 0, "c": 0}

    def counted(name: str):
        def call() -> None:
            calls[name] += 1
            time.sleep(0.0005)

        return call

    ran = run_windows({name: counted(name) for name in calls}, seconds=0.03, rounds=6, batch=4)
    labels = [item.label for item in ran.windows]
    rounds = [labels[start : start + 3] for start in range(1, 19, 3)]
    assert (labels[0], labels[-1], len(labels), ran.stopped) == ("idle", "idle", 20, "")
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
    assert len(set(map(tuple, rounds))) > 1
    assert all(item.seconds >= 0.03 for item in ran.windows)
    assert all(
        later.start >= earlier.end for earlier, later in zip(ran.windows, ran.windows[1:], strict=False)
    )
    for name, count in calls.items():
        inferences = sum(item.inferences or 0 for item in ran.windows if item.label == name)
        assert 0 < inferences < 4 * count
        assert inferences % 4 == 0


def test_bursts_come_first_and_ctrl_c_keeps_what_ended():
    def call() -> None:
        time.sleep(0.001)
        if time.monotonic() > end:
            raise KeyboardInterrupt

    end = (
        time.monotonic() + 9.5
    )  # 0.5 s to warm up, 7 s of bursts, two windows of 0.4 s with what settles before
    ran = run_windows({"a": call}, seconds=0.4, rounds=50, sync=True)
    labels = [item.label for item in ran.windows]
    assert labels[:4] == ["sync", "sync", "sync", "idle"]
    assert set(labels[4:]) == {"a"}
    assert ran.stopped == f"stopped by Ctrl-C after {len(labels)} of 55 windows"


def test_a_window_is_long_enough_for_the_sensor():
    assert EnergyPlan().seconds(0.05) == 10
    assert EnergyPlan().seconds(1.0) == 100
    assert EnergyPlan(quick=True).seconds(1.0) == 2
    assert seconds_needed(2, seconds=10, rounds=5) == pytest.approx(12 * 10.2 + 1)


@pytest.mark.parametrize("counts", [False, True])
def test_gross_net_and_ratio_are_those_of_the_load(counts: bool):
    board = Board(counts=counts)
    session = sensed(items(board, 2.0, 4.0), Short(windows=5), board)
    one, two = session.energies.fields["net 0"], session.energies.fields["net 1"]
    assert one["joules_per_inference"] == pytest.approx(per_inference(session, "net 0", 3.0), rel=0.08)
    assert one["net"]["joules_per_inference"] == pytest.approx(per_inference(session, "net 0", 2.0), rel=0.12)
    assert two["joules_per_inference"] == pytest.approx(per_inference(session, "net 1", 5.0), rel=0.08)
    assert one["idle_watts"] == pytest.approx(1.0, rel=0.1)
    assert one["method"] == ("counter differences" if counts else "trapezoid, interpolated edges")
    assert (one["scope"], one["sensor"], len(one["windows"]), len(one["idle"])) == ("board", "bench", 5, 2)
    gain = session.energies.gains["net 1"]
    assert gain["differs"]
    assert gain["value"] == pytest.approx(
        per_inference(session, "net 0", 3.0) / per_inference(session, "net 1", 5.0), rel=0.1
    )
    assert session.facts["sampler_core_share"] < 0.2
    assert (session.facts["failures"], session.facts["rounds"]) == (0, 5)


def test_a_sensor_that_vanishes_leaves_what_it_saw():
    board = Board(fails_after=45)  # of about 20 a second: in the third window
    session = sensed(items(board, 2.0), Short(windows=6), board)
    energy = session.energies.fields["net 0"]
    flags = {flag["name"]: flag["what"] for flag in energy["flags"]}
    assert {"lost", "failed readings"} <= set(flags)
    assert flags["failed readings"].endswith("the last: bench: the cable is out")
    assert [item["joules"] is None for item in energy["windows"]][-1]
    assert energy["joules_per_inference"] == pytest.approx(per_inference(session, "net 0", 3.0), rel=0.1)


@pytest.mark.parametrize(("fails_after", "said"), [(0, "the cable is out"), (3, "the cable is out")])
def test_a_sensor_that_never_answers_is_a_reason(fails_after: int, said: str):
    board = Board(fails_after=fails_after)
    session = sensed(items(board, 2.0), Short(windows=5, length=0.1), board)
    assert not session.energies.fields
    assert said in session.energies.reasons["net 0"]


def test_a_sensor_that_sees_nothing_is_a_reason_not_a_zero():
    board = Board(rest=0.0)
    session = sensed(items(board, 0.0), Short(windows=5, length=0.2), board)
    assert "saw no energy" in session.energies.reasons["net 0"]


def test_without_a_sensor_the_windows_are_for_a_meter():
    board = Board()
    session = unsensed(items(board, 1.0), Short(windows=5, length=0.05))
    assert [item.label for item in session.windows[:3]] == ["sync"] * 3
    assert "--meter" in session.energies.reasons["net 0"]
    assert board.reads == 0


def test_windows_without_whole_readings_are_left_out_of_what_is_sound():
    """Of 3 W throughout, one window has a hole: the sound ones still say 3 W."""
    times = np.arange(0, 60, 0.05)
    watts = 3.0 + 0.01 * np.sin(40 * times)
    hole = (times > 12) & (times < 18)
    trace = Trace(times[~hole], watts[~hole], interval=0.05, sensor="meter", scope="wall")
    windows = [Window(start, start + 9.5, "net", 95) for start in (0.5, 10.5, 20.5, 30.5, 40.5)]
    found = energies(trace, windows, ["net", "other"])
    energy = found.fields["net"]
    assert energy["sound"] == {"windows": 4, "joules_per_inference": pytest.approx(0.3, rel=1e-3)}
    assert "gap" in {flag["name"] for flag in energy["flags"]}
    assert energy["net"] is None
    assert found.reasons == {"other": "no window of it ended"}
    assert found.reasons_of("net") == {}


def test_rounds_follow_until_the_ratio_is_known():
    """The callback sees every window so far; five rounds of a steady board suffice for a rough ratio."""
    seen: list[int] = []

    def more(windows) -> int:
        seen.append(sum(item.label == "a" for item in windows))
        return 3 if len(seen) < 3 else 0

    ran = run_windows({"a": lambda: time.sleep(0.001)}, seconds=0.01, rounds=5, more=more)
    assert seen == [5, 8, 11]
    assert [item.label for item in ran.windows].count("a") == 11
    assert [ran.windows[0].label, ran.windows[-1].label] == ["idle", "idle"]
    board = Board(counts=True)
    session = sensed(items(board, 2.0, 4.0), Short(windows=5, length=0.4, within=1.5), board)
    assert len(session.energies.fields["net 0"]["windows"]) == 5


def test_log_ratios_are_of_paired_rounds():
    times = np.arange(0, 30, 0.01)
    trace = Trace(times, np.where((times % 2) < 1, 4.0, 2.0) + 1e-3 * np.sin(50 * times))
    windows = [Window(at + 0.1, at + 0.9, "ab"[at % 2], 10) for at in range(20)]
    (logs,) = log_ratios(trace, windows, ["a", "b"])
    assert logs == pytest.approx(np.full(10, np.log(2)), rel=1e-2)
    (alone,) = log_ratios(trace, windows, ["a"])
    assert alone == pytest.approx(np.full(10, np.log(0.32)), rel=1e-2)
