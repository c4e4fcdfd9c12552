"""From a recipe to what the loop works with: the model, the job, and the facts that a step's key hashes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.data.source import resolve_data
from edgekit.device import find_device
from edgekit.errors import BadInput
from edgekit.job import Data, Job, as_feeds, split_batch
from edgekit.recipe import Recipe
from edgekit.registry import losses, metrics
from edgekit.signature import Preprocessing, Signature, TensorSpec

if TYPE_CHECKING:
    from edgekit.data.dataset import Dataset


@dataclass(frozen=True)
class Prepared:
    """A model (torch module or onnx.ModelProto), its job, and where both came from."""

    model: Any
    job: Job
    base: str
    base_settings: dict[str, Any] = field(default_factory=dict)
    source: str = ""  # hash of the user's own files


def prepare(recipe: Recipe) -> Prepared:
    """Resolve every name of a recipe; BadInput for what does not exist or does not fit together."""
    data, dataset = _data(recipe)
    if recipe.is_onnx:
        return _from_file(recipe, data, dataset)
    from edgekit.zoo.source import resolve_model

    seed_torch(recipe.seed)
    model = resolve_model(recipe.model, weights=recipe.weights, options=recipe.model_options, dataset=dataset)
    example = _example(data, recipe)
    job = _job(recipe, data, dataset, _signature(model, example, dataset), example)
    return Prepared(model, job, recipe.model, dict(recipe.model_options), _source_hash(recipe))


def prepare_objects(
    model: Any, recipe: Recipe, *, data: Any, evaluate: Any = None, loss: Any = None, fit: Any = None
) -> Prepared:
    """The same from objects instead of names: an nn.Module, data, a metric, a loss and a loop."""
    loaders, dataset = resolve_data(data, batch=recipe.batch, seed=recipe.seed)
    example = _example(loaders, recipe)
    job = _job(
        recipe,
        loaders,
        dataset,
        _signature(model, example, dataset),
        example,
        metric=evaluate,
        loss=loss,
        fit=fit,
    )
    return Prepared(model, job, f"{type(model).__module__}:{type(model).__qualname__}")


def seed_torch(seed: int) -> None:
    """Seed torch, so that a model made without weights is the same each time."""
    import torch

    torch.manual_seed(seed)


def _data(recipe: Recipe) -> tuple[Data, Dataset | None]:
    if recipe.data is None:
        return Data(), None
    options = dict(recipe.data_options)
    data, dataset = resolve_data(
        {recipe.data: options} if options else recipe.data, batch=recipe.batch, seed=recipe.seed
    )
    return data, dataset


def _from_file(recipe: Recipe, data: Data, dataset: Dataset | None) -> Prepared:
    from dataclasses import replace

    from edgekit.export.to_onnx import load_onnx, signature_of

    model = load_onnx(Path(recipe.model))
    signature = signature_of(model)
    if dataset is not None:
        signature = replace(signature, preprocessing=_preprocessing(dataset), classes=dataset.classes)
    job = _job(recipe, data, dataset, signature, {})
    return Prepared(model, job, recipe.model, {}, _source_hash(recipe))


def _job(
    recipe: Recipe,
    data: Data,
    dataset: Dataset | None,
    signature: Signature,
    example: dict[str, Any],
    *,
    metric: Any = None,
    loss: Any = None,
    fit: Any = None,
) -> Job:
    device = find_device(recipe.device) if example else "cpu"
    classes = dataset is not None and bool(dataset.classes)
    if metric is None and (recipe.metric or classes):
        metric = metrics.get(recipe.metric or "accuracy")
    if example:
        from edgekit.fit import make_fit

        loss = loss or losses.get(recipe.loss or "cross_entropy")
        fit = fit or (_user_fit(recipe.fit) if recipe.fit else make_fit(loss, device, recipe.amp))
    return Job(
        signature=signature,
        example=example,
        data=data,
        loss=loss,
        fit=fit,
        metric=metric,  # type: ignore[arg-type]
        device=device,
        amp=recipe.amp,
        seed=recipe.seed,
    )


def _user_fit(reference: str) -> Any:
    from edgekit.registry import load_object

    return load_object(reference, kind="fit")


def _example(data: Data, recipe: Recipe) -> dict[str, Any]:
    import torch

    part = next((part for part in (data.train, data.calibration, data.validation) if part is not None), None)
    if part is None:
        raise BadInput(
            "data: the recipe names none, so the model's input shape is unknown. Add a line such as 'data: "
            "fashion-mnist' or 'data: ./data.py:load'."
        )
    inputs, _ = split_batch(next(iter(part)), Signature((), ()))
    if isinstance(inputs, dict):
        return {name: torch.as_tensor(value[:1]) for name, value in inputs.items()}
    values = list(inputs) if isinstance(inputs, (tuple, list)) else [inputs]
    names = ["input"] if len(values) == 1 else [f"input_{index}" for index in range(len(values))]
    return {name: torch.as_tensor(np.asarray(value))[:1] for name, value in zip(names, values, strict=True)}


def _signature(model: Any, example: dict[str, Any], dataset: Dataset | None) -> Signature:
    import torch

    inputs = tuple(_spec(name, value) for name, value in example.items())
    try:
        with torch.no_grad():
            output = model.cpu().eval()(*example.values())
    except Exception as error:
        shapes = {name: list(value.shape) for name, value in example.items()}
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BadInput(
            f"model: it does not take the data's input {shapes}: {reason}. Make the data's shape and the "
            "model's input agree."
        ) from error
    results = output if isinstance(output, (tuple, list)) else [output]
    names = ["output"] if len(results) == 1 else [f"output_{index}" for index in range(len(results))]
    return Signature(
        inputs,
        tuple(_spec(name, value) for name, value in zip(names, results, strict=True)),
        _preprocessing(dataset) if dataset else Preprocessing(),
        dataset.classes if dataset else (),
    )


def _preprocessing(dataset: Dataset) -> Preprocessing:
    return dataset.preprocessing


def _spec(name: str, value: Any) -> TensorSpec:
    return TensorSpec(name, str(value.dtype).removeprefix("torch."), ("N", *value.shape[1:]))


def _source_hash(recipe: Recipe) -> str:
    digest = hashlib.sha256()
    for reference in (recipe.model, recipe.data, recipe.metric, recipe.loss, recipe.fit):
        place = (reference or "").rpartition(":")[0] or (reference or "")
        if place.endswith((".py", ".onnx")) and Path(place).is_file():
            digest.update(Path(place).read_bytes())
    return digest.hexdigest()


def data_fingerprint(job: Job) -> str:
    """The data's own fingerprint, or a hash of the first batch of each part where it brings none."""
    if job.data.fingerprint:
        return job.data.fingerprint
    digest = hashlib.sha256()
    for part in (job.data.train, job.data.validation, job.data.calibration):
        for batch in [] if part is None else [next(iter(part))]:
            for value in as_feeds(split_batch(batch, job.signature)[0], job.signature).values():
                digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()
