"""The back office's pages of transactions: what they show, what they cost, and how one is found."""

from __future__ import annotations

import re

from django.db import connection
from django.db.transaction import atomic

from config.api.backoffice.changelist import WINDOW
from ledger.models import Account, Journal, Transaction
from tests.ledger.backoffice import HOSTILE, Staff, receipts, row_of
from tests.ledger.test_holds import capture, held, void
from tests.ledger.test_legs import SALE, by_legs, exchanged
from tests.ledger.test_reversals import paid, reverse
from tests.people import URL, Tenant, body


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


def test_a_transaction_s_page_costs_nine_queries(bank: Tenant, viewer: Staff) -> None:
    row = row_of(bank)

    # session, user, two of permissions, the row, its journals, its reversals, its history, the lines
    assert len(viewer.queries("ledger_transaction_change", row.pk)) == 9


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


def field(page: str, name: str) -> str:
    """Return what a page shows of a field, without its markup."""
    (shown,) = re.findall(rf'fieldBox field-{name}\b.*?<div class="readonly">(.*?)</div>', page, re.DOTALL)
    return re.sub(r"<[^>]+>", "", shown)


def test_a_hold_s_page_says_until_when_how_much_is_captured_and_what_is_still_held(
    people: Tenant, viewer: Staff
) -> None:
    transaction, plain = held(people), paid(people, "1.00")
    capture(people, transaction, "2.00")
    row = Transaction.objects.get(pk=transaction)
    assert row.expires_at is not None

    page = viewer.page("ledger_transaction_change", transaction)

    shown = [field(page, name) for name in ("capture_kind", "expires", "captured", "still_held", "attempts")]
    until = row.expires_at.isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
    assert shown == ["manual", until, "2.00 USD", "4.00 USD", "0"]
    void(people, transaction)
    assert field(viewer.page("ledger_transaction_change", transaction), "still_held") == "0.00 USD"
    assert "field-still_held" not in viewer.page("ledger_transaction_change", plain)


def test_a_transaction_and_what_takes_it_back_lead_to_one_another(people: Tenant, viewer: Staff) -> None:
    transaction = paid(people)
    made = [reverse(people, transaction, amount, reference=f"refund {amount}").json() for amount in ("1.00", "2.00")]

    original = viewer.page("ledger_transaction_change", transaction)
    reversal = viewer.page("ledger_transaction_change", made[0]["id"])

    assert re.search(r'field-taken_back.*?<div class="readonly">3\.00 USD</div>', original, re.DOTALL)
    links = re.findall(r'<a href="/admin/ledger/transaction/([0-9a-f-]{36})/change/">(RCP-[^<]+)</a>', original)
    assert links == [(one["id"], one["receipt_code"]) for one in made]
    assert all(text in original for text in ("refund 1.00", "refund 2.00"))
    code = Transaction.objects.get(pk=transaction).receipt_code
    assert f'<a href="/admin/ledger/transaction/{transaction}/change/">{code}</a>' in reversal
    assert 'id="reversals"' not in reversal


