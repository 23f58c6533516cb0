"""The errors of all services, free of any transport.

RagError
├── InvalidInput         the request itself is wrong; sending it again will not help
├── TooLarge             the request is larger than a limit
├── Unauthenticated      nobody knows who is calling
├── PermissionDenied     the caller is known and may not
├── NotFound             there is no such thing, or it is not the caller's
├── AlreadyExists        there is such a thing already
├── Conflict             somebody else was first; read again and retry
├── FailedPrecondition   the system is not in a state that allows it
├── Overloaded           too much at once; `retry_after_s` says when to come back
├── DeadlineExceeded     the time ran out
├── Unavailable          something needed is away; a retry may help
└── Internal             a bug or a broken dependency; the cause is in the log
"""

from __future__ import annotations


class RagError(Exception):
    """An error with two texts: what the client reads is here, what the log keeps is `__cause__`.

    Args:
        message: One sentence for people. It must hold no internals.
        reason: UPPER_SNAKE_CASE for programs; part of the public contract.
        metadata: The values that the sentence mentions.
    """

    def __init__(self, message: str, reason: str, **metadata: str) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.metadata = metadata


class InvalidInput(RagError):
    """The request itself is wrong."""


class TooLarge(RagError):
    """The request is larger than a limit."""


class Unauthenticated(RagError):
    """Nobody knows who is calling."""


class PermissionDenied(RagError):
    """The caller is known and may not."""


class NotFound(RagError):
    """There is no such thing, or it is not the caller's: both read the same."""


class AlreadyExists(RagError):
    """There is such a thing already."""


class Conflict(RagError):
    """Somebody else was first."""


class FailedPrecondition(RagError):
    """The system is not in a state that allows it."""


class Overloaded(RagError):
    """Too much at once.

    Args:
        message: As in RagError.
        reason: As in RagError.
        retry_after_s: When to come back, in seconds.
        metadata: As in RagError.
    """

    def __init__(self, message: str, reason: str, retry_after_s: float = 1.0, **metadata: str) -> None:
        super().__init__(message, reason, **metadata)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(RagError):
    """The time ran out."""


class Unavailable(RagError):
    """Something needed is away."""


class Internal(RagError):
    """A bug or a broken dependency."""
