"""Data of one's own: any iterables of (input, target) batches do. Here: 3,000 images of the shipped sample."""

import torch

from edgekit.data.idx import fashion_mnist


def load():
    """{"train", "validation", "calibration"}; calibration needs inputs only."""
    data = fashion_mnist()
    pixels = lambda raw: torch.as_tensor(raw).float() / 255
    train = list(
        zip(pixels(data.train_x[:3000]).split(64), torch.as_tensor(data.train_y[:3000]).long().split(64))
    )
    test = list(zip(pixels(data.test_x).split(256), torch.as_tensor(data.test_y).long().split(256)))
    return {"train": train, "validation": test, "calibration": [inputs for inputs, _ in train[:4]]}
