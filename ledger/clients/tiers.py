"""What a client of each tier may ask for, at once and in the long run (docs/reference/limits.md)."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

from config.runtime.quota.bucket import Quota
from ledger.clients.errors import BatchOverTier
from ledger.clients.models import Tier

ITEMS_PER_TOKEN = 20  # an item of a batch takes about a fifth of a request's work, and comes without its connection


@dataclass(frozen=True, slots=True, kw_only=True)
class TierLimits:
    """The limits of one tier."""

    quota: Quota
    batch_items: int
    export_rows: int
    webhook_endpoints: int
    concurrent_jobs: int


TIERS: dict[str, TierLimits] = {
    Tier.FREE: TierLimits(
        quota=Quota(*settings.TIER_QUOTAS["free"]),
        batch_items=200,
        export_rows=100_000,
        webhook_endpoints=2,
        concurrent_jobs=1,
    ),
    Tier.STANDARD: TierLimits(
        quota=Quota(*settings.TIER_QUOTAS["standard"]),
        batch_items=1_000,
        export_rows=1_000_000,
        webhook_endpoints=10,
        concurrent_jobs=2,
    ),
    Tier.PREMIUM: TierLimits(
        quota=Quota(*settings.TIER_QUOTAS["premium"]),
        batch_items=10_000,
        export_rows=10_000_000,
        webhook_endpoints=20,
        concurrent_jobs=4,
    ),
    Tier.INTERNAL: TierLimits(
        quota=Quota(*settings.TIER_QUOTAS["internal"]),
        batch_items=10_000,
        export_rows=100_000_000,
        webhook_endpoints=20,
        concurrent_jobs=8,
    ),
}


def check_batch_size(*, tier: str, count: int) -> None:
    """Pass a batch that a client of this tier may send.

    Raises:
        BatchOverTier
    """
    size_max = TIERS[tier].batch_items
    if count > size_max:
        raise BatchOverTier(f"The batch has {count} items; tier {tier} allows {size_max}.", items_max=size_max)


def batch_cost(count: int) -> int:
    """Return the tokens that a batch costs: one for each 20 items begun, for the largest half the burst at most."""
    return -(-count // ITEMS_PER_TOKEN)
