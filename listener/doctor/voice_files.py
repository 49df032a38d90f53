"""Checks of voice control on a speaker: consents, the folder in memory, who answers, the player.

Nothing is created.
"""

from pathlib import Path
from typing import Final

from listener.envelope import keys
from listener.errors import EarmarkError
from listener.ipc.datagrams import has_listener
from listener.ipc.voice_folder import locate_voice_folder
from listener.ipc.voice_paths import ANOTHER_ASSIST, NO_ANSWER, PLAYER_SOCKET, RUNTIME_FOLDER
from listener.storage.home import Home
from listener.system.findings import Check, Finding

_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})


def check_voice_control(home_path: Path, keeper: str | None, mounts: str) -> Finding:
    """Check voice control.

    Args:
        home_path: data directory.
        keeper: name of the keeper.
        mounts: content of ``/proc/self/mountinfo``.
    """
    check = Check("voice")
    home = Home(home_path)
    try:
        consents = home.consents()
        counting = consents.counting(home.roster(), keeper)
    except EarmarkError as error:
        return check.fail_with(error)
    if not counting:
        return check.ok("off: no owner of this speaker allows it")
    owners = ", ".join(sorted(counting))
    assist = next(iter(counting.values())).assist
    try:
        fingerprint = keys.device_id(keys.parse_device(assist))
    except EarmarkError as error:
        return check.fail_with(error)
    text = f"on for {owners}, by the assist {fingerprint}"
    return _check_folder(check, text, locate_voice_folder(home_path), mounts)


def _check_folder(check: Check, text: str, folder: Path, mounts: str) -> Finding:
    """Check what hear notes about the answers, and where the folder lies."""
    if (folder / ANOTHER_ASSIST).exists():
        return check.fail(
            f"{text}; another assist answers since hear started, and is refused",
            "compare the fingerprint on the hub (earmark assist), and name that assist again:"
            " earmark clips voice",
        )
    if (folder / NO_ANSWER).exists():
        return check.warn(
            f"{text}; it did not answer the last wake",
            "on the hub, run earmark doctor --config /etc/earmark/assist.toml; it must have this"
            " fingerprint: earmark assist key",
        )
    if find_file_system(folder, mounts) not in _IN_MEMORY:
        return check.warn(
            f"{text}; {folder} is on a disk, which command copies touch until send takes them",
            f"mount a tmpfs on {folder}",
        )
    return check.ok(text)


def check_player(home_path: Path, keeper: str | None) -> Finding | None:
    """Check the player of a home without systemd's folder; `playback_service` checks the unit.

    Args:
        home_path: data directory.
        keeper: name of the keeper.

    Returns:
        None where no owner allows voice control, or systemd made the folder.
    """
    home = Home(home_path)
    folder = locate_voice_folder(home_path)
    try:
        is_on = bool(home.consents().counting(home.roster(), keeper))
    except EarmarkError:
        return None  # `check_voice_control` reports it
    if not is_on or folder == Path(RUNTIME_FOLDER):
        return None
    check = Check("player")
    if has_listener(folder / PLAYER_SOCKET):
        return check.ok("the player runs: outcomes and replies are heard")
    return check.warn("no player runs: outcomes and replies are not heard", "run earmark play")


def find_file_system(path: Path, mounts: str) -> str:
    """Return the kind of the file system that holds a path; empty if it is not known.

    Args:
        path: absolute; its last parts may be missing.
        mounts: content of ``/proc/self/mountinfo``; see proc_pid_mountinfo(5).
    """
    kinds = {}
    for line in mounts.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split()
        if separator and len(fields) > 4:  # noqa: PLR2004 - the fifth field is the mount point
            kinds[Path(fields[4])] = after.split()[0]  # a later mount covers an earlier one
    places = [path, *path.parents]
    return next((kinds[place] for place in places if place in kinds), "")
