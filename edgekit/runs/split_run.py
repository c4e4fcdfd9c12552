"""`split`: one network over several agents, all on this machine on a virtual clock; lines, summary, what leaves whom.

result = edgekit.runs.split_run.SplitRun(*read_split("split.yaml"), folder).finish()
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgekit import registry
from edgekit.decentralized.sampler import Sampler
from edgekit.errors import BadInput
from edgekit.journal import environment, write_json
from edgekit.progress import make_progress
from edgekit.runs.arrays import Arrays, load_arrays
from edgekit.runs.split_file import SplitFile
from edgekit.split.build import Split
from edgekit.split.message import Key
from edgekit.split.network import Network
from edgekit.split.placement import Placement, Transfer
from edgekit.split.post import Post
from edgekit.split.privacy import distance_correlation, nopeek
from edgekit.split.program import Batches, Program, Rhythm
from edgekit.split.simulate import Simulator
from edgekit.split.worker import parts
from edgekit.yaml_lines import Document

Say = Callable[[str], None]
LINES, SUMMARY = "run.jsonl", "summary.json"
CHUNK, CORRELATED = 500, 128  # test samples of a pass, and for the distance correlation


class SplitRun:
    """One split run in one folder."""

    def __init__(
        self, run: SplitFile, document: Document, folder: Path, *, say: Say = lambda line: None
    ) -> None:
        self.run, self.document, self.folder, self.say = run, document, folder, say
        self.arrays = load_arrays(run.data, run.data_options)
        self.split = split_of(run, self.arrays)
        for warning in self.split.check():
            say(f"warning: {warning}")
        self.shares = self._divide()
        self.sampler = Sampler(self.shares, run.batch, run.seed)
        self.loss = registry.losses.get(run.loss or "cross_entropy")
        self.metric = registry.metrics.get(run.metric or "accuracy")
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def table(self) -> list[Transfer]:
        """What leaves each device."""
        return self.split.transfers()

    def finish(self) -> dict[str, Any]:
        """Run all steps; the summary."""
        run = self.run
        programs = self.programs()
        posts = {name: self._post(name) for name in programs}
        self.simulator = Simulator(posts, run.links, seen=self._check_seen)
        allowed = self.split.transfers()
        self._allowed = {(row.sender, row.receiver, row.what, row.name) for row in allowed}
        (self.folder / LINES).unlink(missing_ok=True)
        began, losses, last = time.perf_counter(), [], {}  # type: float, list[float], dict[str, Any]
        bar = make_progress(self.say)
        bar.start(run.title, float(run.steps))
        last = self._line(programs, 0, [], began)
        done = dict.fromkeys(programs, 0)
        try:
            for name, item in self.simulator.run({name: program.run() for name, program in programs.items()}):
                done[name] = item.step
                if item.loss is not None:
                    losses.append(item.loss)
                step = min(done.values())
                if step > last["step"] and (step % run.evaluate_every == 0 or step == run.steps):
                    last = self._line(programs, step, losses, began)
                    losses = []
                bar.advance(float(step))
        finally:
            bar.stop()
        summary = {
            "schema": 1,
            "title": run.title,
            "last": last,
            "leaves": [_row(row) for row in allowed],
            "run": self.document.value,
            "versions": environment(),
        }
        write_json(self.folder / SUMMARY, summary)
        return summary

    def programs(self, only: Sequence[str] | None = None) -> dict[str, Program]:
        """The programs of all agents, or of those that are here."""
        run, given = self.run, self.run.split
        rhythm = Rhythm(run.steps, run.batch, given.micro_batches, given.every)
        penalty = partial(nopeek, run.privacy.nopeek) if run.privacy.nopeek else None
        return self.split.programs(
            self.loss, run.optimizer.make, rhythm, self._batches, only=only, penalty=penalty
        )

    def _post(self, agent: str) -> Post:
        """The codecs of an agent; what is computed from the data gets the run's noise before it leaves."""
        from_data = [
            segment
            for segment in self.split.segments
            if any(source < 0 for source in segment.ports.sources.values())
        ]
        names = [name for segment in from_data for name in segment.gives]
        run = self.run
        return Post(run.values, run.gradients, seed=run.seed, noise=run.privacy.noise, noisy=names)

    def _divide(self) -> dict[int, Any]:
        labels = self.arrays.labels
        if labels is None:
            labels = np.zeros(len(self.arrays.train), np.int64)
        shares = self.run.partition.divide(labels, len(self.split.clients), self.run.seed, self.arrays.groups)
        return dict(enumerate(shares))

    def _batches(self, agent: str) -> Batches:
        """What an agent holds of a chain's batch: its inputs, its labels, or nothing."""
        sizes = parts(self.run.batch, self.run.split.micro_batches)
        placed = [self.split.placed(chain) for chain in range(len(self.split.clients))]
        network = self.split.network

        def batch(chain: int, step: int) -> tuple[list[dict[str, torch.Tensor]], list[torch.Tensor]]:
            where = placed[chain]
            held = [name for name in network.inputs if where.holder(network, name) == agent]
            if not held and where.labels != agent:
                return [], []
            x, y = self.arrays.train.take(self.sampler.indices([chain], [self._draw(chain, step)])[0])
            inputs = [dict.fromkeys(held, part) for part in x.split(sizes)] if held else []
            return inputs, list(y.split(sizes)) if where.labels == agent else []

        return batch

    def _draw(self, chain: int, step: int) -> int:
        """Which of its own batches a chain takes: clients in turn go on where they were."""
        count, every = len(self.split.clients), self.run.split.every
        if self.run.split.mode != "sequential" or count == 1:
            return step
        return step // (every * count) * every + step % every

    def _check_seen(self, sender: str, receiver: str, found: Key, payload: bytes) -> None:
        """Nothing crosses that the table does not say."""
        name = "segments" if found.what == "weights" else found.name
        if (sender, receiver, found.what, name) not in self._allowed:
            raise BadInput(
                f"split: {found.what} '{found.name}' left {sender} for {receiver}, which the table lacks."
            )

    def _line(
        self, programs: dict[str, Program], step: int, losses: list[float], began: float
    ) -> dict[str, Any]:
        metric, test_loss, told = self._evaluate(programs, max(0, step - 1))
        sent: dict[str, int] = {}
        for post in self.simulator.posts.values():
            for what, count in post.sent.items():
                sent[what] = sent.get(what, 0) + count
        line = {
            "step": step,
            "metric_name": str(getattr(self.metric, "__name__", type(self.metric).__name__)),
            "metric": metric,
            "train_loss": float(np.mean(losses)) if losses else None,
            "test_loss": test_loss,
            "bytes_sent": {"total": sum(sent.values()), **sent},
            "distance_correlation": told,
            "seconds": round(time.perf_counter() - began, 3),
            "virtual_seconds": self.simulator.seconds if self.run.links and step else None,
        }
        with open(self.folder / LINES, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return line

    def _evaluate(self, programs: dict[str, Program], step: int) -> tuple[float, float, dict[str, float]]:
        """(metric, loss, {value that leaves the data's holder: its distance correlation with the input})."""
        clients = len(self.split.clients)
        chain = step // self.run.split.every % clients if self.run.split.mode == "sequential" else 0
        segments = next(p.workers[chain] for p in programs.values() if chain in p.workers).segments
        x, y = self.arrays.test_x, self.arrays.test_y
        if self.run.test_samples is not None:
            x, y = x[: self.run.test_samples], y[: self.run.test_samples]
        outputs, told = [], {}
        with torch.no_grad():
            for index, piece in enumerate(x.split(CHUNK)):
                values = dict.fromkeys(self.split.network.inputs, piece)
                for segment in segments:
                    segment.eval()
                    made = segment({name: values[name] for name in segment.takes})
                    segment.train()
                    values.update(made)
                    if index == 0 and any(source < 0 for source in segment.ports.sources.values()):
                        told.update(_correlations(piece, made, segment.ports.users))
                outputs.append(values[self.split.network.output])
        whole = torch.cat(outputs)
        score = float(np.mean(self.metric(whole.numpy(), y.numpy())))
        return score, float(self.loss(whole, y)), told


def split_of(run: SplitFile, arrays: Arrays) -> Split:
    """The network of a run, cut and placed; BadInput for what cannot be."""
    from edgekit.zoo.source import resolve_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        model = resolve_model(
            run.model, weights=run.initial_weights, options=run.model_options, dataset=arrays.dataset
        )
    if isinstance(model, Path):
        raise BadInput(
            f"model: '{run.model}' is an ONNX file, which cannot be trained. Name a PyTorch model."
        )
    network = Network(model, arrays.test_x[:1])
    given = run.split
    assignment = network.assignment(tuple(network.cut(name) for name in given.cuts))
    placement = Placement(
        given.segments,
        (given.inputs,),
        given.labels,
        labels_leave=given.labels_leave,
        inputs_leave=given.inputs_leave,
    )
    clients = given.clients or (given.inputs,)
    return Split(network, assignment, placement, clients, given.mode, given.averager)


def _correlations(x: torch.Tensor, made: dict[str, torch.Tensor], users: Any) -> dict[str, float]:
    return {
        name: round(float(distance_correlation(x[:CORRELATED], value[:CORRELATED])), 4)
        for name, value in made.items()
        if users.get(name)
    }


def _row(row: Transfer) -> dict[str, Any]:
    return {
        "from": row.sender,
        "to": row.receiver,
        "what": row.what,
        "name": row.name,
        "shape": list(row.shape),
        "bytes": row.bytes,
    }
