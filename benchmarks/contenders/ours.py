"""Our engine, called as the services call it (`engine`) and through the service of batches (`services`); what `accept`
takes in, 50 a commit as the web does at most, `drain` posts as a worker does.

With the argument `open` it opens the accounts instead: a client's 10,000 wallets, funded, that may not go below zero.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any
from unittest.mock import patch

from benchmarks.contenders.loop import ACCOUNTS, CLIENT, Transfer, Way, serve, wallet
from config.runtime.clock import now
from config.runtime.garbage import settle
from config.runtime.ids import uuid7
from ledger.clients.models import Client, Tier
from ledger.clients.services import create_client
from ledger.domain.legs import pair, terms_of
from ledger.models import QueuedPosting
from ledger.posting.accept import accept
from ledger.posting.engine import ROUND_SIZE_MAX, post
from ledger.posting.intents import Action, Intent, Outcome
from ledger.queries.accounts import find_accounts
from ledger.services.accounts import Opening, open_accounts
from ledger.services.posting import post_due
from ledger.services.submissions import Submission
from ledger.services.transactions import Submitted, submit_transactions

CASH, FEES = "cash:USD", "fees:USD"
FUNDS = "1000000.00"
LANE = 0


def main() -> None:
    if sys.argv[-1] == "open":
        open_books()
        return
    prepared_ways = ways()
    settle()  # as the processes of the service do
    serve(prepared_ways)


def open_books() -> None:
    client_id = create_client(name=CLIENT, tier=Tier.INTERNAL, actor="benchmark").pk
    others = [Opening(path=CASH, currency="USD", kind="asset"), Opening(path=FEES, currency="USD", kind="income")]
    open_accounts(client_id=client_id, openings=others)
    for paths in _rounds([wallet(number) for number in range(ACCOUNTS)]):
        wallets = [Opening(path=path, currency="USD", kind="liability", user_id=path.split(":")[1]) for path in paths]
        open_accounts(client_id=client_id, openings=wallets)
        _check_submitted(_submit(client_id, [_submission("cash_in", CASH, path, FUNDS) for path in paths]))


class Prepared:
    """Makes of transfers what the ways are given; only what has to stand first is written."""

    def __init__(self, client_id: int) -> None:
        self._client_id = client_id
        self._names = [wallet(number) for number in range(ACCOUNTS)]
        found = find_accounts(client_id, [*self._names, FEES])
        self._refs, self._fees = [found[name] for name in self._names], found[FEES]

    def intents(self, transfers: Sequence[Transfer]) -> list[Intent]:
        return [
            Intent(
                id=(identifier := uuid7()),
                client_id=self._client_id,
                type="transfer",
                amount_minor=one.amount_minor,
                legs=pair(self._refs[one.debit], self._refs[one.credit], one.amount_minor),
                idempotency_key=str(identifier),
                request_hash=bytes(32),
                actor="key:BENCH000",
            )
            for one in transfers
        ]

    def submissions(self, transfers: Sequence[Transfer]) -> list[Submission]:
        names = self._names
        return [
            _submission("transfer", names[one.debit], names[one.credit], f"{one.amount_minor / 100:.2f}")
            for one in transfers
        ]

    def dated(self, transfers: Sequence[Transfer]) -> list[Intent]:
        yesterday = now() - timedelta(days=1)
        return [replace(intent, effective_at=yesterday) for intent in self.intents(transfers)]

    def charged(self, transfers: Sequence[Transfer]) -> list[Intent]:
        """Return transfers that cost a cent on top."""
        return [
            replace(intent, legs=legs, terms=terms_of(legs, fee_minor=1))
            for intent in self.intents(transfers)
            for legs in [(*intent.legs, *pair(intent.legs[0].account, self._fees, 1))]
        ]

    def held(self, transfers: Sequence[Transfer]) -> list[Intent]:
        expires_at = now() + timedelta(days=7)
        return [replace(intent, expires_at=expires_at) for intent in self.intents(transfers)]

    def ending(self, transfers: Sequence[Transfer], *, by: Action) -> list[Intent]:
        """Hold transfers and return what ends them."""
        holds = self.held(transfers)
        post(holds)
        return [replace(hold, action=by) for hold in holds]

    def reversing(self, transfers: Sequence[Transfer]) -> list[Intent]:
        """Book transfers and return what takes them back."""
        booked, back = self.intents(transfers), [Transfer(one.credit, one.debit, one.amount_minor) for one in transfers]
        post(booked)
        return [replace(intent, original=one) for intent, one in zip(self.intents(back), booked, strict=True)]


def ways() -> dict[str, Way]:
    client_id = Client.objects.get(name=CLIENT).pk
    prepared = Prepared(client_id)
    return {
        "engine": Way(prepared.intents, post, _checked("completed")),
        "untold": Way(prepared.intents, _post_untold, _checked("completed")),
        "dated": Way(prepared.dated, post, _checked("completed")),
        "charged": Way(prepared.charged, post, _checked("completed")),
        "hold": Way(prepared.held, post, _checked("pending")),
        "capture": Way(partial(prepared.ending, by=Action.CAPTURE), post, _checked("completed")),
        "void": Way(partial(prepared.ending, by=Action.VOID), post, _checked("voided")),
        "reverse": Way(prepared.reversing, post, _checked("completed")),
        "services": Way(prepared.submissions, partial(_submit, client_id), _check_submitted),
        "accept": Way(prepared.intents, accept, _checked("processing")),
        "drain": Way(len, _drain, _check_drained),
    }


def _post_untold(intents: Sequence[Intent]) -> list[Outcome]:
    """Post without outbox rows: what they cost is the difference. The books are not whole then."""
    with patch("ledger.posting.write.record_events"):
        return post(intents)


def _submission(kind: str, debit: str, credit: str, amount: str) -> Submission:
    return Submission(
        type=kind,
        debit_account=debit,
        credit_account=credit,
        amount=amount,
        currency="USD",
        idempotency_key=str(uuid7()),
        request_hash=bytes(32),
    )


def _submit(client_id: int, submissions: Sequence[Submission]) -> list[Any]:
    return submit_transactions(client_id=client_id, submissions=submissions, actor="key:BENCH000", now=now())


def _checked(status: str) -> Callable[[Sequence[Outcome]], None]:
    def check(outcomes: Sequence[Outcome]) -> None:
        assert all(one.transaction is not None and one.transaction.status == status for one in outcomes)

    return check


def _drain(expected: int) -> tuple[int, int]:
    """Post all that waits; return how many that should have been, and how many it was."""
    drained = 0
    while count := post_due(LANE):
        drained += count
    return expected, drained


def _check_drained(counts: tuple[int, int]) -> None:
    expected, drained = counts
    assert drained == expected, f"{drained} of {expected}"
    assert not QueuedPosting.objects.exists()


def _check_submitted(results: Sequence[Any]) -> None:
    assert all(isinstance(one, Submitted) and one.transaction.status == "completed" for one in results)


def _rounds(paths: Sequence[str]) -> Iterator[Sequence[str]]:
    return (paths[start : start + ROUND_SIZE_MAX] for start in range(0, len(paths), ROUND_SIZE_MAX))
