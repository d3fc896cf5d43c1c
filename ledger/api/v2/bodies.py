"""What v2 takes, defined once: decoded by msgspec and shown in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, UnsetType

from config.api.decoding import Body, decode
from config.api.idempotency import fingerprint
from config.runtime.errors import FieldError, Invalid
from ledger.domain.accounts import AccountKind
from ledger.domain.balances import Side
from ledger.domain.batches import BatchMode
from ledger.domain.legs import LEGS_MAX, LEGS_MIN
from ledger.errors import LegsBesideAccounts, LegsTooFew, LegsTooMany
from ledger.services.batches.checks import ITEMS_ASYNC_MAX, Item, Unreadable, check_size
from ledger.services.submissions import LegAsked, Submission

MetadataKey = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_.-]{1,40}\Z")]
MetadataValue = Annotated[str, Meta(max_length=500)] | int | bool | None
Metadata = Annotated[
    dict[MetadataKey, MetadataValue],
    Meta(max_length=50, description="Up to 50 values of your own: texts, whole numbers, booleans."),
]
AccountText = Annotated[
    str, Meta(min_length=1, max_length=255, description="An account's id or path, such as users:alice:USD.")
]
UserIdText = Annotated[str, Meta(pattern=r"\A[\x21-\x7e]{1,64}\Z")]
AmountText = Annotated[
    str, Meta(min_length=1, max_length=80, description='Major units with at most the currency\'s decimals: "10.00".')
]
CurrencyText = Annotated[str, Meta(pattern=r"\A[A-Z0-9]{2,16}\Z", description="ISO 4217, or a crypto asset's code.")]
LimitText = Annotated[str, Meta(min_length=1, max_length=80)] | None | UnsetType
KeyText = Annotated[str, Meta(pattern=r"\A[\x21-\x7e]{1,255}\Z", description="As the header of a single transaction.")]
GroupText = Annotated[str, Meta(pattern=r"\A[\x21-\x7e]{1,64}\Z", description="Up to 1,000 items have one label.")]

T = TypeVar("T")

WHOLE_MAX = 2**53 - 1
_BETWEEN_TWO = ("debit_account", "credit_account", "amount", "currency")
_ON_TOP = ("fee", "credit_amount", "credit_currency", "rate", "rate_source")
_OF_THE_BATCH = frozenset({"idempotency_key", "group"})


class AccountIn(Body, frozen=True, kw_only=True):
    """An account to open. Without `floor` a user's liability account may not go below zero."""

    path: Annotated[
        str, Meta(min_length=1, max_length=255, description="Unique per client: segments joined by colons.")
    ]
    currency: CurrencyText
    kind: AccountKind
    user_id: UserIdText | None = None
    floor: LimitText = msgspec.UNSET
    ceiling: LimitText = msgspec.UNSET
    metadata: Metadata = msgspec.field(default_factory=dict)


class ChangeIn(Body, frozen=True, kw_only=True):
    """Why an account is to change; the reason stands in its history."""

    reason: Annotated[str, Meta(min_length=1, max_length=500, pattern=r"\S")]


class SidesIn(ChangeIn, frozen=True, kw_only=True):
    """Which bookings are meant."""

    sides: Literal["debits", "credits", "both"] = "both"


class LimitsIn(ChangeIn, frozen=True, kw_only=True):
    """The limits that are to change: a floor may stand below zero, null takes the limit away."""

    floor: LimitText = msgspec.UNSET
    ceiling: LimitText = msgspec.UNSET


class LegIn(Body, frozen=True, kw_only=True):
    """So much of one account, on one side."""

    account: AccountText
    side: Side
    amount: AmountText
    currency: CurrencyText


