"""Push-sum keeps its mass, public copies stay equal and meetings stay fair through lost frames and a kill."""

from __future__ import annotations

import pytest

from edgekit.wire.faults import Faults
from tests.chaos.outcome import BOUND

pytestmark = pytest.mark.timeout(150)
BAD = Faults(drop=0.03, duplicate=0.05, reorder=0.05, corrupt=0.01, delay=0.01)
SETTINGS = {
    "push-sum": {"algorithm": "sgp", "topology": "exponential", "rounds": 200},
    "public copies": {
        "algorithm": {"choco": {"gamma": 0.3}},
        "codec": {"top-k": {"ratio": 0.1}},
        "rounds": 200,
    },
    "meetings": {"algorithm": "ad-psgd", "rounds": 300},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_bad_links_and_a_kill_leave_what_is_learnt(stage, name):
    with stage(SETTINGS[name], faults=BAD).playing() as scene:
        scene.until_round(50)
        victim = scene.names[1]
        scene.kill(victim)
        outcome = scene.finish()
    outcome.assert_held(bound=0.1 if name == "meetings" else BOUND)  # what is met over a link is older
    outcome.assert_said(f"{victim} was killed")
    outcome.assert_counted("asked", least=10)
    outcome.assert_dropped("wrong checksum")
