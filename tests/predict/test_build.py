"""Building: real kernels here, a kill in the middle, what is finished stays; the plan asks what is unsure."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from edgekit.cli import main
from edgekit.errors import BadInput
from edgekit.predict import build as builds
from edgekit.predict.bench import REFERENCE, Bench, Sample, open_bench
from edgekit.predict.build import build
from edgekit.predict.plan import FEW, Plan
from edgekit.predict.probes import probe
from edgekit.predict.table import Table, load_table
from edgekit.target import find_board, find_target
from tests.predict.test_kernel import exported, kernels_of, network
from tests.predict.test_table import addition, dense, true_time

BOARD = find_board("this-machine")


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """One small probe: a build ends when it has measured its kernels, in seconds, however busy the machine."""
    monkeypatch.setattr(builds, "probe", lambda seed: network())
    monkeypatch.setattr(builds, "SAVE_EVERY", 0.0)


@pytest.fixture(scope="module")
def bench():
    with open_bench(find_target("cpu")) as made:
        yield made


def test_the_reference_takes_one_reference(bench):
    """In a session of its own, so within what two sessions of one model differ by."""
    assert bench.kernel(REFERENCE, length=1e-3).time + bench.idle == pytest.approx(1.0, rel=0.3)


def test_eight_times_the_work_takes_several_times_as_long(bench):
    small, large = (bench.kernel(dense(channels), length=1e-3).time for channels in (32, 128))
    assert 5 < large / small < 40


def test_a_network_is_about_the_sum_of_its_kernels(bench, tmp_path):
    kernels = kernels_of(network(), tmp_path)
    total = bench.idle + sum(bench.kernel(kernel, length=3e-4).time for kernel in kernels)
    feeds = {"input": np.zeros((1, 3, 24, 24), np.float32)}
    assert bench.file(tmp_path / "model.onnx", feeds) == pytest.approx(total, rel=0.4)


def test_measured_again_a_sample_is_never_slower(bench):
    slow = replace(bench.kernel(dense(16), length=2e-4), time=9.0)
    fast = replace(slow, time=1e-5)
    assert bench.again(slow).time < 1.0
    assert bench.again(fast) == fast


class Killed(Exception):
    """A kill."""


def test_a_killed_build_goes_on_where_it_was(tmp_path, monkeypatch):
    path, kernel = tmp_path / "table.json", Bench.kernel
    left = iter(range(6))

    def measure(*words, **named):
        if next(left, None) is None:
            raise Killed
        return kernel(*words, **named)

    monkeypatch.setattr(Bench, "kernel", measure)
    with pytest.raises(Killed):
        build(path, BOARD, minutes=9, probes=1, networks=2)
    half = load_table(path)
    assert (len(half.samples), half.facts["finished"]) == (6, False)
    monkeypatch.setattr(Bench, "kernel", kernel)
    whole = build(path, BOARD, minutes=9, probes=1, networks=2)
    assert whole.samples[:6] == half.samples
    assert len(whole.samples) > 6
    assert len({sample.kernel for sample in whole.samples}) == len(whole.samples)
    assert whole.facts["finished"]
    assert whole.facts["spent_seconds"] > half.facts["spent_seconds"]
    assert len(whole.networks) == 4
    assert load_table(path) == whole
    with pytest.raises(BadInput, match="finished"):
        build(path, BOARD, minutes=9, probes=1, networks=2)


def test_a_table_of_another_seed_is_not_gone_on_with(tmp_path):
    facts = {**builds.facts_of(BOARD, threads=1, seed=3), "finished": False, "spent_seconds": 1.0}
    Table({**facts, "idle": 0.0, "reference_seconds": 1.0}).save(tmp_path / "table.json")
    with pytest.raises(BadInput, match="another seed"):
        build(tmp_path / "table.json", BOARD, minutes=0.1)


def test_the_plan_asks_a_few_of_each_family_then_what_costs_most():
    kernels = [make(c, 16) for make in (dense, addition) for c in range(4, 44)]
    table = Table({"seed": 0})
    plan = Plan([[kernel] for kernel in kernels], table, seed=0)
    first = plan.batch()
    assert Counter(kernel.operator for kernel in first) == {"Conv": FEW, "Add": FEW}
    chance = np.random.default_rng(0)
    for kernel in first:  # additions take what they should, convolutions anything
        noise = np.exp(chance.normal(0, 1.0)) if kernel.operator == "Conv" else 1.0
        table.samples.append(Sample(kernel, 1, 0, true_time(kernel) * noise))
    second = Counter(kernel.operator for kernel in plan.batch())
    assert second["Conv"] > 2 * second["Add"]


def test_the_plan_hands_out_every_kernel_once():
    kernels = [dense(channels) for channels in range(4, 24)]
    table = Table({"seed": 0})
    plan, seen = Plan([kernels, kernels], table, seed=0), []
    while batch := plan.batch():
        seen += batch
        table.samples += [Sample(kernel, 1, 0, true_time(kernel)) for kernel in batch]
    assert len(seen) == len(kernels)
    assert set(seen) == set(kernels)


def test_the_command_builds_and_predicts(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("edgekit.predict.build.build", partial(build, probes=1, networks=2))
    table, kernels_of_network = str(tmp_path / "table.json"), kernels_of(network(), tmp_path)
    assert main(["predict", "--build", "--out", table, "--minutes", "9"]) == 0
    assert "kernels of" in capsys.readouterr().out
    code = main(["predict", str(tmp_path / "model.onnx"), "--table", table, "--json"])
    answer = json.loads(capsys.readouterr().out)["files"][str(tmp_path / "model.onnx")]
    assert len(answer["kernels"]) == len(kernels_of_network)
    assert code == 0
    assert answer["unknown"] == []
    assert 0 < answer["low"] < answer["milliseconds"] < answer["high"]
    exported(probe(0), tmp_path, int8=False)  # of other layers: some are unknown, and said to be
    assert main(["predict", str(tmp_path / "model.onnx"), "--table", table, "--kernels"]) == 1
    out = capsys.readouterr().out
    assert "90 % low" in out
    assert "not counted, unknown to the table: " in out
    assert main(["predict", "--build", str(tmp_path / "model.onnx"), "--out", table]) == 0
    assert main(["predict", str(tmp_path / "model.onnx"), "--table", table]) == 0


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ([], "name an ONNX file, or build"),
        (["x.onnx", "--build"], "there is no 'x.onnx'"),
        (["--build", "--board", "x86-avx2"], "built on it"),
        (["--build", "--minutes", "0"], "--minutes"),
        (["--build", "--threads", "0"], "--threads"),
        (["x.onnx", "--table", "absent.json"], "no file 'absent.json'"),
        (["x.onnx", "--board", "x86-avx22"], "Did you mean 'x86-avx2'"),
    ],
)
def test_bad_words_are_one_line(words, answer, capsys):
    assert main(["predict", *words]) == 2
    error = capsys.readouterr().err
    assert answer in error
    assert error.count("\n") == 1
