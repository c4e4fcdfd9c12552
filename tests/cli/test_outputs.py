"""Output folders: resumed where the recipe agrees, refused otherwise, never overwritten silently."""

from __future__ import annotations

import pytest

from edgekit.cli.artefacts import artefact
from edgekit.cli.outputs import agrees, prepare
from edgekit.errors import BadInput
from edgekit.recipe import Recipe, load_recipe

ONE, TWO = Recipe(model="mlp", data="digits"), Recipe(model="mlp", data="digits", seed=1)


def test_a_new_folder_holds_the_recipe(tmp_path):
    folder = prepare(ONE, tmp_path / "out", name="a")
    assert load_recipe(folder) == ONE
    assert agrees(folder, ONE)
    assert not agrees(folder, TWO)


def test_the_same_recipe_resumes(tmp_path):
    folder = prepare(ONE, tmp_path / "out", name="a")
    (folder / "kept.txt").write_text("x")
    assert prepare(ONE, folder, name="a") == folder
    assert (folder / "kept.txt").exists()


def test_another_recipe_is_refused_unless_forced(tmp_path):
    folder = prepare(ONE, tmp_path / "out", name="a")
    (folder / "steps").mkdir()
    (folder / "steps" / "x").write_text("x")
    with pytest.raises(BadInput, match=r"another recipe.*--out.*--force"):
        prepare(TWO, folder, name="a")
    assert (folder / "steps" / "x").exists()
    assert load_recipe(prepare(TWO, folder, name="a", force=True)) == TWO
    assert [item.name for item in folder.iterdir()] == ["recipe.yaml"]


def test_a_folder_of_others_is_never_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("years")
    for force in (False, True):
        with pytest.raises(BadInput, match=r"no edgekit run wrote"):
            prepare(ONE, tmp_path, name="a", force=force)
    assert (tmp_path / "thesis.tex").read_text() == "years"
    with pytest.raises(BadInput, match=r"is a file"):
        prepare(ONE, tmp_path / "thesis.tex", name="a")


def test_force_follows_no_link_out_of_the_folder(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").write_text("x")
    folder = prepare(ONE, tmp_path / "out", name="a")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    prepare(TWO, folder, name="a", force=True)
    assert (tmp_path / "elsewhere" / "precious").exists()


def test_folders_are_numbered_and_an_unfinished_one_is_resumed(tmp_path):
    first = prepare(ONE, None, name="net", runs=tmp_path)
    assert first == tmp_path / "net-1"
    assert prepare(ONE, None, name="net", runs=tmp_path) == first
    assert prepare(TWO, None, name="net", runs=tmp_path) == tmp_path / "net-2"
    (first / "report.json").write_text("{}")
    assert prepare(ONE, None, name="net", runs=tmp_path) == tmp_path / "net-3"
    assert prepare(ONE, None, name="net", runs=tmp_path, force=True) == tmp_path / "net-4"


def test_numbers_go_past_nine(tmp_path):
    for number in (9, 10):
        (tmp_path / f"net-{number}").mkdir()
    assert prepare(ONE, None, name="net", runs=tmp_path) == tmp_path / "net-11"


def test_the_artefact_of_a_folder(tmp_path):
    with pytest.raises(BadInput, match=r"there is no"):
        artefact(tmp_path / "x", verb="audit")
    with pytest.raises(BadInput, match=r"neither report.json nor model.onnx"):
        artefact(tmp_path, verb="audit")
    (tmp_path / "model.onnx").write_bytes(b"x")
    assert artefact(tmp_path, verb="audit") == (tmp_path / "model.onnx", "cpu")
    (tmp_path / "report.json").write_text('{"target": "cpu", "result": {"artefact": "net.onnx"}}')
    with pytest.raises(BadInput, match=r"'net.onnx' .* is not in its folder"):
        artefact(tmp_path, verb="audit")
    (tmp_path / "net.onnx").write_bytes(b"x")
    assert artefact(tmp_path, verb="audit") == (tmp_path / "net.onnx", "cpu")
    (tmp_path / "report.json").write_text("[]")
    with pytest.raises(BadInput, match=r"is no report of edgekit"):
        artefact(tmp_path, verb="audit")


def test_a_report_cannot_point_out_of_its_folder(tmp_path):
    (tmp_path / "secret").write_text("x")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "report.json").write_text('{"target": "cpu", "result": {"artefact": "../secret"}}')
    with pytest.raises(BadInput, match=r"is not in its folder"):
        artefact(tmp_path / "run", verb="audit")


def test_several_boards_are_named(tmp_path):
    for board in ("arm64", "x86-vnni"):
        (tmp_path / board).mkdir()
        (tmp_path / board / "report.json").write_text("{}")
    with pytest.raises(BadInput, match=r"several boards. Name one: .*arm64, .*x86-vnni"):
        artefact(tmp_path, verb="profile")
