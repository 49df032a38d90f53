"""One-time tokens and sessions of the page: proof that a request comes from a tab of the owner.

The token is in the fragment of the address that the command opens, so that no request and no log
has it; the page exchanges it for a session, which each request carries in a header. A cookie would
be sent to every port of ``localhost``.
"""

import hmac
import secrets
import threading
from typing import Final

MOST_SESSIONS: Final = 32
"""Tabs with a session at once; the oldest gives way."""
_BYTES: Final = 32


class Sessions:
    """The open token and the sessions of one run. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._token = secrets.token_urlsafe(_BYTES)
        self._sessions: list[str] = []

    @property
    def token(self) -> str:
        """The token that is not used yet: 43 characters of base64url."""
        with self._lock:
            return self._token

    def redeem(self, token: str) -> str | None:
        """Use a token up; return a new session, or None if it is another token."""
        with self._lock:
            if not hmac.compare_digest(token.encode("utf-8", "replace"), self._token.encode()):
                return None
            self._token = secrets.token_urlsafe(_BYTES)
            session = secrets.token_urlsafe(_BYTES)
            self._sessions = [*self._sessions, session][-MOST_SESSIONS:]
            return session

    def is_open(self, session: str) -> bool:
        """Return whether this run made the session."""
        given = session.encode("utf-8", "replace")
        with self._lock:
            return any(hmac.compare_digest(given, known.encode()) for known in self._sessions)
