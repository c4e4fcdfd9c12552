"""The guides say the truth: every bash block of every guide runs, in a copy of the examples folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
GUIDES = sorted(path.name for path in EXAMPLES.glob("*.md"))


@pytest.mark.parametrize("guide", GUIDES)
def test_every_command_of_a_guide_runs(guide, tmp_path):
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    blocks = re.findall(r"```bash\n(.*?)```", (EXAMPLES / guide).read_text(), re.DOTALL)
    assert blocks
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
        cwd=tmp_path / "examples",
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
