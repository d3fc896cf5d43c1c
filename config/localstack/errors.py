"""What the local stack says when it cannot go on."""

from __future__ import annotations


class StackError(Exception):
    """The stack cannot do what was asked; the message says why, and what to do, to a newcomer."""


class ServerDied(StackError):
    """A server ended while it was starting."""
