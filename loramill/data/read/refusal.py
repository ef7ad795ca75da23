"""How a reader gives up on a row."""

from loramill.errors import DataError


class UnreadableRowError(DataError):
    """What is wrong with one row; it ends as a `Refused` and never leaves the readers."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule
        self.reason = reason
