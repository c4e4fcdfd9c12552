"""The verdict: what was gained and what it cost, in one honest sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgekit.report import figures

ON_BOARD = {"fps": "frames per second", "lut": "LUT"}
SHOWN = {"frames per second": "frames per second", "LUT": "LUT", "BRAM18": "BRAM18", "DSP": "DSP"}
NO_GAIN = 1.02  # below this a file is not called smaller


def verdict(report: Mapping[str, Any]) -> str:
    """One sentence: speed and size against the fp32 artefact, the metric's drop, energy, and every missed budget."""
    where = f"than the fp32 artefact on {machine(report)}"
    if for_hardware(report):
        sentence = f"{_hardware(report)}, {_quality(report)}"
    elif not gained(report):
        sentence = _no_gain(report)
    else:
        phrase = _level(report, where) if _as_fast(report) else _ahead(report, where)
        sentence = f"{phrase[0].upper()}{phrase[1:]}, {_quality(report)}"
    sentence += _energy(report)
    missed = missed_budgets(report)
    if missed:
        sentence += f"; budget missed: {'; '.join(missed)}"
    return sentence + "."


def gained(report: Mapping[str, Any]) -> bool:
    """Whether the artefact is surely faster (the interval above 1) or smaller (by 2 % or more).

    Hardware that is made for the network has no fp32 form to be compared with: it is a gain of its own.
    """
    return for_hardware(report) or _faster(report) or (report["ratio"]["size"] or 0) >= NO_GAIN


def missed_budgets(report: Mapping[str, Any]) -> list[str]:
    """What of the budget the result does not keep, a phrase each; a limit that was not checked is missed.

    Known limits: latency_ms (the median), max_drop (in the metric's unit), max_bytes, and macs, params,
    peak_memory_bytes, lut (all upper limits); fps is a lower one.
    """
    return [phrase for name, limit in report["budget"].items() if (phrase := _missed(report, name, limit))]


def machine(report: Mapping[str, Any]) -> str:
    """The machine behind the board: `x86-64 avx512-vnni` for this-machine, else the board's name."""
    return str(report["environment"].get("machine") or report["board"])


def _missed(report: Mapping[str, Any], name: str, limit: float) -> str:
    value, show = _budgeted(report, name)
    if value is None:
        return f"{figures.words(name)} could not be checked ({_reason(report, name)})"
    if name == "fps":
        return "" if value >= limit else f"{show(value)} frames per second, {show(limit)} asked"
    if value <= limit:
        return ""
    label = {"latency_ms": "latency", "max_drop": "drop", "max_bytes": "size"}.get(name, figures.words(name))
    return f"{label} {show(value)}, {show(limit)} allowed"


def _budgeted(report: Mapping[str, Any], name: str) -> tuple[float | None, Any]:
    result = report["result"]
    if name in ON_BOARD:
        return _on_board(report, ON_BOARD[name]), figures.significant
    if name == "latency_ms":
        return (result["latency_ms"] or {}).get("p50"), figures.milliseconds
    if name == "max_drop":
        metric = result["metric"]
        show = (lambda value: _with_unit(value, metric)) if metric else figures.significant
        return (report["drop"] or {}).get("value"), show
    if name in ("max_bytes", "bytes"):
        return result["bytes"], figures.size
    return result.get(name), figures.size if name.endswith("bytes") else figures.scaled


def _reason(report: Mapping[str, Any], name: str) -> str:
    if name in ON_BOARD:
        return next((item["by"] for item in report["on_board"]), "the board's tools say nothing")
    if name == "max_drop":
        return report["not_measured"].get("drop", "there is no metric")
    return report["result"]["not_measured"].get(name.removeprefix("max_")) or "it was not measured"


def _on_board(report: Mapping[str, Any], name: str) -> float | None:
    """A figure of the board itself, the one nearest to it."""
    known = on_board_figure(report, (name,))
    return None if known is None else known["value"]


def on_board_figure(report: Mapping[str, Any], names: Sequence[str]) -> Mapping[str, Any] | None:
    """The first of these figures of the board itself that has a value, in the form nearest to the board."""
    order = ("measured", "synthesised", "estimated")
    for name in names:
        known = [
            item for item in report.get("on_board", ()) if item["name"] == name and item["value"] is not None
        ]
        if known:
            return min(known, key=lambda item: order.index(item["how"]))
    return None


def for_hardware(report: Mapping[str, Any]) -> bool:
    """Whether the artefact is hardware of its own, such as W4A4: weights and activations of so many bits."""
    return bool(report["result"]["precision"].startswith("W"))


