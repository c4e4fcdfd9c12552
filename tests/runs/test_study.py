"""Run files: names to objects, sweeps and variants to cells, and one line for whatever does not fit."""

from __future__ import annotations

import pytest

from edgekit.codecs.error_feedback import ErrorFeedback
from edgekit.codecs.top_k import TopK
from edgekit.errors import BadInput
from edgekit.runs.draft import run_text
from edgekit.runs.run_file import to_yaml
from edgekit.runs.study import parse_study

BASE = """\
algorithm: d-psgd
topology: ring
model: mlp
data: fashion-mnist
"""


def study(text: str = "", *overrides: str):
    return parse_study(BASE + text, source="run.yaml", overrides=overrides)


def test_the_shortest_run_file_has_sensible_defaults():
    (cell,) = study().cells
    run = cell.run
    assert (cell.name, run.algorithm.name, run.topology.name, run.codec.name) == (
        "run",
        "d-psgd",
        "ring",
        "raw",
    )
    assert (run.agents, run.optimizer.name, type(run.partition).__name__) == (8, "sgd", "Iid")
    assert study().all_seeds == range(1)


def test_the_design_s_own_example_is_read():
    text = """\
algorithm: {ngc: {alpha: 1}}
topology: ring
agents: 10
codec: natural
model: mlp
data: {fashion-mnist: {partition: {sorted_fraction: 1.0}}}
batch: 32
optimizer: {sgd: {lr: 0.01, momentum: 0.9}}
rounds: 1500
evaluate_every: 50
seeds: 3
"""
    (cell,) = (made := parse_study(text)).cells
    assert cell.run.algorithm.alpha == 1.0
    assert cell.run.partition.fraction == 1.0
    assert cell.run.optimizer.momentum == 0.9
    assert list(made.all_seeds) == [0, 1, 2]


def test_shorthand_and_nested_codecs():
    assert study("codec: {top-k: 0.05}\n").cells[0].run.codec == TopK(ratio=0.05)
    nested = study("codec: {error-feedback: {top-k: {ratio: 0.05}}}\n").cells[0].run.codec
    assert nested == ErrorFeedback(TopK(ratio=0.05))
    long = study("codec: {error-feedback: {codec: {top-k: 0.05}}}\n").cells[0].run.codec
    assert long == nested


def test_lists_are_sweeps_and_lists_that_belong_are_not():
    made = study("rounds: [5, 10]\ncodec: [raw, natural]\nschedule: {milestones: [0.3, 0.6], decay: step}\n")
    assert [cell.name for cell in made.cells] == [
        "codec raw, rounds 5",
        "codec natural, rounds 5",
        "codec raw, rounds 10",
        "codec natural, rounds 10",
    ] or len(made.cells) == 4
    assert {(cell.run.rounds, cell.run.codec.name) for cell in made.cells} == {
        (5, "raw"), (10, "raw"), (5, "natural"), (10, "natural"),
    }  # fmt: skip
    assert made.cells[0].run.schedule.milestones == (0.3, 0.6)


def test_settings_of_named_things_are_swept_too():
    made = study("optimizer: {sgd: {lr: [0.1, 0.01]}}\nlinks: {speeds: [0.5, 1.0]}\n")
    assert [cell.run.optimizer.lr for cell in made.cells] == [0.1, 0.01]
    assert [cell.name for cell in made.cells] == ["lr 0.1", "lr 0.01"]
    text = BASE.replace(
        "data: fashion-mnist", "data: {fashion-mnist: {partition: {dirichlet: {alpha: [0.1, 1.0]}}}}"
    )
    assert [cell.run.partition.alpha for cell in parse_study(text).cells] == [0.1, 1.0]
    models = parse_study(BASE.replace("model: mlp", "model: {mlp: {width: [8, 16]}}")).cells
    assert [cell.run.model_options["width"] for cell in models] == [8, 16]


