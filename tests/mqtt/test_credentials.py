"""Certificates and passwords that cannot be used are said before anything is sent."""

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
