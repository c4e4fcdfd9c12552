"""Pack the shipped Fashion-MNIST sample: 10,000 of 60,000 training and 2,000 of 10,000 test images, by class.

Run: python tests/benchmarks/pack_fashion_mnist.py [FOLDER OF IDX FILES] [--out FILE]
"""

from __future__ import annotations

import argparse
import lzma
import shutil
from pathlib import Path

import numpy as np

from edgekit.data.idx import SAMPLE, read_folder

SEED, TRAIN, TEST = 0, 10_000, 2_000
FILTERS = [
    {
        "id": lzma.FILTER_LZMA2,
        "preset": 9 | lzma.PRESET_EXTREME,
        "lc": 4,
        "lp": 0,
        "pb": 0,
        "dict_size": 1 << 24,
    }
]


def stratified(labels: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Ascending indices of `count` samples with equally many of each class."""
    classes = np.unique(labels)
    parts = [
        generator.choice(np.flatnonzero(labels == label), count // len(classes), replace=False)
        for label in classes
    ]
    return np.sort(np.concatenate(parts))


def pack(folder: Path, out: Path) -> int:
    """Write the sample and return its size in bytes."""
    train_x, train_y, test_x, test_y = read_folder(folder, "fashion-mnist")
    generator = np.random.default_rng(SEED)
    train, test = stratified(train_y, TRAIN, generator), stratified(test_y, TEST, generator)
    images, labels = (
        np.concatenate([train_x[train], test_x[test]]),
        np.concatenate([train_y[train], test_y[test]]),
    )
    order = np.argsort(labels, kind="stable")
    columns = np.ascontiguousarray(images[order, 0].transpose(0, 2, 1))
    pixels = lzma.compress(columns.tobytes(), format=lzma.FORMAT_XZ, filters=FILTERS)
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        out,
        pixels=np.frombuffer(pixels, np.uint8),
        labels=labels[order],
        order=order.astype(np.uint16),
        train=TRAIN,
        size=images.shape[-1],
    )
    return out.stat().st_size


def main() -> None:
    """Pack from the Debian package's folder unless another is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--out", type=Path, default=SAMPLE)
    options = parser.parse_args()
    print(f"{options.out}: {pack(options.folder, options.out):,} bytes")
    licence = options.folder / "LICENSE"
    if licence.is_file():
        shutil.copyfile(licence, options.out.with_name("LICENSE-fashion-mnist"))


if __name__ == "__main__":
    main()
