"""Book a bank's statement: every line a transaction between the customer's account and a counter account."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice

from django.db import IntegrityError

from config.runtime.errors import DomainError, Invalid
from ledger.domain.accounts import AccountKind
from ledger.domain.money import format_amount
from ledger.errors import StatementMalformed
from ledger.kinds import KINDS
from ledger.posting.engine import ROUND_SIZE_MAX
from ledger.queries.accounts import exponent_of, find_accounts
from ledger.services.accounts import Opening, open_accounts
from ledger.services.submissions import Submission
from ledger.services.transactions import Submitted, submit_transactions
from ledger.statements import Bank, MalformedLine, StatementLine

PROBLEMS_SHOWN_MAX = 100


class MappingIncomplete(Invalid):
    """The mapping does not say enough for this."""

    code = "mapping_incomplete"


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that was not booked, and why; `line` counts the file's lines from 1."""

    line: int
    code: str
    reason: str


@dataclass(slots=True)
class ImportReport:
    """What an import has done so far. `booked` counts this run's transactions by type; the first problems are kept."""

    lines: int = 0
    booked: Counter[str] = field(default_factory=Counter)
    already_booked: int = 0
    malformed: int = 0
    refused: int = 0
    accounts_opened: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether every line stands in the books."""
        return self.malformed == self.refused == 0

    def add_malformed(self, line: MalformedLine) -> None:
        self.malformed += 1
        self._keep(Problem(line.number, StatementMalformed.code, line.reason))

    def add_refused(self, line: StatementLine, refusal: DomainError) -> None:
        self.refused += 1
        self._keep(Problem(line.number, refusal.code, refusal.detail))

    def _keep(self, problem: Problem) -> None:
        if len(self.problems) < PROBLEMS_SHOWN_MAX:
            self.problems.append(problem)


def check_importable(bank: Bank) -> None:
    """Refuse a mapping that does not say of each line whose it is and what.

    Raises:
        MappingIncomplete
    """
    mapping = bank.mapping
    said = {
        "columns.id": mapping.columns.id,
        "columns.account": mapping.columns.account,
        "account_path": mapping.account_path,
        "currency": mapping.currency,
        "types": mapping.types or None,
    }
    missing = [name for name, value in said.items() if value is None]
    if missing:
        raise MappingIncomplete(
            f"To be imported by {bank.name}, a statement needs {', '.join(missing)} in the mapping."
        )


def find_malformed(lines: Iterable[StatementLine | MalformedLine]) -> ImportReport:
    """Read a statement and book nothing; the report says which lines are malformed."""
    report = ImportReport()
    for line in lines:
        report.lines += 1
        if isinstance(line, MalformedLine):
            report.add_malformed(line)
    return report


def import_statement(
    *,
    client_id: int,
    bank: Bank,
    lines: Iterable[StatementLine | MalformedLine],
    actor: str,
    now: datetime,
    after_batch: Callable[[ImportReport], None],
) -> ImportReport:
    """Book the lines in batches of up to 1,000, each in one commit, and return the report.

    Call `check_importable` first. Every line has the idempotency key `{bank}:{its id}`: run again, the import books
    what is missing and nothing twice, wherever it was broken off. What is malformed or refused is reported and the rest
    is booked. `after_batch` is called outside of any database transaction, and may raise to stop.

    Raises:
        PostingContended: other postings kept a batch from finishing; run it again.
    """
    report, source = ImportReport(), iter(lines)
    while batch := list(islice(source, ROUND_SIZE_MAX)):
        report.lines += len(batch)
        understood: list[StatementLine] = []
        for line in batch:
            if isinstance(line, MalformedLine):
                report.add_malformed(line)
            else:
                understood.append(line)
        if understood:
            report.accounts_opened += _open_missing(client_id, bank, understood)
            _book(client_id, bank, understood, report, actor=actor, now=now)
        after_batch(report)
    return report


def _book(
    client_id: int, bank: Bank, lines: Sequence[StatementLine], report: ImportReport, *, actor: str, now: datetime
) -> None:
    results = submit_transactions(
        client_id=client_id, submissions=[_submission(bank, line) for line in lines], actor=actor, now=now
    )
    for line, result in zip(lines, results, strict=True):
        refusal = result.failure if isinstance(result, Submitted) else result
        if refusal is not None:
            report.add_refused(line, refusal)
        elif isinstance(result, Submitted) and result.replayed:
            report.already_booked += 1
        else:
            report.booked[_required(line.type)] += 1


def _submission(bank: Bank, line: StatementLine) -> Submission:
    customer, counter = bank.account_path(_required(line.account)), _counter(bank, line).path
    debit, credit = (customer, counter) if line.amount_minor < 0 else (counter, customer)
    currency = _required(bank.mapping.currency)
    return Submission(
        type=_required(line.type),
        debit_account=debit,
        credit_account=credit,
        amount=format_amount(abs(line.amount_minor), exponent=exponent_of(currency) or 0),
        currency=currency,
        reference=line.id,
        metadata=dict(line.metadata),
        # What the bank charged has a line of its own.
        fee="0",
        may_be_old=True,
        effective_at=datetime(line.on.year, line.on.month, line.on.day, tzinfo=UTC),
        idempotency_key=bank.idempotency_key(_required(line.id)),
        request_hash=line.content_hash,
    )


def _open_missing(client_id: int, bank: Bank, lines: Sequence[StatementLine]) -> int:
    openings = {opening.path: opening for line in lines for opening in (_customer(bank, line), _counter(bank, line))}
    missing = [openings[path] for path in openings.keys() - find_accounts(client_id, openings).keys()]
    if not missing:
        return 0
    try:
        return open_accounts(client_id=client_id, openings=missing)
    except IntegrityError:
        # Another import opened one of them meanwhile; now it is seen.
        return open_accounts(client_id=client_id, openings=missing)


def _customer(bank: Bank, line: StatementLine) -> Opening:
    # Without a floor: what the bank let happen is recorded, overdrafts included.
    account = _required(line.account)
    return Opening(
        path=bank.account_path(account),
        currency=_required(bank.mapping.currency),
        kind=AccountKind.LIABILITY,
        user_id=bank.customer_id(account),
        floor=None,
    )


def _counter(bank: Bank, line: StatementLine) -> Opening:
    counter, currency = KINDS[_required(line.type)].counter, _required(bank.mapping.currency)
    assert counter is not None, "a mapping takes no type without a counter account"
    return Opening(path=f"{counter.prefix}:{currency}", currency=currency, kind=counter.kind)


def _required(value: str | None) -> str:
    assert value is not None, "check_importable lets no mapping through that leaves it out"
    return value
