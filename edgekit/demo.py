"""The demonstration: train a small network on the shipped data, compress it for this machine, show what it gained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgekit.pipeline import Result, compress_recipe
from edgekit.recipe import parse_recipe

TRAINING_EPOCHS = 3
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
