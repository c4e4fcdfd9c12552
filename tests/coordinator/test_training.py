"""Whole runs over brokers, with agents as processes of their own: what the simulator says of them, they do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgekit.coordinator.training import Terms, Training
from edgekit.errors import BadInput
from edgekit.runs.single import read_lines
from edgekit.runs.study import parse_study
from tests.coordinator.stage import PATIENT, assert_same, simulated

RUN = """\
algorithm: d-psgd
topology: ring
agents: 3
model: {mlp: {in_features: 64, width: 8, depth: 1}}
data: {digits: {partition: {shards: 2}, train_limit: 150, test_limit: 50}}
batch: 10
optimizer: {sgd: {lr: 0.1}}
rounds: 12
evaluate_every: 4
gradients: loop
"""


def train(folder: Path, text: str, url: str | None, **terms) -> tuple[Training, list[str]]:
    said: list[str] = []
    given = {"local": 3, "wait": 60.0, "deadlines": PATIENT, **terms}
    return Training(parse_study(text), folder, Terms(url, **given), say=said.append), said


def test_a_study_over_mosquitto_is_the_simulators(mosquitto, tmp_path):
    """Two algorithms, each compared line by line."""
    text = RUN + "variants:\n  one: {}\n  two: {algorithm: gradient-tracking, observe: true}\n"
    made, said = train(tmp_path / "run", text, mosquitto.url)
    history = made.history()
    for cell in made.study.cells:
        found = read_lines(tmp_path / "run" / "runs" / cell.name / "seed-0")
        wanted = simulated(dict(cell.run.plain), tmp_path / cell.name, seed=0)
        assert_same(found, wanted)
        for one, other in zip(found, wanted, strict=True):
            if cell.name == "two":
                assert one["mean_model_metric"] == pytest.approx(other["mean_model_metric"], abs=1e-9)
                assert one["consensus_distance"] == pytest.approx(other["consensus_distance"], rel=1e-5)
            else:
                assert "observe: true" in one["not_measured"]["consensus_distance"]
    assert [cell["name"] for cell in history.summary["cells"]] == ["one", "two"]
    assert (tmp_path / "run" / "report.html").is_file()
    assert sum("3 agents from round 0" in line for line in said) == 2


def test_over_the_embedded_broker_that_it_starts_itself(tmp_path):
    pytest.importorskip("amqtt")
    made, said = train(tmp_path / "run", RUN, None)
    made.history()
    values = dict(made.study.cells[0].run.plain)
    assert_same(read_lines(tmp_path / "run"), simulated(values, tmp_path / "simulated", seed=0))
    assert "aMQTT" in next(line for line in said if line.startswith("broker:"))

    again, _ = train(tmp_path / "run", RUN, None)
    before = (tmp_path / "run" / "run.jsonl").read_bytes()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert again.history().summary["last"] == summary["last"]
    assert (tmp_path / "run" / "run.jsonl").read_bytes() == before
    assert again._broker is None  # it is done, so that no broker is needed


@pytest.mark.parametrize(
    ("more", "terms", "says"),
    [
        ("", {"local": 4}, "--local 4: the run has 3 agents. Give at most as many."),
        ("", {"min_agents": 0}, "--min-agents 0: the run has 3 agents. Give 1 to 3."),
        ("", {"min_agents": 4}, "--min-agents 4: the run has 3 agents. Give 1 to 3."),
        ("membership: [{round: 3, leave: [1]}]\n", {}, "run.yaml:11: over a broker agents leave and join"),
        ("initial_weights: /no/such.safetensors\n", {}, "/no/such.safetensors"),
    ],
)
def test_what_cannot_work_is_refused_before_any_agent_is_asked(tmp_path, more, terms, says):
    with pytest.raises(BadInput) as raised:
        train(tmp_path, RUN + more, "mqtt://127.0.0.1:1", **terms)[0].history()
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_rates_are_tuned_in_the_simulator(tmp_path):
    with pytest.raises(BadInput, match=r"tune: rates are tuned in the simulator. Run edgekit simulate"):
        train(tmp_path, RUN + "tune: {lr: [0.1, 0.01]}\n", None)


def test_agents_that_all_fail_say_why(mosquitto, tmp_path):
    """Something is in the way of their folders."""
    (tmp_path / "run" / "agents").mkdir(parents=True)
    made, _ = train(tmp_path / "run", RUN, mosquitto.url)
    name = made.journal.decide("run/0/run", lambda: {"name": "taken"})["name"]
    (tmp_path / "run" / "agents" / name).write_text("in the way")
    with pytest.raises(Exception, match=r"3 of 3 local agents failed|2 of 3 local agents failed") as raised:
        made.history()
    assert isinstance(raised.value, BadInput)
    assert "\n" not in str(raised.value)
