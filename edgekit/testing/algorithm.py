"""The kit of algorithms for decentralized training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.codecs.codec import Codec
from edgekit.decentralized.algorithm import Algorithm, AsyncAlgorithm
from edgekit.testing.decentralized_sample import AGENTS, TwoCliques, perceptron, quadratic, still
from edgekit.testing.row import Row, named, need, run_checks

if TYPE_CHECKING:
    from edgekit.decentralized.event_engine import EventEngine
    from edgekit.decentralized.solo import Solo
    from edgekit.decentralized.vector_engine import VectorEngine

    Engine = VectorEngine | EventEngine
ROUNDS = 6


def check_algorithm(algorithm: Algorithm | AsyncAlgorithm) -> list[Row]:
    """An algorithm: keeps the mean, learns, repeats, resumes, sends what it declares; rows apart = together."""
    checks = [
        ("is a frozen dataclass", lambda: _frozen(algorithm)),
        ("has a name, a source and a docstring", lambda: _named(algorithm)),
        ("keeps the mean of the models where it says so", lambda: _keeps_mean(algorithm)),
        ("learns: nearer to the optimum", lambda: _learns(algorithm)),
        ("the same seed gives the same bits", lambda: _repeats(algorithm)),
        ("goes on from a snapshot as if unbroken", lambda: _resumes(algorithm)),
        ("sends what it declares", lambda: _bytes(algorithm)),
        ("goes on when agents are absent", lambda: _absent(algorithm)),
    ]
    if isinstance(algorithm, Algorithm):
        raw, lossy = _codec(lossy=False), _codec(lossy=True)
        checks += [
            ("rows apart give the bits of rows together", lambda: _apart(algorithm, raw)),
            ("also under a lossy codec", lambda: _apart(algorithm, lossy)),
        ]
    return run_checks(checks)


def engine_for(
    algorithm: Any,
    objective: Any,
    models: Any,
    *,
    codec: Codec | None = None,
    lr: float = 0.05,
    absent: float = 0.0,
) -> Engine:
    """The engine that fits, on the kit's topology; its settings are the algorithm's mildest."""
    from edgekit.decentralized.event_engine import EventEngine
    from edgekit.decentralized.optimizers import Sgd
    from edgekit.decentralized.settings import Absence, Settings
    from edgekit.decentralized.vector_engine import VectorEngine

    settings = Settings(
        codec=codec or _codec(lossy=False),
        optimizer=Sgd(lr=lr),
        rounds=1000,
        seed=3,
        absence=Absence(rate=absent),
    )
    if isinstance(algorithm, AsyncAlgorithm):
        return EventEngine(algorithm, TwoCliques(), objective, models, settings)
    return VectorEngine(algorithm, TwoCliques(), objective, models, settings)


def solo(algorithm: Algorithm, objective: Any, row: Any, settings: Any, agent: int) -> Solo:
    """One agent of the kit's topology by itself."""
    from edgekit.decentralized.roster import Roster
    from edgekit.decentralized.solo import Solo

    row = row.reshape(1, -1).clone()
    return Solo(algorithm, TwoCliques(), objective, row, settings, Roster.of(AGENTS), agent)


def _codec(*, lossy: bool) -> Codec:
    from edgekit.registry import codecs

    made: Codec = codecs.get("natural" if lossy else "raw")()
    return made


def _frozen(algorithm: Any) -> str:
    parameters = getattr(type(algorithm), "__dataclass_params__", None)
    need(parameters is not None and parameters.frozen, "decorate the class with @dataclass(frozen=True)")
    return type(algorithm).__name__


def _named(algorithm: Any) -> str:
    need(bool(algorithm.source), "the class attribute 'source' is empty: author, year, or 'own'")
    return named(type(algorithm), algorithm.name)


def _models(size: int) -> Any:
    import torch

    chance = torch.Generator().manual_seed(1)
    return torch.randn(AGENTS, size, generator=chance, dtype=torch.float64)


def _keeps_mean(algorithm: Any) -> str:
    models = _models(12)
    engine = engine_for(algorithm, still(), models)
    spread = _spread(models)
    for _ in range(20):
        engine.round()
    drift = float((engine.models.mean(0) - models.mean(0)).abs().max())
    need(bool(engine.models.isfinite().all()), "the models are NaN or infinite without any gradient")
    need(_spread(engine.models) <= spread * 1.01, "without gradients the models move apart")
    if algorithm.keeps_mean:
        need(
            drift < 1e-10,
            f"the mean moved by {drift:.2g} without any gradient; or declare keeps_mean = False",
        )
        return f"drift {drift:.1g}, spread {spread:.2g} -> {_spread(engine.models):.2g}"
    return f"not declared; drift {drift:.1g}"


