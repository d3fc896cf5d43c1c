"""The real ledger, asked in the words of the reference: the same method for each operation, the same answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.db import connection
from django.db.models import F, Sum

from config.runtime.clock import now
from config.runtime.errors import DomainError
from ledger.domain.accounts import Frozen
from ledger.domain.batches import BatchMode, ItemResult
from ledger.domain.shapes import TransactionShape
from ledger.errors import AccountNotFrozen
from ledger.models import Batch, QueuedPosting, Transaction
from ledger.posting.accept import accept
from ledger.posting.intents import Intent
from ledger.queries.accounts import find_accounts
from ledger.queries.batches import batch_detail, get_batch, item_results, items_of, waiting
from ledger.queries.transactions import shown_transactions
from ledger.services import posting
from ledger.services.account_changes import freeze_account, unfreeze_account
from ledger.services.batches import turns
from ledger.services.batches.retry import retry_batch
from ledger.services.batches.submit import submit_batch, try_batch
from ledger.services.batches.turns import post_due_batch
from ledger.services.idempotency import Claim
from ledger.services.intents import intent_of
from ledger.services.posting import post_due
from ledger.services.retry import retry_transaction
from ledger.services.submissions import Submission
from ledger.services.transactions import submit_transaction, try_transaction
from tests.ledger.locks import locked
from tests.ledger.model.asks import Answer, Ask, Tried, amount_text
from tests.ledger.model.boxes import Box
from tests.people import Tenant

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
# So many that a client has a lane for itself.
LANES = 1_000_000
AT_ONCE = "SELECT set_config('lock_timeout', '10ms', true)"
SUMS = """
SELECT a.path, b.posted_debits, b.posted_credits, b.version
FROM ledger_balance b
JOIN ledger_account a ON a.id = b.account_id
WHERE a.client_id = %s
"""
TRANSFERS = """
SELECT t.reference, t.error_code, t.attempts, t.version,
    (SELECT array_agg(h.to_status ORDER BY h.id) FROM ledger_transactionevent h WHERE h.transaction_id = t.id)
