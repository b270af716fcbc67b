"""What iterations raise that do not get where they should: one base class, so that one `except` catches all."""

__all__ = ["ConvergenceError", "IntegrationError", "InversionError"]


class ConvergenceError(RuntimeError):
    """An iteration did not reach its tolerance; the message says which, how far it came and what to look at.

    >>> issubclass(InversionError, ConvergenceError) and issubclass(IntegrationError, ConvergenceError)
    True
    """


class InversionError(ConvergenceError):
    """An inverse that is found by iteration was not found."""


class IntegrationError(ConvergenceError):
    """An adaptive solver gave up: its step became too small, or it used up its evaluations."""
