"""Failures that stand in the books are shown for ever, also those whose code is out of use."""

from __future__ import annotations

import pytest
from django.contrib.admin import site

from config.runtime.errors import Kind
from ledger.admin.transactions import TransactionAdmin
from ledger.errors import FAILURES, failure_of, failure_shape
from ledger.models import Transaction
from tests.people import URL, Tenant, body

DETAIL = "The transaction failed for a reason that is not in use any more; nothing moved."
TRANSFER = body(credit_account="cash:USD")


@pytest.mark.parametrize("code", FAILURES)
def test_a_code_in_use_has_its_own_failure_and_one_shape(code: str) -> None:
    failure = failure_of(code, receipt_code="RCP")

    assert type(failure) is FAILURES[code]
    assert (failure.code, failure.fields) == (code, {"receipt_code": "RCP"})
    assert (failure_shape(code).code, failure_shape(code).detail) == (code, failure.detail)
    assert failure_shape(code) is failure_shape(code)


def test_a_code_out_of_use_keeps_its_name_and_changes_no_other_failure() -> None:
    first, second = failure_of("daily_limit"), failure_of("weekly_limit", receipt_code="RCP")

    assert [(one.code, one.kind, one.detail) for one in (first, second)] == [
        ("daily_limit", Kind.CONFLICT, DETAIL),
        ("weekly_limit", Kind.CONFLICT, DETAIL),
    ]
    assert (type(first).code, second.fields) == ("failed_otherwise", {"receipt_code": "RCP"})


def test_a_transaction_that_failed_with_a_code_out_of_use_is_shown_everywhere(bank: Tenant) -> None:
    bank.person("alice")
    assert bank.post(URL, TRANSFER, key="once").json()["code"] == "insufficient_funds"
    rows = Transaction.objects.filter(client=bank.client)
    rows.update(status="processing", error_code=None, version=2)
    rows.update(status="failed", error_code="daily_limit", version=3)
    row = rows.get()

    shown = bank.get(f"{URL}/{row.pk}").json()
    again = bank.post(URL, TRANSFER, key="once")

    assert shown["error"] == {"code": "daily_limit", "detail": DETAIL, "retryable": False, "pointer": None}
    assert bank.get(URL).json()["data"] == [shown]
    assert bank.get(f"/v2/receipts/{row.receipt_code}/transaction").json() == shown
    assert (again.status_code, again.json()["code"], again.json()["detail"]) == (409, "daily_limit", DETAIL)
    assert again.json()["transaction_id"] == str(row.pk)
    assert TransactionAdmin(Transaction, site).failure(row) == f"daily_limit: {DETAIL}"
