"""Files of a folder, a tar or a zip, read one by one and never unpacked to disk."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from edgekit.errors import BadInput

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2")


def is_archive(path: Path) -> bool:
    """Whether the name is that of an archive `entries` reads."""
    return path.is_file() and path.name.lower().endswith(ENDINGS)


def entries(source: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """(path inside, bytes) of each file whose name ends with one of `suffixes`; folders in sorted order."""
    try:
        if source.is_dir():
            yield from _folder(source, suffixes)
        elif zipfile.is_zipfile(source):
            yield from _zip(source, suffixes)
        else:
            yield from _tar(source, suffixes)
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError) as error:
        raise BadInput(
            f"data: '{source}' cannot be read: {error}. Give a folder, or a whole .zip or .tar."
        ) from error


def _folder(source: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    for path in sorted(source.rglob("*")):
        if path.name.lower().endswith(suffixes) and path.is_file():
            yield path.relative_to(source).as_posix(), path.read_bytes()


def _zip(source: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(source) as archive:
        for name in sorted(archive.namelist()):
            if name.lower().endswith(suffixes):
                yield name, archive.read(name)


def _tar(source: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(source) as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.isfile() else None
            if stream is not None and member.name.lower().endswith(suffixes):
                yield member.name, stream.read()
