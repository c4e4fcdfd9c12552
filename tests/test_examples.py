"""The guides say the truth: every bash block of every guide runs, in a copy of the examples folder."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from edgekit import demo

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
GUIDES = sorted(path.name for path in EXAMPLES.glob("*.md"))
SECONDS = {"train_on_the_edge.md": 240, "raspberry_pi.md": 60}  # 30 and 1 on an idle machine


def run_blocks(guide: str, folder: Path) -> None:
    """All bash blocks of a guide in one shell; what they leave running is ended."""
    blocks = re.findall(r"```bash\n(.*?)```", (EXAMPLES / guide).read_text(), re.DOTALL)
    assert blocks
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with open(folder / "out", "w+") as out:
        shell = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
            cwd=folder / "examples",
            env={**os.environ, "PATH": path},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = shell.wait(SECONDS.get(guide, 500))
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
    assert code == 0, (folder / "out").read_text()[-6000:]


@pytest.mark.parametrize("guide", GUIDES)
def test_every_command_of_a_guide_runs(guide, tmp_path):
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    run_blocks(guide, tmp_path)
    if guide == "train_on_the_edge.md":
        runs = tmp_path / "examples" / "on_the_edge" / "runs"
        agree(summary(runs / "simulated"), summary(runs / "real"))
        assert summary(runs / "observed")["last"]["mean_model_metric"] > 0.5


def agree(simulated: dict, real: dict) -> None:
    """Agents with shares written by `data create` give what the simulator gives, and send as much."""
    one, other = simulated["last"], real["last"]
    assert other["agents"] == one["agents"] == 2
    assert other["agent_metric"] == pytest.approx(one["agent_metric"], abs=0.005)
    assert other["bytes_sent"] == one["bytes_sent"]
    assert one["virtual_seconds"] > 0
    assert other["mean_model_metric"] is None


def summary(folder: Path) -> dict:
    """The summary of a run's folder."""
    found: dict = json.loads((folder / "summary.json").read_text())
    return found


def test_the_demonstration_ends_with_four_agents(tmp_path):
    said: list[str] = []
    history = demo.together(tmp_path, say=said.append, rounds=20)
    assert "between 4 agents" in said[0]
    assert history.summary["last"]["agents"] == 4
    text = demo.what_happened(history)
    assert text.startswith("4 agents, 20 rounds, 7.8 MiB sent by each: the lowest went from ")
    assert (tmp_path / "together" / "report.html").stat().st_size > 0
    assert not list((tmp_path / "together").rglob("*.tmp"))
    again = demo.together(tmp_path, say=said.append, rounds=20)
    assert again.rows == history.rows


def test_the_demonstration_splits_a_network(tmp_path):
    said: list[str] = []
    found = demo.divided(tmp_path, say=said.append, steps=3)
    assert found["last"]["step"] == 3
    assert set(found["last"]["agents"]) == {"camera", "edge"}
    assert {row["what"] for row in found["leaves"]} == {"value", "gradient"}
    assert demo.what_crossed(found).startswith("3 steps: accuracy ")
    assert demo.divided(tmp_path, say=said.append) == found
