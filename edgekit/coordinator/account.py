"""What an agent tells of its rounds: a line a round on its disk, a line now and then for watchers, its evaluations."""

from __future__ import annotations

import math
import time
from typing import Any, Final

import numpy as np

from edgekit.coordinator.documents import LINES
from edgekit.coordinator.keeper import Keeper
from edgekit.coordinator.mail import Mail
from edgekit.coordinator.observer import report_of
from edgekit.coordinator.report import Report
from edgekit.coordinator.round_energy import RoundEnergy
from edgekit.coordinator.writer import Writer
from edgekit.wire.frame import Head, Kind
from edgekit.wire.transport import WATCHERS

LINE_EVERY: Final = 0.2  # seconds between two lines for watchers
RECENT: Final = 64  # evaluations in the document that others read, so many may pass while nobody does


class Account:
    """The figures of one agent of one run; `seconds` of training so far, and what of them it `waited`."""

    def __init__(
        self, me: str, mail: Mail, writer: Writer, keeper: Keeper, energy: RoundEnergy | None = None
    ) -> None:
        self.me, self.mail, self.writer, self.keeper = me, mail, writer, keeper
        self.energy = energy or RoundEnergy()
        self.seconds = self.waited = 0.0
        self._losses: list[float] = []
        self._lines: list[dict[str, Any]] = []
        self._shown = 0.0

    def round(self, report: Report, epoch: int, payload_bytes: int) -> None:
        """A round is over."""
        self.energy.round()
        self.seconds += report.seconds
        self.waited += report.waited
        if report.loss is not None:
            self._losses.append(report.loss)
        self.keeper.round(report, epoch=epoch, dropped=self.mail.dropped())
        now = time.monotonic()
        if now - self._shown > LINE_EVERY:
            self._shown = now
            self.mail.transport.send(_watched(report, payload_bytes).encode(), WATCHERS)

    def evaluate(self, engine: Any, one: Any, starter: str, schema: int) -> None:
        """Score the model as it is, and tell it."""
        self.energy.stop()
        scored = one.evaluator.score(engine.model[0], one.objective.buffers.get(one.number))
        losses, self._losses = self._losses, []
        draws, gradients = engine.gradients
        line = {
            "round": engine.number,
            "agent": one.number,
            "id": self.me,
            "epoch": one.objective.sampler.epochs(one.number, draws),
            "metric_name": one.evaluator.name,
            "metric": finite(scored.metric),
            "local_metric": finite(scored.local),
            "train_loss": finite(float(np.mean(losses))) if losses else None,
            "test_loss": finite(scored.loss),
            "lr": engine.lr,
            "gradient_evaluations": gradients,
            "bytes": engine.payload_bytes,
            "frame_bytes": self.mail.sent,
            "messages": engine.messages,
            "consensus_estimate": finite(engine.report.consensus),
            "seconds": round(self.seconds, 4),
            "waited": round(self.waited, 4),
            "joules_a_round": finite(self.energy.a_round),
        }
        self.keeper.line(line)
        if one.run.observe:
            self._send_model(engine, one, starter, schema)
        self._lines = [*self._lines, line][-RECENT:]
        self.publish()
        if engine.number < one.run.rounds:
            self.energy.start()

    def publish(self) -> None:
        """The newest evaluations, for whoever puts them together."""
        self.writer.publish(LINES, {"lines": self._lines})

    def facts(self) -> dict[str, Any]:
        """What a snapshot keeps of it."""
        told = {"seconds": self.seconds, "waited": self.waited, "losses": list(map(finite, self._losses))}
        return told | self.energy.facts()

    def restore(self, facts: dict[str, Any]) -> None:
        """Go on from what a snapshot kept, with the evaluations that are on the disk."""
        self._lines = self.keeper.lines()[-RECENT:]
        self.seconds, self.waited = (float(facts.get(name, 0.0)) for name in ("seconds", "waited"))
        self.energy.restore(facts)
        self._losses = [math.inf if loss is None else loss for loss in facts.get("losses", [])]

    def _send_model(self, engine: Any, one: Any, starter: str, schema: int) -> None:
        """The model to whoever started the run, beside what the training sends."""
        payload = report_of(engine.model[0], one.objective.buffers.get(one.number))
        head = Head(
            Kind.REPORT, 0, self.mail.run, engine.epoch, engine.number, sender=one.number, schema=schema
        )
        self.mail.send(self.mail.frames(head, payload), starter)


def finite(value: float | None) -> float | None:
    """A figure as JSON can hold it."""
    return value if value is not None and np.isfinite(value) else None


def _watched(report: Report, payload_bytes: int) -> str:
    loss = "nan" if report.loss is None else report.loss
    consensus = "nan" if report.consensus is None else report.consensus
    heard = f"{len(report.mixed)}/{len(report.neighbours)}"
    return f"{report.round} {loss} {heard} {report.seconds:.4f} {payload_bytes} {consensus}"
