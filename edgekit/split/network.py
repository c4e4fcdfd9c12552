"""A network as a graph that can be cut: its operations in order, and the tensors that cross each cut.

Any model that torch.fx can trace, and others through torch.export; branches and skip connections cross a cut as they
are, each tensor sent once to every segment that uses it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from edgekit.errors import BadInput, did_you_mean

PROBES = (2, 3)  # batch sizes that tell which dimension is the batch


@dataclass(frozen=True)
class Value:
    """A tensor that an operation makes: its shape without the batch, dtype, and bytes a sample."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def numel(self) -> int:
        """Values a sample."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes a sample, as they are."""
        return self.numel * torch.empty(0, dtype=self.dtype).element_size()


@dataclass(frozen=True)
class Cut:
    """A place where the network can be cut: after operation `position`; `values` cross it."""

    name: str
    position: int
    values: tuple[Value, ...]

    @property
    def bytes(self) -> int:
        """Bytes a sample that cross."""
        return sum(value.bytes for value in self.values)


class Network:
    """A traced model.

    example {input: tensor [n, ...]}: shapes and dtypes of the inputs; the batch size does not matter.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> network = Network(model, torch.zeros(1, 4))
    >>> [(cut.name, cut.bytes) for cut in network.cuts]
    [('0', 32), ('1', 32)]
    """

    def __init__(self, model: nn.Module, example: torch.Tensor | Mapping[str, torch.Tensor]) -> None:
        self.model = model
        self.traced = _traced(model)
        names = _inputs(self.traced)
        given = {names[0]: example} if isinstance(example, torch.Tensor) else dict(example)
        if set(given) != set(names):
            raise BadInput(
                f"split: the model takes {', '.join(names)}, the example gives {', '.join(given)}. Give each input."
            )
        self.inputs = tuple(names)
        self.values = self._values({name: given[name] for name in names})
        self.order = tuple(
            node
            for node in self.traced.graph.nodes
            if node.op in ("call_module", "call_function", "call_method")
        )
        self._place = {node.name: index for index, node in enumerate(self.order)}
        self.output = _output(self.traced)
        self.cuts = tuple(self._cuts())

    def cut(self, name: str) -> Cut:
        """The cut after the last operation of a module, or after an operation; BadInput where there is none."""
        for cut in self.cuts:
            if cut.name == name:
                return cut
        last = max(self.operations(name), default=None)
        for cut in self.cuts:
            if cut.position == last:
                return cut
        why = (
            "tensors without a batch dimension would cross there"
            if last is not None
            else did_you_mean(name, [cut.name for cut in self.cuts])
        )
        raise BadInput(f"split: there is no cut after '{name}'. {why[0].upper() + why[1:]}")

    def assignment(self, cuts: tuple[Cut, ...]) -> list[int]:
        """The segment of every operation, for a chain that is cut at these places."""
        places = sorted(cut.position for cut in cuts)
        if len(set(places)) < len(places):
            raise BadInput("split: two cuts are at the same place. Name different ones.")
        return [sum(index > place for place in places) for index in range(len(self.order))]

    def operations(self, name: str) -> list[int]:
        """The places of the operations in a module, or of an operation; none where there is neither."""
        return [index for index, node in enumerate(self.order) if name in _names(node)]

    def assignment_by_module(self, names: Sequence[str]) -> list[int]:
        """The segment of every operation, for segments that are modules (or operations), in the order of computation.

        Of modules inside each other the innermost counts. An operation in none of them belongs to the segment that all
        it takes comes from, otherwise to the first that uses it. BadInput where a segment would have no operation, or
        another than the last makes the result.
        """
        place: dict[str, int] = {}
        for segment, name in sorted(enumerate(names), key=lambda item: -len(self.operations(item[1]))):
            place |= {self.order[index].name: segment for index in self.operations(name)}
        for segment, name in enumerate(names):
            if segment not in place.values():
                raise BadInput(f"split: {self._why_empty(name)}")
        self._spread(place)
        if place[self.output] != len(names) - 1:
            raise BadInput(
                f"split: '{names[place[self.output]]}' makes the result, so it must be the last segment, not "
                f"'{names[-1]}'. Give segments in the order of computation."
            )
        return [place[node.name] for node in self.order]

    def _why_empty(self, name: str) -> str:
        if self.operations(name):
            return f"all operations of '{name}' are in modules that are named beside it. Drop it."
        known = {known for node in self.order for known in _names(node)}
        return f"the model has no module '{name}'. {did_you_mean(name, known)}"

    def _spread(self, place: dict[str, int]) -> None:
        """Find the segment of every operation that no module names: from what it takes, then from who uses it."""
        origin: dict[str, int | None] = {name: self._only_user(name, place) for name in self.inputs}
        origin.update(place)
        for node in self.order:
            sources = {origin.get(source.name) for source in node.all_input_nodes if source.op != "get_attr"}
            source = sources.pop() if len(sources) == 1 else None
            if node.name not in place and source is not None:
                place[node.name] = origin[node.name] = source
        for node in self.order[::-1]:
            using = [place[user.name] for user in node.users if user.name in place]
            place.setdefault(node.name, min(using, default=max(place.values())))

    def _only_user(self, name: str, place: Mapping[str, int]) -> int | None:
        """The one segment that uses an input, so that it need not leave for operations around that segment."""
        (node,) = (node for node in self.traced.graph.nodes if node.name == name)
        using = {place[user.name] for user in node.users if user.name in place}
        return using.pop() if len(using) == 1 else None

    def _cuts(self) -> list[Cut]:
        found: list[Cut] = []
        taken: set[str] = set()
        for position in range(len(self.order) - 1):
            crossing = self._crossing(position)
            if not crossing or any(name not in self.values for name in crossing):
                continue
            name = self._name(position, taken)
            taken.add(name)
            found.append(Cut(name, position, tuple(self.values[name] for name in crossing)))
        return found

    def _crossing(self, position: int) -> list[str]:
        """Names of what operations up to `position` made and later ones use, inputs included."""
        early = [node for node in self.traced.graph.nodes if self._at(node) <= position]
        return [
            node.name
            for node in early
            if node.op != "get_attr" and any(self._at(user) > position for user in node.users)
        ]

    def _at(self, node: fx.Node) -> int:
        if node.op in ("placeholder", "get_attr"):
            return -1
        return self._place.get(node.name, len(self.order))

    def _name(self, position: int, taken: set[str]) -> str:
        """The outermost module that ends here, or the operation's own name."""
        here = _names(self.order[position])
        later = {name for node in self.order[position + 1 :] for name in _names(node)}
        ended = [name for name in here if name not in later and name not in taken]
        return ended[0] if ended else self.order[position].name

    def _values(self, example: Mapping[str, torch.Tensor]) -> dict[str, Value]:
        """Every tensor whose first dimension is the batch, and nothing else of it is."""
        seen: list[dict[str, Any]] = []
        for batch in PROBES:
            inputs = [_with_batch(tensor, batch) for tensor in example.values()]
            mode = self.model.training
            self.traced.eval()
            with torch.no_grad():
                ShapeProp(self.traced).propagate(*inputs)
            self.traced.train(mode)
            seen.append({node.name: node.meta.get("tensor_meta") for node in self.traced.graph.nodes})
        found = {}
        for name, first in seen[0].items():
            second = seen[1][name]
            if not hasattr(first, "shape") or not hasattr(second, "shape") or not first.shape:
                continue
            shapes = tuple(first.shape), tuple(second.shape)
            if shapes[0][0] == PROBES[0] and shapes[1][0] == PROBES[1] and shapes[0][1:] == shapes[1][1:]:
                found[name] = Value(name, shapes[0][1:], first.dtype)
        return found


