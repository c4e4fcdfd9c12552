"""A file to be measured: its name in tables, its target, and the inputs it is run with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit.profile.feeds import random_feeds
from edgekit.profile.latency import caller
from edgekit.target import find_target


@dataclass(frozen=True)
class Item:
    """One artefact among those that are measured together."""

    name: str
    path: Path
    target: str
    feeds: Mapping[str, np.ndarray]

    @classmethod
    def random(cls, name: str, path: Path, target: str, *, batch: int) -> Item:
        """With random inputs of the shapes that the file declares."""
        signature = find_target(target).runner(path).signature  # type: ignore[attr-defined]
        return cls(name, path, target, random_feeds(signature, batch=batch))

    def call(self, threads: int) -> Callable[[], object]:
        """The file loaded, and its inputs bound: a call that runs it once."""
        return caller(find_target(self.target).runner(self.path, threads=threads), self.feeds)


def distinct(words: Iterable[str]) -> list[str]:
    """The words, each told apart from equal ones before it.

    >>> distinct(["a", "b", "a"])
    ['a', 'b', 'a (2)']
    """
    seen: dict[str, int] = {}
    names = []
    for word in words:
        seen[word] = seen.get(word, 0) + 1
        names.append(word if seen[word] == 1 else f"{word} ({seen[word]})")
    return names
