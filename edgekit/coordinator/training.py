"""`train`: the runs of a study over a real broker, one after the other, with the simulator's lines and report."""

from __future__ import annotations

import re
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from edgekit.coordinator.device_file import DeviceFile
from edgekit.coordinator.documents import Spec, State
from edgekit.coordinator.local import LocalAgents
from edgekit.coordinator.merge import Merge
from edgekit.coordinator.names import hashes, references
from edgekit.coordinator.observer import Observer
from edgekit.coordinator.patience import Deadlines
from edgekit.coordinator.starter import Starter
from edgekit.coordinator.supervisor import LOBBY, OFFER, Offer
from edgekit.coordinator.worker import Post, Work
from edgekit.coordinator.writer import Writer
from edgekit.errors import BadInput
from edgekit.runs.assemble import assemble
from edgekit.runs.simulate import Simulation
from edgekit.runs.single import read_lines
from edgekit.runs.study import Cell, Study
from edgekit.runs.task import Task, cached_arrays
from edgekit.wire.credentials import Credentials

Say = Callable[[str], None]
AGENTS: Final = "agents"  # the folder of the local agents
TOPIC: Final = "topic"  # the file that says under which name the run is on the broker
FIND: Final = 1.5  # seconds in which agents that go on without a starter are heard


@dataclass(frozen=True)
class Terms:
    """How a run meets its agents.

    url: of the broker, an embedded one is started where None; local: how many agents run here; min_agents: how many
    are enough after `wait` seconds, more than half where None; credentials: folders of this machine's, and then of each
    local agent, where the broker asks who one is.
    """

    url: str | None = None
    local: int = 0
    min_agents: int | None = None
    wait: float = 60.0
    credentials: tuple[Path, ...] = ()
    insecure: bool = False
    deadlines: Deadlines = field(default_factory=Deadlines)
    snapshot_every: int | None = None


