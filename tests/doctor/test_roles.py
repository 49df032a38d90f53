from pathlib import Path

import msgspec
import pytest

from listener.config import AssistSettings, AttributionSettings, Config
from listener.doctor.roles import Role, find_configured_roles, find_installed_roles

ACCESS = msgspec.convert({"token_file": "/etc/earmark/assist/token"}, AssistSettings)
WANTS = "etc/systemd/system/multi-user.target.wants"


@pytest.mark.parametrize(
    ("units", "roles"),
    [
        ((), ()),
        (("earmark-hear", "earmark-send"), ("speaker",)),
        (("earmark-archive",), ("hub",)),
        (("earmark-archive", "earmark-hear"), ("speaker", "hub")),
        (("earmark-assist", "earmark-archive"), ("hub", "assist")),
    ],
)
def test_installed_roles_are_the_enabled_services(
    tmp_path: Path, units: tuple[str, ...], roles: tuple[Role, ...]
) -> None:
    (tmp_path / WANTS).mkdir(parents=True)
    for unit in units:
        # As systemctl --root makes it: the target need not exist on this computer.
        (tmp_path / WANTS / f"{unit}.service").symlink_to(f"/lib/systemd/system/{unit}.service")

    assert find_installed_roles(tmp_path) == roles


@pytest.mark.parametrize(
    ("names", "keeper", "assist", "roles"),
    [
        ((), None, AssistSettings(), ("speaker",)),
        (("device.key", "spool"), "ada", AssistSettings(), ("speaker",)),
        (("archive", "household"), None, AssistSettings(), ("hub",)),
        (("archive", "device.key"), None, AssistSettings(), ("speaker", "hub")),
        (("archive",), "ada", AssistSettings(), ("speaker", "hub")),
        (("assist.key",), None, AssistSettings(), ("assist",)),
        ((), None, ACCESS, ("assist",)),
        ((), None, AssistSettings(agent="built-in"), ("assist",)),
    ],
)
def test_configured_roles_are_what_the_data_directory_is_used_for(
    home: Path,
    names: tuple[str, ...],
    keeper: str | None,
    assist: AssistSettings,
    roles: tuple[Role, ...],
) -> None:
    for name in names:
        (home / name).mkdir()
    config = Config(home=str(home), attribution=AttributionSettings(keeper=keeper), assist=assist)

    assert find_configured_roles(config) == roles
