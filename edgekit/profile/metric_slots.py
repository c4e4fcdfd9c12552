"""The metrics that edgekit fills: the eleven of edge learning as we read them, and some of a board's own.

The survey of deep learning on edge servers by Joshi, Hasanuzzaman, Thapa, Afli and Scully (IEEE Access 11, 2023)
counts eleven key metrics. Its names and ours need not agree: these are eleven that fit it and that a run can measure.
"""

from __future__ import annotations

from typing import Final

from edgekit.profile.metrics import Slot

SURVEY: Final = "our reading of Joshi et al., 2023"
OWN: Final = "edgekit"

TASK_METRIC: Final = Slot(
    "task_metric",
    "of the metric",
    "The task's metric on held-out samples, accuracy or what the recipe or run file names: of the artefact in its "
    "runtime, or the mean over the agents' own models.",
    "depends",
    SURVEY,
)
TRAINING_LOSS: Final = Slot(
    "training_loss",
    "of the loss",
    "The loss that is trained on, mean over the agents and the rounds since the last evaluation before the end.",
    "lower",
    SURVEY,
)
CONVERGENCE_ROUNDS: Final = Slot(
    "convergence_rounds",
    "rounds",
    "The first evaluated round from which on 95 % of the run's own gain in the task's metric, last minus first, is "
    "kept. It says how fast a run settled, not how well.",
    "lower",
    SURVEY,
)
LATENCY: Final = Slot(
    "latency",
    "ms",
    "The median time of one call of the model on its device, at the named batch.",
    "lower",
    SURVEY,
)
THROUGHPUT: Final = Slot(
    "throughput", "samples/s", "Samples a second that the model answers on its device.", "higher", SURVEY
)
ENERGY: Final = Slot(
    "energy",
    "J",
    "Joules of one inference within the sensor's scope; gross, idle power not subtracted, unless the method says net.",
    "lower",
    SURVEY,
)
MEMORY_FOOTPRINT: Final = Slot(
    "memory_footprint",
    "B",
    "Resident memory that loading the model and one call add at their peak, over that of the runtime alone.",
    "lower",
    SURVEY,
)
COMMUNICATION_COST: Final = Slot(
    "communication_cost",
    "B",
    "Payload bytes that an agent sends in the whole training, mean over agents, a message counted for every receiver.",
    "lower",
    SURVEY,
)
RESOURCE_UTILIZATION: Final = Slot(
    "resource_utilization",
    "share",
    "How much of what a device has is in use: in training the share of the time in which an agent does not wait for "
    "messages, mean over agents; on an FPGA the share of its scarcest resource that the design takes.",
    "depends",
    SURVEY,
)
PRIVACY: Final = Slot(
    "privacy",
    "distance correlation",
    "The largest distance correlation of anything that leaves its holder with the samples it was computed from, 0 "
    "(independent) to 1 (Szekely, Rizzo, Bakirov, 2007).",
    "lower",
    SURVEY,
)
ROBUSTNESS: Final = Slot(
    "robustness",
    "share",
    "What is left of the task's metric, at its lowest after agents were first lost in a run, of what it was before.",
    "higher",
    SURVEY,
)
MODEL_SIZE: Final = Slot(
    "model_size",
    "B",
    "Bytes of the artefact; of hardware with bits of its own, of the weights.",
    "lower",
    OWN,
)
TRAINING_TIME: Final = Slot(
    "training_time",
    "s",
    "Seconds of the whole training, on the wall clock over real links, on the virtual clock of simulated ones.",
    "lower",
    OWN,
)
TRAINING_ENERGY: Final = Slot(
    "training_energy",
    "J",
    "Joules of one training round of one device, mean over rounds and devices; gross, idle power not subtracted.",
    "lower",
    OWN,
)
