"""Board files: a board and its variants, and what is refused in a file."""

from __future__ import annotations

import pytest

from edgekit.errors import BadInput
from firmware_bridge.boards import THIS_MACHINE, BoardFiles, read_board

MINE = """
title = "A board"
target = "jetson"
[cores]
value = 2
source = "its data sheet"
[tensorrt]
value = "10.3"
source = "its manual"
"""


def written(folder, text, *, name="mine"):
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def test_a_variant_replaces_facts_and_their_sources():
    board, older = map(BoardFiles().load, ("jetson-orin-nano", "jetson-orin-nano-jetpack-5"))
    assert older.title == f"{board.title}, JetPack 5.1"
    assert (board.target, older.target) == ("jetson", "jetson")
    changed = {fact for fact in board.facts if board.facts[fact] != older.facts[fact]} - {"sources"}
    assert changed == {"jetpack", "tensorrt", "python", "cuda", "power_modes", "os", "glibc"}
    sources, newer = older.facts["sources"], board.facts["sources"]
    assert {fact for fact in newer if sources[fact] != newer[fact]} == changed
    assert "5.1.1" in sources["tensorrt"]


def test_a_variant_without_a_title_is_called_by_its_name(tmp_path):
    path = written(tmp_path, f'{MINE}[variants.old.tensorrt]\nvalue = "8.5"\nsource = "an old manual"\n')
    assert BoardFiles(tmp_path).names() == ["mine", "mine-old", THIS_MACHINE]
    board = BoardFiles(tmp_path).load("mine-old")
    assert board == read_board(path, "old")
    assert (board.name, board.title) == ("mine-old", "A board, old")
    assert board.facts["cores"] == 2
    assert board.facts["tensorrt"] == "8.5"
    assert board.facts["sources"] == {"cores": "its data sheet", "tensorrt": "an old manual"}
    assert read_board(path).facts["tensorrt"] == "10.3"


def test_a_file_comes_before_a_variant_of_its_name(tmp_path):
    written(tmp_path, f'{MINE}[variants.old]\ntitle = "the variant"\n')
    written(tmp_path, MINE.replace("A board", "The file"), name="mine-old")
    assert BoardFiles(tmp_path).names() == ["mine", "mine-old", THIS_MACHINE]
    assert BoardFiles(tmp_path).load("mine-old").title == "The file"


@pytest.mark.parametrize(
    ("variants", "match"),
    [
        (
            '[variants.old.tensorrt]\nvalue = "8.5"',
            r"mine\.toml: the fact 'variants\.old\.tensorrt' needs a value and a source\. "
            r"Write \[variants\.old\.tensorrt\]",
        ),
        (
            '[variants.old.tensorrt]\nsource = "a manual"',
            "'variants.old.tensorrt' needs a value and a source",
        ),
        ('[variants.old]\ntensorrt = "8.5"', "'variants.old.tensorrt' needs a value and a source"),
        (
            '[variants.old.tensorrd]\nvalue = "8.5"\nsource = "a manual"',
            r"mine\.toml: the variant 'old' replaces 'tensorrd', a fact that the board does not have\. "
            r"Did you mean 'tensorrt'\? Correct the name, or add \[tensorrd\]",
        ),
        ("[variants.old]\ntitle = 5", "the title of the variant 'old' is not text"),
        ("[variants]\nold = 5", "variants are tables of facts"),
    ],
)
def test_broken_variants_are_one_line(tmp_path, variants, match):
    written(tmp_path, f"{MINE}{variants}\n")
    for name in BoardFiles(tmp_path).names():
        if name != THIS_MACHINE:
            with pytest.raises(BadInput, match=match):
                BoardFiles(tmp_path).load(name)


def test_variants_that_are_no_table_are_one_line(tmp_path):
    written(tmp_path, f"variants = 5\n{MINE}")
    with pytest.raises(BadInput, match="variants are tables of facts"):
        BoardFiles(tmp_path).load("mine")


def test_a_broken_file_leaves_the_others_usable(tmp_path):
    written(tmp_path, MINE)
    written(tmp_path, "title = ", name="broken")
    boards = BoardFiles(tmp_path)
    assert boards.names() == ["broken", "mine", THIS_MACHINE]
    assert boards.load("mine").facts["cores"] == 2
    with pytest.raises(BadInput, match=r"broken\.toml cannot be read"):
        boards.load("broken")


def test_unknown_variants_are_one_line(tmp_path):
    path = written(tmp_path, f'{MINE}[variants.jetpack-5]\ntitle = "JetPack 5"\n')
    with pytest.raises(BadInput, match=r"has no variant 'jetpack-6'\. Did you mean 'jetpack-5'\?"):
        read_board(path, "jetpack-6")
    with pytest.raises(BadInput, match="Did you mean 'mine-jetpack-5'"):
        BoardFiles(tmp_path).load("mine-jetpack-6")
