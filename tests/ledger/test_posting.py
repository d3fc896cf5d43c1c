"""What the engine books, and what it leaves alone."""

from __future__ import annotations

from ledger.models import Entry, Journal, Transaction, TransactionEvent
from tests.people import Tenant


def test_a_transfer_moves_money_and_books_two_lines_that_sum_to_zero(bank: Tenant) -> None:
    alice, bob = bank.person("alice", holding="100.00"), bank.person("bob")

    moved = bank.move(alice.path, bob.path, "30.00").transaction

    assert (bank.posted(alice), bank.posted(bob)) == (7000, 3000)
    journal = Journal.objects.get(transaction_id=moved.id)
    assert journal.external_ref == moved.receipt_code
    lines = Entry.objects.filter(journal=journal).order_by("line")
    assert [(line.amount_minor, line.posted_after, line.account_version) for line in lines] == [
        (3000, -7000, 2),
        (-3000, -3000, 1),
    ]


def test_what_the_floor_forbids_is_stored_as_failed_and_moves_nothing(bank: Tenant) -> None:
    alice, bob = bank.person("alice", holding="10.00"), bank.person("bob")

    failed = bank.move(alice.path, bob.path, "10.01").transaction

    assert failed.error is not None
    assert (failed.status, failed.error.code, failed.completed_at) == ("failed", "insufficient_funds", None)
    assert (bank.posted(alice), bank.posted(bob)) == (1000, 0)
    assert not Journal.objects.filter(transaction_id=failed.id).exists()
    assert [event.to_status for event in TransactionEvent.objects.filter(transaction_id=failed.id)] == ["failed"]


def test_the_same_key_twice_in_one_round_makes_one_effect(bank: Tenant) -> None:
    alice, bob = bank.person("alice", holding="10.00"), bank.person("bob")
    once = bank.submission(alice.path, bob.path, "6.00", idempotency_key="once")

    first, second = bank.submit([once, once])

    assert (first.replayed, second.replayed) == (False, True)
    assert first.transaction.id == second.transaction.id
    assert bank.posted(bob) == 600
    assert Transaction.objects.filter(client=bank.client, idempotency_key="once").count() == 1
