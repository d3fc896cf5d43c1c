"""From what was asked to an intent: every field is checked here, whoever asked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from django.conf import settings

from config.runtime.errors import Invalid
from config.runtime.ids import uuid7
from config.runtime.tracing import outgoing_headers
from ledger.domain.accounts import AccountRef
from ledger.domain.shapes import MANUAL
from ledger.errors import (
    EffectiveInFuture,
    EffectiveTooOld,
    ExecuteTooFar,
    ExpiresOutOfRange,
    ExpiresUnasked,
    TypeUnknown,
)
from ledger.kinds import KINDS
from ledger.posting.intents import Intent
from ledger.services.legs import agree
from ledger.services.submissions import Submission

EFFECTIVE_AHEAD_MAX = timedelta(minutes=5)
EXECUTE_AHEAD_MAX = timedelta(days=366)
HOLD_LASTS, HOLD_LASTS_MAX = timedelta(days=7), timedelta(days=31)
# What lies before can have no name in UTC.
_OLDEST = datetime(1, 1, 2, tzinfo=UTC)


def intent_of(
    client_id: int,
    submission: Submission,
    accounts: Mapping[str, AccountRef],
    *,
    actor: str,
    request_id: str,
    now: datetime,
) -> Intent:
    """Return the intent of a submission; `accounts` has those of `account_names` that exist.

    What only time has made wrong is for the engine to refuse, since a key that is taken answers first.

    Raises:
        Invalid: a field, or an account that is missing or of another currency.
    """
    if submission.type not in KINDS or not KINDS[submission.type].is_asked_by_name:
        raise TypeUnknown.at("/type", detail=f"There is no type {submission.type!r}.")
    agreed = agree(submission, accounts)
    execute_at = _execute_at(submission.execute_at, now)
    held_at = execute_at or now
    return Intent(
        id=uuid7(),
        client_id=client_id,
        type=submission.type,
        amount_minor=agreed.amount_minor,
        legs=agreed.legs,
        terms=agreed.terms,
        idempotency_key=submission.idempotency_key,
        request_hash=submission.request_hash,
        reference=submission.reference,
        description=submission.description,
        metadata=submission.metadata,
        effective_at=_effective_at(submission, now) or execute_at,
        execute_at=execute_at,
        expires_at=_expires_at(submission, held_at),
        objection=_overtaken(submission, held_at, now),
        group=submission.group,
        actor=actor,
        request_id=request_id,
        trace=outgoing_headers().get("traceparent", ""),
    )


def _effective_at(submission: Submission, now: datetime) -> datetime | None:
    moment = submission.effective_at
    if moment is None:
        return None
    if moment > now + EFFECTIVE_AHEAD_MAX:
        raise EffectiveInFuture.at("/effective_at")
    return max(moment, _OLDEST).astimezone(UTC)


def _execute_at(moment: datetime | None, now: datetime) -> datetime | None:
    """Return when it is to be executed, None for at once: a time that has passed by now asks for nothing else."""
    if moment is None or moment <= now:
        return None
    if moment > now + EXECUTE_AHEAD_MAX:
        raise ExecuteTooFar.at("/execute_at")
    return moment.astimezone(UTC)


def _expires_at(submission: Submission, held_at: datetime) -> datetime | None:
    """Return when what is held ends; None for what is booked at once."""
    if submission.capture != MANUAL:
        if submission.expires_at is not None:
            raise ExpiresUnasked.at("/expires_at")
        return None
    if submission.expires_at is None:
        return held_at + HOLD_LASTS
    if submission.expires_at > held_at + HOLD_LASTS_MAX:
        raise ExpiresOutOfRange.at("/expires_at")
    return max(submission.expires_at, _OLDEST).astimezone(UTC)


def _overtaken(submission: Submission, held_at: datetime, now: datetime) -> Invalid | None:
    """Return what is wrong with a submission now that may have been right when it was sent first."""
    if submission.expires_at is not None and submission.expires_at <= held_at:
        return ExpiresOutOfRange.at("/expires_at")
    days = settings.BACKDATE_MAX_DAYS
    if submission.effective_at is None or submission.may_be_old:
        return None
    if submission.effective_at >= now - timedelta(days=days):
        return None
    return EffectiveTooOld.at("/effective_at", detail=f"A booking may be back-dated by {days} days.")
