"""What every agent's process needs, loaded once in the process that they are forked from."""

from __future__ import annotations

import torch

import edgekit.coordinator.session
import edgekit.coordinator.worker
import edgekit.runs.one_agent
import edgekit.runs.run_file
import edgekit.runs.task
import edgekit.zoo.source

__all__ = ["edgekit", "torch"]
