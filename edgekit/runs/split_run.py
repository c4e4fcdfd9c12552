"""`split`: one network over several agents, all on this machine on a virtual clock; lines, summary, what leaves whom.

result = edgekit.runs.split_run.SplitRun(*read_split("split.yaml"), folder).finish()
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch

from edgekit import registry
from edgekit.decentralized.sampler import Sampler
from edgekit.errors import BadInput, did_you_mean
from edgekit.journal import environment, write_json
from edgekit.progress import make_progress
from edgekit.runs.arrays import Arrays, load_arrays
from edgekit.runs.metrics import metrics_of_split
from edgekit.runs.split_file import SplitFile
from edgekit.split.build import Split
from edgekit.split.message import Done, Key
from edgekit.split.network import Network, input_names
from edgekit.split.placement import Placement, Transfer
from edgekit.split.post import Post
from edgekit.split.privacy import distance_correlation, nopeek
from edgekit.split.program import Batches, Program, Rhythm, Test
from edgekit.split.simulate import Simulator
from edgekit.split.worker import Tensors, parts
from edgekit.yaml_lines import Document

Say = Callable[[str], None]
LINES, SUMMARY = "run.jsonl", "summary.json"
TOLD = "distance_correlation"
CHUNK, CORRELATED = 500, 128  # test samples of a piece, and for the distance correlation
HEADROOM = 4096  # bytes
MOST_PIECES = 200  # of a test: a frame has 8 bits to number them


class SplitPart:
    """What any number of a split run's agents have and do: network, data, programs, codecs."""

    def __init__(self, run: SplitFile, *, data: bool = True) -> None:
        self.run = run
        self.arrays = load_arrays(run.data, run.data_options) if data or run.input is None else None
        self.split = split_of(run, self.arrays)
        self.loss = registry.losses.get(run.loss or "cross_entropy")
        self.metric = registry.metrics.get(run.metric or "accuracy")
        self.metric_name = str(getattr(self.metric, "__name__", type(self.metric).__name__))

    @cached_property
    def sampler(self) -> Sampler:
        """The batches of every chain."""
        arrays = self._arrays
        labels = np.zeros(len(arrays.train), np.int64) if arrays.labels is None else arrays.labels
        shares = self.run.partition.divide(labels, len(self.split.clients), self.run.seed, arrays.groups)
        return Sampler(dict(enumerate(shares)), self.run.batch, self.run.seed)

    def programs(self, only: Sequence[str] | None = None) -> dict[str, Program]:
        """The programs of all agents, or of those that are here."""
        run, given = self.run, self.run.split
        rhythm = Rhythm(run.steps, run.batch, given.micro_batches, given.every)
        penalty = partial(nopeek, run.privacy.nopeek) if run.privacy.nopeek else None
        return self.split.programs(
            self.loss, run.optimizer.make, rhythm, self._batches, only=only, penalty=penalty, test=self._test
        )

    def post(self) -> Post:
        """The codecs of an agent; what is computed from the data gets the run's noise before it leaves."""
        from_data = [
            segment
            for segment in self.split.segments
            if any(source < 0 for source in segment.ports.sources.values())
        ]
        names = [name for segment in from_data for name in segment.gives]
        run = self.run
        return Post(run.values, run.gradients, seed=run.seed, noise=run.privacy.noise, noisy=names)

    def test_sizes(self) -> list[int]:
        """Samples of each piece of a test."""
        count, piece = self._test_count(), CHUNK
        piece = max(piece, -(-count // MOST_PIECES))
        return [min(piece, count - start) for start in range(0, count, piece)]

    @cached_property
    def structure(self) -> int:
        """A hash of the run but for its data, and of the network but for its weights."""
        apart = {"data", "model", "title", "links", "initial_weights"}
        values = {key: value for key, value in self.run.plain.items() if key not in apart}
        network = self.split.network
        shapes = {name: list(value.shape) for name, value in network.values.items()}
        facts = [values, shapes, list(self.split.assignment), list(map(str, network.traced.graph.nodes))]
        return crc32(json.dumps(facts, sort_keys=True, default=str).encode())

    @cached_property
    def schema(self) -> int:
        """A hash of all that must be the same at all agents: the structure, and the weights to begin with."""
        return weights_hash(self.split.network.model, self.structure)

    def longest(self, post: Post) -> int:
        """The longest payload that an agent may receive, bytes."""
        samples = max(self.run.batch, *self.test_sizes())
        sizes = [0]
        for row in self.split.transfers():
            shape = row.shape if row.what == "weights" else (samples, *row.shape)
            key = Key(row.what, row.name)
            sizes.append(post.limit(key, shape, self._dtype(row)))
        return max(sizes) + HEADROOM

    def _dtype(self, row: Transfer) -> torch.dtype:
        if row.what == "labels":
            return torch.int64
        value = self.split.network.values.get(row.name)
        return torch.float64 if value is None else value.dtype

    @property
    def _arrays(self) -> Arrays:
        if self.arrays is None:
            raise BadInput(
                "data: this agent holds none, but is asked for some. Name its data in the run file."
            )
        return self.arrays

    def _batches(self, agent: str) -> Batches:
        """What an agent holds of a chain's batch: its inputs, its labels, or nothing."""
        sizes = parts(self.run.batch, self.run.split.micro_batches)

        def batch(chain: int, step: int) -> tuple[list[Tensors], list[torch.Tensor]]:
            if not self._holds(agent, chain):
                return [], []
            indices = self.sampler.indices([chain], [self._draw(chain, step)])[0]
            return self._held(agent, chain, *self._arrays.train.take(indices), sizes)

        return batch

    def _test(self, agent: str) -> Test:
        def held(chain: int) -> tuple[list[Tensors], list[torch.Tensor]]:
            if not self._holds(agent, chain):
                return [], []
            count = self._test_count()
            x, y = self._arrays.test_x[:count], self._arrays.test_y[:count]
            return self._held(agent, chain, x, y, self.test_sizes())

        return Test(self.run.evaluate_every, self.test_sizes(), held, self._score, _correlations)

    def _test_count(self) -> int:
        """How many test samples: all agents must know it, also those that hold no data."""
        asked = self.run.test_samples
        if self.arrays is None:
            if asked is None:
                raise BadInput("test_samples: this agent has no data to count. Name the number.")
            return asked
        return len(self.arrays.test_x) if asked is None else min(asked, len(self.arrays.test_x))

    def _holds(self, agent: str, chain: int) -> bool:
        where = self.split.placed(chain)
        return agent in (*where.inputs, where.labels)

    def _held(
        self, agent: str, chain: int, x: torch.Tensor, y: torch.Tensor, sizes: list[int]
    ) -> tuple[list[Tensors], list[torch.Tensor]]:
        where, network = self.split.placed(chain), self.split.network
        names = [name for name in network.inputs if where.holder(network, name) == agent]
        held = [_features(self.run, name, x).split(sizes) for name in names]
        inputs = [dict(zip(names, tensors, strict=True)) for tensors in zip(*held, strict=True)]
        return inputs, list(y.split(sizes)) if where.labels == agent else []

    def _draw(self, chain: int, step: int) -> int:
        """Which of its own batches a chain takes: clients in turn go on where they were."""
        count, every = len(self.split.clients), self.run.split.every
        if self.run.split.mode != "sequential" or count == 1:
            return step
        return step // (every * count) * every + step % every

    def _score(self, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
        return {
            "metric": float(np.mean(self.metric(outputs.numpy(), targets.numpy()))),
            "test_loss": float(self.loss(outputs, targets)),
        }


class SplitRun:
    """One split run in one folder, simulated."""

    def __init__(
        self, run: SplitFile, document: Document, folder: Path, *, say: Say = lambda line: None
    ) -> None:
        self.run, self.document, self.folder, self.say = run, document, folder, say
        self.part = SplitPart(run)
        self.split = self.part.split
        for warning in self.split.check():
            say(f"warning: {warning}")
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def table(self) -> list[Transfer]:
        """What leaves each device."""
        return self.split.transfers()

    def finish(self) -> dict[str, Any]:
        """Run all steps; the summary."""
        run = self.run
        programs = self.part.programs()
        posts = {name: self.part.post() for name in programs}
        self.simulator = Simulator(posts, run.links, seen=self._check_seen)
        self._allowed = allowed(self.table)
        (self.folder / LINES).unlink(missing_ok=True)
        lines, bar = SplitLines(self.part.metric_name, set(programs)), make_progress(self.say)
        bar.start(run.title, float(run.steps))
        last: dict[str, Any] = {}
        try:
            for name, item in self.simulator.run({name: program.run() for name, program in programs.items()}):
                for line in lines.add(name, item):
                    last = {**line, **self._costs(posts)}
                    with open(self.folder / LINES, "a", encoding="utf-8") as file:
                        file.write(json.dumps(last) + "\n")
                bar.advance(float(lines.step))
        finally:
            bar.stop()
        summary = summary_of(run, self.document, last, self.table)
        write_json(self.folder / SUMMARY, summary)
        return summary

    def _costs(self, posts: Mapping[str, Post]) -> dict[str, Any]:
        sent = sum_of(post.sent for post in posts.values())
        return {
            "bytes_sent": sent,
            "virtual_seconds": self.simulator.seconds if self.run.links else None,
        }

    def _check_seen(self, sender: str, receiver: str, found: Key, payload: bytes) -> None:
        check_seen(self._allowed, sender, receiver, found)


Allowed = frozenset[tuple[str, str, str, str]]


def allowed(table: Sequence[Transfer]) -> Allowed:
    """Who may send what to whom."""
    return frozenset((row.sender, row.receiver, row.what, row.name) for row in table)


def check_seen(known: Allowed, sender: str, receiver: str, found: Key) -> None:
    """BadInput for what the table does not say; that a step is done tells nothing."""
    name = "segments" if found.what == "weights" else found.name
    if found.what != "done" and (sender, receiver, found.what, name) not in known:
        raise BadInput(
            f"split: {found.what} '{found.name}' left {sender} for {receiver}, which the table lacks."
        )


def sum_of(sent: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Bytes by what they were, and in total."""
    found: Counter[str] = Counter()
    for counts in sent:
        found.update(counts)
    return {"total": sum(found.values()), **found}


def summary_of(
    run: SplitFile, document: Document, last: Mapping[str, Any], table: Sequence[Transfer]
) -> dict[str, Any]:
    """What a run leaves behind."""
    summary = {
        "schema": 1,
        "title": run.title,
        "last": dict(last),
        "leaves": [row_of(row) for row in table],
        "run": document.value,
        "versions": environment(),
    }
    return {**summary, "metrics": metrics_of_split(summary)}


def split_lines(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run so far; one that was torn ends them."""
    path, found = folder / LINES, []
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            found.append(json.loads(text))
        except ValueError:
            break
    return found


class SplitLines:
    """Puts together what agents say of steps and tests.

    step: how many all have done; losses: (step, loss) since the last line.
    """

    def __init__(
        self, metric_name: str, agents: Collection[str], losses: Iterable[tuple[int, float]] = ()
    ) -> None:
        self.metric_name, self.step, self._began = metric_name, 0, time.perf_counter()
        self._done = dict.fromkeys(agents, -1)
        self.losses = [(step, loss) for step, loss in losses]
        self._scores: dict[int, dict[str, Any]] = {}

    def add(self, agent: str, item: Done) -> list[dict[str, Any]]:
        """The lines that are whole now."""
        self._done[agent] = item.step
        if item.loss is not None:
            self.losses.append((item.step, item.loss))
        if item.score is not None:
            found = self._scores.setdefault(item.step, {})
            told = found.get(TOLD, {}) | item.score.get(TOLD, {})  # of several holders, each of its own
            found.update({**item.score, TOLD: told})
        self.step = max(0, min(self._done.values()))
        whole = min(self._done.values())
        return [self.line(step, self._scores.pop(step)) for step in sorted(self._scores) if step <= whole]

    def line(self, step: int, score: Mapping[str, Any]) -> dict[str, Any]:
        """The line of a step, with what is known of its test."""
        losses = [loss for at, loss in self.losses if at <= step]
        self.losses = [(at, loss) for at, loss in self.losses if at > step]
        return {
            "step": step,
            "metric_name": self.metric_name,
            "metric": score.get("metric"),
            "train_loss": float(np.mean(losses)) if losses else None,
            "test_loss": score.get("test_loss"),
            TOLD: score.get(TOLD, {}),
            "seconds": round(time.perf_counter() - self._began, 3),
        }


def weights_hash(module: torch.nn.Module, start: int = 0) -> int:
    """CRC-32 of all parameters and buffers."""
    for value in module.state_dict().values():
        start = crc32(value.detach().cpu().contiguous().numpy().tobytes(), start)
    return start


def split_of(run: SplitFile, arrays: Arrays | None) -> Split:
    """The network of a run, cut and placed; without data, from the shape that the file names. BadInput for what cannot
    be."""
    from edgekit.zoo.source import resolve_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        model = resolve_model(
            run.model,
            weights=run.initial_weights,
            options=run.model_options,
            dataset=None if arrays is None else arrays.dataset,
        )
    if isinstance(model, Path):
        raise BadInput(
            f"model: '{run.model}' is an ONNX file, which cannot be trained. Name a PyTorch model."
        )
    example = torch.zeros(1, *(run.input or ())) if arrays is None else arrays.test_x[:1]
    names, given, held = input_names(model), run.split, run.split.inputs
    _check_inputs(run, names, example.shape[1:])
    network = Network(model, {name: _features(run, name, example) for name in names})
    placement = Placement(
        given.on,
        (held,) if isinstance(held, str) else tuple(held[name].holder for name in names),
        given.labels,
        labels_leave=given.labels_leave,
        inputs_leave=given.inputs_leave,
    )
    clients = given.clients or given.holders[:1]
    return Split(network, _assignment(run, network), placement, clients, given.mode, given.averager)


def _assignment(run: SplitFile, network: Network) -> list[int]:
    """The segment of every operation; BadInput names the line of a module that is not there."""
    given = run.split.segments
    if not isinstance(given, Mapping):
        return network.assignment(tuple(network.cut(name) for name in run.split.cuts))
    try:
        return network.assignment_by_module(tuple(given))
    except BadInput as error:
        named = [name for name in given if f"'{name}'" in str(error)]
        raise run.document.error(("split", "segments", *named[:1]), str(error)) from error


def _check_inputs(run: SplitFile, names: Sequence[str], shape: Sequence[int]) -> None:
    """BadInput where the inputs of the file are not the model's, or no part of a sample of this shape."""
    given, axis, place = run.split.inputs, run.split.axis, ("split", "inputs")
    if isinstance(given, str):
        if len(names) > 1:
            example = "{holder: AGENT, features: [start, stop]}"
            raise run.document.error(
                place,
                f"inputs: the model takes {len(names)} ({', '.join(names)}), one holder is named. Write "
                f"{{{names[0]}: {example}, ...}}.",
            )
        return
    if not -len(shape) <= axis < len(shape):
        raise run.document.error(
            ("split", "axis"),
            f"axis: a sample {'x'.join(map(str, shape))} has no axis {axis}. Give {-len(shape)} to "
            f"{len(shape) - 1}.",
        )
    for name, part in given.items():
        if name not in names:
            raise run.document.error(
                (*place, name), f"inputs: the model takes no '{name}'. {did_you_mean(name, names)}"
            )
        if part.features[1] > shape[axis]:
            raise run.document.error(
                (*place, name, "features"),
                f"inputs.{name}.features: {list(part.features)} ends after the {shape[axis]} features of axis "
                f"{axis}. Give a stop of at most {shape[axis]}.",
            )
    missing = [name for name in names if name not in given]
    if missing:
        raise run.document.error(
            place,
            f"inputs: nobody holds the model's '{missing[0]}'. Add {missing[0]}: {{holder: AGENT, ...}}.",
        )


def _features(run: SplitFile, name: str, x: torch.Tensor) -> torch.Tensor:
    """What of samples [n, ...] is this input of the model."""
    given = run.split.inputs
    return x if isinstance(given, str) else given[name].take(x, run.split.axis)


def _correlations(inputs: Tensors, outputs: Tensors) -> dict[str, Any]:
    """How much each value that leaves the data's holder tells of the input."""
    x = next(iter(inputs.values()))[:CORRELATED]
    told = {
        name: round(float(distance_correlation(x, value[:CORRELATED])), 4) for name, value in outputs.items()
    }
    return {TOLD: told} if told else {}


def row_of(row: Transfer) -> dict[str, Any]:
    """A row of the table of what leaves each device."""
    return {
        "from": row.sender,
        "to": row.receiver,
        "what": row.what,
        "name": row.name,
        "shape": list(row.shape),
        "bytes": row.bytes,
    }
