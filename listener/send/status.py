"""What the broker keeps for everybody who asks how this device is."""

import msgspec

from listener.ipc.notices import Tally
from listener.mqtt import topics
from listener.mqtt.broker import Message
from listener.release.state import VersionReport
from listener.spool.ledger import Counts


class Status(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the retained topic status says. Counters are as hear signed them."""

    state: str
    hearing: bool = False
    mute: str | None = None
    switch: str | None = None
    """What is fitted to cut the microphone; ``none``: only software mutes."""
    microphone: str | None = None
    """``open``, or why there is none."""
    losses: int = 0
    overruns: int = 0
    thresholds: dict[str, float] = {}
    """Score from which each word wakes."""
    counters: Tally | None = None
    signature: str | None = None
    spool: Counts | None = None
    waiting: int | None = None
    events_missed: int = 0
    version: VersionReport | None = None
    """Which version runs, and whether another is on its way."""


def will(device: str) -> Message:
    """Return what the broker says when this device vanishes."""
    return Message(
        topics.STATUS.name(device=device), topics.OFFLINE, topics.STATUS.qos, topics.STATUS.retain
    )
