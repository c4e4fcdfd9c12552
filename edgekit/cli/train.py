"""`edgekit train RUN.yaml`: the run file of the simulator, by real agents over a real broker."""

from __future__ import annotations

import argparse
import secrets
import tempfile
from contextlib import nullcontext
from pathlib import Path

from edgekit.cli.console import say, say_aside, say_json, say_nothing
from edgekit.cli.outputs import prepare_run
from edgekit.cli.simulate import show
from edgekit.errors import BadInput
from edgekit.progress import show_progress

EXAMPLE = "edgekit train run.yaml --broker mqtts://broker.local --local 2"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words that the verb takes."""
    parser.add_argument("run", type=Path, nargs="?", help="a YAML file, as for edgekit simulate")
    parser.add_argument(
        "--broker",
        metavar="URL",
        help="mqtt://host, mqtts://host, ws:// or wss:// (default: that of --credentials, else one is started here)",
    )
    parser.add_argument(
        "--local",
        type=int,
        metavar="N",
        help="agents that run on this machine; the others join with edgekit agent (default: all without --broker)",
    )
    parser.add_argument(
        "--min-agents",
        type=int,
        metavar="M",
        help="go on with so many after --wait (default: more than half)",
    )
    parser.add_argument(
        "--wait",
        type=float,
        default=60.0,
        metavar="S",
        help="seconds to wait for missing agents (default: 60)",
    )
    parser.add_argument("--stop", metavar="NAME", help="stop a run of this broker, whoever started it")
    parser.add_argument("--watch", action="store_true", help="show every agent live in the terminal")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="change one value"
    )
    parser.add_argument(
        "--credentials",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="credentials of this machine, and then of each local agent (as edgekit broker certs makes them)",
    )
    parser.add_argument(
        "--insecure",
        action="store_true",
        help="let models cross the network unencrypted, readable by anyone on the way",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="the output folder (default: runs/NAME-N)")
    parser.add_argument("--force", action="store_true", help="delete the run that the output folder holds")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument("--quiet", action="store_true", help="print no progress")


def run(options: argparse.Namespace) -> int:
    """0 where every run came to its end, 1 where too few agents came or were left."""
    if options.stop:
        return _stop(options)
    if options.run is None:
        raise BadInput("train: it needs a run file. Write one with: edgekit init run")
    broker, local = _broker(options), options.local
    if local or (local is None and not broker):
        from edgekit.coordinator.local import context

        context()  # torch is loaded where agents are forked from, while it is loaded here
    from edgekit.cli.watch import Watch
    from edgekit.coordinator.training import Terms, Training
    from edgekit.runs.study import load_study

    study = load_study(options.run, overrides=options.overrides)
    if local is None:
        local = 0 if broker else max(cell.run.agents for cell in study.cells)
    if local < 0 or options.wait < 0:
        raise BadInput("train: --local and --wait are 0 or more.")
    credentials = tuple(options.credentials)
    terms = Terms(broker, local, options.min_agents, options.wait, credentials, options.insecure)
    folder = prepare_run(study.document.value, options.out, name=study.title, force=options.force)
    tell = say_nothing if options.quiet else say_aside
    tell(f"output: {folder}")
    with (
        show_progress("silent" if options.quiet or options.watch else "auto"),
        Watch() if options.watch else nullcontext() as watch,
    ):
        heard = {} if watch is None else {"on_watch": watch.hear}
        history = Training(study, folder, terms, say=tell, **heard).history()
    if options.json:
        say_json(history.summary)
    else:
        show(history)
    return 0


def _broker(options: argparse.Namespace) -> str | None:
    """The broker that is named, or that of the credentials."""
    from edgekit.wire.credentials import Credentials

    if options.broker is None and options.credentials:
        return Credentials.read(options.credentials[0]).url
    return str(options.broker) if options.broker else None


def _stop(options: argparse.Namespace) -> int:
    from edgekit.coordinator.stop import stop_run
    from edgekit.coordinator.worker import Post
    from edgekit.wire.credentials import Credentials

    broker = _broker(options)
    if broker is None:
        raise BadInput("--stop: give the --broker that the run is on.")
    place = next(iter(options.credentials), None)
    known = Credentials.read(place) if place else Credentials()
    with tempfile.TemporaryDirectory() as keys:
        post = Post(broker, Path(keys), place, None, options.insecure)
        run = stop_run(post, known.id or f"stop-{secrets.token_hex(4)}", options.stop)
    say(f"stopped {run}: its agents keep their snapshots")
    return 0
