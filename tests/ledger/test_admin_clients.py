"""The back office's pages of clients: staff add them and change their tier."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.urls import reverse

from config.api.backoffice.admins import ACTOR_LENGTH_MAX
from ledger.clients.models import ApiKey, AuditEntry, Client
from tests.ledger.backoffice import Staff
from tests.people import Tenant


@pytest.mark.parametrize("name", ["clients_client", "clients_apikey"])
def test_nobody_deletes_a_client_or_a_key(bank: Tenant, staff: Staff, name: str) -> None:
    key = bank.client.pk if name == "clients_client" else bank.client.keys.get().pk

    assert staff.post(f"{name}_delete", key, post="yes").status_code == 403
    staff.post(f"{name}_changelist", action="delete_selected", _selected_action=str(key), post="yes")

    assert Client.objects.filter(pk=bank.client.pk).exists()
    assert bank.client.keys.count() == 1


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


def test_a_tier_changes_with_a_reason_that_is_audited_and_nothing_else_changes(staff: Staff) -> None:
    bank = Tenant.new(scopes=["accounts:read"])

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
    (key,) = bank.client.keys.all()
    assert "operations:read" in key.scopes
    url = reverse("admin:clients_client_change", args=[bank.client.pk])

    page = staff.http.post(url, {"tier": "free", "reason": "smaller"}, follow=True).content.decode()

    assert "revoke them first" in page
    assert Client.objects.get(pk=bank.client.pk).tier == "internal"
    ApiKey.objects.filter(pk=key.pk).update(revoked_at=bank.client.created_at)
    staff.http.post(url, {"tier": "free", "reason": "smaller"})
    assert Client.objects.get(pk=bank.client.pk).tier == "free"


def test_a_name_too_long_for_an_actor_is_told_apart_by_its_id(db) -> None:
    long = Staff("add_client", "view_client", username="x" * 60 + uuid4().hex + "y" * 50)
    name = f"bank {uuid4()}"

    long.post("clients_client_add", name=name, tier="free")

    (entry,) = AuditEntry.objects.filter(client__name=name)
    assert len(entry.actor) == ACTOR_LENGTH_MAX
    assert entry.actor.endswith(f"#{long.user.pk}")
