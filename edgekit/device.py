"""Where torch computes."""

from __future__ import annotations

from edgekit.errors import BadInput


def find_device(name: str) -> str:
    """cpu or cuda for auto, cpu or cuda; BadInput where cuda was asked for and is not there."""
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise BadInput("device: cuda was asked for, but torch sees no CUDA device. Set device: cpu or auto.")
    return "cuda" if name in ("auto", "cuda") and torch.cuda.is_available() else "cpu"
