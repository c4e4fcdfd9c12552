"""The artefact container: a plan and tensors, no pickle, from which a fresh instance becomes the model again.

A container is a folder (it may hold other files):
- `plan.json`: schema, base model, steps [{transform, settings, plan}], quantization, signature, checksums;
- `model.safetensors`: the state dict, each shared tensor once; absent where the model is an ONNX file;
- `base.onnx`: the bytes of that ONNX file.
`plan.json` is written last and carries the checksums of the others, so that a killed write is never taken for
a container. Nothing in a container is executed; a name that would import code (`module:Name`,
`./file.py:Name`) is followed only where the caller says `trust=True`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit import tensor_file
from edgekit.errors import BadInput
from edgekit.registry import models, transforms
from edgekit.signature import Signature

if TYPE_CHECKING:
    import torch
    from torch import nn

    from edgekit.quant.quantization import Quantization

SCHEMA = 1
PLAN, TENSORS, ONNX = "plan.json", "model.safetensors", "base.onnx"
LARGEST_PLAN = 256 * 2**20  # bytes: a plan is text; more is no plan
_FIELDS = {"schema": int, "edgekit": str, "base": dict, "steps": list, "aliases": dict, "sha256": dict}
_AGAIN = "Fetch the container again."


def save(
    folder: Path | str,
    model: nn.Module | None,
    plan: Sequence[Mapping[str, Any]],
    *,
    base: str,
    base_settings: Mapping[str, Any] | None = None,
    quantization: Quantization | None = None,
    signature: Signature | None = None,
    onnx: bytes | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a container and return its folder.

    `plan` is [{"transform": name, "settings": {...}, "plan": {...} or None}] in the order of the steps;
    `base` the zoo name or reference that makes a fresh instance, called with `base_settings`; `onnx` the
    file's bytes where the model is an ONNX file (`model` is None then). A new folder appears complete or not
    at all.
    Raises BadInput where the folder holds a container and `overwrite` is not set, where a value is not plain
    JSON, or where the disk is full.
    """
    folder = Path(folder)
    if (folder / PLAN).exists() and not overwrite:
        raise BadInput(f"container: '{folder}' already holds a {PLAN}. Choose another one, or overwrite it.")
    if (model is None) == (onnx is None):
        raise BadInput("container: give either a torch model or the bytes of an ONNX file.")
    name, data, checksum, aliases = _payload(model, onnx)
    content = {
        "schema": SCHEMA,
        "edgekit": _version(),
        "base": {"reference": base, "settings": dict(base_settings or {})},
        "steps": [_step(index, step) for index, step in enumerate(plan)],
        "quantization": quantization.to_json() if quantization is not None else None,
        "signature": signature.to_json() if signature is not None else None,
        "aliases": aliases,
        "sha256": {name: checksum},
    }
    try:
        _write(folder, {name: data, PLAN: _canonical(content, f"'{folder}'")})
    except OSError as error:
        raise BadInput(
            f"container: '{folder}' cannot be written: {error.strerror or error}. Free space there, or "
            "choose another folder."
        ) from error
    return folder


def load(folder: Path | str, model: nn.Module | None = None, *, trust: bool = False) -> nn.Module:
    """The model of a container: every step's plan replayed in order on a fresh instance, then its weights.

    `model` is a fresh instance; without one the container's base is looked up among the models. Raises
    BadInput naming what is missing, torn, changed since it was written, or of another shape.
    """
    folder = Path(folder)
    content = read_plan(folder)
    if TENSORS not in content["sha256"]:
        raise BadInput(f"container: '{folder}' holds an ONNX file, no torch model. Read it with base_onnx().")
    state = _state(folder, content)
    model = model if model is not None else _fresh(content["base"], folder, trust)
    for index, step in enumerate(content["steps"]):
        model = _replay(model, step, f"'{folder}': step {index + 1} ({step['transform']})", trust)
    tensor_file.check_fits(model, state, f"'{folder}'")
    model.load_state_dict(state, strict=True)
    return model


def base_onnx(folder: Path | str) -> bytes:
    """The ONNX file that a container was made from; BadInput where it is absent or was changed."""
    folder = Path(folder)
    content = read_plan(folder)
    if ONNX not in content["sha256"]:
        raise BadInput(f"container: '{folder}' holds a torch model, no ONNX file. Read it with load().")
    data = _inside(folder, ONNX).read_bytes()
    _check_checksum(hashlib.sha256(data).hexdigest(), content, folder / ONNX)
    return data