def _learns(algorithm: Any) -> str:
    import torch

    problem, models = quadratic(), torch.full((AGENTS, 12), 3.0, dtype=torch.float64)
    engine = engine_for(algorithm, problem, models)
    before = float((models.mean(0) - problem.optimum).norm())
    for _ in range(150):
        engine.round()
    after = float((engine.models.mean(0) - problem.optimum).norm())
    need(after < 0.3 * before, f"the mean model is {after:.3g} from the optimum, at first {before:.3g}")
    return f"{before:.3g} -> {after:.2g} from the optimum"


def _repeats(algorithm: Any) -> str:
    import torch

    found = []
    for _ in range(2):
        objective, row = perceptron()
        engine = engine_for(algorithm, objective, row.repeat(AGENTS, 1), codec=_codec(lossy=True))
        for _ in range(ROUNDS):
            engine.round()
        found.append(engine.models.clone())
    need(torch.equal(*found), "two runs differ; take randomness from keys.stream(seed, ...)")
    return f"{ROUNDS} rounds"


def _resumes(algorithm: Any) -> str:
    import torch

    objective, row = perceptron()
    unbroken, second = (
        engine_for(algorithm, objective, row.repeat(AGENTS, 1), codec=_codec(lossy=True)) for _ in range(2)
    )
    for _ in range(ROUNDS // 2):
        unbroken.round()
    second.restore(unbroken.snapshot())
    for _ in range(ROUNDS - ROUNDS // 2):
        unbroken.round()
        second.round()
    need(torch.equal(unbroken.models, second.models), "the resumed run differs; keep everything in the state")
    need(unbroken.ledger.bytes.tolist() == second.ledger.bytes.tolist(), "the bytes differ after a resume")
    return f"{ROUNDS} rounds, broken after {ROUNDS // 2}"


def _bytes(algorithm: Any) -> str:
    objective, row = perceptron()
    engine = engine_for(algorithm, objective, row.repeat(AGENTS, 1))
    engine.round()
    before = int(engine.ledger.bytes.sum())
    engine.round()
    sent = int(engine.ledger.bytes.sum()) - before
    whole = row.numel() * row.element_size()
    declared = _declared(algorithm, whole)
    need(
        declared <= sent <= declared * 1.02 + 64 * AGENTS * AGENTS,
        f"a round sends {sent:,} bytes, but vectors = {algorithm.vectors:g} and grouped = "
        f"{algorithm.grouped:g} declare {declared:,.0f}",
    )
    return f"{sent:,} bytes a round"


def _declared(algorithm: Any, whole: int) -> float:
    from edgekit.decentralized.roster import Roster

    roster = Roster.of(AGENTS)
    if isinstance(algorithm, AsyncAlgorithm):
        return (
            algorithm.vectors * whole * AGENTS * 1.0
        )  # half of the offers may be answered in the next round
    arcs = TwoCliques().graph(roster, 0, 0).arcs
    size = AGENTS // 2 if algorithm.groups else AGENTS
    return algorithm.vectors * arcs * whole + algorithm.grouped * 2 * (size - 1) / size * whole * AGENTS


def _absent(algorithm: Any) -> str:
    objective, row = perceptron()
    engine = engine_for(algorithm, objective, row.repeat(AGENTS, 1), absent=0.3)
    for _ in range(ROUNDS):
        engine.round()
    need(bool(engine.models.isfinite().all()), "the models became NaN or infinite")
    return "30 % of the agents absent in each round"


def _apart(algorithm: Algorithm, codec: Codec) -> str:
    import torch

    from edgekit.decentralized.lockstep import Lockstep

    objective, row = perceptron()
    together = engine_for(algorithm, objective, row.repeat(AGENTS, 1), codec=codec)
    apart = Lockstep([solo(algorithm, objective, row, together.settings, agent) for agent in range(AGENTS)])
    for _ in range(ROUNDS):
        apart.round()
        together.round()
    gap = float((together.models - apart.models).abs().max())
    need(torch.equal(together.models, apart.models), f"they differ by {gap:.2g} after {ROUNDS} rounds")
    sent = together.ledger.bytes.tolist()
    need(sent == apart.bytes, f"together {sent} bytes are counted, apart {apart.bytes} are sent")
    return f"{ROUNDS} rounds, {sum(sent):,} bytes"


def _spread(models: Any) -> float:
    return float((models - models.mean(0)).square().sum(1).mean().sqrt())
