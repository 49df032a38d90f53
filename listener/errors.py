"""Errors that Earmark raises on purpose: message, hint and exit code.

``listener.cli`` and the loops of the services catch them; everything else lets them pass. The
message states what is wrong and where, in lower case and without a full stop; the hint is one
imperative.
"""

import errno
from typing import Final, Literal

_SYSTEM_HINTS: Final = {
    number: hint
    for hint, numbers in (
        ("check the spelling, and that the file system is mounted", (errno.ENOENT,)),
        ("check owner and permissions with ls -l", (errno.EACCES, errno.EPERM)),
        ("name a file, not a directory", (errno.EISDIR,)),
        ("name another path: a parent of this one is not a directory", (errno.ENOTDIR,)),
        ("choose another name, or move the existing file away", (errno.EEXIST,)),
        ("name the target of the symbolic link", (errno.ELOOP,)),
        ("free some space on that disk", (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)),
        ("name another path: this file system is read-only", (errno.EROFS,)),
        ("check the disk or device; see dmesg", (errno.EIO,)),
        ("check the cable; see dmesg", (errno.ENODEV, errno.ENXIO)),
        ("stop the program that uses it", (errno.EBUSY,)),
        ("stop the program that listens there; find it with ss -ltnp", (errno.EADDRINUSE,)),
        ("check that the server is running and listens on this port", (errno.ECONNREFUSED,)),
        ("raise the limit of open files, or restart what leaks them", (errno.EMFILE, errno.ENFILE)),
    )
    for number in numbers
}


def system_hint(number: int) -> str:
    """Return what to do about an ``errno``, or an empty string."""
    return _SYSTEM_HINTS.get(number, "")


class EarmarkError(Exception):
    """Expected failure, reported without a traceback.

    Attributes:
        exit_code: exit status of the process if nothing else handles the error.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self._hint = hint

    @property
    def hint(self) -> str:
        """Return what the reader can do, or an empty string.

        An error without a hint of its own has that of its cause's ``errno``.
        """
        cause = self.__cause__
        # Those of ssl and socket are OSErrors too, with numbers of their own.
        if self._hint or not isinstance(cause, OSError) or type(cause).__module__ != "builtins":
            return self._hint
        return system_hint(cause.errno or 0)


class UsageError(EarmarkError):
    """Invalid command line, or a request that cannot be carried out as given."""

    exit_code = 2


class ConfigError(EarmarkError):
    """Invalid configuration, key or roster: restarting does not help (``EX_CONFIG``)."""

    exit_code = 78


class Unavailable(EarmarkError):
    """Device, file or service that is missing now: a later attempt may succeed."""

    exit_code = 69


class DiskFull(Unavailable):
    """The disk has no room for what must be written."""

    def __init__(self, path: object) -> None:
        super().__init__(f"the disk of {path} is full", "free some space on that disk")


class ModelRefused(EarmarkError):
    """Model file that does not match its manifest, or is not a supported model."""

    exit_code = 78


class BadEnvelope(EarmarkError):
    """Bytes that are not an envelope, or whose signature does not verify."""


class NotForYou(EarmarkError):
    """Valid envelope that is sealed to another owner's key."""


class SpoolFull(EarmarkError):
    """Envelope that the spool cannot store; the caller counts the loss."""

    exit_code = 69


class BadRelease(EarmarkError):
    """Bytes that are not a release, or whose signature does not verify."""


VoiceReason = Literal[
    "form",
    "signature",
    "device",
    "key",
    "ask",
    "ciphertext",
    "sealed",
    "content",
    "owner",
    "assist",
    "code",
    "old",
    "late",
    "again",
]
_VOICE_TEXTS: Final[dict[VoiceReason, str]] = {
    "form": "it is not such a message, or a field is out of its range",
    "signature": "its signature is not valid",
    "device": "it is for another device, or by another device key",
    "key": "it names another recipient",
    "ask": "it belongs to no open ask",
    "ciphertext": "its ciphertext is not the signed one, or has not exactly one X25519 recipient",
    "sealed": "it cannot be decrypted",
    "content": "its content contradicts its header or its sound",
    "owner": "its owner is unknown, inactive or has another key",
    "assist": "it names another assist",
    "code": "the owner has not proven it to this speaker",
    "old": "its number is not above the last one",
    "late": "it is too late",
    "again": "it was used before",
}


class VoiceError(EarmarkError):
    """Message of voice control that is refused.

    Attributes:
        reason: the reason, one word.
    """

    def __init__(self, reason: VoiceReason) -> None:
        super().__init__(f"a message of voice control was refused: {_VOICE_TEXTS[reason]}")
        self.reason = reason
