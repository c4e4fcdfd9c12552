"""The 8x8 handwritten digits that come with scikit-learn."""

from __future__ import annotations

import numpy as np

from edgekit.data.dataset import Dataset
from edgekit.errors import BadInput, MissingDependency
from edgekit.signature import Preprocessing


def digits(*, root: str | None = None, download: bool = False, test_fraction: float = 0.2) -> Dataset:
    """Optical digits, uint8 [n, 1, 8, 8] of values 0 to 16; one in 1 / test_fraction of each class is a test
    sample.

    Alpaydin, Kaynak 1998. Raises MissingDependency where scikit-learn is absent; root and download are not
    used.
    """
    if not 0 < test_fraction < 1:
        raise BadInput(f"digits: test_fraction {test_fraction} is not between 0 and 1. Give for example 0.2.")
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingDependency("scikit-learn", "test", "the data set 'digits'") from error
    bunch = load_digits()
    x, y = bunch.images.astype(np.uint8)[:, None], bunch.target.astype(np.int64)
    test = _stratified_mask(y, test_fraction)
    return Dataset(
        "digits",
        x[~test],
        y[~test],
        x[test],
        y[test],
        classes=tuple("0123456789"),
        licence="CC BY 4.0 (UCI)",
        preprocessing=Preprocessing(layout="NCHW", scale=1 / 16, mean=(0.305,), std=(0.376,), color="GRAY"),
    )


def _stratified_mask(labels: np.ndarray, fraction: float) -> np.ndarray:
    generator, mask = np.random.default_rng(0), np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        mask[generator.choice(members, max(1, round(fraction * len(members))), replace=False)] = True
    return mask
