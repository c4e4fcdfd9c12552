"""Agents of a run as processes of this machine, forked from one that has torch loaded, and started anew when killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any, Final

from edgekit.coordinator.worker import Work
from edgekit.errors import EdgekitError

Say = Callable[[str], None]
RESTARTS: Final = 5  # of one agent
LOG = "agent.log"
# agents share the cores
THREADS: Final = frozenset({"OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"})


@dataclass
class _Agent:
    work: Work
    process: BaseProcess
    starts: int = 1


class LocalAgents:
    """Agents that run here. One that is killed comes back with what it kept; one that fails stays away."""

    def __init__(self, works: Sequence[Work], *, say: Say = lambda line: None, restart: bool = True) -> None:
        self._say, self._restart = say, restart
        self._context = context()
        self._agents = [_Agent(work, self._start(work)) for work in works]
        self.failed: dict[str, int] = {}
        self.reason = ""  # of the last that failed

    @property
    def pids(self) -> dict[str, int]:
        """The process of each agent that is alive."""
        return {
            agent.work.me: agent.process.pid
            for agent in self._agents
            if agent.process.is_alive() and agent.process.pid is not None
        }

    def look(self) -> None:
        """Start anew what was killed."""
        for agent in self._agents:
            code = agent.process.exitcode
            if not code or agent.work.me in self.failed:
                continue
            if code > 0:
                self.failed[agent.work.me] = code
                self.reason = last_words(agent.work)
                self._say(f"{agent.work.me} ended with status {code}: {self.reason}")
                continue
            name = signal.Signals(-code).name
            if not self._restart or agent.starts > RESTARTS:
                self.failed[agent.work.me] = code
                self._say(f"{agent.work.me} was killed ({name}) and is not started again")
                continue
            self._say(f"{agent.work.me} was killed ({name}); it is started again")
            agent.starts += 1
            agent.process = self._start(agent.work)

    def join(self, timeout: float) -> None:
        """Wait for those that are about to end, and end those that are not."""
        for agent in self._agents:
            agent.process.join(timeout)
        self.kill()

    def kill(self) -> None:
        """End all that are left."""
        for agent in self._agents:
            if agent.process.is_alive():
                agent.process.terminate()
        for agent in self._agents:
            agent.process.join(5)
            if agent.process.is_alive():
                agent.process.kill()

    def _start(self, work: Work) -> BaseProcess:
        process: BaseProcess = self._context.Process(target=_be, args=(work,), daemon=True, name=work.me)  # type: ignore[attr-defined]
        process.start()
        return process


def last_words(work: Work) -> str:
    """The last line of an agent's log."""
    log = work.folder / work.me / LOG
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    return lines[-1].removeprefix("edgekit: ") if lines else f"see {log}"


def context() -> Any:
    """How agents' processes are made: forked from a server that has loaded torch, so that each starts at once.

    The server begins to load it with the first call, and the caller does not wait.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver

    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(["edgekit.coordinator.preload"])
    before = dict(os.environ)
    os.environ |= dict.fromkeys(THREADS, "1") | before  # read once, when torch is loaded there
    try:
        forkserver.ensure_running()
    finally:
        for name in THREADS - before.keys():
            del os.environ[name]
    return made


def _be(work: Work) -> None:
    """The whole life of an agent's process; its words go to its log."""
    from edgekit.coordinator.worker import take_part

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the starter, who stops all
    signal.signal(signal.SIGTERM, _leave)
    if work.tied:
        threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    folder = work.folder / work.me
    folder.mkdir(parents=True, exist_ok=True)
    log = open(folder / LOG, "a", encoding="utf-8", buffering=1)  # noqa: SIM115
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)

    def say(line: str) -> None:
        log.write(f"{line}\n")

    try:
        take_part(work, say=say)
    except EdgekitError as error:
        log.write(f"edgekit: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def _leave(signum: int, frame: object) -> None:
    """Told to end: keep a snapshot, say so to the others, and go."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise KeyboardInterrupt


def _end_with_parent(parent: int) -> None:
    """Who started this agent is gone, and with it the broker: leave, with a snapshot."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
