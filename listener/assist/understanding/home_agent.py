"""Carries commands out by itself: things over MQTT, timers, time and date."""

import threading
import time
from collections.abc import Callable
from datetime import datetime

from listener.assist.recogniser import AgentResult, Announcement
from listener.assist.understanding import spoken_replies
from listener.assist.understanding.home_actions import HOME_INTENTS, resolve
from listener.assist.understanding.home_file import HomeFile
from listener.assist.understanding.sentences import HomeIntent, HomeSentences
from listener.assist.understanding.things_client import ThingsPublisher
from listener.assist.understanding.timers import Timer, TimerList
from listener.errors import Unavailable


def _boottime_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _local_time() -> datetime:
    return datetime.now().astimezone()


class HomeAgent:
    """Agent of one home, and the source of its timers' announcements.

    Args:
        home: the things.
        publisher: to the things.
        boottime_s: clock of the timers, in seconds; it also runs during suspension.
        local_time: the time of day.

    Raises:
        Unavailable: the package with the sentences is not installed.
        ConfigError: it does not have the home's language.
    """

    def __init__(
        self,
        home: HomeFile,
        publisher: ThingsPublisher,
        boottime_s: Callable[[], float] = _boottime_s,
        local_time: Callable[[], datetime] = _local_time,
    ) -> None:
        self._home = home
        self._sentences = HomeSentences(home)
        self._publisher = publisher
        self._boottime_s = boottime_s
        self._local_time = local_time
        self._timers = TimerList()
        self._lock = threading.Lock()

    def is_command(self, text: str, device: str, owner: str) -> bool:
        """Return whether a text is a whole command of this home; see `CommandMatcher`."""
        del owner
        area = self._home.area_of(device)
        intent = self._sentences.match(text, area)
        if intent is None:
            return False
        return intent.name not in HOME_INTENTS or bool(resolve(intent, self._home, area).messages)

    def carry_out(self, text: str, device: str, owner: str) -> AgentResult:
        """Carry a command out at most once; see `Agent`.

        Raises:
            Unavailable: the broker of the things cannot be reached, and nothing was done.
        """
        del owner
        area = self._home.area_of(device)
        intent = self._sentences.match(text, area)
        if intent is None:
            return AgentResult("not-understood")
        if intent.name in HOME_INTENTS:
            result = self._change(intent, area)
        elif _is_about_timers(intent):
            with self._lock:
                result = self._use_timers(intent, device)
        else:
            result = self._answer(intent)
        # The replies are English; the other languages have the speaker's sounds.
        return result if self._home.language == "en" else AgentResult(result.outcome)

    def is_about_timers(self, text: str, device: str) -> bool:
        """Return whether `use_timers` carries a text out."""
        intent = self._sentences.match(text, self._home.area_of(device))
        return intent is not None and _is_about_timers(intent)

    def use_timers(self, text: str, device: str) -> AgentResult | None:
        """Carry a command about timers out; return None for any other.

        Args:
            text: the command, without the wake word.
            device: name of the speaker, which rings.
        """
        intent = self._sentences.match(text, self._home.area_of(device))
        if intent is None or not _is_about_timers(intent):
            return None
        with self._lock:
            return self._use_timers(intent, device)

    def due(self) -> list[Announcement]:
        """Return the announcements of timers that have ended; see `AnnouncementSource`."""
        with self._lock:
            ended = self._timers.take_due(self._boottime_s())
        return [
            Announcement(
                timer.device,
                f"Your timer for {spoken_replies.describe_length(timer.length_s)} has ended."
                if self._home.language == "en"
                else "",
                is_ring=True,
            )
            for timer in ended
        ]

    def _change(self, intent: HomeIntent, area: str | None) -> AgentResult:
        change = resolve(intent, self._home, area)
        if not change.messages:
            return AgentResult("failed", "There is nothing that can do this.")
        if not self._publisher.publish(change.messages):
            return AgentResult("failed", "The broker did not confirm it.")
        return AgentResult("done", spoken_replies.describe_change(intent, change))

    def _answer(self, intent: HomeIntent) -> AgentResult:
        match intent.name:
            case "HassGetCurrentTime":
                return AgentResult("done", spoken_replies.describe_time(self._local_time()))
            case "HassGetCurrentDate":
                return AgentResult("done", spoken_replies.describe_date(self._local_time()))
            case "HassNevermind":
                return AgentResult("done")
            case _:
                raise Unavailable(f"the intent {intent.name} cannot be carried out")

    def _use_timers(self, intent: HomeIntent, device: str) -> AgentResult:
        now_s = self._boottime_s()
        length_s = _seconds(intent, "")
        if intent.name == "HassStartTimer":
            return self._start_timer(device, length_s, now_s)
        timers = self._timers.of(device, _seconds(intent, "start_") or None)
        if intent.name == "HassTimerStatus":
            left_s = [timer.due_s - now_s for timer in timers]
            return AgentResult("done", spoken_replies.describe_timers(left_s))
        if not timers:
            return AgentResult("failed", "There are no timers.")
        if intent.name in {"HassCancelTimer", "HassCancelAllTimers"}:
            cancelled = timers if intent.name == "HassCancelAllTimers" else timers[:1]
            for timer in cancelled:
                self._timers.cancel(timer)
            return AgentResult(
                "done", "Timer cancelled." if len(cancelled) == 1 else "Timers cancelled."
            )
        by_s = length_s if intent.name == "HassIncreaseTimer" else -length_s
        return self._change_timer(timers[0], by_s, now_s)

    def _start_timer(self, device: str, length_s: float, now_s: float) -> AgentResult:
        if not self._timers.start(device, length_s, now_s):
            return AgentResult(
                "failed", "A timer has 1 second to 24 hours, and there are at most 16."
            )
        return AgentResult("done", f"{spoken_replies.describe_length(length_s)} from now.")

    def _change_timer(self, timer: Timer, by_s: float, now_s: float) -> AgentResult:
        if not self._timers.change(timer, by_s, now_s):
            return AgentResult("failed", "The timer cannot be changed that far.")
        return AgentResult("done", f"{spoken_replies.describe_length(timer.due_s - now_s)} left.")


def _is_about_timers(intent: HomeIntent) -> bool:
    return intent.name.endswith(("Timer", "Timers", "TimerStatus"))


def _seconds(intent: HomeIntent, prefix: str) -> float:
    parts = ((3600, "hours"), (60, "minutes"), (1, "seconds"))
    return sum(float(intent.slots.get(f"{prefix}{name}", 0)) * unit for unit, name in parts)
