"""How an agent takes part in a run."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.wire.document import Trust
from edgekit.wire.identity import Identity
from edgekit.wire.transport import Transport


@dataclass(frozen=True)
class Access:
    """How an agent takes part: its transport, who it is, whom it trusts, and the site's secret."""

    transport: Transport
    identity: Identity
    trust: Trust
    secret: bytes | None = None
