"""What a process does that is one agent of one run: everything that it needs comes as plain values."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgekit.coordinator.access import Access
from edgekit.coordinator.device_file import DeviceFile
from edgekit.coordinator.documents import Spec
from edgekit.coordinator.names import check_names
from edgekit.errors import BadInput
from edgekit.wire.credentials import Credentials
from edgekit.wire.document import Trust
from edgekit.wire.identity import Identity
from edgekit.wire.mqtt import MqttTransport
from edgekit.wire.transport import LinkError, Transport
from edgekit.yaml_lines import Document

if TYPE_CHECKING:  # it needs numpy, which a machine that waits for runs does without
    from edgekit.wire.faults import Faults

Say = Callable[[str], None]
ATTEMPTS: Final = 3  # to open the first link: a broker that many agents meet at once may turn some away
PAUSE: Final = 0.5  # seconds between two


@dataclass(frozen=True)
class Post:
    """Where an agent meets the others: the broker's address, credentials, and what goes without them.

    folder: of credentials; secret: of bulk frames, where no site gives one; keys: the folder in which an agent without
    a certificate keeps its key; faults: what becomes of frames that come in, to try a setting before a bad link does,
    drawn from `seed` and the agent's id.
    """

    url: str
    keys: Path
    folder: Path | None = None
    secret: bytes | None = field(default=None, repr=False)
    insecure: bool = False
    faults: Faults | None = None
    seed: int = 0

    def access(self, run: str, me: str) -> Access:
        """How `me` takes part in a run."""
        credentials = Credentials.read(self.folder) if self.folder is not None else Credentials()
        address = credentials.address(self.url)
        tls = credentials.tls() if address.tls else None
        transport: Transport = MqttTransport(address, run, me, tls=tls, insecure=self.insecure)
        if self.faults is not None:
            from edgekit.wire.faults import FaultyTransport

            transport = FaultyTransport(transport, self.faults, self.seed + zlib.crc32(me.encode()))
        identity = self._identity(credentials, me)
        return Access(
            transport, identity, Trust(run, credentials.authority()), self.secret or credentials.secret
        )

    def _identity(self, credentials: Credentials, me: str) -> Identity:
        if credentials.certificate is not None and credentials.key is not None:
            return Identity.load(me, credentials.certificate, credentials.key)
        return Identity.kept(me, self.keys / f"{me}.key.pem")


@dataclass(frozen=True)
class Work:
    """One agent of one run; tied: it ends when the process that started it is gone, as the broker does then too."""

    run: str
    me: str
    folder: Path
    post: Post
    device: DeviceFile = field(default_factory=DeviceFile)
    patience: float = 60.0
    tied: bool = False


def take_part(work: Work, say: Say = lambda line: None) -> str:
    """Be an agent until the run is over."""
    import torch

    torch.set_num_threads(work.device.threads)
    for _ in range(ATTEMPTS - 1):
        session = _session(work, say)
        try:
            return session.run()
        except LinkError as error:
            if session.opened:
                raise
            say(f"{work.me}: {error}; it tries again")
            time.sleep(PAUSE)
    return _session(work, say).run()


def _session(work: Work, say: Say) -> Any:
    from edgekit.coordinator.session import Session

    return Session(
        work.post.access(work.run, work.me),
        work.run,
        work.folder,
        lambda spec, number: make_agent(spec, number, work.device),
        device=work.device,
        patience=work.patience,
        say=say,
    )


def make_agent(spec: Spec, number: int | None, device: DeviceFile) -> Any:
    """This machine's side of a run, `OneAgent`; BadInput for what it may not, or cannot, do."""
    from edgekit.runs.named import split_name
    from edgekit.runs.one_agent import assemble_one, schema_of
    from edgekit.runs.run_file import build_run
    from edgekit.runs.task import cached_arrays

    values = dict(spec.values)
    own = device.data is not None
    named = {key: value for key, value in values.items() if key != "data"} if own else values
    check_names(named, spec.sources, device.allow)
    document = Document(f"run {spec.name}", values)
    if own:
        values["data"] = device.data
    run = build_run(values, document)
    if device.limits.power_watts is not None:
        raise BadInput(
            "limits: power_watts cannot be held: no power sensor is known here. Leave it out, or limit the board by "
            "its own power mode."
        )
    if number is None and not own and run.topology.facts:
        raise BadInput(
            f"topology: {run.topology.name} asks what labels this agent holds, before it has a number. Name its share "
            "in agent.yaml: partition: 3"
        )
    if number is not None and number >= spec.agents:
        raise BadInput(
            f"partition: {number} is no share of {spec.agents} agents. Give 0 to {spec.agents - 1}."
        )
    name, _ = split_name(values["data"], document=document, path=("data",))
    arrays = cached_arrays(name, run.data_options)
    made = assemble_one(run, spec.seed, number or 0, arrays, own_data=own, device=device.device)
    own_schema = schema_of(made.objective.layout, made.objective.buffer_layout, run.dtype)
    if own_schema != spec.schema:
        raise BadInput(
            f"run '{spec.name}': the model here has the schema {own_schema:08x}, that of the run document "
            f"{spec.schema:08x}. Use the same edgekit, model and data shape on all machines."
        )
    _refuse_too_large(made, device.limits.memory_gb)
    return made


def _refuse_too_large(made: Any, limit: float | None) -> None:
    """Rows, gradients and what came in, counted; and the samples."""
    import psutil

    row = made.row.nbytes
    copies = 6 + len(made.run.optimizer.memory) + 2 * made.run.agents * bool(made.run.algorithm.public)
    wanted = row * copies + made.objective.samples.x.nbytes + made.evaluator.x.nbytes
    free = psutil.virtual_memory().available
    most = free if limit is None else min(free, limit * 2**30)
    if wanted > most:
        raise BadInput(
            f"memory: this agent needs about {wanted / 2**30:.2f} GiB, and has {most / 2**30:.2f}. Use a smaller "
            "model, or raise limits.memory_gb in agent.yaml."
        )
