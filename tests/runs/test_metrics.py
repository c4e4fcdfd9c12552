"""The metrics of training runs: closed forms of what is taken from lines, and whole runs."""

from __future__ import annotations

import pytest

from edgekit import registry
from edgekit.report.run_html import view
from edgekit.runs.history import History
from edgekit.runs.metrics import convergence_rounds, metrics_of_split, robustness, utilization
from edgekit.runs.overlay import overlay
from edgekit.runs.simulate import simulate

RUN = """
algorithm: d-psgd
topology: ring
agents: 4
model: {mlp: {width: 8, depth: 1}}
data: {digits: {partition: iid}}
optimizer: {sgd: {lr: 0.1}}
rounds: 6
evaluate_every: 2
seeds: 2
variants:
  links: {links: {bandwidth_mbps: 10, latency_ms: 5, seconds_per_gradient: 0.02}}
  leaving: {membership: [{round: 2, leave: [3]}]}
"""


def lines(values, *, metric="accuracy", agents=(), every=10):
    counts = agents or [4] * len(values)
    return [
        {
            "round": every * at,
            "agents": count,
            "metric_name": metric,
            "agent_metric": None if value is None else {"mean": value},
        }
        for at, (value, count) in enumerate(zip(values, counts, strict=True))
    ]


@pytest.mark.parametrize(
    ("values", "rounds"),
    [
        ([0.1, 0.5, 1.09, 1.1], 20),  # 95 % of the gain of 1.0 is at 1.05
        ([0.1, 1.1, 0.5, 1.1], 30),  # it was there before, but did not stay
        ([0.0, 0.94, 0.96, 1.0], 20),
        ([0.0, 1.0], 10),
        ([0.5, None, 1.0], 20),
        ([0.5], None),
        ([], None),
        ([0.5, 0.5], None),
        ([0.5, 0.4], None),
    ],
)
def test_a_run_has_settled_where_most_of_its_gain_stays(values, rounds):
    assert convergence_rounds(lines(values)) == rounds


def test_a_metric_of_which_less_is_better_settles_downwards():
    assert convergence_rounds(lines([2.0, 1.0, 0.04, 0.0], metric="mean_squared_error")) == 20
    assert convergence_rounds(lines([1.0, 2.0], metric="mean_squared_error")) is None


@pytest.mark.parametrize(
    ("values", "agents", "kept"),
    [
        ([0.2, 0.8, 0.4, 0.9], [4, 4, 3, 3], 0.5),
        ([0.2, 0.8, 0.8, 0.6], [4, 4, 3, 2], 0.75),  # the worst of all that follows
        ([0.2, 0.8, 0.9, 1.0], [4, 4, 4, 4], None),
        ([0.2, 0.8, 0.9, 1.0], [2, 3, 4, 4], None),  # more is no loss
        ([0.0, 0.8], [4, 3], None),  # nothing was there to be kept
    ],
)
def test_robustness_is_what_is_left_of_the_metric(values, agents, kept):
    assert robustness(lines(values, agents=agents)) == (None if kept is None else pytest.approx(kept))


def test_robustness_of_an_error_is_its_inverse():
    found = lines([3.0, 1.0, 4.0, 2.0], metric="mean_squared_error", agents=[4, 4, 3, 3])
    assert robustness(found) == 0.25


