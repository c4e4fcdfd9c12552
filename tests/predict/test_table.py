"""Tables on disk, whose they are, and predictions from one whose kernels take times that the test knows."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from edgekit.errors import BadInput
from edgekit.predict.bench import Sample
from edgekit.predict.kernel import Kernel, Tensor
from edgekit.predict.predict import Predictor
from edgekit.predict.table import FLOOR, Network, Table, check_board, facts_of, load_table
from edgekit.target import Board, find_board

UNIT = 2e-4


def dense(channels: int, side: int = 16) -> Kernel:
    activation = Tensor("float32", (1, channels, side, side))
    weight = Tensor("float32", (channels, channels, 3, 3), True)
    return Kernel("Conv", "", 21, (("kernel_shape", (3, 3)),), (activation, weight), (activation,))


def addition(channels: int, side: int = 16) -> Kernel:
    activation = Tensor("float32", (1, channels, side, side))
    return Kernel("Add", "", 21, (), (activation, activation), (activation,))


def true_time(kernel: Kernel) -> float:
    """In reference units: a cost of its own, products, bytes."""
    return 0.002 + kernel.macs * 1e-7 + kernel.activation_bytes * 2e-7


@pytest.fixture(scope="module")
def table() -> Table:
    board = find_board("this-machine")
    facts = {**facts_of(board, threads=1, seed=0), "idle": 0.01, "reference_seconds": UNIT, "finished": True}
    kernels = [
        make(channels, side)
        for make in (dense, addition)
        for channels in (8, 12, 16, 24, 32, 48, 64)
        for side in (4, 8, 16, 32)
    ]
    made = Table(facts, [Sample(kernel, 4, 4 * kernel.weight_bytes, true_time(kernel)) for kernel in kernels])
    made.fit()
    return made


def net(*kernels: Kernel) -> list[tuple[str, Kernel]]:
    return [(f"node{index}", kernel) for index, kernel in enumerate(kernels)]


def test_a_network_is_the_sum_of_its_kernels_and_the_fixed_cost(table):
    kernels = [dense(20, 12), addition(20, 12), dense(40, 10)]
    found = Predictor(table).predict(net(*kernels))
    wanted = table.idle + sum(map(true_time, kernels))
    assert found.milliseconds == pytest.approx(1e3 * UNIT * wanted, rel=0.02)
    parts = [1e-3 * item.microseconds for item in found.kernels]
    assert sum(parts) + 1e3 * UNIT * table.idle == pytest.approx(found.milliseconds)
    assert found.unknown == ()
    assert (found.low, found.high) == (None, None)  # no network of the table says how far to trust it


def test_the_interval_holds_nine_of_ten_of_the_networks(table):
    chance = np.random.default_rng(0)
    errors = np.exp(0.1 * chance.standard_normal(400))
    networks = [Network(1.0, FLOOR + 0.05, float(error)) for error in errors]
    predictor = Predictor(replace(table, networks=networks))
    kernels = net(dense(20, 12))
    plain, found = Predictor(table).predict(kernels), predictor.predict(kernels)
    assert found.milliseconds == plain.milliseconds
    network, _ = predictor.total(kernels)
    inside = np.mean(
        np.abs(np.log(errors)) <= math.log(found.high / found.milliseconds) * 0.07 / network.deviation
    )
    assert inside == pytest.approx(0.9, abs=0.02)
    assert found.high / found.milliseconds == pytest.approx(found.milliseconds / found.low)


def test_what_is_unknown_is_named_and_opens_the_interval(table):
    strange = Kernel("Einsum", "", 21, (), (Tensor("float32", (1, 7)),), (Tensor("float32", (1, 7)),))
    predictor = Predictor(replace(table, networks=[Network(1.0, 0.05, 1.1)] * 5))
    found = predictor.predict(net(dense(16), strange))
    assert found.unknown == ("Einsum float32 1x7 -> 1x7",)
    assert found.high is None
    assert found.low is not None
    assert found.kernels[1].microseconds is None
    assert found.milliseconds == pytest.approx(predictor.predict(net(dense(16))).milliseconds)


def test_a_table_survives_its_file(table, tmp_path):
    table = replace(table, networks=[Network(1.0, 0.05, 1.1)])
    table.save(tmp_path / "deep" / "table.json")
    again = load_table(tmp_path / "deep" / "table.json")
    assert again == table
    kernels = net(dense(20, 12))
    assert Predictor(again).predict(kernels) == Predictor(table).predict(kernels)


def damaged(change):
    def write(table: Table, path) -> None:
        table.save(path)
        value = json.loads(path.read_text())
        change(value)
        path.write_text(json.dumps(value))

    return write


DAMAGE = {
    "of another kind": (lambda value: value.update(kind="x"), "no table of kernels"),
    "of another schema": (lambda value: value.update(schema=9), "schema 9"),
    "a time of zero": (lambda value: value["samples"][0].__setitem__(3, 0.0), "not above 0"),
    "a time that is null": (lambda value: value["samples"][0].__setitem__(3, None), "damaged"),
    "no unit": (lambda value: value["facts"].pop("reference_seconds"), "reference_seconds"),
    "a kernel cut short": (lambda value: value["samples"][0].__setitem__(0, ["Conv"]), "damaged"),
    "a fit of nothing": (
        lambda value: value["fits"].update({"x": value["fits"]["Add float32"]}),
        "without samples",
    ),
    "a fit of other sizes": (lambda value: value["fits"]["Add float32"].update(lengths=[1.0]), "damaged"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_table_is_refused_in_one_line(name, table, tmp_path):
    change, words = DAMAGE[name]
    damaged(change)(table, tmp_path / "table.json")
    with pytest.raises(BadInput, match=words) as refusal:
        load_table(tmp_path / "table.json")
    assert "table.json" in str(refusal.value)


def test_absent_and_torn_files_are_refused(tmp_path):
    with pytest.raises(BadInput, match="edgekit predict --build"):
        load_table(tmp_path / "absent.json")
    (tmp_path / "torn.json").write_text('{"kind": ')
    with pytest.raises(BadInput, match="cannot be read"):
        load_table(tmp_path / "torn.json")


def test_a_table_of_another_instruction_set_or_runtime_is_refused(table, tmp_path):
    here = find_board("this-machine")
    check_board(table, here, tmp_path)
    other = Board("small", "a small board", "cpu", {"instruction_set": "neon-dotprod"})
    with pytest.raises(BadInput, match="--board"):
        check_board(table, other, tmp_path)
    older = replace(table, facts={**table.facts, "runtime": "onnxruntime 1.2.3"})
    with pytest.raises(BadInput, match=r"1\.2\.3"):
        check_board(older, here, tmp_path)
    check_board(older, replace(here, name="in-a-rack"), tmp_path)
