"""mosquitto's file; that mosquitto reads it so is shown in ``tests/system``."""

from listener.household import mosquitto


def lines(folder: str = "/etc/mosquitto/earmark", port: int = 8883) -> dict[str, str]:
    """Return each setting; fail where one stands twice."""
    text = mosquitto.render_configuration(folder, port)
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
