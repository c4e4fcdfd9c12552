"""A folder that one process at a time writes to."""

from __future__ import annotations

import time
from pathlib import Path
from typing import IO

from edgekit.errors import BadInput

NAME = "lock"


def locked(folder: Path, complaint: str, *, patience: float = 0.0) -> IO[bytes]:
    """A file in the folder that is this process's until it is closed; on Windows others may open it too.

    BadInput "FOLDER: COMPLAINT" where another process has not let go of it within `patience` seconds.
    """
    file = open(folder / NAME, "wb")  # noqa: SIM115
    try:
        import fcntl
    except ImportError:  # Windows
        return file
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except OSError as error:
            if time.monotonic() > until:
                file.close()
                raise BadInput(f"{folder}: {complaint}") from error
            time.sleep(0.1)
