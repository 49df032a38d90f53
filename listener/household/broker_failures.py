"""Errors for the events of a broker that end the household's work."""

from typing import Final

from listener.errors import Unavailable
from listener.mqtt.client import BrokerEvent, ConnectionLostEvent, DeniedEvent, RejectedEvent

CHECK_BROKER: Final = (
    "check that mosquitto runs with the household's configuration: systemctl status mosquitto"
)


def raise_on_failure(event: BrokerEvent) -> None:
    """Raise an error for an event that ends the work.

    Raises:
        Unavailable: the connection is lost, or the broker denies access.
    """
    match event:
        case ConnectionLostEvent():
            raise Unavailable(
                f"no connection to the broker{event.describe()}", event.hint or CHECK_BROKER
            )
        case DeniedEvent(reason=reason) | RejectedEvent(reason=reason):
            raise Unavailable(
                f"the broker denied access: {reason}",
                "reload mosquitto to apply the new access list: systemctl reload mosquitto",
            )
        case _:
            pass
