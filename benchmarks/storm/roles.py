"""What the customers of a storm do, each of them one thing: pay, hold, take what is held, take back, keep accounts."""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from benchmarks.storm.books import FORMS, TILL, WALLETS, amount
from benchmarks.storm.customers import Ask, Customer, Makes, Told
from config.runtime.clock import now

TRANSACTIONS = "/v2/transactions"
BATCH_SIZE = 10
HELD_FOR_S = (0.3, 2.0)
PART_MINOR_MAX = 1_500
LATEST, UNDER_WAY = 0.6, 0.2
# What undoes is asked for more often: most accounts are open.
CHANGES = ("freeze", "unfreeze", "limits", "close", "reopen"), (1, 6, 1, 2, 3)


class Payer(Customer):
    """Pays in every form: accepted, waited for, or many at once."""

    def next_ask(self, key: str) -> Ask:
        if self.chance.random() < 0.1:
            return self._batch(key)
        # The door is of chance, whatever the form.
        prefer = self.chance.choice(("", "", "wait=2"))
        form = _form(self.chance)
        body = FORMS[form](self.chance)
        return Ask(key, form, Makes.TRANSACTION, TRANSACTIONS, json.dumps(body), prefer, amount=body.get("amount"))

    def note(self, told: Told) -> None:
        if told.id is not None and told.ask.makes is Makes.BATCH:
            self.board.batches.append(told.id)
        elif _is_ready(self, told):
            self.board.paid.append(str(told.id))

    def _batch(self, key: str) -> Ask:
        # Some are posted at once, some in turns.
        prefer = self.chance.choice(("", "respond-async"))
        mode = "atomic" if not prefer and self.chance.random() < 0.3 else "partial"
        size = 2 if mode == "atomic" else BATCH_SIZE
        items = [FORMS[_form(self.chance)](self.chance) for _ in range(size)]
        body = json.dumps({"mode": mode, "items": items})
        return Ask(key, "batch", Makes.BATCH, f"{TRANSACTIONS}/batch", body, prefer)


class Holder(Customer):
    """Holds, in every form, for so short a time that some expire."""

    def next_ask(self, key: str) -> Ask:
        ends = now() + timedelta(seconds=self.chance.uniform(*HELD_FOR_S))
        asked = FORMS[_form(self.chance)](self.chance)
        body = asked | {"capture": "manual", "expires_at": ends.isoformat()}
        prefer = self.chance.choice(("", "wait=2", "wait=2"))
        return Ask(key, "hold", Makes.TRANSACTION, TRANSACTIONS, json.dumps(body), prefer, amount=asked.get("amount"))

    def note(self, told: Told) -> None:
        if _is_ready(self, told):
            self.board.holds.append(str(told.id))


class Taker(Customer):
    """Captures what is held, all of it or a part, or lets it go: whatever others do to it at the same time."""

    def next_ask(self, key: str) -> Ask | None:
        hold = _latest(self, self.board.holds)
        if hold is None:
            return None
        kind = self.chance.choice(("capture", "capture in part", "capture finally", "void"))
        path = f"{TRANSACTIONS}/{hold}/{kind.split()[0]}"
        body: dict[str, Any] = {}
        if kind in ("capture in part", "capture finally"):
            body = {"amount": amount(self.chance, PART_MINOR_MAX), "final": kind == "capture finally"}
        return Ask(key, kind, Makes.MOVE, path, json.dumps(body), of=hold, amount=body.get("amount"))

    def note(self, told: Told) -> None:
        if told.id is not None and told.standing == "completed":
            self.board.paid.append(told.id)


class Refunder(Customer):
    """Takes back what was paid, all of it or a part, and whole batches."""

    def next_ask(self, key: str) -> Ask | None:
        if self.chance.random() < 0.15:
            return self._batch(key)
        paid = _latest(self, self.board.paid)
        if paid is None:
            return None
        is_whole = self.chance.random() < 0.5
        body = {} if is_whole else {"amount": amount(self.chance, PART_MINOR_MAX)}
        kind = "reverse" if is_whole else "reverse in part"
        path = f"{TRANSACTIONS}/{paid}/reverse"
        return Ask(key, kind, Makes.TRANSACTION, path, json.dumps(body), of=paid, amount=body.get("amount"))

    def _batch(self, key: str) -> Ask | None:
        batch = _latest(self, self.board.batches)
        if batch is None:
            return None
        return Ask(key, "reverse a batch", Makes.BATCH, f"/v2/batches/{batch}/reverse", "", of=batch)


class Staff(Customer):
    """Freezes, limits and closes accounts under everybody's hands, and undoes it soon."""

    def next_ask(self, key: str) -> Ask:
        (kind,) = self.chance.choices(*CHANGES)
        path = TILL if kind in ("close", "reopen") else self.chance.choice(WALLETS)
        body: dict[str, Any] = {"reason": "storm"}
        if kind == "freeze":
            body["sides"] = self.chance.choice(("debits", "credits", "both"))
        if kind == "limits":
            body |= {"floor": self.chance.choice(("0.00", "-20.00", "5.00"))}
            body |= {"ceiling": self.chance.choice((None, "800.00", "1500.00"))}
        account = self.books.ids[path]
        return Ask(key, kind, Makes.CHANGE, f"/v2/accounts/{account}/{kind}", json.dumps(body), of=account)


ROLES: Sequence[type[Customer]] = (*[Payer] * 4, *[Holder] * 2, *[Taker] * 3, *[Refunder] * 2, Staff)


def _form(chance: random.Random) -> str:
    """Return the first form as often as all the others together."""
    first, *others = FORMS
    return chance.choice((first, chance.choice(others)))


def _is_ready(customer: Customer, told: Told) -> bool:
    """Tell whether others may go for it; of what was only accepted they shall meet some with the poster."""
    if told.id is None or told.code:
        return False
    return told.status != 202 or customer.chance.random() < UNDER_WAY


def _latest(customer: Customer, of: deque[str]) -> str | None:
    """Return mostly the last, that everybody is after, and sometimes one before it."""
    if not of:
        return None
    return of[-1] if customer.chance.random() < LATEST else of[customer.chance.randrange(len(of))]
