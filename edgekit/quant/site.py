"""The site: the identity of a quantized tensor, on which calibration, training, writer, audit and diagnosis agree."""

from __future__ import annotations

import re
from typing import NamedTuple

_FORM = re.compile(r"(.*?)/([^/#]+)#(\d+):(output|weight|input:.*)", re.DOTALL)


class Site(NamedTuple):
    """(module path, operation, call index, port).

    `module` is the innermost module whose forward makes the call ("" = the model itself), `operation` the
    canonical name (conv, linear, add, cat, relu, ...), `call` counts calls of that operation in that module in
    execution order, and `port` is "output", or "weight" for the weight of a conv or linear, or "input:NAME" for
    a model input (module "" and operation "input").

    >>> str(Site("stage1.0", "add", 0, "output"))
    'stage1.0/add#0:output'
    """

    module: str
    operation: str
    call: int
    port: str

    def __str__(self) -> str:
        return f"{self.module}/{self.operation}#{self.call}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Site:
        """The inverse of `str`."""
        module, operation, call, port = _FORM.fullmatch(text).groups()  # type: ignore[union-attr]
        return cls(module, operation, int(call), port)
