"""An agent in the lobby: it takes part in what is offered, one run at a time, under an id of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edgekit.broker.mosquitto import Mosquitto
from edgekit.coordinator import supervisor as module
from edgekit.coordinator.device_file import DeviceFile
from edgekit.coordinator.documents import State
from edgekit.coordinator.supervisor import LOBBY, OFFER, Offer, Supervisor
from edgekit.coordinator.worker import Post, Work
from edgekit.coordinator.writer import Writer
from edgekit.errors import BadInput
from edgekit.wire.document import seal
from edgekit.wire.transport import STATE


class Job:
    """What a role does: nothing, until it is told how it ends."""

    def __init__(self, work: Work, code: int) -> None:
        self.work, self._code = work, code
        self.pids, self.killed = {work.me: 1}, False
        self.failed: dict[str, int] = {}

    def look(self) -> None:
        pass

    def end(self) -> None:
        if self._code:
            self.failed = {self.work.me: self._code}
        self.pids = {}

    def kill(self) -> None:
        self.killed = True


class Role:
    """One that does nothing."""

    name = "train"

    def __init__(self, *, lacks: str = "", code: int = 0) -> None:
        self._lacks, self._code = lacks, code
        self.jobs: list[Job] = []

    def missing(self) -> str:
        return self._lacks

    def start(self, work: Work, say) -> Job:
        self.jobs.append(Job(work, self._code))
        return self.jobs[-1]


class Machine:
    """A supervisor in a thread."""

    def __init__(
        self, url: str, folder: Path, me: str = "cam-1", *, role: Role | None = None, **options
    ) -> None:
        self.role = role or Role()
        self.said: list[str] = []
        post = Post(url, folder)
        roles = {"train": self.role}
        self.made = Supervisor(me, post, DeviceFile(), folder, roles, say=self.said.append, **options)
        self.ended: list = []
        self._over = False
        transport: Any = self.made._access.transport
        receive = transport.receive

        def interrupted(timeout):
            if self._over:
                raise KeyboardInterrupt
            return receive(timeout)

        transport.receive = interrupted
        self._thread = threading.Thread(target=self._be, daemon=True)
        self._thread.start()

    def _be(self) -> None:
        try:
            self.ended.append(self.made.run())
        except BaseException as error:
            self.ended.append(error)

    def result(self):
        self._thread.join(20)
        return self.ended[0]

    def stop(self) -> None:
        self._over = True
        self._thread.join(20)


class Office:
    """Who offers runs, and hears the lobby."""

    def __init__(self, url: str, folder: Path, me: str = "office") -> None:
        self.access = Post(url, folder).access(LOBBY, me)
        self.writer = Writer(self.access.transport, self.access.identity, LOBBY)
        self.access.transport.open(b"")
        self.states: dict[str, list[str]] = {}

    def offer(self, run: str, **more) -> None:
        self.writer.publish(OFFER, Offer(run, run.partition(".")[0], 2, **more).body())

    def sees(self, me: str, status: str, seconds: float = 15.0) -> bool:
        """Whether an agent comes to be so."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            message = self.access.transport.receive(0.1)
            if message is not None and (message.sender, message.name) == (me, STATE):
                if not message.payload:
                    self.states.setdefault(me, []).append("withdrawn")
                else:
                    body = self.access.trust.open(message.payload, me, STATE)
                    self.states.setdefault(me, []).append(State.of(body).status)
            if self.states.get(me, [""])[-1] == status:
                return True
        return False


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "CLAIM", 0.2)


@pytest.fixture
def url(mosquitto, tmp_path):
    """A broker of its own: what one test leaves in the lobby is not for the next."""
    with Mosquitto(folder=tmp_path / "broker") as broker:
        yield broker.url


@pytest.fixture
def office(url, tmp_path):
    (tmp_path / "office").mkdir()
    made = Office(url, tmp_path / "office")
    yield made
    made.writer.publish(OFFER, None)
    made.access.transport.close()


