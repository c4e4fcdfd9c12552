"""`import edgekit` and `edgekit --help` are quick and load no torch; the public verbs are there."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

HEAVY = ("torch", "onnx", "onnxruntime", "matplotlib", "numpy", "rich", "networkx", "sklearn")
VERBS = ("boards", "targets", "doctor")


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def test_import_loads_nothing_heavy():
    assert python(f"import edgekit, sys; print([name for name in {HEAVY} if name in sys.modules])") == "[]"


def test_help_loads_nothing_heavy_and_lists_every_verb():
    out = python(
        "import sys; from edgekit.cli import main; code = main(['--help']);print([name for name in "
        f"{HEAVY} if name in sys.modules], code)"
    )
    assert out.endswith("[] 0")
    assert all(f"\n  {verb} " in out for verb in ("compress", "audit", "profile", "doctor"))


@pytest.mark.parametrize("code", ["import edgekit", "from edgekit.cli import main; main(['--help'])"])
def test_start_takes_under_half_a_second(code: str):
    def seconds() -> float:
        start = time.perf_counter()
        python(code)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(5)) < 0.5


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_loads_no_torch_and_ends_with_an_example(verb: str):
    out = python(
        "import contextlib, sys; from edgekit.cli import main\nwith contextlib.suppress(SystemExit): "
        f"main(['{verb}', '--help'])\nprint('torch' in sys.modules)"
    )
    lines = out.splitlines()
    assert lines[-1] == "False"
    assert lines[-3] == "example:"
    assert lines[-2].startswith(f"  edgekit {verb}")


def test_every_public_name_is_importable_and_documented():
    import edgekit

    for name in edgekit.__all__:
        value = getattr(edgekit, name)
        assert name == "__version__" or value.__doc__, name


def test_an_unknown_public_name_is_an_attribute_error():
    import edgekit

    with pytest.raises(AttributeError, match="no attribute 'comprss'"):
        edgekit.comprss  # noqa: B018


def test_the_version_is_the_distribution_s():
    from importlib.metadata import version

    import edgekit

    assert edgekit.__version__ == version("edgekit")
