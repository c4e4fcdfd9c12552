"""A run under way that things happen to: a broker, the starter in a thread, agents as processes."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil

from edgekit.broker.mosquitto import Mosquitto
from edgekit.coordinator.patience import Deadlines
from edgekit.coordinator.training import AGENTS, Terms
from edgekit.wire.faults import Faults
from tests.chaos import logs
from tests.chaos.outcome import Outcome
from tests.chaos.rig import Rig, Tamper, small_study

LINK = Faults(delay=0.02)  # a round takes some 20 ms, and hardly any work
DEADLINES = Deadlines(least=1.0, most=20.0)
PATIENCE = 60.0  # seconds for anything to come about
LOOK = 0.01  # seconds between two looks


class Scene:
    """The run of a small study with `changes`; each agent hears the others over a link with `faults`.

    tamper(number, post): how some agents meet the others in another way; terms: of the training. said: lines of the
    starter; acts: (seconds, what was done).
    """

    def __init__(
        self,
        folder: Path,
        changes: Mapping[str, Any] | None = None,
        *,
        broker: Mosquitto | None = None,
        faults: Faults = LINK,
        tamper: Tamper = lambda number, post: post,
        **terms: Any,
    ) -> None:
        self.folder, self.study = folder, small_study(changes)
        self.agents = self.study.cells[0].run.agents
        self.broker = broker or Mosquitto()
        self.said: list[str] = []
        self.acts: list[tuple[float, str]] = []
        self.peaks: dict[str, int] = {}  # bytes of resident memory, by agent; of the broker, too
        self.outcome: Outcome | None = None
        self._terms = {"local": self.agents, "deadlines": DEADLINES, **terms}
        self._tamper: Tamper = lambda number, post: tamper(number, replace(post, faults=faults))
        self._rig: Rig | None = None
        self._error: BaseException | None = None
        if faults != LINK:
            self.acts.append(
                (0.0, ", ".join(f"{key} {value:g}" for key, value in vars(faults).items() if value))
            )
        self._over = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self._began = 0.0

    @contextmanager
    def playing(self) -> Iterator[Scene]:
        """The run from its start; whatever is left of it ends with the block."""
        self.broker.start()
        self._began = time.monotonic()
        self._thread.start()
        Thread(target=self._weigh, daemon=True).start()
        try:
            yield self
        finally:
            for pid in self.pids.values():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            self._end()
            self.broker.stop()

    # what there is to see

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._began

    @property
    def pids(self) -> dict[str, int]:
        """The agents' processes."""
        local = None if self._rig is None else self._rig.local
        return {} if local is None else local.pids

    @property
    def names(self) -> list[str]:
        """The agents' ids by number."""
        self.until(lambda: len(self.pids) == self.agents, "all agents started")
        return sorted(self.pids)

    def status(self, name: str) -> str:
        """What the starter last heard of an agent."""
        starter = None if self._rig is None else self._rig.starter
        state = None if starter is None else starter.members.states.get(name)
        return "" if state is None else state.status

    def round(self, name: str) -> int:
        """The last round that an agent has finished, -1 before the first."""
        return logs.last_round(self.folder / AGENTS, name)

    def words(self) -> str:
        """Everything that the starter and the agents have said so far."""
        return "\n".join([*self.said, *logs.journals(self.folder / AGENTS)])

    # waiting

    def until(self, so: Callable[[], bool], what: str) -> None:
        """Wait until something is so."""
        end = time.monotonic() + PATIENCE
        while not so():
            if self._over.is_set():
                raise AssertionError(f"the run ended before: {what}; {self._error}") from self._error
            if time.monotonic() > end:
                raise AssertionError(f"not within {PATIENCE:g} s: {what}: {self._standing()}")
            time.sleep(LOOK)

    def until_round(self, number: int, name: str | None = None) -> None:
        """Wait until an agent, the first where none is named, has finished a round."""
        wanted = name or self.names[0]
        self.until(lambda: self.round(wanted) >= number, f"round {number} of {wanted}")

    def until_status(self, name: str, status: str) -> None:
        """Wait until an agent says that it is joining, ready, training, behind or done."""
        self.until(lambda: self.status(name) == status, f"{name} is {status}")

    def until_said(self, text: str) -> None:
        """Wait until the starter or an agent has said something."""
        self.until(lambda: text in self.words(), f"'{text}'")

    # mischief

    def kill(self, *names: str) -> None:
        """Kill agents, as a power cut would."""
        for name in names:
            self.act(f"kill -9 {name} ({self.status(name) or 'starting'}, round {self.round(name)})")
            os.kill(self.pids[name], signal.SIGKILL)

    def freeze(self, name: str) -> None:
        """Stop an agent's process where it is."""
        self.act(f"SIGSTOP {name}")
        os.kill(self.pids[name], signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let it go on."""
        self.act(f"SIGCONT {name}")
        os.kill(self.pids[name], signal.SIGCONT)

    def kill_broker(self) -> None:
        """Kill the broker, as a power cut would."""
        self.act("kill -9 broker")
        self.broker.kill()

    def start_broker(self) -> None:
        """Start it again, with nothing that it knew."""
        self.act("start broker")
        self.broker.start()

    def act(self, what: str) -> None:
        """Note what is done."""
        self.acts.append((self.seconds, what))

    # the end

    def finish(self, *, seconds: float = 90.0) -> Outcome:
        """Wait for the end of the run; what came of it."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise AssertionError(f"the run does not end: {self._standing()}")
        if self._error is not None:
            raise self._error
        self.outcome = Outcome.of(self.folder, self.study, self.words(), self.seconds, self.peaks)
        return self.outcome

    def _standing(self) -> str:
        rounds = {name: (self.round(name), self.status(name)) for name in self.pids}
        return f"{json.dumps(rounds)}\n{self.words()[-4000:]}"

    def _run(self) -> None:
        try:
            terms = Terms(url=self.broker.url, **self._terms)
            self._rig = Rig(self.study, self.folder, terms, tamper=self._tamper, say=self.said.append)
            self._rig.history()
        except BaseException as error:  # the test's thread raises it
            self._error = error
        finally:
            self._over.set()

    def _end(self) -> None:
        """End a run that a failed test leaves."""
        while self._thread.is_alive():
            for pid in self.pids.values():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._thread.join(0.2)

    def _weigh(self) -> None:
        while not self._over.wait(0.2):
            for name, pid in self.pids.items():
                with suppress(psutil.Error):
                    weight = psutil.Process(pid).memory_info().rss
                    self.peaks[name] = max(weight, self.peaks.get(name, 0))
