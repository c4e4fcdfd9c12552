"""`split infer`: this machine as a server of a split network, or as the one who asks with its test samples."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from edgekit import tensor_file
from edgekit.coordinator.stream import StreamClient, StreamServer, Tensors
from edgekit.coordinator.worker import Post
from edgekit.errors import BadInput
from edgekit.progress import make_progress
from edgekit.runs.split_file import SplitFile
from edgekit.runs.split_run import SplitPart

Say = Callable[[str], None]


@dataclass(frozen=True)
class Terms:
    """How a network is asked: the broker, which agent this is, and how much at a time; see `edgekit split --help`."""

    broker: str
    me: str
    batch: int = 1
    requests: int | None = None
    window: int = 8
    wait: float = 60.0
    weights: Path | None = None
    credentials: Path | None = None
    insecure: bool = False
    once: bool = False

    def __post_init__(self) -> None:
        for name in ("batch", "window"):
            if getattr(self, name) < 1:
                raise BadInput(f"--{name}: {getattr(self, name)} is too small. Give at least 1.")


class StreamSite:
    """This machine's side of the inference of one run file."""

    def __init__(self, run: SplitFile, terms: Terms, *, say: Say = lambda line: None) -> None:
        self.terms, self.say = terms, say
        self.asks = terms.me == run.split.inputs
        self.part = SplitPart(run, data=self.asks)
        spares = [spare for row in run.split.spares.values() for spare in row]
        self.agents = list(dict.fromkeys([*self.part.split.agents, *spares]))
        if terms.weights is not None:
            load_weights(self.part, terms.weights)

    def run(self) -> dict[str, Any]:
        """Serve, or ask; what came of it."""
        name = f"{self.part.run.title}.infer"
        with tempfile.TemporaryDirectory() as keys:
            terms = self.terms
            post = Post(terms.broker, Path(keys), terms.credentials, None, terms.insecure)
            access = post.access(name, terms.me)
            if not self.asks:
                server = StreamServer(access, name, self.part, terms.batch, say=self.say)
                return {"epochs": server.run(once=terms.once)}
            client = StreamClient(
                access, name, self.part, terms.batch, window=terms.window, wait=terms.wait, say=self.say
            )
            return self._asked(client)

    def _asked(self, client: StreamClient) -> dict[str, Any]:
        arrays, batch = self.part.arrays, self.terms.batch
        if arrays is None:
            raise BadInput("data: who asks needs data. Name them in the run file.")
        count = len(arrays.test_x) // batch
        count = min(count, self.terms.requests or count)
        bar, outputs = make_progress(self.say), []
        client.open()
        bar.start(self.part.run.title, float(count))
        try:
            began = time.perf_counter()
            for number, output in enumerate(client.results(self._requests(arrays.test_x, count))):
                outputs.append(output)
                bar.advance(float(number + 1))
            took = time.perf_counter() - began
        finally:
            bar.stop()
            client.close()
        scores = self.part.metric(torch.cat(outputs).numpy(), arrays.test_y[: count * batch].numpy())
        return {
            "title": self.part.run.title,
            "requests": count,
            "batch": batch,
            "window": client.window,
            "metric_name": self.part.metric_name,
            "metric": float(np.mean(scores)),
            "seconds": took,
            "requests_a_second": count / took,
            "latency_ms": 1000 * median(client.latencies),
            "latency_ms_99": 1000 * float(np.quantile(client.latencies, 0.99)),
            "bytes_sent": sum(client.post.sent.values()),
            "moves": client.moves,
        }

    def _requests(self, x: torch.Tensor, count: int) -> Iterator[Tensors]:
        batch = self.terms.batch
        for number in range(count):
            yield dict.fromkeys(self.part.split.network.inputs, x[number * batch : (number + 1) * batch])


def load_weights(part: SplitPart, folder: Path) -> None:
    """The newest snapshot of an agent's training, into the segments that it holds; BadInput where there is none."""
    steps = [int(path.stem.rpartition("-")[2]) for path in folder.glob("snapshot-*.json")]
    if not steps:
        raise BadInput(
            f"--weights: '{folder}' holds no snapshot of a split run. Name an agent's output folder."
        )
    tensors = tensor_file.read(folder / f"snapshot-{max(steps)}.safetensors")
    for segment in part.split.segments:
        head = f"0/segment/{segment.index}/"
        own = {name.removeprefix(head): value for name, value in tensors.items() if name.startswith(head)}
        if own:
            segment.load_state_dict(own)
