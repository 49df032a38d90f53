"""mosquitto's file; that mosquitto reads it so is shown in ``tests/system``.

The table in the documents, the rights in code and mosquitto's file are one and the same.
"""

import re
from pathlib import Path

from listener.household import broker_config, identity
from listener.household.broker_config import TopicRights, render_acl, topic_rights
from listener.household.identity import HouseholdIdentity


def lines(folder: str = "/etc/mosquitto/earmark", port: int = 8883) -> dict[str, str]:
    """Return each setting; fail where one stands twice."""
    text = broker_config.render_configuration(folder, port)
    found = [line.split(" ", 1) for line in text.splitlines() if line and line[0] != "#"]
    settings = dict(found)
    assert len(settings) == len(found)
    return settings


def test_there_is_one_listener_and_nobody_without_a_certificate() -> None:
    found = lines(port=8899)

    assert found["listener"] == "8899"
    assert found["tls_version"] == "tlsv1.3"
    assert found["require_certificate"] == "true"
    assert found["allow_anonymous"] == "false"


def test_names_come_from_the_certificate_alone() -> None:
    found = lines()

    assert found["use_identity_as_username"] == "true"
    assert found["use_username_as_clientid"] == "true"
    assert "password_file" not in found


def test_the_largest_envelope_passes_and_little_more() -> None:
    largest = (1 << 20) + 3 * 1024 + 128

    assert largest < int(lines()["max_packet_size"]) < largest * 1.05


def test_every_file_is_named_with_its_folder() -> None:
    found = lines("/a folder")

    files = {name for name in found if name.endswith("file")}
    assert files == {"cafile", "certfile", "keyfile", "crlfile", "acl_file"}
    assert all(found[name].startswith("/a folder/") for name in files)


ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| `([dos]-[^`]+)` \|(.*)\|(.*)\|$", re.MULTILINE)


def table() -> dict[str, TopicRights]:
    """Return what ``docs/reference/mqtt.md`` grants, by identity as it is written there."""
    text = (ROOT / "docs" / "reference" / "mqtt.md").read_text("utf-8")
    return {
        who: TopicRights(
            tuple(re.findall("`([^`]+)`", says)), tuple(re.findall("`([^`]+)`", hears))
        )
        for who, says, hears in ROW.findall(text)
    }


def test_the_table_in_the_documents_is_what_the_code_grants() -> None:
    written = {identity.device("<device>".strip("<>")): "d-<device>"}
    written |= {identity.owner("ada"): "o-<owner>"}
    written |= {who: who.cn for who in identity.SERVICES if topic_rights(who) != TopicRights()}

    told = table()

    assert set(told) == set(written.values())
    for who, name in written.items():
        granted = told[name]
        assert topic_rights(who) == TopicRights(
            tuple(topic.replace("<device>", "device") for topic in granted.writes),
            tuple(topic.replace("<device>", "device") for topic in granted.reads),
        )


def test_each_identity_has_a_section_of_its_own_and_no_pattern_is_for_all() -> None:
    everybody = [identity.device("hall"), identity.owner("ada"), *identity.SERVICES]

    text = render_acl(everybody)

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
    assert not topic_rights(identity.owner("hall")).writes
    assert topic_rights(identity.owner("hall")).reads == ("earmark/v1/status/+",)


def test_servers_may_do_nothing_at_the_broker() -> None:
    assert all(topic_rights(who) == TopicRights() for who in identity.SERVERS)
    assert topic_rights(HouseholdIdentity("s-stranger")) == TopicRights()


def test_order_and_repetition_change_nothing() -> None:
    two = [identity.device("hall"), identity.owner("ada")]

    assert render_acl(two) == render_acl([*reversed(two), *two])
