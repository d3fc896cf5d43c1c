"""What v2 takes, defined once: decoded by msgspec and shown in the OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta, UnsetType

from config.api.decoding import Body
from config.runtime.errors import Invalid
from ledger.domain.accounts import AccountKind

MetadataKey = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_.-]{1,40}\Z")]
MetadataValue = Annotated[str, Meta(max_length=500)] | int | bool | None
Metadata = Annotated[
    dict[MetadataKey, MetadataValue],
    Meta(max_length=50, description="Up to 50 values of your own: texts, whole numbers, booleans."),
]
AccountText = Annotated[
    str, Meta(min_length=1, max_length=255, description="An account's id or path, such as users:alice:USD.")
]
AmountText = Annotated[
    str, Meta(min_length=1, max_length=80, description='Major units with at most the currency\'s decimals: "10.00".')
]
CurrencyText = Annotated[str, Meta(pattern=r"\A[A-Z0-9]{2,16}\Z", description="ISO 4217, or a crypto asset's code.")]
LimitText = Annotated[str, Meta(min_length=1, max_length=80)] | None | UnsetType

WHOLE_MAX = 2**53 - 1


class AccountIn(Body, frozen=True, kw_only=True):
    """An account to open. Without `floor` a user's liability account may not go below zero."""

    path: Annotated[
        str, Meta(min_length=1, max_length=255, description="Unique per client: segments joined by colons.")
    ]
    currency: CurrencyText
    kind: AccountKind
    user_id: Annotated[str, Meta(pattern=r"\A[\x21-\x7e]{1,64}\Z")] | None = None
    floor: LimitText = msgspec.UNSET
    ceiling: LimitText = msgspec.UNSET
    metadata: Metadata = msgspec.field(default_factory=dict)


class TransactionIn(Body, frozen=True, kw_only=True):
    """Money to move: it debits one account and credits another of the same currency."""

    type: Annotated[str, Meta(min_length=1, max_length=32, description="What it is, such as transfer.")]
    debit_account: AccountText
    credit_account: AccountText
    amount: AmountText
    currency: CurrencyText
    reference: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    description: Annotated[str, Meta(min_length=1, max_length=500)] | None = None
    metadata: Metadata = msgspec.field(default_factory=dict)
    effective_at: Annotated[datetime, Meta(tz=True)] | None = None


def check_metadata(metadata: dict[str, str | int | bool | None]) -> None:
    """Refuse whole numbers that JSON readers elsewhere would round.

    Raises:
        Invalid: `field_range`.
    """
    for key, value in metadata.items():
        if isinstance(value, int) and abs(value) > WHOLE_MAX:
            raise Invalid.at(f"/metadata/{key}", "field_range", "A whole number within ±(2^53 - 1).")
