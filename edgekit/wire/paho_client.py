"""paho's client with a shorter way for what comes in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from paho.mqtt.client import Client, MQTTErrorCode

QUALITY, RETAINED = 0x06, 0x01  # bits of the first byte of a PUBLISH
ONCE_OR_MORE: Final = 0x02  # quality of service 1


class PahoClient(Client):
    """A client that calls `hear(topic, payload, retained)` instead of `on_message`.

    paho copies a payload five times on its way to `on_message`. Here it stays where it was received, in a bytearray
    that belongs to whoever hears it. This relies on names within paho 2.2. Where one is not as it was, or a packet is
    out of the ordinary, paho goes its own way, which ends in `on_message`.
    """

    hear: Callable[[str, bytes | bytearray, bool], None]

    def _handle_publish(self) -> MQTTErrorCode:
        try:
            first, packet = self._in_packet["command"], self._in_packet["packet"]
            begin = 2 + (packet[0] << 8 | packet[1])
            topic, quality = packet[2:begin].decode(), first & QUALITY
            if quality > ONCE_OR_MORE or not 2 < begin <= len(packet):
                return super()._handle_publish()
            if quality:
                mid = packet[begin] << 8 | packet[begin + 1]
                begin += 2
            if self.protocol == 5:
                if packet[begin]:  # it has properties
                    return super()._handle_publish()
                begin += 1
            acknowledge = self._send_puback
            del packet[:begin]  # from the front of a bytearray: no byte is moved
        except (AttributeError, KeyError, TypeError, IndexError, UnicodeDecodeError):
            return super()._handle_publish()
        self.hear(topic, packet, bool(first & RETAINED))
        return acknowledge(mid) if quality else MQTTErrorCode.MQTT_ERR_SUCCESS
