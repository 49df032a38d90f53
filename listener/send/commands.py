"""Wishes from the broker, forwarded to hear, which decides. No mute is lost while hear is away."""

import logging

from listener.ipc import control
from listener.ipc.control import ControlClient
from listener.mqtt import topics
from listener.mqtt.broker import Message

_log = logging.getLogger(__name__)


class CommandForwarder:
    """Forward mute and unmute, and nothing else. For one thread.

    Args:
        device: this speaker's name.
        controller: reaches hear; None forwards nothing.
    """

    def __init__(self, device: str, controller: ControlClient | None) -> None:
        self._controller = controller
        self._topic = topics.COMMAND.name(device=device)
        self._mutes = False
        self.ignored = 0
        """Messages that are no command, or an old one, or an unmute that found no hear."""

    @property
    def topics(self) -> tuple[str, ...]:
        """What to ask the broker for."""
        return () if self._controller is None else (self._topic,)

    def take(self, message: Message) -> None:
        """Forward what a message says, if it is for this device."""
        if message.topic != self._topic:
            return
        command = topics.parse_command(message.payload)
        if self._controller is None or command is None or message.retain:
            self.ignored += 1
            if self.ignored == 1:
                _log.warning("a command is ignored: it is none, or the broker had kept it")
        elif command == "mute":
            self._mutes = not self._controller.send(control.MuteRequest())
        elif self._mutes or not self._controller.send(control.UnmuteRequest()):
            # A mute still waits for hear, or nobody is there: an unmute must never come late.
            self.ignored += 1

    def retry(self) -> None:
        """Forward a mute that found no hear, until one is there."""
        if self._mutes and self._controller is not None:
            self._mutes = not self._controller.send(control.MuteRequest())