class TransactionIn(Body, frozen=True, kw_only=True):
    """Money to move: it debits one account and credits another.

    With `legs` instead of `debit_account`, `credit_account`, `amount` and `currency` it books all of them in one
    journal; the debits must be equal to the credits in each currency. Nothing is added to them, no fee of the type
    either.

    Where the credit account is of another currency, `credit_currency`, `rate` and `rate_source` are required: it is
    credited `credit_amount`, or `amount * rate` rounded half to even, by way of the accounts `liquidity:{currency}`.
    `fee` is paid by the debit account on top of the amount, to `fees:{currency}`.
    """

    type: Annotated[str, Meta(min_length=1, max_length=32, description="What it is, such as transfer.")]
    debit_account: AccountText | UnsetType = msgspec.UNSET
    credit_account: AccountText | UnsetType = msgspec.UNSET
    amount: AmountText | UnsetType = msgspec.UNSET
    currency: CurrencyText | UnsetType = msgspec.UNSET
    legs: Annotated[list[LegIn], Meta(extra_json_schema={"minItems": 2, "maxItems": LEGS_MAX})] | UnsetType = (
        msgspec.UNSET
    )
    fee: Annotated[str, Meta(min_length=1, max_length=80, description="Instead of what the type costs.")] | None = None
    credit_amount: AmountText | None = None
    credit_currency: CurrencyText | None = None
    rate: (
        Annotated[str, Meta(min_length=1, max_length=41, description="Of the credit currency for one of the other.")]
        | None
    ) = None
    rate_source: Annotated[str, Meta(min_length=1, max_length=64, description="Who says the rate.")] | None = None
    reference: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    description: Annotated[str, Meta(min_length=1, max_length=500)] | None = None
    metadata: Metadata = msgspec.field(default_factory=dict)
    effective_at: Annotated[datetime, Meta(tz=True)] | None = None
    execute_at: Annotated[datetime, Meta(tz=True, description="When to book it, at most a year ahead.")] | None = None
    capture: Annotated[
        Literal["automatic", "manual"],
        Meta(description="manual: hold the amount until it is captured, voided or expired."),
    ] = "automatic"
    expires_at: (
        Annotated[
            datetime,
            Meta(tz=True, description="When a hold ends: 7 days from now or execute_at unless said, at most 31."),
        ]
        | None
    ) = None


class CaptureIn(Body, frozen=True, kw_only=True):
    """How much of a hold to book: all that is still held, unless an amount is named."""

    amount: AmountText | None = None
    final: Annotated[bool, Meta(description="Let go what is still held after it.")] = False


class VoidIn(Body, frozen=True, kw_only=True):
    """A hold to let go; the reason stands in the history."""

    reason: Annotated[str, Meta(min_length=1, max_length=500)] | None = None


class ReversalIn(Body, frozen=True, kw_only=True):
    """How much to take back: all that is not yet, unless an amount is named."""

    amount: AmountText | None = None
    reference: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    description: Annotated[str, Meta(min_length=1, max_length=500)] | None = None
    metadata: Metadata = msgspec.field(default_factory=dict)


def submission_of(body: TransactionIn, *, key: str | None, request_hash: bytes, group: str | None = None) -> Submission:
    """Return what the service is asked for.

    Raises:
        Invalid: a number in the metadata, or the form.
    """
    check_metadata(body.metadata)
    _check_form(body)
    return Submission(
        type=body.type,
        debit_account=_given(body.debit_account),
        credit_account=_given(body.credit_account),
        amount=_given(body.amount),
        currency=_given(body.currency),
        legs=tuple([LegAsked(**msgspec.structs.asdict(leg)) for leg in _given(body.legs) or ()]),
        fee=body.fee,
        credit_amount=body.credit_amount,
        credit_currency=body.credit_currency,
        rate=body.rate,
        rate_source=body.rate_source,
        reference=body.reference,
        description=body.description,
        metadata=body.metadata,
        effective_at=body.effective_at,
        execute_at=body.execute_at,
        capture=body.capture,
        expires_at=body.expires_at,
        group=group,
        idempotency_key=key,
        request_hash=request_hash,
    )


def _check_form(body: TransactionIn) -> None:
    """Refuse what names neither legs nor two accounts and an amount, or both.

    Raises:
        Invalid: `field_missing`, `legs_beside_accounts`, `legs_too_few`, `legs_too_many`.
    """
    if body.legs is msgspec.UNSET:
        for name in _BETWEEN_TWO:
            if getattr(body, name) is msgspec.UNSET:
                raise Invalid.at(f"/{name}", "field_missing", f"Object missing required field `{name}`")
        return
    for name in (*_BETWEEN_TWO, *_ON_TOP):
        if getattr(body, name) not in (msgspec.UNSET, None):
            raise LegsBesideAccounts.at(f"/{name}")
    if len(body.legs) < LEGS_MIN:
        raise LegsTooFew.at("/legs")
    if len(body.legs) > LEGS_MAX:
        raise LegsTooMany.at("/legs")


