"""`edgekit split plan` from the outside: times kept in a file, links, and what is refused."""

from __future__ import annotations

import json

import pytest

from edgekit.cli import main

PLAN = ["split", "plan", "resnet8", "--data", "fashion-mnist"]


def planned(capsys, *words):
    assert main([*PLAN, *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_kept_times_are_planned_with_unscaled(tmp_path, capsys):
    path = tmp_path / "cam.json"
    assert main([*PLAN, "--times-out", str(path)]) == 0
    assert str(path) in capsys.readouterr().out
    alone = planned(capsys, "--device", f"cam={path}")["best"]
    assert alone["latency_ms"] == pytest.approx(1000 * sum(json.loads(path.read_text())["seconds"]))


def test_links_hops_and_energy_add_up(tmp_path, capsys):
    path = tmp_path / "cam.json"
    main([*PLAN, "--times-out", str(path)])
    capsys.readouterr()
    two = ["--device", f"cam={path},3", "--device", f"edge={path},20", "--aim", "energy"]
    words = [*two, "--link", "cam,edge=50,2,1.5"]
    free, handled = (planned(capsys, *words, "--hop", hop)["single_cuts"] for hop in ("0", "0.5,8"))
    known = json.loads(path.read_text())["seconds"]
    for one, other in zip(by_cut(free), by_cut(handled), strict=True):
        size = sum(one["bytes"])
        assert other["latency_ms"] - one["latency_ms"] == pytest.approx(bool(size) * 0.5 + size * 8e-6)
        assert one["joules"] == pytest.approx(other["joules"])
        transfer = bool(size) * 2.0 + 8000 * size / 50e6
        assert one["latency_ms"] == pytest.approx(1000 * sum(known) + transfer)
    cut = next(row for row in free if row["agents"] == ["cam"])
    assert cut["joules"] == pytest.approx(3 * sum(known))


def by_cut(rows):
    return sorted(rows, key=lambda row: (row["agents"], row["cuts"]))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--device", "cam=none.json"], "--times-out"),
        (["--device", "cam=0"], "--device cam=0"),
        (["--device", "cam=1,x"], "--device cam=1,x"),
        (["--device", "cam=1", "--device", "cam=2"], "each name once"),
        (["--device", "cam=inf"], "inf"),
        (["--device", "a", "--device", "b", "--link", "a,c=10"], "such as a,b=100,5"),
        (["--device", "a", "--device", "b", "--link", "a,b=0"], "more than 0"),
        (["--device", "a", "--device", "b", "--link", "a,b=1,2,3,4"], "JOULES_PER_MB"),
        (["--device", "a", "--device", "b", "--hop", "-1"], "MS_PER_MB"),
        (["--mbps", "0"], "--mbps"),
        (["--device", "a", "--device", "b", "--aim", "energy", "--cuts", "1"], "watts"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_a_line(words, said, capsys):
    assert main([*PLAN, *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") <= 2
