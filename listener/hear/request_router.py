"""Router of control requests: those about sensitivity are applied, the others are passed on."""

import logging
from collections.abc import Callable, Iterator

from listener.hear.mute.controller import RequestSource
from listener.ipc import control
from listener.ipc.control import Request
from listener.wakeword.sensitivity import Sensitivity

_log = logging.getLogger(__name__)


class RequestRouter:
    """A `RequestSource` without the requests about sensitivity. For one thread.

    Args:
        source: all requests.
    """

    def __init__(self, source: RequestSource) -> None:
        self._source = source
        self._sensitivity: Sensitivity | None = None
        self._on_change: Callable[[], object] = lambda: None
        self.ignored = 0
        """Requests that the configuration does not allow, and those before `connect`."""

    def connect(self, sensitivity: Sensitivity, on_change: Callable[[], object]) -> None:
        """Apply requests from now on.

        Args:
            sensitivity: takes them.
            on_change: called after each request that was applied.
        """
        self._sensitivity = sensitivity
        self._on_change = on_change

    def fileno(self) -> int:
        """Return the file descriptor to wait on."""
        return self._source.fileno()

    def receive(self) -> Iterator[Request]:
        """Yield the pending requests about mute, and apply the others, without blocking."""
        for request in self._source.receive():
            match request:
                case control.ThresholdRequest(word=word, threshold=threshold):
                    self._count(
                        self._sensitivity is not None
                        and self._sensitivity.set_threshold(word, threshold)
                    )
                case control.WordRequest(only=only):
                    self._count(self._sensitivity is not None and self._sensitivity.choose(only))
                case _:
                    yield request

    def _count(self, is_applied: bool) -> None:  # noqa: FBT001 - private, one argument
        if is_applied:
            self._on_change()
            return
        self.ignored += 1
        if self.ignored == 1:
            _log.warning(
                "a request for the sensitivity was ignored: the word is not configured, or"
                " wake.remote_threshold is false"
            )
