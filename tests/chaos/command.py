"""The command that starts a run, as a process that can be killed: python -m tests.chaos.command FOLDER URL ROUNDS."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil

from edgekit.coordinator.keeper import ROUNDS
from edgekit.coordinator.training import AGENTS, Terms
from tests.chaos import logs
from tests.chaos.outcome import Outcome
from tests.chaos.rig import SMALL, Rig, small_study
from tests.chaos.scene import DEADLINES, LINK, PATIENCE

ROOT = Path(__file__).resolve().parent.parent.parent


class Command:
    """It in one folder, started and killed one time after the other, and the processes that this leaves."""

    def __init__(self, folder: Path, url: str, rounds: int) -> None:
        self.folder, self._url, self._rounds = folder, url, rounds
        self.acts: list[tuple[float, str]] = []
        self.outcome: Outcome | None = None
        self._began = time.monotonic()
        self._left: list[psutil.Process] = []
        self._process: subprocess.Popen[str] | None = None

    @property
    def words(self) -> str:
        """All that it has said, and its agents."""
        said = (self.folder / "said.txt").read_text(encoding="utf-8")
        return "\n".join([said, *logs.journals(self.folder / AGENTS)])

    def start(self) -> None:
        """Start it."""
        self._act("start the command")
        words = [sys.executable, "-m", "tests.chaos.command", str(self.folder), self._url, str(self._rounds)]
        self.folder.mkdir(exist_ok=True)
        with open(self.folder / "said.txt", "a", encoding="utf-8") as said:
            self._process = subprocess.Popen(words, cwd=ROOT, stdout=said, stderr=said, text=True)

    def until_round(self, number: int) -> None:
        """Wait until an agent has finished a round."""
        end = time.monotonic() + PATIENCE
        while max(map(self._round, self._names()), default=-1) < number:
            assert time.monotonic() < end, self.words
            time.sleep(0.05)

    def kill(self, *, agents: bool = False) -> None:
        """Kill it, and its agents too."""
        self._act("kill -9 the command" + (" and its agents" if agents else ""))
        assert self._process is not None
        self._left += psutil.Process(self._process.pid).children(recursive=True)
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        if agents:
            self._clear()

    def finish(self) -> Outcome:
        """Wait for its end; what came of the run."""
        assert self._process is not None
        assert self._process.wait(90) == 0, self.words
        study = small_study({"rounds": self._rounds})
        self.outcome = Outcome.of(self.folder, study, self.words, time.monotonic() - self._began, {})
        return self.outcome

    def close(self) -> None:
        """End whatever is left."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        self._clear()

    def _clear(self) -> None:
        for process in self._left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._left.clear()

    def _names(self) -> set[str]:
        return {path.parent.name for path in (self.folder / AGENTS).glob(f"*/*/{ROUNDS}")}

    def _round(self, name: str) -> int:
        return logs.last_round(self.folder / AGENTS, name)

    def _act(self, what: str) -> None:
        self.acts.append((time.monotonic() - self._began, what))


def main(folder: str, url: str, rounds: str) -> None:
    """Train."""
    terms = Terms(url=url, local=SMALL["agents"], deadlines=DEADLINES)
    Rig(
        small_study({"rounds": int(rounds)}),
        Path(folder),
        terms,
        tamper=lambda number, post: replace(post, faults=LINK),
        say=lambda line: print(line, flush=True),
    ).history()


if __name__ == "__main__":
    main(*sys.argv[1:])
