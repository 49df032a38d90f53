"""Check of a service's connection to the broker, which leaves a running service connected.

A broker that takes the client id from the certificate or the user name closes the session of a
service when doctor connects in its name. While the service runs, doctor makes the TLS handshake
only, and reads the connection's state from the service's record.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from listener.config import BrokerSettings
from listener.doctor import installation
from listener.errors import EarmarkError
from listener.mqtt.connection_record import ConnectionRecord, read_record, record_path
from listener.mqtt.handshake import shake_hands
from listener.storage.atomic import is_running
from listener.system.findings import Check, Finding
from listener.system.systemd import unit_name

_BROKER = Check("broker")


def check_broker_sessions(settings: BrokerSettings, folder: Path, verb: str) -> Iterator[Finding]:
    """Check each broker, and the service's connections: one of `send`, one to each of the others.

    Args:
        settings: of the brokers, as the service uses them.
        folder: folder of the service's lock file.
        verb: the service's command, such as ``send``.
    """
    each = settings.each()
    if len(each) == 1:
        yield check_broker_session(each[0], folder, verb)
    elif verb == "send":
        yield _check_any(each, folder)
    else:
        for number, one in enumerate(each, 1):
            yield check_broker_session(one, folder, verb, number)


def check_broker_session(
    settings: BrokerSettings, folder: Path, verb: str, number: int = 1
) -> Finding:
    """Check the broker, and this service's connection to it.

    Args:
        settings: of the broker, as the service uses them.
        folder: folder of the service's lock file.
        verb: the service's command, such as ``send``.
        number: of the connection, for a service with several.
    """
    is_named = settings.certificate_file is not None or settings.username is not None
    runs = is_running(folder, verb) if is_named else False
    if settings.ca_file is not None or runs is not False:
        try:
            shake_hands(settings)
        except EarmarkError as error:
            return _BROKER.fail(
                f"{settings.address}: {error}",
                error.hint or "start the broker, or correct broker.host and broker.port",
            )
    if runs is False:
        return installation.check_broker(settings)
    if runs is None:
        return _BROKER.warn(
            f"{settings.address} answers; whether {verb} runs and is connected is unknown to this"
            " user",
            "run it as root: sudo earmark doctor",
        )
    record = read_record(record_path(folder, verb, number))
    return _check_record((settings.address,), (settings.address,), record, verb)


def _check_any(each: Sequence[BrokerSettings], folder: Path) -> Finding:
    """Check the brokers of a speaker, of which it uses one.

    Args:
        each: the brokers, in order of preference.
        folder: folder of the lock file of `send`.
    """
    silent = {}
    for one in each:
        try:
            shake_hands(one)
        except EarmarkError as error:
            silent[one.address] = str(error)
    listed = "; ".join(f"{address}: {reason}" for address, reason in silent.items())
    if len(silent) == len(each):
        return _BROKER.fail(
            f"no broker answers: {listed}",
            "start one, or correct broker.hosts; clips wait in the spool",
        )
    addresses = tuple(one.address for one in each if one.address not in silent)
    runs = is_running(folder, "send")
    record = read_record(record_path(folder, "send"))
    finding = (
        _check_record(addresses, [one.address for one in each], record, "send")
        if runs
        else _BROKER.ok(f"{', '.join(addresses)}: answers")
    )
    if silent and finding.verdict == "ok":
        return _BROKER.warn(f"{finding.text}; {listed}", "start the broker that does not answer")
    return finding


def _check_record(
    answering: Sequence[str], configured: Sequence[str], record: ConnectionRecord | None, verb: str
) -> Finding:
    address = ", ".join(answering)
    if record is None or (not record.connected and not record.reason):
        return _BROKER.warn(
            f"{address} answers; {verb} has not reported a connection yet",
            f"run earmark doctor again; if this stays, see journalctl -u {unit_name(verb)}",
        )
    if record.address not in configured:
        return _BROKER.warn(
            f"{address} answers, but {verb} uses {record.address}, from an earlier configuration",
            f"systemctl restart {unit_name(verb)}",
        )
    if not record.connected:
        return _BROKER.fail(
            f"{address} answers, but {verb} is not connected: {record.reason}",
            record.hint or f"see journalctl -u {unit_name(verb)}",
        )
    return _BROKER.ok(f"{record.address} answers; {verb} is connected, in MQTT {record.protocol}")