def test_variants_change_keys_and_combine_with_sweeps():
    made = study("rounds: [3, 4]\nvariants:\n  A: {algorithm: ngc}\n  B: {topology: complete, rounds: 7}\n")
    assert [
        (cell.name, cell.run.algorithm.name, cell.run.topology.name, cell.run.rounds) for cell in made.cells
    ] == [
        ("A, rounds 3", "ngc", "ring", 3),
        ("A, rounds 4", "ngc", "ring", 4),
        ("B", "d-psgd", "complete", 7),
    ]


def test_what_is_written_is_read_back():
    made = study("codec: {top-k: 0.05}\nseeds: 2\nvariants: {A: {agents: 4}}\n")
    again = parse_study(to_yaml(made.document.value))
    assert again.document.value == made.document.value
    assert again.cells[0].run == made.cells[0].run


def test_overrides():
    made = study("", "optimizer.sgd.lr=0.5", "agents=3", "topology=complete")
    assert (made.cells[0].run.optimizer.lr, made.cells[0].run.agents) == (0.5, 3)
    assert made.cells[0].run.topology.name == "complete"


def test_the_draft_runs_as_it_is(tmp_path):
    made = parse_study(run_text("mlp", "fashion-mnist", tmp_path / "run.yaml"))
    assert made.cells[0].run.partition.alpha == 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("algoritm: ngc\n", r"run.yaml:5: 'algoritm' is no part of a run file. Did you mean 'algorithm'"),
        ("codec: natral\n", r"run.yaml:5: codec: 'natral' is unknown. Did you mean 'natural'"),
        (
            "codec: {top-k: {ration: 0.1}}\n",
            r"run.yaml:5: codec.top-k has no setting 'ration'. Did you mean 'ratio'",
        ),
        ("codec: {top-k: 0}\n", r"run.yaml:5: .*ratio"),
        ("agents: 0\n", r"run.yaml:5: agents: 0 is too small"),
        ("agents: many\n", r"run.yaml:5: agents is 'many', but must be a whole number"),
        ("seeds: 0\n", r"run.yaml:5: seeds is 0. Give at least 1"),
        ("optimizer: {sgd: {lr: -1}}\n", r"run.yaml:5: .*lr is -1"),
        ("optimizer: {sgd: {}, adamw: {}}\n", r"run.yaml:5: optimizer is .* but must be one name"),
        ("optimizer: ring\n", r"run.yaml:5: optimizer: 'ring' is unknown"),
        ("links: {bandwidth_mbps: 0}\n", r"run.yaml:5: links: bandwidth_mbps is 0"),
        ("tune: {lr: 0.1}\n", r"run.yaml:5: tune is \{lr: \[rates\]"),
        ("variants: {A: {seeds: 3}}\n", r"run.yaml:5: a variant cannot change 'seeds'"),
        (
            "variants: {A: {topolgy: ring}}\n",
            r"run.yaml:5: a variant cannot change 'topolgy'. Did you mean 'topology'",
        ),
        ("variants: {}\n", r"run.yaml:5: variants is a mapping"),
        ("rounds: []\n", r"run.yaml:5: rounds is an empty list"),
        ("membership: {round: 3}\n", r"run.yaml:5: membership is a list"),
        ("membership: [{round: 3, leav: [1]}]\n", r"run.yaml:5: membership has no setting 'leav'"),
    ],
)
def test_what_does_not_fit_is_one_line_with_its_place(text, message):
    with pytest.raises(BadInput, match=message) as caught:
        study(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["algorithm", "topology", "model", "data"])
def test_what_is_needed_is_named(key):
    text = "".join(line for line in BASE.splitlines(keepends=True) if not line.startswith(key))
    with pytest.raises(BadInput, match=rf"the run names no {key}. Add a line such as '{key}:"):
        parse_study(text)


def test_an_algorithm_of_ones_own_must_be_one(tmp_path):
    (tmp_path / "mine.py").write_text("class Mine:\n    pass\n")
    text = BASE.replace("algorithm: d-psgd", f"algorithm: {tmp_path}/mine.py:Mine")
    with pytest.raises(BadInput, match=r"mine.py:Mine' is no algorithm. Derive a frozen dataclass from"):
        parse_study(text)
