"""Agents apart give the bits of the simulator: over memory and over brokers, whatever they run and whoever comes."""

from __future__ import annotations

import secrets
from contextlib import closing
from typing import Any

import pytest
import torch

from edgekit.coordinator.keeper import Keeper
from edgekit.decentralized.model_objective import ModelObjective
from edgekit.decentralized.replay import Replay
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topologies.ring import Ring
from edgekit.decentralized.vector_engine import VectorEngine
from edgekit.testing.decentralized_sample import AGENTS, TwoCliques, perceptron, quadratic
from edgekit.wire.address import Address
from edgekit.wire.mqtt import MqttTransport
from tests.coordinator.crew import Crew, crew, name, solos
from tests.coordinator.samples import (
    ASYNCHRONOUS,
    CHANGING,
    SYNCHRONOUS,
    allowed,
    first_rows,
    normalized,
    plain,
    settings,
)

ROUNDS = 6
ALL = Roster.of(AGENTS)
pytestmark = pytest.mark.usefixtures("one_thread")


def pair(
    algorithm, topology, made, *, objective=plain, transport=None, rows=None
) -> tuple[VectorEngine, Crew]:
    """The simulator, and agents in threads; the same run."""
    own = objective()
    models = first_rows(own) if rows is None else rows
    together = VectorEngine(algorithm, topology, own, models, made)
    apart = crew(solos(algorithm, topology, objective, models, made, ALL), transport)
    apart.enter(1, ALL)
    return together, apart


def run(together: VectorEngine, apart: Crew, rounds: int = ROUNDS) -> None:
    """Rounds of both, and what must be the same after them."""
    losses = [together.round() for _ in range(rounds)]
    reports = apart.rounds(rounds)
    same(together, apart)
    for number, loss in enumerate(losses):
        told = [report[number].loss for report in reports]
        assert sum(told) / len(told) == pytest.approx(loss, rel=1e-6)


def same(together: VectorEngine, apart: Crew) -> None:
    assert torch.equal(together.models, apart.models)
    engines = [apart.engines[agent] for agent in together.roster.ids]
    assert [engine.payload_bytes for engine in engines] == together.ledger.bytes.tolist()
    assert [engine.messages for engine in engines] == together.ledger.messages.tolist()
    assert [engine.gradients[0] for engine in engines] == together.context.draws.tolist()
    for agent, row in (
        together.objective.buffers.items() if isinstance(together.objective, ModelObjective) else ()
    ):
        assert torch.equal(row, apart.engines[agent].solo.objective.buffers[agent])


@pytest.mark.parametrize("codec", ["raw", "natural"])
@pytest.mark.parametrize("algorithm", SYNCHRONOUS.values(), ids=SYNCHRONOUS)
def test_every_algorithm_gives_the_bits_of_the_simulator(algorithm, codec):
    together, apart = pair(algorithm, TwoCliques(), settings(codec))
    with closing(apart):
        run(together, apart)


@pytest.mark.parametrize(
    ("algorithm", "topology"),
    [
        pytest.param(algorithm, topology, id=f"{named}-{topology.name}")
        for named, algorithm in SYNCHRONOUS.items()
        for topology in CHANGING
        if allowed(algorithm, topology)
    ],
)
def test_also_where_the_graph_changes(algorithm, topology):
    together, apart = pair(algorithm, topology, settings("natural"))
    with closing(apart):
        run(together, apart)


def test_graphs_that_change_are_tried_wherever_the_algorithm_allows_them():
    tried = {
        named for named, made in SYNCHRONOUS.items() if any(allowed(made, topology) for topology in CHANGING)
    }
    assert tried == {named for named, made in SYNCHRONOUS.items() if not made.static_graph}


@pytest.mark.parametrize("buffers", ["mix", "local"])
@pytest.mark.parametrize(
    "algorithm",
    [made for made in SYNCHRONOUS.values() if made.buffers],
    ids=[named for named, made in SYNCHRONOUS.items() if made.buffers],
)
def test_running_statistics_are_the_simulators(algorithm, buffers):
    together, apart = pair(
        algorithm, TwoCliques(), settings("natural", buffers=buffers), objective=normalized
    )
    with closing(apart):
        run(together, apart, 3)
        rows = list(together.objective.buffers.values())
        assert not torch.equal(rows[0], normalized().buffers[0])


def test_local_steps_and_accumulated_gradients_are_the_simulators():
    made = settings("natural", local_steps=3, accumulate=2)
    together, apart = pair(SYNCHRONOUS["fedavg"], TwoCliques(), made)
    with closing(apart):
        run(together, apart, 3)


