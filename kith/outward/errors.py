"""What can go wrong between us and those who are told outward: leaves of the tree in kith.errors."""

from kith.errors import Rejected, Retryable


class ReceiverAway(Retryable):
    """Who is to be told cannot be reached, or does not take it now."""

    def __init__(self, message: str = "", *, status: int | None = None, after_s: float | None = None) -> None:
        super().__init__(message)
        #: The HTTP status, where there was an answer; after_s: when the other side wants to be asked again.
        self.status, self.after_s = status, after_s


class MqttAway(Retryable):
    """The MQTT broker cannot be reached, or refuses us; the broker or the settings [mqtt] are to be mended."""


class UnknownWebhook(Rejected):
    """There is no webhook of this id."""


class InvalidWebhook(Rejected):
    """No webhook can be like this."""


class DeliveryRefused(Rejected):
    """The receiver will never take this."""

    def __init__(self, message: str = "", *, status: int | None = None) -> None:
        super().__init__(message)
        #: The HTTP status, where there was an answer.
        self.status = status
