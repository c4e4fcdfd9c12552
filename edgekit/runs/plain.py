"""The plain values of a run file of any kind: parsed, changed as asked, with absolute paths, and every key known."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from edgekit.errors import did_you_mean
from edgekit.overrides import override
from edgekit.paths import absolute
from edgekit.yaml_lines import Document, read_yaml


def parse_plain(
    text: str, *, source: str, overrides: Sequence[str], keys: Collection[str], kind: str, sample: str
) -> Document:
    """The document of a text; relative paths start from the folder of `source`, whose own modules can be named.

    BadInput names FILE:LINE: for what is no mapping, such as `sample`, and for a key that is not in `keys`, of a `kind`
    of file.
    """
    document = read_yaml(text, source=source)
    if not isinstance(document.value, dict):
        raise document.error((), f"a run file is a mapping, such as '{sample}'.")
    for item in overrides:
        override(document, item)
    folder = Path(source).resolve().parent
    document.value = absolute(document.value, folder)
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    for key in document.value:
        if key not in keys:
            raise document.error((key,), f"'{key}' is no part of a {kind}. {did_you_mean(str(key), keys)}")
    return document
