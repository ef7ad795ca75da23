"""Everything that loramill refuses, as one tree.

    LoramillError
    ├── ConfigError (ValueError)      a key or value in conf/ is wrong
    ├── DataError (ValueError)        rows cannot be used as they are
    ├── BaseModelError (ValueError)   a base model cannot be found, read or trusted
    ├── AdapterError (ValueError)     an adapter is missing, damaged or made for another base
    ├── TrainingError (RuntimeError)  a training cannot go on
    ├── TrackingError (RuntimeError)  the registry did not answer
    ├── BusyError (RuntimeError)      somebody else is at work there
    └── DiskFullError (OSError)       no room to write

Each message says what was given, the rule it breaks, and the next move. To add one: subclass the category that the person
who reads it would look under, and raise it where the value is used; a test asserts the message.
"""


class LoramillError(Exception):
    """Root of all errors that a person can act on; the command line prints them without a traceback."""


class ConfigError(LoramillError, ValueError):
    """A key or value in ``conf/`` is wrong."""


class DataError(LoramillError, ValueError):
    """Rows cannot be used as they are."""


class BaseModelError(LoramillError, ValueError):
    """A base model cannot be found, read or trusted."""


class AdapterError(LoramillError, ValueError):
    """An adapter is missing, damaged or made for another base."""


class TrainingError(LoramillError, RuntimeError):
    """A training cannot go on."""


class TrackingError(LoramillError, RuntimeError):
    """The registry did not answer."""


class BusyError(LoramillError, RuntimeError):
    """Somebody else is at work on the same thing."""


class DiskFullError(LoramillError, OSError):
    """No room to write."""

    def __str__(self) -> str:
        """Say what happened, without the number."""
        return self.strerror or super().__str__()
