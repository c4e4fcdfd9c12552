"""The demonstration: train a small network on the shipped data and compress it for this machine; then four agents, each
with data of its own, train another together over a broker, and a network is split between a camera and an edge
server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.pipeline import Result, compress_recipe
from edgekit.recipe import parse_recipe

if TYPE_CHECKING:
    from edgekit.runs.history import History

TRAINING_EPOCHS = 3
TOGETHER, SPLIT = "together", "split"  # the folders of the second part and the third
RECIPE = """\
# What `edgekit demo` runs; change it and run it again with: edgekit compress {folder}/recipe.yaml --out runs/mine
model: {{resnet8: {{width: 32}}}}
weights: ./trained.safetensors
data: fashion-mnist
boards: [this-machine]
budget: {{max_drop: 0.03}}
seed: 0
steps:
  - prune: {{ratio: 0.5, by: l2}}
  - distil: {{epochs: 2, teacher: original}}
  - quantize: {{epochs: 1}}
"""
RUN = """\
# What the second part of `edgekit demo` ran: four agents, each with three of the ten classes, and no server.
# Again: edgekit train run.yaml       In the simulator: edgekit simulate run.yaml
title: together
algorithm: {ngc: {alpha: 1}}
topology: ring
agents: 4
model: {mlp: {width: 32, depth: 1}}
data: {fashion-mnist: {partition: {sorted_fraction: 1.0}}}
batch: 32
optimizer: {sgd: {lr: 0.02}}
rounds: 400
evaluate_every: 50
"""
SPLIT_RUN = """\
# What the last part of `edgekit demo` ran: a camera keeps images, labels and the last layers, an edge server computes
# the middle. Again: edgekit split split.yaml --broker here      In the simulator: edgekit split split.yaml
title: demo-split
model: {resnet8: {norm: group, width: 8}}
data: {fashion-mnist: {test_limit: 500}}
steps: 160
batch: 32
optimizer: {sgd: {lr: 0.1, momentum: 0.9}}
evaluate_every: 80
split:
  cuts: [stages.0, stages.1]
  segments: [camera, edge, camera]
  inputs: camera
  labels: camera
  values: uint8
"""


def run(folder: Path, *, say: Callable[[str], None], epochs: int = TRAINING_EPOCHS) -> Result:
    """Train, compress and report into `folder`; what was done before is not done again."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "trained.safetensors").exists():
        say(f"training ResNet-8 on the shipped Fashion-MNIST sample, {epochs} epochs")
        train(folder / "trained.safetensors", folder / "training", epochs=epochs)
    recipe = folder / "recipe.yaml"
    if not recipe.exists():
        recipe.write_text(RECIPE.format(folder=folder), encoding="utf-8")
    parsed = parse_recipe(recipe.read_text(encoding="utf-8"), source=str(recipe))
    return compress_recipe(parsed, out=folder, progress=say)


def together(folder: Path, *, say: Callable[[str], None], rounds: int | None = None) -> History:
    """Four agents on this machine train one model over a broker in Python; what was done before is not done again."""
    from edgekit.coordinator.training import Terms, Training
    from edgekit.runs.study import parse_study

    place = folder / TOGETHER
    place.mkdir(parents=True, exist_ok=True)
    changed = [] if rounds is None else [f"rounds={rounds}", f"evaluate_every={rounds}"]
    study = parse_study(RUN, source=str(place / "run.yaml"), overrides=changed)
    agents = study.cells[0].run.agents
    say(f"training a network between {agents} agents, each with its own data and process, over MQTT")
    return Training(study, place, Terms(local=agents), say=say).history()


def divided(folder: Path, *, say: Callable[[str], None], steps: int | None = None) -> dict[str, Any]:
    """A camera and an edge server train one network, each its segments, over a broker in Python; the summary."""
    from edgekit.coordinator.split_site import HERE, Meeting, SplitSite
    from edgekit.journal import read_json
    from edgekit.runs.split_file import parse_split
    from edgekit.runs.split_run import SUMMARY

    place = folder / SPLIT
    if (place / SUMMARY).exists():
        found: dict[str, Any] = read_json(place / SUMMARY)
        return found
    place.mkdir(parents=True, exist_ok=True)
    path = place / "split.yaml"
    path.write_text(SPLIT_RUN, encoding="utf-8")
    changed = [] if steps is None else [f"steps={steps}", f"evaluate_every={steps}"]
    run, document = parse_split(SPLIT_RUN, source=str(path), overrides=changed)
    words = [word for item in changed for word in ("--set", item)]
    meeting = Meeting(HERE, command=("split", str(path.resolve()), *words))
    say("splitting a network between a camera and an edge server, in two processes, over MQTT")
    return SplitSite(run, document, place, meeting, say=say).finish()


def what_crossed(summary: dict[str, Any]) -> str:
    """The third part in a line."""
    last, sent = summary["last"], summary["last"]["agents"]
    mean = lambda agent: sum(sent[agent].values()) / 2**20  # noqa: E731
    return (
        f"{last['step']} steps: accuracy {100 * last['metric']:.1f} %; the camera sent {mean('camera'):.0f} MiB of "
        f"activations and gradients, the edge server {mean('edge'):.0f} MiB. No image, label or last layer left the "
        "camera."
    )


def what_happened(history: History) -> str:
    """The second part in a line."""
    last, first = history.summary["last"], history.runs[0].lines[0]
    before, after = (f"{100 * line['agent_metric']['min']:.1f} %" for line in (first, last))
    return (
        f"{last['agents']} agents, {last['round']} rounds, {last['bytes_sent']['mean'] / 2**20:.1f} MiB sent by each: "
        f"the lowest went from {before} to {after}. Each saw three of the ten classes only; no server held the model "
        "or the data."
    )


def train(path: Path, work: Path, *, epochs: int) -> None:
    """Train the network that the demonstration compresses and save its weights; resumable by epoch."""
    import os

    from safetensors.torch import save_file

    from edgekit.fit import Hooks
    from edgekit.prepare import prepare
    from edgekit.progress import make_progress
    from edgekit.recipe import Recipe

    prepared = prepare(Recipe(model="resnet8", model_options={"width": 32}, data="fashion-mnist"))
    job = prepared.job
    job.step = "demo training"
    hooks = Hooks(
        epochs=epochs,
        lr=2e-3,
        label="train",
        work=work,
        progress=make_progress(),
        seed_for_epoch=lambda epoch: job.seed_for(f"epoch {epoch}"),
    )
    model = job.train(prepared.model, hooks)
    temporary = path.with_suffix(".tmp")
    save_file(model.state_dict(), str(temporary))
    os.replace(temporary, path)
