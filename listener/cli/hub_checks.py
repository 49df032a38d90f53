"""``earmark doctor``: the checks of a household's hub that are not of the archive's files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from listener.cli.household import DUE, member_rows
from listener.config import Config
from listener.errors import EarmarkError
from listener.household.state import HouseholdStore
from listener.quantities import quantity
from listener.storage.atomic import is_running
from listener.system.findings import Check, Finding
from listener.system.systemd import unit_name

_SERVICE: Final = Check("archive-service")
_PORT: Final = Check("archive-port")
_HOUSEHOLD: Final = Check("household")


def check_service(home: Path, process: str = "archive") -> Finding:
    """Check that the archive runs on this data directory.

    Args:
        home: the archive's data directory.
        process: name of the process, as ``archive.instance`` determines it.
    """
    match is_running(home, process):
        case True:
            return _SERVICE.ok("the archive runs")
        case False:
            return _SERVICE.fail(
                "the archive does not run, so no clip is stored",
                f"systemctl enable --now {unit_name(process)};"
                f" its log: journalctl -u {unit_name(process)}",
            )
        case None:
            return _SERVICE.warn(
                "whether the archive runs is unknown to this user", "sudo earmark doctor"
            )


def check_household(settings: Config) -> Iterator[Finding]:
    """Check the members' certificates and the owners' port; nothing without a household here.

    Args:
        settings: of the archive; names its data directory.
    """
    store = HouseholdStore(Path(settings.home))
    try:
        if not store.is_set_up:
            return
        rows = member_rows(store)
    except (EarmarkError, OSError) as error:
        yield _HOUSEHOLD.fail(f"the household cannot be read: {error}", "run doctor as root")
        return
    due = [str(row["identity"]) for row in rows if row["state"] in DUE]
    if due:
        yield _HOUSEHOLD.warn(
            f"certificates have to be renewed: {', '.join(due)}",
            "earmark household renew",
            members=len(rows),
            due=len(due),
        )
    else:
        yield _HOUSEHOLD.ok(
            f"{quantity(len(rows), 'member')}; no certificate is due", members=len(rows), due=0
        )
    if settings.archive.port == 0:
        yield _PORT.warn(
            "archive.port is not set, so owners reach the archive on this computer only",
            "set archive.host and archive.port",
        )
    else:
        yield _PORT.ok(f"owners reach the archive at port {settings.archive.port}")
