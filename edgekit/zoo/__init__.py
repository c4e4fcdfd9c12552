"""The models that tests, README and benchmarks use, and what each expects; importing this imports no
torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgekit.errors import BadInput, did_you_mean


@dataclass(frozen=True)
class ZooEntry:
    """The input of one sample, the data set a model is known by, and its source."""

    shape: tuple[int, ...]
    dataset: str
    source: str


ENTRIES = {
    "resnet8": ZooEntry((3, 32, 32), "cifar10", "Banbury et al. 2021 (MLPerf Tiny)"),
    "resnet18": ZooEntry((3, 224, 224), "image-folder", "He, Zhang, Ren, Sun 2016"),
    "mobilenet_v1": ZooEntry((3, 96, 96), "image-folder", "Howard et al. 2017"),
    "ds_cnn": ZooEntry((1, 49, 10), "fsdd", "Zhang, Suda, Lai, Chandra 2017"),
    "fc_autoencoder": ZooEntry((640,), "npz", "Koizumi et al. 2020 (DCASE task 2)"),
    "cnv": ZooEntry((3, 32, 32), "cifar10", "Umuroglu et al. 2017 (FINN)"),
    "tfc": ZooEntry((1, 28, 28), "mnist", "Umuroglu et al. 2017 (FINN)"),
    "sfc": ZooEntry((1, 28, 28), "mnist", "Umuroglu et al. 2017 (FINN)"),
    "lfc": ZooEntry((1, 28, 28), "mnist", "Umuroglu et al. 2017 (FINN)"),
    "mlp": ZooEntry((1, 28, 28), "fashion-mnist", "Rumelhart, Hinton, Williams 1986"),
    "gn_lenet": ZooEntry((3, 32, 32), "cifar10", "Hsieh, Phanishayee, Mutlu, Gibbons 2020"),
    "efficientnet_lite0": ZooEntry((3, 224, 224), "image-folder", "Tan, Le 2019; Liu 2020"),
}


def entry(name: str) -> ZooEntry:
    """What is known of a zoo model; BadInput for another name."""
    if name not in ENTRIES:
        raise BadInput(f"model: '{name}' is no zoo model. {did_you_mean(name, ENTRIES)}")
    return ENTRIES[name]


def input_shape(name: str) -> tuple[int, ...]:
    """The default input shape of one sample, without the batch.

    >>> input_shape("ds_cnn")
    (1, 49, 10)
    """
    return entry(name).shape


def describe(name: str) -> dict[str, Any]:
    """Name, parameter count with the default options, input shape, data set and source as plain JSON
    types."""
    from edgekit.registry import models

    known = entry(name)
    params = sum(tensor.numel() for tensor in models.get(name)().parameters())
    return {
        "name": name,
        "params": params,
        "input": list(known.shape),
        "dataset": known.dataset,
        "source": known.source,
    }
