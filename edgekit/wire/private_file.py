"""Files that hold secrets: written for their owner alone, and refused where others can read them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from edgekit.errors import BadInput

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read_private(path: Path) -> bytes:
    """The bytes of a secret; BadInput where group or others may open it."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            # Windows has no such modes: what it reports says nothing of who can read the file
            if mode & OTHERS and os.name != "nt":
                raise BadInput(
                    f"{path}: others on this machine can read this secret (mode {mode:03o}). "
                    f"Run: chmod 600 '{path}'"
                )
            return file.read()
    except FileNotFoundError:
        raise BadInput(f"{path}: there is no such file. Copy the whole folder, or join anew.") from None


def write_private(path: Path, content: bytes) -> None:
    """Write a secret whole or not at all, with mode 0600 from its first byte on."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
