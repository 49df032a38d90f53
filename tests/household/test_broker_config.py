"""The files for mosquitto, compared with the documented rights; ``tests/system`` runs mosquitto."""

import re
from pathlib import Path

import pytest

from listener.errors import UsageError
from listener.household import broker_config, identity
from listener.household.broker_config import TopicRights, render_acl, topic_rights
from listener.household.identity import HouseholdIdentity


def read_settings(folder: str = "/etc/mosquitto/earmark", port: int = 8883) -> dict[str, str]:
    """Return each setting; fail if one occurs twice."""
    text = broker_config.render_configuration(folder, port)
    pairs = [line.split(" ", 1) for line in text.splitlines() if line and line[0] != "#"]
    settings = dict(pairs)
    assert len(settings) == len(pairs)
    return settings


def test_one_listener_requires_a_client_certificate() -> None:
    settings = read_settings(port=8899)

    assert settings["listener"] == "8899"
    assert settings["tls_version"] == "tlsv1.3"
    assert settings["require_certificate"] == "true"
    assert settings["allow_anonymous"] == "false"


def test_names_come_from_the_certificate() -> None:
    settings = read_settings()

    assert settings["use_identity_as_username"] == "true"
    assert settings["use_username_as_clientid"] == "true"
    assert "password_file" not in settings


def test_packet_limit_fits_the_largest_envelope() -> None:
    largest = (1 << 20) + 3 * 1024 + 128

    assert largest < int(read_settings()["max_packet_size"]) < largest * 1.05


def test_configuration_names_files_by_absolute_path() -> None:
    settings = read_settings("/a folder")

    files = {name for name in settings if name.endswith("file")}
    assert files == {"cafile", "certfile", "keyfile", "crlfile", "acl_file"}
    assert all(settings[name].startswith("/a folder/") for name in files)


def test_bridge_carries_what_home_assistant_may_use() -> None:
    text = broker_config.render_bridge("/etc/mosquitto/x", "home.lan", 8899)
    topics = [line.split()[1:] for line in text.splitlines() if line.startswith("topic ")]
    rights = topic_rights(identity.HOME_ASSISTANT)

    assert "address home.lan:8899\n" in text
    inward = {topic for topic, direction, _ in topics if direction == "in"}
    assert inward <= {*rights.reads, "homeassistant/device/+/config"}
    outward = {topic: int(qos) for topic, direction, qos in topics if direction == "out"}
    # The text of an announcement is stored by no broker; a command outlasts a short disconnection.
    assert outward == {"earmark/v1/command/+": 1, "earmark/v1/announce/+": 0}
    assert outward.keys() <= {*rights.writes}
    assert "/etc/mosquitto/x/s-home-assistant.key\n" in text


@pytest.mark.parametrize("folder", ["x", "", "/a\nuser root"])
def test_folder_of_a_bridge_is_an_absolute_path_in_one_line(folder: str) -> None:
    with pytest.raises(UsageError):
        broker_config.render_bridge(folder, "home.lan", 8883)


ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| `([dos]-[^`]+)` \|(.*)\|(.*)\|$", re.MULTILINE)


def table() -> dict[str, TopicRights]:
    """Return what ``docs/reference/mqtt.md`` grants, by identity as it is written there."""
    text = (ROOT / "docs" / "reference" / "mqtt.md").read_text("utf-8")
    return {
        who: TopicRights(
            tuple(re.findall("`([^`]+)`", writes)), tuple(re.findall("`([^`]+)`", reads))
        )
        for who, writes, reads in ROW.findall(text)
    }


def test_documented_rights_equal_granted_rights() -> None:
    written = {identity.device("<device>".strip("<>")): "d-<device>"}
    written |= {identity.owner("ada"): "o-<owner>"}
    written |= {who: who.cn for who in identity.SERVICES if topic_rights(who) != TopicRights()}

    written[identity.archive(2)] = "s-archive-<number>"
    documented = table()

    assert set(documented) == set(written.values())
    for who, name in written.items():
        rights = documented[name]
        assert topic_rights(who) == TopicRights(
            tuple(topic.replace("<device>", "device") for topic in rights.writes),
            tuple(topic.replace("<device>", "device") for topic in rights.reads),
        )


def test_acl_has_one_section_per_identity_and_no_pattern() -> None:
    members = [identity.device("hall"), identity.owner("ada"), *identity.SERVICES]

    text = render_acl(members)

    assert "pattern" not in text
    assert "%" not in text
    assert "readwrite" not in text
    before, *sections = text.split("\nuser ")
    assert "topic" not in before
    assert [section.split("\n")[0] for section in sections] == [
        "d-hall",
        "o-ada",
        "s-archive",
        "s-assist",
        "s-home-assistant",
        "s-household",
    ]


def test_owner_named_like_a_device_gets_none_of_its_rights() -> None:
    assert not topic_rights(identity.owner("hall")).writes
    assert topic_rights(identity.owner("hall")).reads == ("earmark/v1/status/+",)


def test_server_identities_have_no_topic_rights() -> None:
    assert all(topic_rights(who) == TopicRights() for who in identity.SERVERS)
    assert topic_rights(HouseholdIdentity("s-stranger")) == TopicRights()


def test_further_servers_and_the_proxy_have_no_topic_rights() -> None:
    for who in (identity.broker(2), identity.broker(identity.MOST_BROKERS), identity.PROXY):
        assert topic_rights(who) == TopicRights()


def test_acl_is_independent_of_order_and_duplicates() -> None:
    two = [identity.device("hall"), identity.owner("ada")]

    assert render_acl(two) == render_acl([*reversed(two), *two])
