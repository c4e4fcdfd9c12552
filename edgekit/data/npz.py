"""Arrays in an .npz file: train_x, test_x, and train_y, test_y where there are labels."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from edgekit.data.dataset import Dataset
from edgekit.data.download import not_found
from edgekit.data.loader import channel_values
from edgekit.errors import BadInput
from edgekit.signature import Preprocessing


def npz(
    *,
    root: str | None = None,
    download: bool = False,
    layout: str = "",
    scale: float = 1.0,
    mean: list[float] | float = 0.0,
    std: list[float] | float = 1.0,
    color: str | None = None,
) -> Dataset:
    """Samples of any shape from the .npz file `root`; labels and `classes` (an array of names) are optional.

    `layout: NHWC` says that images are channels-last in the file; they become NCHW. Pickled arrays are
    refused.
    """
    if download:
        raise BadInput("data 'npz': there is nothing to download. Give root, the path of your .npz file.")
    path = Path(root).expanduser() if root else None
    if path is None or not path.is_file():
        raise not_found("npz", "an .npz file", [path] if path else [], "Give its path as root.")
    parts = read_npz(path, ("train_x", "test_x"), optional=("train_y", "test_y", "classes"))
    samples = {part: _samples(parts[part], layout, part, path) for part in ("train_x", "test_x")}
    labels = {part: _labels(parts.get(part)) for part in ("train_y", "test_y")}
    preprocessing = Preprocessing(
        layout="NCHW" if layout == "NHWC" else layout,
        scale=scale,
        mean=channel_values(mean),
        std=channel_values(std),
        color=color,
    )
    return Dataset(
        path.stem,
        samples["train_x"],
        labels["train_y"],
        samples["test_x"],
        labels["test_y"],
        classes=_classes(parts.get("classes"), labels["train_y"], labels["test_y"]),
        preprocessing=preprocessing,
        licence="your own",
    )


def read_npz(path: Path, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """The named arrays of an .npz; BadInput for a broken file, a missing name or a pickled array."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise BadInput(f"data: '{path}' is no .npz file. Save the arrays with numpy.savez.")
            missing = [name for name in required if name not in file.files]
            if missing:
                raise BadInput(
                    f"data: '{path}' has no array '{missing[0]}', only {', '.join(file.files) or 'none'}. "
                    f"Save {', '.join(required)} into it."
                )
            return {name: file[name] for name in (*required, *optional) if name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BadInput(
            f"data: '{path}' cannot be read: {error}. Save plain arrays with numpy.savez."
        ) from error


def _samples(values: np.ndarray, layout: str, part: str, path: Path) -> np.ndarray:
    if values.dtype.kind not in "fiub" or values.ndim < 2:
        raise BadInput(
            f"data: '{part}' of '{path}' is {values.dtype} {list(values.shape)}. Give numbers [n, ...]."
        )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise BadInput(f"data: '{part}' of '{path}' has NaN or infinite values. Clean the data first.")
    if layout == "NHWC":
        if values.ndim != 4:
            raise BadInput(f"data: '{part}' of '{path}' is {list(values.shape)}, not NHWC. Drop layout.")
        values = np.ascontiguousarray(values.transpose(0, 3, 1, 2))
    return values if values.dtype == np.uint8 else values.astype(np.float32)


def _labels(values: np.ndarray | None) -> np.ndarray | None:
    if values is None:
        return None
    return values.astype(np.int64 if values.dtype.kind in "iub" else np.float32)


def _classes(names: np.ndarray | None, *labels: np.ndarray | None) -> tuple[str, ...]:
    if names is not None:
        return tuple(str(name) for name in names)
    known = [values for values in labels if values is not None]
    if not known or any(values.dtype != np.int64 or values.ndim != 1 for values in known):
        return ()
    return tuple(str(index) for index in range(max(int(values.max()) for values in known) + 1))
