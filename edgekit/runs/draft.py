"""A first run file for a model and data, with what else there is to choose in comments."""

from __future__ import annotations

from pathlib import Path

from edgekit.paths import absolute, relative

_TEXT = """\
# Decentralized training. Try it here:        edgekit simulate {name}
# What there is to name:                       edgekit algorithms | topologies | codecs | partitions | optimizers
algorithm: d-psgd                # or [d-psgd, {{ngc: {{alpha: 1}}}}]: a list is a sweep, compared in the report
topology: ring                   # edgekit topologies show ring --agents 8 --plot ring.svg
agents: 8
codec: raw                       # natural: 9 bits a value; {{top-k: 0.01}}; {{error-feedback: scaled-sign}}
model: {model}
data: {data}
batch: 32
optimizer: {{sgd: {{lr: 0.05}}}}     # momentum: 0.9; or adamw, lars, lamb
# schedule: {{warmup: 0.05, decay: cosine}}
rounds: 300
evaluate_every: 30
seed: 0
seeds: 3                         # mean, deviation and interval over them
# local_steps: 1                 # batches between two exchanges
# links: {{bandwidth_mbps: 100, latency_ms: 25, seconds_per_gradient: 0.01}}      # a virtual clock
# absence: {{rate: 0.05, loss: 0.01}}                                          # agents and links that fail
# tune: {{lr: [0.2, 0.1, 0.05]}}                             # on held-out training data, for every cell
"""


def run_text(model: str, data: str, out: Path) -> str:
    """The run file as commented YAML; paths are relative to the folder of `out`."""
    folder = out.resolve().parent
    near = lambda text: str(relative(absolute(text, Path.cwd()), folder))  # noqa: E731
    share = f"{{{near(data)}: {{partition: {{dirichlet: 0.5}}}}}}    # or iid, {{shards: 2}}, {{sorted_fraction: 1.0}}"
    return _TEXT.format(name=out, model=near(model), data=share)
