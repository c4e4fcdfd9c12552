"""`edgekit split plan MODEL`: where to cut a network, and who computes what."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from edgekit.cli.check import shape
from edgekit.cli.console import say, say_json, table
from edgekit.errors import BadInput

HERE = "this-machine=1"


def arguments(group: Any) -> None:
    """The words that planning alone takes."""
    group.add_argument(
        "--times-out",
        type=Path,
        metavar="FILE",
        help="only time the operations here, for --device on another machine",
    )
    group.add_argument(
        "--device",
        action="append",
        default=[],
        metavar="NAME=FILE|SPEED[,WATTS]",
        help="an agent, and its times (of --times-out) or how fast it is beside this machine; the first has the input",
    )
    group.add_argument("--data", metavar="NAME", help="take the input shape from this data set")
    group.add_argument("--input", type=shape, metavar="C,H,W", help="the shape of one sample")
    group.add_argument(
        "--mbps", type=float, default=100.0, metavar="B", help="bandwidth of the links (default: 100)"
    )
    group.add_argument("--ms", type=float, default=1.0, metavar="L", help="latency one way (default: 1)")
    group.add_argument(
        "--link",
        action="append",
        default=[],
        metavar="ONE,OTHER=B[,L[,J]]",
        help="the link between two: Mbit/s, ms one way, joules a MB (for --aim energy)",
    )
    group.add_argument(
        "--hop",
        default="0",
        metavar="MS[,MS_PER_MB]",
        help="what a message costs beside the link, in the broker and at both ends (default: 0)",
    )
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
    if options.times_out is not None:
        return _keep(network, options, seconds)
    devices = _devices(options, network, seconds)
    names = [device.name for device in devices]
    links = _links(options, names)
    ends = planning.Ends(names[0], options.result_at, options.batch, inputs_leave=options.inputs_leave)
    best = planning.plan(network, devices, links, ends, aim=options.aim, cuts=options.cuts)
    rows = sorted(planning.table(network, devices, links, ends), key=lambda found: found.cost(options.aim))
    if options.plot is not None:
        _draw(network, seconds, best, options.plot)
    if options.json:
        say_json({"best": _as_json(best), "single_cuts": [_as_json(row) for row in rows]})
        return 0
    _show(options, best, rows)
    say(
        "; ".join(_origin(word) for word in options.device or [HERE])
        + ". Transfers are computed from the links."
    )
    return 0


def _show(options: argparse.Namespace, best: Any, rows: list[Any]) -> None:
    """The best way, and the best single cuts."""
    shown = [best, *[row for row in rows if (row.cuts, row.agents) != (best.cuts, best.agents)][:9]]
    numbers = [
        "bytes at the cuts",
        "latency",
        "slowest stage",
        *(["energy"] if options.aim == "energy" else []),
    ]
    table(
        ["", "segments", "cut after", *numbers],
        [
            (
                "best" if index == 0 else "",
                " -> ".join(row.agents),
                ", ".join(row.cuts) or "none",
                f"{sum(stage.bytes for stage in row.stages):,.0f}",
                f"{1000 * row.latency:.2f} ms",
                f"{1000 * row.slowest:.2f} ms",
                "not known" if row.joules is None else f"{1000 * row.joules:.3g} mJ",
            )[: 3 + len(numbers)]
            for index, row in enumerate(shown)
        ],
        title=f"{options.what[1]}, batch {options.batch}, {_link_words(options)}: by {options.aim}",
        numbers=numbers,
    )


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


def _keep(network: Any, options: argparse.Namespace, seconds: list[float]) -> int:
    from edgekit.doctor import machine
    from edgekit.split.times import Times, signature

    device = machine()["processor"]
    Times(signature(network), options.batch, device, tuple(seconds)).write(options.times_out)
    say(
        f"{options.times_out}: {1000 * sum(seconds):.2f} ms in {len(seconds)} operations on {device}, 1 thread. Copy "
        f"it to where you plan, and give --device NAME={options.times_out}"
    )
    return 0


def _devices(options: argparse.Namespace, network: Any, seconds: list[float]) -> list[Any]:
    from edgekit.split.plan import Device
    from edgekit.split.times import read_times

    made: dict[str, Any] = {}
    for word in options.device or [HERE]:
        name, _, rest = word.partition("=")
        what, _, watts = rest.partition(",")
        number = _number(what or "1")
        power = _number(watts) if watts else None
        if not name or name in made or (watts and not power) or (number is not None and number <= 0):
            raise BadInput(
                f"--device {word}: write NAME=SPEED or NAME=FILE, each name once, and ,WATTS where you know them, such "
                "as cam=0.2,3"
            )
        if number is None:
            known = read_times(Path(what)).fit(network, options.batch, f"--device {word}")
            made[name] = Device(name, known, power)
        else:
            made[name] = Device.scaled(name, seconds, number, power)
    return list(made.values())


def _links(options: argparse.Namespace, names: list[str]) -> dict[tuple[str, str], Any]:
    """The link of every two agents, both ways."""
    from edgekit.split.plan import Link

    hop = _numbers(options.hop, f"--hop {options.hop}", "MS or MS,MS_PER_MB, such as 0.3,4", most=2)
    handling = (hop[0], hop[1] if len(hop) > 1 else 0.0)
    if not options.mbps > 0 or options.ms < 0:
        raise BadInput("--mbps: give more than 0, and --ms 0 or more.")
    usual = Link(options.mbps, options.ms, None, *handling)
    found = {(one, other): usual for one in names for other in names if one != other}
    for word in options.link:
        pair, _, rest = word.partition("=")
        ends = tuple(pair.split(","))
        if len(ends) != 2 or ends not in found:
            raise BadInput(
                f"--link {word}: write two of {', '.join(names)}, such as {','.join(names[:2])}=100,5 for 100 Mbit/s "
                "and 5 ms."
            )
        numbers = _numbers(rest, f"--link {word}", "ONE,OTHER=MBPS[,MS[,JOULES_PER_MB]]", most=3)
        if numbers[0] <= 0:
            raise BadInput(f"--link {word}: give more than 0 Mbit/s.")
        joules = numbers[2] / 1e6 if len(numbers) == 3 else None
        latency = numbers[1] if len(numbers) > 1 else options.ms
        link = Link(numbers[0], latency, joules, *handling)
        found[ends] = found[ends[::-1]] = link
    return found


def _numbers(text: str, where: str, form: str, *, most: int) -> list[float]:
    found = [_number(part) for part in text.split(",")]
    numbers = [number for number in found if number is not None and number >= 0]
    if len(numbers) != len(found) or len(found) > most:
        raise BadInput(f"{where}: write {form}.")
    return numbers


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _link_words(options: argparse.Namespace) -> str:
    usual = f"{options.mbps:g} Mbit/s, {options.ms:g} ms"
    return f"{usual} except {' '.join(options.link)}" if options.link else usual


def _origin(word: str) -> str:
    """Where the times of a device are from."""
    name, _, rest = word.partition("=")
    what = rest.partition(",")[0] or "1"
    number = _number(what)
    if number is None:
        return f"{name}: measured on it ({what})"
    return f"{name}: measured here" + (
        "" if number == 1 else f" and scaled to a speed of {number:g}, a prediction"
    )


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
