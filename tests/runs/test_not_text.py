"""Files that are no text are refused in a line, whatever they were given as."""

from __future__ import annotations

import pytest

from edgekit.cli import main


@pytest.mark.parametrize("verb", ["simulate", "split", "compress"])
def test_bytes_that_are_no_text_are_refused_in_a_line(verb, tmp_path, capsys):
    path = tmp_path / "run.yaml"
    path.write_bytes(b"model: \xff\xfe\n")
    assert main([verb, str(path)]) == 2
    error = capsys.readouterr().err
    assert "UTF-8" in error
    assert str(path) in error
    assert "Traceback" not in error
