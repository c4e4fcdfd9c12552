"""What one test changes in its process for all that come after is put back."""

from __future__ import annotations

import signal

import pytest
import torch

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell starts what it puts in the background with interrupts ignored, and so would be every child started here
    signal.signal(signal.SIGINT, signal.default_int_handler)

THREADS = torch.get_num_threads()


@pytest.fixture(autouse=True)
def _threads():
    """The bits of a sum depend on the number of threads, which tests and commands run in this process may set."""
    yield
    torch.set_num_threads(THREADS)