def input_names(model: nn.Module) -> tuple[str, ...]:
    """The inputs of a model, as `Network` names them."""
    return tuple(_inputs(_traced(model)))


def _inputs(traced: fx.GraphModule) -> list[str]:
    return [node.name for node in traced.graph.nodes if node.op == "placeholder"]


def _traced(model: nn.Module) -> fx.GraphModule:
    try:
        return fx.symbolic_trace(model)
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise BadInput(
            f"split: the model cannot be traced ({reason}). Its forward must not branch on values; wrap what does in a "
            "module of its own and mark it with torch.fx.wrap."
        ) from error


def _output(traced: fx.GraphModule) -> str:
    (node,) = [node for node in traced.graph.nodes if node.op == "output"]
    result = node.args[0]
    if not isinstance(result, fx.Node):
        raise BadInput("split: the model gives several results. Split a model that gives one tensor.")
    return result.name


def _names(node: fx.Node) -> list[str]:
    """The modules that an operation is in, outermost first, and its own name."""
    stack = [path for path in (node.meta.get("nn_module_stack") or {}) if path]
    own = [str(node.target)] if node.op == "call_module" else []
    return list(dict.fromkeys([*stack, *own, node.name]))


def _with_batch(tensor: torch.Tensor, batch: int) -> torch.Tensor:
    return tensor[:1].expand(batch, *tensor.shape[1:]).clone()
