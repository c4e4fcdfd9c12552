"""`edgekit agent`: this machine takes part in the runs of a site; `edgekit agent join LINE` lets it in."""

from __future__ import annotations

import argparse
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path

from edgekit.cli.console import say, say_aside
from edgekit.errors import BadInput

EXAMPLE = "edgekit agent --broker mqtts://broker.local --id cam-3 --config agent.yaml"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words that the verb takes."""
    parser.add_argument(
        "join", nargs="*", metavar="join LINE", help="store the invitation that edgekit broker invite printed"
    )
    parser.add_argument("--broker", metavar="URL", help="where the agents meet (default: the invitation's)")
    parser.add_argument(
        "--id", metavar="ID", help="this machine's id (default: the invitation's, else the host name)"
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="agent.yaml: this machine's data, limits and rights"
    )
    parser.add_argument("--credentials", type=Path, metavar="DIR", help="where the invitation was stored")
    parser.add_argument("--to", type=Path, metavar="DIR", help="join: the folder to store the invitation in")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where snapshots and lines are kept (default: agent)"
    )
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="PREFIX",
        help="code that run documents may name (may be repeated)",
    )
    parser.add_argument(
        "--run", action="append", default=[], metavar="NAME", help="take part in this run only"
    )
    parser.add_argument("--once", action="store_true", help="end after the first run, with its exit status")
    parser.add_argument(
        "--insecure",
        action="store_true",
        help="let models cross the network unencrypted, readable by anyone on the way",
    )
    parser.add_argument("--print-service", action="store_true", help="print a systemd unit for this command")


def run(options: argparse.Namespace) -> int:
    """Wait for runs until stopped; with --once the exit status of the first."""
    if options.join:
        return _join(options)
    if options.print_service:
        from edgekit.coordinator.service import unit

        words = [word for word in sys.argv[2:] if word != "--print-service"]
        say(unit(words, Path.cwd()))
        return 0
    from edgekit.coordinator.local import context
    from edgekit.coordinator.role import roles
    from edgekit.coordinator.supervisor import Supervisor

    me, post, device, folder = _machine(options)
    signal.signal(signal.SIGTERM, _end)
    supervisor = Supervisor(
        me,
        post,
        device,
        folder,
        roles(),
        only=tuple(options.run),
        once=options.once,
        say=say_aside,
    )
    if supervisor.roles:
        context()  # torch is loaded while this machine waits, so that a run begins at once
    return supervisor.run()


def _machine(options: argparse.Namespace):  # type: ignore[no-untyped-def]
    """(id, where to meet, the machine, where to keep things)."""
    from edgekit.coordinator.device_file import DeviceFile, read_device_file
    from edgekit.coordinator.worker import Post
    from edgekit.wire.credentials import Credentials, default_folder
    from edgekit.wire.transport import check_id

    device = read_device_file(options.config) if options.config else DeviceFile()
    if options.allow:
        device = replace(device, allow=(*device.allow, *options.allow))
    site = options.credentials or (Path(device.credentials) if device.credentials else default_folder())
    known = Credentials.read(site) if site.is_dir() or options.credentials else Credentials()
    url = options.broker or device.broker or known.url
    if url is None:
        raise BadInput(
            "agent: no broker is known. Give --broker URL, or join a site: edgekit agent join LINE"
        )
    me = check_id(options.id or device.id or known.id or socket.gethostname(), "--id")
    folder = options.out or Path(device.out)
    folder.mkdir(parents=True, exist_ok=True)
    return me, Post(url, folder, site if site.is_dir() else None, None, options.insecure), device, folder


def _join(options: argparse.Namespace) -> int:
    from edgekit.broker.invite import join
    from edgekit.wire.credentials import default_folder

    if options.join[0] != "join" or len(options.join) != 2:
        raise BadInput(
            "agent: it takes 'join LINE', with the line that edgekit broker invite printed, or options only."
        )
    folder = options.to or options.credentials or default_folder()
    credentials = join(options.join[1], folder)
    say(f"joined as {credentials.id} at {credentials.url}; stored in {folder}. Next: edgekit agent")
    return 0


def _end(signum: int, frame: object) -> None:
    raise KeyboardInterrupt
