"""The ledger in plain Python, all of it: it predicts what the real one answers, and what then stands in its books."""

from __future__ import annotations

from typing import Any

from tests.ledger.model.accounts import Accounts
from tests.ledger.model.batches import Batches
from tests.ledger.model.looks import Looks


class Reference(Batches, Accounts, Looks):
    """The books of one client."""

    def books(self) -> dict[str, tuple[Any, ...]]:
        """Return all that can be compared after every step, by path or label."""
        return self.sums() | self.moved() | self.results()
