"""`edgekit topologies`: the list, the facts of one, and its picture."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from edgekit import cli
from edgekit.registry import topologies


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(capsys, *words) -> tuple[int, str, str]:
    code = cli.main([str(word) for word in ("topologies", *words)])
    seen = capsys.readouterr()
    return code, seen.out, seen.err


def test_the_list_has_every_topology_and_its_settings(capsys):
    code, out, _ = run(capsys, "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert set(topologies._builtin) <= set(rows)
    assert rows["d-cliques"]["settings"]["size"] == "a whole number (10)"
    assert all(row["summary"] and "cannot be loaded" not in row["summary"] for row in rows.values())
    code, out, _ = run(capsys)
    assert code == 0
    assert all(f" {name} " in out for name in topologies._builtin)


@pytest.mark.parametrize("words", [["--json"], ["show", "d-cliques", "--agents", "20", "--json"]])
def test_neither_the_list_nor_the_facts_load_torch(words):
    code = (
        f"import sys; from edgekit.cli import main; main({['topologies', *words]!r}); "
        "sys.exit('torch' in sys.modules or 'networkx' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_facts_of_one(capsys):
    code, out, _ = run(capsys, "show", "ring", "--agents", "8", "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["topology"], found["agents"], found["edges"], found["stand_in"]) == ("ring", 8, 8, None)
    assert found["second_eigenvalue"] == pytest.approx(0.8047, abs=1e-4)
    code, out, _ = run(capsys, "show", "ring", "--agents", "8")
    text = " ".join(out.split())
    assert code == 0
    assert "8 (28.571% of a complete graph)" in text
    assert "symmetric, doubly stochastic" in text


def test_d_cliques_of_a_thousand_says_what_stands_for_data(capsys):
    _, out, _ = run(capsys, "show", "d-cliques", "--agents", "1000")
    assert "9,450 (1.892% of a complete graph)" in out
    assert "36,900" in out
    assert "agent i stands for one of class i mod 10" in " ".join(out.split())
    _, out, _ = run(capsys, "--json", "show", "d-cliques", "--agents", "20")
    assert "class i mod 10" in json.loads(out)["stand_in"]


def test_settings_seed_and_weights_are_heard(capsys):
    words = ("show", "random-regular", "--agents", "20", "--settings", "{degree: 6}", "--json")
    one = json.loads(run(capsys, *words)[1])
    other = json.loads(run(capsys, *words, "--seed", "1")[1])
    assert one["degree"] == {"min": 6, "mean": 6.0, "max": 6}
    assert one["second_eigenvalue"] != other["second_eigenvalue"]
    _, out, _ = run(capsys, "show", "star", "--agents", "6", "--weights", "uniform")
    assert "never" in out
    assert "not doubly stochastic" in out
    nested = ("show", "matcha", "--agents", "12", "--settings", "{base: {random-regular: 3}, budget: 0.4}")
    assert json.loads(run(capsys, *nested, "--json")[1])["degree"]["max"] == 3
    spans = {"matcha": "drawn anew", "moshpit": "the 2 rounds of a period"}
    assert all(words in run(capsys, "show", name, "--agents", "9")[1] for name, words in spans.items())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "rng", "--agents", "4"], "Did you mean 'ring'?"),
        (["show", "ring"], "required: --agents"),
        (["show", "ring", "--agents", "0"], "Give 1 or more"),
        (["show", "ring", "--agents", "4", "--weights", "metro"], "there is no rule 'metro'"),
        (["show", "ring", "--agents", "4", "--settings", "{both: 1}"], "Did you mean 'both_ways'?"),
        (["show", "ring", "--agents", "4", "--settings", "{both_ways: 3}"], "true or false"),
        (["show", "hypercube", "--agents", "12"], "Take 8 or 16"),
        (["show", "exponential", "--agents", "12", "--weights", "metropolis"], "this graph is directed"),
        (["show", "ring", "--agents", "4", "--plot", "ring.pdf"], ".svg or .png"),
        (["show", "custom", "--agents", "4"], "either matrix or edges"),
        (["shw"], "choose from"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(capsys, words, said):
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


PICTURES = {
    "d-cliques": 30,
    "clumping": 12,
    "one-peer-exponential": 8,
    "star": 5,
    "moshpit": 9,
    "ring": 1,
    "random-matching": 6,
    "exponential": 200,
}


@pytest.mark.parametrize(("name", "agents"), PICTURES.items())
def test_a_picture(capsys, tmp_path, name, agents):
    code, out, _ = run(capsys, "show", name, "--agents", agents, "--plot", "graph.svg")
    assert code == 0
    assert "drawn: graph.svg" in out
    text = (tmp_path / "graph.svg").read_text()
    assert name in text
    assert f"{agents} agents" in text
    run(capsys, "show", name, "--agents", agents, "--plot", "again.svg")
    assert (tmp_path / "again.svg").read_text() == text


def test_a_png_too(capsys, tmp_path):
    assert run(capsys, "show", "torus", "--agents", "12", "--plot", "graph.png")[0] == 0
    assert (tmp_path / "graph.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_it_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = run(capsys, "show", "ring", "--agents", "4", "--plot", "ring.svg")
    assert code == 2
    assert "pip install 'edgekit[host]'" in err


def test_a_topology_of_one_s_own(capsys, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n"
        "from edgekit.decentralized.graph import Graph\n"
        "from edgekit.decentralized.topology import Topology\n\n\n"
        "@dataclass(frozen=True)\nclass Pair(Topology):\n"
        '    """First with last."""\n\n    name = "pair"\n\n'
        "    def graph(self, roster, round, seed):\n"
        "        return Graph.undirected(len(roster), [(0, len(roster) - 1)])\n"
    )
    found = json.loads(run(capsys, "show", "./mine.py:Pair", "--agents", "4", "--json")[1])
    assert (found["edges"], found["connected"], found["rounds_to_consensus"]) == (1, False, None)
