"""The loop on real data: resume after a kill, equal decisions give equal files, bad input is one line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

import edgekit
from edgekit.errors import BadInput
from edgekit.pipeline import compress_recipe
from edgekit.recipe import parse_recipe
from edgekit.report import validate_report

RECIPE = """\
model: {resnet8: {width: 16}}
data: {fashion-mnist: {train_limit: 512, test_limit: 256}}
batch: 64
steps:
  - prune: {ratio: 0.5, multiple: 8}
  - distil: {epochs: 2}
  - quantize: {epochs: 1}
"""


def run(folder, text=RECIPE, **options):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(text)
    return compress_recipe(parse_recipe(text), out=folder, **options)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return run(tmp_path_factory.mktemp("run") / "out")


def test_the_folder_holds_what_a_user_needs(done):
    names = {path.name for path in done.folder.iterdir()}
    assert {
        "model.onnx",
        "baseline.onnx",
        "model_float.onnx",
        "model_float.pt2",
        "plan.json",
        "model.safetensors",
        "decisions.json",
        "report.json",
        "report.html",
        "journal.jsonl",
        "io.json",
        "run_example.py",
    } <= names


def test_the_report_is_whole_and_of_the_artefact(done):
    report = json.loads((done.folder / "report.json").read_text())
    validate_report(report)
    assert report["result"]["metric"]["of"] == "artefact"
    assert report["result"]["metric"]["n"] == 256
    assert report["result"]["bytes"] == done.artefact.stat().st_size
    assert [step["name"] for step in report["steps"]] == ["prune", "distil", "quantize"]
    assert report["result"]["params"] < 0.5 * report["baseline"]["params"]
    assert report["result"]["energy"] is None
    assert report["result"]["not_measured"]["energy"]


def test_the_artefact_runs_in_plain_onnxruntime_for_any_batch(done):
    session = ort.InferenceSession(str(done.artefact), providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        assert session.run(None, {"input": np.zeros((batch, 1, 28, 28), "f4")})[0].shape == (batch, 10)


def test_the_model_is_plain(done):
    assert not [
        name
        for name, module in done.model.named_modules()
        if type(module).__module__.startswith(("edgekit.quant", "edgekit.transforms"))
    ]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in done.model.modules())


def test_a_killed_run_goes_on_and_gives_the_same_file(done, tmp_path):
    folder = tmp_path / "killed"
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    command = [
        sys.executable,
        "-m",
        "edgekit",
        "compress",
        str(tmp_path / "recipe.yaml"),
        "--out",
        str(folder),
        "--decisions",
        str(done.folder / "decisions.json"),
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    until = time.time() + 240
    while time.time() < until and not list(folder.glob("steps/00-*/change.json")):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "report.json").exists()
    again = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert again.returncode == 0, again.stderr[-2000:]
    assert "done before" in again.stdout + again.stderr
    assert (folder / "model.onnx").read_bytes() == done.artefact.read_bytes()


def test_a_second_run_of_a_finished_folder_trains_nothing(done):
    before = (done.folder / "model.onnx").read_bytes()
    steps = (done.folder / "journal.jsonl").read_text().count('"event": "step"')
    again = compress_recipe(parse_recipe(RECIPE), out=done.folder)
    assert (done.folder / "journal.jsonl").read_text().count('"event": "step"') == steps == 3
    assert again.artefact.read_bytes() == before


def test_load_gives_the_model_back(done):
    import torch

    from edgekit.zoo.resnet import resnet8

    model = edgekit.load(done.folder, resnet8(width=16, in_channels=1))
    x = torch.zeros(2, 1, 28, 28)
    torch.testing.assert_close(model.eval()(x), done.model.eval()(x))


def test_objective_size_keeps_int8(tmp_path):
    text = RECIPE.replace("steps:", "objective: size\nsteps:").replace("  - distil: {epochs: 2}\n", "")
    result = run(tmp_path / "size", text)
    assert result.report["result"]["precision"] == "int8"


def test_a_missed_budget_keeps_the_best_and_says_so(tmp_path):
    text = RECIPE.replace("steps:", "budget: {size_bytes: 1000}\nsteps:")
    text = text.replace("  - distil: {epochs: 2}\n", "").replace("{epochs: 1}", "{}")
    result = run(tmp_path / "missed", text)
    assert not result.met
    assert result.artefact.exists()
    assert "missed" in result.verdict


def test_an_onnx_file_is_a_model_and_needs_no_labels(done, tmp_path):
    (tmp_path / "inputs.py").write_text(
        "import numpy as np\ndef load():\n    chance = np.random.default_rng(0)\n    return "
        "{'calibration': [chance.random((4, 1, 28, 28), dtype='f4') for _ in range(4)]}\n"
    )
    text = (
        f"model: {done.folder / 'model_float.onnx'}\ndata: {tmp_path / 'inputs.py'}:load\nsteps: [quantize]\n"
        "boards: [arm64]\n"  # not here, so that no latency of this machine chooses fp32
    )
    result = run(tmp_path / "file", text)
    assert result.report["result"]["metric"] is None
    assert result.report["result"]["not_measured"]["metric"]
    assert result.report["result"]["bytes"] < result.report["baseline"]["bytes"]


def test_a_board_that_is_not_here_has_no_latency(tmp_path):
    text = RECIPE.replace("batch: 64", "batch: 64\nboards: [arm64]").replace("  - distil: {epochs: 2}\n", "")
    result = run(tmp_path / "arm", text.replace("{epochs: 1}", "{}"))
    assert result.report["result"]["latency_ms"] is None
    assert "arm64" in result.report["result"]["not_measured"]["latency_ms"]


def test_several_boards_share_steps_and_stand_side_by_side(tmp_path):
    text = RECIPE.replace("batch: 64", "batch: 64\nboards: [x86-vnni, arm64]").replace(
        "  - distil: {epochs: 2}\n", ""
    )
    result = run(tmp_path / "both", text.replace("{epochs: 1}", "{}").replace("multiple: 8", "multiple: 8"))
    assert (result.folder / "compare.html").exists()
    assert set(result.boards) == {"x86-vnni", "arm64"}
    for name in result.boards:
        assert (result.folder / name / "model.onnx").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("ratio: 0.5, multiple: 8", "ratio: 0.99, multiple: 16"), "prune"),
        (("train_limit: 512", "train_limit: 0"), "train_limit"),
        (("quantize: {epochs: 1}", "quantize: {weights: 4}"), "bits"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_trained(tmp_path, change, words):
    with pytest.raises(BadInput, match=words) as caught:
        run(tmp_path / "bad", RECIPE.replace(*change))
    assert "\n" not in str(caught.value)
    assert not list(Path(tmp_path).glob("bad/steps/*"))


def test_the_python_front_door(tmp_path):
    import torch

    from edgekit.zoo.resnet import resnet8

    chance = torch.Generator().manual_seed(0)
    batches = [
        (torch.randn(16, 1, 28, 28, generator=chance), torch.randint(0, 10, (16,), generator=chance))
        for _ in range(4)
    ]
    result = edgekit.compress(
        resnet8(width=8, in_channels=1),
        steps=[edgekit.Quantize()],
        data=(batches, batches[:1]),
        evaluate=lambda outputs, targets: outputs.argmax(1) == targets,
        out=tmp_path / "out",
    )
    assert result.artefact.exists()
    assert result.report["verdict"]
