"""Names to objects: built-ins, entry points, `package.module:Name` and the user's own `./file.py:Name`.

A built-in is named by the module that holds it and imported when it is asked for, so that listing names
costs no torch import. A new built-in is one file and one line in the table below.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from edgekit.errors import BadInput, did_you_mean


class Registry:
    """One kind of named thing, open to others.

    >>> transforms.get("finetune").__name__
    'Finetune'
    """

    def __init__(self, kind: str, group: str, builtin: dict[str, str]) -> None:
        self.kind, self.group = kind, group
        self._builtin = dict(builtin)
        self._registered: dict[str, Any] = {}

    def register(self, name: str, value: Any) -> Any:
        """Add `value` under `name` for this process and return it."""
        self._registered[name] = value
        return value

    def builtin(self) -> tuple[str, ...]:
        """The names that edgekit brings itself, in the order of its table."""
        return tuple(self._builtin)

    def names(self) -> list[str]:
        """Every name that `get` knows without a colon, sorted."""
        return sorted({*self._builtin, *self._registered, *self._entry_points()})

    def get(self, name: str) -> Any:
        """The object behind a name, `package.module:Name` or `./file.py:Name`; BadInput if there is none."""
        if name in self._registered:
            return self._registered[name]
        if name in self._builtin:
            return load_object(self._builtin[name], kind=self.kind)
        found = self._entry_points().get(name)
        if found is not None:
            return found.load()
        if ":" in name:
            return load_object(name, kind=self.kind)
        raise BadInput(f"{self.kind}: '{name}' is unknown. {did_you_mean(name, self.names())}")

    def _entry_points(self) -> dict[str, Any]:
        return {entry.name: entry for entry in entry_points(group=self.group)}


def load_object(reference: str, *, kind: str = "object") -> Any:
    """Import `package.module:Name` or `./file.py:Name`; the user's folder is appended to sys.path, never first.

    Raises BadInput naming the part that is missing.
    """
    place, _, attribute = reference.rpartition(":")
    if not place or not attribute:
        raise BadInput(f"{kind}: '{reference}' names no object. Write package.module:Name or ./file.py:Name.")
    module = _load_file(place, kind) if place.endswith(".py") else _load_module(place, kind)
    value: Any = module
    for part in attribute.split("."):
        if not hasattr(value, part):
            public = [name for name in vars(module) if not name.startswith("_")]
            raise BadInput(f"{kind}: '{place}' has no '{attribute}'. {did_you_mean(attribute, public)}")
        value = getattr(value, part)
    return value


def _load_file(place: str, kind: str) -> ModuleType:
    path = Path(place).expanduser().resolve()
    if not path.is_file():
        raise BadInput(f"{kind}: there is no file '{place}' (looked in {Path.cwd()}). Check the path.")
    name = f"edgekit_user_{path.stem}_{abs(hash(str(path))):x}"
    if name in sys.modules:
        return sys.modules[name]
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadInput(f"{kind}: '{place}' is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise BadInput(f"{kind}: '{place}' cannot be imported: {type(error).__name__}: {error}") from error
    return module


def _load_module(place: str, kind: str) -> ModuleType:
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        return importlib.import_module(place)
    except ImportError as error:
        raise BadInput(f"{kind}: the module '{place}' cannot be imported: {error}") from error


transforms = Registry(
    "transform",
    "edgekit.transforms",
    {
        "prune": "edgekit.transforms.prune:Prune",
        "finetune": "edgekit.transforms.finetune:Finetune",
        "distil": "edgekit.transforms.distil:Distil",
        "quantize": "edgekit.transforms.quantize:Quantize",
    },
)
models = Registry(
    "model",
    "edgekit.models",
    {
        "resnet8": "edgekit.zoo.resnet:resnet8",
        "resnet18": "edgekit.zoo.resnet:resnet18",
        "mobilenet_v1": "edgekit.zoo.mobilenet:mobilenet_v1",
        "ds_cnn": "edgekit.zoo.ds_cnn:ds_cnn",
        "fc_autoencoder": "edgekit.zoo.autoencoder:fc_autoencoder",
        "cnv": "edgekit.zoo.finn:cnv",
        "tfc": "edgekit.zoo.finn:tfc",
        "sfc": "edgekit.zoo.finn:sfc",
        "lfc": "edgekit.zoo.finn:lfc",
        "mlp": "edgekit.zoo.mlp:mlp",
        "gn_lenet": "edgekit.zoo.lenet:gn_lenet",
        "efficientnet_lite0": "edgekit.zoo.efficientnet:efficientnet_lite0",
    },
)
datasets = Registry(
    "data set",
    "edgekit.datasets",
    {
        "fashion-mnist": "edgekit.data.idx:fashion_mnist",
        "mnist": "edgekit.data.idx:mnist",
        "cifar10": "edgekit.data.cifar:cifar10",
        "cifar100": "edgekit.data.cifar:cifar100",
        "digits": "edgekit.data.digits:digits",
        "fsdd": "edgekit.data.fsdd:fsdd",
        "image-folder": "edgekit.data.folder:image_folder",
        "npz": "edgekit.data.npz:npz",
    },
)
metrics = Registry(
    "metric",
    "edgekit.metrics",
    {
        "accuracy": "edgekit.metric:accuracy",
        "mean_squared_error": "edgekit.metric:mean_squared_error",
    },
)
slots = Registry(
    "metric slot",
    "edgekit.metric_slots",  # edgekit.metrics are functions that score outputs
    {
        "task_metric": "edgekit.profile.metric_slots:TASK_METRIC",
        "training_loss": "edgekit.profile.metric_slots:TRAINING_LOSS",
        "convergence_rounds": "edgekit.profile.metric_slots:CONVERGENCE_ROUNDS",
        "latency": "edgekit.profile.metric_slots:LATENCY",
        "throughput": "edgekit.profile.metric_slots:THROUGHPUT",
        "energy": "edgekit.profile.metric_slots:ENERGY",
        "memory_footprint": "edgekit.profile.metric_slots:MEMORY_FOOTPRINT",
        "communication_cost": "edgekit.profile.metric_slots:COMMUNICATION_COST",
        "resource_utilization": "edgekit.profile.metric_slots:RESOURCE_UTILIZATION",
        "privacy": "edgekit.profile.metric_slots:PRIVACY",
        "robustness": "edgekit.profile.metric_slots:ROBUSTNESS",
        "model_size": "edgekit.profile.metric_slots:MODEL_SIZE",
        "training_time": "edgekit.profile.metric_slots:TRAINING_TIME",
        "training_energy": "edgekit.profile.metric_slots:TRAINING_ENERGY",
    },
)
losses = Registry(
    "loss",
    "edgekit.losses",
    {
        "cross_entropy": "edgekit.fit:cross_entropy",
        "mean_squared_error": "edgekit.fit:mean_squared_error",
    },
)
targets = Registry("target", "edgekit.targets", {})
algorithms = Registry(
    "algorithm",
    "edgekit.algorithms",
    {
        "all-reduce": "edgekit.decentralized.algorithms.all_reduce:AllReduce",
        "fedavg": "edgekit.decentralized.algorithms.fed_avg:FedAvg",
        "d-psgd": "edgekit.decentralized.algorithms.d_psgd:DPSGD",
        "dmsgd": "edgekit.decentralized.algorithms.dmsgd:DmSGD",
        "qg-dsgdm": "edgekit.decentralized.algorithms.quasi_global:QuasiGlobal",
        "d2": "edgekit.decentralized.algorithms.d2:D2",
        "gradient-tracking": "edgekit.decentralized.algorithms.gradient_tracking:GradientTracking",
        "extra": "edgekit.decentralized.algorithms.extra:Extra",
        "exact-diffusion": "edgekit.decentralized.algorithms.exact_diffusion:ExactDiffusion",
        "push-diging": "edgekit.decentralized.algorithms.push_diging:PushDIGing",
        "sgp": "edgekit.decentralized.algorithms.sgp:SGP",
        "choco": "edgekit.decentralized.algorithms.choco:Choco",
        "deep-squeeze": "edgekit.decentralized.algorithms.deep_squeeze:DeepSqueeze",
        "dcd-psgd": "edgekit.decentralized.algorithms.dcd:DCD",
        "ngc": "edgekit.decentralized.algorithms.ngc:NGC",
        "comp-ngc": "edgekit.decentralized.algorithms.ngc:CompNGC",
        "clique-averaging": "edgekit.decentralized.algorithms.clique_averaging:CliqueAveraging",
        "dacfl": "edgekit.decentralized.algorithms.dacfl:DACFL",
        "ngo": "edgekit.decentralized.algorithms.nonlinear_gossip:NonlinearGossip",
        "moshpit": "edgekit.decentralized.algorithms.moshpit:MoshpitSGD",
        "swarm": "edgekit.decentralized.algorithms.swarm:SwarmSGD",
        "ad-psgd": "edgekit.decentralized.algorithms.ad_psgd:ADPSGD",
    },
)
topologies = Registry(
    "topology",
    "edgekit.topologies",
    {
        "complete": "edgekit.decentralized.topologies.complete:Complete",
        "star": "edgekit.decentralized.topologies.star:Star",
        "ring": "edgekit.decentralized.topologies.ring:Ring",
        "line": "edgekit.decentralized.topologies.line:Line",
        "torus": "edgekit.decentralized.topologies.torus:Torus",
        "hypercube": "edgekit.decentralized.topologies.hypercube:Hypercube",
        "exponential": "edgekit.decentralized.topologies.exponential:Exponential",
        "one-peer-exponential": "edgekit.decentralized.topologies.one_peer_exponential:OnePeerExponential",
        "random-regular": "edgekit.decentralized.topologies.random_regular:RandomRegular",
        "erdos-renyi": "edgekit.decentralized.topologies.erdos_renyi:ErdosRenyi",
        "small-world": "edgekit.decentralized.topologies.small_world:SmallWorld",
        "random-matching": "edgekit.decentralized.topologies.random_matching:RandomMatching",
        "matcha": "edgekit.decentralized.topologies.matcha:Matcha",
        "d-cliques": "edgekit.decentralized.topologies.d_cliques:DCliques",
        "clumping": "edgekit.decentralized.topologies.clumping:Clumping",
        "moshpit": "edgekit.decentralized.topologies.moshpit:Moshpit",
        "hierarchical": "edgekit.decentralized.topologies.hierarchical:Hierarchical",
        "custom": "edgekit.decentralized.topologies.custom:Custom",
    },
)
codecs = Registry(
    "codec",
    "edgekit.codecs",
    {
        "raw": "edgekit.codecs.raw:Raw",
        "fp16": "edgekit.codecs.half:Fp16",
        "bf16": "edgekit.codecs.half:Bf16",
        "uint8": "edgekit.codecs.uint8:UInt8",
        "top-k": "edgekit.codecs.top_k:TopK",
        "natural": "edgekit.codecs.natural:Natural",
        "scaled-sign": "edgekit.codecs.scaled_sign:ScaledSign",
        "error-feedback": "edgekit.codecs.error_feedback:ErrorFeedback",
    },
)
optimizers = Registry(
    "optimizer",
    "edgekit.optimizers",
    {
        "sgd": "edgekit.decentralized.optimizers:Sgd",
        "adamw": "edgekit.decentralized.optimizers:AdamW",
        "lars": "edgekit.decentralized.optimizers:Lars",
        "lamb": "edgekit.decentralized.optimizers:Lamb",
    },
)
partitions = Registry(
    "partition",
    "edgekit.partitions",
    {
        "iid": "edgekit.decentralized.partition.iid:Iid",
        "sorted_fraction": "edgekit.decentralized.partition.sorted_fraction:SortedFraction",
        "shards": "edgekit.decentralized.partition.shards:Shards",
        "classes_per_agent": "edgekit.decentralized.partition.classes_per_agent:ClassesPerAgent",
        "dirichlet": "edgekit.decentralized.partition.dirichlet:Dirichlet",
        "resource_correlated": "edgekit.decentralized.partition.resource_correlated:ResourceCorrelated",
        "natural": "edgekit.decentralized.partition.natural:Natural",
        "given": "edgekit.decentralized.partition.given:Given",
    },
)