@pytest.mark.parametrize("algorithm", ["d-psgd", "gradient-tracking", "moshpit"])
def test_gradients_taken_together_come_out_as_those_of_one(algorithm):
    def vectorized() -> ModelObjective:
        loop: Any = plain()
        return ModelObjective(
            loop.gradients.model, loop.gradients.loss, loop.samples, loop.sampler, gradients="vmap"
        )

    made = settings()
    together, apart = pair(SYNCHRONOUS[algorithm], TwoCliques(), made)
    vmap = vectorized()
    together = VectorEngine(SYNCHRONOUS[algorithm], TwoCliques(), vmap, first_rows(plain()), made)
    with closing(apart):
        for _ in range(ROUNDS):
            together.round()
        apart.rounds(ROUNDS)
        gap = (together.models - apart.models).norm() / together.models.norm()
        assert gap < 1e-5


@pytest.mark.parametrize("codec", ["raw", "natural"])
@pytest.mark.parametrize("algorithm", ASYNCHRONOUS.values(), ids=ASYNCHRONOUS)
def test_asynchronous_agents_give_the_bits_of_their_recorded_events(algorithm, codec):
    made, objective = settings(codec), plain()
    models = first_rows(objective)
    apart = crew(solos(algorithm, TwoCliques(), plain, models, made, ALL))
    with closing(apart):
        apart.enter(1, ALL)
        apart.rounds(8)
        answer_all(apart)
        replay = Replay(algorithm, TwoCliques(), objective, models.clone(), made)
        replay.play([apart.engines[agent].solo.events for agent in range(AGENTS)])
        assert torch.equal(apart.models, replay.models)
        assert not torch.equal(apart.models[0], apart.models[1])
        engines = apart.engines.values()
        assert [engine.payload_bytes for engine in engines] == replay.ledger.bytes.tolist()
        assert [engine.number for engine in engines] == replay.works.tolist() == [8] * AGENTS
        met = sum(event.kind == "answer" for engine in engines for event in engine.solo.events)
        assert met == 8 * AGENTS  # every offer was answered


def answer_all(apart: Crew) -> None:
    """Until nothing is under way."""
    for _ in range(100):
        apart.together(lambda engine: engine.listen(0.02))
        if all(apart.together(lambda engine: engine.idle)):
            return
    raise AssertionError("some offers were not answered")


@pytest.mark.parametrize("objective", [plain, normalized])
@pytest.mark.parametrize("algorithm", ["d-psgd", "choco", "gradient-tracking", "sgp", "clique-averaging"])
def test_who_joins_starts_from_its_sponsors(algorithm, objective):
    """Four, then eight, then six of them."""
    algorithm = SYNCHRONOUS[algorithm]
    topology = Ring() if algorithm.mixing != "none" else TwoCliques()
    made, own = settings("natural"), objective()
    models, few = first_rows(own), Roster((0, 1, 3, 4))
    together = VectorEngine(algorithm, topology, own, models[list(few.ids)], made, roster=few)
    apart = crew(solos(algorithm, topology, objective, models, made, few))
    later = crew_of_joiners(apart, algorithm, topology, objective, models, made, (2, 5, 6, 7))
    with closing(apart), closing(later):
        apart.enter(1, few)
        both(together, apart, 3)
        together.change_roster(ALL)
        for agent, engine in later.engines.items():
            engine.number = together.number
            apart.engines[agent] = engine
        apart.enter(2, ALL, joined=(2, 5, 6, 7), exchange=True)
        assert torch.equal(together.models, apart.models)
        assert not torch.equal(apart.models[2], models[2])
        both(together, apart, 3)
        rest = Roster((0, 1, 2, 5, 6, 7))
        together.change_roster(rest)
        del apart.engines[3], apart.engines[4]
        apart.enter(3, rest, exchange=True)
        both(together, apart, 3)
        for agent in rest.ids if objective is normalized else ():
            assert torch.equal(own.buffers[agent], apart.engines[agent].solo.objective.buffers[agent])


def crew_of_joiners(apart, algorithm, topology, objective, models, made, agents) -> Crew:
    hub = next(iter(apart.engines.values())).mail.transport._hub
    from edgekit.wire.memory import MemoryTransport

    return crew(
        solos(algorithm, topology, objective, models, made, ALL, agents), lambda me: MemoryTransport(hub, me)
    )


