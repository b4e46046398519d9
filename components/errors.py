"""The errors that a user can cause or meet.

AthanorError
├── ConfigError           2   a YAML file or an override does not describe a run
├── UsageError            2   a command, name, version or alias does not exist
├── DataRejected          3   data broke a rule; the report says which rows
├── GateRefused           4   a candidate did not show what the gate demands
├── ServiceUnreachable    5   a server or an index does not answer
├── IntegrityError        6   bytes are not the bytes that were recorded
├── ResourceError         7   disk, memory or device is short
└── TrainingDiverged      1   the loss is no longer finite

The number is the exit code of the process. Anything else that escapes is our bug: 70.
"""


class AthanorError(Exception):
    """What is wrong with which value and where; `remedy` is the exact next thing to do."""

    exit_code = 70

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message

    def __reduce__(self) -> tuple[type["AthanorError"], tuple[str, str]]:
        """Errors cross process borders with their remedy."""
        return type(self), (self.message, self.remedy)


class ConfigError(AthanorError):
    """A YAML file or an override does not describe a run."""

    exit_code = 2


class UsageError(AthanorError):
    """A command, a name, a version or an alias does not exist."""

    exit_code = 2


class DataRejected(AthanorError):
    """Data broke a rule that the run demands."""

    exit_code = 3


class GateRefused(AthanorError):
    """A candidate did not show what the gate demands."""

    exit_code = 4


class ServiceUnreachable(AthanorError):
    """A server or an index does not answer, or may not be asked."""

    exit_code = 5


class IntegrityError(AthanorError):
    """Bytes are not the bytes that were recorded."""

    exit_code = 6


class ResourceError(AthanorError):
    """Disk, memory or a device is short."""

    exit_code = 7


class TrainingDiverged(AthanorError):
    """The loss is no longer finite."""

    exit_code = 1


class Interrupted(AthanorError):
    """Somebody cancelled it; what was finished, and checkpoints, are kept."""

    exit_code = 130
