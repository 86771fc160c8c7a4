"""What a request may use, built once by the composition root, and by tests with doubles."""

from dataclasses import dataclass

from kith.client import Client
from kith.rates import Rates
from kith.sessions import Sessions
from kith.settings import Settings


@dataclass(frozen=True, slots=True)
class Doors:
    """client: the installation; `client.acting_as(actor)` for what is done for a caller. rates: how often callers may
    call. sessions: of people who signed in at the pages."""

    client: Client
    rates: Rates
    sessions: Sessions

    @property
    def settings(self) -> Settings:
        """Those of the installation."""
        return self.client.settings
