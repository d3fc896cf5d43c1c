"""The back office as a whole: what staff see, what nobody can do, what it costs."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client as HttpClient
from django.test.utils import CaptureQueriesContext

from config.api.backoffice.admins import KeysetAdmin
from ledger.clients.models import ApiKey, AuditEntry
from ledger.clients.services import create_client, create_key
from ledger.models import Account, Journal, Transaction
from tests.ledger.backoffice import HOSTILE, Staff, row_of
from tests.people import URL, Tenant, body

READ_ONLY = ["ledger_account", "ledger_transaction", "ledger_batch", "ledger_journal", "clients_auditentry"]
ALL = [*READ_ONLY, "clients_client", "clients_apikey"]
# The index of each list that already stands in the list's order.
ORDERED_BY = {
    "ledger_account": "ledger_account_public_id_key",
    "ledger_transaction": "ledger_transaction_pkey",
    "ledger_batch": "ledger_batch_pkey",
    "ledger_journal": "ledger_journal_pkey",
    "clients_auditentry": "clients_auditentry_pkey",
    "clients_client": "clients_client_pkey",
    "clients_apikey": "clients_apikey_pkey",
}


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
    batch = bank.post(f"{URL}/batch", {"mode": "partial", "items": [body("1.00")]}).json()["id"]
    pages = [
        staff.page("index"),
        *(staff.page(f"{name}_changelist") for name in ALL),
        staff.page("ledger_transaction_change", row.pk),
        staff.page("ledger_account_change", row.debit_account_id),
        staff.page("ledger_batch_change", batch),
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


def test_nobody_adds_changes_or_deletes_money_not_even_a_superuser(bank: Tenant, staff: Staff) -> None:
    row = row_of(bank)
    journal = Journal.objects.get(transaction=row)
    audit = AuditEntry.objects.filter(client=bank.client).latest("id")
    batch = bank.post(f"{URL}/batch", {"mode": "partial", "items": [body("1.00")]}).json()["id"]
    keys = [row.debit_account_id, row.pk, batch, journal.pk, audit.pk]

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


@pytest.mark.parametrize(("name", "action"), [("ledger_account", "freeze"), ("clients_apikey", "revoke_keys")])
@pytest.mark.parametrize("key", ["x", "\0", "9" * 40])
def test_ticks_of_what_no_row_can_be_break_nothing(staff: Staff, name: str, action: str, key: str) -> None:
    assert staff.post(f"{name}_changelist", action=action, _selected_action=key).status_code in {200, 302}


def test_autocompletion_counts_no_further_than_a_thousand(bank: Tenant, staff: Staff) -> None:
    query = "app_label=ledger&model_name=journal&field_name=transaction&term="

    with CaptureQueriesContext(connection) as captured:
        assert staff.http.get(f"/admin/autocomplete/?{query}").status_code == 200

    (counted,) = [one["sql"] for one in captured if "COUNT(" in one["sql"]]
    assert "LIMIT 1000)" in counted


def test_every_action_of_ours_declares_the_permission_that_it_needs() -> None:
    for model, registered in admin.site._registry.items():
        if isinstance(registered, KeysetAdmin):
            for name in registered.actions or ():
                assert getattr(registered, str(name)).allowed_permissions, (model, name)
