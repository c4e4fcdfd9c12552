"""From what a recipe says about data to loaders: a name, {name: options}, or the user's own callable."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from edgekit.data.dataset import Dataset
from edgekit.errors import BadInput, EdgekitError, did_you_mean
from edgekit.job import Data, as_feeds, split_batch
from edgekit.registry import datasets
from edgekit.signature import Signature

LOADER_OPTIONS = ("train_limit", "test_limit", "calibration", "validation_batch", "augment")
PARTS = ("train", "validation", "calibration")
FORMS = "Return Data, a Dataset, a dict with train, validation or calibration, or (train, validation)"


def resolve_data(
    spec: Any, *, signature_hint: Signature | None = None, batch: int = 64, seed: int = 0
) -> tuple[Data, Dataset | None]:
    """Loaders for `spec`, and the Dataset behind them where there is one.

    `spec` is a registry name, `package.module:callable`, `./file.py:callable`, a dict {one of these:
    options}, or
    already Data, a Dataset, or what such a callable may return. The options train_limit, test_limit,
    calibration,
    validation_batch and augment go to the loaders, the others to the callable, which is also given batch and
    seed
    if it names them. Raises BadInput for an unknown name or option, a wrong type, or empty data; against
    `signature_hint`, also for an input of another shape.
    """
    value, where, loader_options = _value(spec, batch=batch, seed=seed)
    if isinstance(value, Dataset):
        data, dataset = value.loaders(batch=batch, seed=seed, **loader_options), value
    else:
        if loader_options:
            raise BadInput(
                f"{where}: {', '.join(loader_options)} need a Dataset, this gives loaders of its own. Drop "
                "them, or return a Dataset."
            )
        data, dataset = as_data(value, where), None
    _check(data, where, signature_hint)
    return data, dataset


def _value(spec: Any, *, batch: int, seed: int) -> tuple[Any, str, dict[str, Any]]:
    """(what the spec stands for, its name in messages, the options for the loaders)."""
    if not (isinstance(spec, str) or _is_named(spec)):
        return spec, "data", {}
    name, options = split_spec(spec, kind="data")
    where = f"data '{name}'"
    found = datasets.get(name)
    loader_options = {key: options.pop(key) for key in LOADER_OPTIONS if key in options and callable(found)}
    if not callable(found):
        return found, where, loader_options
    known = parameters_of(found) or {}
    offered = {key: item for key, item in (("batch", batch), ("seed", seed)) if key in known}
    return call_with(found, {**offered, **options}, where, also=LOADER_OPTIONS), where, loader_options


def _is_named(spec: Any) -> bool:
    return isinstance(spec, Mapping) and not set(spec) & set(PARTS)


def split_spec(spec: Any, *, kind: str) -> tuple[str, dict[str, Any]]:
    """(name, options) of `name` or {name: options}; BadInput for anything else."""
    if isinstance(spec, str):
        return spec, {}
    if not isinstance(spec, Mapping) or len(spec) != 1:
        raise BadInput(
            f"{kind}: {spec!r} is neither a name nor one name with its options. Write '{kind}: NAME' or "
            f"'{kind}: {{NAME: {{option: value}}}}'."
        )
    name, options = next(iter(spec.items()))
    if not isinstance(name, str) or not isinstance(options, (Mapping, type(None))):
        raise BadInput(
            f"{kind} '{name}': its options are {options!r}. Write '{kind}: {{NAME: {{option: value}}}}'."
        )
    return name, dict(options or {})


def parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """The parameters of a callable; None where Python cannot tell."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None


def call_with(
    function: Callable[..., Any], options: Mapping[str, Any], where: str, *, also: Iterable[str] = ()
) -> Any:
    """Call `function` with options; BadInput names one it does not have or one that is missing.

    An error inside the function becomes one line too, with the original as its cause.
    """
    known = parameters_of(function)
    parameters = known or {}
    kinds = {parameter.kind for parameter in parameters.values()}
    if known is not None and inspect.Parameter.VAR_KEYWORD not in kinds:
        for name in options:
            if name not in parameters:
                raise BadInput(
                    f"{where}: there is no option '{name}'. {did_you_mean(name, [*parameters, *also])}"
                )
    free = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and parameter.kind not in free and name not in options:
            raise BadInput(f"{where}: the option '{name}' is missing. Give it, or give it a default.")
    try:
        return function(**options)
    except EdgekitError:
        raise
    except Exception as error:
        raise BadInput(
            f"{where}: {type(error).__name__}: {error}. Check its options and its code."
        ) from error


def as_data(value: Any, where: str) -> Data:
    """Data from Data, a dict of its parts, or a (train, validation) tuple; BadInput for any other type."""
    if isinstance(value, Data):
        return value
    if isinstance(value, Mapping):
        unknown = [str(key) for key in value if key not in (*PARTS, "name", "fingerprint")]
        if unknown:
            raise BadInput(f"{where}: there is no part '{unknown[0]}'. {did_you_mean(unknown[0], PARTS)}")
        return Data(**value)
    if isinstance(value, tuple) and len(value) == 2:
        return Data(train=value[0], validation=value[1])
    raise BadInput(f"{where}: it gives {type(value).__name__}, which is no data. {FORMS}.")


def _check(data: Data, where: str, signature: Signature | None) -> None:
    parts = {part: getattr(data, part) for part in PARTS if getattr(data, part) is not None}
    if not parts:
        raise BadInput(f"{where}: it has no train, validation or calibration part. {FORMS}.")
    for part, batches in parts.items():
        _check_part(batches, f"{where}: its {part} part", signature)


def _check_part(batches: Any, where: str, signature: Signature | None) -> None:
    if not hasattr(batches, "__iter__") and not hasattr(batches, "__getitem__"):
        raise BadInput(
            f"{where} is {type(batches).__name__}, which cannot be iterated. Give batches of (input, target)."
        )
    if hasattr(batches, "__next__"):
        raise BadInput(
            f"{where} is a {type(batches).__name__}, used up after one pass. Give a list or a DataLoader."
        )
    if hasattr(batches, "__len__") and signature is None:
        empty = len(batches) == 0
    else:
        first = list(_first(batches))
        empty = not first
        for batch in first:
            _check_batch(batch, where, signature)
    if empty:
        raise BadInput(f"{where} is empty. Give at least one batch.")


def _first(batches: Any) -> Iterable[Any]:
    for batch in batches:
        yield batch
        return


def _check_batch(batch: Any, where: str, signature: Signature | None) -> None:
    if signature is None:
        return
    inputs, _ = split_batch(batch, signature)
    try:
        signature.check(as_feeds(inputs, signature))
    except EdgekitError as error:
        raise BadInput(f"{where}: {error}") from error
    except ValueError as error:
        raise BadInput(
            f"{where}: a batch does not have the model's {len(signature.inputs)} inputs ({error}). Give "
            "(input, target), with a tuple or dict of inputs where there are several."
        ) from error
