"""Compare a bank's statement with the entries of an account, and keep what was found."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from uuid import UUID

import msgspec
from django.db import OperationalError, transaction
from msgspec import Struct
from psycopg import errors as pg

from config.runtime.arrays import numbers, texts
from config.runtime.database import raw_cursor
from config.runtime.errors import FieldError, Invalid
from config.runtime.sql import sql_file
from ledger.domain.accounts import AccountRef
from ledger.domain.reconciliations import BreakShape, ReconciliationShape, count
from ledger.errors import AccountUnknown, CurrencyMismatch, IdempotencyKeyInUse, StatementMalformed
from ledger.locks import bound_waits
from ledger.models import Reconciliation
from ledger.queries.accounts import find_account
from ledger.queries.comparisons import Comparison, Dates, compare, one_moment
from ledger.queries.reconciliations import break_shapes, get_reconciliation, reconciliation_shape
from ledger.services.idempotency import Claim, find_earlier, keep_key, take_key
from ledger.statements import BANKS, Bank, MalformedLine, StatementLine, StatementMapping
from ledger.statements.reader import read_statement

OPERATION = "reconciliations.create"
LINES_MAX = 10_000
ENTRIES_MAX = 20_000
MALFORMED_SHOWN_MAX = 20
_INLINE = "this mapping"


class MappingUnknown(Invalid):
    """There is no ready mapping of this name."""

    code = "mapping_unknown"


class StatementEmpty(Invalid):
    """The statement has no lines."""

    code = "statement_empty"


class LinesTooMany(Invalid):
    """A statement has at most 10,000 lines here: send it in parts, or use the command reconcile_statement."""

    code = "lines_too_many"


class StatementOfManyAccounts(Invalid):
    """A statement of one account is asked for, and this one's lines are of several."""

    code = "statement_of_many_accounts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A statement to compare with an account: the CSV text, and the name of a ready mapping or a mapping."""

    account: str
    mapping: str | StatementMapping
    content: str
    dates: Dates


@dataclass(frozen=True, slots=True)
class Reconciled:
    """A reconciliation; `replayed` when an earlier request with the same key made it."""

    reconciliation: ReconciliationShape
    replayed: bool


def reconcile_statement(
    *, client_id: int, statement: Statement, actor: str, request_id: str, now: datetime, claim: Claim | None
) -> Reconciled:
    """Compare a statement with the books and store what was found; the books stay as they are.

    Raises:
        Invalid: the account, the mapping or the statement cannot be accepted.
        StatementMalformed: the header or a line is not what the mapping says; nothing is stored.
        IdempotencyKeyReused: the key belongs to another request.
        IdempotencyKeyInUse: somebody has kept the key locked for five seconds.
    """
    # Without a lock, which others would wait for while lines are compared: `_store` looks again, behind it.
    earlier = None if claim is None else find_earlier(client_id=client_id, claim=claim)
    if earlier is None:
        row, breaks = _compared(client_id, statement)
        row.actor, row.request_id, row.created_at = actor, request_id, now
        earlier = _store(client_id, row, breaks, claim)
        if earlier is None:
            return Reconciled(reconciliation_shape(row), replayed=False)
    return Reconciled(reconciliation_shape(get_reconciliation(client_id, UUID(earlier))), replayed=True)


def _compared(client_id: int, statement: Statement) -> tuple[Reconciliation, list[BreakShape]]:
    account = find_account(client_id, statement.account)
    if account is None:
        raise AccountUnknown.at("/account")
    bank = _bank(statement.mapping, account)
    lines = _read(bank, statement.content, account)
    with one_moment():
        comparison = compare(
            bank=bank,
            account=account,
            lines=lines,
            exponent=account.exponent,
            dates=statement.dates,
            entries_max=ENTRIES_MAX,
        )
    row = _row(client_id, statement, account, comparison)
    return row, break_shapes(comparison, exponent=account.exponent)


def _bank(mapping: str | StatementMapping, account: AccountRef) -> Bank:
    if isinstance(mapping, StatementMapping):
        bank = Bank(_INLINE, mapping)
    elif mapping in BANKS:
        bank = BANKS[mapping]
    else:
        raise MappingUnknown.at("/mapping", detail=f"The ready mappings are {', '.join(BANKS)}.")
    if bank.mapping.currency not in {None, account.currency}:
        raise CurrencyMismatch.at("/mapping", detail=f"The account is in {account.currency}, the mapping is not.")
    # What came as JSON is text already: it is read as it came, whatever the bank's files are written in.
    return Bank(bank.name, msgspec.structs.replace(bank.mapping, encoding="utf-8"))


