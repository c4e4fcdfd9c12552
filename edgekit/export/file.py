"""ONNX files: written whole or not at all, and read; with the reason where either cannot be done."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from edgekit.errors import BadInput

LARGEST = 2**31 - 1  # protobuf's limit


def read(path: Path, *, weights: bool = True) -> onnx.ModelProto:
    """A file that is there; BadInput where it is broken, or its external weights are missing."""
    try:
        return onnx.load(path, load_external_data=weights)
    except (DecodeError, UnicodeDecodeError, ValueError) as error:
        raise BadInput(f"{path}: this is not an ONNX file, or it is cut off. Export it again.") from error
    except (OSError, onnx.checker.ValidationError) as error:
        raise BadInput(
            f"{path}: its external weights cannot be read: {error}. Put the weight file beside it."
        ) from error


def write(model: onnx.ModelProto, path: Path) -> None:
    """Save a model through a temporary file beside it."""
    if model.ByteSize() > LARGEST:
        raise BadInput(
            f"export: {path} would be {model.ByteSize() / 2**30:.1f} GiB, past ONNX's limit of 2 GiB. "
            "Prune or quantize the model further."
        )
    data = model.SerializeToString()
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise BadInput(_why_not_written(path, len(data), error)) from error


def _why_not_written(path: Path, size: int, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(path.parent if path.parent.is_dir() else Path("/")).free
        return (
            f"export: the disk is full: {path} needs {size / 2**20:.1f} MiB and {free / 2**20:.1f} MiB are "
            "free. Free space, or choose another folder with --out."
        )
    return f"export: {path} cannot be written: {error.strerror}. Choose another folder with --out."