def until(holds, seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_it_takes_part_in_one_run_after_the_other(url, office, tmp_path):
    machine = Machine(url, tmp_path)
    assert office.sees("cam-1", "ready")
    office.offer("demo.1")
    assert office.sees("cam-1", "training")
    (job,) = machine.role.jobs
    assert (job.work.run, job.work.me, job.work.folder) == ("demo.1", "cam-1", tmp_path)
    office.offer("demo.2")
    time.sleep(0.5)
    assert len(machine.role.jobs) == 1  # one at a time
    job.end()
    until(lambda: len(machine.role.jobs) == 2)
    assert job.killed
    assert machine.role.jobs[1].work.run == "demo.2"
    machine.role.jobs[1].end()
    assert office.sees("cam-1", "ready")
    time.sleep(0.5)
    assert len(machine.role.jobs) == 2  # what it took part in is not taken again
    machine.stop()
    assert "cam-1: takes part in demo" in machine.said
    assert "cam-1: demo is over" in machine.said
    assert isinstance(machine.result(), KeyboardInterrupt)
    assert office.sees("cam-1", "withdrawn")


@pytest.mark.parametrize("code", [0, 1, 2])
def test_once_ends_with_the_status_of_the_run(url, office, tmp_path, code):
    office.offer("demo.1")
    machine = Machine(url, tmp_path, role=Role(code=code), once=True)
    until(lambda: machine.role.jobs)
    machine.role.jobs[0].end()
    assert machine.result() == code


def test_a_run_that_has_all_its_agents_or_another_name_is_none_of_its_business(url, office, tmp_path):
    machine = Machine(url, tmp_path, only=("mine",))
    assert office.sees("cam-1", "ready")
    office.offer("other.1")
    office.offer("mine.1", open=False)
    time.sleep(0.6)
    assert machine.role.jobs == []
    office.offer("mine.2")
    until(lambda: machine.role.jobs)
    assert machine.role.jobs[0].work.run == "mine.2"
    machine.stop()
    assert machine.role.jobs[0].killed


def test_an_offer_without_sense_is_said_and_passed_over(url, office, tmp_path):
    machine = Machine(url, tmp_path)
    assert office.sees("cam-1", "ready")
    office.writer.publish(OFFER, {"run": "../etc", "name": "x", "agents": 1, "role": "train"})
    until(lambda: "offer: run, name and role are no names." in machine.said)
    office.access.transport.publish(OFFER, seal(office.access.identity, "elsewhere", OFFER, {}, 1))
    until(lambda: any("another run" in line for line in machine.said))
    office.offer("demo.9", role="fly")
    until(lambda: any("asks for the role 'fly', which this machine lacks" in line for line in machine.said))
    assert machine.role.jobs == []
    office.offer("demo.10")
    until(lambda: machine.role.jobs)
    machine.stop()


def test_what_it_lacks_is_one_line(url, tmp_path):
    machine = Machine(url, tmp_path, role=Role(lacks="train: torch is not installed. Run: pip install X"))
    until(lambda: any("can nothing" in line for line in machine.said))
    machine.stop()
    assert machine.said[0] == "train: torch is not installed. Run: pip install X"


@pytest.mark.parametrize("same_key", [True, False])
def test_an_id_in_use_is_refused_and_whoever_has_it_keeps_it(url, office, tmp_path, same_key):
    first = Machine(url, tmp_path)
    assert office.sees("cam-1", "ready")
    other = tmp_path if same_key else tmp_path / "other"
    other.mkdir(exist_ok=True)
    second = Machine(url, other)
    error = second.result()
    assert isinstance(error, BadInput)
    assert "id 'cam-1' is in use in the lobby. Give this agent an id of its own: --id NAME." in str(error)
    assert "\n" not in str(error)
    assert first.ended == []
    office.offer("demo.1")
    until(lambda: first.role.jobs)
    first.stop()


@contextmanager
def agent(url: str, folder: Path, *words: str):
    """`edgekit agent` in a process of its own."""
    command = [sys.executable, "-m", "edgekit", "agent", "--broker", url, "--out", str(folder), *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=20)


def test_killed_and_started_again_it_is_the_same_agent(url, office, tmp_path):
    with agent(url, tmp_path, "--id", "cam-7") as process:
        assert office.sees("cam-7", "ready")
        process.kill()
        assert office.sees("cam-7", "lost")
    with agent(url, tmp_path, "--id", "cam-7") as process:
        assert office.sees("cam-7", "ready")
        process.send_signal(signal.SIGTERM)
        assert office.sees("cam-7", "withdrawn")
        assert process.wait(20) == 130
        assert process.stderr.read().splitlines()[-1] == "edgekit: stopped; run the same command to resume"


def test_the_broker_may_come_and_go(mosquitto, tmp_path):
    with Mosquitto(folder=tmp_path / "broker") as broker:
        (tmp_path / "office").mkdir()
        machine = Machine(broker.url, tmp_path)
        until(lambda: machine.made._claimed)
        broker.kill()
        until(lambda: "cam-1: the link is down" in machine.said)
        broker.start()
        until(lambda: "cam-1: the link is up" in machine.said)
        office = Office(broker.url, tmp_path / "office")
        office.offer("demo.1")
        until(lambda: machine.role.jobs)
        machine.stop()
        office.access.transport.close()