def test_utilization_is_what_is_not_waited():
    assert utilization({"waited_share": 0.25}) == 0.75
    assert utilization({"waited_share": None}) is None
    assert utilization({}) is None  # a line of before


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """One run with links, and one without in which an agent leaves."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "run.yaml").write_text(RUN)
    return simulate(folder / "run.yaml", out=folder / "out", jobs=1)


def cell_of(history, name):
    (cell,) = [cell for cell in history.summary["cells"] if cell["name"] == name]
    found = {row["name"]: row for row in cell["metrics"]}
    assert set(found) == set(registry.slots.names())
    assert all(bool(row["reason"]) == (row["value"] is None) for row in found.values())
    return cell, found


def test_a_simulated_run_fills_what_it_measured(history):
    cell, found = cell_of(history, "links")
    row = (64 * 8 + 8 + 8 * 10 + 10) * 4
    assert found["communication_cost"]["value"] == 6 * 2 * row  # six rounds to two neighbours each
    assert found["communication_cost"]["ci95"] == [12 * row, 12 * row]
    seconds = found["training_time"]["value"]
    assert seconds == cell["figures"]["virtual_seconds"]["mean"]
    # six gradients of 20 ms each, all agents alike
    assert found["resource_utilization"]["value"] == pytest.approx(6 * 0.02 / seconds)
    assert found["task_metric"]["value"] == cell["figures"]["agent_metric_mean"]["mean"]
    assert (found["task_metric"]["unit"], found["task_metric"]["better"]) == ("accuracy", "higher")
    assert found["training_loss"]["value"] == cell["figures"]["train_loss"]["mean"]
    assert found["robustness"]["reason"] == "no agent was lost in this run"
    assert found["training_energy"]["reason"] == "simulated agents have no power sensor"


def test_without_links_there_is_no_time_and_a_loss_of_agents_is_seen(history):
    _, found = cell_of(history, "leaving")
    kept = []
    for run in history.runs:
        if run.cell == "leaving":
            scores = {line["round"]: line["agent_metric"]["mean"] for line in run.lines}
            kept.append(min(scores[4], scores[6]) / scores[2])
    assert found["robustness"]["value"] == pytest.approx(sum(kept) / 2)
    assert found["training_time"]["reason"] == "the run file has no links"
    assert "seconds_per_gradient" in found["resource_utilization"]["reason"]


def test_the_summary_and_the_page_have_them(history):
    assert history.summary["metrics"] == history.summary["cells"][0]["metrics"]
    assert "<h2>Metrics</h2>" in (history.folder / "report.html").read_text()
    shown = view(overlay([history, history]), plots=False)["metrics"]
    assert {len(row.cells) for row in shown} == {4}


def test_a_summary_of_before_is_still_shown(history):
    cells = [
        {key: value for key, value in cell.items() if key != "metrics"} for cell in history.summary["cells"]
    ]
    old = History(history.folder, history.runs, {**history.summary, "cells": cells})
    assert view(old, plots=False)["metrics"] == []


def split_summary(**last):
    usual = {
        "step": 40,
        "metric_name": "accuracy",
        "metric": 0.8,
        "train_loss": 0.5,
        "test_loss": 0.6,
        "distance_correlation": {"hidden": 0.7, "other": 0.9},
        "seconds": 3.0,
        "bytes_sent": {"total": 900, "value": 600, "gradient": 300},
        "virtual_seconds": 1.5,
    }
    leaves = [{"from": "camera", "to": "edge"}, {"from": "edge", "to": "cloud"}]
    return {"last": {**usual, **last}, "leaves": leaves}


def test_a_split_run_says_what_leaves_and_what_it_tells():
    found = {row["name"]: row for row in metrics_of_split(split_summary())}
    assert found["communication_cost"]["value"] == 300
    assert found["privacy"]["value"] == 0.9
    assert found["privacy"]["method"] == "other, on test samples"
    assert found["training_time"]["value"] == 1.5
    assert found["task_metric"]["value"] == 0.8


def test_one_agent_of_a_split_run_tells_its_own():
    summary = split_summary(frame_bytes=950, metric=None, distance_correlation={})
    del summary["last"]["virtual_seconds"]
    found = {row["name"]: row for row in metrics_of_split(summary)}
    assert found["communication_cost"]["value"] == 900
    assert "this agent's own" in found["communication_cost"]["method"]
    assert found["task_metric"]["reason"] == found["privacy"]["reason"] == "it is known at another agent"
    assert found["training_time"]["value"] == 3.0