FROM ledger_transaction t
WHERE t.client_id = %s
"""
ITEMS = """
SELECT b.id, b.status, i.attempts, t.reference, i.replayed, i.error ->> 'code', i.error -> 'retryable' = 'true'
FROM ledger_batch b
JOIN ledger_batchitem i ON i.batch_id = b.id
LEFT JOIN ledger_transaction t ON t.id = i.transaction_id
WHERE b.client_id = %s
ORDER BY b.id, i.index
"""


class Product:
    """A client of its own. Its transactions have the labels of transfers as their reference."""

    def __init__(self) -> None:
        # Batches have one queue for all clients: what others have left there would have its turn first.
        Batch.objects.filter(status="processing").update(next_attempt_at=now() + 365 * 24 * HOUR)
        self.tenant = Tenant.new()
        self.client_id = self.tenant.client.pk
        self.accounts = {"cash:USD": self.tenant.account("cash:USD")}
        self.batch_ids: dict[str, UUID] = {}

    def open(self, path: str, box: Box) -> None:
        limits = {
            name: None if limit is None else amount_text(limit, box.currency)
            for name, limit in (("floor", box.floor), ("ceiling", box.ceiling))
        }
        self.accounts[path] = self.tenant.open(path, kind=box.kind, currency=box.currency, **limits)

    def freeze(self, path: str, sides: str) -> None:
        asked: dict[str, Any] = {"client_id": self.client_id, "account_id": self.accounts[path].id}
        asked |= {"actor": "test", "reason": "a test"}
        with suppress(AccountNotFrozen):
            unfreeze_account(**asked)
        if sides != Frozen.NONE:
            freeze_account(sides=Frozen(sides), **asked)

    def hour_passes(self) -> None:
        """Let everything that waits be an hour nearer: the clock is not ours to move."""
        queued = QueuedPosting.objects.filter(client=self.client_id)
        queued.update(next_attempt_at=F("next_attempt_at") - HOUR)
        batches = Batch.objects.filter(client=self.client_id, status="processing")
        batches.update(next_attempt_at=F("next_attempt_at") - HOUR)

    def submit(self, ask: Ask, *, wait: bool) -> Answer:
        try:
            found = submit_transaction(**self._asked(), submission=self._submission(ask), wait_s=10 if wait else None)
        except DomainError as refusal:
            return Answer(refusal.code)
        return of_transaction(found.transaction, replayed=found.replayed)

    def post(self, asks: list[Ask]) -> list[Answer]:
        """Book all in one round."""
        results = self.tenant.submit([self._submission(ask) for ask in asks])
        return [
            Answer(one.code) if isinstance(one, DomainError) else of_transaction(one.transaction, replayed=one.replayed)
            for one in results
        ]

    def accept(self, asks: list[Ask]) -> list[Answer]:
        """Accept all in one commit, as concurrent requests are."""
        accounts = find_accounts(self.client_id, {path for ask in asks for path in ask.accounts})
        answers: dict[str, Answer] = {}
        intents: dict[str, Intent] = {}
        for ask in asks:
            try:
                intents[ask.label] = intent_of(submission=self._submission(ask), accounts=accounts, **self._asked())
            except DomainError as refusal:
                answers[ask.label] = Answer(refusal.code)
        outcomes = accept(list(intents.values())) if intents else []
        earlier = shown_transactions(one.replay_of for one in outcomes if one.replay_of is not None)
        for label, outcome in zip(intents, outcomes, strict=True):
            if outcome.refusal is not None:
                answers[label] = Answer(outcome.refusal.code)
            elif outcome.replay_of is not None:
                answers[label] = of_transaction(earlier[outcome.replay_of], replayed=True)
            elif outcome.transaction is not None:
                answers[label] = of_transaction(outcome.transaction)
        return [answers[ask.label] for ask in asks]

    def try_one(self, ask: Ask) -> Answer:
        try:
            return of_transaction(try_transaction(**self._asked(), submission=self._submission(ask)))
        except DomainError as refusal:
            return Answer(refusal.code)

    def post_due(self, size: int, locked: str | None = None) -> int:
        queued = QueuedPosting.objects.filter(client=self.client_id, transaction__attempts__gt=0)
        with self._tried(posting, queued, locked) as patch:
            patch.setattr(posting, "ROUND_SIZE_MAX", size)
            patch.setattr(settings, "POSTING_LANES", LANES)
            return post_due(self.client_id % LANES)

    def retry(self, label: str, key: str | None) -> Answer:
        transaction_id = Transaction.objects.get(client=self.client_id, reference=label).pk
        claim = _claim(key, "transactions.retry", label)
        try:
            retried = retry_transaction(
                client_id=self.client_id, transaction_id=transaction_id, actor="test", request_id="", claim=claim
            )
        except DomainError as refusal:
            return Answer(refusal.code)
        return of_transaction(retried.transaction, replayed=retried.replayed)

    def batch(self, label: str, mode: str, asks: list[Ask], key: str, *, in_turns: bool = False) -> Answer:
        try:
            found = submit_batch(**self._batch_asked(mode, asks, key), respond_async=in_turns)
        except DomainError as refusal:
            return Answer(refusal.code)
        if not found.replayed:
            self.batch_ids[label] = found.batch.id
        row = get_batch(self.client_id, found.batch.id)
        assert found.batch == batch_detail(row)
        assert found.is_running or list(found.results) == item_results(items_of(row).order_by("index"))
        return Answer(found.batch.status, self._label_of(found.batch.id), found.replayed)

    def try_batch(self, mode: str, asks: list[Ask], key: str) -> Answer | Tried:
        try:
            tried = try_batch(**self._batch_asked(mode, asks, key))
        except DomainError as refusal:
            if refusal.code != "batch_refused":
                return Answer(refusal.code)
            return Tried(refusal.code, [(one["index"], one["code"]) for one in refusal.fields["items"]])
        return Tried(tried.batch.status, [of_item(one) for one in tried.results])

    def post_due_batch(self, size: int, locked: str | None = None) -> int:
        tries = self._tries()
        with self._tried(turns, None, locked) as patch:
            patch.setattr(turns, "TURN_SIZE", size)
            count = post_due_batch()
        paused = [batch_id for batch_id, attempts in self._tries().items() if attempts > tries.get(batch_id, 0)]
        Batch.objects.filter(pk__in=paused, status="processing").update(next_attempt_at=now() + HOUR)
        return count

    def _tries(self) -> dict[UUID, int]:
        """Return the tries of what waits, by batch: a turn in which they grow is followed by a pause."""
        rows = waiting().filter(batch__client=self.client_id).values_list("batch_id").annotate(Sum("attempts"))
        return dict(rows.order_by())

    def retry_batch(self, label: str, key: str | None) -> Answer:
        claim = _claim(key, "batches.retry", label)
        try:
            retried = retry_batch(
                client_id=self.client_id, batch_id=self.batch_ids[label], actor="test", request_id="", claim=claim
            )
        except DomainError as refusal:
            return Answer(refusal.code)
        return Answer(retried.batch.status, self._label_of(retried.batch.id), retried.replayed)

    def items(self, label: str) -> list[Answer]:
        row = get_batch(self.client_id, self.batch_ids[label])
        return [of_item(one) for one in item_results(items_of(row).order_by("index"))]

    def books(self) -> tuple[Any, ...]:
        return self.sums(), self.transfers(), self.batches()

    def sums(self) -> dict[str, tuple[int, int, int]]:
        return {path: (debits, credits_, version) for path, debits, credits_, version in self._rows(SUMS)}

    def transfers(self) -> dict[str, tuple[list[str], str | None, int]]:
        rows = self._rows(TRANSFERS)
        assert len({label for label, *_ in rows}) == len(rows)
        assert all(version == len(history) for *_, version, history in rows)
        return {label: (history, error, attempts) for label, error, attempts, _, history in rows}

    def batches(self) -> dict[str, tuple[str, list[Any]]]:
        found: dict[str, tuple[str, list[Any]]] = {}
        for batch_id, status, attempts, label, replayed, code, retryable in self._rows(ITEMS):
            stored = (label, replayed) if label is not None else (code, retryable) if code is not None else None
            found.setdefault(self._label_of(batch_id), (status, []))[1].append((stored, attempts))
        return found

    def _rows(self, query: str) -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute(query, [self.client_id])
            return list(cursor.fetchall())

    def _label_of(self, batch_id: UUID) -> str:
        (label,) = (label for label, other in self.batch_ids.items() if other == batch_id)
        return label

    def _asked(self) -> dict[str, Any]:
        return {"client_id": self.client_id, "actor": "test", "request_id": "", "now": now()}

    def _submission(self, ask: Ask) -> Submission:
        known = self.accounts.get(ask.debit)
        currency = known.currency if known is not None else "USD"
        return self.tenant.submission(
            ask.debit,
            ask.credit,
            amount_text(ask.amount, currency),
            currency=currency,
            reference=ask.label,
            group=ask.group,
            idempotency_key=ask.key,
            request_hash=repr(ask.body).encode(),
            execute_at=now() + ask.hours * HOUR if ask.hours else None,
        )

    def _batch_asked(self, mode: str, asks: list[Ask], key: str) -> dict[str, Any]:
        asked = (mode, [(ask.body, ask.key, ask.group) for ask in asks])
        items = [self._submission(ask) for ask in asks]
        return self._asked() | {
            "mode": BatchMode(mode),
            "items": items,
            "claim": _claim(key, "transactions.batch", asked),
        }

    @contextmanager
    def _tried(self, module: ModuleType, tried: Any, path: str | None) -> Iterator[pytest.MonkeyPatch]:
        """Let an account be locked meanwhile, if one is named; the pause of what was `tried` in vain is an hour."""
        began = now()
        with pytest.MonkeyPatch.context() as patch:
            if path is None:
                yield patch
                return
            for name in {"ROUND_PATIENCE", "ALONE_PATIENCE"} & vars(module).keys():
                patch.setattr(module, name, AT_ONCE)
            with locked(self.accounts[path]):
                yield patch
        if tried is not None:
            tried.filter(next_attempt_at__range=(began, began + MINUTE)).update(next_attempt_at=began + HOUR)


def of_transaction(shape: TransactionShape, *, replayed: bool = False) -> Answer:
    error = shape.error
    if error is None:
        return Answer(shape.status, shape.reference, replayed)
    return Answer(error.code, shape.reference, replayed, error.retryable)


def of_item(result: ItemResult) -> Answer:
    if result.transaction is not None:
        return of_transaction(result.transaction, replayed=result.replayed)
    if result.refusal is not None:
        return Answer(result.refusal.code, retryable=result.refusal.retryable)
    return Answer("waiting")


def _claim(key: str | None, operation: str, asked: Any) -> Claim | None:
    return None if key is None else Claim(key, operation, repr(asked).encode())