def read_plan(folder: Path | str) -> dict[str, Any]:
    """The content of `plan.json`, its fields checked; BadInput where it is no plan of this schema."""
    path = _inside(Path(folder), PLAN)
    if path.stat().st_size > LARGEST_PLAN:
        raise BadInput(f"container: '{path}' has {path.stat().st_size} bytes, more than a plan can. {_AGAIN}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"container: '{path}' is not JSON: {error}. {_AGAIN}") from error
    _check_plan(content, path)
    return content


def digest(folder: Path | str) -> str:
    """SHA-256 over the plan in canonical JSON, which holds that of the tensors or of the ONNX file.

    The tensors are read and compared, so that a digest is only ever given for a container that is whole.
    """
    folder = Path(folder)
    content = read_plan(folder)
    if ONNX in content["sha256"]:
        base_onnx(folder)
    else:
        _state(folder, content)
    return hashlib.sha256(_canonical(content, f"'{folder}'")).hexdigest()


def _payload(model: nn.Module | None, onnx: bytes | None) -> tuple[str, bytes, str, dict[str, str]]:
    """The file beside the plan: its name, bytes, checksum, and the names that share a tensor."""
    if onnx is not None:
        return ONNX, onnx, hashlib.sha256(onnx).hexdigest(), {}
    tensors, aliases = tensor_file.unshared(model)  # type: ignore[arg-type]
    return TENSORS, tensor_file.encode(tensors), tensor_file.tensor_digest(tensors), aliases


def _step(index: int, step: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(step.get("transform"), str):
        raise BadInput(f"container: step {index + 1} of the plan names no transform. Give 'transform'.")
    for field in set(step) - {"transform", "settings", "plan"}:
        raise BadInput(
            f"container: step {index + 1} ({step['transform']}) has the unknown field '{field}'. Known: "
            "transform, settings, plan."
        )
    entry = {
        "transform": step["transform"],
        "settings": dict(step.get("settings") or {}),
        "plan": step.get("plan"),
    }
    _canonical(entry, f"step {index + 1} ({step['transform']})")
    return entry


def _canonical(content: Any, where: str) -> bytes:
    try:
        return json.dumps(content, sort_keys=True, indent=1, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"container: {where} is not plain JSON: {error}. Use finite numbers, strings, lists and dicts "
            "only."
        ) from error


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Into a temporary folder beside the target; then the whole folder, or file by file where it exists."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for name, data in files.items():
            _write_file(temporary / name, data)
        if folder.exists():
            _replace_files(temporary, folder, list(files))
        else:
            temporary.chmod(0o777 & ~_umask())  # mkdtemp makes a folder that only its owner may read
            os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_file(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _replace_files(source: Path, folder: Path, names: list[str]) -> None:
    """The plan goes first and comes last: a kill in between leaves no container rather than a mixed one."""
    (folder / PLAN).unlink(missing_ok=True)
    for stale in {TENSORS, ONNX} - set(names):
        (folder / stale).unlink(missing_ok=True)
    for name in sorted(names, key=lambda name: name == PLAN):
        os.replace(source / name, folder / name)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _inside(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise BadInput(f"container: '{folder}' has no {name}. Give a folder that edgekit wrote.")
    if path.resolve() != folder.resolve() / name:
        raise BadInput(f"container: '{path}' is a link, which is refused. Copy the file itself there.")
    return path


def _check_plan(content: Any, path: Path) -> None:
    wrong = [
        key
        for key, kind in _FIELDS.items()
        if not isinstance(content, dict) or not isinstance(content.get(key), kind)
    ]
    if wrong:
        raise BadInput(f"container: '{path}' is no plan: it needs {', '.join(_FIELDS)}. {_AGAIN}")
    if content["schema"] != SCHEMA:
        raise BadInput(
            f"container: '{path}' has schema {content['schema']}, this edgekit reads {SCHEMA}. Install the "
            "edgekit that wrote it."
        )
    if any(
        not isinstance(step, dict) or not isinstance(step.get("transform"), str) for step in content["steps"]
    ):
        raise BadInput(f"container: '{path}' has a step without a transform. {_AGAIN}")
    texts = [*content["aliases"].values(), *content["sha256"].values(), content["base"].get("reference")]
    if not all(isinstance(text, str) for text in texts):
        raise BadInput(f"container: '{path}' is no plan: a name or checksum is not a string. {_AGAIN}")
    if set(content["sha256"]) not in ({TENSORS}, {ONNX}):
        raise BadInput(f"container: '{path}' must list either {TENSORS} or {ONNX}. {_AGAIN}")


def _check_checksum(found: str, content: Mapping[str, Any], path: Path) -> None:
    if found != content["sha256"][path.name]:
        raise BadInput(
            f"container: '{path}' is not the file that was written with its {PLAN} (its checksum differs). "
            f"{_AGAIN}"
        )


def _state(folder: Path, content: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    path = _inside(folder, TENSORS)
    tensors = tensor_file.read(path)
    _check_checksum(tensor_file.tensor_digest(tensors), content, path)
    for name, source in content["aliases"].items():
        if source not in tensors:
            raise BadInput(
                f"container: '{folder}': '{name}' shares '{source}', which is not stored. {_AGAIN}"
            )
    return {**tensors, **{name: tensors[source] for name, source in content["aliases"].items()}}


def _fresh(base: Mapping[str, Any], folder: Path, trust: bool) -> nn.Module:
    reference, settings = base["reference"], base.get("settings", {})
    if ":" in reference and not trust:
        raise BadInput(
            f"container: '{folder}' was made from '{reference}', which is code outside edgekit. Pass a "
            "fresh instance of the model, or trust=True if you wrote it."
        )
    try:
        return models.get(reference)(**settings)
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"container: '{folder}': the model '{reference}' cannot be made with {settings}: {error}. Pass "
            "a fresh instance of it."
        ) from error


def _replay(model: nn.Module, step: Mapping[str, Any], where: str, trust: bool) -> nn.Module:
    if step.get("plan") is None:
        return model
    if ":" in step["transform"] and not trust:
        raise BadInput(
            f"container: {where} is code outside edgekit. Register the transform, or pass trust=True if "
            "you wrote it."
        )
    transform = transforms.get(step["transform"])
    try:
        return transform.replay(model, step["plan"])
    except (KeyError, IndexError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise BadInput(
            f"container: {where} cannot be replayed on this model: {type(error).__name__}: {error}. Give "
            "the model that the container was made from."
        ) from error


def _version() -> str:
    try:
        return version("edgekit")
    except PackageNotFoundError:
        return "unknown"
