"""Consents that a speaker keeps: the last of each owner, and those that count. Pure.

Hear keeps the table in a file of its own (``consent.json``), so that neither send nor a card nor a
message can change it: a consent is taken only with the owner's proof, and only above the number
that was taken before. A second file of the same format has those that are off, so that damage to
the first ends no "off". ``docs/reference/voice-protocol.md`` has the protocol.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from listener.envelope.format import KeyId, ShortName
from listener.errors import ConfigError
from listener.owner.records import Owner
from listener.owner.roster import Roster
from listener.voice.consent import Consent
from listener.voice.fields import ConsentNumber, Flag, ServiceKey

LONGEST_TABLE_BYTES: Final = 16 << 10
LAST_NUMBER: Final = 1 << 53
MOST_KEPT: Final = 64
"""Consents in a table; each key of an owner has one."""
_REPAIR: Final = (
    "remove the file; if consent.json and consent-off.json are both damaged, remove both, and"
    " repeat for each owner who ended it here: earmark owner voice off NAME"
)


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

    def stated_at_speaker(
        self, owner: Owner, roster: Roster, *, on: bool, assist: str, now_s: int
    ) -> "ConsentTable":
        """Return the table after an owner said on or off at the speaker itself.

        The number becomes higher than the kept one, and at least the time: the owner's commands
        elsewhere number by time too (``clips/voice_view.py``), so that a consent which is withheld
        meanwhile does not count when it arrives. An off is for every key that the owner has used.

        Args:
            owner: the owner; for an on, the active one whose proof the caller has checked.
            roster: the speaker's roster.
            on: whether command copies may be made.
            assist: public key of the assist, ``ed25519:…``; an off keeps the assist of before.
            now_s: seconds since 1970.
        """
        place = (owner.name, owner.okey)
        table = self if on else self.withdrawn(owner.name, now_s)
        kept = {(one.owner, one.okey): one for one in table.kept}
        before = kept.get(place)
        if on or before is None:
            n = _next_number(0 if before is None else before.n, now_s)
            kept[place] = KeptConsent(
                assist=assist, n=n, okey=owner.okey, on=int(on), owner=owner.name
            )
        return _bounded(kept.values(), roster)

    def withdrawn(self, owner: str, now_s: int) -> "ConsentTable":
        """Return the table after an owner's consents were withdrawn at the speaker.

        Args:
            owner: name of the owner, who need not be in the roster.
            now_s: seconds since 1970.
        """
        return ConsentTable(
            tuple(
                msgspec.structs.replace(one, n=_next_number(one.n, now_s), on=0)
                if one.owner == owner
                else one
                for one in self.kept
            )
        )

    def withdrawals(self) -> "ConsentTable":
        """Return the table of the consents that are off."""
        return ConsentTable(tuple(one for one in self.kept if not one.on))

    def with_withdrawals(self, withdrawals: "ConsentTable") -> "ConsentTable":
        """Return the table in which each withdrawal counts that no later consent replaced.

        Args:
            withdrawals: as `withdrawals` returned them, of now or of before.
        """
        kept = {(one.owner, one.okey): one for one in self.kept}
        for one in withdrawals.kept:
            before = kept.get((one.owner, one.okey))
            if before is None or before.n <= one.n:
                kept[one.owner, one.okey] = one
        return ConsentTable(tuple(kept.values()))

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
            f"the consents {source} are damaged",
            _REPAIR,
        ) from error
    places: Mapping[tuple[str, str], KeptConsent] = {
        (one.owner, one.okey): one for one in table.consents
    }
    if len(places) < len(table.consents):
        raise ConfigError(
            f"the consents {source} have an owner's key twice",
            _REPAIR,
        )
    return ConsentTable(table.consents)


def render_table(table: ConsentTable) -> bytes:
    """Return the file of a table: indented JSON, as `parse_table` reads it."""
    file = _TableFile(consents=table.kept)
    return msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n"


def _next_number(last: int, now_s: int) -> int:
    return min(max(last + 1, now_s, 1), LAST_NUMBER)


def _bounded(kept: Iterable[KeptConsent], roster: Roster) -> ConsentTable:
    """Return the table sorted; above `MOST_KEPT`, those under replaced keys go first."""
    active = {(owner.name, owner.okey) for owner in roster.owners}
    ordered = sorted(
        kept, key=lambda one: ((one.owner, one.okey) not in active, one.owner, one.okey)
    )
    return ConsentTable(tuple(ordered[:MOST_KEPT]))
