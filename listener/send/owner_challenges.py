"""Publication of the challenges to this device's owners, which hear signs; send reads none."""

import logging
from pathlib import Path
from typing import Final

from listener.mqtt import topics
from listener.mqtt.client import Broker, Message
from listener.mqtt.owner_challenges import LONGEST_BYTES
from listener.spool.files import OWNER_CHALLENGES
from listener.storage.atomic import FileVersion, read_plain_file, read_version

EXPIRY_S: Final = 24 * 3600
"""Message expiry: an answer to an older challenge is not valid."""

_log = logging.getLogger(__name__)


class ChallengePublisher:
    """Publisher of the file of challenges when it has changed, and on each connection.

    For one thread.

    Args:
        folder: the spool.
        device: name of this device.
        broker: the client.
    """

    def __init__(self, folder: Path, device: str, broker: Broker) -> None:
        self._path: Final = folder / OWNER_CHALLENGES
        self._topic: Final = topics.OWNER_CHALLENGES.name(device=device)
        self._broker: Final = broker
        self._published: FileVersion | None = None

    def on_connected(self) -> None:
        """Publish the file again in the next turn."""
        self._published = None

    def turn(self) -> None:
        """Publish the file if it has changed. Call with a connection."""
        version = read_version(self._path)
        if version is None or version == self._published:
            return
        self._published = version
        try:
            payload = read_plain_file(self._path, LONGEST_BYTES)
        except OSError as error:
            _log.warning("cannot read the challenges: %s", error.strerror)
            return
        topic = topics.OWNER_CHALLENGES
        self._broker.publish(
            Message(self._topic, payload, topic.qos, topic.retain, expiry_s=EXPIRY_S)
        )
