"""The back office's pages of accounts: what they show, what they cost, and how one is found."""

from __future__ import annotations

import re

import pytest

from ledger.models import Account
from tests.ledger.backoffice import Staff
from tests.people import Tenant


def test_an_account_s_page_shows_its_balance_and_turns_the_pages_of_its_book(bank: Tenant, viewer: Staff) -> None:
    alice = bank.person("alice")
    bank.submit([bank.submission("cash:USD", alice.path, "1.00", type="cash_in") for _ in range(60)])
    account = Account.objects.get(client=bank.client, path=alice.path)

    def versions(page: str) -> list[int]:
        return [int(text) for text in re.findall(r'<td class="number">(\d+)</td>\s*<td>2', page)]

    first = viewer.page("ledger_account_change", account.pk)
    second = viewer.page("ledger_account_change", account.pk, version="10")

    assert first.count("60.00 USD") == 3  # posted, available, and after the last line
    assert versions(first) == list(range(60, 10, -1))
    assert "?version=10#book" in first
    assert versions(second) == list(range(10, 0, -1))
    assert "?version=60#book" in second
    for odd in ("0", "-1", "9" * 30, "x"):
        assert viewer.get("ledger_account_change", account.pk, version=odd).status_code == 200


@pytest.mark.parametrize(("bookings", "expected"), [(1, 6), (30, 6)])
def test_an_account_s_page_costs_the_same_however_long_its_book(
    bank: Tenant, viewer: Staff, bookings: int, expected: int
) -> None:
    alice = bank.person("alice")
    bank.submit([bank.submission("cash:USD", alice.path, "1.00", type="cash_in") for _ in range(bookings)])
    account = Account.objects.get(public_id=alice.id)

    assert len(viewer.queries("ledger_account_change", account.pk)) == expected


def test_an_account_is_found_by_id_and_within_its_client_by_path_and_user(
    bank: Tenant, other_bank: Tenant, staff: Staff
) -> None:
    alice = bank.person("alice")
    other_bank.person("alice")
    key = Account.objects.get(public_id=alice.id).pk

    def found(term: str | None, **filters: str) -> list[int]:
        page = staff.page("ledger_account_changelist", q=term, **filters)
        return [int(pk) for pk in re.findall(r"/admin/ledger/account/(\d+)/change/", page)]

    assert found(str(alice.id)) == [key]
    assert found(alice.path, client=bank.client.name) == found("alice", client=bank.client.name) == [key]
    assert found(alice.path) == []
    assert found(alice.path, client="no such client") == []
