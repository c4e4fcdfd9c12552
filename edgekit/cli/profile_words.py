"""The words of `edgekit profile`, and which of them go together."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any, Final

from edgekit.errors import BadInput
from edgekit.profile.energy_run import ROUNDS

ROOT: Final = Path("/")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words that the verb takes."""
    parser.add_argument(
        "paths",
        type=Path,
        nargs="+",
        metavar="DIR|FILE.onnx",
        help="ONNX files or output folders; ratios are over the first",
    )
    parser.add_argument(
        "--threads", type=_at_least(1), default=1, metavar="N", help="runtime threads (default: 1)"
    )
    parser.add_argument(
        "--batch", type=_at_least(1), default=1, metavar="B", help="samples a call (default: 1)"
    )
    parser.add_argument(
        "--seconds", type=_seconds, default=3.0, metavar="S", help="time for each measurement (default: 3)"
    )
    parser.add_argument("--layers", action="store_true", help="time, MACs, bytes and bound by layer as well")
    parser.add_argument(
        "--published",
        metavar="SUITE[:TASK]",
        help="set published results beside: mlperf-tiny, or mlperf-tiny:ic, :kws, :vww, :ad",
    )
    _energy_words(parser.add_argument_group("energy on this machine"))
    _meter_words(parser.add_argument_group("energy by a bench meter"))
    parser.add_argument("--out", type=Path, metavar="DIR", help="write profile.json and profile.html there")
    parser.add_argument("--json", action="store_true", help="print the content of profile.json")


def _energy_words(group: Any) -> None:
    group.add_argument(
        "--energy", action="store_true", help="joules per inference by a power sensor (edgekit power list)"
    )
    group.add_argument("--sensor", metavar="NAME", help="a name or kind (default: what covers most)")
    group.add_argument(
        "--windows",
        type=_at_least(ROUNDS),
        default=ROUNDS,
        metavar="K",
        help=f"windows of each file (default: {ROUNDS})",
    )
    group.add_argument(
        "--within",
        type=_percent,
        metavar="PERCENT",
        help="more windows, at most 40, until ratios (of one file its energy) are known to so much",
    )
    group.add_argument(
        "--quick", action="store_true", help="windows of 2 s, not max(10 s, 100 sensor periods)"
    )
    group.add_argument(
        "--power-mode", metavar="MODE", help="set this nvpmodel mode meanwhile (edgekit power list)"
    )
    group.add_argument(
        "--root", type=Path, default=ROOT, metavar="DIR", help="read sensors from this tree (for tests)"
    )


def _meter_words(group: Any) -> None:
    group.add_argument(
        "--marks",
        type=Path,
        metavar="FILE",
        help="with --energy: run the windows and write them; with --meter: read them",
    )
    group.add_argument("--meter", type=Path, metavar="TRACE", help="the meter's file; runs nothing")
    group.add_argument(
        "--inferences",
        type=_at_least(1),
        metavar="N",
        help="in each window of the marks that does not say, such as MLPerf Tiny's",
    )
    group.add_argument(
        "--volts", type=_seconds, metavar="V", help="the supply, where only current was measured"
    )
    group.add_argument(
        "--scope", choices=("module", "board", "wall"), default="board", help="what the meter fed (board)"
    )
    group.add_argument(
        "--offset", type=float, metavar="S", help="trace time minus mark time (default: found by the bursts)"
    )


def refuse_idle_words(options: argparse.Namespace) -> None:
    """BadInput for words that would change nothing."""
    energy = {
        "--sensor": options.sensor,
        "--within": options.within,
        "--quick": options.quick,
        "--windows": options.windows != ROUNDS,
    }
    meter = {
        "--inferences": options.inferences,
        "--volts": options.volts,
        "--offset": options.offset,
        "--scope": options.scope != "board",
    }
    _needs("--energy", options.energy, energy)
    _needs("--meter", options.meter, meter)
    _needs("--energy or --meter", options.energy or options.meter, {"--marks": options.marks})
    if options.meter and not options.marks:
        raise BadInput(
            "profile: --meter needs the windows that ran: --marks FILE, which edgekit profile FILE --energy "
            "--marks FILE writes."
        )
    running = {"--energy": options.energy, "--layers": options.layers, "--power-mode": options.power_mode}
    for word in (word for word, given in running.items() if given and options.meter):
        raise BadInput(f"profile: --meter runs nothing, so {word} has no place beside it. Drop one.")
    if options.within and options.marks and options.sensor is None:
        raise BadInput(
            "profile: --within looks at a sensor while it measures, and a meter's file comes later. Drop --within, or "
            "give more --windows."
        )
    if options.out is not None and options.out.is_file():
        raise BadInput(f"--out: '{options.out}' is a file. Name a folder.")


def _needs(wanted: str, given: Any, words: dict[str, Any]) -> None:
    for word, value in words.items():
        if value not in (None, False) and not given:
            raise BadInput(f"profile: {word} does nothing without {wanted}. Add it, or drop {word}.")


def _at_least(least: int) -> Any:
    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"'{text}' must be a whole number from {least}")
        return int(text)

    return read


def _percent(text: str) -> float:
    """Percent as a share."""
    return _seconds(text) / 100


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"'{text}' must be a number above 0")
    return value