class Training(Simulation):
    """One study in one folder, run by agents on a broker."""

    producer = "train"

    def __init__(
        self,
        study: Study,
        folder: Path,
        terms: Terms,
        *,
        say: Say | None = None,
        on_watch: Callable[[Starter, str, str], None] = lambda starter, sender, text: None,
    ) -> None:
        super().__init__(study, folder, jobs=1, say=say)
        self.terms, self._on_watch = terms, on_watch
        self._schemas: dict[str, int] = {}
        self._made: dict[str, Any] = {}
        self._cells = {cell.name: cell for cell in study.cells}
        self._broker: Any = None
        if terms.credentials and 0 < terms.local != len(terms.credentials) - 1:
            raise BadInput(
                f"--credentials: give {terms.local + 1} folders, this machine's and one for each of the {terms.local} "
                "local agents, such as site/agents/*; or --local 0 and edgekit agent on each device."
            )
        if study.tune is not None:
            raise BadInput(
                "tune: rates are tuned in the simulator. Run edgekit simulate, then give the rate here."
            )

    def _start_check(self, cells: list[Cell]) -> None:
        """Assemble every cell once, so that what cannot work is refused before any agent is asked."""
        from edgekit.runs.one_agent import schema_of

        for cell in cells:
            run = cell.run
            if run.membership:
                raise BadInput(
                    f"{self.study.document.where(('membership',))}: over a broker agents leave and join by themselves. "
                    "Drop membership, or simulate the run."
                )
            if self.terms.local > run.agents:
                raise BadInput(
                    f"--local {self.terms.local}: the run has {run.agents} agents. Give at most as many."
                )
            if self.terms.min_agents is not None and not 1 <= self.terms.min_agents <= run.agents:
                raise BadInput(
                    f"--min-agents {self.terms.min_agents}: the run has {run.agents} agents. Give 1 to {run.agents}."
                )
            made = self._assembled_loop(cell)
            for warning in made.warnings:
                self.say(f"{cell.name}: warning: {warning}")
            layouts = made.objective.layout, made.objective.buffer_layout
            self._made[cell.name] = made if run.observe else None
            self._schemas[cell.name] = schema_of(*layouts, run.dtype)

    def _assembled_loop(self, cell: Cell) -> Any:
        try:
            arrays = cached_arrays(cell.run.data, cell.run.data_options)
            return assemble(cell.run, self.study.seed, arrays=arrays, gradients="loop")
        except BadInput as error:
            raise self._placed(cell, error) from error

    def _results(self, tasks: Mapping[Any, Task], bar: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
        done = 0
        try:
            for (cell, seed), task in tasks.items():
                yield (cell, seed), {"last": self._one(cell, seed, task, _Advance(bar, done))}
                done += int(task.values.get("rounds", 100))
        finally:
            if self._broker is not None:
                self._broker.stop()
                self._broker = None

    def _one(self, cell: str, seed: int, task: Task, advance: Callable[[int], None]) -> dict[str, Any]:
        """One run on the broker; its last line."""
        finished = _finished(task.folder)
        if finished is not None:
            return finished
        task.folder.mkdir(parents=True, exist_ok=True)
        name = str(self.journal.decide(f"{cell}/{seed}/run", lambda: {"name": self._new_name(seed)})["name"])
        spec = self._spec(cell, seed, task, name)
        post = self._post(task.folder)
        starter, live = self._starter(cell, task, post, spec, advance)
        local = None
        try:
            local = LocalAgents(self._works(task.folder, post, starter.run, spec, live), say=self.say)
            return self._drive(starter, local, post)
        except KeyboardInterrupt:
            self.say("stopping: agents keep a snapshot")
            starter.stop("stopped by who started it")
            if local is not None:
                local.join(5.0)
            raise
        finally:
            starter.close()
            if local is not None:
                local.kill()

    def _starter(
        self, cell: str, task: Task, post: Post, spec: Spec, advance: Callable[[int], None]
    ) -> tuple[Starter, set[str]]:
        """The starter of a new attempt, or of the one before where its agents go on; and which agents those are."""
        place = task.folder / TOPIC
        before = place.read_text(encoding="utf-8").strip() if place.is_file() else None
        if before is not None and self.terms.url is not None:
            found = self._new_starter(cell, task, post, before, spec, advance)
            found.open()
            live = found.find(FIND)
            if live:
                self.say(f"run {before} is under way with {', '.join(sorted(live))}")
                return found, live
            found.close()
        run = f"{spec.name}.{secrets.token_hex(2)}"
        place.write_text(run, encoding="utf-8")
        starter = self._new_starter(cell, task, post, run, spec, advance)
        starter.open()
        return starter, set()

    def _new_starter(
        self, cell: str, task: Task, post: Post, run: str, spec: Spec, advance: Callable[[int], None]
    ) -> Starter:
        observer = _observer(self._made[cell])
        merge = Merge(
            task.folder,
            models=observer.seen if observer is not None else lambda round, agents: None,
            on_line=lambda line: advance(line.round),
        )
        made = Starter(
            post.access(run, self._me(post, spec.name)),
            run,
            spec,
            merge,
            say=self.say,
            observer=observer,
            on_watch=lambda sender, text: self._on_watch(made, sender, text),
        )
        return made

    def _drive(self, starter: Starter, local: LocalAgents, post: Post) -> dict[str, Any]:
        run, broker = starter.run, starter.mail.info.broker
        self.journal.note("broker", url=post.url, broker=broker, run=run)
        self.say(f"broker: {broker} at {post.url}; run {run}")
        offer = _Offer(
            post,
            self._me(post, starter.spec.name),
            run,
            starter.spec,
            looks=self.terms.local < starter.spec.agents,
        )
        said = 0.0
        try:
            while not starter.over:
                starter.step(0.05)
                local.look()
                if self.terms.local - len(local.failed) < starter.spec.min_agents <= self.terms.local:
                    self._refuse_failed(starter, local)
                waiting = starter.waiting_for()
                if waiting and time.monotonic() - said > 5.0:
                    said = time.monotonic()
                    self.say(waiting)
        finally:
            offer.close()
        starter.close()  # agents wait for that: from here on nothing is asked of them
        local.join(10.0)
        lines = read_lines(starter.merge.folder)
        if not lines:
            raise BadInput(f"run {run}: no agent reported anything. Look at {starter.merge.folder / AGENTS}.")
        (starter.merge.folder / "done").touch()
        return lines[-1]

    def _refuse_failed(self, starter: Starter, local: LocalAgents) -> None:
        """Too few agents can still come: say why, unless the run may go on with others."""
        if starter.spec.agents > self.terms.local or starter.members.roster is not None:
            return
        raise BadInput(f"{len(local.failed)} of {self.terms.local} local agents failed: {local.reason}")

    def _spec(self, cell: str, seed: int, task: Task, name: str) -> Spec:
        run = self._cells[cell].run
        minimum = self.terms.min_agents or run.agents // 2 + 1
        return Spec(
            name=name,
            values=dict(task.values),
            seed=seed,
            agents=run.agents,
            min_agents=min(minimum, run.agents),
            wait=self.terms.wait,
            schema=self._schemas[cell],
            sources=hashes(task.values),
            deadlines=self.terms.deadlines,
            snapshot_every=self.terms.snapshot_every or run.evaluate_every,
        )

    def _works(self, folder: Path, post: Post, run: str, spec: Spec, live: set[str]) -> list[Work]:
        allow = tuple(references(spec.values))
        places = self.terms.credentials[1:]
        names = [str(Credentials.read(place).id) for place in places] or [
            f"{_word(socket.gethostname())}-{index}" for index in range(self.terms.local)
        ]
        return [
            Work(
                run,
                name,
                folder / AGENTS,
                replace(post, folder=places[index]) if places else post,
                DeviceFile(partition=index, allow=allow),
                tied=self.terms.url is None,
            )
            for index, name in enumerate(names[: self.terms.local])
            if name not in live
        ]

    def _post(self, folder: Path) -> Post:
        url = self.terms.url
        if url is None:
            if self._broker is None:
                self._broker = _embedded(self.folder)
            url = self._broker.url
        keys = self.folder / AGENTS / "keys"
        keys.mkdir(parents=True, exist_ok=True, mode=0o700)
        alone = self.terms.url is None and self.terms.local > 0
        secret = secrets.token_bytes(32) if alone else None
        return Post(url, keys, next(iter(self.terms.credentials), None), secret, self.terms.insecure)

    def _me(self, post: Post, name: str) -> str:
        if post.folder is not None:
            known = Credentials.read(post.folder).id
            if known is not None:
                return known
        return f"train-{_word(socket.gethostname())[:40]}-{name[-8:]}"  # its key is that of the run's folder

    def _new_name(self, seed: int) -> str:
        return f"{_word(self.study.title)[:30]}-{seed}-{secrets.token_hex(4)}"


@dataclass(frozen=True)
class _Advance:
    """Moves a bar over several runs by the rounds of the one that is under way."""

    bar: Any
    before: int

    def __call__(self, rounds: int) -> None:
        self.bar.advance(float(self.before + rounds))


class _Offer:
    """The run in the lobby, where agents look for work and others for runs."""

    def __init__(self, post: Post, me: str, run: str, spec: Spec, *, looks: bool) -> None:
        access = post.access(LOBBY, me)
        self._writer = Writer(access.transport, access.identity, LOBBY)
        self._transport = access.transport
        self._transport.open(self._writer.will(State("lost", 0).body()))
        self._writer.publish(OFFER, Offer(run, spec.name, spec.agents, looks).body())

    def close(self) -> None:
        with suppress(Exception):
            self._writer.publish(OFFER, None)
        self._transport.close()


def _observer(made: Any) -> Observer | None:
    if made is None:
        return None
    buffers = made.buffers
    return Observer(made.evaluator, made.engine.models[0].clone(), None if buffers is None else buffers[0])


def _embedded(folder: Path) -> Any:
    from edgekit.broker.embedded import Embedded

    return Embedded(log=folder / "broker.log").start()


def _finished(folder: Path) -> dict[str, Any] | None:
    lines = read_lines(folder)
    return lines[-1] if lines and (folder / "done").exists() else None


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]+", "-", text).strip("-").lower() or "run"
