"""The power sensors of this machine, which packages provide by the entry-point group `edgekit.sensors`."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path

from edgekit.errors import BadInput
from edgekit.profile.sampler import Sensor


def find_sensor(name: str | None = None, root: Path = Path("/")) -> Sensor:
    """The sensor of that name or kind, without a name the one that covers most; BadInput with the reasons."""
    refused = BadInput("power: no package provides sensors here. Install edgekit again.")
    for entry in entry_points(group="edgekit.sensors"):
        try:
            found: Sensor = entry.load()(name, root)
        except BadInput as error:
            refused = error
        else:
            return found
    raise refused


def why_none(error: BadInput) -> str:
    """The reasons of a refusal, each cut to what it says first.

    >>> why_none(BadInput("power: no sensor can be read here. rapl: no counter (x86 has them). Ask; nvml: none"))
    'no sensor can be read here (rapl: no counter; nvml: none). See: edgekit power list'
    """
    head, _, reasons = str(error).removeprefix("power: ").partition(". ")
    parts = [re.split(r"\. | \(", part)[0] for part in re.split(r"; (?=\w+: )", reasons) if part]
    if len(parts) < 2:
        return str(error)
    return f"{head} ({'; '.join(part.replace(': power: ', ': ') for part in parts)}). See: edgekit power list"
