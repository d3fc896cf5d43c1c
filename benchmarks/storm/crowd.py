"""All customers of a storm together, and all that they were told."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from benchmarks.storm.books import Books
from benchmarks.storm.customers import ANSWER_WITHIN_S, Attempt, Board, Customer, Sight, Told
from benchmarks.storm.roles import ROLES


class Crowd:
    """One customer of each of `roles`."""

    def __init__(self, port: int, books: Books, roles: Sequence[type[Customer]] = ROLES) -> None:
        self.books, board = books, Board()
        self.customers = [role(port, books, board, number) for number, role in enumerate(roles)]

    @property
    def acknowledged(self) -> int:
        return sum(len(customer.told) for customer in self.customers)

    def start(self) -> None:
        for customer in self.customers:
            customer.start()

    def stop(self, timeout_s: float) -> None:
        """Let them ask nothing new, and have what they asked answered within so long."""
        for customer in self.customers:
            customer.give_up_at = time.monotonic() + timeout_s
            customer.is_done.set()
        for customer in self.customers:
            customer.join(timeout_s + ANSWER_WITHIN_S)

    def told(self) -> dict[str, Told]:
        return {key: told for customer in self.customers for key, told in customer.told.items()}

    def unanswered(self) -> list[str]:
        return [key for customer in self.customers for key in customer.unanswered]

    def doubled(self) -> list[str]:
        """Keys that were answered with one object first and with another later."""
        return [key for customer in self.customers for key in customer.doubled]

    def odd(self) -> list[str]:
        return [what for customer in self.customers for what in customer.odd]

    def attempts(self) -> list[Attempt]:
        return [attempt for customer in self.customers for attempt in customer.attempts]

    def sights(self) -> list[Sight]:
        """All that was shown of transactions, of each connection in the order of its answers."""
        return [sight for customer in self.customers for sight in customer.sights]

    def statuses(self) -> Counter[int]:
        return Counter(attempt.status for attempt in self.attempts())
