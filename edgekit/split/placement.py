"""Who holds what of a split network, and what leaves each device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from edgekit.errors import BadInput, did_you_mean
from edgekit.split.message import LOSS, What
from edgekit.split.network import Network
from edgekit.split.segment import Segment

DATA = -1


@dataclass(frozen=True)
class Slice:
    """What one agent holds of every sample: features [start, stop) along an axis.

    >>> Slice("left", (0, 2)).take(torch.arange(6).reshape(1, 1, 6), axis=-1)
    tensor([[[0, 1]]])
    """

    holder: str
    features: tuple[int, int]

    def __post_init__(self) -> None:
        start, stop = self.features
        if not 0 <= start < stop:
            raise BadInput(f"features: [{start}, {stop}] has none. Give [start, stop], 0 <= start < stop.")

    def take(self, x: torch.Tensor, axis: int) -> torch.Tensor:
        """Its part of samples [n, ...]; axis: counted without the batch, negative from the end."""
        start, stop = self.features
        return x.narrow(axis if axis < 0 else axis + 1, start, stop - start).contiguous()


@dataclass(frozen=True)
class Placement:
    """Who holds each segment, the inputs and the labels.

    on: the agent of each segment, in the order of computation; inputs: who holds the inputs, one agent or one for each
    input of the network; labels: who holds them. `labels_leave` and `inputs_leave` permit that they are sent to who
    computes with them; otherwise the loss is computed where the labels are, and a first segment where the inputs are.

    Vanilla: on = (client, server), labels at the client and labels_leave. U-shaped: on = (client, server, client),
    labels at the client. Vertical: several input segments, each at the agent that holds its features.
    """

    on: tuple[str, ...]
    inputs: tuple[str, ...]
    labels: str
    labels_leave: bool = False
    inputs_leave: bool = False

    @property
    def agents(self) -> tuple[str, ...]:
        """All of them, in the order in which they come up."""
        return tuple(dict.fromkeys([*self.inputs, *self.on, self.labels]))

    @property
    def loss_on(self) -> str:
        """Who computes the loss: the last segment's agent where labels may go there, else their holder."""
        return self.on[-1] if self.labels_leave else self.labels

    def holder(self, network: Network, name: str) -> str:
        """Who holds an input."""
        return self.inputs[0] if len(self.inputs) == 1 else self.inputs[network.inputs.index(name)]

    def check(
        self, network: Network, segments: Sequence[Segment], agents: Sequence[str] | None = None
    ) -> None:
        """BadInput where a segment is homeless, an agent unknown, or data would leave that may not."""
        if len(self.on) != len(segments):
            raise BadInput(
                f"placement: {len(segments)} segments, but {len(self.on)} agents to hold them. Name one for each: "
                "segments: [...]"
            )
        if len(self.inputs) not in (1, len(network.inputs)):
            raise BadInput(
                f"placement: the network has {len(network.inputs)} inputs ({', '.join(network.inputs)}), but "
                f"{len(self.inputs)} holders are named. Name one, or one for each."
            )
        for agent in self.agents if agents is not None else ():
            if agent not in (agents or ()):
                raise BadInput(
                    f"placement: '{agent}' is no agent of this run. {did_you_mean(agent, agents or ())}"
                )
        for row in transfers(network, segments, self):
            if row.what == "value" and row.source == DATA and not self.inputs_leave:
                raise BadInput(
                    f"placement: the input '{row.name}' would leave {row.sender} for {row.receiver}. Hold segment "
                    f"{row.consumer} at {row.sender}, or permit it: inputs_leave: true."
                )


@dataclass(frozen=True)
class Transfer:
    """What goes from one agent to another in every step: a row of the table that is shown before a run.

    shape: of a sample; bytes: of a sample, before a codec; source: the segment that makes it, -1 the data.
    """

    sender: str
    receiver: str
    what: What
    name: str
    shape: tuple[int, ...]
    bytes: int
    source: int
    consumer: int


def silent(network: Network, placement: Placement) -> list[str]:
    """Agents that only give: neither a segment nor the loss is theirs, so that nothing would come back to them."""
    givers = [*(placement.holder(network, name) for name in network.inputs), placement.labels]
    busy = {*placement.on, placement.loss_on}
    return [agent for agent in dict.fromkeys(givers) if agent not in busy]


def transfers(network: Network, segments: Sequence[Segment], placement: Placement) -> list[Transfer]:
    """Everything that leaves a device in a training step, in the order of computation, then of the gradients."""
    forward = [*_forward(network, segments, placement)]
    back = [
        Transfer(row.receiver, row.sender, "gradient", row.name, row.shape, row.bytes, row.source, consumer)
        for row in forward
        if row.what == "value" and row.source != DATA
        for consumer in _consumers(network, segments, placement, row)
    ]
    told = [
        Transfer(placement.loss_on, agent, "done", "done", (), 1, LOSS, DATA)
        for agent in silent(network, placement)
    ]
    return forward + back[::-1] + told


def _forward(network: Network, segments: Sequence[Segment], placement: Placement) -> Iterator[Transfer]:
    seen = set()
    for segment in segments:
        here = placement.on[segment.index]
        for name in segment.takes:
            source = segment.ports.sources[name]
            owner = placement.holder(network, name) if source == DATA else placement.on[source]
            if owner != here and (owner, here, name) not in seen:
                seen.add((owner, here, name))
                value = network.values[name]
                yield Transfer(owner, here, "value", name, value.shape, value.bytes, source, segment.index)
    last, loss = placement.on[-1], placement.loss_on
    if last != loss:
        value = network.values[network.output]
        yield Transfer(last, loss, "value", network.output, value.shape, value.bytes, len(segments) - 1, LOSS)
    if placement.labels != loss:
        yield Transfer(placement.labels, loss, "labels", "labels", (), 8, DATA, LOSS)


def _consumers(
    network: Network, segments: Sequence[Segment], placement: Placement, row: Transfer
) -> list[int]:
    """The segments at the receiver that use a value: each sends its own gradient."""
    using = [
        segment.index
        for segment in segments
        if row.name in segment.takes and placement.on[segment.index] == row.receiver
    ]
    if row.name == network.output and placement.loss_on == row.receiver:
        using.append(LOSS)
    return using
