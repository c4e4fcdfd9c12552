"""What an agent keeps: two whole snapshots, lines without those that come again, and nothing torn."""

from __future__ import annotations

import json
from contextlib import closing

import pytest
import torch

from edgekit.coordinator import keeper as module
from edgekit.coordinator.keeper import KEPT, LINES, ROUNDS, Keeper
from edgekit.coordinator.report import Report
from edgekit.decentralized.snapshot import Snapshot
from edgekit.errors import BadInput


@pytest.fixture
def keeper(tmp_path):
    with closing(Keeper(tmp_path / "run" / "cam-1")) as made:
        yield made


def snapshot(number: int) -> Snapshot:
    found = Snapshot()
    found.put("state", {"x": torch.full((1, 3), float(number)), "w": torch.ones(1, 1, dtype=torch.float64)})
    found.facts |= {"number": number, "ids": [0, 1]}
    return found


def test_a_snapshot_comes_back_as_it_was(keeper):
    keeper.save(snapshot(4), 4)
    found = keeper.load(4)
    assert found.facts == {"number": 4, "ids": [0, 1]}
    assert {name: value.tolist() for name, value in found.tensors.items()} == {
        "state/x": [[4.0, 4.0, 4.0]],
        "state/w": [[1.0]],
    }
    assert found.tensors["state/w"].dtype == torch.float64


def test_the_last_two_are_kept(keeper):
    for number in (4, 8, 12):
        keeper.save(snapshot(number), number)
    assert keeper.snapshots() == (8, 12)
    assert len(keeper.snapshots()) == KEPT
    names = sorted(path.name for path in keeper.folder.glob("snapshot*"))
    assert names == [
        f"snapshot-{number}{suffix}" for number in (12, 8) for suffix in (".json", ".safetensors")
    ]


def test_a_snapshot_without_its_facts_is_none(keeper):
    """The process was killed between the tensors and the facts."""
    keeper.save(snapshot(4), 4)
    keeper.save(snapshot(8), 8)
    (keeper.folder / "snapshot-8.json").unlink()
    (keeper.folder / "snapshot-12.tmp").write_bytes(b"half")
    assert keeper.snapshots() == (4,)


def test_torn_facts_are_one_line(keeper):
    keeper.save(snapshot(4), 4)
    (keeper.folder / "snapshot-4.json").write_text('{"number": 4')
    with pytest.raises(BadInput, match=r"snapshot-4.json: cannot be read.*Remove it"):
        keeper.load(4)


def test_torn_tensors_are_one_line(keeper):
    keeper.save(snapshot(4), 4)
    path = keeper.folder / "snapshot-4.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(BadInput, match=r"snapshot-4.safetensors"):
        keeper.load(4)


def test_a_full_disk_keeps_the_snapshot_before(keeper, monkeypatch):
    keeper.save(snapshot(4), 4)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(
        BadInput, match=r"No space left on device. Free space there; the snapshot before is kept"
    ):
        keeper.save(snapshot(8), 8)
    assert keeper.snapshots() == (4,)
    assert not list(keeper.folder.glob("*.tmp"))
    assert keeper.load(4).facts["number"] == 4


def test_lines_go_back_and_come_again(keeper):
    for number in range(12):
        keeper.round(Report(number, loss=0.5), epoch=8192)
    for number in (0, 4, 8, 12):
        keeper.line({"round": number, "metric": number / 10})
    keeper.back_to(8)
    assert [line["round"] for line in keeper.lines()] == [0, 4, 8]
    assert rounds(keeper) == list(range(8))
    keeper.round(Report(8), epoch=9000)
    keeper.line({"round": 12, "metric": 0.9})
    assert rounds(keeper) == list(range(9))
    assert [line["round"] for line in keeper.lines()] == [0, 4, 8, 12]


def rounds(keeper: Keeper) -> list[int]:
    return [json.loads(line)["round"] for line in (keeper.folder / ROUNDS).read_text().splitlines()]


def test_going_back_in_an_empty_folder_is_nothing(keeper):
    keeper.back_to(0)
    assert keeper.lines() == []
    assert keeper.snapshots() == ()


def test_a_torn_line_ends_the_lines(keeper):
    for number in (0, 4):
        keeper.line({"round": number})
    with (keeper.folder / LINES).open("a") as file:
        file.write('{"round": 8, "met')
    assert [line["round"] for line in keeper.lines()] == [0, 4]
    keeper.back_to(4)
    keeper.line({"round": 8})
    assert [line["round"] for line in keeper.lines()] == [0, 4, 8]


def test_a_round_says_what_happened(keeper):
    report = Report(3, loss=1.5, neighbours=["a", "b"], mixed=["a"], missed=["b"], late=1, asked=2)
    report.seconds, report.waited, report.deadline = 0.123456789, 0.1, None
    keeper.round(report, epoch=8192, dropped={"duplicate": 1})
    line = json.loads((keeper.folder / ROUNDS).read_text())
    assert line["missed"] == ["b"]
    assert line["seconds"] == 0.123457
    assert line["deadline"] is None
    assert line["dropped"] == {"duplicate": 1}


def test_one_process_at_a_time_is_an_agent(keeper, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    with pytest.raises(BadInput, match="another process is this agent"):
        Keeper(keeper.folder)
    keeper.close()
    Keeper(keeper.folder).close()
