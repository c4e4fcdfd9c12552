"""The agents' lines as the run's: in order, once each, whoever is late, lost, or says nonsense."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.coordinator.merge import APART, Merge
from edgekit.runs.line import Line
from edgekit.runs.single import LINES
from tests.coordinator.papers import FEW, JSON


def line(round: int, agent: int, **changes):
    return {
        "round": round,
        "agent": agent,
        "epoch": 0.5,
        "metric_name": "accuracy",
        "metric": 0.1 * (agent + 1),
        "local_metric": None,
        "train_loss": 1.0 + agent,
        "test_loss": 2.0,
        "lr": 0.1,
        "gradient_evaluations": 10.0,
        "bytes": 100 * (agent + 1),
        "messages": 4,
        "seconds": 1.0 + agent,
        **changes,
    }


def written(folder) -> list[dict]:
    return [json.loads(text) for text in (folder / LINES).read_text().splitlines()]


def test_a_line_is_what_the_simulator_writes_of_all(tmp_path):
    heard: list[Line] = []
    merge = Merge(tmp_path, on_line=heard.append)
    for agent in (2, 0, 1):
        merge.add([line(4, agent)])
    merge.write({0, 1, 2})
    (found,) = written(tmp_path)
    assert found["agent_metric"] == pytest.approx(
        {"mean": 0.2, "min": 0.1, "max": 0.3, "std": math.sqrt(2 / 3) / 10}
    )
    assert found["train_loss"] == 2.0
    assert found["bytes_sent"] == {"mean": 200.0, "max": 300.0, "total": 600}
    assert found["messages_sent"] == 12
    assert found["seconds"] == 3.0
    assert found["agents"] == 3
    assert found["virtual_seconds"] is None
    assert found["mean_model_metric"] is None
    assert found["not_measured"]["consensus_distance"] == APART
    assert "local_metric" in found["not_measured"]
    assert [one.round for one in heard] == [4]


def test_rounds_are_written_in_order_when_all_have_told(tmp_path):
    merge = Merge(tmp_path)
    merge.add([line(4, 0), line(8, 0)])
    merge.write({0, 1})
    assert not (tmp_path / LINES).exists()
    merge.add([line(8, 1), line(4, 1)])
    merge.write({0, 1})
    assert [found["round"] for found in written(tmp_path)] == [4, 8]


def test_a_round_that_all_are_past_is_written_without_who_missed_it(tmp_path):
    """Agent 1 joined after round 4."""
    merge = Merge(tmp_path)
    merge.add([line(4, 0), line(8, 1)])
    merge.write({0, 1})
    assert [(found["round"], found["agents"]) for found in written(tmp_path)] == [(4, 1)]
    merge.add([line(8, 0)])
    merge.write({0, 1})
    assert [(found["round"], found["agents"]) for found in written(tmp_path)] == [(4, 1), (8, 2)]


def test_who_is_lost_is_not_waited_for_and_the_end_takes_all(tmp_path):
    merge = Merge(tmp_path)
    merge.add([line(4, 0)])
    merge.write({0})
    merge.add([line(8, 1)])
    merge.write({0, 1})
    assert [found["round"] for found in written(tmp_path)] == [4]
    merge.write({0, 1}, last=True)
    assert [found["round"] for found in written(tmp_path)] == [4, 8]


def test_what_comes_again_is_not_written_again(tmp_path):
    merge = Merge(tmp_path)
    for _ in range(3):
        merge.add([line(4, 0), line(4, 1)])
        merge.write({0, 1})
    assert len(written(tmp_path)) == 1
    again = Merge(tmp_path)  # the starter came back
    again.add([line(4, 0), line(4, 1), line(8, 0), line(8, 1)])
    again.write({0, 1})
    assert [found["round"] for found in written(tmp_path)] == [4, 8]


def test_an_interruption_within_a_write_repeats_nothing(tmp_path):
    """Ctrl-C comes after the line was written, and before that is known."""

    def interrupt(line):
        raise KeyboardInterrupt

    merge = Merge(tmp_path, on_line=interrupt)
    merge.add([line(4, 0)])
    with pytest.raises(KeyboardInterrupt):
        merge.write({0})
    merge.look_again()
    merge.add([line(4, 0)])
    merge.write({0})
    assert [found["round"] for found in written(tmp_path)] == [4]


def test_after_a_resume_lines_come_again(tmp_path):
    merge = Merge(tmp_path)
    for round in (0, 4, 8):
        merge.add([line(round, 0)])
    merge.write({0})
    before = (tmp_path / LINES).read_text().splitlines()
    merge.back_to(4)
    assert (tmp_path / LINES).read_text().splitlines() == before[:2]
    merge.add([line(8, 0, metric=0.7)])
    merge.write({0})
    assert written(tmp_path)[2]["agent_metric"]["mean"] == 0.7
    merge.back_to(-1)
    assert written(tmp_path) == []


def test_a_torn_last_line_goes(tmp_path):
    merge = Merge(tmp_path)
    merge.add([line(0, 0), line(4, 0)])
    merge.write({0})
    path = tmp_path / LINES
    path.write_text(path.read_text()[:-20])
    again = Merge(tmp_path)
    again.back_to(4)
    again.add([line(4, 0)])
    again.write({0})
    assert [found["round"] for found in written(tmp_path)] == [0, 4]


def test_models_in_one_place_are_measured(tmp_path):
    asked = []

    def models(round, agents):
        asked.append((round, agents))
        return 0.9, 0.25

    merge = Merge(tmp_path, models=models)
    merge.add([line(4, 0), line(4, 2)])
    merge.write({0, 2})
    (found,) = written(tmp_path)
    assert asked == [(4, {0, 2})]
    assert (found["mean_model_metric"], found["consensus_distance"]) == (0.9, 0.25)
    assert "consensus_distance" not in found["not_measured"]


@pytest.mark.parametrize("value", [10**400, 1e300, True, "1", [], None])
@pytest.mark.parametrize("key", ["bytes", "metric", "seconds", "messages", "test_loss"])
def test_figures_without_sense_are_left_out(tmp_path, key, value):
    merge = Merge(tmp_path)
    merge.add([{**line(4, 0), key: value}, line(4, 1)])
    merge.write({1})
    (found,) = written(tmp_path)
    assert found["agents"] == (2 if value is None and key in ("metric", "test_loss") else 1)


@FEW
@given(st.sampled_from(sorted(line(4, 0))), JSON)
def test_nonsense_of_one_agent_stops_nothing(tmp_path_factory, key, value):
    folder = tmp_path_factory.mktemp("merge")
    merge = Merge(folder)
    merge.add([{**line(4, 0), key: value}, line(4, 1)])
    merge.add([line(8, 0), line(8, 1)])
    merge.write({0, 1})
    merge.write({0, 1}, last=True)
    found = written(folder)
    assert found[-1]["round"] >= 8
    assert all("Infinity" not in json.dumps(one) and "NaN" not in json.dumps(one) for one in found)
