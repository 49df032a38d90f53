"""Every error Earmark raises on purpose, each named for what its catcher does.

Only ``cli.py`` and the loops of the verbs catch them. The message says what and where, in lower
case and without a full stop; the hint says what to do.
"""


class EarmarkError(Exception):
    """Something foreseeable went wrong.

    Attributes:
        hint: what the reader can do about it, or an empty string.
        exit_code: what the process ends with when nobody nearer catches it.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


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
