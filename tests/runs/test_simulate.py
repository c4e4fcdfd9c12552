"""The simulator end to end on real images: lines, summary, report, resume, refusals, tuning, membership."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import edgekit
from edgekit.errors import BadInput
from edgekit.folder_lock import locked
from edgekit.runs.assemble import assemble
from edgekit.runs.history import History
from edgekit.runs.overlay import latex, overlay, write_csv
from edgekit.runs.run_file import build_run
from edgekit.runs.single import SingleRun
from edgekit.yaml_lines import Document

RUN = """\
algorithm: d-psgd
topology: ring
agents: 4
model: {mlp: {width: 8, depth: 1}}
data: {fashion-mnist: {partition: {shards: 2}, train_limit: 400, test_limit: 100}}
batch: 10
optimizer: {sgd: {lr: 0.1}}
rounds: 12
evaluate_every: 4
"""


def write(folder: Path, text: str = RUN, name: str = "run.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def values(**changes):
    from edgekit.yaml_lines import read_yaml

    return {**read_yaml(RUN, source="run.yaml").value, **changes}


def made(folder: Path, seed: int = 0, **changes):
    plain = values(**changes)
    run = build_run(plain, Document("run.yaml", plain))
    way = "loop" if run.gradients == "auto" else run.gradients
    return SingleRun(assemble(run, seed, gradients=way), folder)


def lines_of(folder: Path) -> list[dict]:
    """Without wall time, which no two runs share."""
    read = [json.loads(line) for line in (folder / "run.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in read]


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    text = (
        RUN.replace("algorithm: d-psgd", "algorithm: [d-psgd, ngc]")
        + "seeds: 2\nclaim: b < a\nsource: us, 2026\n"
    )
    return edgekit.simulate(write(folder, text), out=folder / "out", jobs=2)


def test_a_line_has_the_fields_that_the_outside_sees(history):
    line = history.runs[0].lines[-1]
    assert set(line) >= {
        "round", "epoch", "agents", "metric_name", "agent_metric", "mean_model_metric", "local_metric",
        "train_loss", "test_loss", "lr", "gradient_evaluations", "consensus_distance", "bytes_sent", "seconds",
        "virtual_seconds",
    }  # fmt: skip
    assert [line["round"] for line in history.runs[0].lines] == [0, 4, 8, 12]
    assert (line["agents"], line["metric_name"], line["gradient_evaluations"]) == (4, "accuracy", 12.0)
    assert line["agent_metric"]["min"] <= line["agent_metric"]["mean"] <= line["agent_metric"]["max"]
    weights = 784 * 8 + 8 + 80 + 10
    assert line["bytes_sent"] == {
        "mean": 12 * 2 * 4 * weights,
        "max": 12 * 2 * 4 * weights,
        "total": 12 * 8 * 4 * weights,
    }
    assert line["virtual_seconds"] is None
    assert "links" in line["not_measured"]["virtual_seconds"]
    assert history.runs[0].lines[0]["consensus_distance"] == 0.0
    assert line["epoch"] == pytest.approx(12 / 10)


def test_the_summary_is_the_last_lines_with_mean_and_interval(history):
    summary = json.loads((history.folder / "summary.json").read_text())
    assert [cell["name"] for cell in summary["cells"]] == ["d-psgd", "ngc"]
    cell = summary["cells"][0]
    lasts = [run.lines[-1]["agent_metric"]["mean"] for run in history.runs if run.cell == "d-psgd"]
    assert cell["figures"]["agent_metric_mean"]["mean"] == pytest.approx(np.mean(lasts))
    half = 12.706 * np.std(lasts, ddof=1) / math.sqrt(2)
    low, high = cell["figures"]["agent_metric_mean"]["ci95"]
    assert (high - low) / 2 == pytest.approx(half, rel=1e-3)
    (gap,) = summary["differences"]
    others = [run.lines[-1]["agent_metric"]["mean"] for run in history.runs if run.cell == "ngc"]
    assert gap["agent_metric_mean"]["mean"] == pytest.approx(np.mean(np.subtract(lasts, others)))
    assert summary["last"]["round"] == 12
    assert summary["versions"]["torch"]
    rows = list(csv.DictReader((history.folder / "summary.csv").open()))
    assert [(row["cell"], row["seed"]) for row in rows] == [
        ("d-psgd", "0"),
        ("d-psgd", "1"),
        ("ngc", "0"),
        ("ngc", "1"),
    ]


def test_the_report_states_claim_source_and_figures(history):
    page = (history.folder / "report.html").read_text()
    for text in (
        "b &lt; a",
        "us, 2026",
        "lowest agent",
        "Labels over agents",
        "Who speaks with whom",
        "95 %",
    ):
        assert text in page
    assert page.count("<svg") >= 5
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_the_history_is_a_table_and_a_plot(history):
    rows = history.rows
    assert len(rows) == 4 * 4
    assert rows[-1]["agent_metric.mean"] == history.runs[-1].lines[-1]["agent_metric"]["mean"]
    figure = history.plot(x="bytes_sent.mean")
    assert [line.get_label() for line in figure.axes[0].get_lines()] == ["d-psgd", "ngc"]
    assert "d-psgd" in history._repr_html_()
    assert History.of(history.folder).summary == history.summary


def test_one_run_alone_lies_in_its_folder_and_a_finished_one_is_not_run_again(tmp_path):
    first = edgekit.simulate(write(tmp_path), out=tmp_path / "out")
    before = (tmp_path / "out" / "run.jsonl").read_text()
    assert [line["round"] for line in first.runs[0].lines] == [0, 4, 8, 12]
    edgekit.simulate(tmp_path / "run.yaml", out=tmp_path / "out")
    assert (tmp_path / "out" / "run.jsonl").read_text() == before


CASES = {
    "sync": {},
    "choco and error feedback": {"algorithm": {"deep-squeeze": {"gamma": 0.2}}, "codec": "natural"},
    "replicas": {"algorithm": {"choco": {"gamma": 0.2}}, "codec": {"top-k": 0.1}},
    "residuals": {"algorithm": "comp-ngc"},
    "momentum, links, absence": {
        "optimizer": {"sgd": {"lr": 0.05, "momentum": 0.9}},
        "links": {"bandwidth_mbps": 10, "seconds_per_gradient": 0.01, "speeds": [0.5, 1.0]},
        "absence": {"rate": 0.2, "loss": 0.1},
    },
    "asynchronous": {"algorithm": "ad-psgd", "links": {"latency_ms": 400, "seconds_per_gradient": 1.0}},
    "running statistics": {"model": {"gn_lenet": {"width": 2, "norm": "batch"}}},
    "members": {"membership": [{"round": 3, "leave": [1]}, {"round": 9, "join": [1]}]},
}


@pytest.mark.parametrize("name", CASES)
def test_a_killed_run_goes_on_with_the_same_bits(name, tmp_path, monkeypatch):
    monkeypatch.setattr("edgekit.runs.single.CHECKPOINT_SECONDS", 0.0)
    whole = made(tmp_path / "whole", **CASES[name])
    whole.finish()

    class KilledError(Exception):
        pass

    broken = made(tmp_path / "broken", **CASES[name])
    rounds = broken.engine.round

    def dies():
        if broken.engine.number == 10:
            raise KilledError
        return rounds()

    monkeypatch.setattr(broken.engine, "round", dies)
    with pytest.raises(KilledError):
        broken.finish()
    resumed = made(tmp_path / "broken", **CASES[name])
    resumed.finish()
    assert lines_of(tmp_path / "broken") == lines_of(tmp_path / "whole")
    assert torch.equal(resumed.engine.models, whole.engine.models)


def test_lines_after_the_checkpoint_are_computed_again(tmp_path, monkeypatch):
    monkeypatch.setattr("edgekit.runs.single.CHECKPOINT_SECONDS", 1e9)
    made(tmp_path / "whole").finish()
    broken = made(tmp_path / "broken")
    broken._write_line()  # killed before its first checkpoint
    made(tmp_path / "broken").finish()
    assert lines_of(tmp_path / "broken") == lines_of(tmp_path / "whole")


def test_a_kill_of_the_process_loses_nothing(tmp_path):
    text = RUN.replace("rounds: 12", "rounds: 3000").replace("evaluate_every: 4", "evaluate_every: 100")
    path = write(tmp_path, text)
    code = (
        "import sys, edgekit.runs.single as s; s.CHECKPOINT_SECONDS = 0.0\n"
        "from edgekit.runs.assemble import assemble\nfrom edgekit.runs.study import load_study\n"
        "from pathlib import Path\n"
        "if __name__ == '__main__':\n"
        "    import torch; torch.set_num_threads(1)\n"
        f"    run = load_study({str(path)!r}).cells[0].run\n"
        "    s.SingleRun(assemble(run, 0, gradients='loop'), Path(sys.argv[1])).finish()\n"
    )
    start = lambda folder: subprocess.Popen([sys.executable, "-c", code, str(folder)])  # noqa: E731
    killed = start(tmp_path / "killed")
    while not (tmp_path / "killed" / "checkpoint.json").exists():
        time.sleep(0.05)
        assert killed.poll() is None
    time.sleep(0.2)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert len(lines_of(tmp_path / "killed")) < 31
    for folder in ("killed", "whole"):
        assert start(tmp_path / folder).wait(timeout=300) == 0
    assert lines_of(tmp_path / "killed") == lines_of(tmp_path / "whole")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"topology": {"hypercube": {}}, "agents": 5}, r"hypercube.*4 or 8"),
        ({"batch": 200}, r"agent 0 has 100 samples, fewer than a batch of 200"),
        (
            {"algorithm": "choco", "topology": "one-peer-exponential"},
            r"choco keeps copies.*its graph must stay",
        ),
        ({"algorithm": "moshpit"}, r"moshpit averages within groups, and ring has none"),
        ({"algorithm": "d2", "optimizer": {"sgd": {"momentum": 0.9}}}, r"d2 is proved for plain gradients"),
        ({"algorithm": "gradient-tracking", "local_steps": 3}, r"local_steps must be 1"),
        (
            {"algorithm": "ngc", "model": {"gn_lenet": {"norm": "batch", "width": 2}}},
            r"ngc evaluates the neighbours'",
        ),
        (
            {"algorithm": "d-psgd", "topology": "exponential", "weights": "column-stochastic", "agents": 4},
            None,
        ),
        ({"topology": {"ring": {"both_ways": False}}, "algorithm": "d2"}, r"d2 needs a symmetric matrix"),
        (
            {"gradients": "stacked", "model": {"gn_lenet": {"width": 2}}},
            r"stacked does not work on this model",
        ),
        ({"weights": "metropolos"}, r"no rule 'metropolos'. Did you mean 'metropolis'"),
        ({"topology": {"custom": {"matrix": [[1, 0], [0, 1]]}}}, r"matrix is for 2 agents, but there are 4"),
        ({"agents": 2000}, r"samples|agents"),
        ({"model": "no_such"}, r"model: 'no_such' is unknown"),
        ({"metric": "acuracy"}, r"Did you mean 'accuracy'"),
    ],
)
def test_what_cannot_work_is_refused_before_the_start(tmp_path, changes, message):
    if message is None:
        made(tmp_path, **changes)
        return
    with pytest.raises(BadInput, match=message) as caught:
        made(tmp_path, **changes)
    assert "\n" not in str(caught.value)


def test_a_folder_is_written_by_one_process_at_a_time(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    held = locked(out, "the first")
    with pytest.raises(BadInput, match="another process is at this run"):
        edgekit.simulate(write(tmp_path), out=out, jobs=1)
    assert not list(out.glob("**/*.jsonl"))[1:]  # its journal apart, nothing was written
    held.close()
    assert edgekit.simulate(write(tmp_path), out=out, jobs=1).summary


def test_a_disconnected_graph_is_refused(tmp_path):
    edges = [[0, 1], [2, 3]]
    with pytest.raises(BadInput, match=r"not connected"):
        made(tmp_path, topology={"custom": {"edges": edges}})


def test_a_run_that_diverges_stops_with_one_line_and_keeps_what_it_has(tmp_path):
    text = RUN.replace("lr: 0.1", "lr: 1.0e+30")
    with pytest.raises(BadInput, match=r"seed 0: round \d+: the training loss is (nan|inf).*Lower lr"):
        edgekit.simulate(write(tmp_path, text), out=tmp_path / "out")
    assert len(lines_of(tmp_path / "out")) >= 1


def test_too_little_memory_is_said_with_the_number(tmp_path, monkeypatch):
    import psutil

    free = psutil.virtual_memory()._replace(available=1000)
    monkeypatch.setattr("psutil.virtual_memory", lambda: free)
    with pytest.raises(BadInput, match=r"memory: 1 run\(s\) at a time need \d.*MiB.*are free"):
        edgekit.simulate(write(tmp_path), out=tmp_path / "out")


def test_tuning_gives_every_cell_the_same_rates_and_keeps_the_best(tmp_path):
    text = (
        RUN.replace("algorithm: d-psgd", "algorithm: [d-psgd, all-reduce]")
        + "tune: {lr: [1.0e+30, 0.1, 0.0001], rounds: 8}\n"
    )
    history = edgekit.simulate(write(tmp_path, text), out=tmp_path / "out", jobs=2)
    decisions = json.loads((tmp_path / "out" / "decisions.json").read_text())
    for name in ("d-psgd", "all-reduce"):
        chosen = decisions[f"{name}/lr"]
        assert chosen["lr"] == 0.1
        assert chosen["validation"]["1e+30"] is None
        assert chosen["validation"]["0.1"] > chosen["validation"]["0.0001"]
    assert {run.lines[-1]["lr"] for run in history.runs} == {0.1}


def test_members_leave_and_join(tmp_path):
    single = made(tmp_path, membership=[{"round": 4, "leave": [0, 2]}, {"round": 8, "join": [2]}])
    single.finish()
    assert [line["agents"] for line in lines_of(tmp_path)] == [4, 4, 2, 3]
    late = made(tmp_path / "late", membership=[{"round": 4, "join": [3]}])
    late.finish()
    assert [line["agents"] for line in lines_of(tmp_path / "late")] == [3, 3, 4, 4]


def test_the_virtual_clock_is_in_the_lines(tmp_path):
    single = made(tmp_path, links={"bandwidth_mbps": 100, "latency_ms": 25, "seconds_per_gradient": 0.5})
    line = single.finish()
    size = 4 * (784 * 8 + 8 + 80 + 10)
    assert line["virtual_seconds"] == pytest.approx(12 * (0.5 + 0.05 + 2 * size * 8 / 100e6))


def test_running_statistics_are_mixed_or_left_alone(tmp_path):
    found = {}
    for policy in ("mix", "local"):
        single = made(
            tmp_path / policy, algorithm="all-reduce", topology="complete", buffers=policy,
            model={"gn_lenet": {"width": 2, "norm": "batch"}}, rounds=3,
        )  # fmt: skip
        single.finish()
        found[policy] = single.made.buffers
        assert single.made.warnings
        assert "BatchNorm" in single.made.warnings[0]
    assert (found["mix"] - found["mix"][0]).abs().max() < 1e-6
    assert (found["local"] - found["local"][0]).abs().max() > 1e-3


def test_overlays_pair_seeds_and_write_tables(history, tmp_path):
    other = edgekit.simulate(write(tmp_path, RUN + "seeds: 2\n", "sgd.yaml"), out=tmp_path / "plain", jobs=2)
    both = overlay([history, other])
    assert [cell["name"] for cell in both.summary["cells"]] == ["d-psgd", "ngc", "plain"]
    same = next(row for row in both.summary["differences"] if row["second"] == "plain")
    assert same["agent_metric_mean"]["mean"] == 0.0  # the same run under another name
    write_csv(both.summary["cells"], tmp_path / "all.csv")
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 7
    table = latex(both.summary["cells"], percent=True)
    assert r"\pm" in table
    assert table.count(r"\\") == 4


def test_a_part_of_the_agents_and_samples_is_evaluated(tmp_path):
    single = made(tmp_path, evaluate={"agents": 2, "samples": 50})
    chosen = single.made.evaluator.chosen(4)
    assert len(chosen) == 2
    assert len(single.made.evaluator.x) == 50
    assert single.finish()["agent_metric"] is not None


def test_regression_and_data_of_ones_own(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom edgekit import Data\n"
        "def load(seed=0):\n"
        "    g = torch.Generator().manual_seed(seed)\n"
        "    x = torch.randn(200, 3, generator=g); y = x @ torch.tensor([[1.0], [2.0], [-1.0]])\n"
        "    parts = [(x[i : i + 20], y[i : i + 20]) for i in range(0, 200, 20)]\n"
        "    return Data(train=parts[:8], validation=parts[8:])\n"
        "def net():\n    return torch.nn.Linear(3, 1)\n"
    )
    single = made(
        tmp_path / "out", data={f"{tmp_path}/mine.py:load": {}}, model=f"{tmp_path}/mine.py:net", rounds=60,
        evaluate_every=60,
    )  # fmt: skip
    line = single.finish()
    assert line["metric_name"] == "mean_squared_error"
    assert line["agent_metric"]["max"] < 1e-2
    assert line["local_metric"] is None
    assert line["not_measured"]["local_metric"]
