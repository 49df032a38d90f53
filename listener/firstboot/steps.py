"""What a plan asks for, step by step; each can be cut off at any moment and taken again.

The file is copied to where only root can read it, durably, before it is removed from the boot
partition; and the copy stays until all of it is done.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from listener.config import parse_settings
from listener.envelope import keys
from listener.errors import ConfigError, EarmarkError, Unavailable
from listener.firstboot import partition, plan
from listener.firstboot.owner_challenge import OwnerChallenge
from listener.firstboot.partition import Partition
from listener.firstboot.plan import FirstBootPlan
from listener.firstboot.report import FirstBootReport
from listener.household import join_client
from listener.household.invitation import Invitation
from listener.household.join_client import JoinResult
from listener.storage.atomic import PUBLIC_MODE, make_folder, write_atomic
from listener.storage.home import Home

FOLDER: Final = "first-boot"
COPY: Final = "taken.toml"

Join = Callable[[Home, Invitation], JoinResult]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went.

    Args:
        report: for people; None where there was nothing to do.
        exit_code: 0 done, 1 something is wrong, 69 to be tried again, 78 the file is wrong.
    """

    report: FirstBootReport | None
    exit_code: int


class FirstBoot:
    """One installation, and the boot partition that sets it up. One process at a time.

    Args:
        boot: the boot partition.
        settings: the settings' file, which need not be there yet.
        home: the installation's folder.
        join: joins a household.
        now_s: the time, in seconds since 1970.
    """

    def __init__(
        self,
        boot: Partition,
        settings: Path,
        home: Home,
        join: Join = join_client.join,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._boot: Final = boot
        self._settings: Final = settings
        self._home: Final = home
        self._join: Final = join
        self._now_s: Final = now_s
        self._folder: Final = settings.parent / FOLDER
        self._copy: Final = self._folder / COPY
        self._proof: Final = OwnerChallenge(self._folder, home)

    def run(self) -> Outcome:
        """Take in what there is, do it, and say so on the boot partition.

        Raises:
            Unavailable: the boot partition or the disk cannot be used.
            ConfigError: the settings that are there already are damaged.
        """
        make_folder(self._folder)
        self._boot.clear()
        try:
            self._move_file()
        except ConfigError as error:
            return self._write_report(FirstBootReport.render_wrong_file(error), error.exit_code)
        try:
            text = self._copy.read_text("utf-8")
        except FileNotFoundError:
            return Outcome(None, 0)
        todo = plan.parse(plan.parse_tables(text, str(self._copy)), partition.NAME)
        report = FirstBootReport()
        self._write_settings(todo.settings, report)
        self._make_owner(todo, report)
        joined = self._join_household(todo, report)
        self._introduce(todo, report)
        if not joined:
            return self._write_report(report, Unavailable.exit_code)
        # First what was said of it, then the copy: cut off between, all is done once more.
        outcome = self._write_report(report, 1 if report.wrong else 0)
        self._copy.unlink()
        return outcome

    def _move_file(self) -> None:
        """Move the file off the boot partition.

        Raises:
            ConfigError: it is wrong, and was left where it is.
        """
        found = self._boot.read(plan.LIMIT_BYTES)
        if found is None:
            return
        name, data = found
        raw = plan.parse_tables(plan.decode_text(data), name)
        if not raw:
            raise ConfigError(f"{name} is empty")
        # What waits from the last time, such as a line, goes on waiting.
        plan.parse(raw, name)
        both = plan.merge_tables(self._read_pending(), raw)
        self._merged(plan.parse(both, name).settings)
        write_atomic(self._copy, plan.render_toml(both).encode("utf-8"))
        self._boot.mark_applied(name)
        self._boot.clear()

    def _read_pending(self) -> dict[str, Any]:
        try:
            return plan.parse_tables(self._copy.read_text("utf-8"), str(self._copy))
        except FileNotFoundError:
            return {}

    def _merged(self, settings: dict[str, Any]) -> tuple[bytes, bytes]:
        """Return the settings that are there, and what they are to be."""
        try:
            before = self._settings.read_bytes()
        except FileNotFoundError:
            before = b""
        below = plan.parse_tables(plan.decode_text(before), str(self._settings))
        wanted = plan.merge_tables({"home": str(self._home.path)} | below, settings)
        after = plan.render_toml(wanted)
        parse_settings(after, partition.NAME)
        return before, before if wanted == below else after.encode("utf-8")

    def _write_settings(self, settings: dict[str, Any], report: FirstBootReport) -> None:
        before, after = self._merged(settings)
        if after != before:
            if before:
                write_atomic(self._settings.with_name(f"{self._settings.name}.before"), before)
            write_atomic(self._settings, after, PUBLIC_MODE)
        for section, values in settings.items():
            shown = values if isinstance(values, dict) else {"": values}
            report.taken += [f"{section}.{key} = {value}" for key, value in shown.items()]

    def _make_owner(self, todo: FirstBootPlan, report: FirstBootReport) -> None:
        wish = todo.owner
        active: str | None = None
        try:
            if wish.name is not None and wish.key is not None:
                report.taken.append(f"the owner {wish.name} and her public key {wish.key}")
                if self._proof.note(wish.name, wish.key):
                    active = wish.name
                else:
                    self._proof.challenge(wish.name, wish.key)
            if wish.answer is not None:
                active = self._proof.answer(wish, int(self._now_s()))
                report.taken.append(f"{active}'s answer: her key is active from now on")
        except Unavailable:
            raise
        except EarmarkError as error:
            report.fault(error)
        if active is not None:
            self._proof.close(active)
        waits = self._proof.open()
        if waits is None:
            self._boot.remove(partition.CHALLENGE)
            return
        self._boot.write(partition.CHALLENGE, waits.riddle)
        report.ask(waits.owner)

    def _join_household(self, todo: FirstBootPlan, report: FirstBootReport) -> bool:
        """Join, where there is a line; say whether nothing of it is left to do."""
        if todo.line is None:
            return True
        try:
            joined = self._join(self._home, todo.line)
        except Unavailable as error:
            report.wait_for_household(error, todo.line.identity.name)
            return False
        except EarmarkError as error:
            report.fault(error)
            return True
        wanted = plan.parse_tables(joined.settings(), "the household's answer")
        before, after = self._merged(wanted)
        if after != before:
            write_atomic(self._settings, after, PUBLIC_MODE)
        # It counts once: cut off from here on, it is not shown again.
        left = {key: value for key, value in self._read_pending().items() if key != "household"}
        write_atomic(self._copy, plan.render_toml(left).encode("utf-8"))
        report.taken.append(
            f"joined the household as {joined.who.cn}; its broker is {joined.broker_host},"
            f" port {joined.broker_port}"
        )
        return True

    def _introduce(self, todo: FirstBootPlan, report: FirstBootReport) -> None:
        public = self._home.device_key().public_key()
        name = parse_settings(self._settings.read_text("utf-8"), str(self._settings)).device.name
        report.speaker += [f"name: {name}", f"public key: {keys.device_text(public)}"]
        if todo.line is None and not (self._home.path / "tls" / "me.crt").exists():
            report.speaker.append(
                "the archive's computer believes it after:"
                f"\nearmark household add-device {name} --key {keys.device_text(public)}"
            )

    def _write_report(self, report: FirstBootReport, exit_code: int) -> Outcome:
        self._boot.write(partition.RESULT, report.text())
        return Outcome(report, exit_code)
