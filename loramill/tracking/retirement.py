"""Taking adapters out of service for ever."""

from collections.abc import Collection

from loramill.tracking import store
from loramill.tracking.registry import Alias, aliased, retire

ALIASES: tuple[Alias, ...] = ("champion", "challenger")


def take_down(domain: str, numbers: Collection[str], reason: str) -> list[Alias]:
    """Retire versions, and let no alias name one of them any more; return the aliases that name nothing now.

    The versions and their history stay: that an adapter was retired has to be seen.

    Raises:
        TrackingError: the registry did not answer.
    """
    with store.answering("retire versions"), store.alone(domain):
        for number in numbers:
            retire(domain, number, reason)
        named = [alias for alias in ALIASES if (found := aliased(domain, alias)) and str(found.version) in numbers]
        for alias in named:
            store.client().delete_registered_model_alias(domain, alias)
        return named
