"""Split runs between real processes over Mosquitto: killed in mid-epoch, and what can be read on the broker."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import paho.mqtt.client as paho
import pytest
import torch

from edgekit.broker.mosquitto import Mosquitto
from edgekit.runs.split_file import parse_split
from edgekit.runs.split_run import SplitPart, SplitRun

pytestmark = pytest.mark.timeout(240)
RUN = """
title: split-chaos
model: {resnet8: {norm: group, width: 8}}
data: {fashion-mnist: {train_limit: 200, test_limit: 40}}
steps: 30
batch: 8
evaluate_every: 30
optimizer: {sgd: {lr: 0.05, momentum: 0.9}}
split: {cuts: [stages.0, stages.1], segments: [cam, edge, cam], inputs: cam, labels: cam}
"""
VANILLA = {
    "segments: [cam, edge, cam]": "segments: [cam, edge]",
    "[stages.0, stages.1]": "[stages.0]",
    "labels: cam}": "labels: cam, labels_leave: true}",
}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def start(folder: Path, url: str, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "edgekit", "split", str(folder / "run.yaml"), "--broker", url, *words]
    with open(folder / "said.txt", "ab") as said:
        return subprocess.Popen(command, stdout=said, stderr=said, cwd=folder)


def last(folder: Path) -> dict:
    return json.loads((folder / "run.jsonl").read_text().splitlines()[-1])


def ended(process: subprocess.Popen[bytes], folder: Path) -> None:
    assert process.wait(120) == 0, (folder / "said.txt").read_text()


@pytest.mark.parametrize("killed", ["edge", "cam"])
def test_a_server_killed_in_mid_epoch_goes_on_from_the_last_common_step(killed, tmp_path):
    (tmp_path / "run.yaml").write_text(RUN)
    alone = SplitRun(*parse_split(RUN), tmp_path / "alone").finish()["last"]
    with Mosquitto() as broker:
        running = {name: start(tmp_path, broker.url, "--as", name, "--out", name) for name in ("cam", "edge")}
        until = time.monotonic() + 120
        while not (tmp_path / killed / "snapshot-10.json").exists():
            assert time.monotonic() < until, (tmp_path / "said.txt").read_text()
            time.sleep(0.01)
        running[killed].send_signal(signal.SIGKILL)
        running[killed].wait()
        running[killed] = start(tmp_path, broker.url, "--as", killed, "--out", killed)
        for process in running.values():
            ended(process, tmp_path)
    found, said = last(tmp_path / "cam"), (tmp_path / "said.txt").read_text()
    assert "back to the newest step that all have kept" in said
    assert found["epoch"] == 2
    for name in ("step", "metric", "test_loss", "train_loss"):  # no step was lost, and none counted twice
        assert found[name] == alone[name], name


class Ear:
    """Everything that passes a broker."""

    def __init__(self, broker: Mosquitto) -> None:
        self.heard: list[bytes] = []
        ready = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe("#")
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.on_message = lambda client, data, message: self.heard.append(message.payload)
        self._client.connect("127.0.0.1", int(broker.url.rpartition(":")[2]))
        self._client.loop_start()
        assert ready.wait(10)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def has(self, needle: bytes) -> bool:
        return any(needle in payload for payload in self.heard)


def traffic(text: str, folder: Path) -> tuple[Ear, SplitPart]:
    """What was heard of a run, and the run as each agent has it."""
    folder.mkdir()
    (folder / "run.yaml").write_text(text)
    with Mosquitto() as broker:
        ear = Ear(broker)
        ended(start(folder, broker.url, "--out", "out", "--set", "steps=5"), folder)
        ear.close()
    return ear, SplitPart(parse_split(text, overrides=["steps=5"])[0])


def secrets_of(made: SplitPart) -> dict[str, list[bytes]]:
    """A row of each image, the labels of each batch, and rows of the head's first weights."""
    batches = [made._batches("cam")(0, step) for step in range(5)]
    rows = [x["x"][:, 0, 14, :].numpy() for inputs, _ in batches for x in inputs]
    head = made.split.network.model.fc.weight.detach().numpy()
    return {
        "inputs": [row.astype("<f4").tobytes() for batch in rows for row in batch if row.std() > 0],
        "labels": [y.numpy().astype("<i8").tobytes() for _, targets in batches for y in targets],
        "head": [row.astype("<f4").tobytes() for row in head],
    }


def test_u_shaped_no_input_label_or_head_is_on_any_topic(tmp_path):
    ear, made = traffic(RUN, tmp_path / "u")
    names = made.split.network.inputs
    assert names == ["x"] or tuple(names) == ("x",)
    needles = secrets_of(made)
    assert sum(map(len, ear.heard)) > 5 * 2 * 8 * 4 * np.prod((8, 28, 28)) / 4
    for what, known in needles.items():
        assert len(known) >= 5
        assert not any(ear.has(needle) for needle in known), what


def test_where_labels_may_leave_they_are_seen(tmp_path):
    text = RUN
    for old, new in VANILLA.items():
        text = text.replace(old, new)
    ear, made = traffic(text, tmp_path / "v")
    needles = secrets_of(made)
    assert all(ear.has(needle) for needle in needles["labels"])
    assert not any(ear.has(needle) for needle in needles["inputs"])
