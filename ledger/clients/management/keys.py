"""What the commands about keys have in common."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.core.management.base import CommandError

from config.runtime.clock import now
from ledger.clients.models import ApiKey

DAYS_MAX = 3660  # ten years


def key_named(text: str) -> ApiKey:
    """Return the key with this id, with or without what stands around it in the key's text."""
    key_id = text.upper().removeprefix("CH_")[:8]
    key = ApiKey.objects.select_related("client").filter(pk=key_id).first()
    if key is None:
        raise CommandError(f"There is no key {key_id}.")
    return key


def end_in(days: int | None) -> datetime | None:
    """Return when a key ends that is made now for so many days; None for never."""
    if days is not None and not 1 <= days <= DAYS_MAX:
        raise CommandError(f"--days is 1 to {DAYS_MAX}.")
    return now() + timedelta(days=days) if days else None
