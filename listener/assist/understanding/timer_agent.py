"""Timers by Earmark, everything else by another agent.

Home Assistant keeps timers only for devices that can ring by its own protocol, and a speaker that
it knows by MQTT is none: "timers are not supported on this device".
"""

from typing import Protocol

from listener.assist.recogniser import Agent, AgentResult, Announcement, CommandMatcher
from listener.assist.understanding.home_agent import HomeAgent


class MatchingAgent(Agent, CommandMatcher, Protocol):
    """Agent that also tells whether a text is one of its commands."""


class TimerAgent:
    """Agent that keeps timers itself.

    Args:
        timers: has the timers, and no things.
        other: carries everything else out.
    """

    def __init__(self, timers: HomeAgent, other: MatchingAgent) -> None:
        self._timers = timers
        self._other = other

    def is_command(self, text: str, device: str, owner: str) -> bool:
        """Return whether a text is a whole command; see `CommandMatcher`.

        Raises:
            Unavailable: as the other agent.
        """
        return self._timers.is_about_timers(text, device) or self._other.is_command(
            text, device, owner
        )

    def carry_out(self, text: str, device: str, owner: str) -> AgentResult:
        """Carry a command out at most once; see `Agent`.

        Raises:
            Unavailable: as the other agent.
            OutcomeUnknown: as the other agent.
        """
        result = self._timers.use_timers(text, device)
        return result if result is not None else self._other.carry_out(text, device, owner)

    def due(self) -> list[Announcement]:
        """Return the announcements of timers that have ended; see `AnnouncementSource`."""
        return self._timers.due()
