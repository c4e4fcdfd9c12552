"""A whole run in threads of this process: its starter, and the sessions of its agents, over a memory hub."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgekit.coordinator.device_file import DeviceFile
from edgekit.coordinator.documents import Spec
from edgekit.coordinator.merge import Merge
from edgekit.coordinator.patience import Deadlines
from edgekit.coordinator.session import Access, Session
from edgekit.coordinator.starter import Starter
from edgekit.coordinator.worker import make_agent
from edgekit.runs.assemble import assemble
from edgekit.runs.one_agent import schema_of
from edgekit.runs.run_file import build_run
from edgekit.runs.single import SingleRun, read_lines
from edgekit.wire.document import Trust
from edgekit.wire.identity import Identity
from edgekit.wire.memory import MemoryHub, MemoryTransport
from edgekit.yaml_lines import Document

VALUES: dict[str, Any] = {
    "algorithm": "d-psgd",
    "topology": "ring",
    "agents": 4,
    "model": {"mlp": {"in_features": 64, "width": 8, "depth": 1}},
    "data": {"digits": {"partition": {"shards": 2}, "train_limit": 200, "test_limit": 50}},
    "batch": 10,
    "optimizer": {"sgd": {"lr": 0.1}},
    "rounds": 12,
    "evaluate_every": 4,
    "gradients": "loop",
}
PATIENT = Deadlines(least=60.0)
SAME = ("round", "agents", "agent_metric", "local_metric", "test_loss", "lr", "epoch", "gradient_evaluations")


def spec_of(values: dict[str, Any] | None = None, **changes: Any) -> Spec:
    """The run document of these values."""
    values = values or VALUES
    run = build_run(values, Document("run.yaml", values))
    made = assemble(run, 3, gradients="loop")
    schema = schema_of(made.objective.layout, made.objective.buffer_layout, run.dtype)
    given: dict[str, Any] = {
        "min_agents": run.agents // 2 + 1,
        "wait": 30.0,
        "deadlines": PATIENT,
        "snapshot_every": 4,
        **changes,
    }
    return Spec("demo", dict(values), 3, run.agents, schema=schema, **given)


def simulated(values: dict[str, Any], folder: Path, seed: int = 3) -> list[dict[str, Any]]:
    """The lines of the simulator."""
    run = build_run(values, Document("run.yaml", values))
    SingleRun(assemble(run, seed, gradients="loop"), folder).finish()
    return read_lines(folder)


def assert_same(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    """Lines of agents and of the simulator, as far as both can say the same."""
    assert [line["round"] for line in found] == [line["round"] for line in wanted]
    for one, other in zip(found, wanted, strict=True):
        for key in SAME:
            assert one[key] == other[key], (one["round"], key)
        assert close(one["train_loss"], other["train_loss"]), one["round"]
        assert one["bytes_sent"]["total"] == other["bytes_sent"]["total"]
        assert one["messages_sent"] == other["messages_sent"]


def close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= 1e-6 * max(1.0, abs(other))


class Stage:
    """A hub, and what each agent that takes part came to: its result or what it raised.

    Models are made before the threads begin: that changes what torch shares between them.
    """

    def __init__(self, folder: Path, spec: Spec | None, *, run: str = "demo.1") -> None:
        self.folder, self.spec, self.run = folder, spec, run
        self.hub = MemoryHub(run)
        self.said: list[str] = []
        self.ended: dict[str, Any] = {}
        self.sessions: dict[str, Any] = {}
        self._threads: list[threading.Thread] = []
        (folder / "keys").mkdir(parents=True, exist_ok=True)
        self.starter: Any = None
        numbers = range(spec.agents if spec is not None else 0)
        self.made = {number: make_agent(spec, number, DeviceFile()) for number in numbers if spec is not None}

    def access(self, me: str) -> Access:
        """Of an agent whose key is kept."""
        identity = Identity.kept(me, self.folder / "keys" / f"{me}.pem")
        return Access(MemoryTransport(self.hub, me), identity, Trust(self.run), b"s" * 32)

    def start(self) -> Starter:
        """Publish the run."""
        assert self.spec is not None
        self.starter = Starter(
            self.access("starter"), self.run, self.spec, Merge(self.folder), say=self.said.append
        )
        self.starter.open()
        return self.starter

    def join(
        self, me: str, number: int | None = None, *, label: str | None = None, **options: Any
    ) -> Session:
        """An agent in a thread of its own; label: under which it is found."""
        device = options.pop("device", None) or DeviceFile(partition=number)
        make: Callable[..., Any] = options.pop("make", lambda spec, wish: self.made[wish or 0])
        session = Session(
            options.pop("access", None) or self.access(me),
            self.run,
            self.folder / "agents",
            make,
            device=device,
            say=self.said.append,
            **options,
        )

        def be() -> None:
            try:
                self.ended[label or me] = session.run()
            except BaseException as error:
                self.ended[label or me] = error

        self.sessions[label or me] = session
        thread = threading.Thread(target=be, daemon=True)
        self._threads.append(thread)
        thread.start()
        return session

    def play(self, until: Callable[[], bool] | None = None, seconds: float = 60.0) -> None:
        """Let the starter do its work until something holds, or the run is over."""
        end = time.monotonic() + seconds
        while not (until() if until is not None else self.starter.over if self.starter else False):
            assert time.monotonic() < end, (self.ended, self.said[-10:])
            if self.starter is not None:
                self.starter.step(0.02)
            else:
                time.sleep(0.02)

    def wait(self, seconds: float = 60.0) -> dict[str, Any]:
        """What all agents came to."""
        for thread in self._threads:
            thread.join(seconds)
            assert not thread.is_alive(), self.said[-10:]
        return self.ended

    def lines(self) -> list[dict[str, Any]]:
        """Of the run so far."""
        return read_lines(self.folder)
