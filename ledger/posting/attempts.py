"""Which failures of the database another try may mend, and the tries that are made, at once and later (spec 003)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import DatabaseError
from psycopg import errors as pg

from config.runtime.database import is_down
from config.runtime.deadline import Overdue
from config.runtime.metrics import POSTING_CONFLICTS
from ledger.errors import ATTEMPTS_MAX, RETRYABLE, Contention, DependencyDown, PostingContended, PostingRefused, Timeout

TRIES_AT_ONCE = 5
# A poster itself tries so often before it gives something up; a retry gives it as many again, up to ATTEMPTS_MAX.
TRIES_IN_A_ROW = 3
KEY_CONSTRAINT = "transaction_key_once"

T = TypeVar("T")


def repeated(work: Callable[[], T]) -> T:
    """Do `work`, again where another round was first: ours changed nothing, and run again it will see that round.

    Raises:
        PostingContended: conflicts went on.
    """
    for attempt in range(TRIES_AT_ONCE):
        if attempt:
            time.sleep(random.uniform(0.001, 0.01) * 2**attempt)  # noqa: S311  (jitter)
        try:
            return work()
        except DatabaseError as error:
            if not _is_repeatable(error.__cause__):
                raise
            POSTING_CONFLICTS.labels(_name(error.__cause__)).inc()
    raise PostingContended(retry_after_s=1)


def failure_code(error: BaseException) -> str:
    """Return the error code that a transaction carries when this kept it from being booked."""
    if isinstance(error, Overdue):
        return Timeout.code
    cause = error.__cause__ if isinstance(error, DatabaseError) else error
    if isinstance(cause, pg.QueryCanceled):
        return Timeout.code
    if isinstance(cause, (pg.SerializationFailure, pg.DeadlockDetected, pg.LockNotAvailable, PostingContended)):
        return Contention.code
    if is_down(error):
        return DependencyDown.code
    return PostingRefused.code


def is_over(code: str, attempts: int) -> bool:
    """Tell whether after so many tries there is none in a while: it waits, if at all, for somebody to ask for it."""
    return code not in RETRYABLE or attempts >= ATTEMPTS_MAX or attempts % TRIES_IN_A_ROW == 0


def _is_repeatable(cause: BaseException | None) -> bool:
    if isinstance(cause, pg.UniqueViolation):
        return cause.diag.constraint_name == KEY_CONSTRAINT
    return isinstance(cause, (pg.SerializationFailure, pg.DeadlockDetected))


def _name(cause: BaseException | None) -> str:
    if isinstance(cause, pg.UniqueViolation):
        return "key"
    return "deadlock" if isinstance(cause, pg.DeadlockDetected) else "serialization"