def _given(value: T | UnsetType) -> T | None:
    return None if value is msgspec.UNSET else value


def check_metadata(metadata: dict[str, str | int | bool | None]) -> None:
    """Refuse whole numbers that JSON readers elsewhere would round.

    Raises:
        Invalid: `field_range`.
    """
    for key, value in metadata.items():
        if isinstance(value, int) and abs(value) > WHOLE_MAX:
            raise Invalid.at(f"/metadata/{key}", "field_range", "A whole number within ±(2^53 - 1).")


class BatchItemIn(TransactionIn, frozen=True, kw_only=True):
    """An item of a batch, booked with its batch and not later. Those of one group are booked together or not at all."""

    execute_at: Annotated[datetime, Meta(tz=True, description="Not in a batch: it is refused.")] | None = None

    idempotency_key: KeyText | None = None
    group: GroupText | None = None


class _BatchHeadIn(Body, frozen=True, kw_only=True):
    mode: BatchMode = BatchMode.PARTIAL


class BatchIn(_BatchHeadIn, frozen=True, kw_only=True):
    """Up to 1,000 transactions; in mode `partial`, to be posted in turns, up to 10,000."""

    items: Annotated[list[BatchItemIn], Meta(extra_json_schema={"minItems": 1, "maxItems": ITEMS_ASYNC_MAX})]


class _AnyBatchIn(_BatchHeadIn, frozen=True, kw_only=True):
    items: list[Any]


def batch_of(data: Any, *, operation: str) -> tuple[BatchMode, list[Item]]:
    """Return the mode and the items of a batch; `operation` is that of a single transaction, whose keys items share.

    In mode `partial` an item that is malformed is one of the items.

    Raises:
        Invalid: the batch is malformed, or is atomic and an item is.
    """
    head = decode(data, _AnyBatchIn)
    check_size(len(head.items), mode=head.mode)
    items: list[Item]
    try:
        bodies = decode(data, BatchIn).items
    except Invalid:
        items = [_read_alone(raw, operation) for raw in head.items]
    else:
        items = [_read(body, raw, operation) for body, raw in zip(bodies, head.items, strict=True)]
    if head.mode is BatchMode.ATOMIC:
        _refuse_unreadable(items)
    return head.mode, items


def _read_alone(raw: Any, operation: str) -> Item:
    try:
        return _read(decode(raw, BatchItemIn), raw, operation)
    except Invalid as refusal:
        fields = raw if isinstance(raw, dict) else {}
        key, group = _read_field(fields.get("idempotency_key"), KeyText), _read_field(fields.get("group"), GroupText)
        return Unreadable(refusal, key, group)


def _read_field(raw: Any, into: Any) -> str | None:
    """Return a field of an item that is wrong elsewhere, None if the field itself is."""
    try:
        text: str = decode(raw, into)
    except Invalid:
        return None
    return text


def _read(body: BatchItemIn, raw: dict[str, Any], operation: str) -> Item:
    # An item is the request that it would be alone, so that its key leads to one transaction either way.
    alone = {name: value for name, value in raw.items() if name not in _OF_THE_BATCH}
    request_hash = fingerprint(operation, alone)
    try:
        return submission_of(body, key=body.idempotency_key, request_hash=request_hash, group=body.group)
    except Invalid as refusal:
        return Unreadable(refusal, body.idempotency_key, body.group)


def _refuse_unreadable(items: Iterable[Item]) -> None:
    found = [
        FieldError(f"/items/{index}{at.pointer}", at.code, at.detail)
        for index, item in enumerate(items)
        if isinstance(item, Unreadable)
        for at in item.refusal.errors
    ]
    if found:
        refusal = Invalid.at(found[0].pointer, found[0].code, found[0].detail)
        refusal.errors = tuple(found)
        raise refusal
