"""The back office's pages of transactions: what they show, what they cost, and how one is found."""

from __future__ import annotations

import re

from config.api.backoffice.changelist import WINDOW
from ledger.models import Account, Journal, Transaction
from tests.ledger.backoffice import Staff, receipts, row_of
from tests.people import Tenant


def test_a_transaction_s_page_tells_its_history_and_its_lines_in_major_units(bank: Tenant, viewer: Staff) -> None:
    row = row_of(bank, "1.25")
    journal = Journal.objects.get(transaction=row)

    page = viewer.page("ledger_transaction_change", row.pk)

    assert row.receipt_code in page
    assert page.count("1.25 USD") == 4  # the amount, the two steps of the history, bob's balance after it
    assert re.findall(r'class="badge badge-(\w+)"', page) == ["completed", "executing", "completed"]
    for account in Account.objects.filter(pk__in=row.legs.account_ids):
        assert f'<a href="/admin/ledger/account/{account.pk}/change/">{account.path}</a>' in page
    assert f"/admin/ledger/journal/{journal.pk}/change/" in page
    assert "8.75 USD" in page  # alice's balance after it
    assert 'name="_save"' not in page


def test_a_failed_transaction_s_page_says_why_and_that_nothing_was_booked(bank: Tenant, viewer: Staff) -> None:
    row = row_of(bank, "10.01")

    page = viewer.page("ledger_transaction_change", row.pk)

    assert "insufficient_funds: The available balance is lower than the amount." in page
    assert "Nothing was booked." in page


def test_the_permission_to_change_shows_no_money(bank: Tenant) -> None:
    assert Staff("change_transaction").get("ledger_transaction_changelist").status_code == 403


def test_a_transaction_s_page_costs_eight_queries(bank: Tenant, viewer: Staff) -> None:
    row = row_of(bank)

    # session, user, two of permissions, the row, its history, its journals, their lines
    assert len(viewer.queries("ledger_transaction_change", row.pk)) == 8


def test_no_parameter_sorts_the_table(bank: Tenant, staff: Staff) -> None:
    row_of(bank)

    listed = [sql for sql in staff.queries("ledger_transaction_changelist", o="5.1") if "ORDER BY" in sql]

    assert [sql.partition("ORDER BY ")[2] for sql in listed] == ['"ledger_transaction"."id" DESC LIMIT 51']


def test_pages_of_a_client_show_every_transaction_once_and_lead_back(bank: Tenant, staff: Staff) -> None:
    alice = bank.person("alice")
    bank.submit([bank.submission("cash:USD", alice.path, "1.00", type="cash_in") for _ in range(120)])
    stored = Transaction.objects.filter(client=bank.client).order_by("-id").values_list("receipt_code", flat=True)

    def follow(page: str, rel: str) -> str:
        link = re.search(rf'<a href="\?([^"]+)" rel="{rel}"', page)
        if link is None:
            return ""
        return staff.http.get(f"/admin/ledger/transaction/?{link[1].replace('&amp;', '&')}").content.decode()

    first = staff.page("ledger_transaction_changelist", client=bank.client.name)
    second = follow(first, "next")
    third = follow(second, "next")

    assert receipts(first) + receipts(second) + receipts(third) == list(stored)
    assert not follow(third, "next")
    assert not follow(first, "prev")
    assert receipts(follow(third, "prev")) == receipts(second)
    assert receipts(follow(second, "prev")) == receipts(first)


def test_a_transaction_is_found_by_receipt_by_id_and_by_its_client_s_key(
    bank: Tenant, other_bank: Tenant, staff: Staff
) -> None:
    row = row_of(bank)
    row_of(other_bank)
    ordered = bank.move("cash:USD", "users:bob:USD", "1.00", idempotency_key="order-17").transaction

    def found(term: str | None, **filters: str) -> list[str]:
        return receipts(staff.page("ledger_transaction_changelist", q=term, **filters))

    assert found(row.receipt_code.lower()) == [row.receipt_code]
    assert found(str(row.pk)) == [row.receipt_code]
    assert found(row.idempotency_key, client=bank.client.name) == [row.receipt_code]
    assert found(row.idempotency_key, client=other_bank.client.name) == []
    assert found(row.idempotency_key) == []
    assert found("order-17", client=bank.client.name) == [ordered.receipt_code]
    assert found("order-17") == []
    assert "Choose a client" in staff.page("ledger_transaction_changelist", q="order-17")
    assert found(row.receipt_code[:-1] + ("0" if row.receipt_code[-1] != "0" else "1")) == []


def test_filters_keep_what_they_name(bank: Tenant, staff: Staff) -> None:
    alice, bob = bank.person("alice", holding="10.00"), bank.person("bob")
    failed = bank.move(alice.path, bob.path, "10.01").transaction
    moved = bank.move(alice.path, bob.path, "1.00").transaction

    def found(**filters: str) -> list[str]:
        return receipts(staff.page("ledger_transaction_changelist", client=bank.client.name, **filters))

    assert found(status="failed") == [failed.receipt_code]
    assert found(type="transfer") == [moved.receipt_code, failed.receipt_code]
    assert found(type="transfer", status="completed", day=moved.created_at[:10]) == [moved.receipt_code]
    assert found(day="2020-02-29") == []


def test_a_filter_without_an_index_looks_at_a_window_says_so_and_leads_on(bank: Tenant, staff: Staff) -> None:
    alice, bob = bank.person("alice", holding="10.00"), bank.person("bob")
    failed = bank.move(alice.path, bob.path, "10.01").transaction
    for _ in range(WINDOW // 1_000):
        bank.submit([bank.submission("cash:USD", alice.path, "1.00", type="cash_in") for _ in range(1_000)])

    pages = [staff.page("ledger_transaction_changelist", client=bank.client.name, status="failed")]
    while link := re.search(r'<a href="\?([^"]+)" rel="next"', pages[-1]):
        assert "10,000 rows" in pages[-1]
        url = f"/admin/ledger/transaction/?{link[1].replace('&amp;', '&')}"
        pages.append(staff.http.get(url).content.decode())

    assert [receipts(page) for page in pages] == [[], [failed.receipt_code]]
    assert "None of the 10,000 rows that were looked at match." in pages[0]
