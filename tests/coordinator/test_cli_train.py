"""`edgekit train` and `edgekit agent` as they are typed: what they print, refuse in one line, and resume."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgekit import cli
from edgekit.broker.mosquitto import Listener, Mosquitto
from edgekit.broker.server import free_port
from edgekit.runs.single import read_lines
from edgekit.runs.study import load_study
from tests.coordinator.stage import assert_same, simulated

RUN = """\
title: room
algorithm: d-psgd
topology: ring
agents: 2
model: {mlp: {in_features: 64, width: 8, depth: 1}}
data: {digits: {partition: {shards: 2}, train_limit: 100, test_limit: 50}}
batch: 10
optimizer: {sgd: {lr: 0.1}}
rounds: 8
evaluate_every: 4
gradients: loop
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A machine that has joined no site, in a folder with a run file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGEKIT_SITE", str(tmp_path / "joined"))
    (tmp_path / "run.yaml").write_text(RUN)


def run(capsys, *words) -> tuple[int, str, str]:
    code = cli.main(list(map(str, words)))
    seen = capsys.readouterr()
    return code, seen.out, seen.err


def refused(capsys, *words, says: str, code: int = 2) -> None:
    """One line of what is wrong, after what was told before it."""
    found, out, err = run(capsys, *words)
    lines = [line for line in err.splitlines() if line.startswith("edgekit: ")]
    assert (found, out, len(lines)) == (code, "", 1), err
    assert says in lines[0], lines[0]
    assert err.splitlines()[-1] == lines[0]
    assert "Traceback" not in err


BAD = [
    ((), "it needs a run file. Write one with: edgekit init run"),
    (("none.yaml",), "there is no file 'none.yaml'"),
    (("run.yaml", "--local", "3"), "--local 3: the run has 2 agents. Give at most as many."),
    (("run.yaml", "--local", "-1"), "--local and --wait are 0 or more"),
    (("run.yaml", "--local", "many"), "invalid int value: 'many'"),
    (("run.yaml", "--wait", "-1"), "--local and --wait are 0 or more"),
    (("run.yaml", "--min-agents", "0"), "--min-agents 0: the run has 2 agents. Give 1 to 2."),
    (("run.yaml", "--min-agents", "3"), "--min-agents 3: the run has 2 agents. Give 1 to 2."),
    (("run.yaml", "--broker", "http://localhost"), "the scheme 'http' is unknown"),
    (("run.yaml", "--broker", "mqtt://localhost:x"), "the port is a number"),
    (("run.yaml", "--broker", "mqtt://10.0.0.5", "--local", "2"), "this is not encrypted"),
    (("run.yaml", "--broker", "mqtt://user:secret@10.0.0.5"), "and the password read"),
    (("run.yaml", "--set", "rounds=0"), "rounds: 0 is too small"),
    (("run.yaml", "--set", "algorithm=d-pgsd"), "Did you mean 'd-psgd'"),
    (("run.yaml", "--set", "optimiser=sgd"), "optimizer"),
    (("run.yaml", "--set", "membership=[{round: 2, leave: [1]}]"), "over a broker agents leave and join"),
    (("run.yaml", "--set", "tune={lr: [0.1]}"), "rates are tuned in the simulator"),
    (("run.yaml", "--credentials", "nowhere"), "nowhere"),
    (("run.yaml", "--fast"), "unrecognized arguments: --fast"),
    (("--stop", "room"), "--stop: give the --broker"),
]


@pytest.mark.parametrize(
    ("words", "says"), BAD, ids=lambda part: "-".join(part) if type(part) is tuple else ""
)
def test_what_train_cannot_do_is_one_line(capsys, words, says):
    refused(capsys, "train", *words, says=says)


def test_a_secret_is_not_repeated(capsys):
    _, _, err = run(capsys, "train", "run.yaml", "--broker", "mqtt://user:secret@10.0.0.5")
    assert "secret" not in err


AGENT = [
    ((), "no broker is known. Give --broker URL, or join a site"),
    (("--broker", "mqtt://10.0.0.5"), "this is not encrypted"),
    (("--broker", "ftp://localhost"), "the scheme 'ftp' is unknown"),
    (("--broker", "mqtt://localhost", "--id", "a b"), "--id: 'a b' cannot be an id"),
    (("--broker", "mqtt://localhost", "--config", "none.yaml"), "there is no file 'none.yaml'"),
    (("--broker", "mqtt://localhost", "--credentials", "nowhere"), "nowhere"),
    (("join",), "it takes 'join LINE'"),
    (("leave",), "it takes 'join LINE'"),
    (("join", "ek1:nonsense"), "edgekit: "),
    (("--brokers", "x"), "unrecognized arguments"),
]


@pytest.mark.parametrize(
    ("words", "says"), AGENT, ids=lambda part: "-".join(part) if type(part) is tuple else ""
)
def test_what_an_agent_cannot_do_is_one_line(capsys, words, says):
    refused(capsys, "agent", *words, says=says)


def test_a_mistake_in_its_file_is_one_line(capsys, tmp_path):
    (tmp_path / "agent.yaml").write_text("broker: mqtt://localhost\nthreads: 0\n")
    refused(capsys, "agent", "--config", "agent.yaml", says="agent.yaml:2: agent: threads: 0 is too few")


