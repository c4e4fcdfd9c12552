"""Agents go on without whoever started the run; the same command finds it, or resumes it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from edgekit.broker.mosquitto import Mosquitto
from edgekit.runs.single import read_lines
from tests.chaos import logs

pytestmark = pytest.mark.timeout(200)


class Command:
    """`edgekit train` of a small study, with its agents: a process, and what it leaves when it is killed."""
