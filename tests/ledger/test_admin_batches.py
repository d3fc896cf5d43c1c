"""The back office's pages of batches."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest

from tests.ledger.backoffice import HOSTILE, Staff
from tests.people import URL, Tenant, body

PAGE = "ledger_batch_change"
ITEM = re.compile(
    r'<td class="number">(\d+)</td>\s*<td><span class="badge badge-\w+">(\w+)</span>(?: replayed)?</td>\s*'
    r'<td>(?:<a href="/admin/ledger/transaction/[0-9a-f-]{36}/change/">(RCP-[^<]+)</a>)?</td>\s*'
    r'<td class="number">([^<]*)</td>\s*<td class="words">([^<]*)</td>'
)


def send(bank: Tenant, items: list[Any], mode: str = "partial") -> Any:
    return bank.post(f"{URL}/batch", {"mode": mode, "items": items}).json()


def test_a_batch_s_page_shows_what_became_of_each_item(people: Tenant, viewer: Staff) -> None:
    batch = send(people, [body("1.00"), body("99.00"), body("1.00", debit="nobody")])

    page = viewer.page(PAGE, batch["id"])

    codes = [item["transaction"] and item["transaction"]["receipt_code"] for item in batch["items"]]
    assert ITEM.findall(page) == [
        ("0", "completed", codes[0], "1.00 USD", ""),
        ("1", "failed", codes[1], "99.00 USD", "insufficient_funds"),
        ("2", "refused", "", "", "account_unknown: There is no account &#x27;users:nobody:USD&#x27;."),
    ]
    assert "3 in all: 1 completed, 2 failed, 0 processing, 0 waiting." in page
    assert 'name="_save"' not in page


def test_items_that_wait_say_so(people: Tenant, viewer: Staff) -> None:
    asked = {"mode": "partial", "items": [body("1.00", group="a"), body("2.00")]}
    batch = people.post(f"{URL}/batch", asked, Prefer="respond-async").json()

    page = viewer.page(PAGE, batch["id"])

    assert [item[:2] for item in ITEM.findall(page)] == [("0", "waiting"), ("1", "waiting")]
    assert "2 in all: 0 completed, 0 failed, 0 processing, 2 waiting." in page


def test_the_items_are_turned_page_by_page_and_each_costs_the_same(people: Tenant, viewer: Staff) -> None:
    batch = send(people, [body("0.01") for _ in range(120)])

    def shown(**query: str) -> list[int]:
        return [int(item[0]) for item in ITEM.findall(viewer.page(PAGE, batch["id"], **query))]

    assert shown() == list(range(50))
    assert shown(items="50") == list(range(50, 100))
    assert shown(items="100") == list(range(100, 120))
    middle = viewer.page(PAGE, batch["id"], items="50")
    assert re.findall(r'href="\?items=(\d+)#items" rel="(\w+)"', middle) == [("0", "prev"), ("100", "next")]
    assert 'rel="next"' not in viewer.page(PAGE, batch["id"], items="100")
    assert shown(items="500") == []
    assert shown(items="x") == list(range(50))
    # session, user, two of permissions, the row, its items; on a later page where the one before begins as well
    pages: list[dict[str, str]] = [{}, {"items": "50"}, {"items": "100"}]
    assert [len(viewer.queries(PAGE, batch["id"], **query)) for query in pages] == [6, 7, 7]


def test_a_batch_is_found_by_its_id(people: Tenant, viewer: Staff) -> None:
    batch = send(people, [body("1.00")])["id"]
    for term, expected in ((batch, [batch]), (str(uuid4()), []), ("x", []), (HOSTILE, [])):
        page = viewer.page("ledger_batch_changelist", q=term)
        assert re.findall(r"/admin/ledger/batch/([0-9a-f-]{36})/change/", page) == expected
        assert HOSTILE not in page


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_batches_are_kept_by_their_status(people: Tenant, viewer: Staff, status: str) -> None:
    done = send(people, [body("1.00")], mode="atomic")["id"]
    undone = people.post(f"{URL}/batch", {"mode": "atomic", "items": [body("99.00")]}).json()["batch_id"]
    page = viewer.page("ledger_batch_changelist", client=people.client.name, status=status)
    found = re.findall(r"/admin/ledger/batch/([0-9a-f-]{36})/change/", page)
    assert found == [done if status == "completed" else undone]


def test_what_a_client_named_a_group_is_text(people: Tenant, viewer: Staff) -> None:
    batch = send(people, [body("1.00", group=HOSTILE), body("1.00", debit=HOSTILE)])
    page = viewer.page(PAGE, batch["id"])
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(" in page


def test_who_may_not_see_batches_sees_none(people: Tenant) -> None:
    batch = send(people, [body("1.00")])["id"]
    other = Staff("view_transaction")
    assert other.get("ledger_batch_changelist").status_code == 403
    assert other.get(PAGE, batch).status_code == 403
