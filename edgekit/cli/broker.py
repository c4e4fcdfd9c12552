"""`edgekit broker start|check|certs|invite`: the broker that agents meet on, and whom it lets in."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from edgekit.cli.actions import add_action
from edgekit.cli.console import say, say_aside, say_json

if TYPE_CHECKING:
    from edgekit.broker.finding import Finding
    from edgekit.wire.credentials import Credentials

EXAMPLE = "edgekit broker start"
EXAMPLES = {
    "start": "edgekit broker start --host 0.0.0.0 --tls site",
    "check": "edgekit broker check mqtts://broker.local --credentials site/agents/cam-1",
    "certs": "edgekit broker certs cam-1 cam-2 laptop --host broker.local,10.0.0.5 --out site",
    "invite": "edgekit broker invite cam-1 --site site",
}
SITE = Path("site")
# what service managers and closing terminals send: without a handler Mosquitto would be left behind
_ENDS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words that the verb takes."""
    actions = parser.add_subparsers(dest="action", metavar="start|check|certs|invite", required=True)
    _start_words(_action(actions, "start", "run a broker here until Ctrl-C"))
    _check_words(_action(actions, "check", "try what a run will ask of a broker; a line each, with its fix"))
    _certs_words(_action(actions, "certs", "make a site: a private authority, certificates, access list"))
    _invite_words(
        _action(actions, "invite", "print the line by which a device joins: edgekit agent join LINE")
    )


def run(options: argparse.Namespace) -> int:
    """Do what was asked; 1 where a check failed."""
    actions = {"start": _start, "check": _check, "certs": _certs, "invite": _invite}
    return actions[options.action](options)


def _action(actions: Any, name: str, summary: str) -> argparse.ArgumentParser:
    return add_action(actions, name, summary, example=EXAMPLES[name])


def _start_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at (127.0.0.1)")
    parser.add_argument("--port", type=int, help="the port (1883, with --tls 8883; 0: any free one)")
    parser.add_argument(
        "--tls",
        type=Path,
        metavar="FOLDER",
        help="a site of edgekit broker certs: only its agents are let in",
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--mosquitto", action="store_true", help="Mosquitto (the default where it is installed)"
    )
    kind.add_argument("--embedded", action="store_true", help="the broker in Python, for trying things out")
    parser.add_argument("--insecure", action="store_true", help="allow other machines in without TLS")


def _check_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", nargs="?", help="mqtt://host:1883 (default: that of the credentials)")
    parser.add_argument(
        "--credentials",
        type=Path,
        metavar="DIR",
        help="what this device shows (default: what it joined with)",
    )
    parser.add_argument("--insecure", action="store_true", help="send a password though it can be read")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _certs_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", nargs="+", metavar="ID", help="an agent, or who starts or watches runs")
    parser.add_argument(
        "--out", type=Path, default=SITE, metavar="FOLDER", help="the folder of the site (site)"
    )
    parser.add_argument(
        "--host", action="append", default=[], metavar="NAME[,IP]", help="names and addresses of the broker"
    )
    parser.add_argument("--url", help="where agents find it (mqtts://, the first name, port 8883)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _invite_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="an agent that edgekit broker certs made")
    parser.add_argument(
        "--site", type=Path, default=SITE, metavar="FOLDER", help="the folder of the site (site)"
    )
    parser.add_argument("--url", help="where this device finds the broker, if not where all do")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _start(options: argparse.Namespace) -> int:
    from edgekit.broker.embedded import Embedded
    from edgekit.broker.start import Wish, broker_for, remarks, where

    wish = Wish(
        options.host, options.port, options.tls, options.mosquitto, options.embedded, options.insecure
    )
    broker = broker_for(wish)
    before = {sign: signal.signal(sign, _interrupt) for sign in _ENDS}
    try:
        broker.start()
        kind = "the broker in Python" if isinstance(broker, Embedded) else "Mosquitto"
        say(f"{where(wish, broker)}  ({kind}; Ctrl-C ends it)")
        sys.stdout.flush()
        for remark in remarks(wish, broker):
            say_aside(remark)
        broker.wait()
    except KeyboardInterrupt:
        pass
    finally:
        broker.stop()
        for sign, handler in before.items():
            signal.signal(sign, handler)
    return 0


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _check(options: argparse.Namespace) -> int:
    from edgekit.broker.check import check_broker

    credentials = _credentials(options.credentials)
    address = credentials.address(options.url)
    found = []
    for finding in check_broker(address, credentials, insecure=options.insecure):
        found.append(finding)
        if not options.json:
            _say_finding(finding)
    if options.json:
        say_json({"broker": str(address), "findings": [finding.to_json() for finding in found]})
    return int(any(finding.state == "failed" for finding in found))


def _credentials(folder: Path | None) -> Credentials:
    """Those named, or this machine's, or none."""
    from edgekit.wire.credentials import Credentials, default_folder

    if folder is None and not default_folder().is_dir():
        return Credentials()
    return Credentials.read(folder)


def _say_finding(finding: Finding) -> None:
    say(f"{finding.state:<8} {finding.name:<13} {finding.seen}")
    if finding.fix:
        say(f"{'':<22} {finding.fix}")


def _certs(options: argparse.Namespace) -> int:
    from edgekit.broker.certificates import Site, make_site

    hosts = [name.strip() for words in options.host for name in words.split(",")]
    made = make_site(options.out, options.ids, hosts=hosts, url=options.url)
    site = Site(options.out)
    if options.json:
        say_json({"url": site.url, "broker": str(site.broker), "made": [str(path) for path in made]})
        return 0
    for path in made:
        say(f"made: {path}")
    say(
        f"On the broker's machine, with {site.broker}: edgekit broker start --host 0.0.0.0 --tls {site.broker}",
        f"For each device: edgekit broker invite ID --site {options.out}",
        f"Keep {site.ca_key} off all of them: whoever has it can let anyone in.",
    )
    return 0


def _invite(options: argparse.Namespace) -> int:
    from edgekit.broker.invite import invite

    line = invite(options.site, options.id, url=options.url)
    if options.json:
        say_json({"id": options.id, "line": line})
        return 0
    say(line)
    say_aside(f"On the device: edgekit agent join LINE. Whoever has this line can join as '{options.id}'.")
    return 0
