"""The wait of one phase: for whom, how long, and when to ask again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from time import monotonic
from typing import Final

from edgekit.coordinator.patience import Patience

ASK_AFTER: Final = 0.05  # seconds before anything is asked for again, at least
FIRST_ASK: Final = (
    0.1  # seconds, where a neighbour was never heard: it may have sent before it was listened to
)
POLL: Final = 0.25  # seconds: the longest between two looks at who is gone


class Waits:
    """One phase's wait for the senders it expects.

    names: the ids by sender; here(sender): whether it can be waited for at all; heard(sender): when a frame of it
    came last. While the link is down no time passes.
    """

    def __init__(
        self,
        expected: Collection[int],
        names: Sequence[str],
        patience: Patience,
        here: Callable[[int], bool],
        *,
        whole: bool,
        heard: Callable[[int], float] = lambda sender: 0.0,
    ) -> None:
        self._expected, self._names, self._patience, self._here = expected, names, patience, here
        self._whole, self._heard = whole, heard
        self._began = self._looked = monotonic()
        self._asks: dict[int, float] = {}  # when each is asked, and after how long again
        self._pauses: dict[int, float] = {}
        self._quiet = min(ASK_AFTER, patience.deadlines.least)  # before that nothing is due

    def left(self, there: Collection[int], up: bool) -> float | None:
        """Seconds to wait for the next message; None where there is nothing more to wait for."""
        missing = [sender for sender in self._expected if sender not in there]
        if not missing:
            return None
        now = monotonic()
        if not up:
            self._pass_over(now)
            return POLL
        self._looked = now
        if not any(map(self._here, missing)):
            return None
        if now < self._began + self._quiet:
            return self._began + self._quiet - now
        wanted = [sender for sender in missing if self._here(sender)]
        rest = self._began + self._deadline(wanted, len(there)) - now
        if rest <= 0:
            return None
        self._plan_asks()
        return max(0.0, min(rest, min(self._asks[sender] for sender in wanted) - now, POLL))

    @property
    def deadline(self) -> float | None:
        """The longest that this phase would wait for anyone, s."""
        return max([self._patience.of(self._names[sender]) for sender in self._expected], default=None)

    def to_ask(self, there: Collection[int], up: bool) -> list[int]:
        """Whom to ask again now; each is asked after ever longer pauses."""
        if not up or not self._asks:
            return []
        now = monotonic()
        due = [sender for sender, at in self._asks.items() if at <= now and self._is_quiet(sender, now)]
        for sender in due:
            self._pauses[sender] *= 2
            self._asks[sender] = now + self._pauses[sender]
        return [sender for sender in due if sender not in there and self._here(sender)]

    def _is_quiet(self, sender: int, now: float) -> bool:
        """Whether nothing of a sender came for its pause: what is arriving is not asked for again."""
        silent = now - self._heard(sender)
        if silent >= self._pauses[sender]:
            return True
        self._asks[sender] = now + self._pauses[sender] - silent
        return False

    def _plan_asks(self) -> None:
        for sender in self._expected if not self._asks else ():
            usual = self._patience.usual(self._names[sender])
            pause = FIRST_ASK if usual is None else max(ASK_AFTER, usual)
            self._asks[sender], self._pauses[sender] = self._began + pause, pause

    def _deadline(self, wanted: list[int], heard: int) -> float:
        limits = self._patience.deadlines
        if self._whole or heard < limits.quorum * (heard + len(wanted)):
            return limits.most
        return max(self._patience.of(self._names[sender]) for sender in wanted)

    def _pass_over(self, now: float) -> None:
        gone, self._looked = now - self._looked, now
        self._began += gone
        self._asks = {sender: at + gone for sender, at in self._asks.items()}
