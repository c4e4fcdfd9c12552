"""`edgekit split RUN.yaml`, and `edgekit split plan MODEL`: one network over several agents, and where to cut it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgekit.cli import split_infer, split_plan
from edgekit.cli.console import say, say_aside, say_json, say_nothing, table
from edgekit.errors import BadInput
from edgekit.progress import show_progress

EXAMPLE = """edgekit split split.yaml --out runs/split
  edgekit split split.yaml --broker mqtts://broker.local --as camera
  edgekit split infer split.yaml --broker mqtts://broker.local --as camera --weights runs/camera-1
  edgekit split plan resnet8 --device cam=0.2 --device edge=1 --mbps 100 --ms 5"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words that the verb takes."""
    parser.add_argument(
        "what",
        nargs="+",
        metavar="RUN.yaml | infer RUN.yaml | plan MODEL",
        help="a run to train, a network to ask, or a model to cut",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="change one value"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="the output folder (default: runs/TITLE-N)")
    parser.add_argument(
        "--batch", type=int, default=1, metavar="N", help="plan, infer: samples a request (default: 1)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quiet", action="store_true", help="print no progress")
    _meeting_arguments(parser.add_argument_group("between machines"))
    split_infer.arguments(parser.add_argument_group("infer RUN.yaml"))
    split_plan.arguments(parser.add_argument_group("plan MODEL"))


def _meeting_arguments(group: Any) -> None:
    group.add_argument(
        "--broker",
        metavar="URL",
        help="run it for real: the agents meet at mqtt://host or mqtts://host ('here' starts a broker)",
    )
    group.add_argument(
        "--as",
        dest="me",
        metavar="AGENT",
        help="with --broker: this machine is that agent (default: all, a process each)",
    )
    group.add_argument(
        "--wait", type=float, default=60.0, metavar="S", help="seconds to wait for the others (default: 60)"
    )
    group.add_argument(
        "--credentials", type=Path, metavar="DIR", help="this machine's, as edgekit broker certs makes them"
    )
    group.add_argument(
        "--insecure",
        action="store_true",
        help="let activations cross the network unencrypted, readable by anyone on the way",
    )


def run(options: argparse.Namespace) -> int:
    """0 where the run came to its end, or there is a plan."""
    if options.what[0] == "plan":
        return split_plan.run(options)
    if options.what[0] == "infer":
        return split_infer.run(options)
    if len(options.what) != 1:
        raise BadInput("split: it takes one run file, or 'plan MODEL', or 'infer RUN.yaml'.")
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    import torch

    from edgekit.coordinator.split_site import SplitSite, folder_of
    from edgekit.journal import new_folder
    from edgekit.runs.split_file import read_split
    from edgekit.runs.split_run import SplitRun, row_of
    from edgekit.yaml_lines import write_yaml

    torch.set_num_threads(1)  # the same bits on every machine of a kind
    tell = say_nothing if options.quiet else say_aside
    made, document = read_split(options.what[0], overrides=options.overrides)
    if options.me is not None and options.broker is None:
        raise BadInput("--as: it needs --broker, where the agents meet.")
    found: SplitSite | SplitRun
    if options.broker is None:
        folder = options.out or new_folder(made.title)
        found = SplitRun(made, document, folder, say=tell)
    else:
        folder = folder_of(options.out, made.title, options.me)
        tell(f"output: {folder}")
        found = SplitSite(made, document, folder, _meeting(options), say=tell)
    if not options.json:
        leaves([row_of(row) for row in found.table])
    (folder / "run.yaml").write_text(write_yaml(dict(document.value)), encoding="utf-8")
    with show_progress("silent" if options.quiet else "auto"):
        summary = found.finish()
    if options.json:
        say_json(summary)
    else:
        _result(summary)
        say(f"lines: {folder / 'run.jsonl'}")
    return 0


def _meeting(options: argparse.Namespace) -> Any:
    from edgekit.coordinator.split_site import Meeting

    words = [word for item in options.overrides for word in ("--set", item)]
    return Meeting(
        options.broker,
        options.me,
        wait=options.wait,
        credentials=options.credentials,
        insecure=options.insecure,
        command=("split", str(Path(options.what[0]).resolve()), *words),
    )


def leaves(rows: list[dict[str, Any]]) -> None:
    """What leaves each device, before anything does."""
    table(
        ["from", "to", "what", "name", "shape of a sample", "bytes of a sample"],
        [
            (
                row["from"],
                row["to"],
                row["what"],
                row["name"],
                "x".join(map(str, row["shape"])) or "1",
                f"{row['bytes']:,}",
            )
            for row in rows
        ],
        title="what leaves each device in a step",
        numbers=["bytes of a sample"],
    )


def _result(summary: dict[str, Any]) -> None:
    last = summary["last"]
    virtual = last.get("virtual_seconds")
    real = "frame_bytes" in last
    clock, shown = ("seconds", last["seconds"]) if real else ("virtual seconds", virtual)
    told = max(last["distance_correlation"].values(), default=None)
    table(
        ["", "steps", last["metric_name"], "test loss", "sent", clock, "distance correlation"],
        [
            (
                summary["title"],
                f"{last['step']:,}",
                _figure(last["metric"]),
                _figure(last["test_loss"]),
                f"{last['bytes_sent']['total'] / 2**20:.1f} MiB",
                "no links" if shown is None else f"{shown:.2f}",
                ("not known here" if real else "nothing leaves") if told is None else f"{told:.3f}",
            )
        ],
    )


def _figure(value: float | None) -> str:
    return "at another agent" if value is None else f"{value:.4f}"
