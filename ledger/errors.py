"""Every ledger failure we expect, named for the fact; `FAILURES` are those a stored transaction can carry."""

from __future__ import annotations

from functools import cache
from typing import Any

from config.runtime.errors import DomainError, FieldError, Invalid, Kind
from ledger.domain.shapes import FailureShape


class TypeUnknown(Invalid):
    """There is no such transaction type."""

    code = "type_unknown"


class AccountUnknown(Invalid):
    """The client has no account with this id or path."""

    code = "account_unknown"


class SameAccount(Invalid):
    """A booking needs two different accounts."""

    code = "same_account"


class CurrencyUnknown(Invalid):
    """There is no such currency."""

    code = "currency_unknown"


class CurrencyMismatch(Invalid):
    """An account is in another currency."""

    code = "currency_mismatch"


class AmountMalformed(Invalid):
    """An amount is a decimal text such as "10.00", without a sign."""

    code = "amount_malformed"


class AmountTooManyDecimals(Invalid):
    """The amount has more decimals than its currency."""

    code = "amount_too_many_decimals"


class AmountTooLarge(Invalid):
    """An amount has at most 38 digits in minor units."""

    code = "amount_too_large"


class AmountNegative(Invalid):
    """An amount is never negative: the two accounts say which way it goes."""

    code = "amount_negative"


class AmountNotPositive(Invalid):
    """An amount must be above zero."""

    code = "amount_not_positive"


class EffectiveInFuture(Invalid):
    """effective_at lies in the future."""

    code = "effective_at_in_future"


class EffectiveTooOld(Invalid):
    """effective_at lies further back than a booking may be back-dated."""

    code = "effective_at_too_old"


class LegsBesideAccounts(Invalid):
    """Legs say all that is booked: beside them there is no account, amount, fee or rate."""

    code = "legs_beside_accounts"


class LegsTooFew(Invalid):
    """A booking has at least two legs."""

    code = "legs_too_few"


class LegsTooMany(Invalid):
    """A booking has at most 100 legs."""

    code = "legs_too_many"


class LegsUnbalanced(Invalid):
    """The debits of the legs are not equal to their credits, in each currency."""

    code = "legs_unbalanced"


class ExchangeIncomplete(Invalid):
    """An exchange says credit_currency, rate and rate_source."""

    code = "exchange_incomplete"


class ExchangeWithin(Invalid):
    """An exchange is of two currencies."""

    code = "exchange_within_currency"


class RateMalformed(Invalid):
    """A rate is a decimal text above zero, such as "1.0850", with at most 20 digits before and after the point."""

    code = "rate_malformed"


class ExchangeDisagrees(Invalid):
    """credit_amount is not amount times rate: it may differ from it by less than one minor unit."""

    code = "exchange_disagrees"


class ExchangeTooSmall(Invalid):
    """At this rate the amount comes to nothing in the other currency."""

    code = "exchange_too_small"


class ExecuteTooFar(Invalid):
    """execute_at is more than a year ahead."""

    code = "execute_at_too_far"


class ExecuteAtInDryRun(Invalid):
    """A dry run judges by what stands now, and this would be booked later: try it without execute_at."""

    code = "execute_at_in_dry_run"


class PathMalformed(Invalid):
    """A path is segments of 1 to 64 of A-Z a-z 0-9 _ . @ + - joined by colons."""

    code = "path_malformed"


class FloorAboveZero(Invalid):
    """An account opens at zero: its floor is zero or below."""

    code = "floor_above_zero"


class CeilingBelowZero(Invalid):
    """An account opens at zero: its ceiling is zero or above."""

    code = "ceiling_below_zero"


class BatchEmpty(Invalid):
    """A batch has at least one item."""

    code = "batch_empty"


class BatchTooLarge(Invalid):
    """A batch has at most 1,000 items; one in mode `partial` at most 10,000."""

    code = "batch_too_large"


class ItemKeyRepeated(Invalid):
    """Another item, or the batch itself, has the same idempotency key."""

    code = "item_key_repeated"


class GroupInAtomicBatch(Invalid):
    """All items of an atomic batch are booked together: it has no groups."""

    code = "group_in_atomic_batch"


class GroupTooLarge(Invalid):
    """A group has at most 1,000 items."""

    code = "group_too_large"


class ExecuteAtInBatch(Invalid):
    """What is to be executed later is sent on its own, not in a batch."""

    code = "execute_at_in_batch"


class InsufficientFunds(DomainError):
    """The available balance is lower than the amount."""

    kind, code = Kind.CONFLICT, "insufficient_funds"


class CeilingExceeded(DomainError):
    """The balance would rise above the account's ceiling."""

    kind, code = Kind.CONFLICT, "ceiling_exceeded"


