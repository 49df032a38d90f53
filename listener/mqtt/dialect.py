"""Which version of MQTT is spoken, what is said in it alone, and which one is tried next."""

from typing import Literal

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties


class ProtocolVersion:
    """MQTT 5, or 3.1.1 where that was asked for or the broker knows no better.

    Args:
        asked: one of them, or ``auto``: the newer one first, the other where it is not understood.
    """

    def __init__(self, version: Literal["auto", "5", "3.1.1"]) -> None:
        self._may_change = version == "auto"
        self._preferred = (
            MQTTProtocolVersion.MQTTv311 if version == "3.1.1" else MQTTProtocolVersion.MQTTv5
        )
        self._spoken = self._preferred

    @property
    def is_v5(self) -> bool:
        """Whether version 5 is spoken now."""
        return self._spoken == MQTTProtocolVersion.MQTTv5

    @property
    def has_fallback(self) -> bool:
        """Whether another version is left to try."""
        return self._may_change and self._spoken == self._preferred

    def new_client(self, client_id: str) -> paho.Client:
        """Return a new client that speaks it."""
        return paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=None if self.is_v5 else True,
            protocol=self._spoken,
            reconnect_on_failure=False,
        )

    def connect(
        self, client: paho.Client, host: str, port: int, keepalive_s: int, longest_bytes: int
    ) -> None:
        """Open a client's connection.

        Args:
            client: as ``new_client`` returned it.
            host: the broker's.
            port: the broker's.
            keepalive_s: how long the connection may be silent.
            longest_bytes: the longest packet that we want; 3.1.1 cannot say it.

        Raises:
            OSError: there is nobody, or no trust.
            ValueError: paho cannot make anything of the address.
        """
        if not self.is_v5:
            client.connect(host, port, keepalive_s)
            return
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # no types in paho
        properties.MaximumPacketSize = longest_bytes
        client.connect(host, port, keepalive_s, clean_start=True, properties=properties)

    def fall_back(self) -> None:
        """Try the other version next, where none was asked for."""
        if self._may_change:
            self._spoken = (
                MQTTProtocolVersion.MQTTv311 if self.is_v5 else MQTTProtocolVersion.MQTTv5
            )

    def start_over(self) -> None:
        """Try the preferred version next: another broker may answer."""
        self._spoken = self._preferred