def test_of_many_reversals_the_first_fifty_are_shown_found_by_an_index(people: Tenant, viewer: Staff) -> None:
    transaction = paid(people)
    made = [reverse(people, transaction, "0.01").json()["receipt_code"] for _ in range(51)]

    page = viewer.page("ledger_transaction_change", transaction)
    queries = viewer.queries("ledger_transaction_change", transaction)

    assert re.findall(r">(RCP-[^<]+)</a></td>", page.partition('id="reversals"')[2]) == made[:50]
    assert "Only the first 50 reversals are shown." in page
    assert len(queries) == 9
    (asked,) = [sql for sql in queries if '"reverses_id" = ' in sql]
    with atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
        cursor.execute(f"EXPLAIN {asked}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Index Scan using transaction_reversals" in plan
    assert "Sort" not in plan


def test_an_item_of_a_batch_leads_to_it_and_one_to_be_booked_later_says_when(people: Tenant, viewer: Staff) -> None:
    batch = people.post(f"{URL}/batch", {"mode": "partial", "items": [body("1.00"), body("1.00")]}).json()
    later = people.post(URL, body(execute_at="2026-12-24T12:00:00Z"), Prefer="respond-async").json()["id"]

    second = viewer.page("ledger_transaction_change", batch["items"][1]["transaction"]["id"])
    waiting = viewer.page("ledger_transaction_change", later)

    assert f'<a href="/admin/ledger/batch/{batch["id"]}/change/">{batch["id"]}</a>' in second
    assert field(second, "item") == "1"
    assert "field-execute" not in second
    assert field(waiting, "execute") == "2026-12-24 12:00:00.000"
    assert "field-batch_link" not in waiting


def test_a_long_history_is_turned_page_by_page_and_each_costs_the_same(people: Tenant, viewer: Staff) -> None:
    transaction = held(people)
    for _ in range(120):
        capture(people, transaction, "0.01")

    def steps(page: str) -> list[str]:
        return re.findall(r"<time>([^<]+)</time>", page)

    def turned(page: str, rel: str) -> str:
        link = re.search(rf'<a href="\?history=(\d+)#history" rel="{rel}"', page)
        return "" if link is None else link[1]

    pages = [viewer.page("ledger_transaction_change", transaction)]
    while after := turned(pages[-1], "next"):
        pages.append(viewer.page("ledger_transaction_change", transaction, history=after))

    # Each move has two steps: it is executing first.
    assert [len(steps(page)) for page in pages] == [100, 100, 42]
    moments = [moment for page in pages for moment in steps(page)]
    assert moments == sorted(moments)
    assert turned(pages[0], "prev") == ""
    assert steps(viewer.page("ledger_transaction_change", transaction, history=turned(pages[2], "prev"))) == steps(
        pages[1]
    )
    costs = [
        len(viewer.queries("ledger_transaction_change", transaction, history=turned(page, "next")))
        for page in pages[:2]
    ]
    assert costs == [10, 10]
    (asked,) = [sql for sql in viewer.queries("ledger_transaction_change", transaction) if "transactionevent" in sql]
    assert asked.endswith("LIMIT 51")
    for odd in ("x", "-1", "9" * 30, ""):
        assert viewer.get("ledger_transaction_change", transaction, history=odd).status_code == 200


LEG = re.compile(
    r'<td><a href="/admin/ledger/account/\d+/change/">([^<]+)</a></td>\s*<td class="number">([^<]*)</td>\s*'
    r'<td class="number">([^<]*)</td>\s*</tr>'
)


def test_a_transaction_by_legs_shows_them_in_place_of_two_accounts(shop: Tenant, viewer: Staff) -> None:
    sale = shop.post(URL, by_legs(*SALE)).json()

    page = viewer.page("ledger_transaction_change", sale["id"])
    listed = viewer.page("ledger_transaction_changelist", q=sale["id"])

    assert LEG.findall(page) == [
        ("users:alice:USD", "10.00 USD", ""),
        ("users:bob:USD", "", "7.50 USD"),
        ("tax:USD", "", "1.90 USD"),
        ("fees:USD", "", "0.60 USD"),
    ]
    assert [field(page, name) for name in ("debit_account", "credit_account")] == ["-", "-"]
    assert receipts(listed) == [sale["receipt_code"]]


def test_an_exchange_shows_what_it_came_to_and_a_fee_is_named(shop: Tenant, viewer: Staff) -> None:
    made = shop.post(URL, exchanged(rate_source=HOSTILE, fee="0.30")).json()

    page = viewer.page("ledger_transaction_change", made["id"])

    assert "Exchanged into 9.22 EUR at 0.9215 (&lt;script&gt;" in page
    assert f"{made['rounding']} of it is rounding." in page
    assert "Fee: 0.30 USD." in page
    assert ("users:bob:EUR", "", "9.22 EUR") in LEG.findall(page)
    assert HOSTILE not in page
    assert 'id="terms"' not in viewer.page("ledger_transaction_change", shop.post(URL, body()).json()["id"])


def test_staff_find_transactions_by_what_the_api_finds_them_by(bank: Tenant, viewer: Staff) -> None:
    bank.person("alice", holding="10.00"), bank.person("bob")
    sevens = [
        bank.post(URL, body(amount, metadata={"order": "7"})).json()["receipt_code"] for amount in ("1.00", "2.00")
    ]

    def found(traits: str) -> list[str]:
        return receipts(viewer.page("ledger_transaction_changelist", client=bank.client.name, traits=traits))

    assert found("metadata.order=7") == sevens[::-1]
    assert found("metadata.order=7&amount__gte=1.50") == sevens[1:]
    assert found("status__in=failed,voided") == []


def test_what_the_api_would_refuse_is_refused(viewer: Staff) -> None:
    for traits in ("metadata.order", "nonsense=1", "amount=x", "user_id=alice", "a=\0", "metadata.a b=1"):
        assert viewer.get("ledger_transaction_changelist", traits=traits).status_code == 302
