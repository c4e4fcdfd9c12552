"""One agent in one run, from the first document to the last line, and every way in which it can end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgekit.coordinator import leading as leading_module
from edgekit.coordinator import session as module
from edgekit.coordinator import starter as starter_module
from edgekit.coordinator.device_file import DeviceFile
from edgekit.coordinator.errors import LostQuorum, Stopped
from edgekit.errors import BadInput
from edgekit.wire.document import Trust
from edgekit.wire.identity import Identity
from edgekit.wire.memory import MemoryTransport
from tests.coordinator.stage import VALUES, Stage, assert_same, simulated, spec_of

IDS = [f"cam-{number}" for number in range(4)]
LONG = {**VALUES, "rounds": 200}
pytestmark = pytest.mark.usefixtures("one_thread", "quick")


@pytest.fixture
def quick(monkeypatch):
    """What is waited for in a network need not be here."""
    monkeypatch.setattr(module, "CLAIM", 0.1)
    monkeypatch.setattr(leading_module, "SETTLE", 0.1)
    monkeypatch.setattr(starter_module, "LOST_FOR", 2.0)


def whole(stage: Stage) -> Stage:
    """All agents of the run."""
    stage.start()
    for number, me in enumerate(IDS):
        stage.join(me, number)
    return stage


def finished(stage: Stage) -> list[dict]:
    stage.play()
    stage.starter.close()
    assert set(stage.wait().values()) == {"done"}
    return stage.lines()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"algorithm": "gradient-tracking", "codec": "natural"},
        {"algorithm": "choco", "codec": {"error-feedback": "top-k"}},
        {"algorithm": "d-psgd", "initial": "different", "codec": "natural"},
        {"algorithm": "moshpit", "topology": "moshpit", "local_steps": 2},
        {"algorithm": "sgp", "topology": "one-peer-exponential"},
    ],
    ids=lambda changes: "-".join(["", *map(str, changes)]),
)
def test_a_run_is_the_simulators(tmp_path, changes):
    values = {**VALUES, **changes}
    found = finished(whole(Stage(tmp_path / "run", spec_of(values))))
    assert_same(found, simulated(values, tmp_path / "simulated"))


def test_public_copies_of_models_that_differ_are_sent_once_and_counted(tmp_path):
    """The simulator has them from the start."""
    values = {**VALUES, "algorithm": "choco", "initial": "different"}
    found = finished(whole(Stage(tmp_path / "run", spec_of(values))))
    wanted = simulated(values, tmp_path / "simulated")
    row = (64 * 8 + 8 + 8 * 10 + 10) * 4
    for line in wanted:
        line["bytes_sent"]["total"] += 8 * row  # four agents, two neighbours each
        line["messages_sent"] += 8
    assert_same(found, wanted)


def test_what_it_keeps(tmp_path):
    stage = whole(Stage(tmp_path, spec_of()))
    finished(stage)
    for number, me in enumerate(IDS):
        folder = tmp_path / "agents" / "demo" / me
        assert (folder / "number").read_text() == str(number)
        assert len((folder / "rounds.jsonl").read_text().splitlines()) == 12
        assert len((folder / "lines.jsonl").read_text().splitlines()) == 4
        assert sorted(path.name for path in folder.glob("*.json")) == ["snapshot-12.json", "snapshot-8.json"]


def test_without_shares_of_their_own_agents_take_what_is_free(tmp_path):
    stage = Stage(tmp_path / "run", spec_of())
    stage.start()
    for me in reversed(IDS):
        stage.join(me)
    assert_same(finished(stage), simulated(VALUES, tmp_path / "simulated"))
    assert [stage.sessions[me].one.number for me in IDS] == [0, 1, 2, 3]


def test_no_run_document(tmp_path):
    stage = Stage(tmp_path, None)
    stage.join("cam-0", 0, patience=0.3)
    error = stage.wait()["cam-0"]
    assert isinstance(error, BadInput)
    assert "no run document came within 0.3 s. Start the run with edgekit train" in str(error)


def test_no_roster(tmp_path):
    """The starter is gone, and no one else is there."""
    stage = Stage(tmp_path, spec_of(wait=0.5))
    starter = stage.start()
    stage.join("cam-0", 0, patience=0.5)
    error = stage.wait()["cam-0"]
    starter.access.transport.close()
    assert isinstance(error, LostQuorum)
    assert error.exit_code == 1
    assert "ready: cam-0" in str(error)


def test_the_starter_says_who_did_not_come(tmp_path):
    stage = Stage(tmp_path, spec_of(wait=0.5))
    stage.start()
    stage.join("cam-0", 0, patience=1.0)
    with pytest.raises(
        LostQuorum, match=r"1 of 4 agents were ready after .*\(cam-0\); at least 3 are needed"
    ):
        stage.play()
    stage.starter.close()
    stage.wait()


def test_enough_agents_begin_without_the_others(tmp_path):
    stage = Stage(tmp_path, spec_of(wait=0.5))
    stage.start()
    for number in (0, 1, 3):
        stage.join(IDS[number], number)
    found = finished(stage)
    assert {line["agents"] for line in found} == {3}
    assert "3 agents from round 0" in " ".join(stage.said)


def test_a_second_process_of_the_same_id_is_turned_away(tmp_path):
    stage = whole(Stage(tmp_path, spec_of(LONG)))
    stage.play(lambda: len(stage.lines()) > 1)
    stage.join("cam-1", 1, label="second")
    stage.play(lambda: "second" in stage.ended)
    error = stage.ended.pop("second")
    assert isinstance(error, BadInput)
    assert "id 'cam-1' is in use in run 'demo.1'. Give this agent an id of its own: --id NAME." in str(error)
    stage._threads.pop()
    finished(stage)


def test_what_fails_under_an_id_in_use_says_nothing_under_it(tmp_path):
    """The first of that id must not be taken for failed because a second cannot make its model."""
    stage = whole(Stage(tmp_path, spec_of(LONG)))
    stage.play(lambda: len(stage.lines()) > 1)

    def fail(spec, wish):
        raise BadInput("data: not here.")

    stage.join("cam-1", 1, label="second", make=fail)
    stage.play(lambda: "second" in stage.ended)
    assert "id 'cam-1' is in use" in str(stage.ended.pop("second"))
    stage._threads.pop()
    finished(stage)


def test_a_stranger_with_the_same_id_is_turned_away(tmp_path):
    """Another machine that was given the same id: it has another key."""
    stage = whole(Stage(tmp_path, spec_of(LONG)))
    stage.play(lambda: len(stage.lines()) > 1)
    access = replace(
        stage.access("cam-1"),
        transport=MemoryTransport(stage.hub, "cam-1"),
        identity=Identity.make("cam-1"),
        trust=Trust(stage.run),
    )
    stage.join("cam-1", 1, label="second", access=access)
    stage.play(lambda: "second" in stage.ended)
    assert "id 'cam-1' is in use" in str(stage.ended.pop("second"))
    stage._threads.pop()
    finished(stage)


def test_stopped_and_resumed_it_ends_with_the_same_bits(tmp_path):
    values = {**LONG, "codec": "natural", "algorithm": "choco"}
    stage = whole(Stage(tmp_path / "run", spec_of(values)))
    stage.play(lambda: len(stage.lines()) > 3)
    stage.starter.stop("enough")
    stage.starter.close()
    ended = stage.wait()
    assert all(isinstance(error, Stopped) and error.exit_code == 130 for error in ended.values())
    assert 12 <= len(stage.lines()) * 4 < 200
    again = whole(Stage(tmp_path / "run", spec_of(values), run="demo.2"))
    found = finished(again)
    assert "from the snapshots of round" in " ".join(again.said)
    assert_same(found, simulated(values, tmp_path / "simulated"))


def test_a_round_that_not_all_have_told_of_is_not_written_when_it_is_stopped(tmp_path):
    """They tell of it again when they go on."""
    stage = whole(Stage(tmp_path / "run", spec_of(LONG)))
    stage.play(lambda: len(stage.lines()) > 3)
    merge, last = stage.starter.merge, stage.lines()[-1]["round"]
    add = merge.add
    merge.add = lambda lines: add([line for line in lines if line["agent"] < 3 or line["round"] <= last])
    stage.play(lambda: stage.starter.members.lines["cam-0"][-1]["round"] > last + 8)
    stage.starter.stop("enough")
    stage.starter.close()
    stage.wait()
    assert {line["agents"] for line in stage.lines()} == {4}
    assert stage.lines()[-1]["round"] == last
    found = finished(whole(Stage(tmp_path / "run", spec_of(LONG), run="demo.2")))
    assert_same(found, simulated(LONG, tmp_path / "simulated"))


def test_a_finished_run_goes_on_as_finished(tmp_path):
    finished(whole(Stage(tmp_path / "run", spec_of())))
    again = whole(Stage(tmp_path / "run", spec_of(), run="demo.2"))
    assert_same(finished(again), simulated(VALUES, tmp_path / "simulated"))


def test_who_lost_its_snapshots_joins_the_others(tmp_path):
    stage = whole(Stage(tmp_path, spec_of(LONG)))
    stage.play(lambda: len(stage.lines()) > 3)
    stage.starter.stop("enough")
    stage.starter.close()
    stage.wait()
    for path in (tmp_path / "agents" / "demo" / "cam-2").glob("snapshot*"):
        path.unlink()
    again = whole(Stage(tmp_path, spec_of(LONG), run="demo.2"))
    found = finished(again)
    assert "joined: cam-2" in " ".join(again.said)
    assert found[-1]["round"] == 200
    assert found[-1]["agents"] == 4


def test_without_its_quorum_it_keeps_a_snapshot_and_ends(tmp_path, monkeypatch):
    """Two of four lose their links: the others are too few, and they themselves are alone."""
    monkeypatch.setattr(starter_module, "LOST_FOR", 60.0)
    stage = whole(Stage(tmp_path, spec_of({**LONG, "rounds": 100_000}, wait=0.6)))
    stage.play(lambda: len(stage.lines()) > 2)
    for me in IDS[2:]:
        stage.hub.cut(me)
    stage.play(lambda: len(stage.ended) == 4)
    for me, error in stage.ended.items():
        assert isinstance(error, LostQuorum), error
        assert error.exit_code == 1
        kept = stage.sessions[me].keeper
        assert f"Its snapshot of round {max(kept.snapshots())} is in {kept.folder}" in str(error)
        kept.load(max(kept.snapshots()))
    assert "2 of at least 3 agents were here for 0.6 s" in str(stage.ended["cam-0"])
    monkeypatch.setattr(starter_module, "LOST_FOR", 0.1)
    with pytest.raises(LostQuorum, match=r"has no live agent any more .*run the same command to resume"):
        stage.play()
    stage.starter.close()


def test_ended_within_a_round_it_keeps_the_snapshot_before(tmp_path):
    """What SIGTERM does: the state within a round is none to go on from."""
    stage = whole(Stage(tmp_path / "run", spec_of(LONG)))

    def end(*arguments):
        raise KeyboardInterrupt

    stage.play(lambda: len(stage.lines()) > 3)
    session = stage.sessions["cam-2"]
    session.engine.mail.receive = end
    stage.play(lambda: "cam-2" in stage.ended)
    assert isinstance(stage.ended["cam-2"], KeyboardInterrupt)
    assert all(number % 4 == 0 for number in session.keeper.snapshots())
    assert session.presence.status == "left"
    stage.starter.stop("enough")
    stage.starter.close()
    stage.wait()


def test_who_comes_too_late_is_told_that_it_is_over(tmp_path):
    stage = Stage(tmp_path, spec_of(wait=0.3))
    stage.start()
    for number in (0, 1, 2):
        stage.join(IDS[number], number)
    stage.play()
    late = stage.join("cam-3", 3)
    stage.play(lambda: "cam-3" in stage.ended)
    assert stage.ended["cam-3"] == "over"
    assert late.presence.status == "left"
    stage.starter.close()
    stage.wait()


def test_a_late_comer_joins_in_the_middle(tmp_path):
    stage = Stage(tmp_path, spec_of({**LONG, "rounds": 600}, wait=0.3))
    stage.start()
    for number in (0, 1, 2):
        stage.join(IDS[number], number)
    stage.play(lambda: len(stage.lines()) > 1)
    stage.join("cam-3", 3)
    found = finished(stage)
    assert found[0]["agents"] == 3
    assert found[-1]["agents"] == 4
    assert "joined: cam-3" in " ".join(stage.said)


def test_facts_that_the_owner_keeps_to_himself(tmp_path):
    values = {**VALUES, "topology": "d-cliques"}
    stage = Stage(tmp_path, spec_of(values))
    stage.start()
    stage.join("cam-0", device=DeviceFile(partition=0, share=()))
    error = stage.wait()["cam-0"]
    assert (
        "d-cliques needs the histograms of this agent's data, which agent.yaml does not let it tell"
        in str(error)
    )
    stage.play(lambda: "cam-0" in stage.starter.members.states)
    assert stage.starter.members.states["cam-0"].status == "failed"
    stage.starter.close()


def test_facts_make_the_topology(tmp_path):
    values = {**VALUES, "topology": "d-cliques", "data": {"digits": {"train_limit": 400, "test_limit": 50}}}
    found = finished(whole(Stage(tmp_path / "run", spec_of(values))))
    assert_same(found, simulated(values, tmp_path / "simulated"))


def test_a_torn_number_is_none(tmp_path):
    folder = tmp_path / "agents" / "demo" / "cam-0"
    folder.mkdir(parents=True)
    (folder / "number").write_text("")  # killed while it was written
    stage = Stage(tmp_path, spec_of())
    stage.start()
    for me in IDS:
        stage.join(me)
    finished(stage)
    assert (folder / "number").read_text() == "0"


def test_what_fails_here_is_told_to_the_others(tmp_path):
    def make(spec, number):
        raise BadInput("memory: there is none.")

    stage = Stage(tmp_path, spec_of())
    stage.start()
    stage.join("cam-0", 0, make=make)
    stage.play(lambda: "cam-0 failed: memory: there is none." in stage.said)
    stage.starter.close()
    assert isinstance(stage.wait()["cam-0"], BadInput)


def test_another_model_is_refused_by_name(tmp_path):
    """An agent whose model is another is refused by itself; one that says so all the same, by the starter."""
    spec = spec_of(wait=0.5)
    stage = Stage(tmp_path, spec)
    stage.start()
    session = stage.join("cam-0", 0, patience=1.0)
    stage.play(lambda: session.presence.status == "ready")
    session._schema ^= 1
    session.presence.tell("ready")
    with pytest.raises(BadInput, match=r"the model of cam-0 differs from the run document's"):
        stage.play()
    stage.starter.close()
    stage.wait()
