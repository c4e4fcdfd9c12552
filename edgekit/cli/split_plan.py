"""`edgekit split plan MODEL`: where to cut a network, and who computes what."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgekit.cli.check import shape
from edgekit.cli.console import say, say_json, table
from edgekit.errors import BadInput


def arguments(group: Any) -> None:
    """The words that planning alone takes."""
    group.add_argument(
        "--device",
        action="append",
        default=[],
        metavar="NAME=SPEED[,WATTS]",
        help="an agent and how fast it is beside this machine; the first has the input",
    )
    group.add_argument("--data", metavar="NAME", help="take the input shape from this data set")
    group.add_argument("--input", type=shape, metavar="C,H,W", help="the shape of one sample")
    group.add_argument(
        "--mbps", type=float, default=100.0, metavar="B", help="bandwidth of the links (default: 100)"
    )
    group.add_argument("--ms", type=float, default=1.0, metavar="L", help="latency one way (default: 1)")
    group.add_argument(
        "--aim", choices=["latency", "throughput", "energy"], default="latency", help="what is to be small"
    )
    group.add_argument("--cuts", type=int, metavar="N", help="at most so many")
    group.add_argument("--result-at", metavar="NAME", help="who needs the result (default: whoever makes it)")
    group.add_argument("--inputs-leave", action="store_true", help="the input itself may be sent")
    group.add_argument("--plot", type=Path, metavar="FILE", help="draw bytes and time over the cuts, to .svg")


def run(options: argparse.Namespace) -> int:
    """0 where there is a plan."""
    import torch

    from edgekit.split import plan as planning
    from edgekit.split.network import Network

    if len(options.what) != 2:
        raise BadInput("split plan: it takes one model, such as: edgekit split plan resnet8")
    torch.set_num_threads(1)
    model, example = _model(options)
    network = Network(model, example)
    seconds = planning.measure(network, options.batch)
    devices = _devices(options.device or ["this-machine=1"], seconds)
    names = [device.name for device in devices]
    links = {
        (one, other): planning.Link(options.mbps, options.ms)
        for one in names
        for other in names
        if one != other
    }
    ends = planning.Ends(names[0], options.result_at, options.batch, inputs_leave=options.inputs_leave)
    best = planning.plan(network, devices, links, ends, aim=options.aim, cuts=options.cuts)
    rows = sorted(planning.table(network, devices, links, ends), key=lambda found: found.cost(options.aim))
    if options.plot is not None:
        _draw(network, seconds, best, options.plot)
    if options.json:
        say_json({"best": _as_json(best), "single_cuts": [_as_json(row) for row in rows]})
        return 0
    shown = [best, *[row for row in rows if (row.cuts, row.agents) != (best.cuts, best.agents)][:9]]
    table(
        ["", "segments", "cut after", "bytes at the cuts", "latency", "slowest stage"],
        [
            (
                "best" if index == 0 else "",
                " -> ".join(row.agents),
                ", ".join(row.cuts) or "none",
                f"{sum(stage.bytes for stage in row.stages):,.0f}",
                f"{1000 * row.latency:.2f} ms",
                f"{1000 * row.slowest:.2f} ms",
            )
            for index, row in enumerate(shown)
        ],
        title=f"{options.what[1]}, batch {options.batch}, {options.mbps:g} Mbit/s, {options.ms:g} ms: by {options.aim}",
        numbers=["bytes at the cuts", "latency", "slowest stage"],
    )
    say(
        "operations were timed here, and the times scaled by each device's speed: a prediction, not a measurement there"
    )
    return 0


def _model(options: argparse.Namespace) -> tuple[Any, Any]:
    """(the model, an example of its inputs)."""
    from edgekit.cli.check import model_and_example

    words = argparse.Namespace(model=options.what[1], data=options.data, input=options.input)
    model, example = model_and_example(words)
    if example is None:
        raise BadInput(
            "split plan: an ONNX file cannot be cut here. Name the PyTorch model it was made from."
        )
    values = list(example.values()) if isinstance(example, dict) else [example]
    return model, values[0] if len(values) == 1 else example


def _devices(words: list[str], seconds: list[float]) -> list[Any]:
    from edgekit.split.plan import Device

    made = []
    for word in words:
        name, _, rest = word.partition("=")
        try:
            numbers = [float(part) for part in rest.split(",")] if rest else [1.0]
        except ValueError:
            numbers = []
        if not name or not 1 <= len(numbers) <= 2 or min(numbers) <= 0:
            raise BadInput(f"--device {word}: write NAME=SPEED or NAME=SPEED,WATTS, such as cam=0.2,3")
        made.append(Device.scaled(name, seconds, numbers[0], numbers[1] if len(numbers) == 2 else None))
    return made


def _as_json(found: Any) -> dict[str, Any]:
    return {
        "agents": list(found.agents),
        "cuts": list(found.cuts),
        "latency_ms": 1000 * found.latency,
        "slowest_ms": 1000 * found.slowest,
        "joules": found.joules,
        "bytes": [stage.bytes for stage in found.stages],
    }


def _draw(network: Any, seconds: list[float], best: Any, path: Path) -> None:
    from edgekit.report.cuts import cuts_svg

    if path.suffix.lower() != ".svg":
        raise BadInput(f"--plot: '{path}' is no SVG. Name a file that ends in .svg.")
    path.write_text(cuts_svg(network, seconds, best), encoding="utf-8")
