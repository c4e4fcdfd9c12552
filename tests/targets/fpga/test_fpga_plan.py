"""The low-bit plan: precedence, JSON both ways, and what is refused in one line."""

from __future__ import annotations

import json

import pytest

from edgekit.errors import BadInput
from edgekit.quant.low_bit_plan import LowBitPlan


def test_later_rules_win():
    plan = LowBitPlan.from_json(
        {
            "weights": 2,
            "first": {"weights": 8},
            "last": {"weights": 6, "per_channel": True},
            "layers": {"b.*": {"weights": 3}, "b.1": {"activations": 1, "power_of_two": True}},
        }
    )
    assert plan.rule("a.0", first=True)["weights"] == 8
    assert plan.rule("a.1") == {"weights": 2, "activations": 4, "per_channel": False, "power_of_two": False}
    assert plan.rule("b.0", last=True) == {
        "weights": 3,
        "activations": 4,
        "per_channel": True,
        "power_of_two": False,
    }
    assert plan.rule("b.1", activations=7) == {
        "weights": 3,
        "activations": 1,
        "per_channel": False,
        "power_of_two": True,
    }
    assert plan.rule("c", activations=7)["activations"] == 7


def test_a_plan_is_plain_json_both_ways():
    plan = LowBitPlan(weights=1, layers={"x": {"weights": 2}})
    assert LowBitPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"weight": 2}, "'weight' is unknown. Did you mean 'weights'"),
        ({"weights": 9}, "plan: weights is 9; FINN takes 1"),
        ({"activations": 0}, "activations is 0"),
        ({"input": True}, "input is True"),
        ({"per_channel": 1}, "per_channel is 1. Write true or false"),
        ({"layers": {"a": {"weigths": 2}}}, "plan: layers: a: 'weigths' is unknown. Did you mean 'weights'"),
        ({"layers": {"a": {"weights": 2.0}}}, "plan: layers: a: weights is 2.0"),
        ({"layers": {"a": 2}}, "plan: layers: a is 2, not a mapping"),
        ({"first": 8}, "plan: first is 8, not a mapping"),
    ],
)
def test_what_cannot_be_is_one_line(value, message):
    with pytest.raises(BadInput) as caught:
        LowBitPlan.from_json(value)
    assert message in str(caught.value)


def test_a_glob_that_matches_nothing_is_answered_with_the_nearest():
    with pytest.raises(BadInput, match=r"'feature.0' matches no layer. Did you mean 'features.0'"):
        LowBitPlan(layers={"feature.0": {"weights": 2}}).check_globs(["features.0", "head"])
