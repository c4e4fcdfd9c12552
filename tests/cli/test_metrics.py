"""`edgekit metrics`, and what `compare` and `conformance` say of metrics."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path

import pytest

from edgekit import cli, registry

sys.path.append(str(Path(__file__).resolve().parents[1] / "report"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(capsys, *words) -> tuple[int, str, str]:
    code = cli.main([str(word) for word in words])
    seen = capsys.readouterr()
    return code, seen.out, seen.err


def test_metrics_lists_what_reports_and_runs_can_have(capsys):
    code, out, _ = run(capsys, "metrics")
    assert code == 0
    for text in ("communication_cost", "our reading of Joshi et al., 2023", "accuracy, mean_squared_error"):
        assert text in out
    _, out, _ = run(capsys, "metrics", "--json")
    assert len(json.loads(out)) == len(registry.slots.names())
    code, out, _ = run(capsys, "metrics", "privacy", "--json")
    assert code == 0
    assert json.loads(out)["unit"] == "distance correlation"
    assert "definition: The largest distance correlation" in run(capsys, "metrics", "privacy")[1]


def test_metrics_refuses_an_unknown_name(capsys):
    code, _, err = run(capsys, "metrics", "privcy")
    assert code == 2
    assert "Did you mean 'privacy'" in err
    assert err.count("\n") == 1


def test_a_slot_in_a_file_is_shown_and_checked(capsys, tmp_path):
    file = tmp_path / "slots.py"
    file.write_text(
        "from edgekit.profile.metrics import Slot\n"
        "PEAK = Slot('peak_power', 'W', 'The largest mean power of any second.', 'lower', 'us, 2026')\n"
        "BAD = Slot('bad', '', 'Nothing.', 'lower', '')\n"
    )
    code, out, _ = run(capsys, "metrics", f"{file}:PEAK")
    assert code == 0
    assert "unit: W" in out
    assert run(capsys, "conformance", f"{file}:PEAK")[0] == 0
    assert run(capsys, "conformance", f"{file}:BAD")[0] == 1


def test_compare_sets_metrics_side_by_side(capsys, tmp_path):
    from report_sample import content

    first, second = content(), copy.deepcopy(content())
    second["metrics"][0]["value"] = 0.5
    for name, report in (("one", first), ("two", second)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps(report))
    code, out, _ = run(capsys, "compare", "one", "two")
    assert code == 0
    (line,) = [line for line in out.splitlines() if "task metric" in line]
    assert "91.87 %" in line
    assert "50.00 %" in line
    assert "privacy" not in out
    assert "privacy" in (tmp_path / "compare.html").read_text()
    second["metrics"] = [{"name": "latency"}]
    (tmp_path / "two" / "report.json").write_text(json.dumps(second))
    code, _, err = run(capsys, "compare", "one", "two")
    assert code == 2
    assert "is no report of edgekit" in err
