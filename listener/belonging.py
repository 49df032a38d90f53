"""Whose a new file is: the folder says it.

On a speaker that systemd runs, hear and send are two users. What both must reach lies in a folder
with the setgid bit, and is shared with that folder's group; everywhere else a file is for its
owner alone. Root may run any verb there: what it makes belongs to whom the folder belongs, or the
services could not read it.
"""

import os
import stat

_FOR_ITS_OWNER = 0o600


def shared_mode(folder: int, mode: int = _FOR_ITS_OWNER) -> int:
    """Return the permissions of a new file: its group gets its owner's where the folder is shared.

    Args:
        folder: a descriptor of the folder.
        mode: where it is not shared.
    """
    if os.fstat(folder).st_mode & stat.S_ISGID:
        return mode | (mode & stat.S_IRWXU) >> 3
    return mode


def chown_to_parent(file: int, folder: int) -> None:
    """As root, give a file of root's to whom its folder belongs. Nobody else can, or need.

    A file with a second name is left alone: whoever owns the folder may have put it there, and the
    other name may be anything.

    Args:
        file: a descriptor of a plain file or a folder.
        folder: a descriptor of the folder that it lies in.
    """
    if os.geteuid() != 0:
        return
    found, owner = os.fstat(file), os.fstat(folder)
    if (
        found.st_uid == 0
        and owner.st_uid != 0
        and (stat.S_ISDIR(found.st_mode) or found.st_nlink == 1)
    ):
        os.fchown(file, owner.st_uid, -1)
