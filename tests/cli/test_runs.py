"""The verbs of decentralized training: simulate, compare, data, algorithms, init run."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgekit.cli import main

RUN = """\
algorithm: [d-psgd, all-reduce]
topology: ring
agents: 3
model: {mlp: {width: 4, depth: 1}}
data: {fashion-mnist: {partition: {shards: 2}, train_limit: 90, test_limit: 30}}
batch: 10
rounds: 4
evaluate_every: 2
seeds: 2
"""


def run(capsys, *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    seen = capsys.readouterr()
    return code, seen.out, seen.err


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(RUN)
    return tmp_path / "run.yaml"


def test_simulate_prints_a_table_and_writes_a_folder(file, capsys, tmp_path):
    code, out, err = run(capsys, "simulate", "run.yaml", "--jobs", "1")
    assert code == 0
    for text in ("d-psgd", "all-reduce", "agents' mean", "minus", "report: runs/run-1/report.html"):
        assert text in out
    assert "memory:" in err
    folder = tmp_path / "runs" / "run-1"
    for name in ("run.yaml", "summary.json", "summary.csv", "report.html", "decisions.json", "journal.jsonl"):
        assert (folder / name).stat().st_size > 0
    code, out, _ = run(capsys, "simulate", "run.yaml", "--out", str(folder), "--json", "--quiet")
    assert code == 0
    assert json.loads(out)["cells"][0]["name"] == "d-psgd"


def test_another_run_file_s_folder_is_refused(file, capsys, tmp_path):
    assert run(capsys, "simulate", "run.yaml", "--out", "out", "--jobs", "1", "--quiet")[0] == 0
    code, _, err = run(capsys, "simulate", "run.yaml", "--set", "rounds=6", "--out", "out")
    assert code == 2
    assert "holds another run" in err
    assert "--force" in err
    assert err.count("\n") == 1


def test_compare_lays_runs_over_each_other(file, capsys, tmp_path):
    run(capsys, "simulate", "run.yaml", "--out", "one", "--jobs", "1", "--quiet")
    run(capsys, "simulate", "run.yaml", "--set", "codec=natural", "--out", "two", "--jobs", "1", "--quiet")
    words = ("compare", "one", "two", "--out", "page.html", "--csv", "all.csv", "--latex", "table.tex")
    code, out, _ = run(capsys, *words)
    assert code == 0
    assert "one: d-psgd" in out
    assert "minus" in out
    assert (tmp_path / "page.html").read_text().count("<svg") >= 3
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 9
    assert r"\toprule" in (tmp_path / "table.tex").read_text()


def test_data_show_and_create(file, capsys, tmp_path):
    code, out, _ = run(capsys, "data", "show", "run.yaml", "--plot", "labels.html")
    assert code == 0
    assert "T-shirt/top" in out
    assert "mean L1 distance" in out
    assert "<svg" in (tmp_path / "labels.html").read_text()
    code, out, _ = run(capsys, "data", "show", "run.yaml", "--json")
    seen = json.loads(out)
    assert sum(agent["samples"] for agent in seen["agents"]) == 90
    assert run(capsys, "data", "create", "run.yaml", "--out", "parts")[0] == 0
    parts = [np.load(tmp_path / "parts" / f"agent-{agent}.npz") for agent in range(3)]
    assert sum(len(part["train_y"]) for part in parts) == 90
    assert parts[0]["train_x"].dtype == np.uint8
    code, _, err = run(capsys, "data", "create", "run.yaml", "--out", "parts")
    assert (code, "is not empty" in err) == (2, True)
    code, _, err = run(capsys, "data", "show", "run.yaml", "--plot", "labels.pdf")
    assert (code, "neither HTML nor SVG" in err) == (2, True)


def test_a_share_read_back_is_the_share(file, capsys, tmp_path):
    """What `create` writes, read by data.yaml's options, is what the simulator trains on."""
    from edgekit.runs.arrays import load_arrays
    from edgekit.runs.shares import share_out
    from edgekit.runs.study import load_study
    from edgekit.yaml_lines import read_yaml

    run(capsys, "data", "create", "run.yaml", "--out", "parts")
    shared = share_out(load_study("run.yaml").cells[0].run, 0)
    options = read_yaml((tmp_path / "parts" / "data.yaml").read_text(), source="data.yaml").value["data"][
        "npz"
    ]
    for agent in range(3):
        own = load_arrays("npz", {**options, "root": str(tmp_path / "parts" / f"agent-{agent}.npz")})
        x, y = own.train.take(np.arange(len(own.train)))
        wanted_x, wanted_y = shared.arrays.train.take(shared.shares[agent])
        assert np.allclose(x, wanted_x, atol=1e-6)
        assert (y == wanted_y).all()
        assert np.allclose(own.test_x, shared.arrays.test_x, atol=1e-6)
        assert own.classes == shared.arrays.classes


def test_algorithms_say_what_they_need_and_cost(capsys):
    code, out, _ = run(capsys, "algorithms", "--json")
    assert code == 0
    found = {row["name"]: row for row in json.loads(out)}
    assert len(found) >= 22
    assert found["d2"]["needs"][0] == "symmetric W"
    assert any("-0.333" in need for need in found["d2"]["needs"])
    assert found["gradient-tracking"]["vectors"] == 2
    assert found["ngc"]["gradients"] == "1 + d"
    assert all(row["source"] for row in found.values())
    assert run(capsys, "algorithms")[0] == 0
    for verb in ("codecs", "partitions", "optimizers", "topologies"):
        code, out, _ = run(capsys, verb, "--json")
        assert (code, len(json.loads(out)) >= 4) == (0, True)


def test_init_writes_a_run_file_that_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "init", "run")[0] == 0
    changes = ("rounds=2", "seeds=1", "agents=2", "evaluate={samples: 20}", "batch=5")
    words = [word for change in changes for word in ("--set", change)]
    assert run(capsys, "simulate", "run.yaml", *words, "--jobs", "1", "--quiet")[0] == 0
    code, _, err = run(capsys, "init", "run")
    assert (code, "exists and is kept" in err) == (2, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["simulate", "absent.yaml"], "there is no file 'absent.yaml'"),
        (["simulate", "run.yaml", "--set", "algorithm=dpsgd"], "Did you mean 'd-psgd'"),
        (["simulate", "run.yaml", "--set", "batch=1000"], "fewer than a batch of 1000"),
        (["data", "create", "run.yaml"], "Give --out DIR"),
        (["compare", "absent"], "holds no report.json"),
        (["conformance", "no-such"], "is unknown"),
    ],
)
def test_a_typo_is_one_line(file, capsys, words, message):
    code, _, err = run(capsys, *words)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
