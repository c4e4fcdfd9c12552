"""This machine's side of a run: made as the run says, within the limits of its owner, or refused in one line."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgekit.coordinator.device_file import DeviceFile, Limits
from edgekit.coordinator.documents import Spec
from edgekit.coordinator.names import hashes
from edgekit.coordinator.worker import Post, make_agent
from edgekit.errors import BadInput
from edgekit.runs.assemble import assemble
from edgekit.runs.one_agent import schema_of
from edgekit.runs.run_file import build_run
from edgekit.wire.faults import Faults, FaultyTransport
from edgekit.yaml_lines import Document

VALUES = {
    "algorithm": "d-psgd",
    "topology": "ring",
    "agents": 4,
    "model": {"mlp": {"in_features": 64, "width": 8, "depth": 1}},
    "data": {"digits": {"partition": {"shards": 2}, "train_limit": 200, "test_limit": 50}},
    "batch": 10,
    "optimizer": {"sgd": {"lr": 0.1}},
    "rounds": 6,
}


@pytest.fixture(scope="module")
def whole():
    """All agents together, as the simulator has them."""
    return assemble(build_run(VALUES, Document("run.yaml", VALUES)), 5, gradients="loop")


@pytest.fixture(scope="module")
def spec(whole) -> Spec:
    schema = schema_of(whole.objective.layout, whole.objective.buffer_layout, "float32")
    return Spec("run", dict(VALUES), 5, 4, 2, 60.0, schema=schema)


def test_an_agent_has_its_share_and_the_first_model_of_all(spec, whole):
    for number in range(4):
        made = make_agent(spec, number, DeviceFile())
        assert made.number == number
        assert torch.equal(made.row[0], whole.engine.models[number])
        assert made.objective.sampler.samples(number) == len(whole.shares[number])
        drawn = made.objective.sampler.indices([number], [3])
        assert np.array_equal(drawn, whole.objective.sampler.indices([number], [3]))


def test_before_it_has_a_number_it_is_made_as_any(spec):
    assert make_agent(spec, None, DeviceFile()).number == 0


def test_own_data_stay_here(spec, tmp_path):
    chance = np.random.default_rng(0)
    samples = chance.integers(0, 17, (30, 1, 8, 8)).astype(np.uint8)
    labels = np.arange(30) % 10
    np.savez(
        tmp_path / "own.npz",
        train_x=samples,
        train_y=labels,
        test_x=samples[:10],
        test_y=labels[:10],
    )
    made = make_agent(spec, 1, DeviceFile(data={"npz": {"root": str(tmp_path / "own.npz")}}))
    assert made.objective.sampler.samples(1) == 30


def test_a_share_that_the_run_has_not(spec):
    with pytest.raises(BadInput, match=r"partition: 4 is no share of 4 agents. Give 0 to 3"):
        make_agent(spec, 4, DeviceFile())


def test_a_memory_limit(spec):
    make_agent(spec, 0, DeviceFile(limits=Limits(memory_gb=1.0)))
    with pytest.raises(BadInput, match=r"memory: this agent needs about .* raise limits.memory_gb"):
        make_agent(spec, 0, DeviceFile(limits=Limits(memory_gb=1e-6)))


def test_a_machine_without_memory(spec, monkeypatch):
    class Full:
        available = 10

    monkeypatch.setattr("psutil.virtual_memory", Full)
    with pytest.raises(BadInput, match="memory"):
        make_agent(spec, 0, DeviceFile(limits=Limits(memory_gb=8.0)))


def test_a_power_limit_cannot_be_held(spec):
    with pytest.raises(BadInput, match="power_watts cannot be held: no power sensor"):
        make_agent(spec, 0, DeviceFile(limits=Limits(power_watts=10.0)))


def test_another_model_than_the_starters(spec):
    with pytest.raises(BadInput, match=r"the model here has the schema [0-9a-f]{8}"):
        make_agent(replace(spec, schema=spec.schema ^ 1), 0, DeviceFile())


def test_a_topology_that_asks_for_labels_needs_the_share_first(spec):
    values = {**VALUES, "topology": "d-cliques"}
    with pytest.raises(BadInput, match=r"before it has a number. Name its share in agent.yaml: partition: 3"):
        make_agent(replace(spec, values=values), None, DeviceFile())
    made = make_agent(replace(spec, values=values), 2, DeviceFile())
    (facts,) = made.facts().values()
    assert sum(facts) == made.objective.sampler.samples(2)


def test_code_that_is_not_allowed_is_not_run(spec, tmp_path):
    mark = tmp_path / "ran"
    net = tmp_path / "net.py"
    net.write_text(
        f"open({str(mark)!r}, 'w').close()\nfrom torch import nn\n"
        "def Net(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    values = {**VALUES, "model": f"{net}:Net"}
    named = replace(spec, values=values, sources=hashes(values))
    for device in (DeviceFile(), DeviceFile(allow=("lab",))):
        with pytest.raises(BadInput, match="code that this agent does not allow"):
            make_agent(named, 0, device)
    with pytest.raises(BadInput, match="another version"):
        make_agent(replace(named, sources={f"{net}:Net": "00" * 32}), 0, DeviceFile(allow=(str(tmp_path),)))
    assert not mark.exists()
    with pytest.raises(BadInput, match="has the schema"):  # it ran, and is another model
        make_agent(named, 0, DeviceFile(allow=(str(tmp_path),)))
    assert mark.exists()


def test_own_data_may_be_named_freely_by_the_owner(spec, tmp_path):
    """What the run says of data is not looked at then, not even whether it is allowed."""
    values = {**VALUES, "data": "evil.module:data"}
    with pytest.raises(BadInput, match="does not allow"):
        make_agent(replace(spec, values=values), 0, DeviceFile())
    made = make_agent(replace(spec, values=values), 0, DeviceFile(data=VALUES["data"]))
    assert made.objective.sampler.samples(0) == 200


@pytest.mark.parametrize(
    "values",
    [{}, {**VALUES, "algorithm": "sdg"}, {**VALUES, "agents": "many"}, {**VALUES, "data": 3}],
)
def test_a_run_without_sense_is_one_line(spec, values):
    with pytest.raises(BadInput) as raised:
        make_agent(replace(spec, values=values), 0, DeviceFile())
    assert "\n" not in str(raised.value)


def test_where_agents_meet(tmp_path):
    post = Post("mqtt://127.0.0.1:1", tmp_path, secret=b"s" * 32)
    access, again = post.access("run", "cam-1"), post.access("run", "cam-1")
    assert access.transport.me == access.identity.id == "cam-1"
    assert access.identity.public == again.identity.public  # its key is kept
    assert access.secret == b"s" * 32
    assert "s" * 32 not in repr(post)
    with pytest.raises(BadInput, match="not encrypted"):
        Post("mqtt://10.0.0.5", tmp_path).access("run", "cam-1")
    assert Post("mqtt://10.0.0.5", tmp_path, insecure=True).access("run", "cam-1")
    faulty = Post("mqtt://127.0.0.1:1", tmp_path, faults=Faults(drop=0.1)).access("run", "cam-1")
    assert isinstance(faulty.transport, FaultyTransport)
