"""What chaos costs: the chaos tests as a matrix of what was done, what was logged, and what it cost.

Needs Mosquitto; the partitions need root. Exit code 1 where a test failed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from common import REPOSITORY, Cases, parser

ASKED = "ends, with a logged reason, within its bound of the undisturbed run"
COLUMNS = ("done", "logged", "rounds", "lost", "longest_wait", "metric", "undisturbed", "seconds")


def main() -> int:
    options = parser(__doc__, smoke="one test").parse_args()
    cases = Cases("chaos", 0)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        words = [
            "tests/chaos",
            f"--junitxml={report}",
            "-o",
            "junit_family=xunit1",
            f"--basetemp={folder}/runs",
        ]
        if options.smoke:
            words += ["-k", "test_frames_that_come_twice"]
        environment = {**os.environ, "EDGEKIT_CHAOS": "all"}
        subprocess.run(
            [sys.executable, "-m", "pytest", *words], cwd=REPOSITORY, env=environment, stdout=sys.stderr
        )
        for name, met, figures in results(report):
            cases.add(name, met=None if options.smoke else met, asked=ASKED, **figures)
    return cases.finish(COLUMNS)


def results(report: Path) -> Iterator[tuple[str, bool, dict[str, Any]]]:
    """(test, whether it passed, its figures) of all that were not skipped."""
    for case in ElementTree.parse(report).iter("testcase"):
        if case.find("skipped") is not None:
            continue
        met = case.find("failure") is None and case.find("error") is None
        rows = [item.get("value", "{}") for item in case.iter("property") if item.get("name") == "chaos"]
        figures = json.loads(rows[-1]) if rows else {}
        if figures:
            figures |= {"done": "; ".join(figures["acts"]), "logged": "; ".join(figures["reasons"])}
            figures["lost"] = " ".join(str(count) for count in figures["lost"].values())
        yield str(case.get("name")).removeprefix("test_").replace("_", " "), met, figures


if __name__ == "__main__":
    sys.exit(main())
