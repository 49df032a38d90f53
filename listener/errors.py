"""Every error Earmark raises on purpose, each named for what its catcher does.

Only ``cli.py`` and the loops of the verbs catch them. The message says what and where, in lower
case and without a full stop; the hint says what to do.
"""

import errno
from typing import Final

_WHAT_TO_DO: Final = {
    number: advice
    for advice, numbers in (
        ("look whether it is spelt right, and mounted", (errno.ENOENT,)),
        ("ls -l says whose it is", (errno.EACCES, errno.EPERM)),
        ("it is a folder; name a file", (errno.EISDIR,)),
        ("something in its path is a file and no folder", (errno.ENOTDIR,)),
        ("it is there already; name another, or move it away", (errno.EEXIST,)),
        ("a link is not followed; name what it leads to", (errno.ELOOP,)),
        ("make room on that disk", (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)),
        ("what is there can only be read; name another place", (errno.EROFS,)),
        ("the disk or the device fails; dmesg says more", (errno.EIO,)),
        ("is it plugged in? dmesg says when it came and went", (errno.ENODEV, errno.ENXIO)),
        ("another program uses it", (errno.EBUSY,)),
        ("another program listens there; ss -ltnp says which", (errno.EADDRINUSE,)),
        ("nothing listens there; is it started?", (errno.ECONNREFUSED,)),
        ("too many files are open; is something stuck?", (errno.EMFILE, errno.ENFILE)),
    )
    for number in numbers
}


class EarmarkError(Exception):
    """Something foreseeable went wrong.

    Attributes:
        exit_code: what the process ends with when nobody nearer catches it.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self._hint = hint

    @property
    def hint(self) -> str:
        """What the reader can do about it, or an empty string.

        Where whoever raised it says nothing, the reason that the system gave does.
        """
        cause = self.__cause__
        # Those of ssl and socket are OSErrors too, with numbers of their own.
        if self._hint or not isinstance(cause, OSError) or type(cause).__module__ != "builtins":
            return self._hint
        return _WHAT_TO_DO.get(cause.errno or 0, "")


class UsageError(EarmarkError):
    """The command line asks for what cannot be: say so and show the way."""

    exit_code = 2


class ConfigError(EarmarkError):
    """A setting, a key or a roster is wrong: stop, and do not restart until it is mended."""

    exit_code = 78


class Unavailable(EarmarkError):
    """A device, a file or a service is not there now: try again later."""

    exit_code = 69


class ModelRefused(EarmarkError):
    """A model file is not what its manifest says, or is no model of ours: do not run it."""

    exit_code = 78


class BadEnvelope(EarmarkError):
    """These bytes are not an envelope we can vouch for: refuse them, keep nothing of them."""


class NotForYou(EarmarkError):
    """The envelope is sound but sealed to another owner: it stays closed."""


class SpoolFull(EarmarkError):
    """The spool cannot take the envelope: count the loss and say so."""

    exit_code = 69


class BadRelease(EarmarkError):
    """These bytes are not a release we can vouch for: install nothing of it."""
