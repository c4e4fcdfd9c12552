"""The verbs on real files and models: what they print, and what they refuse."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgekit import cli
from edgekit.recipe import load_recipe
from edgekit.testing import sample_graph


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    import onnx

    path = tmp_path_factory.mktemp("net") / "net.onnx"
    onnx.save(sample_graph(), path)
    return path


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(capsys, *words) -> tuple[int, str, str]:
    code = cli.main([str(word) for word in words])
    seen = capsys.readouterr()
    return code, seen.out, seen.err


def test_audit_of_a_float_file(capsys, net):
    code, out, _ = run(capsys, "audit", net)
    assert code == 0
    assert "all 5 compute nodes run in float" in " ".join(out.split())
    seen = json.loads(run(capsys, "audit", net, "--json")[1])
    assert (seen["integer_compute_nodes"], seen["float_compute_nodes"]) == (0, 5)


def test_audit_refuses_what_is_no_model(capsys, tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"not a model")
    code, _, err = run(capsys, "audit", tmp_path / "x.onnx")
    assert code == 2
    assert "x.onnx" in err
    assert err.count("\n") == 1


def test_check_counts_what_a_closed_form_counts(capsys, net):
    code, out, _ = run(capsys, "check", net, "--all", "--json")
    seen = json.loads(out)
    weights = 3 * 32 * 9 + 2 * 32 * 32 * 9 + 32 * 4
    assert code == 0
    assert seen["params"] == weights + 3 * 32 + 4
    assert seen["macs"] == 16 * 16 * (3 * 32 * 9 + 2 * 32 * 32 * 9) + 32 * 4
    assert seen["operators"]["Conv"] == 3
    # at the peak the residual input, a branch's input and its output are alive
    assert seen["peak_activation_bytes"] in (2 * 32 * 256 * 4, 3 * 32 * 256 * 4)
    assert {board["board"] for board in seen["boards"]} >= {"this-machine", "arm64"}


def test_check_of_a_zoo_model_takes_its_shape_from_the_words(capsys):
    first = json.loads(run(capsys, "check", "mlp", "--json")[1])
    assert first["params"] == 784 * 128 + 128 + 128 * 128 + 128 + 1280 + 10
    assert [board["board"] for board in first["boards"]] == ["this-machine"]
    seen = json.loads(run(capsys, "check", "resnet8", "--input", "1,28,28", "--json")[1])
    assert seen["params"] < json.loads(run(capsys, "check", "resnet8", "--json")[1])["params"]


def test_check_of_a_model_of_one_s_own(capsys, tmp_path):
    (tmp_path / "mine.py").write_text("from torch import nn\n\ndef net():\n    return nn.Linear(6, 2)\n")
    code, _, err = run(capsys, "check", "./mine.py:net")
    assert code == 2
    assert "the input shape of './mine.py:net' is not known. Give --input" in err
    seen = json.loads(run(capsys, "check", "./mine.py:net", "--input", "6", "--json")[1])
    assert (seen["params"], seen["macs"]) == (14, 12)


@pytest.mark.parametrize(
    "words",
    [
        ("check", "resnt8"),
        ("check", "absent.onnx"),
        ("check", "mlp", "--board", "mars"),
        ("check", "./absent.py:Net"),
        ("check", "resnet8", "--data", "fashion-mist"),
    ],
)
def test_check_refuses_in_one_line(capsys, words):
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1


def test_profile_alone_and_interleaved(capsys, net):
    rows = json.loads(run(capsys, "profile", net, net, "--seconds", "0.2", "--json")[1])["files"]
    assert len(rows) == 2
    for row in rows:
        times = row["latency_ms"]
        assert 0 < times["min"] <= times["p50"] <= times["p90"] <= times["p99"]
        assert row["energy"] is None
        assert row["not_measured"]["energy"]
    low, high = rows[1]["speed_up_over_first"]["ci95"]
    assert 0.5 < low <= rows[1]["speed_up_over_first"]["value"] <= high < 2


def test_profile_prints_layers(capsys, net):
    code, out, _ = run(capsys, "profile", net, "--seconds", "0.1", "--layers", "--batch", "2")
    assert code == 0
    assert "branch.0" in out
    assert "energy: not measured" in out


def test_feeds_fit_the_file():
    from edgekit.errors import BadInput
    from edgekit.profile.feeds import random_feeds
    from edgekit.signature import Signature, TensorSpec

    signature = Signature((TensorSpec("a", "float32", ("N", 3)), TensorSpec("b", "int64", ("N",))), ())
    feeds = random_feeds(signature, batch=4)
    assert {name: (value.shape, value.dtype) for name, value in feeds.items()} == {
        "a": ((4, 3), np.dtype("float32")),
        "b": ((4,), np.dtype("int64")),
    }
    assert np.array_equal(feeds["a"], random_feeds(signature, batch=4)["a"])
    fixed = Signature((TensorSpec("a", "float32", (1, 3)),), ())
    with pytest.raises(BadInput, match=r"fixed shape .* not batch 2. Give --batch 1"):
        random_feeds(fixed, batch=2)


def test_init_writes_a_recipe_that_reads_back(capsys, tmp_path):
    assert run(capsys, "init", "--model", "mlp", "--board", "arm64", "--out", "sub/r.yaml")[0] == 0
    recipe = load_recipe("sub/r.yaml")
    assert (recipe.model, recipe.data, recipe.boards) == ("mlp", "fashion-mnist", ("arm64",))
    assert [step.name for step in recipe.steps] == ["finetune", "quantize"]
    text = (tmp_path / "sub" / "r.yaml").read_text()
    assert f"{784 * 128 + 128 + 128 * 128 + 128 + 1280 + 10:,} parameters" in text
    code, _, err = run(capsys, "init", "--model", "mlp", "--out", "sub/r.yaml")
    assert code == 2
    assert "exists and is kept" in err


def test_the_steps_that_init_leaves_as_comments_read_back_too(capsys, tmp_path):
    run(capsys, "init", "--model", "mlp")
    text = (tmp_path / "recipe.yaml").read_text()
    (tmp_path / "all.yaml").write_text(text.replace("  # - ", "  - ").replace("# budget", "budget"))
    recipe = load_recipe("all.yaml")
    assert [step.name for step in recipe.steps] == ["finetune", "prune", "finetune", "quantize"]
    assert recipe.budget.max_drop == 0.01


def test_init_for_one_s_own_model_asks_for_data(capsys, tmp_path):
    (tmp_path / "net.py").write_text("from torch import nn\n\ndef make():\n    return nn.Linear(64, 10)\n")
    code, _, err = run(capsys, "init", "--model", "./net.py:make")
    assert code == 2
    assert "Give --data ./data.py:load" in err
    (tmp_path / "data.py").write_text(
        "import torch\nfrom edgekit import Data\n\n\ndef load():\n    batch = (torch.randn(8, 64), "
        "torch.arange(8) % 10)\n    return Data(train=[batch], validation=[batch], fingerprint='a')\n"
    )
    assert (
        run(capsys, "init", "--model", "./net.py:make", "--data", "./data.py:load", "--out", "x/r.yaml")[0]
        == 0
    )
    assert "model: ../net.py:make" in (tmp_path / "x" / "r.yaml").read_text()
    assert load_recipe("x/r.yaml").data == f"{tmp_path}/data.py:load"


def test_init_refuses_data_that_does_not_fit(capsys, net):
    code, _, err = run(capsys, "init", "--model", net, "--data", "fashion-mnist")
    assert code == 2
    assert "takes input ['N', 3, 16, 16], but a sample of 'fashion-mnist' is [1, 1, 28, 28]" in err
    code, _, err = run(capsys, "init", "--model", net)
    assert (code, "calibration" in err) == (2, True)


def test_conformance_says_yes_and_no(capsys, tmp_path):
    (tmp_path / "nets.py").write_text(
        "import torch\nfrom torch import nn\n\n\ndef good():\n    '''A layer.'''\n    return nn.Linear(6, "
        "2)\n\n\ndef bad():\n    torch.seed()\n    return nn.Linear(6, 2)\n"
    )
    code, out, _ = run(capsys, "conformance", "./nets.py:good", "--input", "6")
    assert (code, "8 of 8 checks hold" in out) == (0, True)
    code, out, _ = run(capsys, "conformance", "./nets.py:bad", "--input", "6", "--json")
    assert code == 1
    assert {row["check"] for row in json.loads(out) if not row["ok"]} == {
        "has a docstring",
        "the same seed gives the same weights",
    }
    code, _, err = run(capsys, "conformance", "quantise")
    assert (code, "Did you mean 'quantize'?" in err) == (2, True)


RECIPE = """\
model: mlp
data: {fashion-mnist: {train_limit: 256, test_limit: 100}}
calibration: 64
steps:
  - finetune: {epochs: 1}
  - quantize
