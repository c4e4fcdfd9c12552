"""The labelled ImageNet sample: {class}_{wnid}_{name}.jpg in a zip, prepared as EfficientNet-Lite0 takes
it."""

from __future__ import annotations

import io
import zipfile

import numpy as np
from PIL import Image

from tests.paths import shared


def imagenet_sample(limit: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [n, 3, 224, 224] and class indices [n], in order of class, evenly thinned to `limit`."""
    with zipfile.ZipFile(shared("imagenet-sample/imagenet-sample-500-224q90.zip")) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        if limit is not None:
            names = [names[index] for index in np.linspace(0, len(names) - 1, limit).astype(int)]
        images = [np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB")) for name in names]
    labels = np.array([int(name.rpartition("/")[2].split("_")[0]) for name in names])
    return np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2)), labels


def lite_input(images: np.ndarray) -> np.ndarray:
    """(x - 127) / 128 in float32, the preprocessing of EfficientNet-Lite."""
    return ((images.astype(np.float32) - 127) / 128).astype(np.float32)
