"""Randomness by key: a draw is a function of (run, agent, round, purpose), never of what was drawn before.

So rows that run together draw what each would draw alone, and a resumed run draws what an unbroken one does.
"""

from __future__ import annotations

import hashlib

import numpy as np


def key(*parts: object) -> int:
    """A 63-bit key of any parts, by SHA-256.

    >>> key("run", 3, "batch") == key("run", 3, "batch") != key("run", 4, "batch")
    True
    """
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def stream(*parts: object) -> np.random.Generator:
    """The generator of a key; Philox (Salmon et al., 2011), so that nearby keys are independent."""
    return np.random.Generator(np.random.Philox(key=key(*parts)))