"""


def settled(step: dict) -> tuple:
    """What of a step's record a resumed run repeats; its latency is measured anew."""
    return step["name"], step["change"], step["metrics"]["metric"]


def test_compress_runs_resumes_and_compares(capsys, tmp_path):
    (tmp_path / "small.yaml").write_text(RECIPE)
    code, out, err = run(capsys, "compress", "small.yaml", "--out", "one")
    assert code in (0, 1)
    assert "output: one" in err
    assert "one/model.onnx" in out
    report = json.loads((tmp_path / "one" / "report.json").read_text())
    assert [step["name"] for step in report["steps"]] == ["finetune", "quantize"]
    assert load_recipe("one") == load_recipe("small.yaml")

    code, _, err = run(capsys, "compress", "small.yaml", "--out", "one", "--set", "seed=5")
    assert (code, "another recipe" in err) == (2, True)

    code, out, err = run(capsys, "compress", "small.yaml", "--out", "one", "--json", "--quiet")
    assert [settled(step) for step in json.loads(out)["steps"]] == [settled(step) for step in report["steps"]]
    assert err == ""

    code, out, _ = run(capsys, "compare", "one", "one", "--out", "both.html")
    assert (code, out.count("this-machine")) == (0, 2)
    assert "<html" in (tmp_path / "both.html").read_text().lower()
    assert run(capsys, "audit", "one")[0] == 0


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("model: mlp\nsteps: [quantise]", "Did you mean 'quantize'?"),
        (
            "model: mlp\ndata: fashion-mnist\nsteps: [quantize, finetune: {epochs: 1}]",
            "Move finetune before quantize",
        ),
    ],
)
def test_compress_refuses_before_it_makes_a_folder(capsys, tmp_path, text, want):
    (tmp_path / "r.yaml").write_text(text)
    code, _, err = run(capsys, "compress", "r.yaml")
    assert (code, want in err) == (2, True)
    assert not (tmp_path / "runs").exists()


def test_compare_refuses_what_is_no_run(capsys, tmp_path):
    assert run(capsys, "compare", ".")[0] == 2
    (tmp_path / "report.json").write_text("{}")
    code, _, err = run(capsys, "compare", ".")
    assert (code, "is no report of edgekit" in err) == (2, True)
