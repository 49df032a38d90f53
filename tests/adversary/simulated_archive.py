"""An archive in simulated time: its real store, receiver, clock and sweep, and speakers with clips.

It checks at every step what must hold of each clip: none is erased before its time, and none is
left after two days of running time beyond it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.archive.archive_clock import ArchiveClock
from listener.archive.receiver import Receiver
from listener.archive.service import ExpirySweep
from listener.archive.store import FileStore
from listener.envelope import format as form
from listener.envelope import keys
from listener.mqtt.client import Message
from listener.owner.roster import Roster
from tests.archive.computer import Computer

if TYPE_CHECKING:
    from tests.conftest import Household

DAY_S = 86_400
HOUR_S = 3600
YEAR_S = 365 * DAY_S
TRUE_S = 1_795_334_400
STEP_S = 1800
MOST_LATE_S = 2 * DAY_S


@dataclass
class Speaker:
    """A speaker that may send a clip every few hours."""

    name: str
    key: Ed25519PrivateKey
    every_h: float | None = None
    """Hours between its clips; None for a speaker that sends none by itself."""
    error_s: float = 0.0
    """Its wall clock minus true time."""
    seq: int = 0
    next_s: float = 0.0


@dataclass
class StoredClip:
    """An accepted clip and what the simulation knows of it."""

    clip: str
    due_s: float
    """True time at which its retention ends."""
    overdue_s: float = 0.0
    """Running time of the archive after that."""
    is_gone: bool = False


def _with_device(roster: Roster, name: str, key: str) -> Roster:
    return roster.with_device(name, key)


@dataclass
class SimulatedArchive:
    """The archive of one household.

    Args:
        household: owners and the speaker ``hall``.
        names: names of more speakers.
        ttl_s: retention of each clip.
    """

    household: "Household"
    names: Iterable[str] = ()
    ttl_s: int = 5 * DAY_S
    computer: Computer = field(default_factory=lambda: Computer(TRUE_S))
    clips: list[StoredClip] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    early: list[str] = field(default_factory=list)
    refused: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder = self.household.home.path / "archive"
        self.speakers = {"hall": Speaker("hall", self.household.device_key)}
        for name in self.names:
            key = Ed25519PrivateKey.generate()
            text = keys.device_text(key.public_key())
            self.household.home.change_roster(partial(_with_device, name=name, key=text))
            self.speakers[name] = Speaker(name, key)
        self.open()

    def open(self) -> None:
        """Start the archive's process."""
        self.store = FileStore(self.folder)
        # The simulated power cuts leave the files as they are: no wait for the disk.
        for rows in (self.store._index.rows, self.store.owner_state._orders):  # noqa: SLF001 - the test looks at the database itself
            rows.execute("pragma synchronous = off")
        roster = self.household.home.roster
        self.store.repair(Receiver(self.store, roster, self.computer.wall_s).verify)
        self.clock = ArchiveClock(self.store, self.computer.wall_s, self.computer)
        self.receiver = Receiver(self.store, roster, self.clock.accepted_s, clock=self.clock)
        self.sweep = ExpirySweep(
            self.store, partial(self.store.repair, self.receiver.verify), self.clock
        )

    def close(self) -> None:
        self.store.close()

    def restart(self) -> None:
        """Restart the process while the computer runs."""
        self.close()
        self.open()

    def switch_off(self, hours: float, error_s: float | None = None) -> None:
        """Cut the power; start again after some hours, with another error of the wall clock."""
        self.close()
        self.computer.switch_off(hours * HOUR_S)
        if error_s is not None:
            self.computer.error_s = error_s
        self.open()

    def set_error(self, error_s: float) -> None:
        """Set the computer's wall clock."""
        self.computer.error_s = error_s

    def run(self, hours: float) -> None:
        """Let the archive run, and its speakers send."""
        left_s = hours * HOUR_S
        while left_s > 0:
            step_s = min(STEP_S, left_s)
            left_s -= step_s
            self.computer.run(step_s)
            for speaker in self.speakers.values():
                if speaker.every_h is not None and self.computer.true_s >= speaker.next_s:
                    speaker.next_s = self.computer.true_s + speaker.every_h * HOUR_S
                    self.send(speaker.name)
            self.sweep.run_if_due()
            self._check(step_s)

    def send(self, name: str, *, age_s: float = 0.0, waited_s: int = 0, owner: str = "ada") -> bool:
        """Send a clip that a speaker made some time ago; return whether it is stored."""
        speaker = self.speakers[name]
        speaker.seq += 1
        signed_s = max(0.0, self.computer.true_s - age_s + speaker.error_s)
        header = self.household.header(
            speaker.seq,
            owner,
            device=name,
            dkey=keys.device_id(speaker.key.public_key()),
            t=form.format_timestamp(datetime.fromtimestamp(signed_s, UTC)),
            ttl_s=self.ttl_s,
        )
        data = self.household.seal(header, lambda _: b"fLaC", speaker.key)
        topic = f"earmark/v1/clips/{owner}/{name}/{header.clip}"
        answer = self.receiver.receive(Message(topic, data, waited_s=waited_s))
        if answer is None or answer.payload.startswith(b"refused"):
            self.refused.append(b"" if answer is None else answer.payload[:20])
            return False
        due_s = self.computer.true_s - min(age_s, waited_s) + self.ttl_s
        self.clips.append(StoredClip(header.clip, due_s))
        return True

    def run_until_empty(self, run_h: float = 24.0, off_h: float = 0.0, most_days: int = 60) -> None:
        """Run, with pauses, until every clip is gone or for some days; stop the speakers' clips."""
        for speaker in self.speakers.values():
            speaker.every_h = None
        for _ in range(most_days):
            if all(clip.is_gone for clip in self.clips):
                return
            self.run(run_h)
            if off_h:
                self.switch_off(off_h)

    def _check(self, step_s: float) -> None:
        present = {record.clip for record in self.store.clips()}
        for clip in self.clips:
            if clip.is_gone:
                continue
            is_due = self.computer.true_s >= clip.due_s - 2  # whole seconds in the index
            if clip.clip not in present:
                clip.is_gone = True
                if not is_due:
                    self.early.append(f"{clip.clip} {clip.due_s - self.computer.true_s:.0f} s")
            elif is_due:
                clip.overdue_s += step_s
                if clip.overdue_s > MOST_LATE_S:
                    self.late.append(clip.clip)
