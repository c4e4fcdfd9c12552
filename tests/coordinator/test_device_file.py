"""agent.yaml: every mistake is one line that names FILE:LINE, the value and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.coordinator.device_file import DeviceFile, Limits, read_device_file
from edgekit.errors import BadInput

WHOLE = """\
id: cam-3
broker: mqtts://broker.local
data: ./own.npz
device: cpu
threads: 2
limits: {memory_gb: 1.5}
credentials: ./site
allow: [lab.models, ./nets]
share: [proxies]
out: ./kept
"""


def read(folder: Path, text: str) -> DeviceFile:
    path = folder / "agent.yaml"
    path.write_text(text)
    return read_device_file(path)


def test_a_whole_file(tmp_path):
    found = read(tmp_path, WHOLE)
    assert found == DeviceFile(
        id="cam-3",
        broker="mqtts://broker.local",
        data=str(tmp_path / "own.npz"),
        device="cpu",
        threads=2,
        limits=Limits(memory_gb=1.5),
        credentials=str(tmp_path / "site"),
        allow=("lab.models", str(tmp_path / "nets")),
        share=("proxies",),
        out=str(tmp_path / "kept"),
    )


def test_an_empty_file_is_a_machine_like_any_other(tmp_path):
    assert read(tmp_path, "") == read(tmp_path, "# nothing yet\n") == DeviceFile()


def test_data_may_have_settings(tmp_path):
    (tmp_path / "own").mkdir()
    found = read(tmp_path, "data: {image-folder: {root: own}}\npartition: 0\n")
    assert found.data == {"image-folder": {"root": str(tmp_path / "own")}}
    assert found.partition == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("id: a b", "'a b' cannot be an id"),
        ("id: ''", "cannot be an id"),
        ("id: 3", "must be text or null"),
        ("broker: [x]", "must be text or null"),
        ("threads: 0", "threads: 0 is too few"),
        ("threads: 1.5", "must be a whole number"),
        ("threads: many", "must be a whole number"),
        ("partition: -1", "partition: -1 is no share"),
        ("partition: one", "must be a whole number"),
        ("device: gpu", "auto, cpu, cuda"),
        ("limits: {memory_gb: 0}", "memory_gb is 0"),
        ("limits: {memory_gb: -1}", "memory_gb is -1"),
        ("limits: {power_watts: 0}", "power_watts is 0"),
        ("limits: {memory: 2}", "no setting 'memory'. Did you mean 'memory_gb'"),
        ("limits: 2", "must be a mapping"),
        ("allow: lab.models", "must be a list"),
        ("allow: [1]", "must be text"),
        ("share: [labels]", "'labels' is unknown. Known: histograms, proxies"),
        ("treads: 2", "no setting 'treads'. Did you mean 'threads'"),
        ("- a list", "must be a mapping"),
        ("just text", "must be a mapping"),
        ("id: [unclosed", "agent.yaml:"),
        ("id: a\nid: b", "agent.yaml:"),
        ("\tid: a", "agent.yaml:"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, text, says):
    with pytest.raises(BadInput) as raised:
        read(tmp_path, text)
    line = str(raised.value)
    assert says in line
    assert line.startswith(str(tmp_path / "agent.yaml"))
    assert "\n" not in line
    assert "Traceback" not in line


def test_no_file_says_how_to_write_one(tmp_path):
    for path in (tmp_path / "agent.yaml", tmp_path):
        with pytest.raises(BadInput, match=r"there is no file .*Write one with a line such as: data:"):
            read_device_file(path)


def test_a_file_that_is_no_text_is_one_line(tmp_path):
    (tmp_path / "agent.yaml").write_bytes(b"id: \xff\xfe\x00")
    with pytest.raises(BadInput, match=r"agent.yaml"):
        read_device_file(tmp_path / "agent.yaml")
