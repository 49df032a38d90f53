"""Pending messages of owners: their shares of the one message that a device receives. Pure.

A device accepts one bounded message with the key rotations of all owners, and one with their
consents (``docs/reference/mqtt.md``). The archive cannot verify either, so an owner may have sent
any bytes for any device. No owner's messages keep another's from the device: each owner has one,
those first for whom the device has sealed clips, and what is left is shared.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from listener.owner.key_rotation import LONGEST_BYTES


@dataclass(frozen=True, slots=True)
class PendingMessage:
    """A key rotation or a consent that is to be published."""

    owner: str
    text: str
    """JSON of a ``KeyRotation`` or a ``Consent``."""


def share_message(
    pending: Sequence[PendingMessage], known: Collection[str], most_bytes: int = LONGEST_BYTES
) -> list[str]:
    """Return the texts that fit one message, in order.

    The newest text of each known owner is included, then that of each other owner; then each
    known owner in turn has an older one included, and then each other owner, while there is room.
    The owner whose last change is oldest is first, so that frequent changes give no precedence.

    Args:
        pending: texts for one device, oldest first.
        known: owners for whom this device has sealed clips.
        most_bytes: limit of the message, a JSON array of the texts.
    """
    newest_first: dict[str, list[int]] = {}
    for position in reversed(range(len(pending))):
        newest_first.setdefault(pending[position].owner, []).append(position)
    by_last_change = sorted(newest_first.items(), key=lambda item: item[1][0])
    known_first = sorted(by_last_change, key=lambda item: item[0] not in known)
    newest = [positions[0] for _, positions in known_first]
    older = [positions[1:] for owner, positions in by_last_change if owner in known]
    others = [positions[1:] for owner, positions in by_last_change if owner not in known]
    included: list[int] = []
    left_bytes = most_bytes - len("[]")
    skipped: set[str] = set()
    for position in (*newest, *_in_turn(older), *_in_turn(others)):
        message = pending[position]
        needed_bytes = len(message.text.encode()) + len(",")
        if message.owner in skipped or needed_bytes > left_bytes:
            skipped.add(message.owner)  # an older rotation cannot be applied without this one
            continue
        left_bytes -= needed_bytes
        included.append(position)
    return [pending[position].text for position in sorted(included)]


def _in_turn(queues: list[list[int]]) -> Iterator[int]:
    """Yield the first of each queue, then the second of each, and so on."""
    for depth in range(max(map(len, queues), default=0)):
        yield from (positions[depth] for positions in queues if depth < len(positions))
