"""The back office: what staff see, what nobody can do, what it costs, and what it leaves behind."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection, transaction
from django.test import Client as HttpClient
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from config.api.backoffice.admins import ACTOR_LENGTH_MAX, KeysetAdmin
from config.api.backoffice.changelist import WINDOW
from ledger.clients.models import ApiKey, AuditEntry, Client
from ledger.clients.services import create_client, create_key, hash_of, revoke_key
from ledger.models import Account, Journal, Transaction
from tests.people import Tenant

HOSTILE = "<script>alert('x')</script>"
READ_ONLY = ["ledger_account", "ledger_transaction", "ledger_journal", "clients_auditentry"]
ALL = [*READ_ONLY, "clients_client", "clients_apikey"]
# The index of each list that already stands in the list's order.
ORDERED_BY = {
    "ledger_account": "ledger_account_public_id_key",
    "ledger_transaction": "ledger_transaction_pkey",
    "ledger_journal": "ledger_journal_pkey",
    "clients_auditentry": "clients_auditentry_pkey",
    "clients_client": "clients_client_pkey",
    "clients_apikey": "clients_apikey_pkey",
}


class Staff:
    """A member of staff with exactly these permissions, logged in."""

    def __init__(self, *permissions: str, username: str = "", superuser: bool = False) -> None:
        self.user = User.objects.create(username=username or f"staff-{uuid4()}", is_staff=True, is_superuser=superuser)
        self.user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        self.http = HttpClient(SERVER_NAME="localhost")
        self.http.force_login(self.user)

    @property
    def actor(self) -> str:
        return f"staff:{self.user.username}"

    def get(self, name: str, /, *args: Any, **query: Any) -> Any:
        return self.http.get(reverse(f"admin:{name}", args=args), query)

    def post(self, name: str, /, *args: Any, **fields: Any) -> Any:
        return self.http.post(reverse(f"admin:{name}", args=args), fields)

    def page(self, name: str, /, *args: Any, **query: Any) -> str:
        response = self.get(name, *args, **query)
        assert response.status_code == 200, response
        return str(response.content.decode())

    def queries(self, name: str, /, *args: Any, **query: Any) -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            self.page(name, *args, **query)
        return [one["sql"] for one in captured]


@pytest.fixture
def staff(db) -> Staff:
    return Staff(superuser=True)


@pytest.fixture
def viewer(db) -> Staff:
    return Staff("view_account", "view_transaction", "view_journal", "view_client", "view_apikey", "view_auditentry")


def receipts(page: str) -> list[str]:
    return re.findall(r"RCP-\d{8}-[0-9A-Z]{22}(?=</a></th>)", page)


def row_of(bank: Tenant, amount: str = "1.00") -> Transaction:
    alice, bob = bank.person("alice", holding="10.00"), bank.person("bob")
    return Transaction.objects.get(pk=bank.move(alice.path, bob.path, amount).transaction.id)


# What is shown


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


def test_a_journal_s_page_shows_its_lines(bank: Tenant, viewer: Staff) -> None:
    row = row_of(bank)
    journal = Journal.objects.get(transaction=row)

    page = viewer.page("ledger_journal_change", journal.pk)

    assert f"/admin/ledger/transaction/{row.pk}/change/" in page
    assert page.count('<table class="lines">') == 1
    assert page.count('<td class="number">1.00</td>') == 2


def test_what_a_client_sent_is_shown_as_text_and_never_as_markup(bank: Tenant, staff: Staff) -> None:
    alice = bank.open("users:alice:USD", metadata={HOSTILE: HOSTILE})
    words = {"description": HOSTILE, "reference": HOSTILE, "metadata": {HOSTILE: [HOSTILE]}, "idempotency_key": HOSTILE}
    moved = bank.move("cash:USD", alice.path, "1.00", **words).transaction
    client = create_client(name=f"{HOSTILE}{uuid4()}", actor=HOSTILE)
    key, _ = create_key(client=client, scopes=["accounts:read"], label=HOSTILE, actor="test")
    account = Account.objects.get(public_id=alice.id)
    pages = [
        staff.page("ledger_transaction_change", moved.id),
        staff.page("ledger_account_change", account.pk),
        staff.page("ledger_transaction_changelist", client=client.name, q=HOSTILE),
        staff.page("clients_client_changelist", q=client.name),
        staff.page("clients_client_change", client.pk),
        staff.page("clients_apikey_changelist", client=client.name),
        staff.page("clients_apikey_change", key.pk),
        staff.page("clients_auditentry_changelist", q=f"clients.client {client.pk}"),
    ]

    for page in pages:
        assert HOSTILE not in page
        assert "&lt;script&gt;alert(" in page


def test_the_pages_need_no_inline_script_or_style(bank: Tenant, staff: Staff) -> None:
    row = row_of(bank)
    key = ApiKey.objects.filter(client=bank.client).get()
    pages = [
        staff.page("index"),
        *(staff.page(f"{name}_changelist") for name in ALL),
        staff.page("ledger_transaction_change", row.pk),
        staff.page("ledger_account_change", row.debit_account_id),
        staff.page("clients_client_change", bank.client.pk),
        staff.page("clients_apikey_add"),
        staff.page("clients_apikey_change", key.pk),
        staff.post("clients_apikey_changelist", action="revoke_keys", _selected_action=key.pk).content.decode(),
    ]

    for page in pages:
        assert "Countinghouse" in page
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", page)
        assert not re.search(r"<script(?![^>]*\bsrc=)", page)
        assert not re.search(r'(?:src|href)="(?:https?:)?//', page)


# Who may


@pytest.mark.parametrize("name", ALL)
def test_staff_without_permissions_sees_nothing(bank: Tenant, name: str) -> None:
    nobody = Staff()

    assert nobody.get(f"{name}_changelist").status_code == 403
    assert nobody.get(f"{name}_add").status_code == 403
    assert "have permission to view or edit anything." in nobody.page("index")


def test_staff_without_permissions_opens_no_record(bank: Tenant) -> None:
    nobody, row = Staff(), row_of(bank)

    assert nobody.get("ledger_transaction_change", row.pk).status_code == 403
    assert nobody.get("ledger_account_change", row.debit_account_id).status_code == 403
    assert nobody.get("ledger_journal_change", Journal.objects.get(transaction=row).pk).status_code == 403


def test_who_is_no_staff_is_sent_to_the_login(db) -> None:
    response = HttpClient(SERVER_NAME="localhost").get("/admin/ledger/transaction/")

    assert (response.status_code, response["Location"]) == (302, "/admin/login/?next=/admin/ledger/transaction/")


def test_the_permission_to_change_shows_no_money(bank: Tenant) -> None:
    assert Staff("change_transaction").get("ledger_transaction_changelist").status_code == 403


def test_nobody_adds_changes_or_deletes_money_not_even_a_superuser(bank: Tenant, staff: Staff) -> None:
    row = row_of(bank)
    journal = Journal.objects.get(transaction=row)
    audit = AuditEntry.objects.filter(client=bank.client).latest("id")
    keys = [row.debit_account_id, row.pk, journal.pk, audit.pk]

    for name, key in zip(READ_ONLY, keys, strict=True):
        fields = {"status": "failed", "amount_minor": "1", "frozen": "both", "kind": "void", "reason": "mine"}
        assert staff.post(f"{name}_add", **fields).status_code == 403
        assert staff.post(f"{name}_change", key, **fields).status_code == 403
        assert staff.post(f"{name}_delete", key, post="yes").status_code == 403
        staff.post(f"{name}_changelist", action="delete_selected", _selected_action=str(key), post="yes")

    again = Transaction.objects.get(pk=row.pk)
    assert (again.status, again.amount_minor) == ("completed", 100)
    assert Journal.objects.get(pk=journal.pk).kind == "post"
    assert Account.objects.get(pk=str(row.debit_account_id)).frozen == "none"
    assert AuditEntry.objects.get(pk=audit.pk).reason == audit.reason


def test_staff_is_made_inactive_but_never_deleted(staff: Staff) -> None:
    leaver = Staff()

    refused = staff.post("auth_user_delete", leaver.user.pk, post="yes")

    assert refused.status_code == 403
    assert User.objects.filter(pk=leaver.user.pk).exists()


@pytest.mark.parametrize("name", ["clients_client", "clients_apikey"])
def test_nobody_deletes_a_client_or_a_key(bank: Tenant, staff: Staff, name: str) -> None:
    key = bank.client.pk if name == "clients_client" else bank.client.keys.get().pk

    assert staff.post(f"{name}_delete", key, post="yes").status_code == 403
    staff.post(f"{name}_changelist", action="delete_selected", _selected_action=str(key), post="yes")

    assert Client.objects.filter(pk=bank.client.pk).exists()
    assert bank.client.keys.count() == 1


# What it costs


@pytest.mark.parametrize("name", ALL)
def test_a_list_costs_the_same_however_many_rows_it_shows_and_counts_none(
    bank: Tenant, viewer: Staff, name: str
) -> None:
    row_of(bank)
    few = viewer.queries(f"{name}_changelist")
    for number in range(10):
        bank.person(f"more{number}", holding="1.00")
        create_key(client=create_client(name=f"more {uuid4()}", actor="test"), scopes=["accounts:read"], actor="test")

    many = viewer.queries(f"{name}_changelist")

    assert len(many) == len(few) == 6  # session, user, two of permissions, the rows, the estimate
    assert not any("COUNT(" in sql or "DISTINCT" in sql for sql in many)


@pytest.mark.parametrize("name", ALL)
def test_the_first_page_of_a_list_is_read_from_an_index_in_its_order(bank: Tenant, viewer: Staff, name: str) -> None:
    row_of(bank)
    (listed,) = [sql for sql in viewer.queries(f"{name}_changelist") if "ORDER BY" in sql]

    # On few rows reading and sorting all of them is right. Forbidden, both remain only where no index spares them.
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
        cursor.execute(f"EXPLAIN {listed}")
        plan = "\n".join(line for (line,) in cursor.fetchall())

    assert f"Index Scan Backward using {ORDERED_BY[name]} on {name}" in plan
    assert "Sort" not in plan
    assert "Seq Scan" not in plan


@pytest.mark.parametrize(("bookings", "expected"), [(1, 6), (30, 6)])
def test_an_account_s_page_costs_the_same_however_long_its_book(
    bank: Tenant, viewer: Staff, bookings: int, expected: int
) -> None:
    alice = bank.person("alice")
    bank.submit([bank.submission("cash:USD", alice.path, "1.00", type="cash_in") for _ in range(bookings)])
    account = Account.objects.get(public_id=alice.id)

    assert len(viewer.queries("ledger_account_change", account.pk)) == expected


def test_a_transaction_s_page_costs_eight_queries(bank: Tenant, viewer: Staff) -> None:
    row = row_of(bank)

    # session, user, two of permissions, the row, its history, its journals, their lines
    assert len(viewer.queries("ledger_transaction_change", row.pk)) == 8


@pytest.mark.parametrize("query", ["description__icontains=x", "metadata__a=1", "client__name=x", "amount_minor__gt=1"])
def test_a_lookup_that_is_no_declared_filter_is_refused(staff: Staff, query: str) -> None:
    assert staff.http.get(f"/admin/ledger/transaction/?{query}").status_code == 400


@pytest.mark.parametrize("query", ["status=nonsense", "day=yesterday", "client=%00", "before=x", "after=1&before=2"])
def test_a_malformed_filter_or_cursor_leads_back_to_the_list(staff: Staff, query: str) -> None:
    response = staff.http.get(f"/admin/ledger/transaction/?{query}")

    assert (response.status_code, response["Location"]) == (302, "/admin/ledger/transaction/?e=1")


@pytest.mark.parametrize(
    "path",
    [
        "clients/apikey/ABC%00/change/",
        "clients/apikey/?before=%00",
        "ledger/transaction/?q=%00",
        "ledger/transaction/nonsense/change/",
        "ledger/account/99999999999999999999/change/",
        "clients/auditentry/?before=99999999999999999999",
        "autocomplete/?app_label=clients&model_name=apikey&field_name=client&term=%00",
    ],
)
def test_what_no_row_can_have_finds_nothing_and_breaks_nothing(staff: Staff, path: str) -> None:
    assert staff.http.get(f"/admin/{path}").status_code in {200, 302}


def test_autocompletion_counts_no_further_than_a_thousand(bank: Tenant, staff: Staff) -> None:
    query = "app_label=ledger&model_name=journal&field_name=transaction&term="

    with CaptureQueriesContext(connection) as captured:
        assert staff.http.get(f"/admin/autocomplete/?{query}").status_code == 200

    (counted,) = [one["sql"] for one in captured if "COUNT(" in one["sql"]]
    assert "LIMIT 1000)" in counted


def test_no_parameter_sorts_the_table(bank: Tenant, staff: Staff) -> None:
    row_of(bank)

    listed = [sql for sql in staff.queries("ledger_transaction_changelist", o="5.1") if "ORDER BY" in sql]

    assert [sql.partition("ORDER BY ")[2] for sql in listed] == ['"ledger_transaction"."id" DESC LIMIT 51']


# Finding


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


def test_a_journal_is_found_by_id_and_by_receipt(bank: Tenant, staff: Staff) -> None:
    row = row_of(bank)
    journal = Journal.objects.get(transaction=row)

    for term in (str(journal.pk), row.receipt_code):
        page = staff.page("ledger_journal_changelist", q=term)
        assert re.findall(r"/admin/ledger/journal/([0-9a-f-]{36})/change/", page) == [str(journal.pk)]


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


# Clients, keys and the audit trail


def test_a_new_client_is_made_by_the_service_and_audited(staff: Staff) -> None:
    name = f"bank {uuid4()}"

    response = staff.post("clients_client_add", name=name, tier="premium")

    assert response.status_code == 302
    client = Client.objects.get(name=name)
    assert client.tier == "premium"
    entry = AuditEntry.objects.get(object_type="clients.client", object_id=str(client.pk))
    assert (entry.actor, entry.action, entry.client_id) == (staff.actor, "client.created", client.pk)
    assert entry.request_id == response["X-Request-ID"]


def test_a_name_that_is_taken_makes_no_client(bank: Tenant, staff: Staff) -> None:
    response = staff.post("clients_client_add", name=bank.client.name, tier="free")

    assert "already exists" in response.content.decode()
    assert Client.objects.filter(name=bank.client.name).count() == 1


def test_a_tier_changes_with_a_reason_that_is_audited_and_nothing_else_changes(bank: Tenant, staff: Staff) -> None:
    staff.post("clients_client_change", bank.client.pk, name="hijacked", tier="premium", reason="they asked")

    client = Client.objects.get(pk=bank.client.pk)
    assert (client.name, client.tier) == (bank.client.name, "premium")
    entry = AuditEntry.objects.filter(object_type="clients.client", object_id=str(client.pk)).latest("id")
    assert (entry.actor, entry.action, entry.reason) == (staff.actor, "client.tier_changed", "they asked")
    assert entry.detail == {"from": "internal", "to": "premium"}


def test_a_tier_does_not_change_without_a_reason_or_permission(bank: Tenant, staff: Staff, viewer: Staff) -> None:
    refused = staff.post("clients_client_change", bank.client.pk, tier="free", reason=" ")
    forbidden = viewer.post("clients_client_change", bank.client.pk, tier="free", reason="mine")

    assert (refused.status_code, forbidden.status_code) == (200, 403)
    assert "This field is required." in refused.content.decode()
    assert Client.objects.get(pk=bank.client.pk).tier == "internal"
    assert not AuditEntry.objects.filter(client=bank.client, action="client.tier_changed").exists()


def test_a_client_stays_internal_while_a_key_holds_a_reserved_scope(bank: Tenant, staff: Staff) -> None:
    # No route needs such a scope yet, so no service gives one.
    key = ApiKey.objects.create(
        key_id=uuid4().hex[:8].upper(), client=bank.client, secret_hash=b"", scopes=["operations:read"]
    )
    url = reverse("admin:clients_client_change", args=[bank.client.pk])

    page = staff.http.post(url, {"tier": "free", "reason": "smaller"}, follow=True).content.decode()

    assert "revoke them first" in page
    assert Client.objects.get(pk=bank.client.pk).tier == "internal"
    ApiKey.objects.filter(pk=key.pk).update(revoked_at=bank.client.created_at)
    staff.http.post(url, {"tier": "free", "reason": "smaller"})
    assert Client.objects.get(pk=bank.client.pk).tier == "free"


def test_a_new_key_is_shown_once_works_and_is_kept_nowhere(bank: Tenant, staff: Staff) -> None:
    fields = {"client": bank.client.pk, "label": "cron", "scopes": ["accounts:read", "transactions:read"]}

    response = staff.post("clients_apikey_add", **fields)

    (text,) = re.findall(r"ch_[0-9A-Z]{8}_[0-9A-Z]{32}", response.content.decode())
    assert "no-store" in response["Cache-Control"]
    key = ApiKey.objects.get(pk=text[3:11])
    assert (key.label, key.scopes, bytes(key.secret_hash)) == ("cron", fields["scopes"], hash_of(text[12:]))
    assert Tenant(bank.client, text).get("/v2/accounts").status_code == 200
    entry = AuditEntry.objects.get(object_type="clients.apikey", object_id=key.pk)
    assert (entry.actor, entry.action, entry.detail) == (staff.actor, "key.created", {"scopes": fields["scopes"]})
    secret, digest = text[12:], bytes(key.secret_hash).hex()
    for page in ("clients_apikey_changelist", "index"):
        assert secret not in staff.page(page)
    shown = staff.page("clients_apikey_change", key.pk)
    assert secret not in shown
    assert digest not in shown
    assert secret not in str(staff.http.cookies) + str(dict(staff.http.session))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"scopes": []}, "This field is required."),
        ({"scopes": ["accounts:everything"]}, "is not one of the available choices"),
        ({"expires_at_0": "2020-01-01", "expires_at_1": "00:00:00"}, "This moment has passed."),
        ({"client": 0}, "That choice is not one of the available choices."),
    ],
)
def test_a_key_that_cannot_be_is_not_made(bank: Tenant, staff: Staff, wrong: dict[str, Any], said: str) -> None:
    response = staff.post("clients_apikey_add", **{"client": bank.client.pk, "scopes": ["accounts:read"]} | wrong)

    assert said in response.content.decode()
    assert bank.client.keys.count() == 1


def test_keys_are_revoked_after_a_question_with_a_reason_that_is_audited(bank: Tenant, staff: Staff) -> None:
    key = bank.client.keys.get()
    spare, _ = create_key(client=bank.client, scopes=["accounts:read"], actor="test")
    ticked = {"action": "revoke_keys", "_selected_action": [key.pk]}

    question = staff.post("clients_apikey_changelist", **ticked).content.decode()
    unsaid = staff.post("clients_apikey_changelist", **ticked, confirmed="yes", reason="").content.decode()

    assert f"ch_{key.pk}_…" in question
    assert "This field is required." in unsaid
    assert ApiKey.objects.get(pk=key.pk).revoked_at is None

    # Ticking "all" means nothing here: only what was named ends.
    staff.post("clients_apikey_changelist", **ticked, confirmed="yes", reason="leaked", select_across="1")

    assert ApiKey.objects.get(pk=key.pk).revoked_at is not None
    assert ApiKey.objects.get(pk=spare.pk).revoked_at is None
    entry = AuditEntry.objects.get(object_type="clients.apikey", object_id=key.pk, action="key.revoked")
    assert (entry.actor, entry.reason) == (staff.actor, "leaked")


def test_revoking_twice_keeps_the_first_moment_and_says_so(bank: Tenant, staff: Staff) -> None:
    key = bank.client.keys.get()
    revoke_key(key=key, actor="test", now=bank.client.created_at)
    url = reverse("admin:clients_apikey_changelist")
    fields = {"action": "revoke_keys", "_selected_action": [key.pk], "confirmed": "yes", "reason": "again"}

    page = staff.http.post(url, fields, follow=True).content.decode()

    assert "Revoked already before: 1." in page
    assert ApiKey.objects.get(pk=key.pk).revoked_at == bank.client.created_at
    assert AuditEntry.objects.filter(object_id=key.pk, action="key.revoked").count() == 1


def test_revoking_and_making_keys_need_their_permissions(bank: Tenant, viewer: Staff) -> None:
    key = bank.client.keys.get()
    fields = {"action": "revoke_keys", "_selected_action": [key.pk], "confirmed": "yes", "reason": "mine"}

    viewer.post("clients_apikey_changelist", **fields)
    added = viewer.post("clients_apikey_add", client=bank.client.pk, scopes=["accounts:read"])
    changed = Staff("view_apikey", "change_apikey").post("clients_apikey_change", key.pk, scopes=["accounts:write"])

    assert (added.status_code, changed.status_code) == (403, 403)
    again = bank.client.keys.get()
    assert (again.revoked_at, again.scopes) == (None, key.scopes)


def test_a_name_too_long_for_an_actor_is_told_apart_by_its_id(db) -> None:
    long = Staff("add_client", "view_client", username="x" * 60 + uuid4().hex + "y" * 50)
    name = f"bank {uuid4()}"

    long.post("clients_client_add", name=name, tier="free")

    (entry,) = AuditEntry.objects.filter(client__name=name)
    assert len(entry.actor) == ACTOR_LENGTH_MAX
    assert entry.actor.endswith(f"#{long.user.pk}")


def test_every_action_of_ours_declares_the_permission_that_it_needs() -> None:
    for model, registered in admin.site._registry.items():
        if isinstance(registered, KeysetAdmin):
            for name in registered.actions or ():
                assert getattr(registered, str(name)).allowed_permissions, (model, name)
