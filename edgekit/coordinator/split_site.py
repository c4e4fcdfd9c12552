"""`split --broker`: this machine as one agent of a split run, or as all of them, a process each."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgekit.coordinator.split_session import SplitSession
from edgekit.coordinator.worker import Post
from edgekit.errors import BadInput, did_you_mean
from edgekit.journal import new_folder, numbered, read_json, write_json
from edgekit.progress import make_progress
from edgekit.runs.split_file import SplitFile
from edgekit.runs.split_run import LINES, SUMMARY, SplitPart, split_lines, sum_of, summary_of
from edgekit.split.placement import Transfer
from edgekit.wire.transport import ID
from edgekit.yaml_lines import Document

Say = Callable[[str], None]
HERE: Final = "here"
AGENTS: Final = "agents"


@dataclass(frozen=True)
class Meeting:
    """How the agents of a split run meet.

    broker: its URL, or `here`, which starts one; me: which agent this machine is, None where it is all of them; wait:
    seconds for the others; command: the words that start one agent, apart from these.
    """

    broker: str
    me: str | None = None
    wait: float = 60.0
    credentials: Path | None = None
    insecure: bool = False
    command: tuple[str, ...] = ()


class SplitSite:
    """One split run on this machine, in one folder."""

    def __init__(
        self,
        run: SplitFile,
        document: Document,
        folder: Path,
        meeting: Meeting,
        *,
        say: Say = lambda line: None,
    ) -> None:
        self.run, self.document, self.folder, self.meeting, self.say = run, document, folder, meeting, say
        if not ID.fullmatch(run.title):
            raise document.error(
                ("title",),
                f"title: '{run.title}' cannot name a run on a broker. Use letters, digits and '-'.",
            )
        me = meeting.me
        self.part = SplitPart(run, data=me is None or _holds_data(run, me))
        agents = self.part.split.agents
        if me is not None and me not in agents:
            raise BadInput(f"--as: '{me}' is no agent of this run. {did_you_mean(me, agents)}")
        if meeting.broker == HERE and me is not None:
            raise BadInput("--broker here: the others could not find it. Start one: edgekit broker start")
        for warning in self.part.split.check():
            say(f"warning: {warning}")
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def table(self) -> list[Transfer]:
        """What leaves each device."""
        return self.part.split.transfers()

    def finish(self) -> dict[str, Any]:
        """Run all steps; the summary."""
        last = self._all() if self.meeting.me is None else self._one(self.meeting.me)
        summary = summary_of(self.run, self.document, last, self.table)
        write_json(self.folder / SUMMARY, summary)
        return summary

    def _one(self, me: str) -> dict[str, Any]:
        """Be one agent."""
        keys = self.folder / "keys"
        keys.mkdir(parents=True, exist_ok=True, mode=0o700)
        post = Post(self.meeting.broker, keys, self.meeting.credentials, _secret(keys), self.meeting.insecure)
        bar = make_progress(self.say)
        session = SplitSession(
            post.access(self.run.title, me),
            self.run.title,
            self.part,
            self.folder,
            wait=self.meeting.wait,
            say=self.say,
            on_step=lambda step: bar.advance(float(step)),
        )
        bar.start(f"{self.run.title} ({me})", float(self.run.steps))
        try:
            return session.run()
        finally:
            bar.stop()

    def _all(self) -> dict[str, Any]:
        """Be every agent, in a process each; the line of whoever tests, with the bytes of all."""
        broker = _embedded(self.folder) if self.meeting.broker == HERE else None
        url = self.meeting.broker if broker is None else broker.url
        secret = secrets.token_hex(32)
        started: dict[str, subprocess.Popen[bytes]] = {}
        try:
            for agent in self.part.split.agents:
                started[agent] = self._start(agent, url, secret)
            self._watch(started)
        except KeyboardInterrupt:
            self.say("stopping: agents keep their snapshots")
            raise
        finally:
            for process in started.values():
                _end(process)
            if broker is not None:
                broker.stop()
        return self._merged()

    def _start(self, agent: str, url: str, secret: str) -> subprocess.Popen[bytes]:
        folder = self.folder / AGENTS / agent
        keys = folder / "keys"
        keys.mkdir(parents=True, exist_ok=True, mode=0o700)
        place = keys / SECRET
        place.touch(mode=0o600)
        place.write_text(secret)
        words = [sys.executable, "-m", "edgekit", *self.meeting.command, "--broker", url, "--as", agent]
        words += ["--out", str(folder), "--wait", f"{self.meeting.wait:g}", "--json"]
        if self.meeting.credentials is not None:
            words += ["--credentials", str(self.meeting.credentials)]
        if self.meeting.insecure:
            words.append("--insecure")
        with open(folder / "out.json", "wb") as out, open(folder / "log.txt", "wb") as log:
            return subprocess.Popen(words, stdout=out, stderr=log, stdin=subprocess.DEVNULL)

    def _watch(self, started: dict[str, subprocess.Popen[bytes]]) -> None:
        """Wait for all; BadInput with the last line of one that failed."""
        bar = make_progress(self.say)
        bar.start(self.run.title, float(self.run.steps))
        shown = 0
        try:
            while any(process.poll() is None for process in started.values()):
                for agent, process in started.items():
                    if process.poll():
                        log = (
                            (self.folder / AGENTS / agent / "log.txt")
                            .read_text(errors="replace")
                            .splitlines()
                        )
                        raise BadInput(f"{agent} failed: {log[-1] if log else process.returncode}")
                lines = [line for agent in started for line in split_lines(self.folder / AGENTS / agent)]
                step = max((line["step"] for line in lines), default=0)
                if step > shown:
                    bar.advance(float(step))
                    shown = step
                time.sleep(0.2)
        finally:
            bar.stop()

    def _merged(self) -> dict[str, Any]:
        """Every test's figures from whoever knows them, and the last line."""
        rows: dict[int, dict[str, Any]] = {}
        sent, frames = {}, 0
        for agent in self.part.split.agents:
            lines = split_lines(self.folder / AGENTS / agent)
            summary = read_json(self.folder / AGENTS / agent / SUMMARY)
            own = summary["last"]
            sent[agent] = {key: count for key, count in own["bytes_sent"].items() if key != "total"}
            frames += own["frame_bytes"]
            for line in lines:
                known = {key: value for key, value in line.items() if value not in (None, {})}
                rows.setdefault(line["step"], {}).update(known)
        merged = [rows[step] for step in sorted(rows)]
        if not merged:
            raise BadInput(f"split: no agent reported anything. Look at {self.folder / AGENTS}.")
        (self.folder / LINES).write_text("".join(json.dumps(row) + "\n" for row in merged), encoding="utf-8")
        return {**merged[-1], "bytes_sent": sum_of(sent.values()), "frame_bytes": frames, "agents": sent}


SECRET: Final = "secret"


def folder_of(given: Path | None, title: str, me: str | None) -> Path:
    """Where a run goes: as asked, else the newest that has not ended, so that the command goes on, else a new one."""
    if given is not None:
        return given
    name = title if me is None else f"{title}-{me}"
    before = numbered(name)
    if before and not (before[-1] / SUMMARY).exists():
        return before[-1]
    return new_folder(name)


def _holds_data(run: SplitFile, me: str) -> bool:
    """Whether an agent needs the data set: its samples, its labels."""
    return me in {run.split.inputs, run.split.labels, *run.split.clients}


def _secret(keys: Path) -> bytes | None:
    """What agents that one process started share."""
    place = keys / SECRET
    return bytes.fromhex(place.read_text()) if place.is_file() else None


def _embedded(folder: Path) -> Any:
    from edgekit.broker.embedded import Embedded

    return Embedded(log=folder / "broker.log").start()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(5.0)
        process.kill()
