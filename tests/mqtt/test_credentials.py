"""Certificates and passwords that cannot be used are said before anything is sent."""

import os
from pathlib import Path

import pytest

from listener.config import BrokerSettings
from listener.errors import ConfigError
from listener.mqtt import credentials


def test_missing_password_file_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="cannot read the password"):
        credentials.password(BrokerSettings(password_file="/nowhere"))  # noqa: S106 - a path


@pytest.mark.parametrize(
    "settings_",
    [
        BrokerSettings(ca_file="/nowhere/ca.pem"),
        BrokerSettings(ca_file="/etc/hostname"),
        BrokerSettings(certificate_file="/nowhere/d-hall.pem"),
        BrokerSettings(key_file="/nowhere/d-hall.key"),
    ],
)
def test_unusable_certificates_are_a_config_error(settings_: BrokerSettings) -> None:
    with pytest.raises(ConfigError, match=r"certificate"):
        credentials.tls_context(settings_)


def test_pipe_in_place_of_a_file_is_refused_without_a_wait(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)

    with pytest.raises(ConfigError, match="cannot read the password"):
        credentials.password(BrokerSettings(password_file=str(pipe)))
    with pytest.raises(ConfigError, match="not a regular file"):
        credentials.tls_context(BrokerSettings(ca_file=str(pipe)))


def test_byte_order_mark_is_not_a_part_of_the_password(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_bytes("pässword\r\n".encode("utf-8-sig"))
    path.chmod(0o600)

    assert credentials.password(BrokerSettings(password_file=str(path))) == "pässword"


def test_password_in_utf_16_is_named(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_bytes("secret\r\n".encode("utf-16"))
    path.chmod(0o600)

    with pytest.raises(ConfigError, match="it is UTF-16 text; save it as UTF-8") as caught:
        credentials.password(BrokerSettings(password_file=str(path)))

    assert "secret" not in str(caught.value)


def test_password_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a\n")
    (tmp_path / "secret").chmod(0o600)
    (tmp_path / "link").symlink_to(tmp_path / "secret")

    assert credentials.password(BrokerSettings(password_file=str(tmp_path / "link"))) == "a"
