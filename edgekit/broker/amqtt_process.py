"""The process of the embedded broker: python -m edgekit.broker.amqtt_process HOST PORT, until its input ends."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator
from typing import Any, Final

from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker

ANOTHER_VERSION: Final = b"\x20\x02\x00\x01"  # the answer to CONNECT: unacceptable protocol version
LEVEL: Final = 4  # of MQTT 3.1.1
BEGIN: Final = 12  # bytes of the shortest CONNECT up to its flags, and fewer than any whole one


class Broker311(Broker):
    """amqtt, which leaves a client of MQTT 5 without an answer where that has a will: it is told the version here.

    And amqtt 0.12.1 drops a client that connects while another subscribes: it goes through what changes meanwhile.
    """

    def __init__(self, configuration: dict[str, Any]) -> None:
        super().__init__(configuration)
        self._subscriptions = _Steady()

    async def stream_connected(self, reader: StreamReader, writer: StreamWriter, listener_name: str) -> None:
        """Refuse other versions, and hand all else on."""
        begin = await reader.read(BEGIN)
        while 0 < len(begin) < BEGIN and (more := await reader.read(BEGIN - len(begin))):
            begin += more
        _, name, rest = begin.partition(b"\x00\x04MQTT")
        if name and rest[:1] > bytes([LEVEL]):
            writer.write(ANOTHER_VERSION)
            await writer.drain()
            writer.close()
            return
        await self.external_connected(_Begun(begin, reader), StreamWriterAdapter(writer), listener_name)


class _Steady(dict[str, Any]):
    """A dict that may change while someone goes through its keys."""

    def __iter__(self) -> Iterator[str]:
        return iter(list(self.keys()))


class _Begun(StreamReaderAdapter):
    """A stream of which some was read already."""

    def __init__(self, begin: bytes, reader: StreamReader) -> None:
        super().__init__(reader)
        self._begin = begin

    async def read(self, n: int = -1) -> bytes:
        if not self._begin:
            return bytes(await super().read(n))
        if n < 0:
            taken, self._begin = self._begin, b""
            return taken + bytes(await super().read(n))
        taken, self._begin = self._begin[:n], self._begin[n:]
        return taken if len(taken) == n else taken + bytes(await super().read(n - len(taken)))


def main(host: str, port: int) -> None:
    """Serve until SIGTERM, or until whoever holds the other end of standard input is gone."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is for whoever started it, who may need it a little longer
    asyncio.run(_serve(host, port))


async def _serve(host: str, port: int) -> None:
    broker = Broker311(_configuration(host, port))
    await broker.start()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    await broker.shutdown()


def _configuration(host: str, port: int) -> dict[str, Any]:
    """Its plugins are named, since those that it has by default log every packet."""
    return {
        "listeners": {"default": {"type": "tcp", "bind": f"{f'[{host}]' if ':' in host else host}:{port}"}},
        "plugins": {
            "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True},
            "amqtt.plugins.sys.broker.BrokerSysPlugin": {"sys_interval": -1},
        },
    }


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
