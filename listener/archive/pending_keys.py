"""Pending key rotations: the owners' shares of the one message that a device receives. Pure.

A device accepts one bounded message with the rotations of all owners (``docs/reference/mqtt.md``).
Each owner has the same share of it, so that no owner's changes keep another's from the device.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from listener.owner.key_rotation import LONGEST_BYTES


@dataclass(frozen=True, slots=True)
class PendingKey:
    """A key rotation that is to be published."""

    owner: str
    text: str
    """JSON of a ``KeyRotation``."""


def share_message(pending: Sequence[PendingKey], most_bytes: int = LONGEST_BYTES) -> list[str]:
    """Return the texts that fit one message, in order.

    Each owner in turn has one more of their newest rotations included, while there is room. The
    owner whose last change is oldest is first, so that frequent changes give no precedence.

    Args:
        pending: rotations for one device, oldest first.
        most_bytes: limit of the message, a JSON array of the texts.
    """
    newest_first: dict[str, list[int]] = {}
    for position in reversed(range(len(pending))):
        newest_first.setdefault(pending[position].owner, []).append(position)
    queues = sorted(newest_first.values(), key=lambda positions: positions[0])
    included: list[int] = []
    left_bytes = most_bytes - len("[]")
    while queues:
        remaining = []
        for positions in queues:
            position = positions.pop(0)
            needed_bytes = len(pending[position].text.encode()) + len(",")
            if needed_bytes > left_bytes:
                continue  # nor an older one, which a device could not apply without this one
            left_bytes -= needed_bytes
            included.append(position)
            if positions:
                remaining.append(positions)
        queues = remaining
    return [pending[position].text for position in sorted(included)]
