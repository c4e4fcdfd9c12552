"""Stands for a bench meter, so that profile.md runs as it is: 5 V, 0.4 A at rest, 1 A while the marks ran, and noise.

Its clock began 20 s before the first burst, as a meter's clock begins when it is switched on.
"""

import csv
import random

with open("marks.csv") as file:
    marks = [(float(row["start"]), float(row["end"]), row["label"]) for row in csv.DictReader(file)]
first, last, noise = marks[0][0], marks[-1][1], random.Random(0)


def amperes(at: float) -> float:
    """What runs between two windows is the load of the later one."""
    label = next((label for _, end, label in marks if at < end), "idle")
    burst = any(start <= at < end for start, end, _ in marks)
    return 1.0 if (burst and label != "idle") or label not in ("idle", "sync") else 0.4


with open("trace.csv", "w") as file:
    file.write("time (s),current (A)\n")
    for step in range(int(100 * (last - first + 8))):
        at = first - 4 + step / 100
        file.write(f"{16 + step / 100:.2f},{amperes(at) + noise.gauss(0, 0.01):.5f}\n")
