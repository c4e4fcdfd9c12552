"""Agents of one run in threads of this process, each with an engine of its own over a transport."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from edgekit.coordinator.async_engine import AsyncEngine
from edgekit.coordinator.mail import Mail
from edgekit.coordinator.patience import Deadlines
from edgekit.coordinator.peer_engine import PeerEngine
from edgekit.decentralized.algorithm import Algorithm, AsyncAlgorithm
from edgekit.decentralized.async_solo import AsyncSolo
from edgekit.decentralized.objective import Objective
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.settings import Settings
from edgekit.decentralized.solo import Solo
from edgekit.decentralized.topology import Topology
from edgekit.wire.memory import MemoryHub, MemoryTransport
from edgekit.wire.transport import Transport

PATIENT = Deadlines(least=60.0)  # no one goes on without another because this machine is slow
RUN, KEY, MOST = "crew", b"k" * 32, 16  # MOST agents
Engine = PeerEngine | AsyncEngine


def name(agent: int) -> str:
    """The id of the agent with a number."""
    return f"agent-{agent}"


class Crew:
    """What agents do together: `act` runs in a thread of each, and all have ended when a call returns."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self.engines: dict[int, Any] = {engine.solo.agent: engine for engine in engines}
        self._pool = ThreadPoolExecutor(MOST)
        self.together(lambda engine: engine.mail.open(b"lost"))

    def together(self, act: Callable[[Any], Any], agents: Collection[int] | None = None) -> list[Any]:
        """What each answers, in the order of their numbers."""
        chosen = sorted(self.engines if agents is None else agents)
        return list(self._pool.map(act, [self.engines[agent] for agent in chosen]))

    def enter(
        self, epoch: int, roster: Roster, *, joined: Collection[int] = (), exchange: bool = False
    ) -> None:
        """An epoch of these agents; `joined` are numbers."""
        ids = tuple(map(name, roster.ids))
        places = [roster.ids.index(agent) for agent in joined]
        numbers = dict(zip(roster.ids, ids, strict=True))
        self.together(
            lambda engine: engine.enter(epoch, roster, ids, numbers, joined=places, exchange=exchange),
            roster.ids,
        )

    def rounds(self, count: int, agents: Collection[int] | None = None) -> list[list[Any]]:
        """So many rounds of each; their reports. Who is done answers those who are not, as in a run."""
        left = set(self.engines if agents is None else agents)

        def act(engine: Any) -> list[Any]:
            try:
                return [engine.round() for _ in range(count)]
            finally:
                left.discard(engine.solo.agent)
                while left:
                    engine.listen(0.01)

        return self.together(act, agents)

    @property
    def models(self) -> torch.Tensor:
        """Of all agents [n, P]."""
        return torch.cat([self.engines[agent].model for agent in sorted(self.engines)])

    def close(self) -> None:
        """End the threads and the links."""
        for engine in self.engines.values():
            engine.mail.transport.close()
        self._pool.shutdown()


def solos(
    algorithm: Algorithm | AsyncAlgorithm,
    topology: Topology,
    objective: Callable[[], Objective],
    models: torch.Tensor,
    settings: Settings,
    roster: Roster,
    agents: Collection[int] | None = None,
) -> list[Any]:
    """Agents apart, each with an objective of its own; models [n, P] by number."""
    kind: Any = AsyncSolo if isinstance(algorithm, AsyncAlgorithm) else Solo
    return [
        kind(algorithm, topology, objective(), models[i : i + 1].clone(), settings, roster, i)
        for i in (roster.ids if agents is None else agents)
    ]


def crew(
    made: Sequence[Any],
    transport: Callable[[str], Transport] | None = None,
    *,
    deadlines: Deadlines | None = None,
    **options: Any,
) -> Crew:
    """Engines for agents, over a memory hub of their own unless told otherwise."""
    hub = MemoryHub(RUN)
    engines = []
    for solo in made:
        end = transport(name(solo.agent)) if transport else MemoryTransport(hub, name(solo.agent))
        mail = Mail(end, RUN, KEY)
        kind = AsyncEngine if isinstance(solo, AsyncSolo) else PeerEngine
        engines.append(kind(solo, mail, deadlines or PATIENT, **options))
    return Crew(engines)