class AccountFrozen(DomainError):
    """An account refuses this side of bookings for now."""

    kind, code = Kind.CONFLICT, "account_frozen"


class AccountClosed(DomainError):
    """An account is closed."""

    kind, code = Kind.CONFLICT, "account_closed"


class AccountAlreadyFrozen(DomainError):
    """The account refuses this side of bookings already."""

    kind, code = Kind.CONFLICT, "account_already_frozen"


class AccountNotFrozen(DomainError):
    """The account does not refuse this side of bookings."""

    kind, code = Kind.CONFLICT, "account_not_frozen"


class AccountAlreadyClosed(DomainError):
    """The account is closed already."""

    kind, code = Kind.CONFLICT, "account_already_closed"


class AccountAlreadyOpen(DomainError):
    """The account is not closed."""

    kind, code = Kind.CONFLICT, "account_already_open"


class AccountNotEmpty(DomainError):
    """There is money on the account, or a debt: only an account that stands at zero is closed."""

    kind, code = Kind.CONFLICT, "account_not_empty"


class AccountHasHolds(DomainError):
    """Money is held on the account, or is held for it elsewhere: capture or void it first."""

    kind, code = Kind.CONFLICT, "account_has_holds"


class LimitsMissing(Invalid):
    """Neither a floor nor a ceiling is given."""

    code = "limits_missing"


class LimitsUnchanged(DomainError):
    """These are the limits that the account has."""

    kind, code = Kind.CONFLICT, "limits_unchanged"


class FloorAboveAvailable(DomainError):
    """The account has less available than the floor would leave there."""

    kind, code = Kind.CONFLICT, "floor_above_available"


class CeilingBelowBalance(DomainError):
    """There is more on the account than the ceiling would let in, held money that may still come included."""

    kind, code = Kind.CONFLICT, "ceiling_below_balance"


class BalanceTooLarge(DomainError):
    """The sum of an account's bookings would need more than 38 digits."""

    kind, code = Kind.CONFLICT, "balance_too_large"


class FailedOtherwise(DomainError):
    """The transaction failed for a reason that is not in use any more; nothing moved."""

    kind, code = Kind.CONFLICT, "failed_otherwise"


class PathTaken(DomainError):
    """Another account of this client has the path."""

    kind, code = Kind.CONFLICT, "path_taken"


class IdempotencyKeyReused(DomainError):
    """The idempotency key belongs to another request."""

    kind, code = Kind.INVALID, "idempotency_key_reused"


class IdempotencyKeyInUse(DomainError):
    """An equal request is still running; try again."""

    kind, code = Kind.CONFLICT, "idempotency_key_in_use"


class PostingTimeout(DomainError):
    """The booking took longer than it may; nothing moved. Try again with the same key."""

    kind, code = Kind.BUSY, "posting_timeout"


class AcceptTimeout(DomainError):
    """It could not be stored in time; ask again with the same idempotency key, which is safe."""

    kind, code = Kind.BUSY, "accept_timeout"


class GroupRefused(DomainError):
    """Another item of its group cannot be booked, so this one was not either."""

    kind, code = Kind.CONFLICT, "group_refused"


class BatchRefused(DomainError):
    """The batch is atomic and some of its items cannot be booked: none of it was applied."""

    kind, code = Kind.INVALID, "batch_refused"


class PostingRefused(DomainError):
    """The database refused what we computed; nothing moved. This is a defect, and it is logged."""

    kind, code = Kind.INTERNAL, "posting_refused"


class PostingContended(DomainError):
    """Other postings kept this one from finishing; nothing moved. Try again with the same key."""

    kind, code = Kind.BUSY, "posting_contended"


class Contention(DomainError):
    """Other postings kept it from being booked, however often it was tried."""

    kind, code = Kind.CONFLICT, "contention"


class Timeout(DomainError):
    """Its booking took longer than a booking may, however often it was tried."""

    kind, code = Kind.CONFLICT, "timeout"


class DependencyDown(DomainError):
    """The database could not serve its booking, however often it was tried."""

    kind, code = Kind.CONFLICT, "dependency_down"


class StillProcessing(DomainError):
    """It is still running; ask again when it has come to an end."""

    kind, code = Kind.CONFLICT, "still_processing"


class NotHeld(DomainError):
    """Only what is held can be captured or voided: it was not asked for with `"capture": "manual"`, or has failed."""

    kind, code = Kind.CONFLICT, "not_held"


class HoldCaptured(DomainError):
    """All of the hold was captured, or the rest let go."""

    kind, code = Kind.CONFLICT, "hold_captured"


class HoldVoided(DomainError):
    """The hold was voided."""

    kind, code = Kind.CONFLICT, "hold_voided"


class HoldExpired(DomainError):
    """The hold has expired."""

    kind, code = Kind.CONFLICT, "hold_expired"


