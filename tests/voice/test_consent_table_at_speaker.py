"""What an owner says at the speaker itself: above every consent of before, off for every key."""

import msgspec
import pyrage
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from listener.envelope import keys
from listener.owner.roster import Roster
from listener.voice.consent import Consent
from listener.voice.consent_table import (
    LAST_NUMBER,
    MOST_KEPT,
    ConsentTable,
    KeptConsent,
    parse_table,
    render_table,
)

ASSIST, OTHER = (keys.device_text(Ed25519PrivateKey.generate().public_key()) for _ in range(2))
NOW_S = 1_800_000_000


def roster_of(*names: str) -> Roster:
    roster = Roster()
    for name in names:
        roster = roster.with_owner(name, str(pyrage.x25519.Identity.generate().to_public()))
        roster = roster.with_challenge(name, "x", 0).with_confirmation(name, "x", 0)
    return roster


ROSTER = roster_of("ada", "bob")
ADA = ROSTER.known_owner("ada")


def stated(
    table: ConsentTable, *, on: bool, now_s: int = NOW_S, assist: str = ASSIST
) -> KeptConsent:
    changed = table.stated_at_speaker(ADA, ROSTER, on=on, assist=assist, now_s=now_s)
    assert parse_table(render_table(changed), "a test") == changed
    return changed.of_active_keys(ROSTER)["ada"]


def kept(n: int, on: int = 1, okey: str = ADA.okey, owner: str = "ada") -> KeptConsent:
    return KeptConsent(assist=ASSIST, n=n, okey=okey, on=on, owner=owner)


def take(table: ConsentTable, n: int, on: int = 1) -> ConsentTable:
    said = Consent(
        assist=ASSIST, code="A" * 43 + "=", device="hall", n=n, okey=ADA.okey, on=on, owner="ada"
    )
    return table.taking([said], ROSTER, "hall", lambda _: True)[0]


def test_off_needs_no_earlier_consent_and_ends_what_is_withheld() -> None:
    """An operator who withheld an on of a minute ago cannot deliver it after the off."""
    off = stated(ConsentTable(), on=False)

    assert (off.on, off.n) == (0, NOW_S)
    table = ConsentTable((off,))
    assert take(table, NOW_S - 60) == table
    assert take(table, NOW_S) == table
    assert take(table, NOW_S + 1).counting(ROSTER, "ada").keys() == {"ada"}


def test_off_keeps_the_assist_and_on_names_another() -> None:
    table = ConsentTable((kept(5),))

    assert stated(table, on=False, assist=OTHER) == kept(NOW_S, on=0)
    assert stated(table, on=True, assist=OTHER) == msgspec.structs.replace(
        kept(NOW_S), assist=OTHER
    )


def test_number_grows_while_the_clock_is_at_1970_and_stops_at_the_last() -> None:
    assert stated(ConsentTable((kept(5),)), on=False, now_s=0).n == 6
    assert stated(ConsentTable(), on=False, now_s=0).n == 1
    assert stated(ConsentTable((kept(LAST_NUMBER),)), on=False).n == LAST_NUMBER


def test_off_is_for_every_key_of_the_owner_and_for_no_one_else() -> None:
    table = ConsentTable((kept(5), kept(3, okey="o" * 24), kept(7, owner="bob", okey="b" * 24)))

    after = table.stated_at_speaker(ADA, ROSTER, on=False, assist=ASSIST, now_s=NOW_S)

    assert {(one.owner, one.on) for one in after.kept} == {("ada", 0), ("bob", 1)}
    assert {one.n for one in after.kept if one.owner == "ada"} == {NOW_S}
    assert table.withdrawn("ada", NOW_S).kept[2] == table.kept[2]
    on = table.stated_at_speaker(ADA, ROSTER, on=True, assist=ASSIST, now_s=NOW_S)
    assert kept(3, okey="o" * 24) in on.kept, "another key of theirs has its own consents"


@given(count=st.integers(0, MOST_KEPT), on=st.booleans())
def test_table_stays_within_its_bound(count: int, on: bool) -> None:  # noqa: FBT001 - drawn
    others = tuple(kept(1, okey=f"{number:024}", owner="bob") for number in range(count))
    # Digits are not in a fingerprint; the table's file is not written here.
    after = ConsentTable(others).stated_at_speaker(ADA, ROSTER, on=on, assist=ASSIST, now_s=NOW_S)

    assert len(after.kept) <= MOST_KEPT
    assert "ada" in after.of_active_keys(ROSTER)
