"""A tool's environment: found only when complete, made again after a kill, refused where it does not belong."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version

import pytest

from edgekit.errors import BadInput, EdgekitError
from targets.fpga import tool
from targets.fpga.finn.environment import FINN
from targets.fpga.hls4ml.environment import HLS4ML

TOOLS = [FINN, HLS4ML]


@pytest.fixture(params=TOOLS, ids=lambda one: one.name)
def one(request, tmp_path, monkeypatch):
    monkeypatch.setenv(request.param.variable, str(tmp_path / "place"))
    monkeypatch.setattr(tool.shutil, "which", lambda name: f"/usr/bin/{name}")
    return request.param


@pytest.fixture
def quick(monkeypatch, one):
    """An install that makes the folder's skeleton alone; the commands that would have run."""
    commands = []

    def run(self, command):
        commands.append(command)
        if "venv" in command:
            home = self.location()
            (home / "bin").mkdir(parents=True, exist_ok=True)
            (home / "pyvenv.cfg").write_text("home = /usr/bin\n")
            (home / "bin" / "python").unlink(missing_ok=True)
            (home / "bin" / "python").symlink_to(sys.executable)
        return json.dumps({"python": "3.11.7", "packages": {self.package: "1.2.3"}})

    monkeypatch.setattr(tool.Tool, "_run", run)
    return commands


@pytest.mark.parametrize("known", TOOLS, ids=lambda one: one.name)
def test_it_lives_in_the_cache_or_where_the_variable_says(known, tmp_path, monkeypatch):
    monkeypatch.delenv(known.variable, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert known.location() == tmp_path / "edgekit" / known.name.lower()
    monkeypatch.setenv(known.variable, str(tmp_path / "elsewhere"))
    assert known.location() == tmp_path / "elsewhere"


def test_an_absent_one_is_told_with_the_command(one):
    assert one.find() is None
    assert one.probe() == f"{one.name} is not installed in {one.location()}"
    with pytest.raises(EdgekitError, match=one.command):
        one.require()


def test_it_is_made_once_and_says_its_size_first(one, quick):
    said = []
    made = one.install(lambda line: said.append((line, len(quick))))
    assert (made.release, made.python_version) == ("1.2.3", "3.11.7")
    assert made == one.find() == one.require()
    assert one.size in said[0][0]
    assert said[0][1] == 0
    assert "--no-deps" in quick[1]
    commands = len(quick)
    assert one.install(lambda line: None) == made
    assert len(quick) == commands


def test_a_kill_leaves_no_marker_and_the_next_install_starts_anew(one, quick, monkeypatch):
    def killed(self, command):
        if "pip" in command:
            raise KeyboardInterrupt
        self.location().mkdir(parents=True, exist_ok=True)
        (self.location() / "pyvenv.cfg").touch()
        return ""

    with monkeypatch.context() as broken:
        broken.setattr(tool.Tool, "_run", killed)
        with pytest.raises(KeyboardInterrupt):
            one.install(lambda line: None)
    assert one.probe() == f"{one.name} is only partly installed in {one.location()}"
    one.install(lambda line: None)
    assert one.find() is not None


def test_what_is_broken_is_named(one, quick, monkeypatch):
    one.install(lambda line: None)
    marker = one.location() / tool.MARKER
    content = json.loads(marker.read_text())
    for text in (json.dumps({**content, "requirements": "other"}), "{", "[]"):
        marker.write_text(text)
        assert "has other releases than this edgekit asks for" in one.probe()
    marker.write_text(json.dumps(content))
    (one.location() / "bin" / "python").unlink()
    assert one.probe().endswith("is gone")


def test_a_folder_of_other_files_is_left_alone(one, quick):
    one.location().mkdir()
    (one.location() / "thesis.tex").touch()
    with pytest.raises(BadInput, match=one.variable):
        one.install(lambda line: None)
    assert (one.location() / "thesis.tex").exists()
    assert quick == []


def test_pip_s_reason_is_one_line(one):
    with pytest.raises(BadInput, match=rf"no such thing. Then run again: {one.command}"):
        one._run([sys.executable, "-c", "import sys; sys.exit('ERROR: no such thing')"])


def test_an_absent_compiler_is_named_with_its_package(monkeypatch, tmp_path):
    monkeypatch.setenv(HLS4ML.variable, str(tmp_path / "place"))
    monkeypatch.setattr(tool.shutil, "which", lambda name: None)
    with pytest.raises(BadInput, match=r"apt install g\+\+"):
        HLS4ML.install(lambda line: None)


def test_an_old_python_needs_another_on_the_path(one, monkeypatch):
    monkeypatch.setattr(tool.sys, "version_info", (3, 10, 1))
    monkeypatch.setattr(tool.shutil, "which", lambda name: "/opt/py" if name == "python3.12" else None)
    assert one._interpreter() == "/opt/py"
    monkeypatch.setattr(tool.shutil, "which", lambda name: None)
    with pytest.raises(BadInput, match=r"needs Python 3\.11 to 3\.14"):
        one._interpreter()


@pytest.mark.parametrize("known", TOOLS, ids=lambda one: one.name)
def test_every_package_is_pinned_once(known):
    names = [line.split("==") for line in known.pins]
    assert all(len(pair) == 2 for pair in names)
    assert len({name.lower() for name, _ in names}) == len(names)
    assert known.package in {name for name, _ in names}


@pytest.mark.parametrize("known", TOOLS, ids=lambda one: one.name)
def test_what_is_installed_is_what_is_pinned(known):
    found = known.find()
    if found is None:
        pytest.skip(known.probe())
    pins = dict(line.lower().split("==") for line in known.pins)
    installed = {name.lower().replace("_", "-"): release for name, release in found.packages.items()}
    same = {"mip": "1.17"}  # as it names itself
    wanted = {name: same.get(name, release) for name, release in pins.items()}
    assert {name: installed.get(name.replace("_", "-")) for name in pins} == wanted
    assert version("edgekit")  # which the environment does not have
    assert "edgekit" not in installed
