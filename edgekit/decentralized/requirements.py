"""Whether an algorithm can work on a topology with an optimizer and a codec: said before a run starts."""

from __future__ import annotations

from edgekit.codecs.codec import Codec
from edgekit.decentralized.algorithm import Declared
from edgekit.decentralized.graph import union
from edgekit.decentralized.mixing import Mixing
from edgekit.decentralized.optimizers import Optimizer, Sgd
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topology import Topology
from edgekit.errors import BadInput

WEIGHT_RULES = {"column": "column-stochastic", "symmetric": "metropolis", "doubly": "metropolis"}


def check_matrix(algorithm: Declared, mixing: Mixing, where: str) -> None:
    """Raise BadInput where W is not what the algorithm's theorem asks for."""
    name, wanted = algorithm.name, algorithm.mixing
    if wanted == "none":
        return
    if wanted == "column":
        _need(mixing.column_stochastic, name, where, "columns that sum to 1", "weights: column-stochastic")
        return
    _need(mixing.row_stochastic, name, where, "rows that sum to 1", "weights: metropolis")
    if wanted in ("doubly", "symmetric"):
        _need(
            mixing.column_stochastic,
            name,
            where,
            "rows and columns that sum to 1",
            "weights: metropolis, or an algorithm for directed graphs such as sgp",
        )
    if wanted == "symmetric":
        _need(mixing.symmetric, name, where, "a symmetric matrix", "an undirected topology")
    if algorithm.smallest_eigenvalue > -1 and mixing.symmetric:
        smallest = float(mixing.eigenvalues[0])
        if smallest <= algorithm.smallest_eigenvalue:
            raise BadInput(
                f"{where}: {name} diverges on a matrix with an eigenvalue at or below "
                f"{algorithm.smallest_eigenvalue:.3g}; this one has {smallest:.4f}. Choose weights: metropolis, "
                "another topology, or exact-diffusion, which has no such bound."
            )


def check_setting(
    algorithm: Declared,
    topology: Topology,
    optimizer: Optimizer,
    codec: Codec,
    *,
    agents: int,
    local_steps: int,
    has_buffers: bool,
) -> None:
    """Raise BadInput where topology, optimizer, codec, local steps or model cannot serve the algorithm."""
    name = algorithm.name
    if algorithm.static_graph and topology.period(agents) != 1:
        raise BadInput(
            f"topology: {name} keeps copies of its neighbours' models, so its graph must stay; {topology.name} changes "
            "from round to round. Choose a topology such as ring, torus or random-regular."
        )
    if algorithm.groups and not has_groups(topology):
        raise BadInput(
            f"topology: {name} averages within groups, and {topology.name} has none. Choose d-cliques, moshpit or "
            "hierarchical."
        )
    if local_steps > 1 and not algorithm.local_steps:
        raise BadInput(f"local_steps: {name} exchanges at every gradient, so local_steps must be 1.")
    if algorithm.optimizer != "any":
        _check_optimizer(algorithm, optimizer)
    if algorithm.codecs == "unbiased" and not (codec.unbiased or codec.remembers):
        raise BadInput(
            f"codec: {name} needs an unbiased codec, and {codec.name} is biased. Choose natural or raw, or wrap it: "
            f"{{error-feedback: {codec.name}}}."
        )
    if has_buffers and not algorithm.buffers:
        raise BadInput(
            f"model: {name} evaluates the neighbours' models on an agent's own data, which would spoil their running "
            "statistics. Choose a model without BatchNorm, such as one with norm: group."
        )


def check_connected(algorithm: Declared, topology: Topology, roster: Roster, seed: int) -> None:
    """Raise BadInput where some agents can never hear of others over the rounds of a period."""
    period = topology.period(len(roster))
    if period is None or not (algorithm.vectors or algorithm.groups):
        return
    graphs = [topology.graph(roster, round, seed) for round in range(period)]
    if not union(graphs).connected:
        raise BadInput(
            f"topology: {topology.name} of these {len(roster)} agents is not connected, so they can never agree. Join "
            "its parts, or choose another topology or seed."
        )


def has_groups(topology: Topology) -> bool:
    """Whether a topology says who averages among themselves."""
    return type(topology).groups is not Topology.groups


def _check_optimizer(algorithm: Declared, optimizer: Optimizer) -> None:
    name = algorithm.name
    if not isinstance(optimizer, Sgd) or type(optimizer) is not Sgd or optimizer.momentum:
        brings = (
            "brings a momentum of its own"
            if algorithm.optimizer == "own"
            else "is proved for plain gradients"
        )
        raise BadInput(f"optimizer: {name} {brings}. Choose sgd without momentum.")


def _need(holds: bool, name: str, where: str, what: str, instead: str) -> None:
    if not holds:
        raise BadInput(f"{where}: {name} needs {what}. Choose {instead}.")
