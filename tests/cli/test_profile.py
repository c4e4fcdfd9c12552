"""`edgekit profile`: three honest reports (no sensor, a board's rails, a meter's file), and what it refuses."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest

from edgekit import cli
from edgekit.cli import profile as verb
from edgekit.errors import BadInput
from edgekit.profile import trace as traces
from edgekit.profile.energy_run import EnergyPlan, run_windows
from edgekit.profile.marks import marks_text
from edgekit.profile.several import Several
from edgekit.report.profile_report import read_profile
from edgekit.report.profile_schema import validate_profile
from edgekit.testing import sample_graph
from tests.paths import shared
from tests.profile.rails import Rails
from tests.profile.test_marks import session


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> Path:
    import onnx

    path = tmp_path_factory.mktemp("net") / "net.onnx"
    onnx.save(sample_graph(), path)
    return path


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def short(monkeypatch):
    """Windows of half a second; the report still knows that they are short."""
    monkeypatch.setattr(EnergyPlan, "seconds", lambda self, period: 0.5)


@pytest.fixture
def bare(tmp_path) -> Path:
    """A tree without any sensor."""
    root = tmp_path / "bare"
    root.mkdir()
    return root


def run(capsys, *words) -> tuple[int, str, str]:
    code = cli.main(["profile", *(str(word) for word in words)])
    seen = capsys.readouterr()
    return code, seen.out, seen.err


def page(folder: Path) -> str:
    text = (folder / "profile.html").read_text()
    for word in ("http://", "https://", "<script", "src=", "@import", "url(h", "url(/"):
        assert word not in text
    return text


def test_a_machine_without_a_sensor_says_so(capsys, net, bare):
    code, out, _ = run(capsys, net, "--energy", "--root", bare, "--seconds", "0.1", "--out", "one")
    assert code == 0
    assert "energy: not measured, no sensor can be read here (battery: none under" in " ".join(out.split())
    content = read_profile(Path("one"))
    assert content is not None
    (seen,) = content["files"]
    assert seen["energy"] is None
    assert seen["not_measured"]["energy"].endswith("See: edgekit power list")
    assert seen["latency_ms"]["p50"] > 0
    assert content["energy_run"] is None
    assert "energy not measured" in page(Path("one"))


def test_a_board_s_rails_are_integrated_to_their_known_energy(capsys, net, tmp_path, short):
    with Rails(tmp_path / "tree") as rails:
        code, out, err = run(
            capsys,
            net,
            net,
            "--energy",
            "--root",
            rails.root,
            "--seconds",
            "0.1",
            "--out",
            "two",
            "--windows",
            "5",
        )
    assert code == 0
    assert "window 12 of 12: idle" in err
    assert "joules per inference of the module, by ina3221 VDD_IN" in out
    content = read_profile(Path("two"))
    assert content is not None
    for seen in content["files"]:
        energy = seen["energy"]
        for item in (*energy["windows"], *energy["idle"]):
            assert item["joules"] == pytest.approx(rails.joules(item["start"], item["end"]), rel=0.06)
        each = [item["joules"] / item["inferences"] for item in energy["windows"]]
        assert energy["joules_per_inference"] == pytest.approx(np.mean(each))
        low, high = energy["ci95"]
        assert low < energy["joules_per_inference"] < high
        assert (energy["scope"], energy["method"]) == ("module", "trapezoid, interpolated edges")
        assert "short" in {flag["name"] for flag in energy["flags"]}
    gain = content["files"][1]["energy_gain_over_first"]
    assert gain["ci95"][0] < gain["value"] < gain["ci95"][1]
    assert content["files"][0]["energy_gain_over_first"] is None
    assert content["energy_run"]["readings"] > 60
    assert {(row["x"], row["y"]) for row in content["fronts"]} >= {("latency_ms", "energy")}
    html = page(Path("two"))
    assert html.count("<svg") == 2
    assert "per inference of the module" in html


def test_a_meter_s_file_is_laid_onto_the_marks(capsys, net, short):
    words = (net, "--energy", "--marks", "marks.csv", "--seconds", "0.1", "--out", "three")
    code, out, err = run(capsys, *words)
    assert code == 0
    assert "marks: marks.csv, seconds since 1970" in err
    assert "energy: not measured, a bench meter has it" in out
    before = read_profile(Path("three"))
    windows = _trace(Path("trace.csv"), shift=-1000.0)
    meter = (
        net,
        "--meter",
        "trace.csv",
        "--marks",
        "marks.csv",
        "--volts",
        "5",
        "--scope",
        "wall",
        "--out",
        "three",
    )
    code, out, err = run(capsys, *meter)
    assert (code, "trace.csv:10: broken line" in err) == (0, True)
    content = read_profile(Path("three"))
    assert content is not None
    assert before is not None
    (seen,) = content["files"]
    loads = [item for item in windows if item["label"] == str(net)]
    gross = np.mean([5.0 * (item["end"] - item["start"]) / item["inferences"] for item in loads])
    assert seen["energy"]["joules_per_inference"] == pytest.approx(gross, rel=0.02)
    assert seen["energy"]["net"]["joules_per_inference"] == pytest.approx(0.6 * gross, rel=0.04)
    assert (seen["energy"]["scope"], seen["energy"]["sensor"]) == ("wall", "trace.csv")
    assert seen["latency_ms"] == before["files"][0]["latency_ms"]
    assert content["energy_run"]["offset_s"] == pytest.approx(-1000.0, abs=0.05)
    assert content["energy_run"]["faults"] == ["trace.csv:10: broken line 'broken'"]
    assert "trace.csv:10: broken line" in page(Path("three"))


def test_a_meter_s_file_alone_leaves_the_rest_unmeasured(capsys, net):
    Path("marks.csv").write_text(marks_text(session()))
    _trace(Path("trace.csv"), shift=0.0)
    meter = (net, "--meter", "trace.csv", "--marks", "marks.csv", "--volts", "5", "--json")
    (seen,) = json.loads(run(capsys, *meter)[1])["files"]
    assert seen["energy"]["joules_per_inference"] > 0
    assert seen["latency_ms"] is None
    assert "runs nothing" in seen["not_measured"]["latency_ms"]
    assert seen["energy"]["joules_per_inference"] == pytest.approx(5.0 * 2.0 / 20, rel=1e-2)
    code, _, err = run(capsys, net, net, *meter[1:])
    assert (code, "the marks have no window of" in err) == (2, True)
    code, _, err = run(capsys, *meter, "--offset", "1e5")
    assert code == 1


def test_a_published_trace_gives_its_published_energy(capsys, net):
    """MLPerf Tiny v1.0: 3372 uJ a keyword on a NUCLEO-L4R5ZI, five windows of 150 inferences."""
    name = "NUCLEO_L4R5ZI_kws_trace1"
    trace, stamps = (shared("energy") / f"{name}{end}" for end in ("-energy.bin", "-timestamps.json"))
    words = (net, "--meter", trace, "--marks", stamps, "--json")
    (seen,) = json.loads(run(capsys, *words, "--inferences", "150")[1])["files"]
    assert seen["energy"]["joules_per_inference"] == pytest.approx(3371.738e-6, rel=2e-4)
    assert (len(seen["energy"]["windows"]), seen["energy"]["net"]) == (5, None)
    code, _, err = run(capsys, *words)
    assert (code, "give --inferences N" in err) == (2, True)


def _trace(path: Path, *, shift: float) -> list[dict]:
    """A meter at 5 V that saw 2 W at rest and 5 W while the marks ran, with one broken line."""
    with open("marks.csv") as file:
        rows = [
            {
                **row,
                "start": float(row["start"]),
                "end": float(row["end"]),
                "inferences": int(row["inferences"] or 0),
            }
            for row in csv.DictReader(file)
        ]
    times = np.arange(rows[0]["start"] - 3, rows[-1]["end"] + 3, 0.005)
    watts = np.full(len(times), 2.0)
    for before, row in zip([rows[0], *rows], rows, strict=False):
        begun = row["start"] if row["label"] == "sync" else before["end"]
        if row["label"] != "idle":
            watts[(times >= begun) & (times < row["end"])] = 5.0
    watts += 0.01 * np.random.default_rng(0).standard_normal(len(times))
    lines = [f"{at + shift:.4f},{power / 5:.5f}" for at, power in zip(times, watts, strict=True)]
    lines[8] = "broken"
    path.write_text("time (s),current (A)\n" + "\n".join(lines) + "\n")
    return rows


def test_an_absent_sensor_that_was_named_is_one_line(capsys, net, bare):
    for name in ("rapl", "nonsense"):
        code, out, err = run(capsys, net, "--energy", "--sensor", name, "--root", bare)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert name in err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_counter_that_may_not_be_read_names_the_fix(capsys, net, bare):
    zone = bare / "sys/class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    for name, value in (("name", "package-0"), ("max_energy_range_uj", 262143328850), ("energy_uj", 5)):
        (zone / name).write_text(f"{value}\n")
    (zone / "energy_uj").chmod(0)
    code, _, err = run(capsys, net, "--energy", "--sensor", "rapl", "--root", bare)
    assert (code, "may not be read by this user" in err) == (2, True)


def test_a_sensor_that_vanishes_keeps_the_latency(capsys, net, tmp_path, short, monkeypatch):
    rails = Rails(tmp_path / "tree")

    def vanish(*words, **more):
        for file in rails.folder.iterdir():
            file.unlink()
        return run_windows(*words, **more)

    monkeypatch.setattr("edgekit.profile.energy_session.run_windows", vanish)
    code, out, _ = run(capsys, net, "--energy", "--root", rails.root, "--seconds", "0.1", "--json")
    (seen,) = json.loads(out)["files"]
    assert code == 0
    assert seen["latency_ms"]["p50"] > 0
    assert "the sensor has vanished" in seen["not_measured"]["energy"]


def test_ctrl_c_keeps_what_was_measured(capsys, net, monkeypatch):
    def stop(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Several, "_in_turns", stop)
    code, out, _ = run(capsys, net, net, "--seconds", "0.1", "--out", "kept")
    assert code == 130
    assert "stopped by Ctrl-C while measuring the files in turns" in out
    content = read_profile(Path("kept"))
    assert content is not None
    assert all(seen["latency_ms"] for seen in content["files"])
    assert content["files"][1]["speed_up_over_first"] is None


def test_the_power_mode_is_set_and_restored(capsys, net, bare, monkeypatch):
    folder = bare / "bin"
    folder.mkdir()
    (bare / "etc").mkdir()
    (bare / "etc/nvpmodel.conf").write_text("< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=7W >\n")
    (folder / "mode").write_text("0")
    tool = folder / "nvpmodel"
    tool.write_text(
        f'#!/bin/sh\ncd {folder}\nif [ "$1" = -m ]; then echo "$2" >mode; echo "$2" >>log; fi\n'
        'case $(cat mode) in 0) n=15W;; *) n=7W;; esac\necho "NV Power Mode: $n"; cat mode\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    words = (net, "--power-mode", "7W", "--root", bare, "--seconds", "0.1", "--json")
    state = json.loads(run(capsys, *words)[1])["state"]
    assert (state["power_mode_set"], state["before"]["power_mode"], state["after"]["power_mode"]) == (
        "7W",
        "7W",
        "7W",
    )
    assert (folder / "log").read_text().split() == ["1", "0"]
    code, _, err = run(capsys, net, "--power-mode", "8W", "--root", bare)
    assert (code, "is no mode of this board" in err) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sensor", "rapl"], "--sensor does nothing without --energy"),
        (["--quick"], "--quick does nothing without --energy"),
        (["--marks", "m.csv"], "--marks does nothing without --energy or --meter"),
        (["--volts", "5"], "--volts does nothing without --meter"),
        (["--meter", "t.csv"], "--meter needs the windows that ran: --marks FILE"),
        (["--meter", "t.csv", "--marks", "m.csv"], "meter: t.csv cannot be read"),
        (["--meter", "t.csv", "--marks", "m.csv", "--energy"], "Drop one."),
        (["--meter", "t.csv", "--marks", "m.csv", "--layers"], "so --layers has no place beside it"),
        (["--energy", "--marks", "m.csv", "--within", "1"], "--within looks at a sensor"),
        (["--energy", "--windows", "3"], "'3' must be a whole number from 5"),
        (["--energy", "--marks", "absent/m.csv"], "there is no folder 'absent'"),
        (["--published", "mlperf-tiny:wv"], "has no task 'wv'"),
        (["--batch", "0"], "'0' must be a whole number from 1"),
    ],
)
def test_words_that_do_not_go_together_are_one_line(capsys, net, words, said):
    code, out, err = run(capsys, net, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_published_results_stand_beside_and_say_what_they_are(capsys, net):
    code, out, _ = run(capsys, net, "--seconds", "0.1", "--published", "mlperf-tiny:kws", "--out", "with")
    assert code == 0
    assert "published, not measured here" in " ".join(out.split())
    assert "NUCLEO_L4R5ZI" in out
    assert "published, not measured here" in page(Path("with"))


def test_an_edited_profile_is_refused_by_field(capsys, net):
    run(capsys, net, "--seconds", "0.1", "--out", "good")
    text = (Path("good") / "profile.json").read_text()
    for path, value, said in (
        (("schema",), 2, "profile.schema"),
        (("files", 0, "latency_ms", "p50"), None, r"profile.files\[0\].latency_ms.p50"),
        (("files", 0, "not_measured", "energy"), "", r"profile.files\[0\].energy is null without a reason"),
        (("fronts",), {}, "profile.fronts"),
    ):
        content = json.loads(text)
        at = content
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value
        with pytest.raises(BadInput, match=f"^profile.json: {said}"):
            validate_profile(content)


def test_a_quick_window_is_two_seconds():
    assert EnergyPlan(quick=True).seconds(0.1) == traces.least_window(0.1, quick=True) == 2.0
    assert verb.EXAMPLE.startswith("edgekit profile")
