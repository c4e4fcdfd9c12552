"""The verdict is honest in every case: gain, level, slow-down, no gain, unknown, missed budget."""

from __future__ import annotations

from typing import Any

import pytest
from report_sample import content

from edgekit.report import figures, missed_budgets, verdict
from edgekit.report.verdict import gained

SAMPLE = (
    "4.3x faster (95 % 4.2-4.3) and 5.5x smaller than the fp32 artefact on x86-64 avx512-vnni, accuracy "
    "92.14 % -> 91.87 % (drop 0.27 points, n=10000)"
)
QUALITY = "accuracy 92.14 % -> 91.87 % (drop 0.27 points, n=10000)"


def made(latency: Any, size: float | None, **more: Any) -> dict[str, Any]:
    value = {**content(), "ratio": {"latency": latency, "size": size}, **more}
    return value


def speed(value: float, low: float, high: float) -> dict[str, Any]:
    return {"value": value, "ci95": [low, high]}


CASES = {
    "a gain": (content(), f"{SAMPLE}."),
    "level speed, smaller": (
        made(speed(1.0, 0.99, 1.01), 3.9),
        "3.9x smaller than the fp32 artefact on x86-64 avx512-vnni and as fast within the noise (speed "
        f"ratio 95 % 0.99-1.01), {QUALITY}.",
    ),
    "slower under objective size": (
        made(speed(0.8, 0.78, 0.82), 3.9, objective="size"),
        "3.9x smaller but 1.25x slower (95 % 1.22-1.28) than the fp32 artefact on x86-64 avx512-vnni, "
        f"{QUALITY}.",
    ),
    "faster but larger": (
        made(speed(2.0, 1.9, 2.1), 0.5),
        "2.0x faster (95 % 1.90-2.1) but 2.0x larger than the fp32 artefact on x86-64 avx512-vnni, "
        f"{QUALITY}.",
    ),
    "faster, same size": (
        made(speed(2.5, 2.4, 2.6), 1.0),
        f"2.5x faster (95 % 2.4-2.6) than the fp32 artefact on x86-64 avx512-vnni, {QUALITY}.",
    ),
    "no interval": (
        made({"value": 2.5, "ci95": None}, 4.0),
        f"2.5x faster and 4.0x smaller than the fp32 artefact on x86-64 avx512-vnni, {QUALITY}.",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_sentence(case: str) -> None:
    value, sentence = CASES[case]
    assert verdict(value) == sentence


def test_fp32_is_called_no_gain_with_its_reason() -> None:
    value = made(speed(1.0, 0.99, 1.01), 1.0, kept_because="int8 was 0.91x as fast (95 % 0.90-0.92)")
    value["result"]["precision"] = "fp32"
    assert not gained(value)
    assert verdict(value) == (
        "No gain on x86-64 avx512-vnni: fp32 is kept because int8 was 0.91x as fast (95 % 0.90-0.92), "
        f"{QUALITY}."
    )
    value["kept_because"] = None
    assert "fp32 is kept because nothing made it faster or smaller" in verdict(value)


def test_unknown_speed_says_why_and_a_board_keeps_its_name() -> None:
    value = made(None, 3.9, board="arm64", environment={})
    value["not_measured"]["ratio.latency"] = "no such board is attached"
    assert verdict(value) == (
        "3.9x smaller than the fp32 artefact on arm64 and of unknown speed (not measured: no such board "
        f"is attached), {QUALITY}."
    )


def test_a_metric_that_is_absent_or_lower_is_better() -> None:
    value = content()
    value["result"]["metric"] = None
    value["result"]["not_measured"]["metric"] = "the data has no labels"
    assert verdict(value).endswith("metric not measured (the data has no labels).")
    value = content()
    for part, mean in (("baseline", 0.012), ("result", 0.015)):
        value[part]["metric"].update(name="mean_squared_error", value=mean, higher_is_better=False)
    value["drop"] = {"value": 0.003, "ci95": None}
    assert "mean squared error 0.01200 -> 0.01500 (drop 0.00300, n=10000)" in verdict(value)
    value["drop"], value["not_measured"]["drop"] = None, "unpaired"
    assert "(drop 0.00300," in verdict(value)


def test_a_better_metric_is_a_gain() -> None:
    value = content() | {"drop": {"value": -0.004, "ci95": None}}
    assert "(gain 0.40 points," in verdict(value)


@pytest.mark.parametrize(
    ("budget", "missed"),
    [
        ({"latency_ms": 0.15, "max_drop": 0.01}, []),
        ({"latency_ms": 0.05}, ["latency 0.0871 ms, 0.0500 ms allowed"]),
        ({"max_drop": 0.001}, ["drop 0.27 points, 0.10 points allowed"]),
        (
            {"max_bytes": 50_000, "latency_ms": 0.01},
            ["size 57.0 KiB, 48.8 KiB allowed", "latency 0.0871 ms, 0.0100 ms allowed"],
        ),
        ({"macs": 1e6}, ["macs 6.42 M, 1.00 M allowed"]),
    ],
)
def test_a_missed_budget_is_named(budget: dict[str, float], missed: list[str]) -> None:
    value = content() | {"budget": budget}
    assert missed_budgets(value) == missed
    assert verdict(value) == (f"{SAMPLE}; budget missed: {'; '.join(missed)}." if missed else f"{SAMPLE}.")


def test_a_budget_that_could_not_be_checked_counts_as_missed() -> None:
    value = content() | {"budget": {"latency_ms": 1.0}}
    value["result"]["latency_ms"] = None
    value["result"]["not_measured"]["latency_ms"] = "the board is not here"
    assert missed_budgets(value) == ["latency ms could not be checked (the board is not here)"]


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (figures.significant(0.123456), "0.123"),
        (figures.significant(1234567), "1,230,000"),
        (figures.significant(0.9996), "1.000"),
        (figures.significant(0), "0"),
        (figures.significant(3e-6), "3.00e-06"),
        (figures.size(512), "512 B"),
        (figures.size(1536), "1.50 KiB"),
        (figures.size(None), "not measured"),
        (figures.scaled(12_501_632), "12.5 M"),
        (figures.scaled(999), "999"),
        (figures.scaled(2e9, "FLOP"), "2.00 GFLOP"),
        (figures.milliseconds(0.0045), "4.50 us"),
        (figures.milliseconds(2500), "2.50 s"),
        (figures.seconds(125), "2 min 05 s"),
        (figures.seconds(0.02), "20.0 ms"),
        (figures.times(1.254), "1.25x"),
        (figures.times(3.14), "3.1x"),
    ],
)
def test_figures_are_rounded_sensibly(shown: str, text: str) -> None:
    assert shown == text


@pytest.mark.parametrize(
    ("value", "ends", "said"),
    [
        (1.5, [1.4, 1.6], ", 1.50x less energy (95 % 1.40-1.60)."),
        (0.5, [0.4, 0.8], ", 2.0x more energy (95 % 1.25-2.5)."),
        (1.0, [0.9, 1.1], ", as much energy within the noise (ratio 95 % 0.90-1.10)."),
    ],
)
def test_energy_that_was_measured_ends_the_sentence(value, ends, said):
    report = content()
    report["ratio"]["energy"] = {"value": value, "ci95": ends, "differs": True}
    assert verdict(report).endswith(said)
