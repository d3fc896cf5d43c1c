"""The back office's pages of API keys: a secret is shown once, and an end has a reason."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.urls import reverse

from config.runtime.clock import now
from ledger.clients.models import ApiKey, AuditEntry
from ledger.clients.services import create_key, hash_of, revoke_key
from tests.ledger.backoffice import Staff
from tests.people import Tenant


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


def test_a_key_is_replaced_after_a_question_and_the_new_one_is_shown_once(bank: Tenant, staff: Staff) -> None:
    key = bank.client.keys.get()
    ticked = {"action": "rotate_key", "_selected_action": [key.pk]}

    question = staff.post("clients_apikey_changelist", **ticked).content.decode()
    unsaid = staff.post("clients_apikey_changelist", **ticked, confirmed="yes", overlap_hours=1, reason="").content
    assert f"ch_{key.pk}_…" in question
    assert b"This field is required." in unsaid
    assert bank.client.keys.count() == 1

    response = staff.post("clients_apikey_changelist", **ticked, confirmed="yes", overlap_hours=1, reason="monthly")

    (text,) = re.findall(r"ch_[0-9A-Z]{8}_[0-9A-Z]{32}", response.content.decode())
    assert "no-store" in response["Cache-Control"]
    assert Tenant(bank.client, text).get("/v2/accounts").status_code == 200
    made = ApiKey.objects.get(pk=text[3:11])
    assert (made.replaces_id, made.scopes) == (key.pk, key.scopes)
    assert timedelta(minutes=59) < ApiKey.objects.get(pk=key.pk).expires_at - now() <= timedelta(hours=1)  # type: ignore[operator]  # it has one now
    entry = AuditEntry.objects.get(object_id=key.pk, action="key.rotated")
    assert (entry.actor, entry.reason, entry.request_id) == (staff.actor, "monthly", response["X-Request-ID"])
    assert text[12:] not in staff.page("clients_apikey_change", made.pk)


def test_keys_are_replaced_one_at_a_time_while_they_live_and_with_both_permissions(bank: Tenant, staff: Staff) -> None:
    key = bank.client.keys.get()
    spare, _ = create_key(client=bank.client, scopes=["accounts:read"], actor="test")
    confirmed = {"action": "rotate_key", "confirmed": "yes", "overlap_hours": 1, "reason": "mine"}
    url = reverse("admin:clients_apikey_changelist")

    two = staff.http.post(url, confirmed | {"_selected_action": [key.pk, spare.pk]}, follow=True).content.decode()
    revoke_key(key=spare, actor="test", now=now())
    ended = staff.http.post(url, confirmed | {"_selected_action": [spare.pk]}, follow=True).content.decode()
    Staff("view_apikey", "change_apikey").post("clients_apikey_changelist", **confirmed, _selected_action=[key.pk])
    Staff("view_apikey", "add_apikey").post("clients_apikey_changelist", **confirmed, _selected_action=[key.pk])

    assert "One key is replaced at a time" in two
    assert "The key has expired or was revoked." in ended
    assert bank.client.keys.count() == 2


def test_a_key_s_addresses_and_last_use_are_set_and_seen(bank: Tenant, staff: Staff) -> None:
    fields = {"client": bank.client.pk, "scopes": ["accounts:read"]}

    refused = staff.post("clients_apikey_add", **fields, networks="192.0.2.1/24")
    made = staff.post("clients_apikey_add", **fields, networks="192.0.2.0/24, 2001:db8::/32").content.decode()

    assert "Address ranges are written like" in refused.content.decode()
    (text,) = re.findall(r"ch_[0-9A-Z]{8}_[0-9A-Z]{32}", made)
    page = staff.page("clients_apikey_change", text[3:11])
    assert "192.0.2.0/24, 2001:db8::/32" in page
    assert "never" in page
    ApiKey.objects.filter(pk=text[3:11]).update(last_used_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert "2026-01-02 03:04:05" in staff.page("clients_apikey_change", text[3:11])
