"""The layers of a TensorRT engine: what each computes, in which types, and from which nodes of the ONNX file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

INTEGER = "Int8"
_HEAD = re.compile(r"^Name: (?P<name>.*?), LayerType: (?P<kind>[^,]*), Inputs: ")
_LISTS = re.compile(r"(?P<what>Inputs|Constants|Outputs): \[(?P<body>(?: \{[^}]*\},?)*) ?\]")
_TENSOR = re.compile(
    r"\{ Name: (?P<name>.*?), Dimensions: .*?(?:Datatype: (?P<type>\w+), )?Format: (?P<format>[^}]*)\}"
)
_SOURCE = re.compile(r"\[ONNX Layer: ([^\]]*)\]")


@dataclass(frozen=True)
class Layer:
    """One kernel; types of its activations in, its constants and its results; `sources` are ONNX node names."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    constants: tuple[str, ...]
    outputs: tuple[str, ...]
    sources: tuple[str, ...]

    @property
    def takes_integers(self) -> bool:
        """Whether all activations come in as int8."""
        return bool(self.inputs) and set(self.inputs) == {INTEGER}


def layer_of(account: str | Mapping[str, Any]) -> Layer | None:
    """A layer from a line of the builder's log, or an entry of the engine inspector; None where it is neither."""
    return _from_text(account) if isinstance(account, str) else _from_json(account)


def _from_text(line: str) -> Layer | None:
    head = _HEAD.match(line)
    if head is None:
        return None
    lists = {found["what"]: found["body"] for found in _LISTS.finditer(line)}
    types = {what: tuple(_types(body)) for what, body in lists.items()}
    return Layer(
        head["name"],
        head["kind"],
        types.get("Inputs", ()),
        types.get("Constants", ()),
        types.get("Outputs", ()),
        tuple(_SOURCE.findall(line)),
    )


def _types(body: str) -> list[str]:
    return [found["type"] or _type_of_format(found["format"]) for found in _TENSOR.finditer(body)]


def _from_json(entry: Mapping[str, Any]) -> Layer | None:
    if "Name" not in entry:
        return None
    lists = [
        tuple(_type_of_entry(tensor) for tensor in entry.get(what, ()))
        for what in ("Inputs", "Constants", "Outputs")
    ]
    weights = entry.get("Weights")
    constants = (
        (*lists[1], str(weights["Type"])) if isinstance(weights, Mapping) and "Type" in weights else lists[1]
    )
    sources = tuple(_SOURCE.findall(str(entry.get("Metadata", ""))))
    return Layer(str(entry["Name"]), str(entry.get("LayerType", "")), lists[0], constants, lists[2], sources)


def _type_of_entry(tensor: Any) -> str:
    if not isinstance(tensor, Mapping):
        return ""
    return (
        str(tensor["Datatype"])
        if "Datatype" in tensor
        else _type_of_format(str(tensor.get("Format/Datatype", "")))
    )


def _type_of_format(text: str) -> str:
    """TensorRT 8 names the type in the format, as in "Thirty-two wide channel vectorized row major Int8 format"."""
    found = re.search(r"\b(Int8|Half|FP16|Float|FP32|Int32|Bool|BFloat16|FP8)\b", text, re.IGNORECASE)
    return {"fp16": "Half", "fp32": "Float", "int8": INTEGER}.get(found[1].lower(), found[1]) if found else ""
