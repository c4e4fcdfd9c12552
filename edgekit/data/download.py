"""Look-up of data files, and download with a checksum that is verified before the file is used."""

from __future__ import annotations

import gzip
import hashlib
import os
import urllib.request
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from edgekit.errors import BadInput


@dataclass(frozen=True)
class RemoteFile:
    """A file on the net and the digest of its bytes, or of its gunzipped bytes where `unpacked` is true."""

    url: str
    algorithm: str
    digest: str
    unpacked: bool = False

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.url.rpartition("/")[2]

    def matches(self, content: bytes) -> bool:
        """Whether `content` has the digest."""
        try:
            raw = gzip.decompress(content) if self.unpacked else content
        except (OSError, EOFError, zlib.error):
            return False
        return hashlib.new(self.algorithm, raw).hexdigest() == self.digest


def cache_folder(name: str) -> Path:
    """Where downloads of `name` live: $XDG_CACHE_HOME/edgekit/name, by default ~/.cache/edgekit/name."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "edgekit" / name


def fetch(source: RemoteFile, folder: Path, *, timeout: float = 60.0) -> Path:
    """Download into `folder` unless it is there, and return the path; a wrong checksum keeps nothing."""
    path = folder / source.name
    if path.is_file() and source.matches(path.read_bytes()):
        return path
    try:
        with urllib.request.urlopen(source.url, timeout=timeout) as answer:
            content = answer.read()
    except (OSError, HTTPException) as error:
        raise BadInput(
            f"download: {source.url} cannot be read: {error}. Fetch it by another way and give its folder "
            "as root."
        ) from error
    if not source.matches(content):
        raise BadInput(
            f"download: {source.url} does not have the known {source.algorithm} {source.digest}; it was "
            "not kept. Try again, or give a folder with the files as root."
        )
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(content)
    partial.replace(path)
    return path


def not_found(name: str, wanted: str, looked: Iterable[Path | str], remedy: str) -> BadInput:
    """The one line for data that are nowhere: what was wanted, where it was looked for, what to do."""
    places = ", ".join(str(place) for place in looked) or "nowhere, since no root was given"
    return BadInput(f"data '{name}': {wanted} not found (looked in: {places}). {remedy}")
