"""The real ledger, asked in the words of the reference: the same method for each operation, the same answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.db.models import F
from msgspec import UNSET

from config.runtime import clock
from config.runtime.errors import DomainError
from ledger.domain.accounts import Frozen
from ledger.domain.batches import BatchMode
from ledger.models import Batch, QueuedPosting, Transaction
from ledger.posting.accept import accept
from ledger.posting.intents import Intent
from ledger.queries.accounts import find_accounts
from ledger.queries.batches import batch_detail, get_batch, item_results, items_of, waiting
from ledger.queries.transactions import shown_transactions
from ledger.services import account_changes, posting
from ledger.services.batches import turns
from ledger.services.batches.retry import retry_batch
from ledger.services.batches.submit import SubmittedBatch, reverse_batch, submit_batch, try_batch
from ledger.services.batches.turns import post_due_batch
from ledger.services.holds import Moved, capture_transaction, expire_holds, void_transaction
from ledger.services.intents import intent_of
from ledger.services.legs import account_names
from ledger.services.posting import post_due
from ledger.services.retry import retry_transaction
from ledger.services.reversals import Reversal, reverse_transaction
from ledger.services.transactions import submit_transaction, submit_transactions, try_transaction
from tests.ledger.locks import locked
from tests.ledger.model.asks import Answer, Ask, Tried, amount_text, limit_text
from tests.ledger.model.boxes import Box
from tests.ledger.product.asked import HOUR, claim, of_item, of_transaction, submission
from tests.ledger.product.books import Books

MINUTE = timedelta(minutes=1)
# So many that a client has a lane for itself.
LANES = 1_000_000
AT_ONCE = "SELECT set_config('lock_timeout', '10ms', true)"


class Product(Books):
    """What has no operation of its own is the client's: its books, and its time, which is that of the clock and more.

    A moment that is an argument is given in our time. What waits in the queues is due by the database's clock, and is
    brought nearer instead.
    """

    def __init__(self) -> None:
        # Batches have one queue for all clients: what others have left there would have its turn first.
        Batch.objects.filter(status="processing").update(next_attempt_at=clock.now() + 365 * 24 * HOUR)
        super().__init__()
        self.passed = timedelta()

    @property
    def now(self) -> datetime:
        return clock.now() + self.passed

    def open(self, path: str, box: Box) -> None:
        limits = {"floor": limit_text(box.floor, box.currency), "ceiling": limit_text(box.ceiling, box.currency)}
        self.accounts[path] = self.tenant.open(path, kind=box.kind, currency=box.currency, **limits)

    def freeze(self, path: str, sides: str, key: str | None = None) -> Answer:
        return self._change(account_changes.freeze_account, path, key, sides=Frozen(sides))

    def unfreeze(self, path: str, sides: str, key: str | None = None) -> Answer:
        return self._change(account_changes.unfreeze_account, path, key, sides=Frozen(sides))

    def close(self, path: str, key: str | None = None) -> Answer:
        return self._change(account_changes.close_account, path, key)

    def reopen(self, path: str, key: str | None = None) -> Answer:
        return self._change(account_changes.reopen_account, path, key)

    def limit(self, path: str, limits: dict[str, int | None], key: str | None = None) -> Answer:
        currency = self.accounts[path].currency
        texts = {name: limit_text(limit, currency) for name, limit in limits.items()}
        return self._change(account_changes.change_limits, path, key, **({"floor": UNSET, "ceiling": UNSET} | texts))

    def hours_pass(self, hours: int) -> None:
        self.passed += hours * HOUR
        queued = QueuedPosting.objects.filter(client=self.client_id)
        queued.update(next_attempt_at=F("next_attempt_at") - hours * HOUR)
        batches = Batch.objects.filter(client=self.client_id, status="processing")
        batches.update(next_attempt_at=F("next_attempt_at") - hours * HOUR)

    def submit(self, ask: Ask, *, wait: bool) -> Answer:
        asked = self._asked()
        try:
            found = submit_transaction(submission=self._submission(ask, asked), wait_s=10 if wait else None, **asked)
        except DomainError as refusal:
            return Answer(refusal.code)
        self._put_off([ask])
        return of_transaction(found.transaction, replayed=found.replayed)

    def post(self, asks: list[Ask]) -> list[Answer]:
        """Book all in one round."""
        asked = self._asked()
        results = submit_transactions(submissions=[self._submission(ask, asked) for ask in asks], **asked)
        return [
            Answer(one.code) if isinstance(one, DomainError) else of_transaction(one.transaction, replayed=one.replayed)
            for one in results
        ]

    def accept(self, asks: list[Ask]) -> list[Answer]:
        """Accept all in one commit, as concurrent requests are."""
        asked = self._asked()
        submissions = {ask.label: self._submission(ask, asked) for ask in asks}
        accounts = find_accounts(self.client_id, account_names(submissions.values()))
        answers: dict[str, Answer] = {}
        intents: dict[str, Intent] = {}
        for label, submitted in submissions.items():
            try:
                intents[label] = intent_of(submission=submitted, accounts=accounts, **asked)
            except DomainError as refusal:
                answers[label] = Answer(refusal.code)
        outcomes = accept(list(intents.values())) if intents else []
        earlier = shown_transactions(one.replay_of for one in outcomes if one.replay_of is not None)
        for label, outcome in zip(intents, outcomes, strict=True):
            if outcome.refusal is not None:
                answers[label] = Answer(outcome.refusal.code)
            elif outcome.replay_of is not None:
                answers[label] = of_transaction(earlier[outcome.replay_of], replayed=True)
            elif outcome.transaction is not None:
                answers[label] = of_transaction(outcome.transaction)
        self._put_off(asks)
        return [answers[ask.label] for ask in asks]

    def try_one(self, ask: Ask) -> Answer:
        asked = self._asked()
        try:
            return of_transaction(try_transaction(submission=self._submission(ask, asked), **asked))
        except DomainError as refusal:
            return Answer(refusal.code)

    def post_due(self, size: int, locked: str | None = None) -> int:
        queued = QueuedPosting.objects.filter(client=self.client_id, transaction__attempts__gt=0)
        with self._tried(posting, queued, locked) as patch:
            patch.setattr(posting, "ROUND_SIZE_MAX", size)
            patch.setattr(settings, "POSTING_LANES", LANES)
            return post_due(self.client_id % LANES, now=self.now)

    def retry(self, label: str, key: str | None) -> Answer:
        asked = self._of(label) | {"claim": claim(key, "transactions.retry", label)}
        try:
            retried = retry_transaction(**asked)
        except DomainError as refusal:
            return Answer(refusal.code)
        return of_transaction(retried.transaction, replayed=retried.replayed)

    def capture(self, label: str, amount: int | None, *, is_final: bool, key: str) -> Answer:
        currency = Transaction.objects.get(pk=self._id(label)).currency_id
        part: dict[str, Any] = {"amount": None if amount is None else amount_text(amount, currency)}
        part |= {"is_final": is_final, "claim": claim(key, "transactions.capture", label, amount, is_final)}
        return _moved(lambda: capture_transaction(**self._of(label), **part, now=self.now))

    def void(self, label: str, key: str) -> Answer:
        claimed: Any = claim(key, "transactions.void", label)
        return _moved(lambda: void_transaction(**self._of(label), claim=claimed, now=self.now))

    def expire(self) -> None:
        expire_holds(self.now)

    def reverse(self, ask: Ask) -> Answer:
        assert ask.takes_back is not None
        currency = Transaction.objects.get(pk=self._id(ask.takes_back)).currency_id
        reversal = Reversal(
            amount=amount_text(ask.amount, currency) if ask.amount else None,
            reference=ask.label,
            idempotency_key=ask.key,
            request_hash=repr(ask.body).encode(),
        )
        try:
            found = reverse_transaction(**self._of(ask.takes_back), reversal=reversal)
        except DomainError as refusal:
            return Answer(refusal.code)
        return of_transaction(found.transaction, replayed=found.replayed)

    def batch(self, label: str, mode: str, asks: list[Ask], key: str, *, in_turns: bool = False) -> Answer:
        asked = self._batch_asked(mode, asks, key)
        return self._stored(label, lambda: submit_batch(**asked, respond_async=in_turns))

    def reverse_batch(self, label: str, of: str, key: str) -> Answer:
        asked = self._asked() | {"batch_id": self.batch_ids[of], "claim": claim(key, "batches.reverse", of)}
        return self._stored(label, lambda: reverse_batch(**asked))

    def try_batch(self, mode: str, asks: list[Ask], key: str) -> Answer | Tried:
        try:
            tried = try_batch(**self._batch_asked(mode, asks, key))
        except DomainError as refusal:
            if refusal.code != "batch_refused":
                return Answer(refusal.code)
            return Tried(refusal.code, [(one["index"], one["code"]) for one in refusal.fields["items"]])
        return Tried(tried.batch.status, [of_item(one, "tried") for one in tried.results])

    def post_due_batch(self, size: int, locked: str | None = None) -> int:
        tries = self._tries()
        with self._tried(turns, None, locked) as patch:
            patch.setattr(turns, "TURN_SIZE", size)
            count = post_due_batch(now=self.now)
        paused = {one[0] for one, attempts in self._tries().items() if attempts > tries.get(one, 0)}
        Batch.objects.filter(pk__in=paused, status="processing").update(next_attempt_at=clock.now() + HOUR)
        return count

    def retry_batch(self, label: str, key: str | None) -> Answer:
        asked: dict[str, Any] = {"client_id": self.client_id, "actor": "test", "request_id": ""}
        asked |= {"batch_id": self.batch_ids[label], "claim": claim(key, "batches.retry", label)}
        try:
            retried = retry_batch(**asked)
        except DomainError as refusal:
            return Answer(refusal.code)
        return Answer(retried.batch.status, self._label_of(retried.batch.id), retried.replayed)

    def items(self, label: str) -> list[Answer]:
        row = get_batch(self.client_id, self.batch_ids[label])
        return [of_item(one, label) for one in item_results(items_of(row).order_by("index"))]

    def _change(self, change: Callable[..., Any], path: str, key: str | None, **more: Any) -> Answer:
        asked: dict[str, Any] = {"client_id": self.client_id, "account_id": self.accounts[path].id}
        asked |= {"actor": "test", "reason": "a test", "claim": claim(key, change.__name__, path, more)}
        try:
            changed = change(**asked, **more)
        except DomainError as refusal:
            return Answer(refusal.code)
        return Answer("changed", changed.account.path, changed.replayed)

    def _stored(self, label: str, store: Callable[[], SubmittedBatch]) -> Answer:
        try:
            found = store()
        except DomainError as refusal:
            return Answer(refusal.code)
        if not found.replayed:
            self.batch_ids[label] = found.batch.id
        row = get_batch(self.client_id, found.batch.id)
        assert found.batch == batch_detail(row)
        assert found.is_running or list(found.results) == item_results(items_of(row).order_by("index"))
        return Answer(found.batch.status, self._label_of(found.batch.id), found.replayed)

    def _tries(self) -> dict[tuple[UUID, int], int]:
        """Return the tries of what waits, by batch and place: a turn in which one grows is followed by a pause."""
        rows = waiting().filter(batch__client=self.client_id).values_list("batch_id", "index", "attempts")
        return {(batch_id, index): attempts for batch_id, index, attempts in rows}

    def _put_off(self, asks: list[Ask]) -> None:
        """Let what is to be executed at a moment of our time wait for it by the database's clock."""
        rows = Transaction.objects.filter(
            client=self.client_id, reference__in=[ask.label for ask in asks], execute_at__isnull=False
        )
        queued = QueuedPosting.objects.filter(pk__in=rows.values("pk"))
        queued.update(next_attempt_at=F("next_attempt_at") - self.passed)

    def _id(self, label: str) -> UUID:
        if "#" not in label:
            return Transaction.objects.get(client=self.client_id, reference=label).pk
        batch, place = label.split("#")
        return Transaction.objects.get(batch=self.batch_ids[batch], batch_index=int(place), reference=None).pk

    def _of(self, label: str) -> dict[str, Any]:
        return {"client_id": self.client_id, "transaction_id": self._id(label), "actor": "test", "request_id": ""}

    def _asked(self) -> dict[str, Any]:
        return {"client_id": self.client_id, "actor": "test", "request_id": "", "now": self.now}

    def _submission(self, ask: Ask, asked: dict[str, Any]) -> Any:
        return submission(ask, self.accounts, now=asked["now"])

    def _batch_asked(self, mode: str, asks: list[Ask], key: str) -> dict[str, Any]:
        asked = self._asked()
        items = [self._submission(ask, asked) for ask in asks]
        claimed = claim(key, "transactions.batch", mode, [(ask.body, ask.key, ask.group) for ask in asks])
        return asked | {"mode": BatchMode(mode), "items": items, "claim": claimed}

    @contextmanager
    def _tried(self, module: ModuleType, tried: Any, path: str | None) -> Iterator[pytest.MonkeyPatch]:
        """Let an account be locked meanwhile, if one is named; the pause of what was `tried` in vain is an hour."""
        began = clock.now()
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


def _moved(move: Callable[[], Moved]) -> Answer:
    try:
        found = move()
    except DomainError as refusal:
        return Answer(refusal.code)
    return of_transaction(found.transaction, replayed=found.replayed)
