"""edgekit: compress a trained model for an edge board, export it, and prove what it gained.

The public verbs are imported when they are first used, so that `import edgekit` needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit.container import load as load
    from edgekit.inspection import audit as audit
    from edgekit.inspection import check as check
    from edgekit.job import Data as Data
    from edgekit.job import Job as Job
    from edgekit.metric import Score as Score
    from edgekit.pipeline import compress as compress
    from edgekit.recipe import Recipe as Recipe
    from edgekit.runs.history import History as History
    from edgekit.runs.simulate import simulate as simulate
    from edgekit.signature import Signature as Signature
    from edgekit.transforms.distil import Distil as Distil
    from edgekit.transforms.finetune import Finetune as Finetune
    from edgekit.transforms.prune import Prune as Prune
    from edgekit.transforms.quantize import Quantize as Quantize

__version__ = "0.1.0"

_HOMES = {
    "compress": "edgekit.pipeline",
    "audit": "edgekit.inspection",
    "check": "edgekit.inspection",
    "profile": "edgekit.profile",
    "load": "edgekit.container",
    "simulate": "edgekit.runs.simulate",
    "History": "edgekit.runs.history",
    "Recipe": "edgekit.recipe",
    "Job": "edgekit.job",
    "Data": "edgekit.job",
    "Signature": "edgekit.signature",
    "Score": "edgekit.metric",
    "Prune": "edgekit.transforms.prune",
    "Finetune": "edgekit.transforms.finetune",
    "Distil": "edgekit.transforms.distil",
    "Quantize": "edgekit.transforms.quantize",
}
__all__ = sorted([*_HOMES, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgekit' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
