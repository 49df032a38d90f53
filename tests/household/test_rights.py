"""The table in the documents, the rights in code and mosquitto's file are one and the same."""

import re
from pathlib import Path

from listener.household import identity
from listener.household.identity import Identity
from listener.household.rights import Rights, acl, rights

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| `([dos]-[^`]+)` \|(.*)\|(.*)\|$", re.MULTILINE)


def table() -> dict[str, Rights]:
    """Return what ``docs/reference/mqtt.md`` grants, by identity as it is written there."""
    text = (ROOT / "docs" / "reference" / "mqtt.md").read_text("utf-8")
    return {
        who: Rights(tuple(re.findall("`([^`]+)`", says)), tuple(re.findall("`([^`]+)`", hears)))
        for who, says, hears in ROW.findall(text)
    }


def test_the_table_in_the_documents_is_what_the_code_grants() -> None:
    written = {identity.device("<device>".strip("<>")): "d-<device>"}
    written |= {identity.owner("ada"): "o-<owner>"}
    written |= {who: who.cn for who in identity.SERVICES if rights(who) != Rights()}

    told = table()

    assert set(told) == set(written.values())
    for who, name in written.items():
        granted = told[name]
        assert rights(who) == Rights(
            tuple(topic.replace("<device>", "device") for topic in granted.writes),
            tuple(topic.replace("<device>", "device") for topic in granted.reads),
        )


def test_each_identity_has_a_section_of_its_own_and_no_pattern_is_for_all() -> None:
    everybody = [identity.device("hall"), identity.owner("ada"), *identity.SERVICES]

    text = acl(everybody)

    assert "pattern" not in text
    assert "%" not in text
    assert "readwrite" not in text
    before, *sections = text.split("\nuser ")
    assert "topic" not in before
    assert [section.split("\n")[0] for section in sections] == [
        "d-hall",
        "o-ada",
        "s-archive",
        "s-home-assistant",
        "s-household",
    ]


def test_a_person_named_like_a_device_gets_nothing_of_its_rights() -> None:
    assert not rights(identity.owner("hall")).writes
    assert rights(identity.owner("hall")).reads == ("earmark/v1/status/+",)


def test_servers_may_do_nothing_at_the_broker() -> None:
    assert all(rights(who) == Rights() for who in identity.SERVERS)
    assert rights(Identity("s-stranger")) == Rights()


def test_order_and_repetition_change_nothing() -> None:
    two = [identity.device("hall"), identity.owner("ada")]

    assert acl(two) == acl([*reversed(two), *two])
