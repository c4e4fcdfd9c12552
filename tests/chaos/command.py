"""The command that starts a run, as a process that can be killed: python -m tests.chaos.command FOLDER URL ROUNDS."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil

from edgekit.coordinator.training import Terms
from tests.chaos.rig import SMALL, Rig, small_study
from tests.chaos.scene import DEADLINES, LINK

ROOT = Path(__file__).resolve().parent.parent.parent


class Command:
    """It in one folder, started and killed one time after the other, and the processes that this leaves."""

    def __init__(self, folder: Path, url: str, rounds: int) -> None:
        self.folder, self._url, self._rounds = folder, url, rounds
        self._left: list[psutil.Process] = []
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it; what it says is in `words`."""
        words = [sys.executable, "-m", "tests.chaos.command", str(self.folder), self._url, str(self._rounds)]
        self.folder.mkdir(exist_ok=True)
        with open(self.folder / "said.txt", "a", encoding="utf-8") as said:
            self._process = subprocess.Popen(words, cwd=ROOT, stdout=said, stderr=said, text=True)

    @property
    def words(self) -> str:
        """All that it has said."""
        return (self.folder / "said.txt").read_text(encoding="utf-8")

    def kill(self, *, agents: bool = False) -> None:
        """Kill it, and its agents too."""
        assert self._process is not None
        self._left += psutil.Process(self._process.pid).children(recursive=True)
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        if agents:
            self.clear()

    def wait(self, seconds: float) -> int:
        """Its exit status."""
        assert self._process is not None
        return self._process.wait(seconds)

    def clear(self) -> None:
        """End what killed ones left."""
        for process in self._left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._left.clear()

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        self.clear()


def main(folder: str, url: str, rounds: str) -> None:
    """Train."""
    study = small_study({"rounds": int(rounds)})
    terms = Terms(url=url, local=SMALL["agents"], deadlines=DEADLINES)
    Rig(
        study,
        Path(folder),
        terms,
        tamper=lambda number, post: replace(post, faults=LINK),
        say=lambda line: print(line, flush=True),
    ).history()


if __name__ == "__main__":
    main(*sys.argv[1:])
