"""``earmark send``: publishes encrypted clips and hear's notices to the MQTT broker."""

import argparse
import json
import os
import time
from functools import partial
from pathlib import Path
from typing import Final

import listener
from listener.cli.main import with_examples
from listener.config import BrokerSettings, Config
from listener.errors import Unavailable
from listener.ipc import control
from listener.ipc.control import ControlClient
from listener.ipc.notice_socket import SOCKET, NoticeSocket
from listener.ipc.voice_folder import locate_voice_folder
from listener.mqtt.connection_record import RecordedBroker, record_path
from listener.mqtt.failover import failover_client
from listener.mqtt.paho_client import PahoBroker
from listener.mqtt.wait_reasons import UNKNOWN, WAIT_REASONS
from listener.quantities import quantity
from listener.release import state
from listener.release.state import VersionReport
from listener.send.delivery import ClipDelivery
from listener.send.false_wakes import FalseWakes
from listener.send.inbound import InboundMessages
from listener.send.loop import Sender
from listener.send.owner_challenges import ChallengePublisher
from listener.send.status import will
from listener.send.suspension import MOST_REFUSALS
from listener.send.voice_relay import VoiceRelay
from listener.spool.queue import Spool
from listener.storage import atomic
from listener.storage.atomic import read_plain_file
from listener.system import systemd
from listener.system.systemd import with_credentials
from listener.voice.limits import LONGEST_FILE_BYTES

LONGEST_PACKET_BYTES = LONGEST_FILE_BYTES + 8192
"""Longest MQTT packet that a device accepts: a reply, with room for topic and properties."""


_TEMPERATURE: Final = Path("/sys/class/thermal/thermal_zone0/temp")
"""Thousandths of a degree Celsius; on a Raspberry Pi that of the processor."""
_LONGEST_NUMBER: Final = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``earmark send``."""
    parser.epilog = with_examples(
        "A clip stays in the spool until the archive acknowledges it. Clips that the archive\n"
        "refuses for good are moved to spool/quarantine and counted.",
        "earmark send",
        "earmark send --once --patience 60",
        "earmark send --once --release",
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="send everything in the spool, then exit; exit code 69 if that fails,"
        " 1 if a clip was quarantined",
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=30.0,
        metavar="S",
        help="with --once: exit after S seconds without progress (default: 30)",
    )
    parser.add_argument(
        "--json", action="store_true", help="with --once or --release: print one JSON object"
    )
    parser.add_argument(
        "--release", action="store_true", help="first move quarantined clips back to the spool"
    )


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Send until SIGTERM, or with ``--once`` until the spool is empty.

    Raises:
        Unavailable: another send runs here; with ``--once``, the spool could not be emptied.
        ConfigError: the broker configuration cannot be used.
    """
    home = Path(settings.home)
    with atomic.single_instance((home / SOCKET).parent, "send"):
        spool = Spool(home / "spool", settings.spool)
        if arguments.release:
            released, kept = spool.restore(), len(spool.quarantined())
            if arguments.json:
                print(json.dumps({"event": "released", "released": released, "kept": kept}))
            else:
                print(f"released {quantity(released, 'clip')} from quarantine")
            if kept and not arguments.json:
                print(
                    f"{quantity(kept, 'clip stays', 'clips stay')} in quarantine:"
                    " the archive refused"
                    f" {'it' if kept == 1 else 'them'} twice, because"
                    " other clips have their numbers; for the cause, run earmark doctor"
                )
            spool.set_suspended("")
        delivery = ClipDelivery(spool, settings.device.name, settings.spool.retry_s)
        broker = RecordedBroker(
            failover_client(
                with_credentials(settings.broker, os.environ),
                partial(_client, settings.device.name),
            ),
            record_path((home / SOCKET).parent, "send"),
            settings.broker.each()[0].address,
        )
        inbound = InboundMessages(home, settings.device.name)
        with systemd.StopSignal().on_signals() as stop:
            if arguments.once:
                sender = Sender(delivery, broker, inbound=inbound)
                return _once(sender, stop, arguments.patience, as_json=arguments.json)
            notice_socket = NoticeSocket(home / SOCKET)
            controller = ControlClient(home / control.SOCKET)
            voice = VoiceRelay(settings.device.name, locate_voice_folder(home), broker)
            try:
                notifier = systemd.Notifier(os.environ, time.monotonic)
                notifier.ready()
                Sender(
                    delivery,
                    broker,
                    notice_socket=notice_socket,
                    controller=controller,
                    inbound=inbound,
                    challenges=ChallengePublisher(home / "spool", settings.device.name, broker),
                    voice=voice,
                    service=notifier,
                    version=partial(_read_version, Path(settings.update.folder) / state.FILE),
                    temperature_c=_read_temperature_c,
                    false_wakes=FalseWakes(home),
                    hermes=settings.broker.hermes,
                ).run(stop)
                notifier.stopping()
            finally:
                notice_socket.close()
                controller.close()
                voice.close()
    return 0


def _client(device: str, settings: BrokerSettings) -> PahoBroker:
    return PahoBroker(settings, f"d-{device}", will(device), LONGEST_PACKET_BYTES)


def _read_version(path: Path) -> VersionReport:
    """Return the version report to publish; the update state file may be missing."""
    try:
        data = read_plain_file(path, state.LIMIT_BYTES)
    except OSError:
        data = None
    return state.report_version(listener.__version__, data)


def _read_temperature_c(path: Path = _TEMPERATURE) -> float | None:
    """Return the temperature of the processor, or None where the kernel has no sensor for it."""
    try:
        return int(path.read_bytes()[:_LONGEST_NUMBER]) / 1000
    except (OSError, ValueError):
        return None


def _once(sender: Sender, stop: systemd.StopSignal, patience_s: float, *, as_json: bool) -> int:
    empty = sender.drain(stop, patience_s)
    delivery = sender.delivery
    if as_json:
        summary = {
            "event": "drained",
            "sent": delivery.arrived,
            "erased": delivery.erased,
            "quarantined": delivery.quarantined,
            "waiting": delivery.waiting(),
            "not_stored": delivery.not_stored or None,
        }
        print(json.dumps(summary))
    else:
        erased = f", erased on arrival {delivery.erased}" if delivery.erased else ""
        print(
            f"sent {delivery.arrived}{erased}, quarantined {delivery.quarantined},"
            f" waiting {delivery.waiting()}"
        )
    if empty:
        return 0 if delivery.quarantined == 0 else 1
    if delivery.suspension.reason == "refusals":
        raise Unavailable(
            f"the archive refused {MOST_REFUSALS} clips in a row; the others wait in the spool",
            "find the cause in the archive's log, then run earmark send --once --release",
        )
    if delivery.suspension.reason == "deferred":
        raise Unavailable(
            "the archive defers clips: this device is over its limits, or clocks are compared",
            "wait, or raise archive.clips_per_hour and archive.bytes_per_day at the archive",
        )
    if delivery.not_stored:
        reason = WAIT_REASONS.get(delivery.not_stored, UNKNOWN)
        raise Unavailable(f"{reason.text}; the clips wait in the spool", reason.hint)
    if sender.was_connected:
        raise Unavailable(
            "the archive does not acknowledge clips",
            "on its computer, check that it runs and knows this speaker and the clips' owner:"
            " earmark household devices, earmark owner list; its log names the reason",
        )
    raise Unavailable(
        f"no connection to the broker{sender.lost or ': no answer'}",
        sender.lost_hint or "check the configuration broker.host and broker.port",
    )
