"""Consents that a speaker keeps: the last of each owner, and those that count. Pure.

Hear keeps the table in a file of its own (``consent.json``), so that neither send nor a card nor a
message can change it: a consent is taken only with the owner's proof, and only above the number
that was taken before. ``docs/reference/voice-protocol.md`` has the protocol.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from listener.envelope.format import KeyId, ShortName
from listener.errors import ConfigError
from listener.owner.roster import Roster
from listener.voice.consent import Consent
from listener.voice.fields import ConsentNumber, Flag, ServiceKey

LONGEST_TABLE_BYTES: Final = 16 << 10
MOST_KEPT: Final = 64
"""Consents in a table; each key of an owner has one."""


class KeptConsent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an owner said last about voice control at this speaker, under one of their keys."""

    assist: ServiceKey
    """Public key of the assist that may receive command copies."""
    n: ConsentNumber
    """Number of the consent."""
    okey: KeyId
    """Fingerprint of the owner's key that proved it."""
    on: Flag
    owner: ShortName


class _TableFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    v: Literal[1] = 1
    consents: Annotated[tuple[KeptConsent, ...], Meta(max_length=MOST_KEPT)] = ()


@dataclass(frozen=True, slots=True)
class ConsentTable:
    """The kept consents, at most one for each key of an owner. Immutable."""

    kept: tuple[KeptConsent, ...] = ()

    def taking(
        self,
        said: Iterable[Consent],
        roster: Roster,
        device: str,
        is_proven: Callable[[Consent], bool],
    ) -> tuple["ConsentTable", int]:
        """Return the table after the consents that count for this speaker, and how many do not.

        A consent is taken if it names this speaker and the active key of an active owner, has a
        higher number than the kept one of that key, and is proven. A consent with the kept number
        is the kept one again, and is not verified.

        Args:
            said: from any source.
            roster: the speaker's roster.
            device: name of the speaker.
            is_proven: verifies the proof of a consent with the owner's active key; called last.
        """
        kept = {(one.owner, one.okey): one for one in self.kept}
        ignored = 0
        for consent in said:
            owner = roster.owner(consent.owner)
            place = (consent.owner, consent.okey)
            before = kept.get(place)
            if before is not None and before.n == consent.n:
                continue
            if (
                owner is None
                or not owner.active
                or consent.device != device
                or consent.okey != owner.okey
                or (before is not None and consent.n < before.n)
                or not is_proven(consent)
            ):
                ignored += 1
                continue
            kept[place] = KeptConsent(
                assist=consent.assist,
                n=consent.n,
                okey=consent.okey,
                on=consent.on,
                owner=consent.owner,
            )
        return _bounded(kept.values(), roster), ignored

    def withdrawn(self, owner: str) -> "ConsentTable":
        """Return the table after an owner said off at the speaker, under every key they have used.

        The number stays, so that the consent that is withdrawn cannot return.
        """
        return ConsentTable(
            tuple(
                msgspec.structs.replace(one, on=0) if one.owner == owner else one
                for one in self.kept
            )
        )

    def of_active_keys(self, roster: Roster) -> dict[str, KeptConsent]:
        """Return the kept consent of each active owner under their active key, by name."""
        active = {owner.name: owner.okey for owner in roster.owners if owner.active}
        return {one.owner: one for one in self.kept if active.get(one.owner) == one.okey}

    def counting(self, roster: Roster, keeper: str | None) -> dict[str, KeptConsent]:
        """Return the consents by which command copies may be made, by owner.

        The keeper chooses the assist that their speaker asks; each owner chooses whether it gets
        their commands. So the consent of another owner counts only if it names the assist in the
        keeper's, on or off.

        Args:
            roster: the speaker's roster; a consent under a replaced key, or of an owner who is not
                active, does not count.
            keeper: name of the speaker's keeper.
        """
        active = self.of_active_keys(roster)
        chosen = active.get(keeper) if keeper is not None else None
        if chosen is None:
            return {}
        return {name: one for name, one in active.items() if one.on and one.assist == chosen.assist}


def parse_table(data: bytes, source: str) -> ConsentTable:
    """Parse the file of a table.

    Args:
        data: any bytes are safe.
        source: its name for messages.

    Raises:
        ConfigError: the bytes are not a table. Nothing else is raised.
    """
    try:
        table = msgspec.json.decode(data, type=_TableFile)
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"the consents {source} are damaged", "remove the file; each owner says on again"
        ) from error
    places: Mapping[tuple[str, str], KeptConsent] = {
        (one.owner, one.okey): one for one in table.consents
    }
    if len(places) < len(table.consents):
        raise ConfigError(
            f"the consents {source} have an owner's key twice",
            "remove the file; each owner says on again",
        )
    return ConsentTable(table.consents)


def render_table(table: ConsentTable) -> bytes:
    """Return the file of a table: indented JSON, as `parse_table` reads it."""
    file = _TableFile(consents=table.kept)
    return msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n"


def _bounded(kept: Iterable[KeptConsent], roster: Roster) -> ConsentTable:
    """Return the table sorted; above `MOST_KEPT`, those under replaced keys go first."""
    active = {(owner.name, owner.okey) for owner in roster.owners}
    ordered = sorted(
        kept, key=lambda one: ((one.owner, one.okey) not in active, one.owner, one.okey)
    )
    return ConsentTable(tuple(ordered[:MOST_KEPT]))
