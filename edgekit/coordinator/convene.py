"""Who takes part from now on: a pure function of what the agents say, the same for whoever writes the roster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from edgekit.coordinator.documents import GONE, WRITERS, Member, RosterDocument, Spec, State

STARTER = 0  # who writes the first roster; an agent's number among writers is its own + 1
States = Mapping[str, State]


def first_roster(spec: Spec, states: States, *, waited: bool) -> RosterDocument | None:
    """The first roster, when `agents` are ready, or `min_agents` after the wait; None where there are too few.

    All go on from the newest snapshot that all of them hold, or else most; who lacks it joins.
    """
    ready = {name: state for name, state in states.items() if _ready(state, spec)}
    needed = spec.min_agents if waited else spec.agents
    if len(ready) < needed:
        return None
    numbers = give_numbers({name: state.number for name, state in ready.items()}, spec.agents, {})
    resume = common_snapshot([ready[name].snapshots for name in numbers])
    members = tuple(
        Member(
            number,
            name,
            ready[name].nonce,
            joined=resume is not None and resume not in ready[name].snapshots,
        )
        for name, number in sorted(numbers.items(), key=lambda item: item[1])
    )
    return RosterDocument(WRITERS + STARTER, resume or 0, members, resume, _facts(members, states))


def next_roster(
    spec: Spec, roster: RosterDocument, states: States, *, writer: int, from_round: int
) -> RosterDocument | None:
    """The roster after this one, where some were lost, came back, fell behind or are new; None where all is well."""
    staying = {
        member.id: member.number
        for member in roster.members
        if member.id in states and _stays(states[member.id], member)
    }
    if not staying and (first := next_writer(roster, states)) is not None:  # all are behind: one goes on
        staying = {member.id: member.number for member in roster.members if member.id == first}
    coming = {
        name: state.number
        for name, state in states.items()
        if name not in staying and (_ready(state, spec) or state.status == "behind")
    }
    before = {member.id: member.number for member in roster.members}
    wishes = {name: before.get(name, wish) for name, wish in coming.items()}
    numbers = give_numbers(wishes, spec.agents, staying)
    taken_in = [name for name in coming if name in numbers]
    lost = [member for member in roster.members if member.id not in staying and not _done(states, member)]
    if not staying or not (taken_in or lost):  # without anyone staying, nobody holds a model to go on from
        return None
    members = tuple(
        Member(number, name, states[name].nonce, joined=name in coming)
        for name, number in sorted(numbers.items(), key=lambda item: item[1])
    )
    return RosterDocument(_next_epoch(roster, writer), from_round, members, None, _facts(members, states))


def revived_roster(
    spec: Spec, roster: RosterDocument, states: States, *, writer: int, waited: bool
) -> RosterDocument | None:
    """The roster after all members were lost at once: those that are back go on from their snapshots.

    Before the wait is over, all must be back; after it, `min_agents`.
    """
    ready = [name for name, state in states.items() if _ready(state, spec)]
    if len(ready) < (spec.min_agents if waited else len(roster.members)):
        return None
    found = first_roster(spec, states, waited=True)
    return None if found is None else replace(found, epoch=_next_epoch(roster, writer))


def reviver(spec: Spec, roster: RosterDocument, states: States) -> str | None:
    """Who writes the roster when all members were lost: the one with the lowest number, then id, that is back."""
    if next_writer(roster, states) is not None:
        return None
    back = [(state.number or 0, name) for name, state in states.items() if _ready(state, spec)]
    return min(back)[1] if back else None


def leader(roster: RosterDocument, states: States) -> str | None:
    """The member with the lowest number that is there and training."""
    return _first(roster, states, _stays)


def next_writer(roster: RosterDocument, states: States) -> str | None:
    """Who writes the next roster: the leader, or where all are behind the first of these; None where all are lost."""
    return leader(roster, states) or _first(roster, states, _is_behind)


def gone(roster: RosterDocument, states: States) -> list[str]:
    """Members that are lost, left or failed, or whose process is another one now."""
    return [
        member.id
        for member in roster.members
        if (state := states.get(member.id)) is None or state.status in GONE or state.nonce != member.nonce
    ]


def give_numbers(wishes: Mapping[str, int | None], count: int, taken: Mapping[str, int]) -> dict[str, int]:
    """A number below `count` for as many as there are: the one that each wishes where it is free, else the lowest."""
    given, used = dict(taken), set(taken.values())
    for name, wish in sorted(wishes.items()):
        if wish is not None and wish < count and wish not in used:
            given[name] = wish
            used.add(wish)
    free = (number for number in range(count) if number not in used)
    for name in sorted(wishes):
        if name not in given and (number := next(free, None)) is not None:
            given[name] = number
    return given


def common_snapshot(held: Iterable[tuple[int, ...]]) -> int | None:
    """The newest round of which all hold a snapshot, so that the run goes on with its bits; else more than half."""
    all_held = list(held)
    counts = Counter(round for rounds in all_held for round in set(rounds))
    for enough in (len(all_held), len(all_held) // 2 + 1):
        found = [round for round, count in counts.items() if count >= enough]
        if found:
            return max(found)
    return None


def _next_epoch(roster: RosterDocument, writer: int) -> int:
    """Above all epochs so far, and not what another writer would take."""
    return (roster.epoch // WRITERS + 1) * WRITERS + writer + 1


def _first(roster: RosterDocument, states: States, there: Callable[[State, Member], bool]) -> str | None:
    for member in roster.members:
        state = states.get(member.id)
        if state is not None and there(state, member):
            return member.id
    return None


def _ready(state: State, spec: Spec) -> bool:
    return state.status == "ready" and state.schema == spec.schema


def _stays(state: State, member: Member) -> bool:
    """In the process that was let in; not yet in (ready) counts, as the roster may be on its way to it."""
    return state.nonce == member.nonce and state.status in ("ready", "training", "waiting")


def _is_behind(state: State, member: Member) -> bool:
    return state.nonce == member.nonce and state.status == "behind"


def _done(states: States, member: Member) -> bool:
    """A member that finished has sent all that the others wait for."""
    state = states.get(member.id)
    return state is not None and state.nonce == member.nonce and state.status == "done"


def _facts(members: tuple[Member, ...], states: States) -> dict[str, list[list[float]]]:
    """What all of them tell, each as many numbers as the others; a topology that needs more says so."""
    names = set.intersection(*(set(states[member.id].facts) for member in members))
    told = {name: [states[member.id].facts[name] for member in members] for name in sorted(names)}
    return {name: rows for name, rows in told.items() if len({len(row) for row in rows}) == 1}
