"""The plan of a low-bit network: which bits, and which scales, each layer and each activation gets.

As JSON:

    {"weights": 4, "activations": 4, "input": 8, "first": {"weights": 8}, "last": {"weights": 8},
     "per_channel": false, "power_of_two": false, "layers": {"features.*": {"activations": 2}}}

Later entries win: defaults, then `first` and `last` (the first and last layer with weights), then `layers` in
their order. A key of `layers` is a glob on module paths; `*.add` and the like name additions. `LowBitPlan.resolved`
writes every path out, so that a plan means the same whatever the defaults become.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any

from edgekit.errors import BadInput, did_you_mean

RULE = {"weights": int, "activations": int, "per_channel": bool, "power_of_two": bool}
LARGEST = 8  # FINN turns a quantizer into 2^bits - 1 thresholds, and takes no more than 8 bits

Rule = Mapping[str, Any]


@dataclass(frozen=True)
class LowBitPlan:
    """Bits of weights, activations and input (1 is bipolar), scales, and the exceptions."""

    weights: int = 4
    activations: int = 4
    input: int = 8
    input_signed: bool = True
    per_channel: bool = False  # a weight scale for each output channel
    power_of_two: bool = False  # scales 2^k, whose products a shift computes
    pooled: int = 8  # activations after a global average pooling, which feed a small layer
    first: Rule = field(default_factory=dict)
    last: Rule = field(default_factory=dict)
    layers: Mapping[str, Rule] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("weights", "activations", "input", "pooled"):
            _check(f"plan: {name}", int, getattr(self, name))
        for name in ("input_signed", "per_channel", "power_of_two"):
            _check(f"plan: {name}", bool, getattr(self, name))
        layers = ((f"layers: {glob}", rule) for glob, rule in self.layers.items())
        for name, rule in (("first", self.first), ("last", self.last), *layers):
            _check_rule(name, rule)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LowBitPlan:
        """From plain JSON; BadInput naming the key that is unknown or the value that cannot be."""
        known = {item.name for item in fields(cls)}
        for key in value:
            if key not in known:
                raise BadInput(f"plan: '{key}' is unknown. {did_you_mean(key, known)}")
        for key in ("first", "last", "layers"):
            if not isinstance(value.get(key, {}), Mapping):
                raise BadInput(f"plan: {key} is {value[key]!r}, not a mapping. Write {key}: {{...}}.")
        return cls(**value)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types; `from_json` reads it back."""
        return asdict(self)

    def rule(self, path: str, *, first: bool = False, last: bool = False, **defaults: int) -> dict[str, Any]:
        """The settings at a path: weights, activations, per_channel, power_of_two; `defaults` go before the plan's."""
        found: dict[str, Any] = {name: getattr(self, name) for name in RULE} | defaults
        for applies, rule in ((first, self.first), (last, self.last)):
            found |= rule if applies else {}
        for glob, rule in self.layers.items():
            if fnmatchcase(path, glob):
                found |= rule
        return found

    def check_globs(self, paths: Iterable[str]) -> None:
        """Raise BadInput for a key of `layers` that matches no path."""
        known = list(paths)
        for glob in self.layers:
            if not any(fnmatchcase(path, glob) for path in known):
                raise BadInput(f"plan: layers: '{glob}' matches no layer. {did_you_mean(glob, known)}")

    def resolved(self, rules: Mapping[str, Rule]) -> dict[str, Any]:
        """The plan as JSON with the settings of every path written out."""
        return {**self.to_json(), "layers": {path: dict(rule) for path, rule in rules.items()}}


def _check_rule(name: str, rule: Any) -> None:
    if not isinstance(rule, Mapping):
        raise BadInput(f"plan: {name} is {rule!r}, not a mapping. Write {name}: {{weights: 8}}.")
    for key, value in rule.items():
        if key not in RULE:
            raise BadInput(f"plan: {name}: '{key}' is unknown. {did_you_mean(key, RULE)}")
        _check(f"plan: {name}: {key}", RULE[key], value)


def _check(where: str, kind: type, value: Any) -> None:
    if kind is bool and not isinstance(value, bool):
        raise BadInput(f"{where} is {value!r}. Write true or false.")
    if kind is int and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST):
        raise BadInput(f"{where} is {value!r}; FINN takes 1 (bipolar) to {LARGEST} bits. Give one of these.")
