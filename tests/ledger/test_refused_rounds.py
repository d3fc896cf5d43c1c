"""What the database refuses, because we computed it wrong: the culprit alone fails, whoever shared its round."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from psycopg import sql

from config.runtime.errors import Kind
from ledger.domain.shapes import AccountShape
from ledger.errors import PostingRefused
from ledger.events.models import OutboxEvent
from ledger.models import Account, Entry, Journal, Transaction
from ledger.queries.invariants import verify
from tests.apart import DATABASE
from tests.conftest import owner_connection
from tests.people import URL, Tenant, body

ILL_FATED = "3.13"


@pytest.fixture
def people(bank: Tenant) -> tuple[AccountShape, AccountShape]:
    """alice, who holds 50.00, and bob, who holds nothing."""
    return bank.person("alice", holding="50.00"), bank.person("bob")


@contextmanager
def database_refuses(account: AccountShape, amount_minor: int) -> Iterator[None]:
    """Let the database take no line of this amount on this account: a rule that our evaluation does not know."""
    name = sql.Identifier(f"scratch_{uuid4().hex}")
    rule = sql.SQL("ALTER TABLE ledger_entry ADD CONSTRAINT {} CHECK (account_id <> {} OR abs(amount_minor) <> {})")
    key = Account.objects.get(public_id=account.id).pk
    with owner_connection(DATABASE) as owner:
        owner.execute(rule.format(name, sql.Literal(key), sql.Literal(amount_minor)) + sql.SQL(" NOT VALID"))
        try:
            yield
        finally:
            owner.execute(sql.SQL("ALTER TABLE ledger_entry DROP CONSTRAINT {}").format(name))


def refused_lines(written: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == "posting.refused"]


def test_of_a_round_that_the_database_refuses_the_culprit_alone_fails(
    bank: Tenant, people: tuple[AccountShape, AccountShape], capfd: pytest.CaptureFixture[str]
) -> None:
    alice, bob = people
    amounts = ["1.00", "2.00", ILL_FATED, "4.00", "5.00"]
    submissions = [
        bank.submission(alice.path, bob.path, amount, idempotency_key=f"order-{amount}") for amount in amounts
    ]
    capfd.readouterr()

    with database_refuses(bob, 313):
        results = bank.submit(submissions)

    refused = results.pop(2)
    assert isinstance(refused, PostingRefused)
    assert (refused.kind, refused.code) == (Kind.INTERNAL, "posting_refused")
    assert [result.transaction.amount for result in results] == ["1.00", "2.00", "4.00", "5.00"]
    assert {(result.transaction.status, result.replayed) for result in results} == {("completed", False)}
    assert (bank.posted(alice), bank.posted(bob)) == (3800, 1200)
    (line,) = refused_lines("".join(capfd.readouterr()))
    assert line["level"] == "error"
    assert line["transaction_id"] == refused.fields["transaction_id"]
    assert line["sqlstate"] == "23514"
    assert line["constraint"].startswith("scratch_")
    assert_nothing_of(bank, refused.fields["transaction_id"])
    assert verify(client_id=bank.client.pk).holds

    # Nothing holds the key: when the defect is mended, the same request is done.
    (again,) = bank.submit([submissions[2]])
    assert (again.transaction.status, again.replayed) == ("completed", False)
    assert bank.posted(bob) == 1513


def test_over_http_it_is_a_defect_of_ours_that_is_logged(
    bank: Tenant, people: tuple[AccountShape, AccountShape], capfd: pytest.CaptureFixture[str]
) -> None:
    alice, bob = people
    capfd.readouterr()

    with database_refuses(bob, 313):
        answer = bank.post(URL, body(ILL_FATED), key="order-7")

    problem = answer.json()
    assert (answer.status_code, answer["Content-Type"]) == (500, "application/problem+json")
    assert (problem["code"], problem["status"]) == ("posting_refused", 500)
    assert "scratch_" not in answer.content.decode()
    (line,) = refused_lines("".join(capfd.readouterr()))
    assert line["transaction_id"] == problem["transaction_id"]
    assert_nothing_of(bank, problem["transaction_id"])
    assert (bank.posted(alice), bank.posted(bob)) == (5000, 0)
    assert verify(client_id=bank.client.pk).holds


def assert_nothing_of(bank: Tenant, transaction_id: str) -> None:
    assert not Transaction.objects.filter(pk=transaction_id).exists()
    assert not Journal.objects.filter(transaction_id=transaction_id).exists()
    assert not Entry.objects.filter(account__client=bank.client, amount_minor__in=(313, -313)).exists()
    assert not OutboxEvent.objects.filter(client_id=bank.client.pk, data__contains=transaction_id).exists()
