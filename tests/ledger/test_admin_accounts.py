"""The back office's pages of accounts: what they show, what they cost, and how one is found."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ledger.domain.accounts import Frozen
from ledger.models import Account
from ledger.services.account_changes import change_limits, freeze_account
from tests.ledger.backoffice import HOSTILE, Staff
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


@pytest.mark.parametrize(("bookings", "expected"), [(1, 7), (30, 7)])
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


def test_an_account_s_page_tells_its_changes_with_their_reasons(bank: Tenant, viewer: Staff) -> None:
    alice = bank.person("alice")
    asked: dict[str, Any] = {"client_id": bank.client.pk, "account_id": alice.id, "actor": "staff:carol"}
    freeze_account(sides=Frozen.DEBITS, reason=HOSTILE, request_id="r-1", **asked)
    change_limits(floor="-5.00", reason="overdraft agreed", **asked)
    key = Account.objects.get(public_id=alice.id).pk

    page = viewer.page("ledger_account_change", key)

    part = page.partition('id="history"')[2].partition("</section>")[0]
    assert re.findall(r"<td>(account\.\w+)</td>\s*<td>([^<]+)</td>\s*<td>([^<]+)</td>", part) == [
        ("account.limits_changed", "floor: 0.00 → -5.00", "staff:carol"),
        ("account.frozen", "frozen: none → debits", "staff:carol"),
    ]
    assert "overdraft agreed" in part
    assert "request r-1" in part
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(" in part


def test_a_long_history_of_an_account_is_turned_page_by_page(bank: Tenant, viewer: Staff) -> None:
    alice = bank.person("alice")
    asked: dict[str, Any] = {"client_id": bank.client.pk, "account_id": alice.id, "actor": "test"}
    for number in range(120):
        change_limits(floor=f"-{number + 1}.00", reason=f"change-{number}", **asked)
    key = Account.objects.get(public_id=alice.id).pk

    def told(page: str) -> list[int]:
        return [int(number) for number in re.findall(r"change-(\d+)", page)]

    def turned(page: str, rel: str) -> str:
        link = re.search(rf'<a href="\?history=(\d+)#history" rel="{rel}"', page)
        return "" if link is None else link[1]

    pages = [viewer.page("ledger_account_change", key)]
    while after := turned(pages[-1], "next"):
        pages.append(viewer.page("ledger_account_change", key, history=after))

    assert [told(page) for page in pages] == [
        list(range(119, 69, -1)),
        list(range(69, 19, -1)),
        list(range(19, -1, -1)),
    ]
    assert told(viewer.page("ledger_account_change", key, history=turned(pages[2], "prev"))) == told(pages[1])
    costs = [len(viewer.queries("ledger_account_change", key, history=turned(page, "next"))) for page in pages[:2]]
    assert (len(viewer.queries("ledger_account_change", key)), costs) == (7, [8, 8])
