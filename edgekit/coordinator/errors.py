"""How a run ends early."""

from __future__ import annotations

from edgekit.errors import EdgekitError


class LostQuorum(EdgekitError):
    """Too few agents are left, or came; what was trained is kept in snapshots."""

    exit_code = 1


class Stopped(EdgekitError):
    """Someone stopped the run; what was trained is kept in snapshots."""

    exit_code = 130
