"""Two sides of a network with a wall between them: the broker on this one, some agents in a namespace on the other."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from edgekit.coordinator.worker import Post
from edgekit.wire.address import Address

NEWNET: Final = 0x40000000  # CLONE_NEWNET


class Wall:
    """A namespace joined to this one by a pair of devices; `cut` lets nothing through, and tells no one."""

    def __init__(self) -> None:
        self.name = f"chaos-{os.getpid()}"
        self._here, self._there = f"ca{os.getpid()}", f"cb{os.getpid()}"
        number = os.getpid() % 4096
        self._net = f"10.{240 + number // 256}.{number % 256}"

    @property
    def host(self) -> str:
        """This side, as the other one sees it."""
        return f"{self._net}.1"

    @staticmethod
    def missing() -> str:
        """Why there can be none here; "" where there can."""
        if shutil.which("ip") is None:
            return "there is no ip (iproute2)"
        if os.geteuid() != 0:
            return "network namespaces need root"
        name = f"chaos-try-{os.getpid()}"
        done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
        if done.returncode:
            return f"no network namespaces here: {done.stderr.strip()}"
        _ip("netns", "delete", name)
        return ""

    def cut(self) -> None:
        """Let nothing through."""
        _ip("link", "set", self._here, "down")

    def heal(self) -> None:
        """Let everything through."""
        _ip("link", "set", self._here, "up")

    def behind(self, post: Post) -> Post:
        """The post of an agent on the other side."""
        port = Address.parse(post.url).port
        return Behind(
            **{**vars(post), "url": f"mqtt://{self.host}:{port}", "insecure": True}, space=self.name
        )

    def __enter__(self) -> Wall:
        _ip("netns", "add", self.name)
        _ip("link", "add", self._here, "type", "veth", "peer", "name", self._there, "netns", self.name)
        _ip("address", "add", f"{self.host}/24", "dev", self._here)
        _ip("link", "set", self._here, "up")
        for words in (
            ("address", "add", f"{self._net}.2/24", "dev", self._there),
            ("link", "set", self._there, "up"),
            ("link", "set", "lo", "up"),
        ):
            _ip("-n", self.name, *words)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _ip("netns", "delete", self.name)
        subprocess.run(["ip", "link", "delete", self._here], capture_output=True)


@dataclass(frozen=True)
class Behind(Post):
    """The post of an agent that goes into a namespace first."""

    space: str = ""

    def access(self, run: str, me: str) -> Any:
        """From there."""
        enter(self.space)
        return super().access(run, me)


def enter(space: str) -> None:
    """Go into a network namespace, with all threads to come."""
    with open(f"/run/netns/{space}") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter {space}")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