def _hardware(report: Mapping[str, Any]) -> str:
    """An accelerator's rate and size, with how they came about."""
    known = [item for item in report["on_board"] if item["name"] in SHOWN and item["value"] is not None]
    told = ", ".join(f"{figures.significant(item['value'])} {SHOWN[item['name']]}" for item in known)
    how = f" ({', '.join(sorted({item['how'] for item in known}))})" if known else ""
    start = f"{report['result']['precision']} on {machine(report)}"
    return f"{start}: {told}{how}" if known else f"{start}, of unknown rate ({_reason(report, 'fps')})"


def _no_gain(report: Mapping[str, Any]) -> str:
    result = report["result"]
    because = report["kept_because"]
    if because is None:
        size = _size(report) or "of the same size"
        because = f"nothing made it faster or smaller ({_speed(report)}, {size})"
    kept = f"{result['precision']} is kept because {because}"
    return f"No gain on {machine(report)}: {kept}, {_quality(report)}"


def _faster(report: Mapping[str, Any]) -> bool:
    ratio = report["ratio"]["latency"]
    return ratio is not None and (ratio["ci95"] or [ratio["value"]])[0] > 1


def _slower(report: Mapping[str, Any]) -> bool:
    ratio = report["ratio"]["latency"]
    return ratio is not None and (ratio["ci95"] or [ratio["value"]])[-1] < 1


def _as_fast(report: Mapping[str, Any]) -> bool:
    return not _faster(report) and not _slower(report)


def _ahead(report: Mapping[str, Any], where: str) -> str:
    """Where speed moved, the better part comes first and `but` goes before the worse one."""
    speed, small = _speed(report), _size(report)
    if not small:
        return f"{speed} {where}"
    shrunk = (report["ratio"]["size"] or 0) >= NO_GAIN
    first, second = (speed, small) if _faster(report) else (small, speed)
    return f"{first} {'and' if _faster(report) and shrunk else 'but'} {second} {where}"


def _level(report: Mapping[str, Any], where: str) -> str:
    """Where speed is level or unknown, the size leads the sentence."""
    return f"{_size(report)} {where} and {_speed(report)}"


def _speed(report: Mapping[str, Any]) -> str:
    ratio = report["ratio"]["latency"]
    if ratio is None:
        return f"of unknown speed (not measured: {report['not_measured']['ratio.latency']})"
    low, high = ratio["ci95"] or (ratio["value"], ratio["value"])
    if low > 1:
        return f"{figures.times(ratio['value'])} faster{_between(ratio, low, high)}"
    if high < 1:
        return f"{figures.times(1 / ratio['value'])} slower{_between(ratio, 1 / high, 1 / low)}"
    return f"as fast within the noise{_between(ratio, low, high, 'speed ratio ')}"


def _between(ratio: Mapping[str, Any], low: float, high: float, what: str = "") -> str:
    if ratio["ci95"] is None:
        return ""
    return f" ({what}95 % {figures.times(low)[:-1]}-{figures.times(high)[:-1]})"


def _energy(report: Mapping[str, Any]) -> str:
    """What it saves of the energy per inference, where both were measured in turns."""
    ratio = report["ratio"].get("energy")
    if ratio is None:
        return ""
    low, high = ratio["ci95"]
    if low > 1:
        return f", {figures.times(ratio['value'])} less energy{_between(ratio, low, high)}"
    if high < 1:
        return f", {figures.times(1 / ratio['value'])} more energy{_between(ratio, 1 / high, 1 / low)}"
    return f", as much energy within the noise{_between(ratio, low, high, 'ratio ')}"


def _size(report: Mapping[str, Any]) -> str:
    ratio = report["ratio"]["size"]
    if ratio is None or 1 / NO_GAIN < ratio < NO_GAIN:
        return ""
    return f"{figures.times(ratio)} smaller" if ratio >= NO_GAIN else f"{figures.times(1 / ratio)} larger"


def _quality(report: Mapping[str, Any]) -> str:
    before, after, drop = report["baseline"]["metric"], report["result"]["metric"], report["drop"]
    if after is None:
        return f"metric not measured ({report['result']['not_measured']['metric']})"
    if before is None:
        return f"{figures.words(after['name'])} {figures.score(after)} (n={after['n']})"
    loss = (before["value"] - after["value"]) * (1 if after["higher_is_better"] else -1)
    worse = drop["value"] if drop is not None else loss
    phrase = f"{'drop' if worse >= 0 else 'gain'} {_with_unit(abs(worse), after)}"
    scores = f"{figures.score(before)} -> {figures.score(after)}"
    return f"{figures.words(after['name'])} {scores} ({phrase}, n={after['n']})"


def _with_unit(value: float, metric: Mapping[str, Any]) -> str:
    return figures.points(value, metric) + (" points" if figures.is_share(metric) else "")