def _read(bank: Bank, content: str, account: AccountRef) -> list[StatementLine]:
    """Return the lines, all of which can be read and are of one account of the bank."""
    try:
        read = read_statement(bank, BytesIO(content.encode()), currency=account.currency, exponent=account.exponent)
    except StatementMalformed as refusal:
        refusal.errors = (FieldError("/content", refusal.code, refusal.detail),)
        raise
    lines: list[StatementLine] = []
    malformed: list[MalformedLine] = []
    for line in read:
        if isinstance(line, MalformedLine):
            malformed.append(line)
        else:
            lines.append(line)
        if len(lines) + len(malformed) > LINES_MAX:
            raise LinesTooMany.at("/content")
    _refuse_malformed(malformed)
    if not lines:
        raise StatementEmpty.at("/content")
    other = next((line for line in lines if line.account != lines[0].account), None)
    if other is not None:
        raise StatementOfManyAccounts.at(
            "/content",
            detail=f"Line {lines[0].number} is of account {lines[0].account}, line {other.number} of {other.account}.",
        )
    return lines


def _refuse_malformed(malformed: list[MalformedLine]) -> None:
    if malformed:
        shown = [f"Line {line.number}: {line.reason}." for line in malformed[:MALFORMED_SHOWN_MAX]]
        raise StatementMalformed(
            f"{shown[0]} In all {len(malformed)} lines are malformed; nothing was compared.",
            errors=tuple(FieldError("/content", StatementMalformed.code, text) for text in shown),
            line=malformed[0].number,
        )


def _row(client_id: int, statement: Statement, account: AccountRef, comparison: Comparison) -> Reconciliation:
    closing = comparison.closing
    assert closing.ours is not None, "the account was found"
    return Reconciliation(
        client_id=client_id,
        account_id=account.id,
        mapping=msgspec.to_builtins(statement.mapping),
        date_window_days=statement.dates.window_days,
        content_hash=hashlib.sha256(statement.content.encode()).digest(),
        first_date=comparison.first_date,
        last_date=comparison.last_date,
        counts=msgspec.to_builtins(count(comparison.findings)),
        closing_bank=closing.printed,
        closing_books=closing.ours,
        rounding_minor=closing.rounding_minor,
        agrees=closing.agrees and not comparison.breaks,
    )


def _store(client_id: int, row: Reconciliation, breaks: Sequence[BreakShape], claim: Claim | None) -> str | None:
    """Store what was found, or return the id of what an equal request has stored meanwhile."""
    try:
        with transaction.atomic(durable=True):
            bound_waits()
            row.save(force_insert=True)
            if breaks:
                _write_breaks(row.pk, breaks)
            if claim is None:
                return None
            # Last, as others wait for the key's lock, and thousands of rows take their time.
            earlier = take_key(client_id=client_id, claim=claim)
            if earlier is None:
                keep_key(client_id=client_id, claim=claim, object_id=str(row.pk))
            else:
                transaction.set_rollback(True)
            return earlier
    except OperationalError as error:
        if not isinstance(error.__cause__, pg.LockNotAvailable):
            raise
        raise IdempotencyKeyInUse(retry_after_s=1) from error


def _write_breaks(reconciliation_id: UUID, breaks: Sequence[BreakShape]) -> None:
    def documents(shapes: Iterable[Struct | None]) -> str:
        return texts(None if shape is None else msgspec.json.encode(shape).decode() for shape in shapes)

    with raw_cursor() as cursor:
        cursor.execute(
            sql_file("ledger/services", "write_breaks"),
            {
                "reconciliation_id": reconciliation_id,
                "indexes": numbers(one.index for one in breaks),
                "kinds": texts(one.kind.value for one in breaks),
                "lines": documents(one.line for one in breaks),
                "entries": documents(one.entry for one in breaks),
                "groups": numbers(one.group for one in breaks),
                "repeats": numbers(one.repeats for one in breaks),
            },
        )
