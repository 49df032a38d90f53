"""Who may say and hear what at the broker: the table of ``docs/reference/mqtt.md`` as data. Pure.

Each identity gets a section of its own, spelt out. mosquitto's patterns with ``%u`` are never
used: they hold for everybody, and would let a person publish as a device of her name.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from listener.household import identity
from listener.household.identity import Identity, Kind
from listener.mqtt import topics

HOME_ASSISTANT_STATUS: Final = "homeassistant/status"
HOME_ASSISTANT_ALL: Final = "homeassistant/#"


@dataclass(frozen=True, slots=True)
class Rights:
    """Topics and patterns of topics."""

    writes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()


def rights(who: Identity) -> Rights:
    """Return what an identity may do; nothing else is granted to anybody."""
    match who.kind:
        case Kind.DEVICE:
            return Rights(
                writes=(
                    topics.CLIP.all(device=who.name),
                    topics.STATUS.name(device=who.name),
                    topics.EVENT.name(device=who.name),
                ),
                reads=(
                    topics.ACK.all(device=who.name),
                    topics.COMMAND.name(device=who.name),
                    topics.RETENTION.all(),
                    topics.KEYS.name(device=who.name),
                ),
            )
        case Kind.OWNER:
            # No clips: those she fetches from the archive, with proof of her key. No events: when
            # others' speakers woke is theirs.
            return Rights(reads=(topics.STATUS.all(),))
        case Kind.SERVICE:
            return _SERVICES.get(who, Rights())


_SERVICES: Final = {
    identity.ARCHIVE: Rights(
        writes=(
            topics.ACK.all(),
            topics.STATUS.name(device=identity.ARCHIVE.name),
            topics.RETENTION.all(),
            topics.KEYS.all(),
        ),
        # Its own head too: one that is ahead of its log says that an old copy was put back.
        reads=(topics.CLIP.all(), topics.STATUS.name(device=identity.ARCHIVE.name)),
    ),
    identity.HOUSEHOLD: Rights(
        writes=(topics.DISCOVERY.all(),),
        reads=(topics.DISCOVERY.all(),),
    ),
    identity.HOME_ASSISTANT: Rights(
        writes=(topics.COMMAND.all(), HOME_ASSISTANT_STATUS),
        reads=(topics.STATUS.all(), topics.EVENT.all(), HOME_ASSISTANT_ALL),
    ),
}


def acl(everybody: Iterable[Identity]) -> str:
    """Write mosquitto's access control file: a section for each identity that has any right."""
    text = "# Made by earmark household, which writes it anew. Nobody has a right not named here.\n"
    for who in sorted(set(everybody)):
        granted = rights(who)
        if granted == Rights():
            continue
        text += f"\nuser {who.cn}\n"
        text += "".join(f"topic write {topic}\n" for topic in granted.writes)
        text += "".join(f"topic read {topic}\n" for topic in granted.reads)
    return text