class CaptureExceedsHold(DomainError):
    """No more can be captured than is still held."""

    kind, code = Kind.CONFLICT, "capture_exceeds_hold"


class NotReversible(DomainError):
    """Only what is completed can be taken back."""

    kind, code = Kind.CONFLICT, "not_reversible"


class ReversalOfReversal(DomainError):
    """A reversal is not taken back: book the money anew."""

    kind, code = Kind.CONFLICT, "reversal_of_reversal"


class ReversalExceeds(DomainError):
    """No more can be taken back than was booked and is not taken back yet."""

    kind, code = Kind.CONFLICT, "reversal_exceeds_original"


class NotDivisible(DomainError):
    """What has legs, a fee or two currencies is captured and taken back as a whole."""

    kind, code = Kind.CONFLICT, "not_divisible"


class ExpiresOutOfRange(Invalid):
    """A hold lasts until a moment that is to come, at most 31 days ahead."""

    code = "expires_at_out_of_range"


class ExpiresUnasked(Invalid):
    """expires_at goes with `"capture": "manual"`."""

    code = "expires_at_without_hold"


class NotRetryable(DomainError):
    """It failed for a reason that another try does not change."""

    kind, code = Kind.CONFLICT, "not_retryable"


class NotFailed(DomainError):
    """Only what has failed can be retried."""

    kind, code = Kind.CONFLICT, "not_failed"


class Parked(DomainError):
    """It has been tried as often as may be; staff look after it."""

    kind, code = Kind.CONFLICT, "parked"


class ReceiptMalformed(DomainError):
    """This is no receipt code; a character may be mistyped."""

    kind, code = Kind.INVALID, "receipt_malformed"


class StatementRangeEmpty(Invalid):
    """A statement is of the time from `from` on and before `to`: `from` must be the earlier."""

    code = "statement_range_empty"


class StatementInFuture(Invalid):
    """A statement ends at a moment that has passed; without `to` it ends now."""

    code = "statement_in_future"


class BalanceInFuture(Invalid):
    """What will have been booked by then nobody knows: `at` is a moment that has passed."""

    code = "balance_in_future"


class StatementTooLong(DomainError):
    """The statement would have more than `lines_max` lines; ask for it in parts, the first one until `to`."""

    kind, code = Kind.INVALID, "statement_too_long"


class Camt053Currency(DomainError):
    """ISO 20022 knows currencies of three letters, with amounts of at most five decimals."""

    kind, code = Kind.INVALID, "camt053_currency"


class Camt053Amount(DomainError):
    """A balance or sum of the statement has more than the 18 digits that an amount has in ISO 20022."""

    kind, code = Kind.INVALID, "camt053_amount"


class StatementMalformed(DomainError):
    """The bank's file is not what its format says."""

    kind, code = Kind.INVALID, "statement_malformed"


FAILURES: dict[str, type[DomainError]] = {
    failure.code: failure
    for failure in (
        InsufficientFunds,
        CeilingExceeded,
        AccountFrozen,
        AccountClosed,
        BalanceTooLarge,
        HoldExpired,
        Contention,
        Timeout,
        DependencyDown,
        PostingRefused,
    )
}
# What another try may mend. The others are final, except that staff may retry what a defect of ours refused.
RETRYABLE = frozenset({Contention.code, Timeout.code, DependencyDown.code})
ATTEMPTS_MAX = 5


def failure_of(code: str, pointer: str | None = None, **fields: Any) -> DomainError:
    """Return the failure that a stored transaction carries, with that code: the books outlive the codes in use."""
    failure = FAILURES.get(code, FailedOtherwise)(**fields)
    failure.code = code  # type: ignore[misc]  # as it is stored
    if pointer is not None:
        failure.errors = (FieldError(pointer, code, failure.detail),)
    return failure


@cache
def failure_shape(code: str, attempts: int = 0, pointer: str | None = None) -> FailureShape:
    """Return what is shown of the failure of a transaction after so many tries; made once, as there are few."""
    is_retryable = code in RETRYABLE and attempts < ATTEMPTS_MAX
    return FailureShape(code, failure_of(code).detail, retryable=is_retryable, pointer=pointer)


def failure_reason(code: str, pointer: str | None) -> str:
    """Return the reason that the history of a failed transaction gives; `pointer_in` reads the place back."""
    return code if pointer is None else f"{code} {pointer}"


def pointer_in(reason: str | None) -> str | None:
    """Return the place that the reason of a failure names, if it names one."""
    return (reason or "").partition(" ")[2] or None


AMOUNT_REFUSALS: dict[str, type[Invalid]] = {
    refusal.code: refusal
    for refusal in (AmountMalformed, AmountTooManyDecimals, AmountTooLarge, AmountNegative, AmountNotPositive)
}
