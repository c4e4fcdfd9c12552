"""Code that a run document names: refused before anything of it is imported, unless the owner allows it as it is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgekit.coordinator.names import check_names, hash_of, hashes, references, source_of
from edgekit.errors import BadInput


class Trap:
    """A package whose every module writes a file when it is imported."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.marks = folder, folder / "marks"
        self.marks.mkdir()
        for name in ("trap", "trap.inner", "trap.inner.net", "trap.other"):
            path = folder.joinpath(*name.split("."))
            package = name in ("trap", "trap.inner")
            file = path / "__init__.py" if package else path.with_suffix(".py")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"open({str(self.marks / name)!r}, 'w').close()\nclass Net: ...\n")
        (folder / "own.py").write_text(f"open({str(self.marks / 'own')!r}, 'w').close()\nclass Net: ...\n")

    @property
    def sprung(self) -> list[str]:
        """The modules that were imported."""
        loaded = [name for name in sys.modules if name == "trap" or name.startswith("trap.")]
        return sorted(path.name for path in self.marks.iterdir()) + loaded


@pytest.fixture
def trap(tmp_path, monkeypatch) -> Trap:
    monkeypatch.syspath_prepend(tmp_path)
    return Trap(tmp_path)


NET = "trap.inner.net:Net"


def test_references_are_found_wherever_they_stand():
    values = {
        "model": {"a.b:C": {"inner": ["d.e:F", 3, None, {"./x.py:Y": 1}]}},
        "algorithm": "d-psgd",
        "initial_weights": "/weights.safetensors",
        "loss": ("g:H",),
    }
    assert references(values) == ["./x.py:Y", "/weights.safetensors", "a.b:C", "d.e:F", "g:H"]
    assert references({"algorithm": "d-psgd", "topology": "ring"}) == []


def test_a_module_is_found_and_hashed_without_being_imported(trap):
    path = source_of(NET)
    assert path == trap.folder / "trap" / "inner" / "net.py"
    assert hashes({"model": NET}) == {NET: hash_of(path)}
    assert source_of("trap.inner:Net") == trap.folder / "trap" / "inner" / "__init__.py"
    assert source_of("trap:Net") == trap.folder / "trap" / "__init__.py"
    assert trap.sprung == []


@pytest.mark.parametrize(
    "allow",
    [(), ("trap.other",), ("trap.inner.ne",), ("tra",), ("trap.inner.net.more",), ("/",), ("",)],
)
def test_code_that_no_prefix_allows_is_refused_before_it_is_imported(trap, allow):
    sources = hashes({"model": NET})
    with pytest.raises(BadInput, match=r"does not allow.*add 'trap.inner.net' to `allow`"):
        check_names({"model": NET}, sources, allow)
    assert trap.sprung == []


@pytest.mark.parametrize("allow", [("trap",), ("trap.inner",), ("trap.inner.net",), (NET,), ("x", "trap")])
def test_code_that_a_prefix_allows_passes_and_is_not_imported_either(trap, allow):
    check_names({"model": {NET: {}}}, hashes({"model": NET}), allow)
    assert trap.sprung == []


def test_another_version_is_refused(trap):
    sources = hashes({"model": NET})
    with (trap.folder / "trap" / "inner" / "net.py").open("a") as file:
        file.write("# changed\n")
    with pytest.raises(BadInput, match="another version than the starter's"):
        check_names({"model": NET}, sources, ("trap",))
    with pytest.raises(BadInput, match="another version"):
        check_names({"model": NET}, {}, ("trap",))
    assert trap.sprung == []


def test_what_is_not_here_is_said(trap):
    for name in ("trap.inner.gone:Net", "gone.net:Net", "trap.other.net:Net", ".:Net", "..x:Net", ":Net"):
        with pytest.raises(BadInput, match=r"not on this machine|does not allow"):
            check_names({"model": name}, {name: "00"}, ("trap", "gone"))
        with pytest.raises(BadInput, match="no such file or module"):
            hashes({"model": name})
    assert trap.sprung == []


def test_files_are_allowed_by_themselves_or_their_folder(trap):
    name = f"{trap.folder}/own.py:Net"
    sources = hashes({"model": name})
    for allow in ((str(trap.folder),), (f"{trap.folder}/own.py",), (name,)):
        check_names({"model": name}, sources, allow)
    for allow in ((), ("own",), ("own.py",), (str(trap.folder / "elsewhere"),), (str(trap.folder)[:-1],)):
        with pytest.raises(BadInput, match="does not allow"):
            check_names({"model": name}, sources, allow)
    assert trap.sprung == []


def test_no_way_round_leads_out_of_an_allowed_folder(trap):
    inside = trap.folder / "trap"
    (inside / "link.py").symlink_to(trap.folder / "own.py")
    for name in (f"{inside}/../own.py:Net", f"{inside}/link.py:Net"):
        with pytest.raises(BadInput, match="does not allow"):
            check_names({"model": name}, hashes({"model": name}), (str(inside),))
    assert trap.sprung == []


def test_the_folder_of_the_user_is_known_by_its_tilde(trap, monkeypatch):
    monkeypatch.setenv("HOME", str(trap.folder))
    check_names({"model": "~/own.py:Net"}, hashes({"model": "~/own.py:Net"}), ("~/own.py",))
    check_names({"model": "~/own.py:Net"}, hashes({"model": "~/own.py:Net"}), (f"{trap.folder}/",))


def test_first_weights_need_no_permission_but_must_be_the_same(tmp_path):
    weights = tmp_path / "first.safetensors"
    weights.write_bytes(b"weights")
    values = {"initial_weights": str(weights)}
    check_names(values, hashes(values), ())
    weights.write_bytes(b"others")
    with pytest.raises(BadInput, match="another version"):
        check_names(values, {str(weights): "00"}, ())


def test_modules_without_a_file_are_none(tmp_path, monkeypatch):
    (tmp_path / "spaced").mkdir()  # a namespace package
    monkeypatch.syspath_prepend(tmp_path)
    assert source_of("spaced:Net") is None
    assert source_of("sys:exit") is None  # built in
    assert source_of("/no/such.py:Net") is None


def test_what_edgekit_brings_needs_no_permission():
    check_names({"algorithm": "d-psgd", "topology": "ring", "model": {"mlp": {"width": 8}}}, {}, ())
    with pytest.raises(BadInput, match="does not allow"):  # not even its own modules by another way
        check_names({"model": "edgekit.registry:load_object"}, {}, ())
