"""What every refusal in SecureChat has in common."""

from __future__ import annotations


class DomainError(Exception):
    """A rule said no. Raised where the rule is, turned into an answer once, at the edge.

    ``code`` is stable and for programs, ``message`` is one sentence for a person. Neither ever quotes input.
    """

    code = "refused"
    message = "That did not work."
    status = 400

    def __init__(self, message: str | None = None, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(message or self.message)
        self.retry_after_seconds = retry_after_seconds


class TooFast(DomainError):
    """Over a rate limit; ``retry_after_seconds`` says when to come back."""

    code = "too_fast"
    message = "You are doing that too fast. Please wait a moment and try again."
    status = 429


class Unavailable(DomainError):
    """A part the answer needs (database, Redis) is away. Nothing was stored."""

    code = "unavailable"
    message = "The server cannot do that right now. Please try again."
    status = 503
