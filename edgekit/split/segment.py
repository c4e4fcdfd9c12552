"""A segment: the part of a network that one agent computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import fx, nn

from edgekit.errors import BadInput
from edgekit.split.network import Network, Value

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Ports:
    """What a segment takes, by the segment that makes it (-1: the data), and what it gives, by who uses it.

    sources {value: segment}; users {value: segments}; `values` their shapes.
    """

    sources: Mapping[str, int]
    users: Mapping[str, tuple[int, ...]]
    values: Mapping[str, Value]


class Segment(nn.Module):
    """Operations of a network, with the modules that they call (shared with it, not copied).

    forward {value: tensor} -> {value: tensor}.
    """

    def __init__(
        self, index: int, body: fx.GraphModule, takes: Sequence[str], gives: Sequence[str], ports: Ports
    ) -> None:
        super().__init__()
        self.index, self.body, self.takes, self.gives, self.ports = (
            index,
            body,
            tuple(takes),
            tuple(gives),
            ports,
        )

    def forward(self, values: Tensors) -> Tensors:
        """What it gives, from what it takes."""
        results = self.body(*(values[name] for name in self.takes))
        return dict(zip(self.gives, results, strict=True))


def segments_of(network: Network, assignment: Sequence[int]) -> list[Segment]:
    """The segments of a network whose operation k belongs to segment `assignment[k]`.

    A value goes from the segment that makes it to every other that uses it, never through a third. BadInput where a
    segment would need what a later one makes, or a parameter is in two.
    """
    place = {node.name: segment for node, segment in zip(network.order, assignment, strict=True)}
    _refuse_shared(network, place)
    count = max(assignment) + 1
    return [_segment(network, place, index, count) for index in range(count)]


def _segment(network: Network, place: Mapping[str, int], index: int, count: int) -> Segment:
    graph, copies = fx.Graph(), {}
    own = [node for node in network.order if place[node.name] == index]
    takes = _taken(network, place, own, index)
    for name in takes:
        copies[name] = graph.placeholder(name)
    for node in own:
        for parameter in node.all_input_nodes:
            if parameter.op == "get_attr" and parameter.name not in copies:
                copies[parameter.name] = graph.node_copy(parameter, lambda needed: copies[needed.name])
        copies[node.name] = graph.node_copy(node, lambda needed: copies[needed.name])
    users = {node.name: _users(network, place, node, index) for node in own}
    gives = [name for name, using in users.items() if using or name == network.output]
    graph.output(tuple(copies[name] for name in gives))
    sources = {name: place.get(name, -1) for name in takes}
    ports = Ports(sources, {name: users[name] for name in gives}, network.values)
    for name in (*takes, *gives):
        if name not in network.values:
            raise BadInput(
                f"split: '{name}' would cross a cut, but its first dimension is not the batch. Cut elsewhere."
            )
    return Segment(index, fx.GraphModule(network.traced, graph), takes, gives, ports)


def _taken(network: Network, place: Mapping[str, int], own: Sequence[fx.Node], index: int) -> list[str]:
    needed = dict.fromkeys(
        source.name
        for node in own
        for source in node.all_input_nodes
        if source.op != "get_attr" and place.get(source.name, -1) != index
    )
    for name in needed:
        if place.get(name, -1) > index:
            raise BadInput(
                f"split: segment {index} needs '{name}' of the later segment {place[name]}. Give segments in the order "
                "of computation."
            )
    return list(needed)


def _users(network: Network, place: Mapping[str, int], node: fx.Node, index: int) -> tuple[int, ...]:
    """The other segments that use what an operation makes, ascending."""
    return tuple(sorted({place[user.name] for user in node.users if place.get(user.name, index) != index}))


def _refuse_shared(network: Network, place: Mapping[str, int]) -> None:
    """A module or parameter that two segments use would be trained in both."""
    owners: dict[int, tuple[str, int]] = {}
    modules = dict(network.traced.named_modules())
    for node in network.order:
        parameters = list(modules[str(node.target)].parameters()) if node.op == "call_module" else []
        for source in node.all_input_nodes:
            if source.op == "get_attr":
                found = _attribute(network.traced, str(source.target))
                parameters += [found] if isinstance(found, nn.Parameter) else []
        for parameter in parameters:
            name, segment = owners.setdefault(id(parameter), (node.name, place[node.name]))
            if segment != place[node.name]:
                raise BadInput(
                    f"split: '{name}' and '{node.name}' share a parameter, but are in segments {segment} and "
                    f"{place[node.name]}. Cut so that both are in one."
                )


def _attribute(owner: nn.Module, path: str) -> object:
    found: object = owner
    for part in path.split("."):
        found = getattr(found, part)
    return found
