"""The systemd unit of an agent."""

from __future__ import annotations

import configparser
import getpass
import shlex
import sys

from edgekit import cli
from edgekit.coordinator.service import unit


def read(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


def test_it_runs_the_same_words_from_here(tmp_path):
    words = ["--broker", "mqtts://broker.local", "--config", "my agent.yaml"]
    service = read(unit(words, tmp_path))["Service"]
    assert shlex.split(service["ExecStart"]) == [sys.executable, "-m", "edgekit", "agent", *words]
    assert service["WorkingDirectory"] == str(tmp_path.resolve())
    assert service["User"] == getpass.getuser()
    assert service["Restart"] == "always"
    assert int(service["TimeoutStopSec"]) >= 60  # longer than a snapshot takes


def test_systemd_reads_percent_signs_of_its_own(tmp_path):
    service = read(unit(["--broker", "mqtt://u:50%25@localhost"], tmp_path))["Service"]
    assert "50%%25" in service["ExecStart"]


def test_the_verb_prints_it(capsys, monkeypatch):
    words = ["agent", "--broker", "mqtts://broker.local", "--id", "cam-3", "--print-service"]
    monkeypatch.setattr(sys, "argv", ["edgekit", *words])
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("# sudo cp THIS")
    command = shlex.split(read(printed)["Service"]["ExecStart"])
    assert command[3:] == ["agent", "--broker", "mqtts://broker.local", "--id", "cam-3"]
