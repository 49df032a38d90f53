"""Steps of a first boot; each can be interrupted at any moment and repeated.

The file is copied durably to a folder that only root can read before it is removed from the boot
partition. The copy stays until every step is done.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from listener.config import LIMIT_BYTES, Config, parse_settings
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
from listener.storage.atomic import PUBLIC_MODE, make_folder, read_plain_file, write_atomic
from listener.storage.home import Home

FOLDER: Final = "first-boot"
COPY: Final = "taken.toml"

Join = Callable[[Home, Invitation], JoinResult]


@dataclass(frozen=True, slots=True)
class FirstBootOutcome:
    """Outcome of a first boot.

    Args:
        report: for people; None if there was nothing to do.
        exit_code: 0 done, 1 an error in a step, 69 to be retried, 78 an error in the file.
    """

    report: FirstBootReport | None
    exit_code: int


class FirstBoot:
    """First boot of one installation. One process at a time.

    Args:
        boot: the boot partition.
        settings: path of the configuration file, which need not exist yet.
        home: data directory of the installation.
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
        self._challenge: Final = OwnerChallenge(self._folder, home)

    def run(self) -> FirstBootOutcome:
        """Apply the file on the boot partition, and write the report there.

        Raises:
            Unavailable: the boot partition or the disk cannot be used.
            ConfigError: the existing configuration is damaged.
        """
        make_folder(self._folder)
        self._boot.clear()
        try:
            self._move_file()
        except ConfigError as error:
            return self._write_report(FirstBootReport.render_wrong_file(error), error.exit_code)
        except EarmarkError:
            raise
        except Exception as error:  # noqa: BLE001 - the card must receive a report
            unforeseen = ConfigError(
                f"the file cannot be used: {type(error).__name__}",
                "write only the lines that are needed",
            )
            report = FirstBootReport.render_wrong_file(unforeseen)
            return self._write_report(report, unforeseen.exit_code)
        try:
            taken = self._parse_copy()
        except FileNotFoundError:
            return self._report_other_names()
        todo = plan.parse(taken, partition.NAME)
        report = FirstBootReport()
        self._write_settings(todo.settings, report)
        self._make_owner(todo, report)
        joined = self._join_household(todo, report)
        self._introduce(todo, report)
        if not joined:
            return self._write_report(report, Unavailable.exit_code)
        # The report first, then the copy: if it is interrupted in between, all is repeated.
        outcome = self._write_report(report, 1 if report.wrong else 0)
        self._copy.unlink()
        return outcome

    def _report_other_names(self) -> FirstBootOutcome:
        """Report files that are not applied because of their names; nothing is pending."""
        names = self._boot.other_names()
        if not names:
            return FirstBootOutcome(None, 0)
        report = FirstBootReport.render_other_names(names)
        return self._write_report(report, ConfigError.exit_code)

    def _move_file(self) -> None:
        """Move the file off the boot partition.

        Raises:
            ConfigError: the file has an error, and stays where it is.
        """
        file = self._boot.read(plan.LIMIT_BYTES)
        if file is None:
            return
        name, data = file
        raw = plan.parse_tables(plan.decode_text(data), name)
        if not raw:
            raise ConfigError(f"{name} is empty")
        # Pending steps of an earlier file, such as an invitation, stay pending.
        plan.parse(raw, name)
        both = plan.merge_tables(self._read_pending(), raw)
        todo = plan.parse(both, name)
        plan.check_keeper(todo, self._home.roster(), name)
        if self._settings.exists():
            plan.check_mute(todo, self._read_settings(), name)
        self._merged(todo.settings)
        write_atomic(self._copy, plan.render_toml(both).encode("utf-8"))
        self._boot.mark_applied(name)
        self._boot.clear()

    def _read_pending(self) -> dict[str, Any]:
        try:
            return self._parse_copy()
        except FileNotFoundError:
            return {}

    def _parse_copy(self) -> dict[str, Any]:
        text = read_plain_file(self._copy, plan.MERGED_BYTES).decode("utf-8")
        return plan.parse_tables(text, str(self._copy))

    def _read_settings(self) -> Config:
        data = read_plain_file(self._settings, LIMIT_BYTES, follow_links=True)
        return parse_settings(plan.decode_text(data), str(self._settings))

    def _merged(self, settings: dict[str, Any]) -> tuple[bytes, bytes]:
        """Return the existing configuration file and the new one."""
        try:
            before = read_plain_file(self._settings, LIMIT_BYTES, follow_links=True)
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
        request = todo.owner
        active: str | None = None
        try:
            if request.name is not None and request.key is not None:
                report.taken.append(f"the owner {request.name} with the public key {request.key}")
                if self._challenge.note(request.name, request.key):
                    active = request.name
                else:
                    self._challenge.challenge(request.name, request.key)
            if request.answer is not None:
                active = self._challenge.answer(request, int(self._now_s()))
                report.taken.append(f"{active}'s answer: their key is active now")
        except Unavailable:
            raise
        except EarmarkError as error:
            report.fault(error)
        if active is not None:
            self._challenge.close(active)
        pending = self._challenge.open()
        if pending is None:
            self._boot.remove(partition.CHALLENGE)
            return
        self._boot.write(partition.CHALLENGE, pending.text)
        report.ask(pending.owner)

    def _join_household(self, todo: FirstBootPlan, report: FirstBootReport) -> bool:
        """Join a household if there is an invitation; return False if it has to be retried."""
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
        # An invitation is valid once: it is removed, so that a retry does not use it again.
        rest = {key: value for key, value in self._read_pending().items() if key != "household"}
        write_atomic(self._copy, plan.render_toml(rest).encode("utf-8"))
        report.taken.append(
            f"joined the household as {joined.who.cn}; its broker is {joined.broker_host},"
            f" port {joined.broker_port}"
        )
        return True

    def _introduce(self, todo: FirstBootPlan, report: FirstBootReport) -> None:
        public = self._home.device_key().public_key()
        name = self._read_settings().device.name
        report.speaker += [f"name: {name}", f"public key: {keys.device_text(public)}"]
        if todo.line is None and not (self._home.path / "tls" / "me.crt").exists():
            report.speaker.append(
                "to add it to the archive, run this on the archive's computer:"
                f"\nearmark household add-device {name} --key {keys.device_text(public)}"
            )

    def _write_report(self, report: FirstBootReport, exit_code: int) -> FirstBootOutcome:
        self._boot.write(partition.RESULT, report.text())
        return FirstBootOutcome(report, exit_code)