def both(together: VectorEngine, apart: Crew, rounds: int) -> None:
    for _ in range(rounds):
        together.round()
    apart.rounds(rounds)
    assert torch.equal(together.models, apart.models)


@pytest.mark.parametrize("objective", [plain, normalized])
@pytest.mark.parametrize("algorithm", ["d-psgd", "choco", "dmsgd", "sgp", "deep-squeeze", "d2"])
def test_snapshots_on_disk_go_on_with_the_same_bits(algorithm, objective, tmp_path):
    algorithm, made = SYNCHRONOUS[algorithm], settings("natural")
    together, apart = pair(algorithm, TwoCliques(), made, objective=objective)
    with closing(apart):
        run(together, apart, 4)
        keepers = {agent: Keeper(tmp_path / name(agent)) for agent in range(AGENTS)}
        for agent, engine in apart.engines.items():
            keepers[agent].save(engine.snapshot(), 4)
        apart.rounds(2)  # lost
    _, again = pair(algorithm, TwoCliques(), made, objective=objective)
    with closing(again):
        for agent, engine in again.engines.items():
            engine.restore(keepers[agent].load(4))
        run(together, again, 4)


def test_an_asynchronous_agent_goes_on_from_its_snapshot(tmp_path):
    made, models = settings("natural"), first_rows(plain())
    algorithm = ASYNCHRONOUS["ad-psgd"]
    apart, again = (crew(solos(algorithm, Ring(), plain, models, made, ALL)) for _ in range(2))
    with closing(apart), closing(again):
        for one in (apart, again):
            one.enter(1, ALL)
        apart.rounds(3)
        answer_all(apart)
        for agent, engine in apart.engines.items():
            keeper = Keeper(tmp_path / name(agent))
            keeper.save(engine.snapshot(), 3)
            again.engines[agent].restore(keeper.load(3))
        assert torch.equal(apart.models, again.models)
        facts = [
            [(engine.number, engine.payload_bytes, engine.messages, engine.gradients) for engine in one]
            for one in (apart.engines.values(), again.engines.values())
        ]
        assert facts[0] == facts[1]
        for one in (apart, again):
            one.together(lambda engine: engine.solo.work())
        assert torch.equal(apart.models, again.models)


def over(url: str):
    """Transports to a broker, in a run of their own."""
    run = f"equal-{secrets.token_hex(4)}"
    return lambda me: MqttTransport(Address.parse(url), run, me)


@pytest.mark.parametrize(
    ("algorithm", "codec"), [("d-psgd", "raw"), ("choco", "natural"), ("moshpit", "raw"), ("ngc", "raw")]
)
def test_over_mosquitto(mosquitto, algorithm, codec):
    made = SYNCHRONOUS[algorithm]
    together, apart = pair(made, TwoCliques(), settings(codec), transport=over(mosquitto.url))
    with closing(apart):
        run(together, apart, 20)


@pytest.mark.parametrize(("algorithm", "codec"), [("d-psgd", "raw"), ("fedavg", "natural")])
def test_over_the_embedded_broker(embedded, algorithm, codec):
    made = SYNCHRONOUS[algorithm]
    together, apart = pair(made, TwoCliques(), settings(codec), transport=over(embedded.url))
    with closing(apart):
        run(together, apart)


def test_rows_that_need_many_frames(mosquitto):
    """1.2 MB a row, in float64, in frames of 256 KiB."""
    problem = quadratic(size=150_000)
    rows = torch.zeros(AGENTS, 150_000, dtype=torch.float64)
    together, apart = pair(
        SYNCHRONOUS["d-psgd"],
        Ring(),
        settings(),
        objective=lambda: problem,
        transport=over(mosquitto.url),
        rows=rows,
    )
    with closing(apart):
        apart.together(lambda engine: engine.mail.bound(2 * 150_000 * 8, AGENTS))
        run(together, apart, 4)


def test_asynchronous_agents_over_mosquitto(mosquitto):
    made, models, algorithm = settings(), first_rows(plain()), ASYNCHRONOUS["ad-psgd"]
    apart = crew(solos(algorithm, TwoCliques(), plain, models, made, ALL), over(mosquitto.url))
    with closing(apart):
        apart.enter(1, ALL)
        apart.rounds(8)
        answer_all(apart)
        replay = Replay(algorithm, TwoCliques(), perceptron()[0], models.clone(), made)
        replay.play([apart.engines[agent].solo.events for agent in range(AGENTS)])
        assert torch.equal(apart.models, replay.models)
