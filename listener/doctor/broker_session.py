"""Check of a service's connection to the broker, which leaves a running service connected.

A broker that takes the client id from the certificate or the user name closes the session of a
service when doctor connects in its name. While the service runs, doctor makes the TLS handshake
only, and reads the connection's state from the service's record.
"""

from pathlib import Path

from listener.config import BrokerSettings
from listener.doctor import installation
from listener.errors import EarmarkError
from listener.mqtt.connection_record import address_of, read_record, record_path
from listener.mqtt.handshake import shake_hands
from listener.storage.atomic import is_running
from listener.system.findings import Check, Finding

_BROKER = Check("broker")


def check_broker_session(settings: BrokerSettings, folder: Path, verb: str) -> Finding:
    """Check the broker, and this service's connection to it.

    Args:
        settings: of the broker, as the service uses them.
        folder: folder of the service's lock file.
        verb: the service's command, such as ``send``.
    """
    address = address_of(settings)
    is_named = settings.certificate_file is not None or settings.username is not None
    runs = is_running(folder, verb) if is_named else False
    if settings.ca_file is not None or runs is not False:
        try:
            shake_hands(settings)
        except EarmarkError as error:
            return _BROKER.fail(
                f"{address}: {error}",
                error.hint or "start the broker, or correct broker.host and broker.port",
            )
    if runs is False:
        return installation.check_broker(settings)
    if runs is None:
        return _BROKER.warn(
            f"{address} answers; whether {verb} runs and is connected is unknown to this user",
            "run it as root: sudo earmark doctor",
        )
    return _check_record(address, folder, verb)


def _check_record(address: str, folder: Path, verb: str) -> Finding:
    record = read_record(record_path(folder, verb))
    if record is None or (not record.connected and not record.reason):
        return _BROKER.warn(
            f"{address} answers; {verb} has not reported a connection yet",
            f"run earmark doctor again; if this stays, see journalctl -u earmark-{verb}",
        )
    if record.address != address:
        return _BROKER.warn(
            f"{address} answers, but {verb} uses {record.address}, from an earlier configuration",
            f"systemctl restart earmark-{verb}",
        )
    if not record.connected:
        return _BROKER.fail(
            f"{address} answers, but {verb} is not connected: {record.reason}",
            record.hint or f"see journalctl -u earmark-{verb}",
        )
    return _BROKER.ok(f"{address} answers; {verb} is connected, in MQTT {record.protocol}")
