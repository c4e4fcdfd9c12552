"""Who takes part: a pure function, whose rosters only ever grow in epoch and never lose what was trained."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edgekit.coordinator.convene import (
    STARTER,
    common_snapshot,
    first_roster,
    give_numbers,
    gone,
    leader,
    next_roster,
    next_writer,
    revived_roster,
    reviver,
)
from edgekit.coordinator.documents import WRITERS, Member, RosterDocument, Spec, State
from tests.coordinator.papers import FEW, NAMES, rosters, specs, states

SPEC = Spec("run", {}, 0, agents=4, min_agents=2, wait=5.0, schema=7)


def ready(number=None, *, nonce=1, snapshots=(), schema=7) -> State:
    return State("ready", nonce, number=number, snapshots=snapshots, schema=schema)


def training(number, nonce=1) -> State:
    return State("training", nonce, number=number, schema=7)


def roster(*names: str, epoch: int = WRITERS, from_round: int = 0) -> RosterDocument:
    members = tuple(Member(number, name, 1) for number, name in enumerate(names))
    return RosterDocument(epoch, from_round, members)


def is_sound(found: RosterDocument, spec: Spec) -> None:
    """What holds for every roster, whoever writes it."""
    numbers = [member.number for member in found.members]
    assert numbers == sorted(set(numbers))
    assert 0 < len(numbers) <= spec.agents
    assert max(numbers) < spec.agents
    assert len(set(found.ids)) == len(found.ids)
    assert any(not member.joined for member in found.members)  # somebody holds a model to go on from
    assert RosterDocument.of(found.body()) == found


# the first


@FEW
@given(specs(), states(), st.booleans())
def test_the_first_roster_has_all_who_are_ready(spec, states, waited):
    fit = {name for name, state in states.items() if state.status == "ready" and state.schema == spec.schema}
    found = first_roster(spec, states, waited=waited)
    if len(fit) < (spec.min_agents if waited else spec.agents):
        assert found is None
        return
    assert found is not None
    is_sound(found, spec)
    assert set(found.ids) <= fit
    assert len(found.ids) == min(len(fit), spec.agents)
    assert found.epoch == WRITERS + STARTER
    assert found.from_round == (found.resume or 0)
    for member in found.members:
        assert member.nonce == states[member.id].nonce
        assert member.joined == (found.resume is not None and found.resume not in states[member.id].snapshots)
    assert found == first_roster(spec, dict(reversed(states.items())), waited=waited)


def test_it_waits_for_all_and_then_for_enough():
    states = {name: ready() for name in NAMES[:3]}
    assert first_roster(SPEC, states, waited=False) is None
    assert first_roster(SPEC, states, waited=True).ids == ("cam-0", "cam-1", "cam-2")
    assert first_roster(SPEC, {"cam-0": ready()}, waited=True) is None


def test_who_has_another_model_is_not_taken_in():
    states = {"cam-0": ready(), "cam-1": ready(schema=8), "cam-2": ready()}
    assert first_roster(SPEC, states, waited=True).ids == ("cam-0", "cam-2")


def test_agents_get_the_numbers_that_they_had_or_wish():
    states = {"cam-0": ready(3), "cam-1": ready(3), "cam-2": ready(), "cam-3": ready(9)}
    numbers = {member.id: member.number for member in first_roster(SPEC, states, waited=False).members}
    assert numbers == {"cam-0": 3, "cam-1": 0, "cam-2": 1, "cam-3": 2}


def test_they_go_on_from_the_newest_snapshot_that_all_hold():
    """Stopped in the middle, one a round further than the others."""
    held = [(8, 9), (8, 9), (8, 9), (8, 10)]
    states = {f"cam-{number}": ready(number, snapshots=rounds) for number, rounds in enumerate(held)}
    found = first_roster(SPEC, states, waited=False)
    assert found.resume == 8
    assert not any(member.joined for member in found.members)


def test_where_none_is_held_by_all_who_lacks_it_joins():
    states = {
        "cam-0": ready(0, snapshots=(4, 8)),
        "cam-1": ready(1, snapshots=(8, 12)),
        "cam-2": ready(2, snapshots=(12,)),
        "cam-3": ready(3, snapshots=(8, 12)),
    }
    found = first_roster(SPEC, states, waited=False)
    assert (found.resume, found.from_round) == (12, 12)
    assert [member.joined for member in found.members] == [True, False, False, False]


@FEW
@given(st.lists(st.lists(st.integers(0, 5), max_size=3).map(tuple), max_size=6))
def test_a_common_snapshot_is_held_by_all_or_by_more_than_half(held):
    found = common_snapshot(held)
    holds = {round: sum(round in rounds for rounds in held) for round in range(6)}
    whole = [round for round, count in holds.items() if count == len(held) > 0]
    most = [round for round, count in holds.items() if 2 * count > len(held)]
    assert found == (max(whole or most) if most else None)


@FEW
@given(
    st.dictionaries(st.sampled_from(NAMES), st.none() | st.integers(0, 9)),
    st.integers(1, 8),
    st.dictionaries(st.sampled_from(["old-0", "old-1"]), st.integers(0, 0), max_size=1),
)
def test_numbers_are_unique_and_below_the_count(wishes, count, taken):
    given = give_numbers(wishes, count, taken)
    assert len(set(given.values())) == len(given) == min(count, len(taken) + len(wishes))
    assert set(given.values()) <= set(range(count))
    assert taken.items() <= given.items()
    wished = [wish for wish in wishes.values() if wish is not None]
    for name, wish in wishes.items():
        if wish is not None and wish < count and wished.count(wish) == 1 and wish not in taken.values():
            assert given[name] == wish


# the next


@FEW
@given(st.data(), specs(), st.integers(0, 5), st.integers(0, 60))
def test_the_next_roster(data, spec, writer, from_round):
    before, states_now = data.draw(rosters(spec)), data.draw(states())
    found = next_roster(spec, before, states_now, writer=writer, from_round=from_round)
    stays = {
        member.id: member
        for member in before.members
        if (state := states_now.get(member.id)) is not None
        and state.nonce == member.nonce
        and state.status in ("ready", "training", "waiting")
    }
    if not stays:  # all are behind: the first of them goes on, and the others join it
        head = next_writer(before, states_now)
        stays = {member.id: member for member in before.members if member.id == head}
    if found is None:
        return
    assert stays  # nobody may join where nobody stays
    is_sound(found, spec)
    assert found.epoch > before.epoch
    assert found.epoch % WRITERS == writer + 1
    assert found.from_round == from_round
    assert found.resume is None
    for member in found.members:
        assert member.nonce == states_now[member.id].nonce
        assert member.joined == (member.id not in stays)
        if member.id in stays:
            assert member.number == stays[member.id].number
    assert set(stays) <= set(found.ids)
    # the same again, from the same facts in another order
    other = next_roster(
        spec, before, dict(reversed(states_now.items())), writer=writer, from_round=from_round
    )
    assert other == found
    # and nothing more to do once those who joined are in
    settled = {
        name: replace(state, status="training") if found.member(name) else state
        for name, state in states_now.items()
    }
    assert next_roster(spec, found, settled, writer=writer, from_round=from_round) is None


def test_all_well_is_no_new_roster():
    before = roster("cam-0", "cam-1", "cam-2")
    states = {name: training(number) for number, name in enumerate(before.ids)}
    assert next_roster(SPEC, before, states, writer=0, from_round=9) is None
    states["cam-2"] = replace(states["cam-2"], status="done")
    assert next_roster(SPEC, before, states, writer=0, from_round=9) is None


def test_the_lost_are_left_out_and_others_keep_their_numbers():
    before = roster("cam-0", "cam-1", "cam-2")
    for status in ("lost", "left", "failed"):
        states = {"cam-0": training(0), "cam-1": State(status, 1), "cam-2": training(2)}
        found = next_roster(SPEC, before, states, writer=0, from_round=9)
        assert [(member.number, member.id) for member in found.members] == [(0, "cam-0"), (2, "cam-2")]


def test_who_comes_back_gets_its_number_again_and_joins():
    before = roster("cam-0", "cam-1", "cam-2")
    states = {"cam-0": training(0), "cam-1": ready(3, nonce=2), "cam-2": training(2)}
    found = next_roster(SPEC, before, states, writer=0, from_round=9)
    assert found.members[1] == Member(1, "cam-1", 2, joined=True)


def test_who_fell_behind_joins_again():
    before = roster("cam-0", "cam-1")
    states = {"cam-0": training(0), "cam-1": State("behind", 1, number=1)}
    found = next_roster(SPEC, before, states, writer=0, from_round=9)
    assert found.members == (Member(0, "cam-0", 1), Member(1, "cam-1", 1, joined=True))


def test_where_all_are_behind_the_first_goes_on_and_the_others_join_it():
    before = roster("cam-0", "cam-1", "cam-2")
    states = {"cam-0": State("lost", 1), **{name: State("behind", 1) for name in ("cam-1", "cam-2")}}
    assert (leader(before, states), next_writer(before, states)) == (None, "cam-1")
    found = next_roster(SPEC, before, states, writer=1, from_round=9)
    assert found.members == (Member(1, "cam-1", 1), Member(2, "cam-2", 1, joined=True))


def test_where_all_places_are_taken_nobody_is_let_in():
    before = roster(*NAMES[:4])
    states = {name: training(number) for number, name in enumerate(before.ids)}
    assert next_roster(SPEC, before, {**states, "cam-6": ready()}, writer=0, from_round=9) is None


def test_two_writers_never_take_the_same_epoch():
    before = roster("cam-0", "cam-1", "cam-2")
    states = {"cam-0": training(0), "cam-1": training(1)}
    epochs = {next_roster(SPEC, before, states, writer=w, from_round=9).epoch for w in range(3)}
    assert len(epochs) == 3


def test_facts_go_along_in_the_order_of_the_members():
    before = roster("cam-0", "cam-1", "cam-2")
    states = {
        name: replace(training(number), facts={"histograms": [float(number)]})
        for number, name in enumerate(before.ids)
        if name != "cam-1"
    }
    found = next_roster(SPEC, before, states, writer=0, from_round=9)
    assert found.facts == {"histograms": [[0.0], [2.0]]}


def test_facts_that_not_all_tell_alike_are_left_out():
    """Histograms of 2 and of 3 classes: the topology then says in a line that it lacks them."""
    states = {
        "cam-0": replace(ready(), facts={"histograms": [1.0, 2.0], "proxies": [1.0]}),
        "cam-1": replace(ready(), facts={"histograms": [1.0, 2.0, 3.0], "proxies": [2.0]}),
        "cam-2": replace(ready(), facts={"proxies": [3.0]}),
    }
    assert first_roster(SPEC, states, waited=True).facts == {"proxies": [[1.0], [2.0], [3.0]]}
    del states["cam-2"]
    assert first_roster(SPEC, states, waited=True).facts == {"proxies": [[1.0], [2.0]]}


# after all were lost


@FEW
@given(st.data(), specs(), st.booleans())
def test_the_revived_roster_has_only_who_is_back(data, spec, waited):
    before, states_now = data.draw(rosters(spec)), data.draw(states())
    fit = {n for n, state in states_now.items() if state.status == "ready" and state.schema == spec.schema}
    found = revived_roster(spec, before, states_now, writer=2, waited=waited)
    if len(fit) < (spec.min_agents if waited else max(spec.min_agents, len(before.members))):
        assert found is None
        return
    assert found is not None
    is_sound(found, spec)
    assert found.epoch > before.epoch
    assert found.epoch % WRITERS == 3
    assert set(found.ids) <= fit


@FEW
@given(st.data(), specs())
def test_one_alone_revives_and_only_where_none_stays(data, spec):
    before, states_now = data.draw(rosters(spec)), data.draw(states())
    found, head = reviver(spec, before, states_now), next_writer(before, states_now)
    assert found is None or head is None
    back = [n for n, state in states_now.items() if state.status == "ready" and state.schema == spec.schema]
    if head is None and back:
        assert found in back
        assert all((states_now[found].number or 0, found) <= (states_now[n].number or 0, n) for n in back)
    else:
        assert found is None


# who leads, who is gone


@FEW
@given(st.data(), specs())
def test_the_leader_is_the_lowest_number_that_is_there(data, spec):
    before, states_now = data.draw(rosters(spec)), data.draw(states())
    found = leader(before, states_now)
    there = [
        member
        for member in before.members
        if (state := states_now.get(member.id)) is not None
        and state.nonce == member.nonce
        and state.status in ("ready", "training", "waiting")
    ]
    assert found == (min(there, key=lambda member: member.number).id if there else None)
    lost = gone(before, states_now)
    assert set(lost) <= set(before.ids) - {member.id for member in there}


def test_another_process_of_the_same_id_is_not_the_member():
    before = roster("cam-0", "cam-1")
    states = {"cam-0": training(0, nonce=2), "cam-1": training(1)}
    assert leader(before, states) == "cam-1"
    assert gone(before, states) == ["cam-0"]
