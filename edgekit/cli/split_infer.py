"""`edgekit split infer RUN.yaml`: a network over several servers answers requests, by the one who holds the data."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgekit.cli.console import say, say_aside, say_json, say_nothing, table
from edgekit.errors import BadInput, did_you_mean


def arguments(group: Any) -> None:
    """The words that asking alone takes."""
    group.add_argument(
        "--weights",
        type=Path,
        metavar="DIR",
        help="the folder that this agent trained in (default: the file's)",
    )
    group.add_argument(
        "--requests", type=int, metavar="N", help="how many to ask (default: the test samples)"
    )
    group.add_argument(
        "--window", type=int, default=8, metavar="N", help="requests under way at a time (default: 8)"
    )
    group.add_argument("--once", action="store_true", help="serve one who asks, then end")


def run(options: argparse.Namespace) -> int:
    """0 where all requests were answered, or a server was let go."""
    import torch

    from edgekit.coordinator.stream_site import StreamSite, Terms
    from edgekit.runs.split_file import read_split

    if len(options.what) != 2 or options.broker is None or options.me is None:
        raise BadInput(
            "split infer: it takes a run file, a broker and an agent, such as: edgekit split infer split.yaml --broker "
            "mqtt://127.0.0.1 --as edge"
        )
    torch.set_num_threads(1)
    tell = say_nothing if options.quiet else say_aside
    made, _ = read_split(options.what[1], overrides=options.overrides)
    terms = Terms(
        options.broker,
        options.me,
        batch=options.batch,
        requests=options.requests,
        window=options.window,
        wait=options.wait,
        weights=options.weights,
        credentials=options.credentials,
        insecure=options.insecure,
        once=options.once,
    )
    site = StreamSite(made, terms, say=tell)
    if options.me not in site.agents:
        raise BadInput(
            f"--as: '{options.me}' is no agent of this run. {did_you_mean(options.me, site.agents)}"
        )
    found = site.run()
    if options.json:
        say_json(found)
    elif "requests" in found:
        _result(found)
    else:
        say(f"{options.me}: served in {found['epochs']} epochs")
    return 0


def _result(found: dict[str, Any]) -> None:
    table(
        ["requests", found["metric_name"], "a second", "latency", "slowest of 100", "sent", "taken over"],
        [
            (
                f"{found['requests']:,} of {found['batch']}",
                f"{found['metric']:.4f}",
                f"{found['requests_a_second']:.1f}",
                f"{found['latency_ms']:.2f} ms",
                f"{found['latency_ms_99']:.2f} ms",
                f"{found['bytes_sent'] / 2**20:.2f} MiB",
                f"{found['moves']}",
            )
        ],
        title=f"{found['title']}: {found['window']} requests under way, by wall clock",
    )