def test_no_broker_there(capsys):
    url = f"mqtt://127.0.0.1:{free_port('127.0.0.1')}"
    refused(capsys, "train", "run.yaml", "--broker", url, "--local", "2", "--out", "one", says=url)
    refused(capsys, "agent", "--broker", url, "--id", "cam-1", says=url)
    refused(capsys, "train", "--stop", "room", "--broker", url, says=url)


def test_a_wrong_password_and_none(capsys, tmp_path, mosquitto):
    users = Listener(users={"cam-1": "right"})
    with Mosquitto(users, folder=tmp_path / "broker") as broker:
        for login in ("", "cam-1:guess@"):
            url = broker.url.replace("mqtt://", f"mqtt://{login}")
            words = (
                "train",
                "run.yaml",
                "--broker",
                url,
                "--local",
                "2",
                "--out",
                tmp_path / f"o{len(login)}",
            )
            says = "password" if login else "the broker lets no one in without a name"
            refused(capsys, *words, says=says)
            refused(capsys, "agent", "--broker", url, "--id", "cam-1", says=says)
            assert "guess" not in run(capsys, *words)[2]


def test_too_few_agents_come(capsys, mosquitto):
    refused(
        capsys,
        *("train", "run.yaml", "--broker", mosquitto.url, "--wait", "0.5"),
        says="0 of 2 agents were ready after",
        code=1,
    )


def test_the_summary_as_json_and_a_finished_run_again(capsys, mosquitto, tmp_path):
    words = ("train", "run.yaml", "--broker", mosquitto.url, "--local", "2", "--out", "out", "--json")
    code, out, err = run(capsys, *words)
    assert code == 0, err
    summary = json.loads(out)
    assert summary["last"]["round"] == 8
    assert summary["last"]["agents"] == 2
    assert "output: out" in err.splitlines()
    before = (tmp_path / "out" / "run.jsonl").read_bytes()
    began = time.monotonic()
    code, again, err = run(capsys, *words, "--quiet")
    assert (code, err) == (0, "")
    assert time.monotonic() - began < 5
    assert json.loads(again)["last"] == summary["last"]
    assert (tmp_path / "out" / "run.jsonl").read_bytes() == before
    code, table, err = run(capsys, *words[:-1])
    assert code == 0
    assert "2 agents, 8 rounds" in table
    refused(capsys, *words, "--set", "rounds=12", says="out")  # another run's folder


def edgekit(*words) -> subprocess.Popen:
    """In a process group of its own, as a terminal has it: Ctrl-C reaches all of it."""
    command = [sys.executable, "-m", "edgekit", *map(str, words)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def until(holds, process: subprocess.Popen, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("broker", ["none", "mosquitto"])
def test_ctrl_c_keeps_snapshots_and_the_same_command_resumes(request, tmp_path, broker):
    words = ["train", "run.yaml", "--out", "out", "--set", "rounds=200", "--set", "codec=natural"]
    if broker == "mosquitto":
        words += ["--broker", request.getfixturevalue("mosquitto").url, "--local", "2"]
    out = tmp_path / "out"
    process = edgekit(*words)
    until(lambda: len(read_lines(out)) > 3, process)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=14)  # agents are told, not timed out: the broker must outlive them
    assert process.returncode == 130
    assert err.splitlines()[-1] == "edgekit: stopped; run the same command to resume"
    assert "Traceback" not in err
    kept = list(out.glob("agents/room-*/*/snapshot-*.safetensors"))
    assert len({path.parent for path in kept}) == 2
    before = read_lines(out)
    assert before[-1]["round"] < 200
    process = edgekit(*words)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "from the snapshots of round" in err
    study = load_study(tmp_path / "run.yaml", overrides=["rounds=200", "codec=natural"])
    found = read_lines(out)
    assert found[: len(before) - 2] == before[: len(before) - 2]
    assert_same(found, simulated(dict(study.cells[0].run.plain), tmp_path / "simulated", seed=0))
    for log in out.glob("agents/*/agent.log"):
        assert "Traceback" not in log.read_text()


def test_machines_take_part_in_a_run_that_is_offered(mosquitto, tmp_path):
    """Two agents with `--once`, and a starter that owns no agent."""
    machines = [
        edgekit("agent", "--broker", mosquitto.url, "--id", f"cam-{i}", "--out", f"kept-{i}", "--once")
        for i in range(2)
    ]
    starter = edgekit("train", "run.yaml", "--broker", mosquitto.url, "--out", "out")
    _, err = starter.communicate(timeout=120)
    assert starter.returncode == 0, err
    for index, machine in enumerate(machines):
        _, err = machine.communicate(timeout=60)
        assert machine.returncode == 0, err
        assert f"cam-{index}: takes part in room-0" in err
        assert list(Path(f"kept-{index}").glob("room-*/*/snapshot-8.json"))
    found = read_lines(tmp_path / "out")
    study = load_study(tmp_path / "run.yaml")
    assert_same(found, simulated(dict(study.cells[0].run.plain), tmp_path / "simulated", seed=0))
