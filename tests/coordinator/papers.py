"""Documents as hypothesis draws them: whole ones, and JSON of any kind."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

from edgekit.coordinator.documents import STATUSES, Member, RosterDocument, Spec, State

FEW = settings(max_examples=60, deadline=None)
NAMES = [f"cam-{number}" for number in range(7)]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def specs(draw) -> Spec:
    """A run of 1 to 6 agents."""
    agents = draw(st.integers(1, 6))
    return Spec("run", {"rounds": 3}, 0, agents, draw(st.integers(1, agents)), 5.0, schema=7)


@st.composite
def states(draw) -> dict[str, State]:
    """How some agents are."""
    found = {}
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        found[name] = State(
            draw(st.sampled_from(sorted(STATUSES))),
            nonce=draw(st.integers(1, 3)),
            number=draw(st.none() | st.integers(0, 7)),
            snapshots=tuple(draw(st.lists(st.sampled_from([4, 8, 12]), unique=True, max_size=2))),
            schema=draw(st.sampled_from([7, 7, 7, 8])),
            facts={"histograms": [1.0, 2.0]},
        )
    return found


@st.composite
def rosters(draw, spec: Spec) -> RosterDocument:
    """One that the run can have, of any writer."""
    numbers = draw(
        st.lists(st.integers(0, spec.agents - 1), unique=True, min_size=1, max_size=spec.agents).map(sorted)
    )
    names = draw(st.permutations(NAMES))
    members = tuple(
        Member(number, name, draw(st.integers(1, 3))) for number, name in zip(numbers, names, strict=False)
    )
    return RosterDocument(draw(st.integers(8192, 10 * 8192)), draw(st.integers(0, 50)), members)
