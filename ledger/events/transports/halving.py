"""Find what a broker will never take where it only says that something of a batch is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ledger.events.transports.base import Message


class BatchRefused(Exception):
    """The broker will never take one of these messages; of the others it has taken a beginning, for each key.

    Its words are the broker's reason.
    """


Deliver = Callable[[Sequence[Message]], dict[int, str]]


def deliver_by_halves(messages: Sequence[Message], deliver: Deliver) -> dict[int, str]:
    """Call `deliver` with all messages, and with halves of what it refuses; return index and reason of the culprits.

    Those that `deliver` knows by itself it returns, with all others delivered. A half begins when the one before it is
    through, so that each key keeps its order; what was taken before a refusal is delivered again.
    """
    if not messages:
        return {}
    try:
        return deliver(messages)
    except BatchRefused as refused:
        if len(messages) == 1:
            return {0: str(refused)}
    middle = len(messages) // 2
    first = deliver_by_halves(messages[:middle], deliver)
    second = deliver_by_halves(messages[middle:], deliver)
    return first | {middle + index: reason for index, reason in second.items()}
