"""FINN's environment: found only when complete, made again after a kill, refused where it does not belong."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from finn_rig import needs_finn

from edgekit.errors import BadInput, EdgekitError
from targets.fpga.finn import environment


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKIT_FINN", str(tmp_path / "finn"))
    return tmp_path / "finn"


@pytest.fixture
def quick(monkeypatch):
    """An install that makes the folder's skeleton alone; it returns the commands that would have run."""
    commands = []

    def run(command, what):
        commands.append(command)
        if "venv" in command:
            home = environment.location()
            (home / "bin").mkdir(parents=True, exist_ok=True)
            (home / "pyvenv.cfg").write_text("home = /usr/bin\n")
            (home / "bin" / "python").symlink_to(sys.executable)
        return json.dumps({"python": "3.11.7", "packages": {"finn-plus": "1.6.1"}})

    monkeypatch.setattr(environment, "_run", run)
    return commands


def test_it_lives_in_the_cache_or_where_the_variable_says(tmp_path, monkeypatch):
    monkeypatch.delenv("EDGEKIT_FINN", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert environment.location() == tmp_path / "edgekit" / "finn"
    monkeypatch.setenv("EDGEKIT_FINN", str(tmp_path / "elsewhere"))
    assert environment.location() == tmp_path / "elsewhere"


def test_an_absent_environment_is_one_line_with_the_command_and_the_size(folder):
    assert environment.find() is None
    assert environment.probe() == f"FINN is not installed in {folder}"
    with pytest.raises(EdgekitError, match=r"Run: edgekit doctor --install fpga \(0.7 GB\)"):
        environment.require()


def test_the_size_is_said_before_anything_is_made(folder, quick):
    said = []
    made = environment.install(lambda line: said.append((line, list(quick))))
    assert said[0] == (f"FINN needs 0.7 GB in {folder}: 54 packages, 130 MB to download.", [])
    assert made == environment.find() == environment.require()
    assert made.finn == "1.6.1"
    assert environment.install(said.append) == made
    assert said[-1] == f"FINN 1.6.1 is installed in {folder}."


def test_a_kill_leaves_no_marker_and_the_next_install_starts_anew(folder, quick, monkeypatch):
    def killed(folder):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(environment, "_checked", killed)
        with pytest.raises(KeyboardInterrupt):
            environment.install(lambda line: None)
    assert environment.probe() == f"FINN is only partly installed in {folder}"
    assert environment.find() is None
    (folder / "bin" / "python").unlink()
    environment.install(lambda line: None)
    assert environment.find() is not None
    assert sum("--clear" in command for command in quick) == 2


def test_other_releases_and_a_lost_interpreter_are_told(folder, quick):
    environment.install(lambda line: None)
    marker = folder / environment.MARKER
    text = marker.read_text()
    marker.write_text(text.replace('"requirements": "', '"requirements": "old'))
    assert "has other releases than this edgekit asks for" in environment.probe()
    marker.write_text("{")
    assert "cannot be read" in environment.probe()
    marker.write_text(text)
    (folder / "bin" / "python").unlink()
    assert environment.probe().endswith("is gone")


def test_a_folder_with_other_files_is_refused(folder):
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(BadInput, match="holds other files"):
        environment.install(lambda line: None)
    assert (folder / "thesis.tex").read_text() == "years of work"


def test_a_failed_command_is_one_line():
    with pytest.raises(BadInput, match=r"pip failed: ERROR: no such thing\. Then run again: edgekit doctor"):
        environment._run([sys.executable, "-c", "import sys; sys.exit('ERROR: no such thing')"], "pip failed")


def test_an_old_python_needs_another_on_the_path(monkeypatch):
    monkeypatch.setattr(environment.sys, "version_info", (3, 10, 1))
    monkeypatch.setattr(environment.shutil, "which", lambda name: "/opt/py" if name == "python3.12" else None)
    assert environment._python() == "/opt/py"
    monkeypatch.setattr(environment.shutil, "which", lambda name: None)
    with pytest.raises(BadInput, match=r"needs Python 3.11 to 3.14"):
        environment._python()


def test_every_requirement_is_pinned():
    names = [line.split("==") for line in environment._packages()]
    assert all(len(parts) == 2 for parts in names)
    assert dict(names)["finn-plus"] == "1.6.1"


@needs_finn
def test_the_real_environment_has_what_is_pinned():
    found = environment.require()
    pinned = dict(line.lower().split("==") for line in environment._packages())
    assert {name: found.packages.get(name) for name in pinned} == {
        name: {"mip": "1.17"}.get(name, number) for name, number in pinned.items()
    }
    answer = subprocess.run(
        [found.python, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True
    )
    assert answer.returncode == 0
